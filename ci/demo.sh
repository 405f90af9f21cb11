#!/usr/bin/env bash
# Builds, then runs the demonstration on two Spark executors.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/build.sh"
"$ROOT/ci/deps.sh" demo
say "demo: examples/fashion_mnist/run.sh"
exec "$ROOT/examples/fashion_mnist/run.sh" "$@"
