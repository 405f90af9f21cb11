"""convert_mnist_data on the real MNIST and Fashion-MNIST files, read back by liblmdb's own Python binding."""

import gzip
import struct

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from command_line import Tool
from places import DATA, FASHION_MNIST

SETS = {
    "mnist": DATA / "mnist",
    "fashion-mnist": FASHION_MNIST,
}


@pytest.fixture(params=SETS)
def files(request):
    """The images and labels of a test set, .gz."""
    folder = SETS[request.param].resolve()
    if not folder.is_dir():
        pytest.skip(f"no {request.param} in {folder}")
    return folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"


def pixels(path):
    """The images of an idx file, N x 28 x 28 bytes."""
    content = gzip.decompress(path.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(struct.unpack(">3i", content[4:16]))


def labels(path):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)


def records(store):
    with lmdb.open(str(store), readonly=True, lock=False) as database, database.begin() as transaction:
        for key, value in transaction.cursor():
            yield key.decode(), caffe_pb2.Datum.FromString(value)


def test_every_image_becomes_one_record(files, tmp_path):
    Tool("convert_mnist_data", tmp_path).succeed(*files, "store")
    images, classes = pixels(files[0]), labels(files[1])
    count = 0
    for number, (key, datum) in enumerate(records(tmp_path / "store")):
        assert key == f"{number:08d}"
        assert (datum.channels, datum.height, datum.width) == (1, 28, 28)
        assert datum.data == images[number].tobytes()
        assert datum.label == classes[number]
        count += 1
    assert count == len(images) == 10000


@pytest.mark.parametrize("wrong", ["labels for images", "cut in half", "missing"])
def test_wrong_files_are_named(files, tmp_path, wrong):
    images, classes = files
    bad = {
        "labels for images": classes,
        "cut in half": tmp_path / "half.gz",
        "missing": tmp_path / "missing.gz",
    }[wrong]
    if wrong == "cut in half":
        bad.write_bytes(images.read_bytes()[: images.stat().st_size // 2])
    message = Tool("convert_mnist_data", tmp_path).fail(bad, classes, "store")
    assert bad.name in message
    assert [path for path in tmp_path.iterdir() if path != bad] == []
