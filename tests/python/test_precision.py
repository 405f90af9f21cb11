"""Nets and solvers that compute in bf16: near float32, with float32 parameters and views."""

import functools
from pathlib import Path

import caffe
import numpy as np
import pytest
from conftest import CONV_NET, GOLDEN
from processors import are_bf16, needs_bf16

# Without kinks: where rounding makes another of two nearly equal values the larger one, the gradient takes another way.
SMOOTH_NET = CONV_NET.replace("ReLU", "TanH").replace("pooling_param {", "pooling_param { pool: AVE")
TOLERANCE = 2e-2


@pytest.fixture(autouse=True)
def with_seed():
    caffe.set_random_seed(5)


def fed(net):
    """With an input that does not change."""
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=(4, 3, 12, 12))
    net.blobs["label"].data[...] = [0, 1, 2, 3]
    return net


def near(rounded, plain):
    """Not the same numbers, and yet the same result."""
    assert rounded.dtype == plain.dtype == np.float32
    assert (rounded != plain).any()
    np.testing.assert_allclose(rounded, plain, rtol=0, atol=TOLERANCE * np.abs(plain).max())


def parameters(net):
    return np.concatenate([blob.data.ravel() for blobs in net.params.values() for blob in blobs])


@pytest.fixture
def pair(make_net):
    """pair(...): the net in f32 and in bf16, with the same weights and inputs; arguments as make_net."""

    def make(**options):
        plain, rounded = (fed(make_net(SMOOTH_NET, precision=precision, **options)) for precision in ("f32", "bf16"))
        for name, blobs in plain.params.items():
            for mine, other in zip(rounded.params[name], blobs, strict=True):
                mine.data[...] = other.data
        return plain, rounded

    return make


def test_other_words_are_refused(make_net, solver_file):
    for word in ("BF16", "f16", ""):
        with pytest.raises(caffe.CaffeError, match=f'precision is f32 or bf16, not "{word}"'):
            make_net(precision=word)
        with pytest.raises(caffe.CaffeError, match="precision is f32 or bf16"):
            caffe.get_solver(solver_file(), precision=word)


@pytest.mark.skipif(caffe.supports_bf16(), reason="this processor computes in bf16")
def test_without_bf16_the_processor_is_what_is_said_to_lack_it(make_net):
    with pytest.raises(caffe.CaffeError, match="this processor does not compute in bf16"):
        make_net(precision="bf16")


@needs_bf16
@pytest.mark.parametrize("observed", [None, ["conv2"]], ids=["all observed", "production plan"])
def test_a_net_in_bf16_computes_nearly_the_same(pair, observed):
    plain, rounded = pair(observed=observed)
    for net in (plain, rounded):
        net.forward()
        net.backward()
    near(rounded.blobs["conv2"].data, plain.blobs["conv2"].data)
    near(rounded.blobs["loss"].data, plain.blobs["loss"].data)
    for name, blobs in plain.params.items():
        for mine, other in zip(rounded.params[name], blobs, strict=True):
            np.testing.assert_array_equal(mine.data, other.data)
    gradients = [np.concatenate([b.diff.ravel() for bs in net.params.values() for b in bs]) for net in (rounded, plain)]
    near(*gradients)
    assert not are_bf16(gradients[0]).all()


@needs_bf16
def test_views_of_a_net_in_bf16_are_float32_and_stay_true(pair):
    plain, rounded = pair()
    held = {name: rounded.blobs[name].data for name in ("conv1", "conv2", "pool", "ip")}
    gradient = rounded.blobs["conv2"].diff
    for net in (plain, rounded):
        net.forward()
        net.backward()
    for name, view in held.items():
        near(view, plain.blobs[name].data)
        np.testing.assert_array_equal(view, rounded.blobs[name].data)
    near(gradient, plain.blobs["conv2"].diff)
    before = held["ip"].copy()
    rounded.blobs["data"].data[...] *= 2
    rounded.forward()
    assert (held["ip"] != before).any()
    held["conv1"][...] = 0  # what is written into a view is what the next layers read
    rounded.forward(start="relu1")
    assert not held["conv2"].any()


