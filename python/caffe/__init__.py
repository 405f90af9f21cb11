"""Caffe: nets, solvers and their tools, by the names that pycaffe gives them.

A net file becomes a `Net`, whose blobs are numpy views without copies; a solver file becomes a solver
(`get_solver`), which trains one; `NetSpec`, `layers` and `params` write net files; `io` prepares images.
"""

try:
    from ._caffe import CaffeError, __version__, layer_type_list, solver_type_list, supports_bf16
except ModuleNotFoundError as error:
    if error.name != "caffe._caffe":
        raise
    import pathlib
    import sys

    natives = ", ".join(path.name for path in pathlib.Path(__file__).parent.glob("_caffe.*.so"))
    raise ImportError(
        f"caffe cannot be imported in Python {sys.version_info.major}.{sys.version_info.minor}: its native module is "
        f"{natives or 'not there'}; caffeonspark and the commands work in any Python"
    ) from None

from . import io
from .classifier import Classifier
from .detector import Detector
from .layer import Layer
from .mode import (
    NCCL,
    Timer,
    has_nccl,
    init_log,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .net import Net
from .net_spec import NetSpec, layers, params, to_proto
from .proto.caffe_pb2 import TEST, TRAIN
from .solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "CaffeError",
    "Classifier",
    "Detector",
    "Layer",
    "NCCL",
    "Net",
    "NetSpec",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "TEST",
    "TRAIN",
    "Timer",
    "__version__",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "solver_type_list",
    "supports_bf16",
    "to_proto",
]
