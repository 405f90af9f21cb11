"""What the exchange of gradients costs with up to 1,000 workers, computed from recorded training steps.

A step is simulated worker by worker: each draws its computing time from the recorded ones (benchmarks/link.py), a
bucket's sum begins when the slowest worker has it ready and the sum before it is done, and lasts as long as its
algorithm needs on a network of latency alpha (seconds a message) and 1/beta bytes a second:

    ring          2 (N-1) alpha + 2 (N-1)/N n beta
    halving       2 log2(N) alpha + 2 (N-1)/N n beta;  not a power of two: + 2 alpha + 2 n beta
    hierarchical  G workers on a host: their sum and its way back, 2 n / memory; between the H hosts a ring of leaders

Writes benchmarks/results/simulated_ranks.json and prints the tables of docs/communication.md.
"""

import argparse
import json
import math
import pathlib
import random

HERE = pathlib.Path(__file__).resolve().parent
WORLDS = (2, 3, 4, 8, 16, 24, 32, 64, 100, 128, 256, 500, 512, 1000)
SIZES = (128 << 10, 1 << 20, 8 << 20, 64 << 20)
MEMORY = 4e9  # bytes a second of a sum over ranks of one host
# Messages cost a system call, a wake-up and the way: measured for the first, the others are assumptions.
NETWORKS = {"1 Gbit/s": (60e-6, 1 / 119e6), "10 Gbit/s": (40e-6, 1 / 1.17e9), "100 Gbit/s": (25e-6, 1 / 11.5e9)}


def ring(size, world, alpha, beta):
    return 2 * (world - 1) * (alpha + size / world * beta)


def halving(size, world, alpha, beta):
    half = 1 << (world.bit_length() - 1)
    seconds = 2 * math.log2(half) * alpha + 2 * (half - 1) / half * size * beta
    return seconds + (2 * alpha + 2 * size * beta if world != half else 0)


def hierarchical(size, world, alpha, beta, per_host=4):
    if world % per_host:
        return math.inf
    hosts = world // per_host
    return 2 * size * (per_host - 1) / MEMORY + (ring(size, hosts, alpha, beta) if hosts > 1 else 0)


def shared_ring(size, world, alpha, beta, per_host=4):
    """The ring in the order of the hosts: a host's card sends what one rank sends."""
    return ring(size, world, alpha, beta)


def scattered_ring(size, world, alpha, beta, per_host=4):
    """The ring in any order: all ranks of a host send through its card at once."""
    return ring(size, world, alpha, beta * per_host)


def switch(world, alpha, beta):
    """The largest message, in bytes per worker, for which halving is at least as fast as the ring."""
    fastest = 0
    for exponent in range(8, 26):
        size = (1 << exponent) * world
        if halving(size, world, alpha, beta) <= ring(size, world, alpha, beta):
            fastest = 1 << exponent
    return fastest


def step(row, world, network, algorithm, draws):
    """Mean milliseconds of a step, and of one that computes alone."""
    alpha, beta = network
    computing = row["compute_samples_ms"]
    typical = row["compute_ms"]
    total = 0.0
    for _ in range(draws):
        slowest = max(random.choice(computing) for _ in range(world)) / typical
        free = 0.0
        for ready, size in row["buckets"]:
            free = max(free, ready * slowest) + 1e3 * algorithm(size, world, alpha, beta)
        total += max(free, typical * slowest)
    return total / draws


def chosen(size, world, alpha, beta):
    """What the library does: collective/algorithms.cpp, prefers_halving; small messages always by doubling."""
    if size <= 64 << 10:
        return math.ceil(math.log2(world)) * (alpha + size * beta)
    power = world & (world - 1) == 0
    halves = world > 2 and size / world <= (256 << 10 if power else 16 << 10)
    return (halving if halves else ring)(size, world, alpha, beta)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def milliseconds(seconds):
    return f"{1e3 * seconds:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recorded", default=HERE / "results" / "link.json", type=pathlib.Path)
    parser.add_argument("--output", default=HERE / "results" / "simulated_ranks.json", type=pathlib.Path)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    random.seed(1)
    recorded = [row for row in json.loads(arguments.recorded.read_text())["steps"] if row["wire"] == "float32"]
    report = {"what": "simulated, from " + arguments.recorded.name, "sums": [], "switch": [], "steps": []}
    for name, (alpha, beta) in NETWORKS.items():
        for size in SIZES:
            for world in WORLDS:
                row = {"network": name, "bytes": size, "world": world}
                row |= {f.__name__: f(size, world, alpha, beta) for f in (ring, halving, chosen)}
                row |= {f.__name__: f(size, world, alpha, beta) for f in (hierarchical, shared_ring, scattered_ring)}
                row["hierarchical"] = None if row["hierarchical"] == math.inf else row["hierarchical"]
                report["sums"].append(row)
        report["switch"] += [{"network": name, "world": w, "share": switch(w, alpha, beta)} for w in WORLDS[1:]]
        for row in recorded:
            for world in WORLDS:
                times = {
                    f.__name__: step(row, world, (alpha, beta), f, arguments.draws) for f in (ring, halving, chosen)
                }
                report["steps"].append({"network": name, "net": row["net"], "world": world} | times)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    shown = (4, 16, 64, 100, 256, 1000)
    for name in NETWORKS:
        print(f"Sums over {name}, ms: ring / halving / what the library chooses\n")
        table(["bytes"] + [f"N={w}" for w in shown],
              [[size] + [" / ".join(milliseconds(row[key]) for key in ("ring", "halving", "chosen"))
                         for row in report["sums"]
                         if row["network"] == name and row["bytes"] == size and row["world"] in shown]
               for size in SIZES])  # fmt: skip
    print("Four ranks a host, 8 MiB, 10 Gbit/s, ms\n")
    table(["N", "ring, any order", "ring by host", "hierarchical"],
          [[row["world"]] + [milliseconds(row[key]) for key in ("scattered_ring", "shared_ring", "hierarchical")]
           for row in report["sums"]
           if (row["network"], row["bytes"]) == ("10 Gbit/s", 8 << 20) and row["hierarchical"]])  # fmt: skip
    print("Halving is as fast as the ring up to this many KiB per worker\n")
    shares = {name: [row["share"] >> 10 for row in report["switch"] if row["network"] == name] for name in NETWORKS}
    table(["network"] + [f"N={w}" for w in WORLDS[1:]], [[name, *values] for name, values in shares.items()])
    print("Steps, ms: what the library chooses (ring alone)\n")
    table(["net", "network"] + [f"N={w}" for w in shown],
          [[net, name] + [f"{row['chosen']:.3g} ({row['ring']:.3g})" for row in report["steps"]
                          if row["network"] == name and row["net"] == net and row["world"] in shown]
           for net in dict.fromkeys(row["net"] for row in recorded) for name in NETWORKS])  # fmt: skip


if __name__ == "__main__":
    main()