@needs_bf16
def test_weights_go_from_one_precision_to_the_other(make_net, tmp_path):
    rounded = make_net(precision="bf16")
    rounded.save("rounded.caffemodel")
    plain = make_net()
    plain.copy_from("rounded.caffemodel")
    np.testing.assert_array_equal(parameters(plain), parameters(rounded))
    assert not are_bf16(parameters(plain)).all()


@needs_bf16
def test_a_solver_in_bf16_trains_float32_weights(solver_file):
    def smooth(more=""):
        path = solver_file(more)
        Path("conv.prototxt").write_text(SMOOTH_NET)
        return path

    def trained(more="", **options):
        solver = caffe.get_solver(smooth(more), **options)
        fed(solver.net)
        solver.step(10)
        return parameters(solver.net).copy()

    plain, rounded = trained(), trained(precision="bf16")
    near(rounded, plain)
    assert not are_bf16(rounded).all()
    np.testing.assert_array_equal(trained("precision: BF16"), rounded)
    np.testing.assert_array_equal(trained("precision: BF16", precision="f32"), plain)
    solver = caffe.SGDSolver(smooth(), precision="bf16")
    fed(solver.net)
    solver.step(10)
    np.testing.assert_array_equal(parameters(solver.net), rounded)


class Golden:
    """The fixtures of a folder of tests/golden, by their own reader and adapter."""

    def __init__(self, folder):
        import adapter_pycaffe
        import check_golden

        self.folder, self.adapter, self.checker = folder, adapter_pycaffe, check_golden

    def load(self, name):
        self.data, self.case = self.checker.load(self.folder / f"{name}.npz")
        return str(self.folder / f"{name}.prototxt")

    def pick(self, kind):
        return {key[len(kind) :]: values for key, values in self.data.items() if key.startswith(kind)}

    def require_near(self, outputs, names):
        for name in names:
            error = self.checker.err(outputs[name], self.data["out_" + name], rtol=2e-2, atol=1e-2)
            assert error <= 1, f"{name} is {error:.2f} times as far off as it may be"


@pytest.fixture
def rounded_golden(golden, monkeypatch):
    """rounded_golden("layers"): that folder's fixtures, whose nets then compute in bf16."""
    monkeypatch.syspath_prepend(GOLDEN / "tools")
    monkeypatch.setattr(caffe, "Net", functools.partial(caffe.Net, precision="bf16"))
    return lambda folder: Golden(golden(folder))


def names_of(folder):
    return sorted(path.stem for path in (GOLDEN / folder).glob("*.npz"))


@needs_bf16
@pytest.mark.parametrize("name", names_of("layers"))
def test_outputs_of_real_caffes_layers(rounded_golden, name):
    fixture = rounded_golden("layers")
    path = fixture.load(name)
    parameters = [fixture.data[f"param_{i}"] for i in range(fixture.case["n_params"])]
    phase, inputs = fixture.case["phase"], fixture.pick("in_")
    run = fixture.adapter.run_layer(path, phase, inputs, parameters, {}, False, 1, True)
    if run is None:
        pytest.skip("the fixture's layer draws numbers of its own")
    fixture.require_near(run["out"], fixture.pick("out_"))


@needs_bf16
@pytest.mark.parametrize("name", names_of("graphs"))
def test_outputs_of_real_caffes_graphs(rounded_golden, name):
    fixture = rounded_golden("graphs")
    path = fixture.load(name)
    parameters = {key: values for key, values in fixture.pick("param_").items() if not key.startswith("after_")}
    run = fixture.adapter.run_graph(path, fixture.case["phase"], fixture.pick("in_"), parameters)
    fixture.require_near(run["out"], [blob for blob in fixture.pick("out_") if blob in run["out"]])
