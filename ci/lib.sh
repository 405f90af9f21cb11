# What the scripts of ci/ have in common; to be sourced, not run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${CAFFE_BUILD_DIR:-$ROOT/build}
VENV=$ROOT/.venv
DIST=$ROOT/dist
export CAFFE_DEPS_DIR=${CAFFE_DEPS_DIR:-$ROOT/build/deps}
export CAFFE_TEST_DATA=${CAFFE_TEST_DATA:-$ROOT/../shared/data}
JOBS=${JOBS:-$(nproc)}
# One cache for all checkouts: paths below ROOT count as relative.
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS=pch_defines,time_macros # what it asks for to keep files that use a precompiled header

say() { printf '==> %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this step needs root: run it as root or install sudo ($*)"
  fi
}

# Runs a command with its output in a log file; prints the end of the log only where the command fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "failed: $* (whole output: $log)"
  fi
}

# fingerprint PATH...: one checksum over the names and contents of all source files below the paths.
fingerprint() {
  (cd "$ROOT" && find "$@" \( -name target -o -name __pycache__ -o -name '*.egg-info' \) -prune -o -type f -print0 | sort -z |
    xargs -0 -r sha256sum | sha256sum | cut -d' ' -f1)
}

# The Spark of .venv for what is started from here, on loopback.
use_venv_spark() {
  SPARK_HOME=$("$VENV/bin/python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
  export SPARK_HOME SPARK_SCALA_VERSION=2.13 SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost
}

# The options that every CMake configuration of ours gets.
cmake_configure() {
  local preset=$1
  shift
  local launcher=()
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  (cd "$ROOT" && cmake --preset "$preset" -B "$BUILD/$preset" -DCAFFE_DEPS_DIR="$CAFFE_DEPS_DIR" \
    -DPython_EXECUTABLE="$VENV/bin/python" "${launcher[@]}" "$@")
}
