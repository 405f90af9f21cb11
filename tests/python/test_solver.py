"""caffe.get_solver and the solver classes."""

import pickle
import signal
import threading
import time

import caffe
import numpy as np
import pytest


@pytest.fixture
def solver(solver_file):
    return fed(caffe.get_solver(solver_file()))


def fed(solver):
    """With an input that does not change."""
    generator = np.random.default_rng(0)
    solver.net.blobs["data"].data[...] = generator.normal(size=(4, 3, 12, 12))
    solver.net.blobs["label"].data[...] = [0, 1, 2, 3]
    return solver


def weights(solver):
    return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]


def assert_equal(a, b):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


def test_steps_learn(solver):
    assert isinstance(solver, caffe.SGDSolver) and solver.type == "SGD"
    solver.step(1)
    first = float(solver.net.blobs["loss"].data)
    solver.step(30)
    assert solver.iter == 31
    assert float(solver.net.blobs["loss"].data) < 0.5 * first


def test_solve_goes_to_max_iter(solver_file):
    solver = fed(caffe.SGDSolver(solver_file("snapshot_after_train: false")))
    solver.step(95)
    solver.solve()
    assert solver.iter == 100


def test_snapshots_are_restored(solver, solver_file):
    solver.step(3)
    solver.snapshot()
    solver.step(4)
    other = fed(caffe.get_solver(solver_file()))
    other.restore("snap_iter_3.solverstate")
    assert other.iter == 3
    other.step(4)
    assert_equal(weights(solver), weights(other))


def test_apply_update_is_the_update_rule(solver):
    before = weights(solver)
    solver.net.forward()
    solver.net.clear_param_diffs()
    solver.net.backward()
    gradients = [blob.diff.copy() for blobs in solver.net.params.values() for blob in blobs]
    solver.apply_update()
    assert solver.iter == 1
    for old, gradient, new in zip(before, gradients, weights(solver), strict=True):
        np.testing.assert_allclose(new, old - 0.05 * (gradient + 0.001 * old), rtol=1e-5, atol=1e-7)


def test_param_tells_the_settings(solver):
    assert solver.param.max_iter == 100 and solver.param.base_lr == np.float32(0.05)


def test_test_nets_share_the_weights(solver_file):
    solver = caffe.get_solver(solver_file("test_iter: 1 test_interval: 1000 test_initialization: false"))
    assert len(solver.test_nets) == 1
    fed(solver).step(2)
    assert_equal(weights(solver), [blob.data for blobs in solver.test_nets[0].params.values() for blob in blobs])
    solver.test_all()


def test_share_weights_with_another_net(solver, make_net):
    net = make_net()
    solver.share_weights(net)
    solver.step(1)
    np.testing.assert_array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_the_net_lives_without_its_solver(solver_file):
    net = fed(caffe.get_solver(solver_file())).net
    net.forward()
    net.backward()
    assert np.isfinite(net.params["conv1"][0].diff).all()


def test_a_reshaped_input_is_followed_by_the_next_step(solver):
    solver.step(1)
    solver.net.blobs["data"].reshape(2, 3, 12, 12)
    solver.net.blobs["label"].reshape(2)
    solver.net.blobs["data"].data[...] = 1
    solver.net.blobs["label"].data[...] = 0
    solver.step(1)
    assert solver.net.blobs["ip"].data.shape == (2, 5)
    assert np.isfinite(solver.net.blobs["loss"].data)


def test_only_blobs_that_are_observed_can_be_read(solver_file):
    solver = fed(caffe.get_solver(solver_file(), observed=[]))
    solver.step(1)
    assert np.isfinite(solver.net.blobs["loss"].data)
    with pytest.raises(caffe.CaffeError, match="not observed"):
        solver.net.blobs["conv1"].data.sum()


def test_unknown_types_are_named(solver_file):
    with pytest.raises(caffe.CaffeError, match=r"Unknown solver type: Foo \(known types: .*SGD"):
        caffe.get_solver(solver_file('type: "Foo"'))


def test_missing_files_are_named(solver, solver_file):
    with pytest.raises(caffe.CaffeError, match="nowhere.prototxt"):
        caffe.get_solver("nowhere.prototxt")
    with pytest.raises(caffe.CaffeError, match="nowhere.solverstate"):
        solver.restore("nowhere.solverstate")


def test_the_process_seed_counts_where_the_file_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(caffe.mode, "_seed", None)
    net = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } } layer { name: "ip" '
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }'
    )
    (tmp_path / "s.prototxt").write_text(f'base_lr: 1 lr_policy: "fixed" solver_mode: CPU net_param {{ {net} }}')
    caffe.set_random_seed(4)
    first, second = caffe.get_solver("s.prototxt"), caffe.get_solver("s.prototxt")
    assert_equal(weights(first), weights(second))
    caffe.set_random_seed(5)
    assert (weights(first)[0] != weights(caffe.get_solver("s.prototxt"))[0]).any()


def test_a_solver_is_not_pickled(solver):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(solver)


def test_callbacks_see_each_iteration(solver):
    seen = []

    def on_gradients_ready():
        seen.append((solver.iter, solver.net.params["ip"][0].diff.any()))
        solver.net.params["ip"][0].diff[...] = 0

    solver.add_callback(lambda: seen.append(solver.iter), on_gradients_ready)
    before = solver.net.params["ip"][0].data.copy()
    solver.step(2)
    assert seen == [0, (0, True), 1, (1, True)]
    decay = 0.05 * 0.001
    np.testing.assert_allclose(
        solver.net.params["ip"][0].data, before * (1 - decay) * (1 - decay) - 0.9 * decay * before, 1e-5
    )


def test_what_a_callback_raises_ends_the_step(solver):
    def stop():
        if solver.iter == 2:
            raise LookupError("enough")

    solver.add_callback(stop, lambda: None)
    with pytest.raises(LookupError, match="enough"):
        solver.step(10)
    assert solver.iter == 2


def test_ctrl_c_ends_the_step(solver):
    # A job in the background of a shell begins with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        deadline = time.monotonic() + 60
        while solver.iter < 3 and time.monotonic() < deadline:
            pass
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        solver.step(1_000_000)
    thread.join(60)
    signal.signal(signal.SIGINT, before)
    assert 3 <= solver.iter < 1_000_000
