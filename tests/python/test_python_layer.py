"""Layers of type Python: the class caffe.Layer."""

import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import caffe
import numpy as np
import pytest
from conftest import SOLVER

pytestmark = pytest.mark.usefixtures("layers_on_path")

CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def layers_on_path(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)


def layer(kind, bottom=(), top=("top",), param="", more="", name=None):
    names = "".join(f'bottom: "{b}" ' for b in bottom) + "".join(f'top: "{t}" ' for t in top)
    return (
        f'layer {{ name: "{name or kind.lower()}" type: "Python" {names} {more} '
        f'python_param {{ module: "python_layers" layer: "{kind}" param_str: "{param}" }} }}\n'
    )


def net_of(*layers, shape=(4, 3, 5, 5)):
    dims = " ".join(f"dim: {extent}" for extent in shape)
    head = (
        f'force_backward: true layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}\n'
    )
    return head + "".join(layers)


def test_the_type_is_listed():
    assert "Python" in caffe.layer_type_list()


@pytest.mark.parametrize("observed", [None, []], ids=["all observed", "production plan"])
def test_forward_and_backward_between_other_layers(make_net, observed):
    """The convolution works in a layout of its own; what the Python layer reads and writes is the plain one."""
    text = net_of(
        CONV, layer("Times", ["conv"], ["times"], "3"), CONV.replace('"data"', '"times"').replace('"conv"', '"conv2"')
    )
    net = make_net(text, observed=observed)
    data = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    out = net.forward(data=data)["conv2"].copy()
    diff = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    gradient = net.backward(conv2=diff)["data"].copy()

    power = 'layer { name: "times" type: "Power" bottom: "conv" top: "times" power_param { scale: 3 } }\n'
    same = make_net(net_of(CONV, power, CONV.replace('"data"', '"times"').replace('"conv"', '"conv2"')))
    for name in ("conv", "conv2"):
        for mine, other in zip(same.params[name], net.params[name], strict=True):
            mine.data[...] = other.data
    np.testing.assert_allclose(out, same.forward(data=data)["conv2"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, same.backward(conv2=diff)["data"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.params["conv"][0].diff, same.params["conv"][0].diff, rtol=1e-4, atol=1e-4)


def test_backward_without_forward(make_net):
    net = make_net(
        net_of(layer("Times", ["data"], ["a"], "10", name="a"), layer("Times", ["a"], ["b"], "10", name="b"))
    )
    net.blobs["b"].diff[...] = 7
    net.backward()
    assert (net.blobs["data"].diff == 700).all()


def test_reshape_follows_the_input(make_net):
    net = make_net(net_of(layer("Times", ["data"], ["a"], "2", name="a"), layer("Times", ["a"], ["b"], "2", name="b")))
    net.blobs["data"].reshape(2, 7)
    net.blobs["data"].data[...] = 1
    assert net.forward()["b"].shape == net.blobs["a"].data.shape == (2, 7)
    assert (net.blobs["b"].data == 4).all()


def test_the_phase_is_known(make_net):
    for phase in (caffe.TRAIN, caffe.TEST):
        net = make_net(net_of(layer("Phase", ["data"], ["phase"])), phase)
        assert net.forward()["phase"] == phase


def test_a_data_layer_may_shape_each_batch(make_net):
    net = make_net(layer("Counter", top=["n"]) + layer("Times", ["n"], ["out"], "2"), caffe.TEST)
    for batch in range(7):
        out = net.forward()["out"]
        assert out.shape == (batch % 3 + 1, 2) and (out == 2 * batch).all()


def test_forward_may_reshape_its_tops(make_net):
    inner = 'layer { name: "ip" type: "InnerProduct" bottom: "chosen" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
    net = make_net(net_of(layer("Chosen", ["data"], ["chosen"]), inner, shape=(4, 3)), caffe.TEST)
    weights = net.params["ip"][0].data
    for positive in (3, 1, 4):
        data = np.random.default_rng(positive).normal(size=(4, 3)).astype(np.float32)
        data[:, 0] = np.where(np.arange(4) < positive, 1, -1)
        out = net.forward(data=data)["ip"]
        assert out.shape == (positive, 2)
        np.testing.assert_allclose(out, data[:positive] @ weights.T, rtol=1e-4, atol=1e-5)


def test_parameters_are_saved_loaded_and_shared(make_net):
    text = net_of(layer("Linear", ["data"], ["out"], "2", name="lin"), shape=(4, 3))
    net, other = make_net(text), make_net(text)
    net.params["lin"][0].data[...] = 5
    net.params["lin"][1].data[...] = [1, 2]
    assert [blob.data.shape for blob in net.params["lin"]] == [(2, 3), (2,)]
    net.save("w.caffemodel")
    other.copy_from("w.caffemodel")
    data = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(other.forward(data=data)["out"], np.tile([16, 17], (4, 1)))
    third = make_net(text)
    third.share_with(net)
    net.params["lin"][1].data[...] = [3, 3]
    assert (third.params["lin"][1].data == 3).all()
    del net
    gc.collect()
    assert (third.params["lin"][0].data == 5).all()


@pytest.mark.parametrize("observed", [None, []], ids=["all observed", "production plan"])
def test_views_that_a_layer_holds_are_true(make_net, observed):
    inner = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }'
    net = make_net(
        net_of(inner, layer("HoldingLinear", ["ip"], ["out"], "2", name="lin"), shape=(4, 3)), observed=observed
    )
    for factor in (1, -2):
        net.params["lin"][0].data[...] *= factor
        data = np.random.default_rng(factor + 9).normal(size=(4, 3)).astype(np.float32)
        out = net.forward(data=data)["out"]
        expected = data @ net.params["ip"][0].data.T @ net.params["lin"][0].data.T
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def learning_net(python):
    """A small regression, with the Python layers or with those of the engine that do the same."""
    inner = layer("Linear", ["data"], ["ip"], "2", "param { lr_mult: 1 } param { lr_mult: 2 }", name="ip")
    loss = layer("HalfSquare", ["ip", "target"], ["loss"], more="loss_weight: 1")
    if not python:
        inner = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } param { lr_mult: 1 } param { lr_mult: 2 } }'
        loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }'
    inputs = 'layer { name: "in" type: "Input" top: "data" top: "target" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }'
    return inputs + inner + loss


