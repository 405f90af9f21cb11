"""The command `caffe` against logs, models and results of Caffe 1.0, and its errors."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from caffe_logs import events, forms, values
from command_line import SECONDS, Tool
from following import Follower
from processors import are_bf16, needs_bf16, supports_bf16

SOLVER = "lenet_tiny_solver.prototxt"
NET = "lenet_tiny_train_test.prototxt"
MODEL = "snap/lenet_tiny_iter_20.caffemodel"
LAYERS = ["mnist", "conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "loss"]


@pytest.fixture(scope="session")
def caffe_pb2():
    from caffe.proto import caffe_pb2

    return caffe_pb2


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def reference(folder, name):
    return (folder / name).read_text()


# ---- train ----


def test_training_logs_the_lines_of_caffe_in_the_same_order(caffe, formats):
    log = caffe.succeed("train", "-solver", SOLVER).stderr
    assert forms(log) == forms(reference(formats, "log_train.txt"))


def test_training_to_hdf5_logs_the_lines_of_caffe(caffe, formats):
    log = caffe.succeed("train", "-solver", "lenet_tiny_solver_h5.prototxt").stderr
    assert forms(log) == forms(reference(formats, "log_train_h5.txt"))


def test_debug_info_logs_the_lines_of_caffe(caffe, formats):
    log = caffe.succeed("train", "-solver", "lenet_tiny_solver_debug.prototxt").stderr
    assert "[Backward]" in log
    assert forms(log) == forms(reference(formats, "log_train_debug_info.txt"))


def test_the_logged_speed_is_that_of_the_iterations_it_names(caffe):
    log = caffe.succeed("train", "-solver", SOLVER).stderr
    speeds = re.findall(r"Iteration \d+ \((.*) iter/s, (.*)s/(\d+) iters\)", log)
    assert [int(count) for _, _, count in speeds] == [1, 5, 5, 5]
    for rate, seconds, count in speeds:
        assert float(rate) == pytest.approx(int(count) / float(seconds), rel=1e-3)


def test_the_written_model_and_state_hold_what_caffe_writes(caffe, formats, caffe_pb2):
    def read(name, kind):
        message = kind()
        message.ParseFromString((formats / "snap" / name).read_bytes())
        return message

    expected_net = read("lenet_tiny_iter_20.caffemodel", caffe_pb2.NetParameter)
    expected_state = read("lenet_tiny_iter_20.solverstate", caffe_pb2.SolverState)
    for path in (formats / "snap").iterdir():
        path.unlink()
    caffe.succeed("train", "-solver", SOLVER)

    net = read("lenet_tiny_iter_20.caffemodel", caffe_pb2.NetParameter)
    assert [(layer.name, layer.type) for layer in net.layer] == [
        (layer.name, layer.type) for layer in expected_net.layer
    ]
    for layer, expected in zip(net.layer, expected_net.layer, strict=True):
        assert [list(blob.shape.dim) for blob in layer.blobs] == [list(blob.shape.dim) for blob in expected.blobs]
        assert [len(blob.data) for blob in layer.blobs] == [len(blob.data) for blob in expected.blobs]
    state = read("lenet_tiny_iter_20.solverstate", caffe_pb2.SolverState)
    assert (state.iter, state.learned_net, state.current_step) == (
        expected_state.iter,
        expected_state.learned_net,
        expected_state.current_step,
    )
    assert [list(blob.shape.dim) for blob in state.history] == [list(blob.shape.dim) for blob in expected_state.history]
    assert sorted(path.name for path in (formats / "snap").iterdir()) == [
        f"lenet_tiny_iter_{n}.{kind}" for n in (10, 20) for kind in ("caffemodel", "solverstate")
    ]


@pytest.mark.parametrize(
    ("solver", "state", "log"),
    [
        (SOLVER, "snap/lenet_tiny_iter_10.solverstate", "log_train_resumed.txt"),
        ("lenet_tiny_solver_h5.prototxt", "snap/lenet_tiny_h5_iter_10.solverstate.h5", "log_train_h5_resumed.txt"),
    ],
)
def test_a_resumed_run_gives_the_losses_of_caffe(caffe, formats, solver, state, log):
    ours = caffe.succeed("train", f"--solver={solver}", f"--snapshot={state}").stderr
    theirs = reference(formats, log)
    assert forms(ours) == forms(theirs)
    assert values(ours) == pytest.approx(values(theirs), rel=1e-4, abs=1e-6)


def test_time_loads_weights_that_are_given(caffe):
    assert (
        f"Finetuning from {MODEL}" in caffe.succeed("time", "-model", NET, "-weights", MODEL, "-iterations", "1").stderr
    )
    assert "nowhere" in caffe.fail("time", "-model", NET, "-weights", "nowhere.caffemodel")


def test_threads_do_not_change_what_is_logged(caffe, formats):
    log = caffe.succeed("train", "-solver", SOLVER, "-threads", "1").stderr
    assert forms(log) == forms(reference(formats, "log_train.txt"))


def test_a_terminal_shows_how_far_training_is(caffe, formats):
    edit(formats / SOLVER, "max_iter: 20", "max_iter: 400")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [caffe.path, "train", "-solver", SOLVER], cwd=formats, stderr=follower, env={**os.environ, "TERM": "xterm"}
    )
    os.close(follower)
    output = b""
    with contextlib.suppress(OSError):  # the terminal's end
        while piece := os.read(leader, 4096):
            output += piece
    os.close(leader)
    assert process.wait(SECONDS) == 0
    screen = output.decode().replace("\r\n", "\n")
    bars = re.findall(r"\[(=* *)\] (\d+)/400 [^\r]* iter/s  loss [\d.]+ ", screen)
    assert len(bars) > 2
    assert all(bar.count("=") == len(bar) * int(done) // 400 for bar, done in bars)
    lines = [re.sub(r".*\x1b\[K", "", line) for line in screen.split("\n")]
    assert any("Iteration 395 (" in line and "] Iteration" in line for line in lines)
    assert not lines[-1], "the bar is gone at the end"


def test_finetuning_starts_from_the_given_weights(caffe, formats):
    ours = caffe.succeed("train", "-solver", "lenet_tiny_solver_debug.prototxt", "-weights", MODEL).stderr
    theirs = reference(formats, "log_finetune.txt")
    assert f"Finetuning from {MODEL}" in ours
    assert forms(ours) == forms(theirs)
    assert values(ours) == pytest.approx(values(theirs), rel=1e-4, abs=1e-6)


def test_a_snapshot_prefix_that_is_missing_comes_from_the_solver_file(caffe, formats):
    edit(formats / SOLVER, 'snapshot_prefix: "snap/lenet_tiny"', "")
    edit(formats / SOLVER, "max_iter: 20", "max_iter: 10")
    caffe.succeed("train", "-solver", SOLVER)
    assert (formats / "lenet_tiny_solver_iter_10.solverstate").is_file()


def test_stage_and_level_choose_layers(caffe, formats):
    edit(formats / NET, "include { phase: TRAIN }", 'include { phase: TRAIN stage: "here" min_level: 2 }')
    caffe.succeed("train", "-solver", SOLVER, "-stage", "here", "-level", "2")
    assert "unknown" in caffe.fail("train", "-solver", SOLVER).lower()


def test_a_solver_that_wants_a_gpu_runs_on_the_cpu_with_one_warning(caffe, formats):
    edit(formats / SOLVER, "solver_mode: CPU", "solver_mode: GPU")
    log = caffe.succeed("train", "-solver", SOLVER).stderr
    warnings = [line for line in log.splitlines() if line.startswith("W")]
    assert len(warnings) == 1 and "solver_mode: GPU" in warnings[0]


@pytest.fixture
def endless(caffe, formats):
    """A running command that would not end by itself."""
    edit(formats / SOLVER, "max_iter: 20", "max_iter: 100000000")
    edit(formats / SOLVER, "snapshot: 10", "")
    edit(formats / SOLVER, "test_interval: 10", "test_interval: 100000000")
    started = []

    def start(*arguments):
        process = caffe.start("train", "-solver", SOLVER, *arguments)
        follower = Follower(process)
        started.append((process, follower))
        follower.await_text("Iteration 5 (")
        return process, follower

    yield start
    for process, follower in started:
        process.kill()
        process.wait(SECONDS)
        follower.thread.join(SECONDS)


def snapshots(log):
    return re.findall(r"Snapshotting to binary proto file (\S+)", log)


def test_sighup_snapshots_and_sigint_stops_with_a_snapshot(endless, formats):
    process, follower = endless()
    process.send_signal(signal.SIGHUP)
    follower.await_text("Snapshotting solver state")
    follower.await_text("Iteration", among_new=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    log = follower.log()
    assert "Optimization stopped early." in log
    first, last = snapshots(log)
    assert first != last
    for model in (first, last):
        assert (formats / model).stat().st_size > 0
        assert (formats / model.replace(".caffemodel", ".solverstate")).stat().st_size > 0


def test_the_effects_of_signals_can_be_exchanged(endless):
    process, follower = endless("-sigint_effect", "snapshot", "-sighup_effect", "stop")
    process.send_signal(signal.SIGINT)
    follower.await_text("Snapshotting solver state")
    follower.await_text("Iteration", among_new=True)
    process.send_signal(signal.SIGHUP)
    assert process.wait(SECONDS) == 0


def test_a_second_sigint_ends_a_process_that_is_not_between_iterations(caffe, formats):
    edit(formats / SOLVER, "test_iter: 3", "test_iter: 100000000")
    process = caffe.start("train", "-solver", SOLVER)
    follower = Follower(process)
    try:
        follower.await_text("Testing net (#0)")
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        assert process.returncode == -signal.SIGINT
    finally:
        process.kill()
        process.wait(SECONDS)
        follower.log()


# ---- test ----


def test_scores_are_those_of_caffe(caffe, formats):
    ours = caffe.succeed("test", "-model", NET, "-weights", MODEL, "-iterations", "4").stderr
    theirs = reference(formats, "log_test.txt")
    assert forms(ours) == forms(theirs)
    assert " caffe.cpp:" in ours, "scripts look for the lines of this file"
    assert values(ours) == pytest.approx(values(theirs), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("model", ["lenet_tiny_v1.caffemodel", "lenet_tiny_legacy4d.caffemodel"])
def test_older_models_score_the_same(caffe, model):
    now = caffe.succeed("test", "-model", NET, "-weights", MODEL, "-iterations", "2").stderr
    then = caffe.succeed("test", "-model", NET, "-weights", model, "-iterations", "2").stderr
    assert values(then) == values(now)


@pytest.mark.parametrize(
    "flags",
    [
        ["-model", NET, "-weights", MODEL, "-iterations", "1"],
        ["--model", NET, "--weights", MODEL, "--iterations", "1"],
        [f"-model={NET}", f"-weights={MODEL}", "-iterations=1"],
        [f"--model={NET}", f"--weights={MODEL}", "--iterations=1", "--logtostderr=1"],
        ["--logtostderr", "-model", NET, "-weights", MODEL, "-iterations", "1", "-noalsologtostderr"],
    ],
)
def test_flags_may_be_written_as_gflags_allow(caffe, flags):
    log = caffe.succeed("test", *flags).stderr
    assert len([form for form in forms(log) if form.startswith("Batch")]) == 2


# ---- in bf16 ----


@needs_bf16
@pytest.mark.parametrize("workers", ["1", "2"])
def test_training_in_bf16_is_near_that_in_f32_and_its_weights_are_float32(caffe, formats, caffe_pb2, workers):
    def trained(*more):
        caffe.succeed("train", "-solver", SOLVER, "-workers", workers, "-threads", "1", *more)
        net = caffe_pb2.NetParameter.FromString((formats / MODEL).read_bytes())
        return np.concatenate([blob.data for layer in net.layer for blob in layer.blobs])

    plain = trained()
    by_flag = trained("-precision", "bf16")
    assert np.abs(by_flag - plain).max() < 2e-2
    assert (by_flag != plain).any()
    assert not are_bf16(by_flag).all()
    (formats / SOLVER).write_text((formats / SOLVER).read_text() + "\nprecision: BF16\n")
    np.testing.assert_array_equal(trained(), by_flag)
    np.testing.assert_array_equal(trained("-precision", "f32"), plain)


@needs_bf16
def test_scores_in_bf16_are_near_those_in_f32(caffe):
    def scores(*more):
        return values(caffe.succeed("test", "-model", NET, "-weights", MODEL, "-iterations", "2", *more).stderr)

    plain = scores("-precision", "f32")
    assert plain == scores()
    rounded = scores("-precision", "bf16")
    assert rounded == pytest.approx(plain, rel=2e-2)
    assert rounded != plain


@needs_bf16
def test_a_net_in_bf16_is_measured_and_planned(caffe):
    log = caffe.succeed("time", "-model", NET, "-iterations", "1", "-precision", "bf16").stderr
    assert "Average Forward pass" in log
    plain = caffe.succeed("plan", NET).stdout
    assert caffe.succeed("plan", NET, "-precision", "f32").stdout == plain
    assert caffe.succeed("plan", NET, "-precision", "bf16").stdout != plain


@pytest.mark.skipif(supports_bf16(), reason="this processor computes in bf16")
def test_without_bf16_the_processor_is_what_is_said_to_lack_it(caffe):
    assert "this processor does not compute in bf16" in caffe.fail("train", "-solver", SOLVER, "-precision", "bf16")


# ---- time, plan, device_query ----


def test_time_prints_every_layer_forward_and_backward(caffe, formats):
    ours = caffe.succeed("time", "-model", NET, "-iterations", "2").stderr
    assert forms(ours) == forms(reference(formats, "log_time.txt"))


def test_time_tells_which_share_of_the_peak_a_layer_reaches(caffe):
    rows = caffe.succeed("time", "-model", NET, "-iterations", "2").stdout.splitlines()
    peak = float(re.fullmatch(r"peak of this machine, .*: (\d+) GFLOP/s", rows[0])[1])
    row = next(row for row in rows if re.search(r"\bconv1\b", row)).split()
    milliseconds, rate, share = float(row[0]), float(row[1]), float(row[2])
    operations = 2 * (4 * 5 * 5) * (8 * 24 * 24)  # each weight of conv1 at each position of its top
    assert rate == pytest.approx(operations / milliseconds / 1e6, rel=0.1)
    assert share == pytest.approx(100 * rate / peak, rel=0.1)
    assert rows[-1].endswith(" all")


def test_plan_names_every_layer_once(caffe):
    for arguments in ([NET], ["-model", NET]):
        text = caffe.succeed("plan", *arguments).stdout
        assert text.splitlines()[0].split("  ")[0] == "layer (type)"
        assert re.search(
            r"^conv1 \(Convolution\) +forward, backward +onednn .*  8 4 24 24 \(18432\) +\d+", text, re.MULTILINE
        )
        for layer in LAYERS:
            assert len(re.findall(rf"(?:^|\+ ){layer}\b", text, re.MULTILINE)) == 1, layer


def test_plan_of_the_test_phase_runs_no_backward(caffe):
    assert "backward" in caffe.succeed("plan", NET).stdout
    assert "backward" not in caffe.succeed("plan", NET, "-phase", "TEST").stdout


def test_device_query_tells_what_the_system_says(caffe):
    answers = dict(line.split(": ", 1) for line in caffe.succeed("device_query").stdout.splitlines())
    assert answers["Device"] == "CPU"
    assert int(answers["Hardware threads for this process"]) == len(os.sched_getaffinity(0))
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())[1]
    assert float(answers["Memory"].removesuffix(" GiB")) == pytest.approx(int(total) / 2**20, abs=0.1)
    flags = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split()
    assert "sse4_2" in answers["Instruction sets"].split()
    assert set(answers["Instruction sets"].split()) <= set(flags)
    assert answers["Computes in bf16"] == ("yes" if supports_bf16() else "no")
    assert answers["Computes in bf16"] == "yes" or "avx512_bf16" not in flags


# ---- errors: one line that says what to do, exit code 1 ----


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no command"),
        (["fly"], "unknown command fly (known commands: device_query, plan, test, time, train)"),
        (["train"], "-solver FILE"),
        (["train", "-solver"], "-solver needs a value"),
        (["train", "-sover", SOLVER], "unknown flag -sover (flags here: "),
        (["train", "-solver", SOLVER, "extra"], '"extra"'),
        (["train", "-solver", "nowhere.prototxt"], "nowhere.prototxt"),
        (["train", "-solver", SOLVER, "-gpu", "0"], "leave -gpu out"),
        (["train", "-solver", SOLVER, "-snapshot", "a", "-weights", "b"], "not both"),
        (["train", "-solver", SOLVER, "-snapshot", "nowhere.solverstate"], "nowhere.solverstate"),
        (["train", "-solver", SOLVER, "-weights", "nowhere.caffemodel"], "nowhere.caffemodel"),
        (["train", "-solver", SOLVER, "-sigint_effect", "explode"], "snapshot, stop or none"),
        (["train", "-solver", SOLVER, "-precision", "f16"], 'flag -precision is f32 or bf16, not "f16"'),
        (["test", "-model", NET, "-weights", MODEL, "-precision", "half"], 'f32 or bf16, not "half"'),
        (["time", "-model", NET, "-precision", "f16"], 'f32 or bf16, not "f16"'),
        (["plan", NET, "-precision", "BF16"], 'f32 or bf16, not "BF16"'),
        (["train", "-solver", SOLVER, "-workers", "0"], "at least 1"),
        (["train", "-solver", SOLVER, "-workers", "1000"], "more than 256"),
        (["train", "-solver", SOLVER, "-threads", "0"], "at least 1"),
        (["test", "-weights", MODEL], "-model FILE"),
        (["test", "-model", NET], "-weights FILE"),
        (["test", "-model", NET, "-weights", MODEL, "-iterations", "many"], '"many"'),
        (["test", "-model", NET, "-weights", MODEL, "-iterations", "0"], "at least 1"),
        (["time", "-model", NET, "-phase", "train"], "TRAIN or TEST"),
        (["device_query", "-gpu", "all"], "CPU only"),
    ],
)
def test_a_wrong_command_line_is_explained(caffe, arguments, words):
    assert words in caffe.fail(*arguments)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (NET, 'type: "ReLU"', 'type: "Rectifier"', ["Unknown layer type: Rectifier (known types: ", "ReLU"]),
        (NET, "stride: 2", "strides: 2", [f"{NET}:8:116: ", "strides"]),
        (SOLVER, "momentum: 0.9", "momentun: 0.9", [f"{SOLVER}:8:9: ", "momentun"]),
        (SOLVER, 'lr_policy: "inv"', 'lr_policy: "invv"', ["invv", "known policies", "inv"]),
        (SOLVER, f'net: "{NET}"', 'net: "gone.prototxt"', ["gone.prototxt"]),
        (NET, 'source: "train_lmdb"', 'source: "gone_lmdb"', ["mnist", "gone_lmdb"]),
        (NET, "num_output: 10", "num_output: 3", ["[layer ", "found label", "expected 0 to 2"]),
        (NET, 'bottom: "ip1" top: "ip2"', 'bottom: "ip9" top: "ip2"', ["ip2", "ip9"]),
        (SOLVER, 'snapshot_prefix: "snap/', 'snapshot_prefix: "gone/', ["gone/lenet_tiny"]),
    ],
)
def test_a_mistake_in_a_prototxt_is_explained(caffe, formats, file, old, new, words):
    edit(formats / file, old, new)
    message = caffe.fail("train", "-solver", SOLVER)
    for word in words:
        assert word in message


def test_a_model_cut_in_half_is_refused(caffe, formats):
    model = formats / MODEL
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    message = caffe.fail("test", "-model", NET, "-weights", MODEL)
    assert MODEL in message


def test_weights_of_another_shape_are_refused(caffe, formats):
    edit(formats / NET, "num_output: 12", "num_output: 13")
    message = caffe.fail("test", "-model", NET, "-weights", MODEL)
    for words in ("ip1", "shape mismatch", "12 80 (960)", "13 80 (1040)", MODEL):
        assert words in message


def test_a_failed_run_leaves_no_temporary_file(caffe, formats):
    before = sorted(path.name for path in formats.rglob("*"))
    edit(formats / NET, "num_output: 10", "num_output: 3")
    caffe.fail("train", "-solver", SOLVER)
    assert sorted(path.name for path in formats.rglob("*")) == before


# ---- a whole training ----


def test_lenet_learns_the_digits(digits):
    log = Tool("caffe", digits).succeed("train", "-solver", "solver_sgd_s1.prototxt").stderr
    accuracies = [value for form, value in events(log) if "Test net output #0: accuracy" in form]
    assert accuracies[-1] >= 0.965
