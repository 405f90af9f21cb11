#!/usr/bin/env bash
# Builds the images of docker/ from their Dockerfile, without a daemon (buildah) and on a Debian of our own in the place of the
# registry's, and runs tests/images/smoke.sh in them. Prints a line a check and the counts.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

passed=0 failed=0
skip() {
  echo "SKIP images built-and-run $*"
  echo "$passed passed, $failed failed, 1 skipped"
  exit 0
}
[ "$(id -u)" -eq 0 ] || skip "it needs root"
command -v buildah >/dev/null || skip "buildah is not installed"

# A Debian without anything, as an image. Made once, kept in build/.
base_root=$BUILD/debian-root
make_base() {
  [ ! -e "$base_root/.complete" ] || return 0
  local mirror suite
  # shellcheck disable=SC2016 # apt expands these
  read -r mirror suite < <(apt-get indextargets --format '$(ORIGIN)|$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    sed -n 's/^Debian|//p' | head -n 1) || true
  [ -n "$mirror" ] || return 1
  rm -rf "$base_root"
  mkdir -p "$BUILD/logs"
  debootstrap --variant=minbase "$suite" "$base_root" "$mirror" >"$BUILD/logs/debian-root.log" 2>&1 || return 1
  rm -rf "$base_root"/var/cache/apt/archives/*.deb "$base_root"/var/lib/apt/lists/*
  # pip in the image trusts whom this machine trusts: there may be a proxy with a certificate of its own.
  cp /etc/ssl/certs/ca-certificates.crt "$base_root/usr/local/share/machine-certificates.crt"
  printf '[global]\ncert = /usr/local/share/machine-certificates.crt\n' >"$base_root/etc/pip.conf"
  touch "$base_root/.complete"
}
make_base || skip "no Debian mirror"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/store" "$work/run" >"$CONTAINERS_STORAGE_CONF"

# check NAME COMMAND...: passes where the command does; its "ok" lines are shown, or the end of its output.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "ok $name"
    sed -n 's/^ok /    /p' "$work/log"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
    tail -n 30 "$work/log" | sed 's/^/    /'
  fi
}

import_base() {
  local made
  made=$(buildah from scratch) && buildah add -q "$made" "$base_root" / && buildah commit -q --rm "$made" localhost/debian
}

build() { DOCKER=buildah BASE=localhost/debian "$ROOT/docker/build.sh" "$1"; }
is_built() { buildah images -q "localhost/caffeonspark:$1" >/dev/null 2>&1; }

# The digits that the tests of training use, with absolute paths in the network.
digits() {
  rm -rf "$work/digits"
  cp -r "$ROOT/tests/golden/e2e_digits" "$work/digits"
  sed "s|\"digits_|\"/work/digits/digits_|" "$ROOT/tests/golden/e2e_digits/lenet_digits.prototxt" >"$work/digits/net.prototxt"
  printf '%s\n' 'net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 100 random_seed: 7' \
    'test_iter: 3 test_interval: 100 display: 50 solver_mode: CPU' >"$work/digits/solver.prototxt"
  cp "$ROOT/tests/images/smoke.sh" "$work/digits/"
}

# in_image TARGET [USER] COMMAND...: in a new container, by the image's entrypoint.
in_image() {
  local made user=185:185
  is_built "$1" || { echo "the image $1 was not built" && return 1; }
  made=$(buildah from "localhost/caffeonspark:$1")
  shift
  [[ $1 != *:* ]] || { user=$1 && shift; }
  digits
  buildah copy -q --chown "$user" "$made" "$work/digits" /work/digits
  buildah run --user "$user" "$made" -- /usr/bin/tini -- /opt/caffeonspark/entrypoint.sh "$@"
  local code=$?
  buildah rm "$made" >/dev/null
  return $code
}

finds_gpus() {
  local made answer
  is_built cuda || { echo "the image cuda was not built" && return 1; }
  made=$(buildah from localhost/caffeonspark:cuda)
  printf '%s\n' '#!/bin/sh' 'printf "0\n1\n"' >"$work/nvidia-smi"
  buildah copy -q --chmod 0755 "$made" "$work/nvidia-smi" /usr/bin/nvidia-smi
  answer=$(buildah run "$made" -- /opt/caffeonspark/find_gpus.sh)
  buildah rm "$made" >/dev/null
  [ "$answer" = '{"name": "gpu", "addresses": ["0","1"]}' ] || { echo "$answer" && return 1; }
}

says_what_it_computes_on() {
  in_image cuda true 2>&1 | tee "$work/notice"
  grep -q "this version computes on CPUs" "$work/notice"
}

uses_the_other_runtime() {
  in_image intel python -c 'import caffe, ctypes
libraries = open("/proc/self/maps").read()
assert "libiomp5" in libraries, libraries
print("ok OpenMP", ctypes.CDLL(None).omp_get_max_threads())'
}

hadolint_finds_nothing() {
  "$VENV/bin/hadolint" "$ROOT/docker/Dockerfile"
}

[ ! -x "$VENV/bin/hadolint" ] || check "hadolint" hadolint_finds_nothing
check "a Debian as an image" import_base
check "the image cpu is built" build cpu
check "the image cpu works" in_image cpu sh /work/digits/smoke.sh /work/digits
check "a user whom nobody knows" in_image cpu 12345:0 sh -c 'whoami | grep spark-12345'
check "the image cuda is built" build cuda
check "the image cuda finds GPUs" finds_gpus
check "the image cuda says what it computes on" says_what_it_computes_on
check "the image intel is built" build intel
check "the image intel has the other OpenMP" uses_the_other_runtime
check "the image intel works" in_image intel sh /work/digits/smoke.sh /work/digits
echo "    $(buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep -E ':(cpu|cuda|intel) ' | tr '\n' ' ')"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
