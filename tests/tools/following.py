"""Follows the log of a running command."""

import threading

from command_line import SECONDS


class Follower:
    """Reads the log of a running command, and tells when a text has come."""

    def __init__(self, process):
        self.lines = []
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(process.stderr,))
        self.thread.start()

    def read(self, stream):
        for line in stream:
            with self.news:
                self.lines.append(line)
                self.news.notify_all()

    def await_text(self, text, among_new=False):
        with self.news:
            first = len(self.lines) if among_new else 0
            found = self.news.wait_for(lambda: any(text in line for line in self.lines[first:]), SECONDS)
            assert found, f"no {text!r}"

    def log(self):
        self.thread.join(SECONDS)
        return "".join(self.lines)
