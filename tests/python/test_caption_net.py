"""A net of the shape of LRCN's captioning: words and a fixed input into an LSTM, a word out of every step."""

import caffe
import numpy as np
import pytest

STEPS, STREAMS, WORDS, FIXED = 5, 4, 9, 6
NET = f"""
name: "caption"
layer {{ name: "in" type: "Input" top: "words" top: "cont" top: "fixed" top: "target"
  input_param {{ shape {{ dim: {STEPS} dim: {STREAMS} }} shape {{ dim: {STEPS} dim: {STREAMS} }}
                 shape {{ dim: {STREAMS} dim: {FIXED} }} shape {{ dim: {STEPS} dim: {STREAMS} }} }} }}
layer {{ name: "embed" type: "Embed" bottom: "words" top: "embedded"
  embed_param {{ input_dim: {WORDS} num_output: 8 weight_filler {{ type: "uniform" min: -0.3 max: 0.3 }} }} }}
layer {{ name: "lstm" type: "LSTM" bottom: "embedded" bottom: "cont" bottom: "fixed" top: "hidden"
  recurrent_param {{ num_output: 16 weight_filler {{ type: "uniform" min: -0.3 max: 0.3 }} }} }}
layer {{ name: "predict" type: "InnerProduct" bottom: "hidden" top: "scores"
  inner_product_param {{ num_output: {WORDS} axis: 2 weight_filler {{ type: "uniform" min: -0.3 max: 0.3 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "target" top: "loss"
  softmax_param {{ axis: 2 }} loss_param {{ ignore_label: -1 }} }}
"""
SOLVER = (
    'net: "caption.prototxt" base_lr: 0.5 momentum: 0.9 lr_policy: "fixed" random_seed: 3 snapshot_after_train: false'
)


def test_learns_captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "caption.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    solver = caffe.get_solver("solver.prototxt")
    net = solver.net
    rng = np.random.default_rng(1)
    captions = rng.integers(1, WORDS, (STREAMS, STEPS))
    captions[2, 4] = 0  # a shorter one
    net.blobs["fixed"].data[...] = rng.normal(size=(STREAMS, FIXED))
    net.blobs["words"].data[...] = np.vstack([np.zeros(STREAMS), captions.T[:-1]])
    net.blobs["cont"].data[...] = np.vstack([np.zeros(STREAMS), np.ones((STEPS - 1, STREAMS))])
    target = captions.T.astype(np.float32)
    target[4, 2] = -1
    net.blobs["target"].data[...] = target
    assert [blob.data.shape for blob in net.params["lstm"]] == [(64, 8), (64,), (64, FIXED), (64, 16)]
    solver.step(1)
    first = float(net.blobs["loss"].data)
    solver.step(200)
    assert float(net.blobs["loss"].data) < 0.02 * first
    predicted = net.blobs["scores"].data.argmax(axis=2)
    assert (predicted == target)[target >= 0].all()


def test_minus_one_is_no_word(tmp_path):
    """What fills a sentence up behind its end counts as zeros, and teaches nothing."""
    (tmp_path / "caption.prototxt").write_text("force_backward: true\n" + NET)
    net = caffe.Net(str(tmp_path / "caption.prototxt"), caffe.TRAIN)
    words = np.random.default_rng(2).integers(0, WORDS, (STEPS, STREAMS))
    words[3:, 1] = -1
    net.blobs["words"].data[...] = words
    net.blobs["cont"].data[1:] = 1
    net.forward()
    table, embedded = net.params["embed"][0].data, net.blobs["embedded"].data
    no_word = words == -1
    assert (embedded[no_word] == net.params["embed"][1].data).all()
    np.testing.assert_allclose(embedded[~no_word], table[words[~no_word]] + net.params["embed"][1].data, rtol=1e-6)
    net.backward()
    expected = np.zeros_like(table)
    np.add.at(expected, words[~no_word], net.blobs["embedded"].diff[~no_word])
    np.testing.assert_allclose(net.params["embed"][0].diff, expected, rtol=1e-4, atol=1e-6)
    net.blobs["words"].data[0, 0] = -2
    with pytest.raises(caffe.CaffeError, match="found index -2 at position 0"):
        net.forward()
