"""recurrent_param.debug_info logs the states step by step, in the form of Caffe's debug_info."""

import re

import caffe
import numpy as np
import pytest

NET = """
layer {{ name: "in" type: "Input" top: "x" top: "cont" input_param {{ shape {{ dim: 3 dim: 2 dim: 4 }} shape {{ dim: 3 dim: 2 }} }} }}
layer {{ name: "r" type: "{type}" bottom: "x" bottom: "cont" top: "y"
  recurrent_param {{ num_output: 5 debug_info: {debug} weight_filler {{ type: "uniform" min: -1 max: 1 }} }} }}
"""


@pytest.fixture
def make(tmp_path):
    def net(kind, debug):
        path = tmp_path / "net.prototxt"
        path.write_text("force_backward: true\n" + NET.format(type=kind, debug=debug))
        made = caffe.Net(str(path), caffe.TRAIN)
        made.blobs["x"].data[...] = np.random.default_rng(1).normal(size=(3, 2, 4))
        made.blobs["cont"].data[...] = [[0, 0], [1, 1], [1, 1]]
        return made

    return net


def logged(text, side):
    lines = re.findall(rf"\[{side}\] Layer r, (?:top|bottom) blob (\w+) (?:data|diff): (\S+)", text)
    return {name: float(value) for name, value in lines}


def test_hidden_states_and_gradients(make, capfd):
    net = make("LSTM", "true")
    net.forward()
    net.blobs["y"].diff[...] = 1
    net.backward()
    text = capfd.readouterr().err
    forward = logged(text, "Forward")
    assert set(forward) == {f"{state}_{t}" for state in "hc" for t in (1, 2, 3)}
    for t in (1, 2, 3):
        assert forward[f"h_{t}"] == pytest.approx(np.abs(net.blobs["y"].data[t - 1]).mean(), rel=1e-4)
    backward = logged(text, "Backward")
    assert backward["h_3"] == pytest.approx(1), "nothing comes from later steps"
    assert set(backward) == {"h_1", "h_2", "h_3"}


def test_nothing_is_logged_unless_asked_for(make, capfd):
    make("RNN", "false").forward()
    assert logged(capfd.readouterr().err, "Forward") == {}
