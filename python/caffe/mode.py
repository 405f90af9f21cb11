"""What holds for the whole process: device, log, random seed."""

import os

from . import _caffe

_seed: int | None = None


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
