"""Shows training in a notebook, whose user does not see the driver's terminal."""

import re
import sys
import threading
from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

from pyspark import InheritableThread

Result = TypeVar("Result")
_SECONDS = 0.3


class _Display:
    """The state of a training run, as text and as HTML, from the lines that it writes."""

    def __init__(self) -> None:
        self._done, self._whole, self._now = 0, 1, "starting"
        self._rounds: list[tuple[str, list[str]]] = []

    def read(self, line: str) -> None:
        if found := re.match(r"Iteration (\d+) of (\d+), (.*)", line):
            self._done, self._whole, self._now = int(found[1]), int(found[2]), found[3]
        elif found := re.match(r"Iteration (\d+), Testing net \(#0\)", line):
            self._rounds.append((found[1], []))
        elif (found := re.match(r"\s+Test net output #\d+: (.*)", line)) and self._rounds:
            self._rounds[-1][1].append(found[1])
        elif line.startswith("Trained ") or ", stopping early" in line:
            self._now = line

    def bundle(self) -> dict[str, str]:
        """For IPython's display."""
        head = f"Iteration {self._done} of {self._whole}: {self._now}"
        rounds = [f"validation at {iteration}: {', '.join(values)}" for iteration, values in self._rounds[-5:]]
        bar = f'<progress value="{self._done}" max="{self._whole}" style="width:30em"></progress>'
        html = "<br>".join([f"{bar} {escape(head)}", *map(escape, rounds)])
        return {"text/plain": "\n".join([head, *rounds]), "text/html": html}


def _in_cell() -> bool:
    """Does a notebook's cell wait for this thread?"""
    if "IPython" not in sys.modules or threading.current_thread() is not threading.main_thread():
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


def shown(log: Any, train: Callable[[], Result]) -> Result:
    """What `train` returns. In a notebook its progress stands below the cell; `log` is Scala's ProgressLog."""
    if not _in_cell():
        return train()
    from IPython.display import display

    outcome: dict[str, Any] = {}

    def body() -> None:
        try:
            outcome["result"] = train()
        except BaseException as error:
            outcome["error"] = error

    seen, state = log.end(), _Display()
    handle = display(state.bundle(), raw=True, display_id=True)
    # Training is in the other thread: only what this one displays is sure to stand below its cell.
    worker = InheritableThread(target=body, daemon=True)
    worker.start()
    running = True
    while running:
        worker.join(_SECONDS)
        running = worker.is_alive()
        lines = list(log.since(seen))
        seen += len(lines)
        for line in lines:
            state.read(line)
        if lines:
            handle.update(state.bundle(), raw=True)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