@pytest.mark.parametrize("observed", [None, []], ids=["all observed", "production plan"])
def test_python_layers_learn_as_the_engines_do(tmp_path, observed):
    rng = np.random.default_rng(0)
    data, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    trained = []
    for python in (True, False):
        (tmp_path / "net.prototxt").write_text(learning_net(python))
        (tmp_path / "solver.prototxt").write_text(
            SOLVER + 'net: "net.prototxt" snapshot_after_train: false test_iter: 1 test_interval: 5'
        )
        solver = caffe.get_solver("solver.prototxt", observed=observed)
        for net in [solver.net, *solver.test_nets]:
            net.blobs["data"].data[...] = data
            net.blobs["target"].data[...] = target
        solver.net.params["ip"][0].data[...] = np.linspace(-1, 1, 6).reshape(2, 3)
        solver.step(20)
        test_loss = float(solver.test_nets[0].forward()["loss"].squeeze())
        trained.append([blob.data.copy() for blob in solver.net.params["ip"]] + [test_loss])
    for mine, engines in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, engines, rtol=1e-4, atol=1e-5)
    assert trained[0][2] < 1


def test_snapshots_hold_python_layers_parameters(tmp_path):
    (tmp_path / "net.prototxt").write_text(learning_net(True))
    (tmp_path / "solver.prototxt").write_text(SOLVER + 'net: "net.prototxt" snapshot_prefix: "s"')
    first, second = caffe.get_solver("solver.prototxt"), caffe.get_solver("solver.prototxt")
    for solver in (first, second):
        solver.net.blobs["data"].data[...] = 1
    first.step(3)
    first.snapshot()
    first.step(2)
    second.restore("s_iter_3.solverstate")
    second.step(2)
    for mine, other in zip(first.net.params["ip"], second.net.params["ip"], strict=True):
        np.testing.assert_array_equal(mine.data, other.data)


def test_the_net_gives_the_object_of_the_layer(make_net):
    net = make_net(net_of(CONV, layer("Times", ["conv"], ["out"], "3", name="t")))
    times = net.layers[-1]
    assert type(times).__name__ == "Times" and isinstance(times, caffe.Layer) and net.layer_dict["t"] is times
    assert (times.type, times.name, times.param_str, times.param_str_, times.factor) == ("Python", "t", "3", "3", 3)
    assert len(times.blobs) == 0 and list(times.blobs) == []
    times.factor = 0
    net.blobs["data"].data[...] = 1
    assert not net.forward()["out"].any()


