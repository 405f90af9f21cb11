"""Runs the test suites listed in SUITES and sums up what they counted; ci/test.sh builds first and then calls this.

usage: run_tests.py [--fast] [NAME...]     NAME chooses suites; the last line printed is "N passed, N failed, N skipped"
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("CAFFE_BUILD_DIR", ROOT / "build"))
OUTPUT = BUILD / "test-results"


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)  # names
    reasons: dict = field(default_factory=dict)  # why tests were skipped -> how many

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def junit_xml(folder, _log):
    """GoogleTest's, pytest's and ScalaTest's reports are all of the JUnit kind."""
    counts = Counts()
    for path in sorted(folder.rglob("*.xml")):
        try:
            cases = list(ElementTree.parse(path).getroot().iter("testcase"))
        except ElementTree.ParseError as error:
            cases = []
            counts += Counts(failed=1, failures=[f"{path.name} cannot be read: {error}"])
        for case in cases:
            name = f"{case.get('classname', '')}.{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                counts += Counts(failed=1, failures=[name])
            elif skipped is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
                text = "" if skipped is None else skipped.get("message") or skipped.text or ""
                counts += Counts(skipped=1, reasons={text.strip().split("\n")[-1] or "no reason given": 1})
            else:
                counts += Counts(passed=1)
    return counts


def last_line(_folder, log):
    """For suites that print "N passed, N failed, N skipped" themselves; lines FAIL... and SKIP... say what and why."""
    lines = log.read_text(errors="replace").splitlines()
    for line in reversed(lines):
        found = re.fullmatch(r"(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", line.strip())
        if found:
            passed, failed, skipped = (int(number or 0) for number in found.groups())
            failures = [text[5:].strip()[:160] for text in lines if text.startswith("FAIL ")]
            reasons = {}
            for text in lines:
                if text.startswith("SKIP "):  # SKIP kind name reason
                    reason = text.split(None, 3)[-1]
                    reasons[reason] = reasons.get(reason, 0) + 1
            return Counts(passed, failed, skipped, failures, reasons)
    return Counts()


@dataclass
class Suite:
    name: str
    command: str  # run by bash in ROOT; $OUT is a folder for reports
    parser: object
    minutes: float  # deadline
    needs: str = ""  # a glob; while nothing matches, the suite does not exist yet
    fast: bool = False  # also part of `make test-fast`
    usual: bool = True  # else run only where it is named
    ahead: str = ""  # makes what the command needs, beside earlier suites; `command` must do without it, too


SUITES = [
    Suite("cpp", "ci/cpp_tests.sh release", junit_xml, 25, "tests/engine/*/*_test.cpp", fast=True),
    Suite("golden", "ci/golden.sh adapter_pycaffe", last_line, 10, "python/caffe/__init__.py"),
    Suite("golden-plan", "ci/golden.sh adapter_plan", last_line, 10, "python/caffe/__init__.py"),
    Suite(
        "python",
        ".venv/bin/python -m pytest -q -m 'not (spark or cluster or failures or profiles)' --junitxml=$OUT/pytest.xml",
        junit_xml,
        10,
        "tests/**/test_*.py",
        fast=True,
    ),
    Suite("natives", "ci/check_natives.sh", last_line, 10, "python/caffe/__init__.py"),
    Suite("scala", "ci/scala_tests.sh", junit_xml, 30, "jvm/*/src/test/scala/**/*Suite.scala"),
    Suite(
        "python-spark",
        ".venv/bin/python -m pytest -q -m spark --junitxml=$OUT/pytest.xml",
        junit_xml,
        25,
        "tests/python/test_caffeonspark.py",
    ),
    Suite("guest", "ci/guest.sh", last_line, 10, "tests/collective/infiniband_test.cpp"),
    Suite(
        "cluster",
        ".venv/bin/python -m pytest -q -m cluster tests/cluster --junitxml=$OUT/pytest.xml",
        junit_xml,
        15,
        "tests/cluster/test_*.py",
    ),
    Suite(
        "failures",
        ".venv/bin/python -m pytest -q -m failures tests/cluster --junitxml=$OUT/pytest.xml",
        junit_xml,
        60,
        "tests/cluster/test_failures.py",
        usual=False,
    ),
    Suite(
        "spark-3.5",
        "ci/profiles.sh spark-3.5-scala-2.12 && echo 1 passed, 0 failed",
        last_line,
        10,
        "pom.xml",
        ahead="ci/profiles.sh spark-3.5-scala-2.12",
    ),
    Suite(
        "profiles",
        "ci/profiles.sh && .venv/bin/python -m pytest -q -m profiles tests/profiles --junitxml=$OUT/pytest.xml",
        junit_xml,
        40,
        "tests/profiles/test_*.py",
        usual=False,
    ),
    Suite(
        "asan",
        "ci/cpp_tests.sh asan '^(?!collective)'",
        junit_xml,
        40,
        "tests/engine/*/*_test.cpp",
        # Both in one folder, hence one after the other.
        ahead="ci/cpp_tests.sh --build asan '^(?!collective)' && ci/fuzz.sh --build",
    ),
    Suite(
        "tsan",
        "ci/cpp_tests.sh tsan '^(collective|data)'",
        junit_xml,
        15,
        "tests/collective/*_test.cpp",
        ahead="ci/cpp_tests.sh --build tsan '^(collective|data)'",
    ),
    Suite("fuzz", "ci/fuzz.sh", last_line, 10, "tests/fuzz/*_fuzz.cpp"),
]


