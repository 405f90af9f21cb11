#!/usr/bin/env bash
# Builds, then runs the test suites that ci/run_tests.py lists. Usage: ci/test.sh [--fast] [SUITE...]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/build.sh"
if [ ! -d "$CAFFE_TEST_DATA" ]; then
  say "test: no data in $CAFFE_TEST_DATA (set CAFFE_TEST_DATA); tests that need it are skipped by name"
fi
exec "$VENV/bin/python" "$ROOT/ci/run_tests.py" "$@"
