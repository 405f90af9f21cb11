"""Nets: what pycaffe calls caffe.Net."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _caffe
from .layer import Layer
from .mode import net_seed

FloatArray = NDArray[np.float32]
StrPath = str | os.PathLike[str]


class Net:
    """A net of layers, with its blobs and parameters as numpy views.

    Net(network_file, phase, level=0, stages=None, weights=None, observed=None, memory_limit=0, precision="f32")
    Net(network_file, weights, phase, observed=None, memory_limit=0, precision="f32")

    network_file: path of a .prototxt. phase: caffe.TRAIN or caffe.TEST. weights: path of a .caffemodel[.h5], or several
    with commas between them. observed: names of the blobs that will be read; inputs, outputs and parameters always can
    be. With None all blobs can; with fewer the net may join layers, and runs faster. memory_limit: bytes that blobs may
    take, with observed=[...]; where they need more, parts of the net run forward again in backward(). precision: with
    "bf16" the net rounds activations, their gradients and weights that are multiplied to bfloat16, which is faster on
    processors that have it (caffe.supports_bf16()); all that can be read is float32 nevertheless.

    Errors are caffe.CaffeError.
    """

    def __init__(self, network_file, *args, observed=None, memory_limit=0, precision="f32", **kwargs):
        if (args and isinstance(args[0], (str, bytes))) or "pretrained_param_file" in kwargs:
            names, kwargs_of_old_form = ("weights", "phase"), {"pretrained_param_file": "weights"}
            kwargs = {kwargs_of_old_form.get(key, key): value for key, value in kwargs.items()}
        else:
            names = ("phase", "level", "stages", "weights")
        if len(args) > len(names):
            raise TypeError(f"Net() takes a file and at most {len(names)} arguments by position, not {len(args)}")
        given = dict(zip(names, args))
        unknown = set(kwargs) - {"phase", "level", "stages", "weights"}
        if unknown or set(given) & set(kwargs):
            raise TypeError(f"Net() got an unexpected or repeated argument: {', '.join(unknown or given)}")
        given.update(kwargs)
        if given.get("phase") is None:
            raise TypeError("Net() needs the phase: caffe.TRAIN or caffe.TEST")
        weights = given.get("weights") or ""
        self._set_core(
            _caffe.NetCore(
                str(network_file),
                int(given["phase"]),
                int(given.get("level") or 0),
                list(given.get("stages") or []),
                None if observed is None else list(observed),
                weights.decode() if isinstance(weights, bytes) else str(weights),
                net_seed(),
                memory_limit,
                precision,
            )
        )

    @classmethod
    def _of(cls, core):
        net = cls.__new__(cls)
        net._set_core(core)
        return net

    def _set_core(self, core):
        self._core = core
        self._blob_names = core.blob_names()
        self._layer_names = core.layer_names()
        self._inputs = core.inputs()
        self._outputs = core.outputs()
        self._params = None
        self.layers: list[_caffe.Layer | Layer] = core.layers()
        self.blobs: OrderedDict[str, _caffe.Blob] = OrderedDict(zip(self._blob_names, core.blobs()))

    def __repr__(self):
        return f"<caffe.Net {self.name!r}: {len(self.layers)} layers>"

    def __reduce__(self):
        raise TypeError("a caffe.Net cannot be pickled; save() its weights and make it again from its file")

    # ---- structure ----

    @property
    def name(self) -> str:
        """The net's name in its file."""
        return self._core.name

    @property
    def params(self) -> OrderedDict[str, list[_caffe.Blob]]:
        """Parameters by layer name, in the order of the net: lists of Blob."""
        if self._params is None:
            pairs = ((name, self._core.parameters(i)) for i, name in enumerate(self._layer_names))
            self._params = OrderedDict((name, blobs) for name, blobs in pairs if blobs)
        return self._params

    @property
    def layer_dict(self) -> OrderedDict[str, _caffe.Layer | Layer]:
        """Layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers))

    @property
    def inputs(self) -> list[str]:
        """Names of the blobs that Input layers give."""
        return [self._blob_names[i] for i in self._inputs]

    @property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer reads."""
        return [self._blob_names[i] for i in self._outputs]

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Names of the tops by layer name."""
        return self._names_by_layer(self._top_ids)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Names of the bottoms by layer name."""
        return self._names_by_layer(self._bottom_ids)

    @property
    def _blobs(self):
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self):
        return self._core.loss_weights()

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of each blob in the objective, by name."""
        return OrderedDict(zip(self._blob_names, self._blob_loss_weights))

    def _top_ids(self, layer):
        return self._core.top_ids(layer)

    def _bottom_ids(self, layer):
        return self._core.bottom_ids(layer)

    def _names_by_layer(self, ids):
        return OrderedDict(
            (name, [self._blob_names[blob] for blob in ids(i)]) for i, name in enumerate(self._layer_names)
        )

    def _index(self, layer):
        try:
            return self._layer_names.index(layer)
        except ValueError:
            raise ValueError(f"there is no layer {layer!r}; the net has {', '.join(self._layer_names)}") from None

    # ---- running ----

    def _forward(self, start: int, end: int) -> float:
        """Runs layers start..end (indices, both included). Returns the weighted sum of their losses."""
        return self._core.forward(start, end)

    def _backward(self, start: int, end: int) -> None:
        """Runs layers start..end backward (indices, both included, start >= end)."""
        self._core.backward(start, end)

    def before_forward(self, function: Callable[[int], None]) -> None:
        """Calls function(layer index) before every layer's forward, also within a solver's steps.

        It may read and write blobs; what it raises ends the pass. A net with callbacks runs its layers one by one.
        """
        self._core.add_callback(0, function)

    def after_forward(self, function: Callable[[int], None]) -> None:
        """Calls function(layer index) after every layer's forward; see before_forward."""
        self._core.add_callback(1, function)

    def before_backward(self, function: Callable[[int], None]) -> None:
        """Calls function(layer index) before every layer's backward; see before_forward."""
        self._core.add_callback(2, function)

    def after_backward(self, function: Callable[[int], None]) -> None:
        """Calls function(layer index) after every layer's backward; see before_forward."""
        self._core.add_callback(3, function)

    def forward(
        self, blobs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: ArrayLike
    ) -> dict[str, FloatArray]:
        """Runs the net, or the layers from `start` to `end` (names, both included).

        kwargs: arrays for the input blobs, either all of them or none. Returns a dict of views: the net's outputs (with
        `end`, the tops of that layer) and the `blobs` named.
        """
        wanted = list(blobs or [])
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        wanted += self.outputs if end is None else [self._blob_names[i] for i in self._top_ids(last)]
        if kwargs:
            if set(kwargs) != set(self.inputs):
                raise ValueError(f"arrays are given for {sorted(kwargs)}, but the net's inputs are {self.inputs}")
            for name, values in kwargs.items():
                self._check_batch(name, values)
                self.blobs[name].data[...] = values
        self._forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self, diffs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: ArrayLike
    ) -> dict[str, FloatArray]:
        """Runs the net backward, or the layers from `start` down to `end` (names, both included).

        kwargs: arrays for the diffs of the net's outputs, either all of them or none. Returns a dict of views on diffs:
        those of the inputs (with `end`, of that layer's bottoms) and of the blobs named in `diffs`.
        """
        wanted = list(diffs or [])
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        wanted += self.inputs if end is None else [self._blob_names[i] for i in self._bottom_ids(last)]
        if kwargs:
            if set(kwargs) != set(self.outputs):
                raise ValueError(f"arrays are given for {sorted(kwargs)}, but the net's outputs are {self.outputs}")
            for name, values in kwargs.items():
                self._check_batch(name, values)
                self.blobs[name].diff[...] = values
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def _check_batch(self, name, values):
        shape = self.blobs[name].shape
        if shape and np.shape(values)[:1] != shape[:1]:
            raise ValueError(f"the array for {name!r} has the shape {np.shape(values)}, the blob {shape}")

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: ArrayLike) -> dict[str, FloatArray]:
        """Runs the net over any number of rows, batch by batch.

        kwargs: arrays for the input blobs, with the same number of rows. Returns a dict of arrays with as many rows.
        """
        collected = {}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                collected.setdefault(name, []).extend(values.copy())
        return _cut(collected, _rows(kwargs))

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: ArrayLike
    ) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """Runs the net forward and backward over any number of rows, batch by batch.

        kwargs: arrays for the input blobs and for the diffs of the outputs, with the same number of rows. Returns two
        dicts of arrays with as many rows: of blobs and of diffs, as forward() and backward() name them.
        """
        all_blobs, all_diffs = {}, {}
        inputs = {name: values for name, values in kwargs.items() if name in self.inputs}
        tops = {name: values for name, values in kwargs.items() if name not in inputs}
        for batch, top_batch in zip_longest(self._batch(inputs), self._batch(tops), fillvalue={}):
            for name, values in self.forward(blobs=blobs, **batch).items():
                all_blobs.setdefault(name, []).extend(values.copy())
            for name, values in self.backward(diffs=diffs, **top_batch).items():
                all_diffs.setdefault(name, []).extend(values.copy())
        rows = _rows(kwargs)
        return _cut(all_blobs, rows), _cut(all_diffs, rows)

    def _batch(self, arrays):
        """Dicts of as many rows as the net takes; the last one is filled up with zeros."""
        if not arrays:
            return
        size = self.blobs[next(iter(arrays))].shape[0]
        for start in range(0, _rows(arrays), size):
            batch = {}
            for name, values in arrays.items():
                part = np.asarray(values[start : start + size], np.float32)
                missing = size - len(part)
                if missing:
                    part = np.concatenate([part, np.zeros((missing,) + part.shape[1:], np.float32)])
                batch[name] = part
            yield batch

    def reshape(self) -> None:
        """Shapes all layers for the present shapes of the inputs. forward() does it, too, where a blob was reshaped."""
        self._core.reshape()

    def clear_param_diffs(self) -> None:
        """Sets the diffs of all parameters to zero."""
        self._core.clear_param_diffs()

    def set_input_arrays(self, data: ArrayLike, labels: ArrayLike) -> None:
        """Gives the net's MemoryData layer its rows.

        data: float32, C-contiguous, N x C x H x W. labels: N values. N is a multiple of the batch size.
        """
        data = np.ascontiguousarray(data, np.float32)
        labels = np.ascontiguousarray(np.reshape(labels, -1), np.float32)
        if data.ndim != 4:
            raise ValueError(f"data must be N x C x H x W, not of the shape {data.shape}")
        if len(labels) != len(data):
            raise ValueError(f"there are {len(data)} rows of data and {len(labels)} labels")
        self._core.set_input_arrays(data, labels)

    # ---- weights ----

    def copy_from(self, weights: StrPath) -> None:
        """Loads the weights of layers that have the same names from a .caffemodel[.h5]."""
        self._core.load_weights(str(weights))

    def share_with(self, other: "Net") -> None:
        """Makes the parameters of layers that have the same names those of the net `other`."""
        self._core.share_with(other._core)
        self._params = None

    def save(self, path: StrPath) -> None:
        """Writes a .caffemodel, or HDF5 where the name ends in .h5."""
        self._core.save(str(path))

    def save_hdf5(self, path: StrPath) -> None:
        """Writes the weights as HDF5, whatever the name."""
        self._core.save_hdf5(str(path))

    def load_hdf5(self, path: StrPath) -> None:
        """Loads weights as copy_from() does, which tells HDF5 files by their content."""
        self._core.load_weights(str(path))

    def plan(self) -> str:
        """What was decided for each layer: implementation, layout, joined layers. A text for people."""
        return self._core.plan()


def _rows(arrays):
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"the arrays must have the same number of rows, at least one array: {counts}")
    return next(iter(counts.values()))


def _cut(collected, rows):
    return {name: np.asarray(values)[:rows] for name, values in collected.items()}
