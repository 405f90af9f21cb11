"""caffe.Classifier and caffe.Detector: nets with prepared images. The nets' answers are means, which can be foretold."""

import caffe
import numpy as np
import pytest
from test_io import write_png

# The mean of each channel, as "probabilities" of three classes.
MEANS = """
input: "data" input_shape { dim: 4 dim: 3 dim: 8 dim: 8 }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
layer { name: "flat" type: "Flatten" bottom: "mean" top: "prob" }
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.prototxt").write_text(MEANS)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    return "net.prototxt", "net.caffemodel"


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_classifier_averages_over_ten_crops(model):
    images = [pixels(12, 10, seed) / np.float32(255) for seed in range(3)]
    settings = dict(
        image_dims=(12, 10), mean=np.array([1, 2, 3]), raw_scale=255, channel_swap=(2, 1, 0), input_scale=0.5
    )
    classifier = caffe.Classifier(*model, **settings)
    found = classifier.predict(images)
    assert found.shape == (3, 3)
    for image, row in zip(images, found, strict=True):
        crops = [image[y : y + 8, x : x + 8] for y, x in ((0, 0), (0, 2), (4, 0), (4, 2), (2, 1))]
        expected = (np.mean([crop.mean((0, 1)) for crop in crops], 0)[::-1] * 255 - [1, 2, 3]) * 0.5
        np.testing.assert_allclose(row, expected, rtol=1e-4)
    centre = classifier.predict(images, oversample=False)
    expected = (images[0][2:10, 1:9].mean((0, 1))[::-1] * 255 - [1, 2, 3]) * 0.5
    np.testing.assert_allclose(centre[0], expected, rtol=1e-4)


def test_a_classifier_takes_whole_images_where_no_size_is_given(model):
    image = np.full((20, 30, 3), 0.25, np.float32)
    np.testing.assert_allclose(caffe.Classifier(*model).predict([image]), [[0.25] * 3], rtol=1e-5)


def test_a_net_without_images_is_refused(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
    )
    caffe.Net("net.prototxt", caffe.TEST).save("w.caffemodel")
    with pytest.raises(ValueError, match="net.prototxt has no input of images"):
        caffe.Classifier("net.prototxt", "w.caffemodel")


def test_a_detector_answers_for_every_window(model, tmp_path):
    first, second = pixels(16, 20), pixels(30, 24, 1)
    write_png(tmp_path / "a.png", first)
    write_png(tmp_path / "b.png", second)
    windows = [("a.png", [(0, 0, 8, 8), (2, 4, 10, 12)]), ("b.png", np.array([[20, 10, 28, 18]] * 5))]
    detector = caffe.Detector(*model, raw_scale=255, mean=np.array([10, 20, 30]))
    found = detector.detect_windows(iter(windows))
    assert [detection["filename"] for detection in found] == ["a.png"] * 2 + ["b.png"] * 5
    np.testing.assert_array_equal(found[1]["window"], (2, 4, 10, 12))
    np.testing.assert_allclose(found[1]["prediction"], first[2:10, 4:12].mean((0, 1)) - [10, 20, 30], rtol=1e-3)
    np.testing.assert_allclose(found[6]["prediction"], second[20:28, 10:18].mean((0, 1)) - [10, 20, 30], rtol=1e-3)
    assert detector.detect_windows([]) == []


def test_context_is_taken_from_around_the_window(model):
    detector = caffe.Detector(*model, context_pad=2)
    image = np.random.default_rng(0).random((20, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(detector.crop(image, (8, 10, 12, 14)), image[6:14, 8:16], atol=1e-6)
    ramp = np.tile(np.arange(20, dtype=np.float32)[:, None, None], (1, 20, 3))
    warped = detector.crop(ramp, (6, 6, 14, 14))  # 8 pixels on the inner 4: a scale of 2, 16 pixels in all
    np.testing.assert_allclose(warped[:, 4, 0], 2.5 + 2 * np.arange(8), atol=1e-4)


def test_context_outside_of_the_image_is_the_mean(model):
    mean = np.arange(3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8)
    detector = caffe.Detector(*model, context_pad=2, mean=mean, raw_scale=255, channel_swap=(2, 1, 0))
    image = np.full((20, 20, 3), 7, np.float32)
    crop = detector.crop(image, (0, 18, 4, 22))
    expected = mean[::-1].transpose(1, 2, 0) / 255
    np.testing.assert_allclose(crop[2:, :4], 7)
    np.testing.assert_allclose(crop[:2], expected[:2])
    np.testing.assert_allclose(crop[2:, 4:], expected[2:, 4:])
    prepared = detector.transformer.preprocess("data", crop)
    np.testing.assert_allclose(prepared[:, :2], 0, atol=1e-4)


def test_windows_and_padding_are_checked(model):
    detector = caffe.Detector(*model)
    image = np.zeros((20, 20, 3), np.float32)
    for window in [(5, 5, 5, 9), (9, 5, 5, 9)]:
        with pytest.raises(ValueError, match="is empty"):
            detector.crop(image, window)
    for pad in (None, 2):
        detector.configure_crop(pad)
        with pytest.raises(ValueError, match="outside of the image"):
            detector.crop(image, (30, 30, 40, 40))
    for pad in (4, -1):
        with pytest.raises(ValueError, match="context_pad"):
            detector.configure_crop(pad)


def test_selective_search_says_what_it_needs(model):
    with pytest.raises(ImportError, match="selective_search_ijcv_with_python"):
        caffe.Detector(*model).detect_selective_search(["a.png"])
