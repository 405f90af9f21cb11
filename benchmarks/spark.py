"""Measures what Spark's side costs, on this machine.

start: seconds from spark-submit until the first training step is done, beside those of a job that only counts a few
lines, each in a new application; the ratio is the median over the rounds of (ours / Spark's own).
workers: images per second with one executor of two cores, and with two executors of one core each, without the start
of the job; above 1 two executors are faster. They share the one's batch, so that the same is trained, or have one of
that size each, as with a net that was not changed for them.
features: images per second of features() on two executors of one core, without the start of the job, beside those of
the engine alone with two threads (step_bench --inference); the ratio is (Spark's / the engine's).

All sides are run in turn, several rounds in one go, because only ratios of interleaved runs mean anything on a machine
that others use too. Results go to results/spark_start.json, spark_workers.json and spark_features.json.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BIN = ROOT / ".venv" / "bin"
DEADLINE = 300
# net: the blob to extract, the rows of the smaller and of the larger job, whose difference is measured
FEATURES = {"lenet": ("ip1", 2000, 122000), "caffenet": ("fc7", 64, 1984), "resnet50": ("pool5", 32, 672)}
# net, what the batch is of, the steps of one executor
WORKERS = (
    ("lenet", "each", 2000),
    ("lenet", "all", 2000),
    ("cifar10_quick", "each", 400),
    ("cifar10_quick", "all", 400),
    ("caffenet", "all", 120),
)
MASTERS = {"local": "local[2]", "cluster": "local-cluster[2,1,1024]"}

# What Spark's own job costs: nothing of it runs in Python but the start.
BARE = """
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
assert context._jsc.textFile("file:" + __file__).count() > 2
print("Iteration 1 of 1", flush=True)
context.stop()
"""
OURS = """
import sys
from caffeonspark import CaffeOnSpark, Config, DataSource
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
config = Config(spark, conf=sys.argv[1], model="file:" + sys.argv[2], clusterSize=int(sys.argv[3]))
CaffeOnSpark(spark).train(DataSource(spark).getSource(config, True))
spark.stop()
"""
# Seconds of a job over few and one over many rows, after one that starts everything.
EXTRACTION = """
import sys, time
from caffeonspark import CaffeOnSpark, Config, DataSource
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def seconds(solver):
    config = Config(spark, conf=solver, model="file:" + sys.argv[1], features=sys.argv[2], clusterSize=2)
    start = time.perf_counter()
    frame = CaffeOnSpark(spark).features(DataSource(spark).getSource(config, False))
    frame.write.format("noop").mode("overwrite").save()
    frame.unpersist()
    return time.perf_counter() - start
few, many = sys.argv[3:]
seconds(few)
print("Iteration: seconds", seconds(few), seconds(many), flush=True)
spark.stop()
"""


def write_store(folder, shape, count):
    """An LMDB of random pictures."""
    import lmdb
    import numpy as np
    from caffe.proto import caffe_pb2

    random = np.random.default_rng(1)
    store = lmdb.open(str(folder), map_size=1 << 30)
    with store.begin(write=True) as transaction:
        for i in range(count):
            datum = caffe_pb2.Datum(channels=shape[0], height=shape[1], width=shape[2], label=int(random.integers(10)))
            datum.data = random.integers(0, 256, shape, dtype=np.uint8).tobytes()
            transaction.put(b"%08d" % i, datum.SerializeToString())
    store.close()


def batch_and_shape(net):
    """Of a net's input: pictures in a batch, and the shape of one."""
    text = (HERE / "nets" / f"{net}.prototxt").read_text()
    batch, *shape = map(int, re.findall(r"dim: (\d+)", re.search(r'^layer \{ name: "data" .*', text, flags=re.M)[0]))
    return batch, tuple(shape)


def write_job(folder, net, iterations, display, rows=600, parts=1):
    """The solver's path. The network is that of nets/ with a Data layer instead of its two Input layers, and one of so
    many parts of their batch."""
    store = folder / f"{net}_{rows}_lmdb"
    batch, shape = batch_and_shape(net)
    name = f"{net}_{rows}_{parts}"
    if not store.exists():
        write_store(store, shape, rows)
    text = (HERE / "nets" / f"{net}.prototxt").read_text()
    layers = re.sub(r'^layer \{ name: "(data|label)" .*\n', "", text, flags=re.M)
    data = (
        'layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.004 mean_value: 128 }\n'
        f'  data_param {{ source: "{store}" backend: LMDB batch_size: {batch // parts} }} }}\n'
    )
    (folder / f"{name}.prototxt").write_text(layers.replace("layer {", data + "layer {", 1))
    solver = folder / f"{name}_solver.prototxt"
    solver.write_text(
        f'net: "{folder}/{name}.prototxt" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 random_seed: 1\n'
        f"max_iter: {iterations} display: {display}\n"
    )
    return solver


