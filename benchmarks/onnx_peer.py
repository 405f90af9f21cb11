"""ONNX Runtime's side of run.py --peers: inference of a net that torch_peer.py exported.

usage: onnx_peer.py FILE.onnx STEPS THREADS
"""

import argparse

import numpy as np
import onnxruntime
from steps import measure


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

    measure(lambda: session.run(None, inputs), arguments.steps, f"ONNX Runtime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
