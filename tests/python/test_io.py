"""caffe.io: images and the messages that hold them."""

import struct
import zlib

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2


def write_png(path, pixels):
    """An 8-bit RGB PNG, written by the book."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def test_images_are_rgb_between_zero_and_one(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    image = caffe.io.load_image("a.png")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / 255, atol=1e-7)
    gray = caffe.io.load_image("a.png", color=False)
    assert gray.shape == (5, 7, 1)
    np.testing.assert_allclose(
        gray[..., 0], pixels @ [0.299, 0.587, 0.114] / 255, atol=1 / 255
    )  # luma is rounded in several ways


def test_broken_images_are_named(tmp_path):
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(caffe.CaffeError, match="b.png"):
        caffe.io.load_image("b.png")
    with pytest.raises(FileNotFoundError):
        caffe.io.load_image("c.png")


def test_resizing_interpolates():
    ramp = np.tile(np.arange(4, dtype=np.float32)[None, :, None], (2, 1, 1))
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (2, 2))[0, :, 0], [0.5, 2.5])
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (3, 8))[0, :, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (2, 8), 0)[0, :, 0], [0, 0, 1, 1, 2, 2, 3, 3])
    assert caffe.io.resize_image(np.ones((9, 11, 3)), (4, 5)).shape == (4, 5, 3)
    with pytest.raises(ValueError, match="interp_order"):
        caffe.io.resize_image(ramp, (2, 2), 3)


def test_oversampling_takes_corners_centre_and_mirrors():
    image = np.arange(5 * 6, dtype=np.float32).reshape(5, 6, 1)
    crops = caffe.io.oversample([image, image + 100], (3, 3))
    assert crops.shape == (20, 3, 3, 1)
    assert [crop[0, 0, 0] for crop in crops[:5]] == [0, 3, 12, 15, 7]
    np.testing.assert_array_equal(crops[5], crops[0][:, ::-1])
    np.testing.assert_array_equal(crops[10:], crops[:10] + 100)
    with pytest.raises(ValueError, match="does not fit"):
        caffe.io.oversample([image], (6, 6))


def transformer():
    result = caffe.io.Transformer({"data": (1, 3, 4, 5)})
    result.set_transpose("data", (2, 0, 1))
    result.set_channel_swap("data", (2, 1, 0))
    result.set_raw_scale("data", 255)
    result.set_mean("data", np.array([10, 20, 30]))
    result.set_input_scale("data", 0.5)
    return result


def test_preprocessing_in_the_order_of_caffe():
    image = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    got = transformer().preprocess("data", image)
    for channel, mean in enumerate((10, 20, 30)):
        np.testing.assert_allclose(got[channel], (image[:, :, 2 - channel] * 255 - mean) * 0.5, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(transformer().deprocess("data", got), image, atol=1e-5)


def test_preprocessing_resizes():
    assert transformer().preprocess("data", np.zeros((40, 50, 3))).shape == (3, 4, 5)


def test_a_mean_image():
    preparing = caffe.io.Transformer({"data": (1, 1, 2, 2)})
    preparing.set_transpose("data", (2, 0, 1))
    preparing.set_mean("data", np.array([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(preparing.preprocess("data", np.zeros((2, 2, 1)))[0], [[-1, -2], [-3, -4]])


def test_the_transformer_checks_what_it_is_told():
    preparing = caffe.io.Transformer({"data": (1, 3, 4, 5)})
    for setting, value in [
        ("set_transpose", (0, 1)),
        ("set_channel_swap", (1, 0)),
        ("set_mean", np.zeros(2)),
        ("set_mean", np.zeros((3, 5, 5))),
    ]:
        with pytest.raises(ValueError):
            getattr(preparing, setting)("data", value)
    with pytest.raises(ValueError, match="nix"):
        preparing.preprocess("nix", np.zeros((4, 5, 3)))


def test_datums_hold_bytes_or_floats():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    datum = caffe_pb2.Datum.FromString(caffe.io.array_to_datum(pixels, 7).SerializeToString())
    assert datum.label == 7 and datum.data == pixels.tobytes()
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), pixels)
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.testing.assert_allclose(caffe.io.datum_to_array(caffe.io.array_to_datum(values)), values, rtol=1e-6)
    with pytest.raises(ValueError, match="C x H x W"):
        caffe.io.array_to_datum(np.zeros(3))
    with pytest.raises(ValueError, match="encoded"):
        caffe.io.datum_to_array(caffe_pb2.Datum(encoded=True))


def test_blobprotos_hold_any_shape():
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    blob = caffe.io.array_to_blobproto(values, 2 * values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), 2 * values)
    old = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4])
    assert caffe.io.blobproto_to_array(old).shape == (1, 1, 2, 2)
    assert caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[123])) == 123
    for message in (caffe_pb2.BlobProto(data=[1, 2]), caffe_pb2.BlobProto(num=1, channels=1, height=2, data=[1, 2])):
        with pytest.raises(ValueError, match="holds 2 values"):
            caffe.io.blobproto_to_array(message)
    arrays = [values, np.zeros(3, np.float32)]
    back = caffe.io.blobprotovector_str_to_arraylist(caffe.io.arraylist_to_blobprotovector_str(arrays))
    for a, b in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_mean_file_of_real_caffe(golden):
    blob = caffe_pb2.BlobProto.FromString((golden("formats") / "train_mean.binaryproto").read_bytes())
    mean = caffe.io.blobproto_to_array(blob)
    assert mean.ndim == 4 and 0 < mean.mean() < 255


def test_a_classifier_averages_its_crops(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 1 dim: 6 dim: 6 } } }'
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pool: AVE global_pooling: true } }'
    )
    caffe.Net("net.prototxt", caffe.TEST).save("w.caffemodel")
    classifier = caffe.Classifier("net.prototxt", "w.caffemodel", image_dims=(8, 8), raw_scale=2)
    images = [np.full((8, 8, 1), value, np.float32) for value in (1, 2, 3)]
    for oversample in (True, False):
        predictions = classifier.predict(images, oversample)
        np.testing.assert_allclose(predictions.reshape(3), [2, 4, 6], rtol=1e-6)
