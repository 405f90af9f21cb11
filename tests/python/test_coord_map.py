"""caffe.coord_map: where the coordinates of one top lie in another; the oracle is what the net itself computes."""

import caffe
import numpy as np
import pytest
from caffe import layers as L  # noqa: N812
from caffe import params as P  # noqa: N812
from caffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)


def net_of(kernel=3, stride=1, pad=0, pool=2, up=2, up_pad=0):
    """data -> conv -> pool -> deconv, whose kernel is twice its stride, as in fully convolutional nets."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 60, 60]))
    n.aux = L.Input(shape=dict(dim=[2, 1, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=3, kernel_size=kernel, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool)
    n.deconv = L.Deconvolution(
        n.pool,
        convolution_param=dict(num_output=3, kernel_size=[2 * s for s in np.atleast_1d(up)], stride=up, pad=up_pad),
    )
    return n


def test_up_and_down_by_the_same_factor():
    n = net_of()
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    assert (axis, scale, shift) == (1, 1, 0)
    n = net_of(pool=4, up=4)
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    assert (axis, scale, shift) == (1, 1, -1)


def test_padding_shifts():
    plain = net_of()
    _, scale, shift = coord_map_from_to(plain.deconv, plain.data)
    for pad in (1, 4):
        padded, cut, both = net_of(pad=pad), net_of(up_pad=pad), net_of(pad=pad, up_pad=pad)
        assert coord_map_from_to(padded.deconv, padded.data)[1:] == (scale, shift - pad)
        assert coord_map_from_to(cut.deconv, cut.data)[1:] == (scale, shift + pad)
        assert coord_map_from_to(both.deconv, both.data)[1:] == (scale, shift)


@pytest.mark.parametrize("kind", ["ReLU", "Dropout", "BatchNorm", "Scale", "LRN", "Power"])
def test_layers_that_keep_the_place(kind):
    n = net_of()
    before = coord_map_from_to(n.deconv, n.data)
    n.same = getattr(L, kind)(n.deconv)
    n.again = L.Convolution(n.same, num_output=1, kernel_size=1)
    assert coord_map_from_to(n.again, n.data) == before
    assert coord_map(n.same.fn) == (None, 1, 0)


def test_axes_may_differ_in_kernel_stride_and_pad():
    n = net_of(kernel=[3, 5], stride=[1, 2], pad=[0, 10])
    _, scale, shift = coord_map_from_to(n.deconv, n.data)
    for i, same in enumerate((net_of(), net_of(kernel=5, stride=2, pad=10))):
        _, one_scale, one_shift = coord_map_from_to(same.deconv, same.data)
        assert scale[i] == one_scale and shift[i] == one_shift


def test_more_axes():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 20, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 3, 3], pad=[0, 1, 2])
    _, scale, shift = coord_map_from_to(n.conv, n.data)
    assert np.all(scale == 1) and np.diff(shift).tolist() == [-1, -1]


def test_every_top_and_bottom_of_a_layer_maps_alike():
    n = net_of()
    n.one, n.two = L.Convolution(n.data, n.aux, ntop=2, num_output=2, kernel_size=5, stride=2)
    assert coord_map_from_to(n.one, n.data) == coord_map_from_to(n.two, n.aux)


def test_cropping_what_was_cropped():
    n = net_of()
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    n.cropped = L.Crop(n.deconv, n.data, axis=2, offset=3)
    assert coord_map_from_to(n.cropped, n.data) == (axis, scale, shift + 3)
    with pytest.raises(RuntimeError):  # the second bottom gives a size, not a place
        coord_map_from_to(n.cropped, L.ReLU(L.Input(shape=dict(dim=[1]))))


def test_composition_and_inverse():
    first, second = (1, 2.0, 3.0), (None, 0.5, -1.0)
    assert compose(first, second) == (1, 1.0, 1.0)
    assert compose(second, first) == (1, 1.0, 0.5)
    assert compose(first, inverse(first)) == (1, 1.0, 0.0)
    with pytest.raises(AxisMismatchException, match="axis 1 .* 2"):
        compose((1, 1, 0), (2, 1, 0))


def test_tops_without_coordinates_are_refused():
    n = net_of()
    n.ip = L.InnerProduct(n.deconv, num_output=2)
    with pytest.raises(UndefinedMapException, match="InnerProduct"):
        coord_map(n.ip.fn)
    with pytest.raises(RuntimeError, match="no ancestor in common"):
        coord_map_from_to(n.ip, n.data)
    n.pool_all = L.Pooling(n.deconv, global_pooling=True)
    with pytest.raises(RuntimeError):
        coord_map_from_to(n.pool_all, n.data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(pool=3, up=2), "scale mismatch"),
        (dict(up_pad=10), "negative"),
        (dict(kernel=2, pad=1), "whole number"),
    ],
)
def test_crops_that_cannot_be_are_refused(settings, message):
    n = net_of(**settings)
    with pytest.raises(AssertionError, match=message):
        crop(n.deconv, n.data)
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 9, 9]))
    n.conv = L.Convolution(n.data, kernel_h=3, kernel_w=3, num_output=1)
    with pytest.raises(AssertionError, match="kernel_h, kernel_w"):
        crop(n.conv, n.data)


@pytest.mark.parametrize(("kernel", "pad", "factor"), [(3, 5, 2), (5, 10, 4), (1, 8, 2)])
def test_the_crop_lies_over_the_image(tmp_path, kernel, pad, factor):
    """A bright pixel comes out where it was: the centre of mass of the cropped map is the pixel's place."""
    n = caffe.NetSpec()
    ones = dict(type="constant", value=1)
    n.data = L.Input(shape=dict(dim=[1, 1, 40, 48]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=kernel, pad=pad, weight_filler=ones)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.AVE, kernel_size=factor, stride=factor)
    n.up = L.Deconvolution(
        n.pool,
        convolution_param=dict(
            num_output=1, kernel_size=2 * factor, stride=factor, weight_filler=dict(type="bilinear")
        ),
    )
    n.score = crop(n.up, n.data)
    (tmp_path / "net.prototxt").write_text(str(n.to_proto()))
    net = caffe.Net("net.prototxt", caffe.TEST)
    block = np.zeros((1, 1, 40, 48), np.float32)
    block[0, 0, 16 : 16 + factor, 20 : 20 + factor] = 1
    centre = (16 + (factor - 1) / 2, 20 + (factor - 1) / 2)
    score = net.forward(data=block)["score"][0, 0]
    assert score.shape == (40, 48)
    found = [np.average(np.arange(size), weights=score.sum(1 - axis)) for axis, size in enumerate(score.shape)]
    np.testing.assert_allclose(found, centre, atol=(factor - 1) / 2)
