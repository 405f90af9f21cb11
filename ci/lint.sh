#!/usr/bin/env bash
# Checks style, the direction of includes, the scripts, Python and (without --quick) C++ with clang-tidy.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
"$ROOT/ci/format.sh" --check
say "lint: direction of includes"
"$VENV/bin/python" ci/check_includes.py
say "lint: generated reference"
"$VENV/bin/python" ci/docs.py --check
say "lint: shell scripts"
shellcheck ci/*.sh .ci/run docker/*.sh examples/*/*.sh tests/images/*.sh
say "lint: docker/Dockerfile"
"$VENV/bin/hadolint" docker/Dockerfile
say "lint: Python"
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.py' ':!tests/golden/*')
"$VENV/bin/ruff" check "${scripts[@]}"
if [ "${1:-}" != --quick ]; then
  "$ROOT/ci/deps.sh" apt dnnl protobuf archives
  say "lint: clang-tidy (some minutes)"
  quietly "$BUILD/logs/cmake-dev.log" cmake_configure dev
  quietly "$BUILD/logs/lint-proto.log" ninja -C "$BUILD/dev" caffe_proto
  # clang does not know one of GCC's flags
  mkdir -p "$BUILD/tidy"
  sed 's/ -fno-gnu-unique//' "$BUILD/dev/compile_commands.json" >"$BUILD/tidy/compile_commands.json"
  mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.cpp' ':!tests/*' ':!benchmarks/*')
  printf '%s\n' "${sources[@]}" | xargs -P "$JOBS" -n 1 clang-tidy --quiet -p "$BUILD/tidy"
fi
say "lint: clean"
