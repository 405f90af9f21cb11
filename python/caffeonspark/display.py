"""Pictures, captions and networks as tables in a notebook. What these functions return is HTML that Jupyter shows."""

import base64
import struct
import zlib
from html import escape
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

__all__ = ["get_image", "get_np_array", "image_tag", "show_captions", "show_df", "show_network"]


class Html(str):
    """A text that notebooks show as HTML."""

    def _repr_html_(self) -> str:
        return self


def get_image(image: bytes) -> str:
    """The tag of an image file's bytes."""
    return f"<img src='data:;base64,{base64.b64encode(bytes(image)).decode()}' />"


def get_np_array(row: Any) -> np.ndarray:
    """The gray pixels of a row with data, height and width."""
    return np.frombuffer(bytes(row.data), "uint8").reshape(row.height, row.width)


def image_tag(pixels: np.ndarray) -> str:
    """The tag of gray pixels, height x width."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in np.asarray(pixels, "uint8"))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    png = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return get_image(b"".join(png))


def _table(titles: list[str], rows: list[list[str]]) -> Html:
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return Html(f"<table><tr>{head}</tr>{body}</table>")


def show_df(df: DataFrame, nrows: int = 10) -> Html:
    """The first rows of a DataFrame of gray pixels: id, label, data, height, width."""
    rows = [[escape(str(row.id)), escape(str(row.label)), image_tag(get_np_array(row))] for row in df.take(nrows)]
    return _table(["Index", "Label", "Image"], rows)


def show_captions(df: DataFrame, nrows: int = 10) -> Html:
    """The first rows of a DataFrame of captioned pictures: id, data (with the file in `image`), prediction."""
    rows = [[escape(str(row.id)), get_image(row.data.image), escape(str(row.prediction))] for row in df.take(nrows)]
    return _table(["Image Id", "Image", "Prediction"], rows)


def show_network(input_net_proto_file: str, rankdir: str = "LR") -> Html:
    """The graph of a prototxt. Needs pydot and Graphviz."""
    from caffe.draw import draw_net
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    net = caffe_pb2.NetParameter()
    with open(input_net_proto_file) as file:
        text_format.Parse(file.read(), net)
    return Html(get_image(draw_net(net, rankdir)))
