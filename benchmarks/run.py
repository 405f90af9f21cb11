"""Compares the engine's training step with the reference of prototype_bench.cpp.

Both are run in turn, several rounds in one go, because only ratios of interleaved runs mean anything on a machine
that others use too. Per net and number of threads the result holds the median and the least time of a step, and as
ratio the median over the rounds of (engine's median in this round / reference's median in this round); cpu_ratio is
the same for processor time, which tells more than the clock while the machine is busy. Writes
benchmarks/results/training_step.json and prints a table; exits with 1 where a ratio exceeds --limit.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NETS = ("lenet", "cifar10_quick")


def find_build(given):
    if given:
        return pathlib.Path(given)
    caches = sorted((HERE.parent / "build").glob("*/CMakeCache.txt"), key=lambda path: path.stat().st_mtime)
    if not caches:
        sys.exit("error: no CMake build below build/; run ci/build.sh first or give --build")
    return caches[-1].parent


def build_programs(build):
    command = ["cmake", "--build", str(build), "--target", "training_bench", "-j", str(os.cpu_count())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return build / "benchmarks"


def step_times(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive")
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {command[0]} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compare(programs, net, threads, rounds, steps):
    sides = {
        "engine": [programs / "step_bench", HERE / "nets" / f"{net}.prototxt", steps],
        "reference": [programs / "prototype_bench", net, steps],
    }
    times = {side: [] for side in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 else list(reversed(sides))
        for side in order:
            times[side].append(step_times(sides[side], threads))

    def ratios(key):
        pairs = zip(times["engine"], times["reference"])
        return [statistics.median(ours[key]) / statistics.median(other[key]) for ours, other in pairs]

    def over_all(summary, key):
        return {side: summary([value for run in runs for value in run[key]]) for side, runs in times.items()}

    least = over_all(min, "ms")
    return {
        "net": net,
        "threads": threads,
        "median_ms": over_all(statistics.median, "ms"),
        "median_cpu_ms": over_all(statistics.median, "cpu_ms"),
        "least_ms": least,
        "ratio": statistics.median(ratios("ms")),
        "cpu_ratio": statistics.median(ratios("cpu_ms")),
        "ratio_of_least": least["engine"] / least["reference"],
        "ratios_per_round": ratios("ms"),
    }


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", help="CMake build folder; default: the newest below build/")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count()}))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--limit", type=float, default=1.05, help="largest ratio that passes")
    parser.add_argument("--output", default=HERE / "results" / "training_step.json")
    arguments = parser.parse_args()
    programs = build_programs(find_build(arguments.build))
    results = []
    print("net            threads  engine ms  reference ms  ratio  cpu ratio  ratio of least")
    for net in arguments.nets:
        for threads in arguments.threads:
            result = compare(programs, net, threads, arguments.rounds, arguments.steps)
            results.append(result)
            median = result["median_ms"]
            print(f"{net:14} {threads:7} {median['engine']:10.2f} {median['reference']:13.2f}"
                  f" {result['ratio']:6.3f} {result['cpu_ratio']:10.3f} {result['ratio_of_least']:15.3f}", flush=True)
    report = {
        "what": "training step, milliseconds; reference: benchmarks/prototype_bench.cpp",
        "command": "benchmarks/run.py " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "rounds": arguments.rounds,
        "steps_per_round": arguments.steps,
        "results": results,
    }
    output = pathlib.Path(arguments.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {output}")
    return 1 if any(result["ratio"] > arguments.limit for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
