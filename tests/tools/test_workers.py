"""`caffe train -workers N`: the results, and what happens when a worker or the user ends it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from caffe_logs import forms
from command_line import SECONDS, Tool
from following import Follower

SOLVER = "lenet_tiny_solver.prototxt"
NET = "lenet_tiny_train_test.prototxt"
BATCH, RECORDS, ITERATIONS = 8, 60, 20


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def smooth(formats):
    """Makes the net one without kinks, whose trajectories do not drift apart by rounding."""
    edit(formats / NET, 'type: "ReLU"', 'type: "TanH"')
    edit(formats / NET, "pool: MAX", "pool: AVE")


def model(path):
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    return {f"{layer.name}/{i}": np.array(b.data, np.float32) for layer in net.layer for i, b in enumerate(layer.blobs)}


# Runs the two workers' batches in turn, adds their gradients, and lets the solver update by the mean.
REFERENCE = """
import lmdb, numpy as np, sys, caffe
from caffe.proto import caffe_pb2
batch, iterations = int(sys.argv[1]), int(sys.argv[2])
with lmdb.open("train_lmdb", readonly=True, lock=False) as store, store.begin() as transaction:
    data = [caffe_pb2.Datum.FromString(value) for _, value in transaction.cursor()]
images = np.array([np.frombuffer(d.data, np.uint8).reshape(1, 28, 28) for d in data], np.float32) * np.float32(0.00390625)
labels = np.array([d.label for d in data], np.float32)
solver = caffe.get_solver("reference_solver.prototxt")
net = solver.net
for iteration in range(iterations):
    sums = None
    for rank in range(2):
        rows = [(iteration * 2 * batch + 2 * i + rank) % len(data) for i in range(batch)]
        net.blobs["data"].data[...] = images[rows]
        net.blobs["label"].data[...] = labels[rows]
        for blobs in net.params.values():
            for blob in blobs:
                blob.diff[...] = 0
        net.forward()
        net.backward()
        diffs = [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
        sums = diffs if sums is None else [a + b for a, b in zip(sums, diffs)]
    for blob, total in zip([blob for blobs in net.params.values() for blob in blobs], sums):
        blob.diff[...] = total * np.float32(0.5)
    solver.apply_update()
net.save("reference.caffemodel")
"""


def test_two_workers_are_one_that_takes_turns_bit_for_bit(caffe, formats):
    smooth(formats)
    lines = (formats / NET).read_text()
    first = lines.index("layer {")
    second = lines.index("layer {", first + 1)
    third = lines.index("layer {", second + 1)
    inputs = (
        f'layer {{ name: "in" type: "Input" top: "data" top: "label" input_param {{ shape {{ dim: {BATCH} dim: 1 '
        f"dim: 28 dim: 28 }} shape {{ dim: {BATCH} }} }} }}\n"
    )
    (formats / "reference_net.prototxt").write_text(lines[:first] + inputs + lines[third:])
    text = (formats / SOLVER).read_text()
    text = re.sub(r"test_\w+: *\S+", "", text).replace(NET, "reference_net.prototxt")
    (formats / "reference_solver.prototxt").write_text(text)
    subprocess.run(
        [sys.executable, "-c", REFERENCE, str(BATCH), str(ITERATIONS)],
        cwd=formats,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=SECONDS,
        check=True,
    )
    caffe.succeed("train", "-solver", SOLVER, "-workers", "2", "-threads", "1")
    ours = model(formats / "snap/lenet_tiny_iter_20.caffemodel")
    expected = model(formats / "reference.caffemodel")
    assert ours.keys() == expected.keys()
    for name, values_ in expected.items():
        assert np.array_equal(ours[name], values_), name


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_what_one_does_with_their_batches_together(caffe, formats, workers):
    smooth(formats)
    caffe.succeed("train", "-solver", SOLVER, "-workers", str(workers))
    many = model(formats / "snap/lenet_tiny_iter_20.caffemodel")
    net = (formats / NET).read_text()
    first = net.index("batch_size: 8")
    (formats / NET).write_text(net[:first] + f"batch_size: {8 * workers}" + net[first + len("batch_size: 8") :])
    caffe.succeed("train", "-solver", SOLVER)
    one = model(formats / "snap/lenet_tiny_iter_20.caffemodel")
    for name, expected in one.items():
        assert np.abs(many[name] - expected).max() <= 1e-4 * np.abs(expected).max(), name


def test_the_log_and_the_files_are_those_of_one_worker(caffe, formats):
    before = sorted(path.name for path in formats.rglob("*"))
    log = caffe.succeed("train", "-solver", SOLVER, "-workers", "2").stderr
    assert forms(log) == forms((formats / "log_train.txt").read_text())
    assert sorted(path.name for path in formats.rglob("*")) == before


def test_a_resumed_run_goes_on_from_the_state(caffe, formats):
    smooth(formats)
    edit(formats / NET, "batch_size: 8", "batch_size: 30")  # an epoch an iteration, so that its place does not matter
    edit(formats / NET, "num_output: 12", "num_output: 400")  # so that workers share its update, and its history
    caffe.succeed("train", "-solver", SOLVER, "-workers", "2")
    last = formats / "snap/lenet_tiny_iter_20.caffemodel"
    whole = model(last)
    last.unlink()
    caffe.succeed("train", "-solver", SOLVER, "-workers", "2", "-snapshot", "snap/lenet_tiny_iter_10.solverstate")
    rest = model(last)
    assert all(np.array_equal(rest[name], expected) for name, expected in whole.items())


# ---- the end ----


def children(process):
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def await_end(handle):
    """Of a process that is no child of ours, by its pidfd."""
    assert select.select([handle], [], [], SECONDS)[0], "a worker lives on"
    os.close(handle)


@pytest.fixture
def running(caffe, formats):
    """Two workers that would not end by themselves: the process, its log, its workers' ids and pidfds."""
    edit(formats / SOLVER, "max_iter: 20", "max_iter: 100000000")
    edit(formats / SOLVER, "snapshot: 10", "")
    edit(formats / SOLVER, "test_interval: 10", "test_interval: 100000000")
    process = caffe.start("train", "-solver", SOLVER, "-workers", "2")
    follower = Follower(process)
    try:
        follower.await_text("Iteration 5 (")
        workers = children(process)
        assert len(workers) == 2
        yield process, follower, workers, [os.pidfd_open(worker) for worker in workers]
    finally:
        process.kill()
        process.wait(SECONDS)
        follower.log()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_run_with_one_sentence(running, victim):
    process, follower, workers, handles = running
    started = time.monotonic()
    os.kill(workers[victim], signal.SIGKILL)
    assert process.wait(SECONDS) == 1
    assert time.monotonic() - started < 20
    for handle in handles:
        await_end(handle)
    messages = [line for line in follower.log().splitlines() if line.startswith("caffe: ")]
    assert len(messages) == 1
    assert f"worker {victim} of 2 was killed by signal 9" in messages[0]


def test_workers_do_not_outlive_the_process_that_started_them(running):
    process, _, _, handles = running
    process.kill()
    for handle in handles:
        await_end(handle)


def test_signals_do_what_they_do_with_one_worker(running, formats):
    process, follower, _, handles = running
    process.send_signal(signal.SIGHUP)
    follower.await_text("Snapshotting solver state")
    follower.await_text("Iteration", among_new=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    for handle in handles:
        await_end(handle)
    log = follower.log()
    assert "Optimization stopped early." in log
    first, last = re.findall(r"Snapshotting to binary proto file (\S+)", log)
    assert first != last
    for path in (first, last):
        assert (formats / path).stat().st_size > 0


def test_a_signal_to_the_whole_group_as_a_terminal_sends_it(caffe, formats):
    edit(formats / SOLVER, "max_iter: 20", "max_iter: 100000000")
    process = caffe.start("train", "-solver", SOLVER, "-workers", "2", start_new_session=True)
    follower = Follower(process)
    try:
        follower.await_text("Iteration 5 (")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert "Optimization stopped early." in follower.log()
    finally:
        process.kill()
        process.wait(SECONDS)
        follower.log()


def test_a_record_that_only_one_worker_reads_is_named_with_it(caffe, formats):
    with (
        lmdb.open(str(formats / "train_lmdb"), map_size=1 << 24, lock=False) as store,
        store.begin(write=True) as edits,
    ):
        keys = [key for key, _ in edits.cursor()]
        edits.put(keys[5], b"no record")
    message = caffe.fail("train", "-solver", SOLVER, "-workers", "2")
    assert "worker 1 of 2: " in message
    assert keys[5].decode() in message


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (NET, 'type: "ReLU"', 'type: "Rectifier"', "Unknown layer type: Rectifier"),
        (SOLVER, 'snapshot_prefix: "snap/', 'snapshot_prefix: "gone/', "gone/lenet_tiny"),
    ],
)
def test_a_mistake_that_all_make_is_explained_once(caffe, formats, file, old, new, words):
    edit(formats / file, old, new)
    assert words in caffe.fail("train", "-solver", SOLVER, "-workers", "3")


def test_warnings_appear_once(formats):
    edit(formats / SOLVER, "solver_mode: CPU", "solver_mode: GPU")
    log = Tool("caffe", formats).succeed("train", "-solver", SOLVER, "-workers", "2").stderr
    assert len([line for line in log.splitlines() if line.startswith("W")]) == 1
