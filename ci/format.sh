#!/usr/bin/env bash
# Writes the code style into all C++ and Python files. With --check it changes nothing and fails where it would.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/ci/deps.sh" lint
mode=${1:-write}
cd "$ROOT"
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.cpp' '*.h')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.py' ':!tests/golden/*')
if [ "$mode" = --check ]; then
  say "format: checking ${#sources[@]} C++ and ${#scripts[@]} Python files"
  clang-format --dry-run -Werror "${sources[@]}"
  "$VENV/bin/ruff" format --check "${scripts[@]}"
else
  say "format: ${#sources[@]} C++ and ${#scripts[@]} Python files"
  clang-format -i "${sources[@]}"
  "$VENV/bin/ruff" format "${scripts[@]}"
fi
