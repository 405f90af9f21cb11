#!/usr/bin/env bash
# Runs the tests of the transport `infiniband` where they find a device: in a virtual machine whose kernel has RDMA over an
# Ethernet interface in software (soft-RoCE). Correctness and failures only; speed means nothing there. Needs collective_tests of
# the release build; skips with a reason where the emulator or Debian's kernel package cannot be had.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=$BUILD/release/test_programs
MODULES=(crc32_generic rdma_rxe ib_uverbs veth)
SECONDS_AT_MOST=${CAFFE_GUEST_SECONDS:-420}
work=$BUILD/infiniband
log=$BUILD/logs/infiniband-guest.log
export PATH=$PATH:/usr/sbin:/sbin

skip() {
  echo "SKIP infiniband tests $1"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}

"$ROOT/ci/deps.sh" guest || skip "the packages of ci/apt-packages-guest.txt cannot be installed"
[ -x "$PROGRAMS/collective_tests" ] || die "$PROGRAMS/collective_tests is not built"

# The newest kernel of this release of Debian, unpacked but not installed.
fetch_kernel() {
  local package
  package=$(apt-cache search --names-only '^linux-image-[0-9.]+-[0-9]+-amd64$' | cut -d' ' -f1 | sort -V | tail -1)
  [ -n "$package" ] || return 1
  [ "$(cat "$work/kernel/package" 2>/dev/null)" != "$package" ] || return 0
  rm -rf "$work/kernel" "$work/download"
  mkdir -p "$work/kernel" "$work/download"
  (cd "$work/download" && apt-get download -o APT::Sandbox::User=root "$package") >"$BUILD/logs/infiniband-kernel.log" 2>&1 || return 1
  dpkg-deb -x "$work"/download/*.deb "$work/kernel"
  rm -rf "$work/download"
  depmod -b "$work/kernel" "$(kernel_version)"
  echo "$package" >"$work/kernel/package"
}

kernel_version() { basename "$(echo "$work"/kernel/lib/modules/*)"; }

# The files that a program or library needs, itself among them.
closure() {
  printf '%s\n' "$@"
  ldd "$@" 2>/dev/null | grep -oE '(=> |^\s)/[^ ]+' | grep -o '/.*'
}

# Everything that runs in the guest, at the paths that it has here, and an init.
make_root() {
  local root=$work/root version file
  version=$(kernel_version)
  rm -rf "$root"
  mkdir -p "$root"/{proc,sys,dev,tmp,bin,etc/libibverbs.d,modules}
  cp "$(command -v busybox)" "$root/bin/busybox"
  cp /etc/libibverbs.d/rxe.driver "$root/etc/libibverbs.d/"
  echo "127.0.0.1 localhost" >"$root/etc/hosts"
  local transport providers=(/usr/lib/x86_64-linux-gnu/libibverbs/librxe-*.so)
  transport=$BUILD/release/collective/infiniband/libcaffe_transport_infiniband.so
  closure "$PROGRAMS/collective_tests" "$BUILD/release/tests/collective/rank_process" "$transport" \
    /usr/lib/x86_64-linux-gnu/libibverbs.so.1 "${providers[@]}" "$(command -v ip)" "$(command -v rdma)" |
    sort -u | while read -r file; do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
  done
  for module in "${MODULES[@]}"; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod //p'
  done | awk '!seen[$1]++' >"$work/modules"
  while read -r file; do cp "$file" "$root/modules/"; done <"$work/modules"
  # shellcheck disable=SC2016  # the guest expands these
  {
    echo '#!/bin/busybox sh'
    echo '/bin/busybox --install -s /bin; export PATH=/usr/sbin:/usr/bin:/sbin:/bin'
    echo 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev'
    sed 's#.*/#insmod /modules/#' "$work/modules"
    # By full path: the shell prefers its own, lesser `ip`.
    echo "ip=$(command -v ip) rdma=$(command -v rdma)"
    echo '$ip link set lo up; $ip link add v0 type veth peer name v1; $ip link set v0 up; $ip link set v1 up'
    echo '$ip addr add 10.77.0.1/24 dev v0; $rdma link add rxe0 type rxe netdev v0; ulimit -l unlimited'
    echo 'for turn in $(seq 100); do $rdma link show rxe0/1 | grep -q ACTIVE && break; usleep 100000; done; $rdma link show'
    echo "cd /tmp; $PROGRAMS/collective_tests --gtest_color=no --gtest_filter='*nfiniband*:-PluginLoading*'; poweroff -f"
  } >"$root/init"
  chmod +x "$root/init"
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/root.cpio"
}

mkdir -p "$work" "$BUILD/logs"
fetch_kernel || skip "Debian's kernel package cannot be had; $BUILD/logs/infiniband-kernel.log says why"
make_root
timeout "$SECONDS_AT_MOST" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic -no-reboot -nodefaults \
  -serial stdio -kernel "$(echo "$work"/kernel/boot/vmlinuz-*)" -initrd "$work/root.cpio" \
  -append "console=ttyS0 quiet panic=-1" </dev/null >"$log" 2>&1 || true
tr -d '\r' <"$log" | grep -aE '^\[( *(OK|FAILED|SKIPPED|PASSED) *)\]' || true
count() { tr -d '\r' <"$log" | grep -acE "^\[ *$1 *\] [A-Za-z].* \(" || true; }
passed=$(count OK) failed=$(count FAILED) skipped=$(count SKIPPED)
if ! grep -aq ' tests from .* ran\.' "$log"; then
  echo "FAIL the guest did not finish within $SECONDS_AT_MOST s; its last words:"
  tail -20 "$log"
  failed=$((failed + 1))
elif [ "$skipped" -gt 0 ]; then # here they must find the device
  echo "FAIL the guest has no device: $(grep -a 'travels by TCP' "$log" | head -1)"
  failed=$((failed + skipped)) skipped=0
fi
echo "$passed passed, $failed failed, $skipped skipped"