def submit(folder, master, program, *arguments):
    """Runs a program; (seconds until it said "Iteration 1 of", all that it printed)."""
    script = folder / "program.py"
    script.write_text(program)
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.log.level": "ERROR"}
    settings |= {"spark.executor.memory": "512m", "spark.driver.memory": "512m"}
    confs = [token for name, value in settings.items() for token in ("--conf", f"{name}={value}")]
    start = "caffeonspark-submit" if arguments else "spark-submit"
    command = [BIN / start, "--master", master, *confs, script, *arguments]
    local = {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    environment = os.environ | local | {"PYSPARK_PYTHON": str(BIN / "python"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    begin, first, lines = time.perf_counter(), None, []
    with (
        open(folder / "errors.log", "w") as errors,
        subprocess.Popen(
            ["timeout", str(DEADLINE), *map(str, command)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        for line in process.stdout:
            if first is None and line.startswith("Iteration 1 of"):
                first = time.perf_counter() - begin
            lines.append(line)
    if process.returncode or first is None and "Iteration" not in "".join(lines):
        sys.exit(f"error: {' '.join(map(str, command))} failed: {(folder / 'errors.log').read_text()[-2000:]}")
    return first, "".join(lines)


def interleaved(sides, rounds):
    """{side: what it gave in each round}"""
    results = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides) if number % 2 else reversed(sides):
            results[side].append(sides[side]())
    return results


def start(folder, rounds):
    for name, master in MASTERS.items():
        solver = write_job(folder, "lenet", iterations=1, display=1)
        ours = (OURS, solver, folder / "lenet.caffemodel", 2)
        runs = interleaved(
            {
                "spark": lambda m=master: submit(folder, m, BARE)[0],
                "training": lambda m=master, o=ours: submit(folder, m, *o)[0],
            },
            rounds,
        )
        ratios = [ours / bare for ours, bare in zip(runs["training"], runs["spark"], strict=True)]
        result = {"master": master, "rounds": rounds, "ratio": statistics.median(ratios), "ratios": ratios}
        result["seconds"] = {side: statistics.median(values) for side, values in runs.items()}
        print(name, json.dumps(result), flush=True)
        yield result


def speed(printed):
    """Images per second of all workers, and the shares of time that they wait for each other."""
    found = re.search(r"Trained \d+ iterations on \d+ images in [\d.]+ s: ([\d.]+) images/s", printed)
    waits = [float(text) for text in re.findall(r"for other workers ([\d.]+) %", printed)]
    return float(found.group(1)), max(waits)


def workers(folder, rounds):
    for net, batch, steps in WORKERS:

        def run(executors, net=net, batch=batch, steps=steps):
            parts, iterations = (executors, steps) if batch == "all" else (1, steps // executors)
            solver = write_job(folder, net, iterations, iterations, parts=parts)
            master = f"local-cluster[{executors},{2 // executors},1024]"
            return speed(submit(folder, master, OURS, solver, folder / f"{net}.caffemodel", executors)[1])

        runs = interleaved({"one": lambda run=run: run(1), "two": lambda run=run: run(2)}, rounds)
        ratios = [two[0] / one[0] for one, two in zip(runs["one"], runs["two"], strict=True)]
        result = {"net": net, "batch_of": batch, "rounds": rounds, "ratio": statistics.median(ratios), "ratios": ratios}
        result["images_per_second"] = {side: statistics.median(v for v, _ in values) for side, values in runs.items()}
        result["waiting_for_each_other_percent"] = statistics.median(wait for _, wait in runs["two"])
        print(json.dumps(result), flush=True)
        yield result


def write_weights(folder, net):
    """A model with the values that the net's fillers give."""
    import caffe

    path = folder / f"{net}.caffemodel"
    caffe.Net(str(HERE / "nets" / f"{net}.prototxt"), caffe.TEST).save(str(path))
    return path


def engine_speed(net):
    """Images per second of the engine alone."""
    batch, _ = batch_and_shape(net)
    steps = str(max(8, 2000 // batch // (1 if net == "lenet" else 8)))
    command = [ROOT / "build/release/benchmarks/step_bench", HERE / "nets" / f"{net}.prototxt", steps, "--inference"]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=DEADLINE)
    return batch / statistics.median(json.loads(done.stdout.removeprefix("ready\n"))["ms"]) * 1e3


def features(folder, rounds):
    for net, (blob, few, many) in FEATURES.items():
        weights = write_weights(folder, net)
        solvers = [write_job(folder, net, iterations=1, display=1, rows=rows) for rows in (few, many)]

        def extract(job=(EXTRACTION, weights, blob, *solvers), rows=many - few):
            _, printed = submit(folder, MASTERS["cluster"], *job)
            less, more = map(float, re.search(r"seconds ([\d.]+) ([\d.]+)", printed).groups())
            return rows / (more - less)

        runs = interleaved({"engine": lambda net=net: engine_speed(net), "spark": extract}, rounds)
        ratios = [spark / engine for spark, engine in zip(runs["spark"], runs["engine"], strict=True)]
        result = {"net": net, "blob": blob, "rounds": rounds, "ratio": statistics.median(ratios), "ratios": ratios}
        result["images_per_second"] = {side: statistics.median(values) for side, values in runs.items()}
        print(json.dumps(result), flush=True)
        yield result


MEASURES = {"start": start, "workers": workers, "features": features}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", help="JSON file")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        results = list(MEASURES[options.what](pathlib.Path(scratch), options.rounds))
    report = {
        "what": __doc__.split(f"\n{options.what}: ")[1].split(";")[0].replace("\n", " "),
        "command": "benchmarks/spark.py " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "load_average": load,
        "results": results,
    }
    output = options.output or HERE / "results" / f"spark_{options.what}.json"
    pathlib.Path(output).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
