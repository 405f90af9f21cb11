#!/usr/bin/env bash
# Builds all that is shipped: dist/ gets one jar and one wheel, .venv the installed wheel. Steps whose input has not changed
# since they last succeeded are left out.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STAGE=$BUILD/stage
started=$SECONDS

build_natives() {
  say "natives: CMake, preset release"
  quietly "$BUILD/logs/cmake-release.log" cmake_configure release
  (cd "$BUILD/release" && ninja -j "$JOBS" shipped) || die "the native build failed; the compiler's message is above"
  rm -rf "$STAGE"
  quietly "$BUILD/logs/stage-jar.log" cmake --install "$BUILD/release" --strip --component jar --prefix "$STAGE/jar"
  quietly "$BUILD/logs/stage-wheel.log" cmake --install "$BUILD/release" --strip --component wheel --prefix "$STAGE/wheel"
}

build_jar() {
  local stamp=$BUILD/jar.sha256 wanted jars
  wanted=$(fingerprint pom.xml jvm engine/proto "$STAGE/jar")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && compgen -G "$DIST/*.jar" >/dev/null; then
    say "jar: up to date"
    return
  fi
  say "jar: Maven"
  rm -f "$DIST"/*.jar "$ROOT"/jvm/spark/target/caffeonspark-*.jar
  quietly "$BUILD/logs/maven.log" mvn -B -q -f "$ROOT/pom.xml" -DskipTests -Dcaffe.native.dir="$STAGE/jar" package
  mapfile -t jars < <(find "$ROOT/jvm/spark/target" -maxdepth 1 -name 'caffeonspark-*.jar' ! -name '*-sources.jar' ! -name '*-tests.jar')
  [ ${#jars[@]} -eq 1 ] || die "Maven made ${#jars[@]} jars where one was expected: ${jars[*]}"
  mkdir -p "$DIST"
  cp "${jars[0]}" "$DIST/"
  echo "$wanted" >"$stamp"
}

build_wheel() {
  local stamp=$VENV/wheel.sha256 wanted
  mkdir -p "$STAGE/wheel/caffeonspark/jars"
  [ ! -e "$ROOT/pom.xml" ] || cp "$DIST"/*.jar "$STAGE/wheel/caffeonspark/jars/"
  wanted=$(fingerprint pyproject.toml setup.py python "$STAGE/wheel")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && compgen -G "$DIST/*.whl" >/dev/null; then
    say "wheel: up to date in dist/ and .venv"
    return
  fi
  say "wheel: building and installing it into .venv"
  rm -rf "$DIST"/*.whl "$ROOT/build/lib" "$ROOT"/build/bdist.* # setuptools would keep files that were removed
  CAFFE_STAGE=$STAGE/wheel quietly "$BUILD/logs/wheel.log" \
    "$VENV/bin/python" -m pip wheel -q --no-deps --no-build-isolation -w "$DIST" "$ROOT"
  quietly "$BUILD/logs/wheel-install.log" \
    "$VENV/bin/python" -m pip install -q --no-deps --no-index --force-reinstall "$DIST"/*.whl
  echo "$wanted" >"$stamp"
}

"$ROOT/ci/deps.sh"
build_natives
[ ! -e "$ROOT/pom.xml" ] || build_jar
[ ! -e "$ROOT/python/caffe" ] || build_wheel
say "build: done in $((SECONDS - started)) s"
[ ! -d "$DIST" ] || (cd "$ROOT" && du -h dist/* | sed 's/^/    /')
echo "    .venv/bin: $(cd "$VENV/bin" && find . -newer "$VENV/requirements.sha256" -type f -printf '%f ') spark-submit"
