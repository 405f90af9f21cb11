"""ONNX Runtime's side of run.py --peers: inference of a net that torch_peer.py exported.

usage: onnx_peer.py FILE.onnx STEPS THREADS

Prints what step_bench prints: `ready` after the first step, then one JSON object.
"""

import argparse
import json
import resource
import time

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("steps", type=int)
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.file, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    inputs = {}
    for one in session.get_inputs():
        whole = "int" in one.type
        inputs[one.name] = random.integers(0, 10, one.shape) if whole else random.standard_normal(one.shape, np.float32)

    def step():
        session.run(None, inputs)

    step()
    print("ready", flush=True)
    for _ in range(2):
        step()
    wall, processor = [], []
    for _ in range(arguments.steps):
        start, used = time.perf_counter(), time.process_time()
        step()
        processor.append((time.process_time() - used) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    version = f"ONNX Runtime {onnxruntime.__version__}"
    print(json.dumps({"ms": wall, "cpu_ms": processor, "peak_mb": peak, "version": version}))


if __name__ == "__main__":
    main()
