#!/usr/bin/env bash
# Replays the fixtures of tests/golden through one adapter, on a copy. Usage: ci/golden.sh ADAPTER [NAME-FILTER]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$ROOT/tests/golden" "$scratch/golden"
cd "$scratch"
export CAFFE_POISON_MEMORY=1 # what a net has given up is NaN from then on
"$VENV/bin/python" golden/tools/check_golden.py "$1" golden "${2:-}"
