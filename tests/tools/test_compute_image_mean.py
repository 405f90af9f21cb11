"""compute_image_mean on stores that Caffe wrote, and on stores made here."""

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from command_line import Tool
from conftest import GOLDEN
from pictures import png


def write_store(path, arrays):
    """An LMDB of Datum records, made by liblmdb's own Python binding."""
    with lmdb.open(str(path), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for number, array in enumerate(arrays):
            datum = caffe_pb2.Datum(channels=array.shape[0], height=array.shape[1], width=array.shape[2])
            if array.dtype == np.uint8:
                datum.data = array.tobytes()
            else:
                datum.float_data.extend(array.ravel().tolist())
            transaction.put(f"{number:08d}".encode(), datum.SerializeToString())


def read_mean(path):
    blob = caffe_pb2.BlobProto.FromString(path.read_bytes())
    return np.array(blob.data, np.float32).reshape(blob.num, blob.channels, blob.height, blob.width)


@pytest.fixture
def tool(tmp_path):
    return Tool("compute_image_mean", tmp_path)


def test_the_mean_of_caffe(formats):
    Tool("compute_image_mean", formats).succeed("train_lmdb", "mean.binaryproto")
    assert np.array_equal(read_mean(formats / "mean.binaryproto"), read_mean(formats / "train_mean.binaryproto"))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_bytes_and_floats(tool, tmp_path, kind):
    images = np.random.default_rng(1).integers(0, 256, (7, 3, 4, 5)).astype(kind)
    write_store(tmp_path / "store", images)
    printed = tool.succeed("store", "mean").stdout
    mean = images.astype(np.float64).mean(0)
    np.testing.assert_allclose(read_mean(tmp_path / "mean")[0], mean, rtol=1e-6)
    values = [float(line.rsplit(" ", 1)[1]) for line in printed.splitlines() if "mean_value channel" in line]
    np.testing.assert_allclose(values, mean.mean((1, 2)), rtol=1e-5)


def test_encoded_pictures(tool, tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (5, 6, 7, 3), np.uint8)
    with lmdb.open(str(tmp_path / "store"), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for number, image in enumerate(images):
            datum = caffe_pb2.Datum(data=png(image), encoded=True)
            transaction.put(f"{number:08d}".encode(), datum.SerializeToString())
    tool.succeed("store", "mean")
    expected = images.astype(np.float64).mean(0).transpose(2, 0, 1)
    np.testing.assert_allclose(read_mean(tmp_path / "mean")[0], expected, rtol=1e-6)


def test_leveldb_gives_what_lmdb_gives(tool, tmp_path):
    data = GOLDEN / "data"
    tool.succeed(data / "db_raw_lmdb", "of_lmdb")
    tool.succeed("-backend", "leveldb", data / "db_raw_leveldb", "of_leveldb")
    assert np.array_equal(read_mean(tmp_path / "of_lmdb"), read_mean(tmp_path / "of_leveldb"))


def test_records_of_two_sizes_are_refused(tool, tmp_path):
    write_store(tmp_path / "store", [np.zeros((1, 2, 3), np.uint8), np.zeros((1, 3, 2), np.uint8)])
    message = tool.fail("store", "mean")
    assert "00000001" in message
    assert "1 x 3 x 2" in message
    assert "1 x 2 x 3" in message
    assert not (tmp_path / "mean").exists()


def test_wrong_arguments(tool):
    assert "no_store" in tool.fail("no_store", "mean")
    assert "found 0 names" in tool.fail()
    assert "usage: compute_image_mean" in tool.succeed("--help").stdout
