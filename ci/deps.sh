#!/usr/bin/env bash
# Installs what the build needs and this machine lacks. Usage: ci/deps.sh [apt] [dnnl] [protobuf] [archives] [python] [lint] [demo]
# [guest] [hadoop]; all but the last four by default.
# Every step first looks whether its result is there, so that a second run costs about a second.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DNNL_VERSION=3.13-1.5.14
DNNL_SHA256=9c9a46215ec11c7ceb442714083615c74104f4ad7181ff910bf5fa95999070f4

scratch=$(mktemp -d)
chmod 755 "$scratch" # apt drops its privileges while it downloads
trap 'rm -rf "$scratch"' EXIT

install_apt() {
  local list=${1:-apt-packages.txt} wanted missing=() name
  mapfile -t wanted < <(grep -v '^#' "$ROOT/ci/$list")
  for name in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "apt: all ${#wanted[@]} packages of ci/$list are installed"
    return
  fi
  say "apt: installing ${missing[*]}"
  quietly "$BUILD/logs/apt-update.log" as_root apt-get update
  quietly "$BUILD/logs/apt-install.log" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"
}

# oneDNN, its headers and the OpenMP runtime that it was built with, out of the Maven artifact. The library gets a name of
# our own, because a process holds only one library of a name and may hold another oneDNN already.
install_dnnl() {
  local target=$CAFFE_DEPS_DIR/dnnl
  if [ "$(cat "$target/version" 2>/dev/null)" = "$DNNL_VERSION" ] && [ -e "$target/shipped/libgomp.so.1" ]; then
    say "oneDNN $DNNL_VERSION: present in $target"
    return
  fi
  say "oneDNN $DNNL_VERSION: fetching"
  quietly "$BUILD/logs/dnnl-fetch.log" mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="org.bytedeco:dnnl:$DNNL_VERSION:jar:linux-x86_64" -DoutputDirectory="$scratch"
  local jar=$scratch/dnnl-$DNNL_VERSION-linux-x86_64.jar inside=org/bytedeco/dnnl/linux-x86_64
  echo "$DNNL_SHA256  $jar" | sha256sum --check --quiet ||
    die "$jar is not the file that was checked when this version was chosen (sha256 differs)"
  unzip -q "$jar" "$inside/include/*" "$inside/libdnnl.so.3" "$inside/libgomp.so.1" -d "$scratch/dnnl"
  mkdir -p "$scratch/out/lib" "$scratch/out/shipped"
  mv "$scratch/dnnl/$inside/include" "$scratch/out/include"
  mv "$scratch/dnnl/$inside/libdnnl.so.3" "$scratch/out/lib/libcaffe_dnnl.so.3"
  mv "$scratch/dnnl/$inside/libgomp.so.1" "$scratch/out/shipped/" # programs in the build folder use the system's
  patchelf --set-soname libcaffe_dnnl.so.3 "$scratch/out/lib/libcaffe_dnnl.so.3"
  echo "$DNNL_VERSION" >"$scratch/out/version"
  publish "$scratch/out" "$target"
}

# Debian's libprotobuf.a cannot go into a shared library, so the same source package is built again with -fPIC.
install_protobuf() {
  local target=$CAFFE_DEPS_DIR/protobuf version
  version=$(dpkg-query -W -f '${source:Version}' protobuf-compiler)
  if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then
    say "protobuf $version: present in $target"
    return
  fi
  say "protobuf $version: building it position-independent from Debian's source package"
  fetch_source protobuf "$version"
  local launcher=() source=$scratch/protobuf-src build=$scratch/protobuf-build out=$scratch/protobuf-out
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  quietly "$BUILD/logs/protobuf-configure.log" cmake -S "$source" -B "$build" -G Ninja "${launcher[@]}" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" -DCMAKE_CXX_FLAGS=-fno-gnu-unique \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_CXX_VISIBILITY_PRESET=hidden -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON \
    -Dprotobuf_BUILD_TESTS=OFF -Dprotobuf_BUILD_PROTOC_BINARIES=OFF -Dprotobuf_BUILD_SHARED_LIBS=OFF
  quietly "$BUILD/logs/protobuf-build.log" cmake --build "$build" --target libprotobuf -j "$JOBS"
  mkdir -p "$out/include" "$out/lib"
  cp "$build/libprotobuf.a" "$out/lib/"
  (cd "$source/src" && find google/protobuf \( -name '*.h' -o -name '*.inc' \) ! -path '*/compiler/*' \
    -exec cp --parents {} "$out/include/" \;)
  echo "$version" >"$out/version"
  publish "$out" "$target"
}

# The list of source packages is our own, derived from the machine's binary ones; apt's configuration stays as it is.
apt_sources() {
  local apt=$1
  shift
  "$apt" -o "Dir::Etc::SourceList=$scratch/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o "Dir::State::Lists=$scratch/apt/lists" -o "Dir::Cache=$scratch/apt/cache" "$@"
}

