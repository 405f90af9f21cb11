"""What the extension module gives the package; programs use the classes of the package itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .layer import Layer as PythonLayer

__version__: str
TRAIN: int
TEST: int

class CaffeError(RuntimeError):
    """What the engine refuses or cannot do.

    code: invalid_argument, io, data, communication, cancelled or internal.
    """

    code: str

class Blob:
    """An N-D array of float32 values (data) and one of their gradients (diff)."""

    @property
    def data(self) -> NDArray[np.float32]:
        """The values: a numpy view without a copy, float32, of the blob's shape. Stays valid as long as it is held."""
    @property
    def diff(self) -> NDArray[np.float32]:
        """The gradients: a numpy view as `data` is."""
    @property
    def shape(self) -> tuple[int, ...]:
        """The extents, outermost first."""
    @property
    def count(self) -> int:
        """Number of elements."""
    @property
    def num(self) -> int:
        """Extent 0 of a blob of at most 4 axes; axes that it does not have count as 1."""
    @property
    def channels(self) -> int:
        """Extent 1, as num."""
    @property
    def height(self) -> int:
        """Extent 2, as num."""
    @property
    def width(self) -> int:
        """Extent 3, as num."""
    def reshape(self, *extents: int) -> None:
        """A new shape. Values are kept where the number of elements stays the same.

        The net follows at its next forward() or reshape(). Views taken before keep the old values.
        """

class BlobVec:
    """The parameters of a layer written in Python: a list of Blob."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> Blob: ...
    @overload
    def __getitem__(self, index: slice) -> list[Blob]: ...
    def __iter__(self) -> Iterator[Blob]: ...
    def add_blob(self, *extents: int) -> None:
        """One more parameter, of zeros. In setup() only: the net learns, saves and shares it as those of any layer."""

class Layer:
    """A layer of a net."""

    @property
    def type(self) -> str:
        """Its type in the net file."""
    @property
    def name(self) -> str:
        """Its name in the net file."""
    @property
    def blobs(self) -> list[Blob]:
        """Its parameters."""

class NetCore:
    """What caffe.Net is made of."""

    def __init__(
        self,
        file: str,
        phase: int,
        level: int,
        stages: Sequence[str],
        observed: Sequence[str] | None,
        weights: str,
        seed: int,
        memory_limit: int,
        precision: str,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    def forward(self, start: int, end: int) -> float: ...
    def backward(self, start: int, end: int) -> None: ...
    def reshape(self) -> None: ...
    def clear_param_diffs(self) -> None: ...
    def add_callback(self, moment: int, function: Callable[[int], None]) -> None: ...
    def blobs(self) -> list[Blob]: ...
    def layers(self) -> list[Layer | PythonLayer]: ...
    def parameters(self, layer: int) -> list[Blob]: ...
    def blob_names(self) -> list[str]: ...
    def layer_names(self) -> list[str]: ...
    def inputs(self) -> list[int]: ...
    def outputs(self) -> list[int]: ...
    def top_ids(self, layer: int) -> list[int]: ...
    def bottom_ids(self, layer: int) -> list[int]: ...
    def loss_weights(self) -> list[float]: ...
    def load_weights(self, files: str) -> None: ...
    def share_with(self, other: NetCore) -> None: ...
    def set_input_arrays(self, data: NDArray[np.float32], labels: NDArray[np.float32]) -> None: ...
    def save(self, path: str) -> None: ...
    def save_hdf5(self, path: str) -> None: ...
    def plan(self) -> str: ...

class SolverCore:
    """What caffe.SGDSolver and its kin are made of."""

    def __init__(
        self,
        file: str,
        type: str,
        observed: Sequence[str] | None,
        seed: int | None,
        memory_limit: int,
        precision: str | None,
    ) -> None: ...
    @property
    def type(self) -> str: ...
    @property
    def iter(self) -> int: ...
    @property
    def param(self) -> bytes: ...
    @property
    def net(self) -> NetCore: ...
    @property
    def test_nets(self) -> list[NetCore]: ...
    def step(self, iterations: int) -> None: ...
    def solve(self) -> None: ...
    def test_all(self) -> None: ...
    def add_callback(self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None]) -> None: ...
    def apply_update(self) -> None: ...
    def snapshot(self) -> str: ...
    def restore(self, path: str) -> None: ...

def decode_image(encoded: bytes, color: bool) -> tuple[bytes, int, int, int]: ...
def read_net(file: str) -> bytes: ...
def layer_type_list() -> list[str]:
    """The types that a layer of a net file may have."""

def solver_type_list() -> list[str]:
    """The types that a solver file may have."""

def supports_bf16() -> bool:
    """Whether nets can compute in bf16 on this processor."""

def set_log_threshold(level: int) -> None: ...
def log(text: str) -> None: ...
