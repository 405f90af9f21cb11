"""Milliseconds of a batch in OpenCV's dnn module, beside the engine's (step_bench), in turn; for the nets of nets/ that
OpenCV reads. Needs opencv-python-headless and the built wheel (.venv has both). Prints one JSON object per row.

usage: opencv_peer.py [THREADS] [ROUNDS]
"""

import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

from run import run_side
from spark import write_weights

HERE = pathlib.Path(__file__).resolve().parent
STEP_BENCH = HERE.parent / "build/release/benchmarks/step_bench"
NETS = {"lenet": 60, "cifar10_quick": 40, "caffenet": 10, "resnet50": 8}


def for_inference(text, batch):
    """The net without labels, loss and accuracy, for batches of this size."""
    layers = [
        line for line in text.splitlines() if not re.search(r'name: "label"|type: "(SoftmaxWithLoss|Accuracy)"', line)
    ]
    return re.sub(r"dim: \d+", f"dim: {batch}", "\n".join(layers), count=1)


def opencv(prototxt, weights, steps, threads):
    """Median ms."""
    import cv2
    import numpy as np

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    shape = [int(dim) for dim in re.findall(r"dim: (\d+)", re.search(r".*Input.*", prototxt.read_text())[0])]
    net.setInput(np.random.default_rng(1).standard_normal(shape, dtype=np.float32))
    times = []
    for _ in range(steps + 3):
        start = time.perf_counter()
        net.forward()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[3:])


def engine(net, batch, steps, threads):
    """Median ms."""
    command = [STEP_BENCH, HERE / "nets" / f"{net}.prototxt", steps, "--inference", "--batch", batch]
    return statistics.median(run_side(command, threads)["ms"])


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as scratch:
        for net, steps in NETS.items():
            weights = write_weights(pathlib.Path(scratch), net)
            for batch in (1, 16):
                prototxt = pathlib.Path(scratch) / f"{net}_{batch}.prototxt"
                prototxt.write_text(for_inference((HERE / "nets" / f"{net}.prototxt").read_text(), batch))
                pairs = [
                    (engine(net, batch, steps, threads), opencv(prototxt, weights, steps, threads))
                    for _ in range(rounds)
                ]
                row = {"net": net, "batch": batch, "threads": threads, "rounds": rounds}
                row |= {
                    side: statistics.median(times)
                    for side, times in zip(("engine_ms", "opencv_ms"), zip(*pairs, strict=True), strict=True)
                }
                row["ratio"] = statistics.median(ours / theirs for ours, theirs in pairs)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
