#!/usr/bin/env bash
# Builds, then compares speed with the reference, or with --peers with PyTorch and ONNX Runtime; results go to
# benchmarks/results as JSON. Usage: ci/bench.sh [--peers] [ARGUMENT OF benchmarks/run.py...]; --peers installs the peers into
# build/peers/venv, --precision f32 bf16 compares in both, and --minutes N ends it after about that long.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/build.sh"
if [ "${1:-}" = --peers ]; then
  shift
  say "bench: installing PyTorch and ONNX Runtime, the peers, into build/peers/venv"
  peers="$BUILD/peers/venv"
  [ -x "$peers/bin/python" ] || "$VENV/bin/python" -m venv "$peers"
  # PyPI's wheel, without most of the CUDA libraries that it names: they take gigabytes and are never called.
  quietly "$BUILD/logs/pip-peers.log" "$peers/bin/python" -m pip install -q --no-deps torch 'nvidia-cuda-runtime<14'
  quietly "$BUILD/logs/pip-peers.log" "$peers/bin/python" -m pip install -q \
    filelock typing-extensions sympy networkx jinja2 fsspec setuptools numpy onnx onnxscript onnxruntime
  "$peers/bin/python" "$ROOT/benchmarks/torch_without_cuda.py" "$("$peers/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  set -- --peers --python "$peers/bin/python" "$@"
fi
say "bench: benchmarks/run.py"
exec "$VENV/bin/python" "$ROOT/benchmarks/run.py" "$@"