def run(suite):
    """Runs one suite; its output goes to a log, which is shown where the suite failed."""
    folder = OUTPUT / suite.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = OUTPUT / f"{suite.name}.log"
    print(f"==> {suite.name}: {suite.command}", flush=True)
    environment = dict(os.environ, OUT=str(folder))
    with open(log, "w") as output:
        process = subprocess.Popen(
            ["bash", "-c", suite.command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=suite.minutes * 60)
        except subprocess.TimeoutExpired:
            code = f"not finished after {suite.minutes} minutes"
        finally:
            stop_group(process)
    counts = suite.parser(folder, log)
    if code != 0 and counts.failed == 0:
        counts += Counts(
            failed=1, failures=[f"{suite.name} as a whole: {code if isinstance(code, str) else f'exit code {code}'}"]
        )
    elif counts.passed + counts.failed + counts.skipped == 0:
        counts += Counts(failed=1, failures=[f"{suite.name} ran no test"])
    if counts.failed:
        print(f"    last lines of {log}:")
        for line in log.read_text(errors="replace").splitlines()[-40:]:
            print("    | " + line[:240])
    return counts


class Ahead:
    """Works for later suites, one after the other, on the processor time that earlier ones leave: Spark waits a lot."""

    # A session is a group of its own for Linux' scheduler, which the number in autogroup weighs against others.
    LOWEST = "{ echo 19 >/proc/self/autogroup; renice -n 19 $$; } >/dev/null 2>&1; "

    def __init__(self, suites):
        self.suites = [suite for suite in suites if suite.ahead]
        self.done = {suite.name: threading.Event() for suite in self.suites}
        self.process = None
        self.stopped = False
        self.lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        for suite in self.suites:
            with open(OUTPUT / f"{suite.name}-ahead.log", "w") as log, self.lock:
                if self.stopped:
                    return
                self.process = subprocess.Popen(
                    ["bash", "-c", self.LOWEST + suite.ahead],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.process.wait()
            self.done[suite.name].set()

    def wait_for(self, suite):
        """Until the work for this suite is over; if that takes longer than the suite may, all of it is ended."""
        if suite.ahead and not self.done[suite.name].wait(suite.minutes * 60):
            self.stop()

    def stop(self):
        with self.lock:
            self.stopped = True
            if self.process and self.process.poll() is None:
                stop_group(self.process)
        for done in self.done.values():  # of those that were never begun, too
            done.set()


def stop_group(process):
    """Ends what the suite may have left behind (Spark's daemons, worker processes)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--fast", action="store_true", help="only the quick suites")
    arguments.add_argument("names", nargs="*", metavar="NAME", help="only these suites")
    options = arguments.parse_args()
    unknown = set(options.names) - {suite.name for suite in SUITES}
    if unknown:
        sys.exit(f"unknown suite {', '.join(sorted(unknown))} (known: {', '.join(suite.name for suite in SUITES)})")

    def chosen(suite):
        if suite.needs and not any(ROOT.glob(suite.needs)):
            return False
        return suite.name in options.names if options.names else suite.fast if options.fast else suite.usual

    total, table = Counts(), []
    suites = [suite for suite in SUITES if chosen(suite)]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    ahead = Ahead(suites)
    try:
        for suite in suites:
            started = time.monotonic()
            ahead.wait_for(suite)
            counts = run(suite)
            table.append((suite.name, time.monotonic() - started, counts))
            print(f"    {counts} in {table[-1][1]:.0f} s", flush=True)
            total += counts
    finally:
        ahead.stop()

    print("\nsuite              seconds   result")
    for name, seconds, counts in table:
        print(f"{name:<18} {seconds:7.0f}   {counts}")
    for reason, count in sorted(total.reasons.items()):
        print(f"skipped {count}: {reason}")
    for failure in total.failures:
        print(f"FAILED {failure}")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
