"""Trains, tests and extracts features in one Spark application for a given time, and records what its processes hold.

    .venv/bin/python benchmarks/load.py --minutes 240 --output benchmarks/results/load.tsv

One line for each round and process (the driver's JVM, two executors of local-cluster): resident memory, threads and
open files. All JVMs have a heap of fixed size whose pages are touched at the start, so memory that grows is outside of
it. At the end, or after SIGTERM, each series is judged: it is flat if its median over the last third of the rounds, the
warming up left out, is at most a few per cent above that over the first third.
"""

import argparse
import pathlib
import signal
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIGITS = ROOT / "tests/golden/e2e_digits"
WARMING_UP = 0.2  # of the rounds: JVMs compile and load classes
TOLERANCE = {"megabytes": 0.03, "threads": 0.05, "files": 0.05}
FIXED_HEAP = "-Xms512m -XX:+AlwaysPreTouch"
SOLVER = """net: "net.prototxt" base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" random_seed: 7
max_iter: 100 snapshot: 50 snapshot_prefix: "lenet" test_iter: 4 test_interval: 50
"""


def children(parent: int) -> dict[str, int]:
    """The executors that a driver on local-cluster has started: {name: process}."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status, words = (folder / "stat").read_text(), (folder / "cmdline").read_text().split("\0")
        except OSError:  # ended meanwhile
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent and "--executor-id" in words:
            found[f"executor {words[words.index('--executor-id') + 1]}"] = int(folder.name)
    return dict(sorted(found.items()))


def usage(pid: int) -> dict[str, int]:
    folder = pathlib.Path("/proc") / str(pid)
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    kilobytes = int(fields["VmRSS"].split()[0])
    return {
        "megabytes": kilobytes // 1024,
        "threads": int(fields["Threads"]),
        "files": sum(1 for _ in (folder / "fd").iterdir()),
    }


def judge(history: dict[str, list[dict[str, int]]]) -> list[str]:
    lines = []
    for process, records in history.items():
        kept = records[int(len(records) * WARMING_UP) :]
        third = len(kept) // 3
        if third == 0:
            lines.append(f"{process}: {len(records)} round(s) say nothing")
            continue
        for kind, tolerance in TOLERANCE.items():
            first, last = (statistics.median(r[kind] for r in part) for part in (kept[:third], kept[-third:]))
            flat = last <= first * (1 + tolerance)
            lines.append(f"{process}: {kind} {first:g} -> {last:g}, {'flat' if flat else 'GROWS'}")
    return lines


def write_job(folder: pathlib.Path) -> pathlib.Path:
    net = (DIGITS / "lenet_digits.prototxt").read_text()
    (folder / "net.prototxt").write_text(net.replace('"digits_', f'"{DIGITS}/digits_'))
    solver = folder / "solver.prototxt"
    solver.write_text(SOLVER)
    return solver


def session(folder: pathlib.Path):
    import caffeonspark  # noqa: F401  the session that starts next has its jar
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.driver.defaultJavaOptions": FIXED_HEAP,
        "spark.executor.memory": "512m",
        "spark.executor.defaultJavaOptions": FIXED_HEAP,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.caffe.checkpointInterval": "1s",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("load")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def one_round(spark, solver: pathlib.Path, folder: pathlib.Path) -> None:
    from caffeonspark import CaffeOnSpark, Config, DataSource

    config = Config(spark, conf=str(solver), model=f"file:{folder}/out/m", features="ip1", label="label", clusterSize=2)
    caffe, source = CaffeOnSpark(spark), DataSource(spark)
    caffe.trainWithValidation(source.getSource(config, True), source.getSource(config, False)).collect()
    accuracy = caffe.test(source.getSource(config, False))["accuracy"][0]
    rows = caffe.features(source.getSource(config, False)).count()
    if accuracy < 0.8 or rows != 360:
        raise RuntimeError(f"a round gave an accuracy of {accuracy} and {rows} rows")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--minutes", type=float, default=240, help="how long (240)")
    arguments.add_argument("--output", type=pathlib.Path, required=True, metavar="FILE", help="a table of all rounds")
    options = arguments.parse_args()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    history: dict[str, list[dict[str, int]]] = {}
    started, rounds = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as scratch, open(options.output, "w") as output:
        folder = pathlib.Path(scratch)
        solver, spark = write_job(folder), session(folder)
        driver = spark.sparkContext._gateway.jvm.ProcessHandle.current().pid()
        print("minutes", "round", "process", *TOLERANCE, sep="\t", file=output)
        try:
            while not stopped.is_set() and time.monotonic() - started < 60 * options.minutes:
                one_round(spark, solver, folder)
                rounds += 1
                for process, pid in {"driver": driver, **children(driver)}.items():
                    held = usage(pid)
                    history.setdefault(process, []).append(held)
                    minutes = f"{(time.monotonic() - started) / 60:.1f}"
                    print(minutes, rounds, process, *held.values(), sep="\t", file=output, flush=True)
        finally:
            print(f"{rounds} rounds in {(time.monotonic() - started) / 60:.0f} minutes")
            verdicts = judge(history)
            print(*verdicts, sep="\n", flush=True)
            spark.stop()
    return any("GROWS" in line for line in verdicts)


if __name__ == "__main__":
    sys.exit(main())
