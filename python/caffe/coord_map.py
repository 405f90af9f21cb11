"""How the coordinates of one top relate to those of another, in a NetSpec.

Cropping a score map to its image, as fully convolutional nets do, needs the offset between the two:

    n.score = caffe.coord_map.crop(n.upscore, n.data)

A map is (axis, scale, shift): coordinate x of the first top lies at scale * x + shift of the second; `axis` is the one
before the first axis of coordinates (1 for N x C x H x W), None where any will do. scale and shift are numbers or
arrays with one value per axis of coordinates.
"""

import numpy as np

from .net_spec import layers

#: Layers whose outputs lie where their inputs do.
PASS_THROUGH_LAYERS = [
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN", "MVN", "Power"),
    *("PReLU", "ReLU", "ReLU6", "Scale", "Sigmoid", "Split", "Swish", "TanH", "Threshold"),
]

IDENTITY = (None, 1, 0)


class UndefinedMapException(Exception):  # noqa: N818 (pycaffe's name)
    """A layer's outputs have no place in its inputs' coordinates (InnerProduct, for instance)."""


class AxisMismatchException(Exception):  # noqa: N818 (pycaffe's name)
    """Two layers in a row have their coordinates on different axes."""


def conv_params(fn):
    """(axis, stride, extent, pad) of a layer with a window; extent is the kernel's, dilation included. 1-D arrays."""
    params = fn.params.get("convolution_param", fn.params.get("pooling_param", fn.params))
    both = [name for name in params if name.endswith(("_h", "_w")) and name[:-2] in ("kernel", "pad", "stride")]
    if both:
        raise AssertionError(
            f"{fn.type_name}: coordinates cannot be followed through {', '.join(both)}; "
            "write kernel_size, stride and pad as lists"
        )
    if "kernel_size" not in params:
        raise UndefinedMapException(f"{fn.type_name} without kernel_size has no coordinate map")
    kernel, stride, pad, dilation = (
        np.atleast_1d(params.get(name, default))
        for name, default in (("kernel_size", 1), ("stride", 1), ("pad", 0), ("dilation", 1))
    )
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn):
    """(axis, offset) of a Crop layer: the first axis that it crops, and an array."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.atleast_1d(params.get("offset", 0))


def coord_map(fn):
    """The map from the inputs of a layer (a net_spec.Function) to its tops.

    Raises UndefinedMapException for layers that have none.
    """
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        # Output y looks at inputs y * stride - pad + [0, extent), whose centre counts.
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"{fn.type_name} layers have no coordinate map")


def compose(base_map, next_map):
    """The map that applies `next_map` and then `base_map`."""
    base_axis, base_scale, base_shift = base_map
    next_axis, next_scale, next_shift = next_map
    if None not in (base_axis, next_axis) and base_axis != next_axis:
        raise AxisMismatchException(f"coordinates follow axis {base_axis} in one layer and {next_axis} in another")
    axis = next_axis if base_axis is None else base_axis
    return axis, base_scale * next_scale, base_scale * next_shift + base_shift


def inverse(coord_map):
    """The map back."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def _ancestors(top):
    """(ancestor, map from it to `top`) of all tops that `top` is made of, nearest first; at its head `top` itself."""
    seen = {top}
    pending = [(top, IDENTITY)]
    while pending:
        current, to_top = pending.pop(0)
        yield current, to_top
        try:
            step = coord_map(current.fn)
        except UndefinedMapException:
            continue
        # The second bottom of a Crop layer only gives a size.
        inputs = current.fn.inputs[:1] if current.fn.type_name == "Crop" else current.fn.inputs
        for bottom in inputs:
            if bottom not in seen:
                seen.add(bottom)
                pending.append((bottom, compose(to_top, step)))


def coord_map_from_to(top_from, top_to):
    """The map from coordinates of `top_from` to those of `top_to`, over an ancestor that they share.

    Raises RuntimeError where there is none that layers with coordinate maps connect both with.
    """
    from_maps = dict(_ancestors(top_from))
    for ancestor, to_map in _ancestors(top_to):
        if ancestor in from_maps:
            return compose(to_map, inverse(from_maps[ancestor]))
    raise RuntimeError(
        "the two tops have no ancestor in common that layers with coordinates connect them with "
        "(InnerProduct and data layers, for instance, have none)"
    )


def crop(top_from, top_to):
    """A Crop layer that cuts out of `top_from` what lies over `top_to`.

    Raises AssertionError where one is a scaled version of the other, or the offset is negative or no whole number.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    offset = -np.atleast_1d(shift)
    if not np.all(np.equal(scale, 1)):
        raise AssertionError(f"cannot crop: scale mismatch, one top is {scale} times the other")
    if not np.all(offset >= 0):
        raise AssertionError(
            f"cannot crop at the negative offset {offset}: the top is smaller than what it shall cover"
        )
    if not np.all(offset == np.round(offset)):
        raise AssertionError(f"cannot crop at the offset {offset}, which is no whole number")
    first = 2 if axis is None else axis + 1
    return layers.Crop(top_from, top_to, crop_param=dict(axis=first, offset=[int(value) for value in offset]))
