#!/usr/bin/env bash
# Builds, then compares speed with the reference, or with --peers with PyTorch; results go to benchmarks/results as JSON.
# Usage: ci/bench.sh [--peers] [ARGUMENT OF benchmarks/run.py...]; --peers installs PyTorch into .venv.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/build.sh"
if [ "${1:-}" = --peers ]; then
  shift
  say "bench: installing PyTorch, the peer, into .venv"
  # PyPI's wheel, without most of the CUDA libraries that it names: they take gigabytes and are never called.
  quietly "$BUILD/logs/pip-peers.log" "$VENV/bin/python" -m pip install -q --no-deps torch 'nvidia-cuda-runtime<14'
  quietly "$BUILD/logs/pip-peers.log" "$VENV/bin/python" -m pip install -q \
    filelock typing-extensions sympy networkx jinja2 fsspec setuptools
  "$VENV/bin/python" "$ROOT/benchmarks/torch_without_cuda.py" "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
fi
say "bench: benchmarks/run.py"
exec "$VENV/bin/python" "$ROOT/benchmarks/run.py" "$@"
