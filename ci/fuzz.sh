#!/usr/bin/env bash
# Runs every program of tests/fuzz for a short time ($FUZZ_SECONDS each, 20 by default) under ASan and UBSan; with --build only
# builds them.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
OUT=${OUT:-$BUILD/test-results/fuzz}
mkdir -p "$OUT"
rm -f "$OUT"/*.passed
cd "$ROOT"
export LSAN_OPTIONS=suppressions=$ROOT/ci/lsan.supp
cmake_configure asan
ninja -C "$BUILD/asan" -j "$JOBS" fuzz_programs
[ "${1:-}" != --build ] || exit 0
# Each has one thread; as many run at once as there are cores. One that fails prints the line that counts it.
# shellcheck disable=SC2016 # the inner shell expands these
printf '%s\n' "$BUILD"/asan/fuzz_programs/*_fuzz | OUT=$OUT ROOT=$ROOT xargs -P "$JOBS" -n 1 bash -c '
  name=$(basename "$1" _fuzz)
  if "$1" "$ROOT/tests/fuzz/corpus/$name" "${FUZZ_SECONDS:-20}" "$OUT/$name.crash" >"$OUT/$name.log" 2>&1; then
    touch "$OUT/$name.passed"
  else
    cat "$OUT/$name.log"
    echo "FAIL $name: the input is in $OUT/$name.crash"
  fi' fuzz
all=$(find "$BUILD/asan/fuzz_programs" -name '*_fuzz' | wc -l)
passed=$(find "$OUT" -name '*.passed' | wc -l)
echo "$passed passed, $((all - passed)) failed, 0 skipped"
[ "$passed" -eq "$all" ]
