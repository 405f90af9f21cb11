#!/usr/bin/env bash
# Runs every program of tests/fuzz for a short time ($FUZZ_SECONDS each, 20 by default) under ASan and UBSan.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
OUT=${OUT:-$BUILD/test-results/fuzz}
mkdir -p "$OUT"
cd "$ROOT"
export LSAN_OPTIONS=suppressions=$ROOT/ci/lsan.supp
cmake_configure asan
ninja -C "$BUILD/asan" -j "$JOBS" fuzz_programs
passed=0 failed=0
for program in "$BUILD"/asan/fuzz_programs/*_fuzz; do
  name=$(basename "$program" _fuzz)
  if "$program" "$ROOT/tests/fuzz/corpus/$name" "${FUZZ_SECONDS:-20}" "$OUT/$name.crash"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $name: the input is in $OUT/$name.crash"
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
