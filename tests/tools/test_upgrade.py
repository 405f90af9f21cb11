"""The upgrade tools write what the tools of Caffe wrote."""

import shutil

import pytest
from caffe.proto import caffe_pb2
from command_line import Tool
from conftest import GOLDEN
from google.protobuf import text_format

NETS = ["batchnorm_three_params", "input_dims", "v0_alexlike", "v1_all_types", "v1_lenet"]
SOLVERS = ["solver_enum_adadelta", "solver_enum_nesterov", "solver_enum_sgd"]


@pytest.fixture
def old(tmp_path):
    """Files of old forms, and what Caffe made of them."""
    folder = tmp_path / "upgrade"
    shutil.copytree(GOLDEN / "upgrade", folder)
    return folder


def parsed(path, message):
    return text_format.Parse(path.read_text(), message)


@pytest.mark.parametrize("name", NETS)
def test_text_of_a_net(old, name):
    Tool("upgrade_net_proto_text", old).succeed(f"{name}.before.prototxt", "new.prototxt")
    expected = parsed(old / f"{name}.after.prototxt", caffe_pb2.NetParameter())
    assert parsed(old / "new.prototxt", caffe_pb2.NetParameter()) == expected


@pytest.mark.parametrize("name", SOLVERS)
def test_text_of_a_solver(old, name):
    Tool("upgrade_solver_proto_text", old).succeed(f"{name}.before.prototxt", "new.prototxt")
    expected = parsed(old / f"{name}.after.prototxt", caffe_pb2.SolverParameter())
    assert parsed(old / "new.prototxt", caffe_pb2.SolverParameter()) == expected


def test_model(formats):
    Tool("upgrade_net_proto_binary", formats).succeed("lenet_tiny_v1.caffemodel", "new.caffemodel")
    expected = caffe_pb2.NetParameter.FromString((formats / "lenet_tiny_v1_upgraded.caffemodel").read_bytes())
    assert caffe_pb2.NetParameter.FromString((formats / "new.caffemodel").read_bytes()) == expected


def test_a_file_of_today_stays_as_it_is(old):
    Tool("upgrade_net_proto_text", old).succeed("v1_lenet.after.prototxt", "new.prototxt")
    expected = parsed(old / "v1_lenet.after.prototxt", caffe_pb2.NetParameter())
    assert parsed(old / "new.prototxt", caffe_pb2.NetParameter()) == expected


@pytest.mark.parametrize("kind", ["net_proto_text", "solver_proto_text"])
def test_wrong_text_is_named_with_its_line(tmp_path, kind):
    (tmp_path / "bad.prototxt").write_text("\nno_such_field: 1\n")
    message = Tool(f"upgrade_{kind}", tmp_path).fail("bad.prototxt", "new.prototxt")
    assert "bad.prototxt:2" in message
    assert "no_such_field" in message
    assert not (tmp_path / "new.prototxt").exists()


def test_a_model_cut_short_is_refused(formats):
    model = (formats / "lenet_tiny_v1.caffemodel").read_bytes()
    (formats / "cut.caffemodel").write_bytes(model[: len(model) // 2])
    assert "cut.caffemodel" in Tool("upgrade_net_proto_binary", formats).fail("cut.caffemodel", "new.caffemodel")
    assert not (formats / "new.caffemodel").exists()


@pytest.mark.parametrize("kind", ["net_proto_text", "net_proto_binary", "solver_proto_text"])
def test_file_names_and_help(tmp_path, kind):
    tool = Tool(f"upgrade_{kind}", tmp_path)
    assert "missing" in tool.fail("missing", "new")
    assert "found 1 name," in tool.fail("one")
    assert "usage: " + tool.path.name in tool.succeed("--help").stdout
