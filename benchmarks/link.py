"""Measures the exchange of gradients over a link of known speed: network namespaces, one per worker, joined by a
bridge whose ports a token bucket limits. Needs root, iproute2 and iperf3; compares with Gloo if libgloo-dev is there.

Writes benchmarks/results/link.json: what iperf3 reaches on the link, bus bandwidth of the sums (float32, bf16, Gloo),
and milliseconds of a training step with sums during and after backward. Exits with 1 where float32 stays below
0.95 of iperf3's rate, or bf16 below 1.9 times float32.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PREFIX = "caffelink"
SIZES = (4096, 1_724_320, 5_000_000, 102_000_000)
NETS = {"lenet": 60, "cifar10_quick": 40, "caffenet": 4}


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def hosts(count, rate):
    """Namespaces caffelink0... with 10.78.0.1... on eth0; what each sends and gets is limited to `rate`."""
    hub = PREFIX + "hub"
    try:
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "br0", "up")
        for i in range(count):
            host = f"{PREFIX}{i}"
            run("ip", "netns", "add", host)
            run("ip", "-n", hub, "link", "add", f"h{i}", "type", "veth", "peer", "name", "eth0", "netns", host)
            run("ip", "-n", hub, "link", "set", f"h{i}", "master", "br0", "up")
            run("ip", "-n", host, "addr", "add", f"10.78.0.{i + 1}/24", "dev", "eth0")
            run("ip", "-n", host, "link", "set", "eth0", "up")
            run("ip", "-n", host, "link", "set", "lo", "up")
            for space, device in ((host, "eth0"), (hub, f"h{i}")):
                run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "256k",
                    "latency", "20ms")  # fmt: skip
        yield
    finally:
        for i in range(count):
            run("ip", "netns", "del", f"{PREFIX}{i}", check=False)
        run("ip", "netns", "del", hub, check=False)


def link_speed():
    """Megabytes a second that one TCP connection carries."""
    server = subprocess.Popen(
        ["ip", "netns", "exec", f"{PREFIX}0", "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True
    )
    for line in server.stdout:
        if "listening" in line:
            break
    text = run("ip", "netns", "exec", f"{PREFIX}1", "iperf3", "-c", "10.78.0.1", "-t", "4", "-J")
    server.wait(timeout=20)
    return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 8e6


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def sums(programs, ranks):
    rows = []
    for wire in ("float32", "bf16"):
        rows += lines(run(programs / "comm_bench", ranks, "-netns", PREFIX, "-wire", wire, *SIZES))
    if (programs / "gloo_bench").exists():
        rows += lines(run(programs / "gloo_bench", ranks, "-netns", PREFIX, *SIZES))
    for row in rows:
        print(f"{row['ranks']} ranks  {row['wire']:8} {row['bytes']:10}  {row['median_ms']:9.3f} ms  "
              f"{row['bus_MB_per_s']:7.1f} MB/s", flush=True)  # fmt: skip
    return rows


def steps(programs, ranks, wire):
    rows = []
    for net, count in NETS.items():
        times = json.loads(run(programs / "exchange_bench", HERE / "nets" / f"{net}.prototxt", ranks, count, "-netns",
                               PREFIX, "-wire", wire))  # fmt: skip
        row = {"net": net, "ranks": ranks, "wire": wire, "steps": count}
        row |= {key: statistics.median(times[key]) for key in ("compute_ms", "no_overlap_ms", "overlap_ms")}
        row |= {"buckets": times["buckets"], "compute_samples_ms": times["compute_ms"]}
        row["speedup"] = row["no_overlap_ms"] / row["overlap_ms"]
        rows.append(row)
        after, during = row["no_overlap_ms"], row["overlap_ms"]
        print(f"{net:14} {ranks} ranks {wire:8} compute {row['compute_ms']:8.1f} ms, sums after backward {after:8.1f}, "
              f"during {during:8.1f} ({row['speedup']:.2f}x)", flush=True)  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=HERE.parent / "build" / "release", type=pathlib.Path)
    parser.add_argument("--rate", default="1gbit", help="of the link, as tc writes it")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--output", default=HERE / "results" / "link.json", type=pathlib.Path)
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    run("cmake", "--build", arguments.build, "--target", "link_bench")
    programs = arguments.build / "benchmarks"
    with hosts(max(arguments.ranks), arguments.rate):
        speed = link_speed()
        print(f"iperf3: {speed:.1f} MB/s", flush=True)
        rows = [row for ranks in arguments.ranks for row in sums(programs, ranks)]
        trained = [row for wire in ("float32", "bf16") for row in steps(programs, 2, wire)]
    report = {
        "what": "sums over a limited link, and training steps that use them; megabytes are of float32",
        "command": "benchmarks/link.py " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "link": arguments.rate,
        "iperf3_MB_per_s": speed,
        "sums": rows,
        "steps": trained,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {arguments.output}")
    large = {(row["ranks"], row["wire"]): row["bus_MB_per_s"] for row in rows if row["bytes"] == SIZES[-1]}
    slow = [ranks for ranks in arguments.ranks if large[ranks, "float32"] < 0.95 * speed]
    slow += [ranks for ranks in arguments.ranks if large[ranks, "bf16"] < 1.9 * large[ranks, "float32"]]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
