#!/usr/bin/env bash
# Removes what the build made in this folder; Maven's and ccache's own caches stay.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
say "removing build/, dist/, .venv and jvm/*/target"
rm -rf "$BUILD" "$DIST" "$VENV" "$ROOT"/jvm/*/target
