"""The summing-up of ci/run_tests.py: what counts as passed, failed and skipped."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run_tests():
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "ci" / "run_tests.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tests"] = module
    spec.loader.exec_module(module)
    return module


def suite(run_tests, command, parser, tmp_path, monkeypatch, minutes=1.0):
    monkeypatch.setattr(run_tests, "OUTPUT", tmp_path)
    return run_tests.run(run_tests.Suite("example", command, parser, minutes))


def ends(pid_file):
    """Whether the process is gone within seconds: a killed one may still have to run to its end."""
    status = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if status.read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_junit_reports_are_counted_by_outcome(run_tests, tmp_path):
    (tmp_path / "a.xml").write_text("""<testsuites><testsuite>
      <testcase classname="A" name="good"/>
      <testcase classname="A" name="bad"><failure message="x"/></testcase>
      <testcase classname="A" name="broken"><error/></testcase>
      <testcase classname="A" name="absent" result="skipped"><skipped message="file.cpp:3&#10;no data"/></testcase>
      <testcase classname="A" name="disabled" status="notrun"/></testsuite></testsuites>""")
    counts = run_tests.junit_xml(tmp_path, None)
    assert str(counts) == "1 passed, 2 failed, 2 skipped"
    assert counts.failures == ["A.bad", "A.broken"]
    assert counts.reasons == {"no data": 1, "no reason given": 1}


def test_a_half_written_report_is_a_failure(run_tests, tmp_path):
    (tmp_path / "a.xml").write_text("<testsuites><testcase name=")
    assert run_tests.junit_xml(tmp_path, None).failed == 1


def test_the_last_summary_line_counts(run_tests, tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "1 passed, 1 failed\nFAIL layer Pooling\nSKIP layer Crop_a Unknown layer type: Crop\n"
        "SKIP layer Crop_b Unknown layer type: Crop\n7 passed, 2 failed, 3 skipped\nbye\n"
    )
    counts = run_tests.last_line(None, log)
    assert (counts.passed, counts.failed, counts.skipped) == (7, 2, 3)
    assert counts.failures == ["layer Pooling"]
    assert counts.reasons == {"Unknown layer type: Crop": 2}


def test_a_suite_that_dies_without_a_count_is_a_failure(run_tests, tmp_path, monkeypatch):
    counts = suite(run_tests, "exit 3", run_tests.last_line, tmp_path, monkeypatch)
    assert counts.failed == 1 and "exit code 3" in counts.failures[0]


def test_a_suite_that_counts_only_successes_but_dies_is_a_failure(run_tests, tmp_path, monkeypatch):
    counts = suite(run_tests, "echo 5 passed, 0 failed; exit 1", run_tests.last_line, tmp_path, monkeypatch)
    assert (counts.passed, counts.failed) == (5, 1)


def test_a_suite_without_any_test_is_a_failure(run_tests, tmp_path, monkeypatch):
    counts = suite(run_tests, "true", run_tests.junit_xml, tmp_path, monkeypatch)
    assert counts.failures == ["example ran no test"]


def test_a_suite_that_hangs_is_ended_at_its_deadline_with_its_children(run_tests, tmp_path, monkeypatch):
    pid_file = tmp_path / "pid"
    command = f"(sleep 600 & echo $! > {pid_file}; wait)"
    counts = suite(run_tests, command, run_tests.last_line, tmp_path, monkeypatch, minutes=0.02)
    assert "not finished" in counts.failures[0]
    assert ends(pid_file)


def test_work_ahead_is_done_in_turn_at_the_lowest_priority_and_ended_with_its_children(
    run_tests, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_tests, "OUTPUT", tmp_path)
    suites = [
        run_tests.Suite("first", "", None, 1, ahead=f"nice >{tmp_path}/nice; false"),
        run_tests.Suite("without", "", None, 1),
        run_tests.Suite("second", "", None, 0.05, ahead=f"sleep 600 & echo $! >{tmp_path}/pid; wait"),
        run_tests.Suite("third", "", None, 10, ahead=f"touch {tmp_path}/begun"),
    ]
    ahead = run_tests.Ahead(suites)
    ahead.wait_for(suites[0])
    assert (tmp_path / "nice").read_text() == "19\n"
    ahead.wait_for(suites[1])
    ahead.wait_for(suites[2])  # 3 s, then it is ended
    assert ahead.done["third"].wait(10)  # nobody waits for what is not begun any more
    assert ends(tmp_path / "pid")
    assert not (tmp_path / "begun").exists()