def test_blobs_of_a_layer_are_a_list(make_net):
    net = make_net(net_of(layer("Linear", ["data"], ["out"], "2"), shape=(4, 3)))
    blobs = net.layers[-1].blobs
    assert [blob.shape for blob in blobs] == [(2, 3), (2,)] == [blob.shape for blob in blobs[:]]
    assert blobs[-1].shape == (2,)
    with pytest.raises(IndexError):
        print(blobs[2])


def test_a_layer_may_keep_its_blobs_without_keeping_the_net(make_net):
    net = make_net(net_of(layer("Keeper", ["data"], ["out"])), caffe.TEST)
    assert (net.forward(data=np.ones((4, 3, 5, 5)))["out"] == 2).all()
    keeper, gone = net.layers[-1], weakref.ref(net)
    assert (keeper.top[0].data == 2).all()
    keeper.top[0].data[...] = 9
    assert (net.blobs["out"].data == 9).all()
    del net
    gc.collect()
    assert gone() is None
    for use in (lambda: keeper.top[0].data, lambda: keeper.top[0].reshape(1), lambda: len(keeper.blobs)):
        with pytest.raises(caffe.CaffeError, match="net of this layer is gone"):
            use()


def test_a_net_that_is_dropped_drops_its_layers(make_net):
    net = make_net(net_of(layer("Linear", ["data"], ["out"], "2"), shape=(4, 3)))
    gone = weakref.ref(net.layers[-1])
    blob = net.params["linear"][0]
    del net
    gc.collect()
    assert gone() is not None and blob.data.shape == (2, 3)  # a blob keeps its net
    del blob
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("ValueError('bad factor')", ValueError),
        ("KeyError('bad factor')", KeyError),
        ("OSError('bad factor')", OSError),
        ("UnicodeDecodeError('utf8', b'', 0, 0, 'bad factor')", caffe.CaffeError),
    ],
)
def test_what_a_layer_raises_names_the_layer_and_the_line(make_net, method, raised, kind):
    text = net_of(layer("Failing", ["data"], ["out"], f"{method}:{raised}", name="sore"))
    with pytest.raises(caffe.CaffeError) as caught:
        net = make_net(text)
        net.forward()
        net.backward()
    assert isinstance(caught.value, kind)
    message = str(caught.value)
    assert message.startswith("[layer sore (Python)] " + raised.split("(")[0]) and "bad factor" in message
    assert "python_layers.py" in message and f'self._fail_in("{method}")' in message
    assert caught.value.__cause__ is not None and "bad factor" in str(caught.value.__cause__)


def test_a_net_whose_layer_raised_runs_again(make_net):
    net = make_net(net_of(layer("Times", ["data"], ["out"], "3")))
    net.layers[-1].factor = "three"
    with pytest.raises(caffe.CaffeError, match="times"):
        net.forward()
    net.layers[-1].factor = 3
    net.blobs["data"].data[...] = 1
    assert (net.forward()["out"] == 3).all()


def test_ctrl_c_in_a_layer_stays_what_it_is(make_net):
    with pytest.raises(KeyboardInterrupt):
        make_net(net_of(layer("Failing", ["data"], ["out"], "setup:KeyboardInterrupt()")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('module: "no_such_module" layer: "X"', r"no_such_module.*working directory.*PYTHONPATH"),
        ('module: "python_layers" layer: "Nix"', r"no class 'Nix' in .*python_layers.py"),
        (
            'module: "python_layers" layer: "Plain"',
            r"'Plain' in .*python_layers.py is not a class derived from caffe.Layer",
        ),
        ('layer: "Plain"', "must name the module"),
    ],
)
def test_layers_that_are_not_there_are_named(make_net, settings, message):
    text = net_of(f'layer {{ name: "x" type: "Python" bottom: "data" top: "y" python_param {{ {settings} }} }}')
    with pytest.raises(caffe.CaffeError, match=rf"(?s)\[layer x \(Python\)\].*{message}"):
        make_net(text)


