"""caffe.draw and the command draw_net: nets as graphs."""

import os
import subprocess
import sys
from pathlib import Path

import caffe
import caffe.draw
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

ROOT = Path(__file__).resolve().parents[2]
NET = """
name: "a net"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "x" batch_size: 32 } include { phase: TRAIN } }
layer { name: "in" type: "Input" top: "data" include { phase: TEST } }
layer { name: "conv/1" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_h: 3 kernel_w: 5 stride: 2 dilation: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "all" type: "Pooling" bottom: "pool" top: "all" pooling_param { global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "all" top: "ip" inner_product_param { num_output: 10 bias_term: false } }
layer { name: "py" type: "Python" bottom: "ip" top: "py" python_param { module: "m" layer: "K" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "py" bottom: "label" top: "loss" exclude { phase: TEST } }
"""


@pytest.fixture
def net():
    return text_format.Parse(NET, caffe_pb2.NetParameter())


def labels(graph):
    return [node.get_label().strip('"') for node in graph.get_node_list()]


def test_layers_and_blobs_are_nodes(net):
    graph = caffe.draw.get_pydot_graph(net, "LR")
    found = labels(graph)
    for expected in (
        r"conv/1\n(Convolution)\nkernel size: 3x5\nstride: 2\npad: 0\ndilation: 2",
        r"relu\n(ReLU)",
        r"pool\n(AVE Pooling)\nkernel size: 2\nstride: 2\npad: 0",
        r"all\n(MAX Pooling)\nglobal",
        r"py\n(Python)\nm.K",
    ):
        assert expected in found
    assert len(found) == len(net.layer) + len({"data", "label", "conv", "pool", "all", "ip", "py", "loss"})
    in_place = [node for node in graph.get_node_list() if node.get_label().startswith('"relu')]
    assert in_place[0].get_fillcolor() != graph.get_node_list()[0].get_fillcolor()


def test_arrows_say_how_many_outputs(net):
    graph = caffe.draw.get_pydot_graph(net, "TB")
    ends = {(edge.get_source(), edge.get_destination()): edge.get_label() for edge in graph.get_edge_list()}
    assert ends['"layer 2"', '"blob conv"'] == '"20"'
    assert ends['"layer 0"', '"blob data"'] == '"Batch 32"'
    assert ends['"layer 6"', '"blob ip"'] == '"10"'
    assert ends['"blob conv"', '"layer 3"'] is None
    assert len(ends) == sum(len(layer.bottom) + len(layer.top) for layer in net.layer)
    assert not any(
        edge.get_label() for edge in caffe.draw.get_pydot_graph(net, "TB", label_edges=False).get_edge_list()
    )


@pytest.mark.parametrize(("phase", "there", "absent"), [(caffe.TRAIN, "loss", "in"), (caffe.TEST, "in", "loss")])
def test_a_phase_chooses_layers(net, phase, there, absent):
    names = [
        label.split("\\n")[0] for label in labels(caffe.draw.get_pydot_graph(net, "LR", phase=phase)) if "\\n" in label
    ]
    assert there in names and absent not in names


def test_learning_rate_multipliers(net):
    lrm = {layer.name: caffe.draw.get_layer_lr_mult(layer) for layer in net.layer}
    assert lrm["conv/1"] == (1, 2) and lrm["ip"] == (1,) and lrm["pool"] is None
    assert "lr mult: 1, 2" in caffe.draw.get_layer_label(net.layer[2], "TB", display_lrm=True)


@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_every_net_of_the_project_is_drawn(rankdir):
    files = [*ROOT.glob("examples/*/*train_test.prototxt"), *ROOT.glob("benchmarks/nets/*.prototxt")]
    assert files
    for file in files:
        net = caffe_pb2.NetParameter()
        text_format.Merge(file.read_text(), net)
        assert caffe.draw.draw_net(net, rankdir).startswith(b"\x89PNG")


def test_files_have_the_format_of_their_name(net, tmp_path):
    caffe.draw.draw_net_to_file(net, "net.svg")
    assert b"<svg" in (tmp_path / "net.svg").read_bytes()
    caffe.draw.draw_net_to_file(net, "net.raw", "BT", caffe.TEST, True)
    assert "rankdir=BT" in (tmp_path / "net.raw").read_text()
    with pytest.raises(ValueError, match="ending"):
        caffe.draw.draw_net_to_file(net, "net")
    with pytest.raises(caffe.CaffeError, match="'nix'"):
        caffe.draw.draw_net_to_file(net, "net.nix")
    with pytest.raises(ValueError, match="rankdir is 'XX'; use one of TB"):
        caffe.draw.draw_net(net, "XX")


def test_what_is_not_installed_is_named(net, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(caffe.CaffeError, match=r"program dot .*graphviz"):
        caffe.draw.draw_net(net, "LR")
    assert b"digraph" in caffe.draw.draw_net(net, "LR", "raw")
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ImportError, match="pip install pydot"):
        caffe.draw.draw_net(net, "LR")


def draw_net(*arguments, **environment):
    command = [Path(sys.executable).parent / "draw_net", *arguments]
    return subprocess.run(
        command, env=dict(os.environ, **environment), capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    run = draw_net("net.prototxt", "net.png", "--rankdir", "TB", "-phase", "TEST")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_upgrades_old_nets(tmp_path):
    (tmp_path / "old.prototxt").write_text(
        'input: "x" input_shape { dim: 1 } layers { name: "r" type: RELU bottom: "x" top: "y" }'
    )
    assert draw_net("old.prototxt", "old.raw").returncode == 0
    assert "r\\n(ReLU)" in (tmp_path / "old.raw").read_text()


def test_the_command_says_what_is_wrong(tmp_path):
    (tmp_path / "bad.prototxt").write_text('layer { nmae: "x" }')
    (tmp_path / "net.prototxt").write_text(NET)
    for arguments, message in [
        (("nowhere.prototxt", "x.png"), "nowhere.prototxt"),
        (("bad.prototxt", "x.png"), "bad.prototxt:1:"),
        (("net.prototxt", "x"), "ending"),
        (("net.prototxt", "no/folder.svg"), "no/folder.svg"),
    ]:
        run = draw_net(*arguments)
        assert run.returncode == 1 and message in run.stderr and "Traceback" not in run.stderr
    run = draw_net("net.prototxt", "x.png", PATH="/nowhere")
    assert run.returncode == 1 and "graphviz" in run.stderr
