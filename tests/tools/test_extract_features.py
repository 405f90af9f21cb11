"""extract_features writes what Caffe's wrote."""

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from command_line import Tool
from processors import needs_bf16

NET = "lenet_tiny_train_test.prototxt"
MODEL = "snap/lenet_tiny_iter_20.caffemodel"


def records(store):
    with lmdb.open(str(store), readonly=True, lock=False) as database, database.begin() as transaction:
        return {key: caffe_pb2.Datum.FromString(value) for key, value in transaction.cursor()}


@pytest.fixture
def tool(formats):
    return Tool("extract_features", formats)


@pytest.mark.parametrize("end", [[], ["CPU"], ["CPU", "DEVICE_ID=0"], ["CPU", "0"]])
def test_the_records_of_caffe(tool, formats, end):
    tool.succeed(MODEL, NET, "ip1,ip2", "ours1,ours2", "3", "lmdb", *end)
    for number in (1, 2):
        theirs = records(formats / f"feat_ip{number}_lmdb")
        ours = records(formats / f"ours{number}")
        assert list(ours) == list(theirs)
        for key, expected in theirs.items():
            found = ours[key]
            assert (found.channels, found.height, found.width) == (expected.channels, expected.height, expected.width)
            np.testing.assert_allclose(found.float_data, expected.float_data, rtol=1e-4, atol=1e-5)
            found.ClearField("float_data")
            expected.ClearField("float_data")
            assert found == expected


def test_the_log_has_the_lines_of_caffe(tool, formats):
    def told(log):
        return [line.split("] ", 1)[1] for line in log.splitlines() if " extract_features.cpp:" in line]

    ours = tool.succeed(MODEL, NET, "ip1,ip2", "feat_a,feat_b", "3", "lmdb").stderr
    theirs = (formats / "log_extract_features.txt").read_text().replace("feat_ip1_lmdb", "feat_a")
    assert told(ours) == told(theirs.replace("feat_ip2_lmdb", "feat_b"))


@needs_bf16
def test_features_in_bf16_are_near_those_in_f32(tool, formats):
    def features(store, *more):
        tool.succeed(MODEL, NET, "ip1", store, "1", "lmdb", *more)
        return np.array([datum.float_data for datum in records(formats / store).values()])

    plain, rounded = features("plain"), features("rounded", "-precision", "bf16")
    np.testing.assert_allclose(rounded, plain, rtol=2e-2, atol=2e-2 * np.abs(plain).max())
    assert (rounded != plain).any()


def test_leveldb_holds_the_same(tool, formats):
    tool.succeed(MODEL, NET, "conv1", "of_lmdb", "2", "lmdb")
    tool.succeed(MODEL, NET, "conv1", "of_leveldb", "2", "leveldb")
    mean = Tool("compute_image_mean", formats)
    mean.succeed("of_lmdb", "1")
    mean.succeed("-backend", "leveldb", "of_leveldb", "2")
    assert (formats / "1").read_bytes() == (formats / "2").read_bytes()
    datum = next(iter(records(formats / "of_lmdb").values()))
    assert (datum.channels, datum.height, datum.width) == (4, 24, 24)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["found 0 names", "pretrained_net_param"]),
        ([MODEL, NET, "ip1", "a,b", "3", "lmdb"], ["1 blobs (ip1)", "2 stores (a,b)"]),
        ([MODEL, NET, "ip1,ip2", "a,a", "3", "lmdb"], ["one store (a,a)"]),
        ([MODEL, NET, "ip9", "a", "3", "lmdb"], ["ip9", "ip1, "]),
        ([MODEL, NET, "ip1", "a", "none", "lmdb"], ["num_mini_batches", '"none"']),
        ([MODEL, NET, "ip1", "a", "0", "lmdb"], ["num_mini_batches", "at least 1"]),
        ([MODEL, NET, "ip1", "a", "3", "sqlite"], ["SQLITE", "LMDB"]),
        ([MODEL, NET, "ip1", "train_lmdb", "3", "lmdb"], ["train_lmdb"]),
        ([MODEL, NET, "ip1", "nowhere/a", "3", "lmdb"], ["nowhere/a"]),
        (["gone.caffemodel", NET, "ip1", "a", "3", "lmdb"], ["gone.caffemodel"]),
        ([MODEL, "gone.prototxt", "ip1", "a", "3", "lmdb"], ["gone.prototxt"]),
        ([MODEL, NET, "ip1", "a", "3", "lmdb", "GPU"], ["CPU only"]),
        ([MODEL, NET, "ip1", "a", "3", "lmdb", "TPU"], ["CPU or GPU", '"TPU"']),
        ([MODEL, NET, "ip1", "a", "3", "lmdb", "CPU", "DEVICE_ID=x"], ["DEVICE_ID", '"x"']),
    ],
)
def test_a_wrong_command_line_is_explained(tool, formats, arguments, words):
    before = sorted(path.name for path in formats.iterdir())
    message = tool.fail(*arguments)
    for word in words:
        assert word in message
    assert sorted(path.name for path in formats.iterdir()) == before
