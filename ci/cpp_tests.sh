#!/usr/bin/env bash
# Builds and runs the GoogleTest programs of one CMake preset. Usage: ci/cpp_tests.sh [--build] PRESET [REGEX], a Perl-like
# pattern of program names; --build only builds them. Reports go to $OUT as XML; a program that ends without one counts as a failure.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
only_build=no
if [ "$1" = --build ]; then
  only_build=yes
  shift
fi
preset=$1 pattern=${2:-.}
OUT=${OUT:-$BUILD/test-results/$preset}
mkdir -p "$OUT"

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:suppressions=$ROOT/ci/tsan.supp
export LSAN_OPTIONS=suppressions=$ROOT/ci/lsan.supp

cmake_configure "$preset"
mapfile -t programs < <(ninja -C "$BUILD/$preset" -t targets all | sed -n 's/^\([a-z0-9_]*_tests\): phony$/\1/p' |
  grep -v '^cmake_object_order' |
  grep -P "$pattern" | sort -u)
[ ${#programs[@]} -gt 0 ] || die "preset $preset has no test program that matches $pattern"
ninja -C "$BUILD/$preset" -j "$JOBS" "${programs[@]}"
[ $only_build = no ] || exit 0

# Two at once: some wait for most of their time, for workers that shall be missed.
run_program() {
  local program=$1 log=$OUT/$1.log
  if ! timeout --kill-after=10 600 "$BUILD/$preset/test_programs/$program" --gtest_brief=1 --gtest_output="xml:$OUT/$program.xml" \
    >"$log" 2>&1; then
    touch "$OUT/$program.failed"
    if [ ! -s "$OUT/$program.xml" ]; then
      printf '<testsuites><testcase classname="%s" name="ended without a report"><failure/></testcase></testsuites>\n' \
        "$program" >"$OUT/$program.xml"
    fi
  fi
  say "$program"
  cat "$log"
}
export -f run_program say
export preset OUT BUILD
rm -f "$OUT"/*.failed
printf '%s\n' "${programs[@]}" | xargs -P 2 -I '{}' bash -c 'run_program {}'
! compgen -G "$OUT/*.failed" >/dev/null
