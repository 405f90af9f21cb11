#!/usr/bin/env bash
# Runs the tests that need another kernel, in a virtual machine: those of the transport `infiniband`, with RDMA over an Ethernet
# interface in software (soft-RoCE), and those of stores of records, in a folder that is mounted over NFS. Correctness and failures
# only; speed means nothing there. Needs the tests of the release build; skips with a reason where the emulator or Debian's
# packages cannot be had.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=$BUILD/release/test_programs
MODULES=(crc32_generic rdma_rxe ib_uverbs veth nfsd nfsv4)
# What serves and mounts over NFS, and the libraries that it needs.
NFS_PACKAGES=(nfs-kernel-server nfs-common rpcbind libnfsidmap1 libwrap0 libkeyutils1 libevent-core-2.1-7 libtirpc3 libtirpc-common
  netbase)
# What says nothing of NFS and takes minutes there, and what NFS does by itself: it keeps open files that were removed under a name.
NOT_OVER_NFS='*TruncatedFiles*:*FlippedBytes*:*LeavesNoTemporaryFiles'
SECONDS_AT_MOST=${CAFFE_GUEST_SECONDS:-420}
work=$BUILD/guest
log=$BUILD/logs/guest.log
export PATH=$PATH:/usr/sbin:/sbin

skip() {
  echo "SKIP guest tests $1"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}

"$ROOT/ci/deps.sh" guest || skip "the packages of ci/apt-packages-guest.txt cannot be installed"
for program in collective_tests data_tests; do
  [ -x "$PROGRAMS/$program" ] || die "$PROGRAMS/$program is not built"
done

