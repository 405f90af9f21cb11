"""The commands of the wheel (caffe, convert_mnist_data, ...): each starts the program of its own name. Imports nothing
heavy, so that `caffe` starts as fast as the program itself."""

import os
import sys


def main():
    name = os.path.basename(sys.argv[0])
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "caffe", "_native", "bin", name)
    os.environ["CAFFE_PYTHON"] = sys.executable  # where `caffe` finds an interpreter for layers written in Python
    os.execv(program, [program, *sys.argv[1:]])
