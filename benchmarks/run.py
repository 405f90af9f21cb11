"""Compares the engine's speed with others'.

Without --peers: the training step of small nets against prototype_bench.cpp, which calls oneDNN by hand; results go to
results/training_step.json. With --peers: training and inference of seven nets against PyTorch (torch_peer.py: eager,
channels_last, torch.compile) and ONNX Runtime (which has no bf16 here), of which the best counts, and data_bench.cpp;
results go to results/peers.json. Memory and start are compared with the peer that needs least.

All sides are run in turn, several rounds in one go, because only ratios of interleaved runs mean anything on a machine
that others use too. The result holds medians over all steps; a ratio is the median over the rounds of (engine's median
in this round / other side's), and for cpu_ratio the same of processor time, which tells more than the clock while the
machine is busy. Below 1 the engine is faster. Exits with 1 where a ratio exceeds --limit.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("eager", "channels_last", "compile", "onnxruntime")
REFERENCE_NETS = ("lenet", "cifar10_quick")
# net: steps per round of training, of inference
PEER_NETS = {
    "lenet": (40, 100),
    "cifar10_quick": (20, 60),
    "caffenet": (4, 12),
    "googlenet": (3, 10),
    "resnet50": (2, 8),
    "resnet50_thin": (4, 16),
    "caption": (3, 8),
}


def find_build(given):
    if given:
        return pathlib.Path(given)
    build = HERE.parent / "build" / "release"
    if not (build / "CMakeCache.txt").exists():
        sys.exit(f"error: {build} has no CMake build; run ci/build.sh first or give --build")
    return build


def build_programs(build):
    command = ["cmake", "--build", str(build), "--target", "training_bench", "data_bench", "-j", str(os.cpu_count())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return build / "benchmarks"


def run_side(command, threads):
    """Runs one side once: its JSON, and as start_ms the time from its start until it said `ready`."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))  # how threads wait is up to each side, as for users
    start = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([str(part) for part in command], env=environment, text=True, **pipes) as process:
        first = process.stdout.readline()
        started = (time.perf_counter() - start) * 1e3
        rest, errors = process.communicate()
    if process.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed: {errors.strip()[-2000:]}")
    result = json.loads(rest if first.strip() == "ready" else first + rest)
    return dict(result, start_ms=started)


def interleave(sides, threads, rounds):
    runs = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides) if number % 2 else list(reversed(sides)):
            runs[side].append(run_side(sides[side], threads))
    return runs


def ratios(runs, other, key):
    return [statistics.median(a[key]) / statistics.median(b[key]) for a, b in zip(runs["engine"], runs[other])]


def over_all(runs, summary, key):
    return {side: summary([value for run in results for value in run[key]]) for side, results in runs.items()}


def compare(runs, other):
    least = over_all(runs, min, "ms")
    return {
        "median_ms": over_all(runs, statistics.median, "ms"),
        "median_cpu_ms": over_all(runs, statistics.median, "cpu_ms"),
        "least_ms": least,
        "ratio": statistics.median(ratios(runs, other, "ms")),
        "cpu_ratio": statistics.median(ratios(runs, other, "cpu_ms")),
        "ratio_of_least": least["engine"] / least[other],
        "ratios_per_round": ratios(runs, other, "ms"),
    }


def compare_with_reference(programs, arguments):
    results = []
    print("net            threads  engine ms  reference ms  ratio  cpu ratio  ratio of least")
    for net in arguments.nets or REFERENCE_NETS:
        for threads in arguments.threads:
            steps = arguments.steps or 30
            sides = {
                "engine": [programs / "step_bench", HERE / "nets" / f"{net}.prototxt", steps],
                "reference": [programs / "prototype_bench", net, steps],
            }
            runs = interleave(sides, threads, arguments.rounds or 9)
            result = {"net": net, "threads": threads, **compare(runs, "reference")}
            results.append(result)
            median = result["median_ms"]
            print(
                f"{net:14} {threads:7} {median['engine']:10.2f} {median['reference']:13.2f}"
                f" {result['ratio']:6.3f} {result['cpu_ratio']:10.3f} {result['ratio_of_least']:15.3f}",
                flush=True,
            )
    return results


def peer_work(arguments):
    """(net, what, precision, batch, steps) to compare."""
    for net in arguments.nets or PEER_NETS:
        train, infer = PEER_NETS[net]
        for precision in arguments.precision:
            if "training" in arguments.work:
                yield net, "training", precision, None, arguments.steps or train
            for batch in (1, 16) if "inference" in arguments.work else ():
                yield net, "inference", precision, batch, arguments.steps or infer


def peer_sides(programs, net, precision, steps, batch, threads, arguments):
    """The engine and its peers: commands by name."""
    rest = (["--inference", "--batch", batch] if batch else []) + (["--bf16"] if precision == "bf16" else [])
    sides = {"engine": [programs / "step_bench", HERE / "nets" / f"{net}.prototxt", steps, *rest]}
    for variant in arguments.variants:
        if variant == "onnxruntime":
            if batch and precision == "f32":
                file = onnx_file(net, batch, arguments)
                sides[variant] = [arguments.python, HERE / "onnx_peer.py", file, steps, threads]
        elif variant != "channels_last" or net != "caption":
            sides[variant] = [arguments.python, HERE / "torch_peer.py", net, steps, variant, threads, *rest]
    return sides


def onnx_file(net, batch, arguments):
    path = HERE.parent / "build" / "peers" / f"{net}_{batch}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [arguments.python, HERE / "torch_peer.py", net, 0, "export", 1, "--batch", batch, "--output", path]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: {' '.join(map(str, command))} failed: {done.stderr.strip()[-2000:]}")
    return path