def test_methods_that_are_missing_are_named(make_net):
    net = make_net(net_of(layer("Phase", ["data"], ["phase"])))
    net.forward()
    with pytest.raises(NotImplementedError, match=r"Phase has no method backward\(self, top, propagate_down, bottom\)"):
        net.backward()


def test_parameters_are_made_in_setup(make_net):
    net = make_net(net_of(layer("LateParameter", ["data"])), caffe.TEST)
    with pytest.raises(caffe.CaffeError, match="add_blob.* is for setup"):
        net.forward()


def test_modules_are_found_in_the_working_directory_and_in_pythonpath(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    source = Path(__file__).with_name("python_layers.py").read_text()
    (tmp_path / "here_layers.py").write_text(source)
    (tmp_path / "elsewhere" / "there_layers.py").write_text(source)
    net = net_of(layer("Times", ["data"], ["a"], "2"), layer("Times", ["a"], ["b"], "2", name="b"))
    net = net.replace("python_layers", "here_layers", 1).replace("python_layers", "there_layers", 1)
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "elsewhere" / "run.py").write_text("import caffe; print(caffe.Net('net.prototxt', caffe.TEST).outputs)")
    environment = dict(os.environ, PYTHONPATH=str(tmp_path / "elsewhere"))
    run = subprocess.run(
        [sys.executable, "elsewhere/run.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "['b']" in run.stdout, run.stderr


def command(*words, folder, **environment):
    """The command `caffe`, with python_layers.py on the path."""
    program = Path(sys.executable).parent / "caffe"
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parent), **environment)
    return subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def drawn_inputs(net):
    """The net with numbers drawn by its seed, where it has inputs that a program fills."""
    dummy = 'type: "DummyData" top: "data" top: "target" dummy_data_param { data_filler { type: "gaussian" }'
    return net.replace('type: "Input" top: "data" top: "target" input_param {', dummy)


def test_the_command_trains_what_python_trains(tmp_path):
    (tmp_path / "net.prototxt").write_text(drawn_inputs(learning_net(True)))
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" ' + SOLVER.replace("max_iter: 100", "max_iter: 20") + 'snapshot_prefix: "trained"'
    )
    run = command("train", "-solver", "solver.prototxt", folder=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stderr.count("Starting Optimization") == 1
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    start = solver.net.params["ip"][0].data.copy()
    solver.step(20)
    assert np.abs(solver.net.params["ip"][0].data - start).max() > 0.1
    trained = caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "trained_iter_20.caffemodel"), caffe.TRAIN)
    for name, blobs in solver.net.params.items():
        for ours, theirs in zip(trained.params[name], blobs):
            np.testing.assert_array_equal(ours.data, theirs.data)


def test_the_command_reports_what_a_layer_raises(tmp_path):
    (tmp_path / "net.prototxt").write_text(net_of(layer("Failing", ["data"], ["out"], "forward:ValueError('no')")))
    run = command("time", "-model", "net.prototxt", "-iterations", "1", folder=tmp_path)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("caffe: ValueError: [layer failing (Python)]")


def test_workers_of_the_command_say_that_they_have_no_python(tmp_path):
    (tmp_path / "net.prototxt").write_text(drawn_inputs(learning_net(True)))
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" ' + SOLVER)
    run = command("train", "-solver", "solver.prototxt", "-workers", "2", folder=tmp_path)
    assert run.returncode == 1
    assert "(Python)] is written in Python" in run.stderr.splitlines()[-1] and "-workers 1" in run.stderr


def test_nets_with_python_layers_run_in_threads(make_net):
    nets = [make_net(net_of(CONV, layer("Times", ["conv"], ["out"], "2"))) for _ in range(3)]
    for index, net in enumerate(nets):
        net.blobs["data"].data[...] = index
    done = []

    def work(net):
        for _ in range(20):
            net.forward()
            net.backward()
        done.append(net)

    threads = [threading.Thread(target=work, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(done) == 3
    for net in nets:
        np.testing.assert_allclose(net.blobs["out"].data, 2 * net.blobs["conv"].data, rtol=1e-6)


def test_a_layer_is_not_pickled(make_net):
    net = make_net(net_of(CONV, layer("Times", ["conv"], ["out"], "2")))
    for thing in (net.layers[-1], net.layers[1], net.layers[-1].blobs, net.blobs["conv"]):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)
