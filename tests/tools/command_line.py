"""Runs our commands as users do."""

import os
import subprocess
import sys
from pathlib import Path

# The commands as installed, or those in the folder CAFFE_TOOLS.
TOOLS = Path(os.environ.get("CAFFE_TOOLS", Path(sys.executable).parent))
SECONDS = 120


class Tool:
    """Runs one command in a folder."""

    def __init__(self, name, folder):
        self.path = TOOLS / name
        self.folder = folder

    def start(self, *arguments, **options):
        return subprocess.Popen(
            [self.path, *map(str, arguments)], cwd=self.folder, stderr=subprocess.PIPE, text=True, **options
        )

    def run(self, *arguments):
        return subprocess.run(
            [self.path, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def succeed(self, *arguments):
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr[-2000:]
        return result

    def fail(self, *arguments):
        """The message, which is the last line and the only one of its kind."""
        result = self.run(*arguments)
        assert result.returncode == 1, f"exit code {result.returncode}: {result.stderr[-2000:]}"
        lines = result.stderr.splitlines()
        messages = [line for line in lines if line.startswith(f"{self.path.name}: ")]
        assert messages == lines[-1:]
        return messages[0]
