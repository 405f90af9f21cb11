"""Layers written in Python.

A prototxt names one by module and class:

    layer {
      name: "loss" type: "Python" bottom: "score" bottom: "label" top: "loss" loss_weight: 1
      python_param { module: "my_layers" layer: "EuclideanLoss" param_str: "{'scale': 2}" }
    }

The module is looked for as `import my_layers` does (PYTHONPATH), then in the working directory.
"""

import importlib
import os
import sys
import traceback

from ._caffe import BlobVec, CaffeError
from .proto import caffe_pb2


class Layer:
    """What a layer written in Python derives from, and overrides the methods of.

    bottom and top are lists of caffe.Blob. Their data and diff are views on the net's own memory, so write into them
    (`top[0].data[...] = x`) instead of replacing them.
    """

    type: str = "Python"
    #: The layer's name in the net.
    name: str
    #: python_param.param_str.
    param_str: str
    #: caffe.TRAIN or caffe.TEST.
    phase: int
    #: Parameters. setup() creates them: self.blobs.add_blob(*extents).
    blobs: BlobVec

    def __init__(self, param=None):
        """param: the LayerParameter of the layer."""

    @property
    def param_str_(self) -> str:
        """param_str, by the name that it had before Caffe 1.0."""
        return self.param_str

    def setup(self, bottom, top):
        """Called once, before all others: check the bottoms, read param_str, create parameters."""

    def reshape(self, bottom, top):
        """Called whenever a shape may have changed, and before each forward(): top[i].reshape(*extents)."""
        raise NotImplementedError(f"{type(self).__name__} has no method reshape(self, bottom, top)")

    def forward(self, bottom, top):
        """Overwrites the tops' data. May reshape the tops, where their shapes depend on values."""
        raise NotImplementedError(f"{type(self).__name__} has no method forward(self, bottom, top)")

    def backward(self, top, propagate_down, bottom):
        """Overwrites the diff of each bottom whose propagate_down is true; adds to the diffs of self.blobs."""
        raise NotImplementedError(f"{type(self).__name__} has no method backward(self, top, propagate_down, bottom)")

    def __reduce__(self):
        raise TypeError("a layer of a net cannot be pickled; save() the net's weights")


def create(label, serialized):
    """The object of a layer; `serialized` is its LayerParameter, `label` how errors name it."""
    param = caffe_pb2.LayerParameter.FromString(serialized)
    settings = param.python_param
    try:
        if not settings.module or not settings.layer:
            raise ValueError("python_param must name the module and the layer, which is a class in it")
        module = _import(settings.module)
        kind = getattr(module, settings.layer, None)
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise TypeError(
                f"{settings.layer!r} in {module.__file__} is not a class derived from caffe.Layer"
                if kind is not None
                else f"there is no class {settings.layer!r} in {module.__file__}"
            )
        layer = kind(param)
        layer.name, layer.param_str, layer.phase = param.name, settings.param_str, param.phase
    except Exception as error:
        raise _explained(label, error) from error
    return layer


def _import(name):
    """The module of that name, from sys.path or the working directory."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or name.split(".")[0] != error.name.split(".")[0]:
            raise  # the module is there, and misses another one
    here = os.getcwd()
    sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; it is looked for in the working directory ({here}) and where Python looks for modules: "
            "put its folder into PYTHONPATH",
            name=error.name,
        ) from None
    finally:
        sys.path.remove(here)


def call(label, layer, method, *arguments):
    """Calls a method of a layer; what it raises says which layer it was."""
    try:
        getattr(layer, method)(*arguments)
    except Exception as error:
        raise _explained(label, error) from error


def _explained(label, error):
    """A CaffeError with the layer's name and the traceback of `error`.

    It is of the type of `error`, too: as with Caffe, `except ValueError` sees a ValueError that was raised in a layer.
    """
    lines = traceback.format_exception(type(error), error, error.__traceback__.tb_next)
    message = f"{label} {type(error).__name__}: {error}\n\n{''.join(lines).rstrip()}"
    try:
        kind = type(type(error).__name__, (CaffeError, type(error)), {"__str__": lambda self: message})
        explained = type(error).__new__(kind, message)
    except TypeError:  # a type that does not mix, or does not take a text
        explained = CaffeError(message)
    explained.code = error.code if isinstance(error, CaffeError) else "invalid_argument"
    return explained