# fetch FOLDER PACKAGE...: unpacks packages of this release of Debian into work/FOLDER; nothing is installed.
fetch() {
  local folder=$work/$1 file
  shift
  [ "$(cat "$folder/packages" 2>/dev/null)" != "$*" ] || return 0
  rm -rf "$folder" "$work/download"
  mkdir -p "$folder" "$work/download"
  (cd "$work/download" && apt-get download -o APT::Sandbox::User=root "$@") >"$BUILD/logs/guest-packages.log" 2>&1 || return 1
  for file in "$work"/download/*.deb; do dpkg-deb -x "$file" "$folder"; done
  rm -rf "$work/download"
  echo "$*" >"$folder/packages"
}

fetch_all() {
  local newest
  newest=$(apt-cache search --names-only '^linux-image-[0-9.]+-[0-9]+-amd64$' | cut -d' ' -f1 | sort -V | tail -1)
  [ -n "$newest" ] && fetch kernel "$newest" && fetch nfs "${NFS_PACKAGES[@]}" && depmod -b "$work/kernel" "$(kernel_version)"
}

kernel_version() { basename "$(echo "$work"/kernel/lib/modules/*)"; }

# The files that programs or libraries need, themselves among them.
closure() {
  printf '%s\n' "$@"
  ldd "$@" 2>/dev/null | grep -oE '(=> |^\s)/[^ ]+' | grep -o '/.*'
}

# Everything that runs in the guest, at the paths that it has here, and an init.
make_root() {
  local root=$work/root nfs=$work/nfs version file
  version=$(kernel_version)
  rm -rf "$root"
  mkdir -p "$root"/{proc,sys,dev,tmp,bin,modules,export,mounted,etc/libibverbs.d,run/rpcbind}
  mkdir -p "$root"/var/lib/nfs/{sm,v4recovery,nfsdcltrack,rpc_pipefs} "$root$ROOT/tests/golden"
  cp "$(command -v busybox)" "$root/bin/busybox"
  cp /etc/libibverbs.d/rxe.driver "$root/etc/libibverbs.d/"
  cp -r "$ROOT"/tests/golden/{data,formats} "$root$ROOT/tests/golden/"
  cp "$nfs"/etc/{netconfig,protocols,rpc,services} "$root/etc/"
  touch "$root"/var/lib/nfs/{etab,rmtab} "$root/etc/exports"
  echo "127.0.0.1 localhost" >"$root/etc/hosts"
  printf '%s\n' root:x:0:0::/:/bin/sh _rpc:x:1:1::/run/rpcbind:/bin/sh >"$root/etc/passwd"
  local transport providers=(/usr/lib/x86_64-linux-gnu/libibverbs/librxe-*.so)
  transport=$BUILD/release/collective/infiniband/libcaffe_transport_infiniband.so
  {
    closure "$PROGRAMS"/{collective_tests,data_tests} "$BUILD/release/tests/collective/rank_process" "$transport" \
      /usr/lib/x86_64-linux-gnu/libibverbs.so.1 "${providers[@]}" "$(command -v ip)" "$(command -v rdma)"
    LD_LIBRARY_PATH=$nfs/lib/x86_64-linux-gnu:$nfs/usr/lib/x86_64-linux-gnu \
      closure "$nfs"/usr/sbin/{exportfs,rpc.mountd,rpc.nfsd} "$nfs"/sbin/{mount.nfs,rpcbind,nfsdcltrack}
  } | sort -u | while read -r file; do
    mkdir -p "$root$(dirname "${file#"$nfs"}")"
    cp -L "$file" "$root${file#"$nfs"}"
  done
  for module in "${MODULES[@]}"; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod //p'
  done | awk '!seen[$1]++' >"$work/modules"
  while read -r file; do cp "$file" "$root/modules/"; done <"$work/modules"
  write_init >"$root/init"
  chmod +x "$root/init"
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/root.cpio"
}

# shellcheck disable=SC2016  # the guest expands these
write_init() {
  echo '#!/bin/busybox sh'
  echo '/bin/busybox --install -s /bin; export PATH=/usr/sbin:/usr/bin:/sbin:/bin'
  echo 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev'
  sed 's#.*/#insmod /modules/#' "$work/modules"
  # By full path: the shell prefers its own, lesser `ip`.
  echo "ip=$(command -v ip) rdma=$(command -v rdma)"
  echo '$ip link set lo up; $ip link add v0 type veth peer name v1; $ip link set v0 up; $ip link set v1 up'
  echo '$ip addr add 10.77.0.1/24 dev v0; $rdma link add rxe0 type rxe netdev v0; ulimit -l unlimited'
  echo 'for turn in $(seq 100); do $rdma link show rxe0/1 | grep -q ACTIVE && break; usleep 100000; done; $rdma link show'
  echo "(cd /tmp; $PROGRAMS/collective_tests --gtest_color=no --gtest_filter='*nfiniband*:-PluginLoading*')"
  echo 'mount -t tmpfs tmpfs /export; mount -t nfsd nfsd /proc/fs/nfsd; mount -t rpc_pipefs pipes /var/lib/nfs/rpc_pipefs'
  echo 'rpcbind -w; rpc.mountd; rpc.nfsd --grace-time 10 --lease-time 10 2'
  echo 'exportfs -o rw,fsid=0,no_root_squash,insecure,no_subtree_check 127.0.0.1:/export'
  echo 'mount.nfs 127.0.0.1:/ /mounted -o vers=4.2 && grep /mounted /proc/mounts &&'
  echo "  TMPDIR=/mounted $PROGRAMS/data_tests --gtest_color=no --gtest_filter='Lmdb*:LevelDb*:-$NOT_OVER_NFS'; poweroff -f"
}

mkdir -p "$work" "$BUILD/logs"
fetch_all || skip "Debian's packages cannot be had; $BUILD/logs/guest-packages.log says why"
make_root
timeout "$SECONDS_AT_MOST" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic -no-reboot -nodefaults \
  -serial stdio -kernel "$(echo "$work"/kernel/boot/vmlinuz-*)" -initrd "$work/root.cpio" \
  -append "console=ttyS0 quiet panic=-1" </dev/null >"$log" 2>&1 || true
tr -d '\r' <"$log" | grep -aE '^\[( *(OK|FAILED|SKIPPED|PASSED) *)\]' || true
count() { tr -d '\r' <"$log" | grep -acE "^\[ *$1 *\] [A-Za-z].* \(" || true; }
passed=$(count OK) failed=$(count FAILED) skipped=$(count SKIPPED)
if [ "$(grep -ac ' tests from .* ran\.' "$log")" -ne 2 ]; then
  echo "FAIL the guest did not run both programs within $SECONDS_AT_MOST s; its last words:"
  tail -20 "$log"
  failed=$((failed + 1))
elif [ "$skipped" -gt 0 ]; then # here they must find the device
  echo "FAIL the guest has no device: $(grep -a 'travels by TCP' "$log" | head -1)"
  failed=$((failed + skipped)) skipped=0
fi
echo "$passed passed, $failed failed, $skipped skipped"
