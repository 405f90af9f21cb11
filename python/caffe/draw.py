"""Pictures of nets: layers and blobs as a graph.

Needs the package pydot, and for everything but the format "raw" the program `dot` of Graphviz. As a command:
draw_net NET.prototxt PICTURE.png.
"""

import argparse
import os

from ._caffe import CaffeError, read_net
from .proto import caffe_pb2

_BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
_LAYER_COLORS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}
_IN_PLACE_COLOR = "#90EE90"
_RANKDIRS = ("TB", "BT", "LR", "RL")


def _pydot():
    try:
        import pydot
    except ImportError:
        raise ImportError(
            "drawing nets needs the package pydot (pip install pydot) and the program dot (Debian: graphviz)"
        ) from None
    return pydot


def get_pooling_types_dict():
    """{0: "MAX", ...}: the names of the pooling methods by their numbers."""
    return {value: name for name, value in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_edge_label(layer):
    """What stands at the arrow out of a layer (a LayerParameter): its outputs or batch size, or a quoted blank."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer):
    """The learning rate multipliers of a Convolution, Deconvolution or InnerProduct layer; None for others."""
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        return None
    has_bias = (layer.inner_product_param if layer.type == "InnerProduct" else layer.convolution_param).bias_term
    given = [param.lr_mult for param in layer.param]
    return tuple((given + [1.0, 1.0])[: max(len(given), 1 + has_bias)])


def _window_parts(param):
    """What a convolution's or pooling's message says of its window: ["kernel size: 3", "stride: 1x2", "pad: 0"]."""
    parts = []
    for title, name, field, default in (
        ("kernel size", "kernel", "kernel_size", "?"),
        ("stride", "stride", "stride", 1),
        ("pad", "pad", "pad", 0),
    ):
        if param.HasField(f"{name}_h") or param.HasField(f"{name}_w"):
            sizes = [getattr(param, f"{name}_h"), getattr(param, f"{name}_w")]
        else:
            value = getattr(param, field)
            sizes = [value] if isinstance(value, int) else list(value) or [default]
        parts.append(f"{title}: {'x'.join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1]))}")
    return parts


def get_layer_label(layer, rankdir, display_lrm=False):
    r"""The text of a layer's box: name, type and what shapes its tops.

    layer: a LayerParameter. rankdir: as for get_pydot_graph; parts stand beside each other in graphs from top to bottom
    and below each other in others. display_lrm: with learning rate multipliers.
    """
    separator = " " if rankdir in ("TB", "BT") else "\\n"
    parts = [f"{layer.name}{separator}({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        parts += _window_parts(param)
        if any(value > 1 for value in param.dilation):
            parts.append(f"dilation: {'x'.join(map(str, param.dilation))}")
    elif layer.type == "Pooling":
        param = layer.pooling_param
        parts[0] = f"{layer.name}{separator}({get_pooling_types_dict()[param.pool]} {layer.type})"
        parts += ["global"] if param.global_pooling else _window_parts(param)
    elif layer.type == "Python":
        parts.append(f"{layer.python_param.module}.{layer.python_param.layer}")
    multipliers = get_layer_lr_mult(layer) if display_lrm else None
    if multipliers:
        parts.append(f"lr mult: {', '.join(f'{value:g}' for value in multipliers)}")
    return '"' + separator.join(part.replace('"', "'") for part in parts) + '"'


def choose_color_by_layertype(layertype):
    """The colour of a layer type's boxes, as "#RRGGBB"."""
    return _LAYER_COLORS.get(layertype, "#6495ED")


def _included(layer, phase):
    if phase is None:
        return True
    if layer.HasField("phase"):
        return layer.phase == phase
    included = [rule for rule in layer.include if rule.HasField("phase")]
    excluded = [rule for rule in layer.exclude if rule.HasField("phase")]
    if included and all(rule.phase != phase for rule in included):
        return False
    return all(rule.phase != phase for rule in excluded)


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """The graph of a net, a pydot.Dot.

    caffe_net: a NetParameter. rankdir: "TB", "BT", "LR" or "RL", the direction of the arrows (T is the top, L the
    left). label_edges: with numbers of outputs at the arrows. phase: caffe.TRAIN or caffe.TEST to draw only its layers.
    display_lrm: with learning rate multipliers.
    """
    if rankdir not in _RANKDIRS:
        raise ValueError(f"rankdir is {rankdir!r}; use one of {', '.join(_RANKDIRS)}")
    pydot = _pydot()
    graph = pydot.Dot(f'"{caffe_net.name or "Net"}"', graph_type="digraph", rankdir=rankdir)
    nodes, edges = {}, []
    for number, layer in enumerate(caffe_net.layer):
        if not _included(layer, phase):
            continue
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        color = _IN_PLACE_COLOR if in_place else choose_color_by_layertype(layer.type)
        key = f"layer {number}"
        label = get_layer_label(layer, rankdir, display_lrm)
        nodes[key] = pydot.Node(f'"{key}"', label=label, shape="box", style="filled", fillcolor=f'"{color}"')
        for blob in layer.bottom:
            edges.append((f"blob {blob}", key, None))
        for blob in layer.top:
            edges.append((key, f"blob {blob}", get_edge_label(layer) if label_edges else None))
        for blob in [*layer.bottom, *layer.top]:
            style = {name: f'"{value}"' for name, value in _BLOB_STYLE.items()}
            nodes.setdefault(f"blob {blob}", pydot.Node(f'"blob {blob}"', label=f'"{blob}"', **style))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        style = {} if label in (None, '""') else {"label": f'"{label}"'}
        graph.add_edge(pydot.Edge(f'"{source}"', f'"{target}"', **style))
    return graph


def draw_net(caffe_net, rankdir, ext="png", phase=None, display_lrm=False):
    """The picture of a net, as bytes of an image file.

    ext: the format: png, svg, pdf, ..., or raw for the text that `dot` takes. Others: as for get_pydot_graph.
    """
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    if ext in ("raw", "dot"):
        return graph.to_string().encode()
    try:
        return graph.create(format=ext)
    except FileNotFoundError:
        raise CaffeError(
            'drawing nets needs the program dot (Debian: apt-get install graphviz); the format "raw" does not'
        ) from None
    except AssertionError as error:
        raise CaffeError(f"dot could not draw the net in the format {ext!r}: {error}") from None


def draw_net_to_file(caffe_net, filename, rankdir="LR", phase=None, display_lrm=False):
    """Writes the picture of a net into a file, in the format of the name's ending; arguments as for draw_net."""
    ext = os.path.splitext(filename)[1][1:]
    if not ext:
        raise ValueError(f"the file name {os.fspath(filename)!r} needs an ending that says the format, as .png")
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with open(filename, "wb") as file:
        file.write(picture)


def main(arguments=None):
    """The command draw_net."""
    parser = argparse.ArgumentParser(
        prog="draw_net", description="Draws a net file as a graph of layers and blobs.", add_help=False
    )
    parser.add_argument("-h", "-help", "--help", action="help", help="prints this")
    parser.add_argument("input_net_proto_file", help="the net, a .prototxt")
    parser.add_argument(
        "output_image_file", help="the picture, in the format of its ending: .png, .svg, .pdf, .raw, ..."
    )
    parser.add_argument(
        "-rankdir", "--rankdir", default="LR", choices=_RANKDIRS, help="direction of the arrows (default %(default)s)"
    )
    parser.add_argument("-phase", "--phase", default="ALL", choices=("TRAIN", "TEST", "ALL"), help="only its layers")
    parser.add_argument(
        "-display_lrm", "--display_lrm", action="store_true", help="with the layers' learning rate multipliers"
    )
    options = parser.parse_args(arguments)
    phase = None if options.phase == "ALL" else caffe_pb2.Phase.Value(options.phase)
    try:
        net = caffe_pb2.NetParameter.FromString(read_net(options.input_net_proto_file))
        draw_net_to_file(net, options.output_image_file, options.rankdir, phase, options.display_lrm)
    except (OSError, ImportError, ValueError, CaffeError) as error:
        parser.exit(1, f"draw_net: {error}\n")
    print(f"Drew {options.input_net_proto_file} to {options.output_image_file}")
