#!/usr/bin/env bash
# Runs the ScalaTest suites of jvm/ against the natives that ci/build.sh made; reports go to $OUT.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
use_venv_spark
rm -rf "$ROOT"/jvm/*/target/*-reports
# A folder of their own for temporary files: tests check that none stays behind.
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
code=0
mvn -B -f "$ROOT/pom.xml" -Dcaffe.native.dir="$BUILD/stage/jar" -Dtest.tmpdir="$temporary" verify || code=$?
for module in "$ROOT"/jvm/*/; do
  if compgen -G "$module/target/*-reports/*.xml" >/dev/null; then
    mkdir -p "$OUT/$(basename "$module")"
    cp "$module"/target/*-reports/*.xml "$OUT/$(basename "$module")/"
  fi
done
exit $code
