#!/usr/bin/env bash
# Builds the jars for other versions of Spark (the profiles of pom.xml) into dist/PROFILE/, with the natives that ci/build.sh made.
# Usage: ci/profiles.sh [PROFILE...]; all by default. What has not changed since is left out.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ALL=(spark-4.0 spark-3.5 spark-3.5-scala-2.12)

build_profile() {
  local profile=$1 stamp=$BUILD/jar-$1.sha256 target=$ROOT/jvm/spark/target/$1 wanted jars
  [[ " ${ALL[*]} " == *" $profile "* ]] || die "there is no profile $profile (known: ${ALL[*]})"
  wanted=$(fingerprint pom.xml jvm engine/proto "$BUILD/stage/jar")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && compgen -G "$DIST/$profile/*.jar" >/dev/null; then
    say "$profile: up to date"
    return
  fi
  say "$profile: Maven"
  rm -rf "${DIST:?}/$profile" "$target"/caffeonspark-*.jar
  quietly "$BUILD/logs/maven-$profile.log" mvn -B -q -f "$ROOT/pom.xml" -P "$profile" -Dmaven.test.skip=true \
    -Dcaffe.native.dir="$BUILD/stage/jar" package
  mapfile -t jars < <(find "$target" -maxdepth 1 -name 'caffeonspark-*.jar')
  [ ${#jars[@]} -eq 1 ] || die "Maven made ${#jars[@]} jars where one was expected: ${jars[*]}"
  mkdir -p "$DIST/$profile"
  cp "${jars[0]}" "$DIST/$profile/"
  echo "$wanted" >"$stamp"
}

[ -e "$BUILD/stage/jar/libcaffeonspark.so" ] || die "the natives are missing; run ci/build.sh first"
[ $# -gt 0 ] || set -- "${ALL[@]}"
for profile in "$@"; do
  build_profile "$profile"
done
