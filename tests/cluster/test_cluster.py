"""Training, test and features with everything on HDFS, under YARN and on a standalone cluster."""

import json
import os
import signal
from pathlib import Path

import pytest
from jobs import weights

pytestmark = pytest.mark.cluster

IMAGES = 360  # of the test set


@pytest.fixture
def files(hadoop):
    return hadoop.files


@pytest.fixture(scope="module")
def reference(train_here, job):
    return train_here(job, "local_net_solver.prototxt")


@pytest.fixture(scope="module")
def trained(submit, job, yarn, hadoop):
    """What the driver of a YARN job says, which trained and tested with all files on HDFS."""
    flags = ["-train", "-test", "-conf", "net_solver.prototxt", "-model", "hdfs:///out/yarn/lenet.model"]
    return submit(job, *yarn, *flags, "-output", "hdfs:///out/test.txt").ok()


def outputs(files, path):
    """What -test wrote."""
    return dict(line.split(": ") for line in files.read(path).decode().splitlines())


def test_yarn_client(trained, reference, hadoop, files, job):
    assert weights(files.read("/out/yarn/lenet.model")) == reference and reference
    kinds = ["caffemodel", "manifest", "solverstate"]
    snapshots = [f"lenet_iter_{i}.{kind}" for i in (40, 80, 120, 160) for kind in kinds]
    assert files.names("/out/yarn") == sorted([*snapshots, "lenet.model", "lenet.model.manifest"])
    given = "of Java's heap; spark.executor.memoryOverhead is 0.40 GB"  # told at the beginning and at the end
    assert sum(line.startswith("Memory of worker ") and line.endswith(given) for line in trained.splitlines()) == 2
    assert f"LMDB {hadoop.uri}/data/digits_train_lmdb: " in trained and ", copied once to each host" in trained
    log = hadoop.container_logs("stderr")[0]
    for name in ("digits_train_lmdb", "digits_test_lmdb"):  # two executors of one host
        assert log.count(f"copied layer mnist (Data): LMDB {hadoop.uri}/data/{name} (") == 1
    assert float(outputs(files, "/out/test.txt")["accuracy"]) > 0.7


def test_yarn_cluster_mode_resumes_and_extracts_rows(trained, reference, submit, job, yarn, files):
    start = ["-snapshot", "/out/yarn/lenet_iter_80.solverstate", "-weights", "/out/yarn/lenet_iter_80.caffemodel"]
    flags = ["-train", "-conf", "rows_net_solver.prototxt", *start, "-model", "/out/resumed/lenet.model"]
    features = ["-features", "ip1,accuracy", "-label", "label", "-output", "/out/features", "-outputFormat", "json"]
    submit(job, *yarn, "--deploy-mode", "cluster", *flags, *features).ok()
    assert weights(files.read("/out/resumed/lenet.model")) == reference
    parts = [name for name in files.names("/out/features") if name.startswith("part-")]
    rows = [json.loads(line) for name in parts for line in files.read(f"/out/features/{name}").splitlines()]
    assert sorted(row["SampleID"] for row in rows) == sorted(f"image {i}" for i in range(IMAGES))
    mean = sum(row["accuracy"][0] for row in rows) / IMAGES
    assert mean == pytest.approx(float(outputs(files, "/out/test.txt")["accuracy"]), abs=1e-6)


def java_of(executor: int) -> int:
    """The process of a running executor with this number."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:  # ended meanwhile
            continue
        backend = "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend" in words
        if backend and words[words.index("--executor-id") + 1] == str(executor):
            return int(folder.name)
    raise LookupError(f"no process is executor {executor}")


def test_yarn_replaces_an_executor_that_is_killed(trained, reference, submit, job, yarn, files):
    killed = []

    def kill(line: str) -> None:
        if line.startswith("Iteration 100 of 160") and not killed:
            killed.append(java_of(1))
            os.kill(killed[0], signal.SIGKILL)

    flags = ["-train", "-conf", "net_solver.prototxt", "-model", "/out/killed/lenet.model"]
    text = submit(job, *yarn, *flags, watch=kill).ok()
    assert len(killed) == 1 and text.count("Iteration 100 of 160") == 2
    assert text.count("Iteration 20 of 160") == 1  # not from the beginning
    assert text.count("Recovery 1: executor 1 was lost (") == 1 and "Recovery 2: " not in text
    assert weights(files.read("/out/killed/lenet.model")) == reference


def test_standalone_counts_its_executors(standalone, trained, reference, submit, job, files):
    cluster = ["--master", standalone.master, "--executor-cores", "1", "--total-executor-cores", "2"]
    flags = ["-train", "-test", "-conf", "leveldb_net_solver.prototxt", "-model", "/out/alone/m"]
    submit(job, *cluster, *flags, "-output", "/out/alone.txt").ok()
    assert weights(files.read("/out/alone/m")) == reference
    assert files.read("/out/alone.txt") == files.read("/out/test.txt")  # a LevelDB there, an LMDB here


def test_what_is_not_there(submit, job, hadoop):
    net = (job / "net.prototxt").read_text().replace("digits_train_lmdb", "nothing")
    (job / "missing.prototxt").write_text(net)
    solver = (job / "net_solver.prototxt").read_text().replace("net.prototxt", "missing.prototxt")
    (job / "missing_solver.prototxt").write_text(solver)
    run = submit(job, "--master", "local[1]", "-train", "-conf", "missing_solver.prototxt", "-model", "/out/none")
    assert run.refused().startswith(f"LMDB {hadoop.uri}/data/nothing does not exist (looked for from host ")
