"""What the tests of the caffe package share."""

import os
import shutil
from pathlib import Path

import caffe
import places  # noqa: F401 (sets how JVMs are started)
import pytest

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

# Convolutions and inner products large enough for a vendor library's own memory layouts, and small enough to be quick.
CONV_NET = """
name: "conv"
force_backward: true
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 3 dim: 12 dim: 12 } shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""

SOLVER = (
    'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001 max_iter: 100 random_seed: 3 solver_mode: CPU\n'
)


@pytest.fixture(autouse=True)
def in_scratch_folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, and leaves no seed behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("caffe.mode._seed", None)


@pytest.fixture
def golden(tmp_path):
    """golden("formats"): a copy of that folder of tests/golden."""

    def copy(name):
        target = tmp_path / "golden" / name
        shutil.copytree(GOLDEN / name, target)
        return target

    return copy


@pytest.fixture
def make_net(tmp_path):
    """make_net(text, ...): a caffe.Net of that text; other arguments as caffe.Net takes them after the file."""

    def make(text=CONV_NET, *args, **kwargs):
        path = tmp_path / f"net{len(os.listdir(tmp_path))}.prototxt"
        path.write_text(text)
        return caffe.Net(str(path), *(args or (caffe.TRAIN,)), **kwargs)

    return make


@pytest.fixture
def solver_file(tmp_path):
    """solver_file(more): the path of a solver on CONV_NET, with more settings."""

    def make(more=""):
        (tmp_path / "conv.prototxt").write_text(CONV_NET)
        path = tmp_path / "solver.prototxt"
        path.write_text(f'{SOLVER}net: "{tmp_path}/conv.prototxt"\nsnapshot_prefix: "{tmp_path}/snap"\n{more}')
        return str(path)

    return make
