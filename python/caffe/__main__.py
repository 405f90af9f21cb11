"""`python -m caffe COMMAND ...` is the command `caffe` inside of an interpreter, for layers written in Python."""

import sys

from ._caffe import run_command_line

sys.exit(run_command_line(sys.argv[1:]))
