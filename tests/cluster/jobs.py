"""Runs of caffeonspark-submit, and what they leave."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from caffe.proto import caffe_pb2

JOB_SECONDS = 300


def options(settings: dict[str, str]) -> list[str]:
    """Properties as spark-submit takes them."""
    return [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]


class Job:
    """A run of caffeonspark-submit, with both streams in `text`. `watch` sees each line as it comes."""

    def __init__(self, arguments: list[str], env: dict[str, str], cwd: Path, watch: Callable[[str], None]):
        command = [sys.executable, "-m", "caffeonspark.submit", *arguments]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        lines = []
        with subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, **both) as process:
            deadline = threading.Timer(JOB_SECONDS, process.kill)
            deadline.start()
            try:
                for line in process.stdout:
                    lines.append(line)
                    watch(line)
                self.code = process.wait()
            finally:
                deadline.cancel()
                process.kill()
        self.text = "".join(lines)

    def ok(self) -> str:
        assert self.code == 0, self.text[-6000:]
        return self.text

    def refused(self) -> str:
        """The one sentence that says why."""
        assert self.code == 1, self.text[-6000:]
        mark = "CaffeOnSpark: error: "
        return next(line.removeprefix(mark) for line in self.text.splitlines() if line.startswith(mark))


def weights(model: bytes) -> list:
    """All that a model holds but the paths of data."""
    layers = caffe_pb2.NetParameter.FromString(model).layer
    return [(layer.name, blob.SerializeToString()) for layer in layers for blob in layer.blobs]
