#!/usr/bin/env bash
# Checks what jar and wheel hold: exported symbols, needed libraries, glibc version; then loads both in a bare Debian file system
# (a JRE, or Python with numpy and protobuf; no compiler, no development package). Prints a line a check and the counts.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GLIBC=2.36 # of Debian 12; the wheel's tag says the same
BARE=$BUILD/bare-root
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME WHAT-IS-WRONG: an empty second argument passes.
check() {
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "ok $1"
  else
    failed=$((failed + 1))
    echo "FAIL $1: $(echo "$2" | head -n 20 | tr '\n' ' ')"
  fi
}

# check_library FILE ALLOWED-SYMBOLS ALLOWED-LIBRARIES (patterns)
check_library() {
  local name
  name=$(basename "$1")
  [ -z "$2" ] || check "$name exports only its interface" \
    "$(nm -D --defined-only "$1" | awk '{print $3}' | sed 's/@.*//' | grep -vE "^($2)$" || true)"
  check "$name needs only what is everywhere or beside it" \
    "$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE "^($3)$" || true)"
  check "$name runs with glibc $GLIBC" \
    "$(objdump -T "$1" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | sed 's/GLIBC_//' | while read -r version; do
      [ "$(printf '%s\n' "$version" $GLIBC | sort -V | tail -1)" = $GLIBC ] || echo "$version"
    done)"
  check "$name finds its libraries by its own place" \
    "$(readelf -d "$1" | sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p;s/.*(RPATH).*\[\(.*\)\]/\1/p' | grep -v '^[$]ORIGIN' || true)"
}

check_contents() {
  unzip -q "$DIST"/*.jar 'native/*' -d "$work/jar"
  unzip -q "$DIST"/*.whl -d "$work/wheel"
  local base='libc\.so\.6|libm\.so\.6|ld-linux-x86-64\.so\.2' file
  local beside="$base|libcaffe_dnnl\.so\.3|libgomp\.so\.1" vendor="$base|libstdc\+\+\.so\.6|libgcc_s\.so\.1|libgomp\.so\.1"
  for file in "$work"/jar/native/linux-x86_64/libcaffeonspark*.so; do
    check_library "$file" 'caffe_.*|Java_.*|JNI_On(Unl|L)oad' "$beside"
  done
  check_library "$work/jar/native/linux-x86_64/libcaffe_transport_infiniband.so" 'caffe_transport_entry' "$base"
  for file in "$work"/wheel/caffe/_caffe*.so; do
    check_library "$file" 'PyInit__caffe' "$beside"
  done
  for file in "$work"/wheel/caffe/_native/bin/*; do
    check_library "$file" '' "$beside"
  done
  check_library "$work/jar/native/linux-x86_64/libcaffe_dnnl.so.3" '' "$vendor"
  check "one jar and one wheel in dist/" "$([ "$(find "$DIST" -maxdepth 1 -type f | wc -l)" -eq 2 ] || ls "$DIST")"
  check "the wheel's jar is the jar" "$(cmp "$DIST"/*.jar "$work"/wheel/caffeonspark/jars/*.jar 2>&1 || true)"
}

# A Debian with a JRE and Python; made once, kept in build/.
make_bare_root() {
  [ ! -e "$BARE/.complete" ] || return 0
  local mirror suite
  # shellcheck disable=SC2016 # apt expands these
  read -r mirror suite < <(apt-get indextargets --format '$(ORIGIN)|$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    sed -n 's/^Debian|//p' | head -n 1) || true
  [ -n "$mirror" ] || return 1
  rm -rf "$BARE"
  mkdir -p "$BARE"
  debootstrap --variant=minbase --include=openjdk-17-jre-headless,python3,libstdc++6 \
    "$suite" "$BARE" "$mirror" >"$BUILD/logs/bare-root.log" 2>&1 || return 1
  touch "$BARE/.complete"
}

load_jar() {
  mkdir "$BARE/tmp/jar"
  cp "$DIST"/*.jar "$BARE/tmp/jar/caffeonspark.jar"
  cp "$VENV"/lib/python*/site-packages/pyspark/jars/slf4j-api-*.jar "$BARE/tmp/jar/slf4j.jar"
  cat >"$work/Check.java" <<'JAVA'
public class Check {
  public static void main(String[] args) {
    System.out.println("engine " + com.yahoo.ml.caffe.engine.Library.version());
  }
}
JAVA
  javac -cp "$BARE/tmp/jar/caffeonspark.jar" -d "$BARE/tmp/jar" "$work/Check.java"
  chroot "$BARE" java -Djava.io.tmpdir=/tmp/jar -cp /tmp/jar/caffeonspark.jar:/tmp/jar/slf4j.jar:/tmp/jar Check
}

load_wheel() {
  mkdir "$BARE/tmp/wheel"
  unzip -q "$DIST"/*.whl -d "$BARE/tmp/wheel"
  cp -r "$VENV"/lib/python*/site-packages/{numpy,numpy.libs,google} "$BARE/tmp/wheel/"
  cat >"$BARE/tmp/wheel/net.prototxt" <<'NET'
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "constant" value: 1 } } }
NET
  chroot "$BARE" env PYTHONPATH=/tmp/wheel python3 -c '
import caffe
net = caffe.Net("/tmp/wheel/net.prototxt", caffe.TEST)
net.blobs["data"].data[...] = 1
assert (net.forward()["conv"] == 9).all()
print("caffe", caffe.__version__)' && chroot "$BARE" sh -c 'chmod +x /tmp/wheel/caffe/_native/bin/* && /tmp/wheel/caffe/_native/bin/caffe device_query'
}

# runs_there NAME COMMAND: a check whose output is shown where it fails.
runs_there() {
  local log=$work/log
  if "$2" >"$log" 2>&1; then
    check "$1 ($(tail -n 1 "$log"))" ""
  else
    check "$1" "$(tail -n 15 "$log")"
  fi
}

check_contents
if [ "$(id -u)" -ne 0 ] || ! make_bare_root; then
  skipped=2
  echo "SKIP natives load-in-a-bare-system it needs root and a Debian mirror"
else
  rm -rf "$BARE"/tmp/*
  [ -e "$BARE/proc/self" ] || mount -t proc proc "$BARE/proc"
  runs_there "the jar loads in a bare system" load_jar
  runs_there "the wheel works in a bare system" load_wheel
  rm -rf "$BARE"/tmp/*
  umount "$BARE/proc"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
