#!/usr/bin/env bash
# Builds, then compares training speed with the reference; results go to benchmarks/results as JSON.
# Usage: ci/bench.sh [--peers] [ARGUMENT OF benchmarks/run.py...]; --peers also installs PyTorch to compare with.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/build.sh"
if [ "${1:-}" = --peers ]; then
  shift
  say "bench: installing PyTorch, the peer, into .venv"
  quietly "$BUILD/logs/pip-peers.log" "$VENV/bin/python" -m pip install -q torch
fi
say "bench: benchmarks/run.py"
exec "$VENV/bin/python" "$ROOT/benchmarks/run.py" "$@"