class PeerRow:
    """One net, kind of work and number of threads, with all runs of all sides."""

    def __init__(self, net, work, precision, batch, threads, sides):
        self.net, self.work, self.batch, self.threads, self.sides = net, work, batch, threads, sides
        self.precision = precision
        self.runs = {}

    def run_round(self, number):
        """All sides in turn; after the first round the engine and the best peer."""
        sides = list(self.sides)
        if self.runs:
            sides = ["engine", self.best()]
        for side in sides if number % 2 else reversed(sides):
            self.runs.setdefault(side, []).append(run_side(self.sides[side], self.threads))

    def best(self):
        median = over_all(self.runs, statistics.median, "ms")
        return min((side for side in self.sides if side != "engine"), key=median.get)

    def result(self):
        best = self.best()
        result = {"net": self.net, "work": self.work, "precision": self.precision, "batch": self.batch}
        result["threads"] = self.threads
        result.update(best_peer=best, rounds=len(self.runs["engine"]), **compare(self.runs, best))
        for key in ("peak_mb", "start_ms"):
            result[key] = {side: statistics.median(run[key] for run in each) for side, each in self.runs.items()}
            least = min(value for side, value in result[key].items() if side != "engine")
            result[key + "_ratio"] = result[key]["engine"] / least
        result["peer_version"] = self.runs[best][0]["version"]
        return result


def compare_with_peers(programs, arguments):
    """Rounds over all rows, until as many are done as asked for, or the time is over; at least one."""
    rows = []
    for net, work, precision, batch, steps in peer_work(arguments):
        for threads in arguments.threads:
            sides = peer_sides(programs, net, precision, steps, batch, threads, arguments)
            rows.append(PeerRow(net, work, precision, batch, threads, sides))
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else math.inf
    for number in range(arguments.rounds or (1000 if arguments.minutes else 3)):
        for row in rows:
            if row.runs and time.monotonic() > end:
                continue
            row.run_round(number)
            what = f"{row.net} {row.work} {row.precision} {row.batch or ''}"
            print(f"round {number + 1}: {what} threads {row.threads}", flush=True)
        if time.monotonic() > end:
            break
    results = [row.result() for row in rows]
    print("net            work               threads  engine ms   best peer        ms  ratio  cpu ratio  memory  start")
    for result in results:
        median, best = result["median_ms"], result["best_peer"]
        work = f"{result['work']} {result['precision']} {result['batch'] or ''}"
        print(
            f"{result['net']:14} {work:18} {result['threads']:7} {median['engine']:10.2f}"
            f"   {best:13} {median[best]:6.1f} {result['ratio']:6.3f} {result['cpu_ratio']:10.3f}"
            f" {result['peak_mb_ratio']:7.3f} {result['start_ms_ratio']:6.3f}"
        )
    for kind in sorted({(result["work"], result["precision"], result["threads"]) for result in results}):
        for key in ("ratio", "cpu_ratio", "peak_mb_ratio", "start_ms_ratio"):
            values = [row[key] for row in results if (row["work"], row["precision"], row["threads"]) == kind]
            mean = math.exp(statistics.fmean(map(math.log, values)))
            print(f"{kind[0]} {kind[1]}, threads {kind[2]}: {key}: geometric mean {mean:.3f}, worst {max(values):.3f}")
    return results


def data_speed(programs):
    """What data_bench prints: records to batches, against what the machine does at best."""
    done = subprocess.run([str(programs / "data_bench"), "5"], capture_output=True, text=True, check=True)
    print(done.stdout)
    return json.loads(done.stdout)


def processor():
    """Its name, and the widest instructions that it has."""
    lines = dict(line.split("\t", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "\t" in line)
    values = {name: value.lstrip("\t: ").strip() for name, value in lines.items()}
    name, flags = values.get("model name", platform.processor()), values.get("flags", "").split()
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return ", ".join([name, *(flag for flag in known if flag in flags)])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", action="store_true", help="compare with PyTorch and ONNX Runtime")
    parser.add_argument("--build", help="CMake build folder; default: build/release")
    parser.add_argument("--nets", nargs="+", choices=PEER_NETS)
    parser.add_argument("--work", nargs="+", choices=("training", "inference"), default=("training", "inference"))
    parser.add_argument("--precision", nargs="+", choices=("f32", "bf16"), default=("f32",), help="with --peers")
    parser.add_argument("--variants", nargs="+", default=PEERS, choices=PEERS, help="that compete")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count()}))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float, help="with --peers: begin no further run after that long")
    parser.add_argument("--python", default=sys.executable, help="that has the peers installed")
    parser.add_argument("--steps", type=int, help="per round")
    parser.add_argument("--limit", type=float, default=1.05, help="largest ratio that passes")
    parser.add_argument("--output", help="JSON file")
    arguments = parser.parse_args()
    if not arguments.peers and arguments.nets and not set(arguments.nets) <= set(REFERENCE_NETS):
        parser.error(f"without --peers the nets are {', '.join(REFERENCE_NETS)}")
    return arguments


def main():
    arguments = parse()
    programs = build_programs(find_build(arguments.build))
    results = (compare_with_peers if arguments.peers else compare_with_reference)(programs, arguments)
    others = "peers: PyTorch, ONNX Runtime" if arguments.peers else "reference: prototype_bench.cpp"
    report = {
        "what": f"milliseconds per step; {others}",
        "command": "benchmarks/run.py " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "results": results,
    }
    if arguments.peers:
        report["data"] = data_speed(programs)
    name = "peers.json" if arguments.peers else "training_step.json"
    output = pathlib.Path(arguments.output or HERE / "results" / name)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {output}")
    return 1 if any(result["ratio"] > arguments.limit for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
