"""numpy views on blobs: no copies, valid as long as they are held, pinned while the net works in layouts of its own."""

import gc

import caffe
import numpy as np
import pytest


@pytest.fixture(params=[None, []], ids=["all observed", "production plan"])
def net(request, make_net):
    net = make_net(observed=request.param)
    generator = np.random.default_rng(0)
    net.blobs["data"].data[...] = generator.normal(size=(4, 3, 12, 12))
    net.blobs["label"].data[...] = [0, 1, 2, 3]
    return net


def address(array):
    return array.__array_interface__["data"][0]


def reference(net, make_net):
    """What a fresh net with copies of the same inputs and weights computes: outputs and parameter gradients."""
    fresh = make_net()
    for name in net.inputs:
        fresh.blobs[name].data[...] = net.blobs[name].data
    for name, blobs in net.params.items():
        for mine, other in zip(fresh.params[name], blobs, strict=True):
            mine.data[...] = other.data
    fresh.forward()
    fresh.backward()
    return fresh.blobs["loss"].data.copy(), [b.diff.copy() for bs in fresh.params.values() for b in bs]


def test_two_views_are_one_memory(net):
    first, second = net.blobs["data"].data, net.blobs["data"].data
    assert address(first) == address(second)
    first[0, 0, 0, 0] = 42
    assert second[0, 0, 0, 0] == 42
    assert first.dtype == np.float32 and first.shape == (4, 3, 12, 12) and first.flags.writeable


def test_a_scalar_blob_has_no_axes(net):
    net.forward()
    loss = net.blobs["loss"].data
    assert loss.shape == () and 0.5 < float(loss) < 5


def test_a_view_held_and_read_later_shows_what_the_pass_computed(net, make_net):
    loss = net.blobs["loss"].data
    gradient = net.params["conv2"][0].diff
    data_gradient = net.blobs["data"].diff
    before = [view.copy() for view in (loss, gradient, data_gradient)]
    net.forward()
    net.backward()
    assert float(loss) != float(before[0])
    expected_loss, expected = reference(net, make_net)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[2], rtol=1e-4, atol=1e-6)
    assert np.abs(data_gradient).max() > 0


def test_a_view_held_and_written_later_is_what_the_net_uses(net, make_net):
    data, weights = net.blobs["data"].data, net.params["conv1"][0].data
    for scale in (0.5, 2.0, -1.0):
        net.forward()
        net.backward()
        weights *= scale
        data += 0.25
        net.clear_param_diffs()
        net.forward()
        net.backward()
        expected_loss, expected = reference(net, make_net)
        np.testing.assert_allclose(net.blobs["loss"].data, expected_loss, rtol=1e-5)
        np.testing.assert_allclose(net.params["conv1"][0].diff, expected[0], rtol=1e-4, atol=1e-6)


def test_a_view_released_and_taken_again_shows_the_newest_values(net):
    view = net.params["conv1"][0].data
    net.forward()
    view[...] = 0
    del view
    gc.collect()
    net.forward()
    net.backward()
    assert not net.params["conv1"][0].data.any()


def test_parameter_gradients_add_up_in_a_held_view(net):
    gradient = net.params["ip"][0].diff
    net.forward()
    net.backward()
    once = gradient.copy()
    net.forward()
    net.backward()
    np.testing.assert_allclose(gradient, 2 * once, rtol=1e-5, atol=1e-7)
    net.clear_param_diffs()
    assert not gradient.any()
    net.forward()
    net.backward()
    np.testing.assert_allclose(gradient, once, rtol=1e-5, atol=1e-7)


def test_a_view_outlives_its_net(net):
    net.forward()
    views = [net.blobs["loss"].data, net.params["conv2"][0].data, net.params["conv2"][0].diff, net.blobs["data"].data]
    values = [view.copy() for view in views]
    del net
    gc.collect()
    junk = [np.full(view.size, 7, np.float32) for view in views for _ in range(8)]
    for view, value in zip(views, values, strict=True):
        np.testing.assert_array_equal(view, value)
        view += 1
        np.testing.assert_array_equal(view, value + 1)
    assert all((part == 7).all() for part in junk)


def test_a_blob_outlives_the_name_of_its_net(make_net):
    blob = make_net().params["conv2"][0]
    gc.collect()
    assert np.isfinite(blob.data).all()


def test_a_view_from_before_a_reshape_keeps_its_values(net):
    net.forward()
    old = net.blobs["data"].data
    values = old.copy()
    net.blobs["data"].reshape(2, 3, 12, 12)
    net.blobs["label"].reshape(2)
    new = net.blobs["data"].data
    assert new.shape == (2, 3, 12, 12) and address(new) != address(old)
    new[...] = 1
    net.blobs["label"].data[...] = 0
    net.forward()
    np.testing.assert_array_equal(old, values)
    assert net.blobs["loss"].data.shape == ()


def test_an_unobserved_blob_cannot_be_read(make_net):
    net = make_net(observed=["ip"])
    net.forward()
    assert net.blobs["ip"].data.shape == (4, 5)
    for read in (lambda: net.blobs["conv2"].data, lambda: net.blobs["conv2"].diff):
        with pytest.raises(caffe.CaffeError, match="'conv2'.*not observed"):
            read()
    assert net.blobs["conv2"].shape == (4, 16, 12, 12)


def test_an_observed_blob_must_exist(make_net):
    with pytest.raises(caffe.CaffeError, match="nix"):
        make_net(observed=["nix"])


@pytest.mark.parametrize("observed", [None, []], ids=["all observed", "production plan"])
def test_views_on_parameters_follow_a_solver(solver_file, observed):
    def trained(hold):
        solver = caffe.get_solver(solver_file(), observed=observed)
        generator = np.random.default_rng(1)
        solver.net.blobs["data"].data[...] = generator.normal(size=(4, 3, 12, 12))
        solver.net.blobs["label"].data[...] = [3, 1, 2, 0]
        weights = solver.net.params["conv2"][0]
        held = [weights.data, weights.diff] if hold else []
        seen = []
        for step in range(5):
            solver.step(1)
            if step == 2:
                (held[0] if hold else weights.data)[...] *= 0.5
            seen.append((held[0] if hold else weights.data).copy())
        return seen

    for with_view, without in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(with_view, without, rtol=1e-5, atol=1e-7)
    seen = trained(True)
    assert all((a != b).any() for a, b in zip(seen, seen[1:], strict=False))
