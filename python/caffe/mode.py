"""What holds for the whole process: device, log, random seed; and what pycaffe has for several GPUs."""

import os
import time

from . import _caffe

_seed: int | None = None

_SEVERAL_WORKERS = "use CaffeOnSpark, which trains with several workers on one machine or many"
_NO_NCCL = f"this build of caffe has no NCCL, which is for several GPUs; {_SEVERAL_WORKERS}"


def set_mode_cpu() -> None:
    """Computes on the CPU, which is what this build does anyway."""


def set_mode_gpu() -> None:
    """Raises CaffeError: this build computes on the CPU only."""
    raise _caffe.CaffeError("there is no usable GPU: this build of caffe computes on the CPU only; call set_mode_cpu()")


def set_device(device: int) -> None:
    """Raises CaffeError, as set_mode_gpu() does; `device` is the number of a GPU."""
    raise _caffe.CaffeError(
        f"GPU {device} cannot be used: this build of caffe computes on the CPU only; leave set_device() out"
    )


def solver_count() -> int:
    """The number of solvers that train together in Python: 1."""
    return 1


def set_solver_count(count: int) -> None:
    """Raises CaffeError but for 1: several solvers that train together belong to several GPUs."""
    if count != 1:
        raise _caffe.CaffeError(f"{count} solvers cannot train together in Python: {_SEVERAL_WORKERS}")


def solver_rank() -> int:
    """The number of this process's solver among those that train together: 0."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Raises CaffeError but for 0, as set_solver_count() does."""
    if rank != 0:
        raise _caffe.CaffeError(f"there is no solver of rank {rank} in Python: {_SEVERAL_WORKERS}")


def set_multiprocess(multiprocess: bool) -> None:
    """Says whether solvers that train together are processes, not threads; with one solver it makes no difference."""


def has_nccl() -> bool:
    """False: NCCL is for GPUs."""
    return False


class NCCL:
    """In pycaffe, what averages the gradients of several GPUs. Here every use raises CaffeError."""

    def __init__(self, solver: object, uid: object) -> None:
        raise _caffe.CaffeError(_NO_NCCL)

    @staticmethod
    def new_uid() -> bytes:
        """Raises CaffeError."""
        raise _caffe.CaffeError(_NO_NCCL)


class Timer:
    """Milliseconds between start() and stop(), of the clock on the wall."""

    def __init__(self) -> None:
        self._start = self._stop = None

    def start(self) -> None:
        """Starts to measure."""
        self._start, self._stop = time.perf_counter(), None

    def stop(self) -> None:
        """Stops it."""
        if self._start is None:
            raise RuntimeError("the timer was not started: call start()")
        self._stop = time.perf_counter()

    @property
    def ms(self) -> float:
        """Milliseconds from start() to stop(), or to now."""
        if self._start is None:
            raise RuntimeError("the timer was not started: call start()")
        return 1000 * ((self._stop or time.perf_counter()) - self._start)


def set_random_seed(seed: int) -> None:
    """Seeds the nets made from now on, and the solvers whose file sets no random_seed. `seed` is at least 0."""
    global _seed
    if seed < 0:
        raise ValueError(f"the random seed must be at least 0, not {seed}")
    _seed = seed


def chosen_seed() -> int | None:
    """What set_random_seed() was given."""
    return _seed


def net_seed() -> int:
    """The seed of a new net: what set_random_seed() was given, else a fresh one."""
    return int.from_bytes(os.urandom(8), "little") if _seed is None else _seed


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Log lines below `level` (0 information, 1 warnings, 2 errors) are dropped; all with stderr=False."""
    _caffe.set_log_threshold(level if stderr else 3)


def log(text: str) -> None:
    """Writes one line to the log."""
    _caffe.log(text)