# fetch_source NAME VERSION: unpacks a Debian source package, patches applied, into $scratch/NAME-src. An archive keeps
# the newest revisions only, so another Debian revision of the same upstream version will do.
fetch_source() {
  mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/cache/archives/partial"
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format '$(ORIGIN)|deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/^Debian|//p' | sort -u >"$scratch/apt/sources.list"
  [ -s "$scratch/apt/sources.list" ] || die "apt lists no Debian repository; run 'apt-get update' first"
  quietly "$BUILD/logs/$1-list.log" apt_sources apt-get update
  local version
  for version in "$2" $(apt_sources apt-cache showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -rVu); do
    [ "${version%-*}" = "${2%-*}" ] || continue
    if (cd "$scratch" && apt_sources apt-get source --download-only "$1=$version") >"$BUILD/logs/$1-source.log" 2>&1; then
      (cd "$scratch" && quietly "$BUILD/logs/$1-unpack.log" dpkg-source --no-check -x "$1"_*.dsc "$1-src")
      return
    fi
  done
  die "no Debian source package $1 ${2%-*} could be fetched (see $BUILD/logs/$1-source.log)"
}

# All that keeps Debian's liblmdb.a, libjpeg.a and libpng.a out of a shared library is that they read `stderr` in the way
# of an executable. Copies that read variables of our own instead can go in (ld -z text checks that nothing else is left).
install_archives() {
  local name version target library
  library=/usr/lib/$(gcc -print-multiarch)
  for name in lmdb:liblmdb-dev jpeg:libjpeg62-turbo-dev png:libpng-dev; do
    version=$(dpkg-query -W -f '${Version}' "${name#*:}")
    name=${name%:*}
    version=$version-2
    target=$CAFFE_DEPS_DIR/$name
    if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then
      say "$name $version: present in $target"
      continue
    fi
    mkdir -p "$scratch/$name/lib"
    objcopy --redefine-sym "stderr=caffe_stderr_$name" "$library/lib$name.a" "$scratch/$name/lib/lib$name.a"
    printf '%s\n' '#include <stdio.h>' "__attribute__((visibility(\"hidden\"))) FILE* caffe_stderr_$name;" \
      "__attribute__((constructor)) static void set_stderr(void) { caffe_stderr_$name = stderr; }" |
      gcc -O2 -fPIC -x c -c - -o "$scratch/caffe_stderr.o"
    ar r "$scratch/$name/lib/lib$name.a" "$scratch/caffe_stderr.o"
    echo "$version" >"$scratch/$name/version"
    publish "$scratch/$name" "$target"
  done
}

# publish FROM TO: puts a finished folder in its place, never a half-written one.
publish() {
  mkdir -p "$(dirname "$2")"
  rm -rf "$2.new"
  cp -r "$1" "$2.new"
  rm -rf "$2"
  mv "$2.new" "$2"
  say "$(basename "$2"): ready in $2"
}

install_python() {
  local stamp=$VENV/requirements.sha256 wanted
  wanted=$(sha256sum <"$ROOT/ci/requirements.txt")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    say "Python: .venv is up to date"
    return
  fi
  say "Python: installing ci/requirements.txt into .venv"
  [ -x "$VENV/bin/python" ] || /usr/bin/python3 -m venv "$VENV"
  quietly "$BUILD/logs/pip-tools.log" "$VENV/bin/python" -m pip install -q "setuptools==75.8.0" "wheel==0.45.1"
  quietly "$BUILD/logs/pip.log" "$VENV/bin/python" -m pip install -q --no-build-isolation -r "$ROOT/ci/requirements.txt"
  echo "$wanted" >"$stamp"
}

install_lint() {
  install_apt apt-packages-lint.txt
  install_python
}

# For the virtual machine of ci/guest.sh.
install_guest() {
  install_apt apt-packages-guest.txt
}

install_demo() {
  install_apt apt-packages-demo.txt
}

# The jars of HDFS's and YARN's daemons, for the suite "cluster".
install_hadoop() {
  local target=$BUILD/hadoop wanted
  wanted=$(sha256sum <"$ROOT/ci/hadoop/pom.xml")
  if [ "$(cat "$target/version" 2>/dev/null)" = "$wanted" ]; then
    say "Hadoop's daemons: present in $target"
    return
  fi
  say "Hadoop's daemons: fetching"
  quietly "$BUILD/logs/hadoop-fetch.log" mvn -B -q -f "$ROOT/ci/hadoop/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$scratch/hadoop"
  echo "$wanted" >"$scratch/hadoop/version"
  publish "$scratch/hadoop" "$target"
}

for step in "${@:-apt dnnl protobuf archives python}"; do
  for name in $step; do
    "install_$name"
  done
done
