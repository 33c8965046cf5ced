#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Sleep and wake of a Linux guest (build/bench/initramfs.cpio) under torpor and
# under QEMU's q35, cycle by cycle in turns. As root of a machine or of a
# network namespace; for busybox sh too.
#
#	linux_sleep.sh [CYCLES [CPUS [LIMIT [REST]]]]
#
# CYCLES (200); vCPUs of the guest (1); LIMIT (1800), seconds after which no
# further cycle begins; REST (10), seconds asleep to see what that costs.
# NO_QEMU=1: torpor alone.
set -eu

cd "$(dirname "$0")/../.."
B=${B:-build}
cycles=${1:-200} cpus=${2:-1} limit=${3:-1800} rest=${4:-10}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# On an emulated host they were taken along into the project's directory.
qemu=qemu-system-x86_64 share=/usr/share
if [ -x "usr/bin/$qemu" ]; then
	qemu=usr/bin/$qemu share=usr/share
fi

# tap NAME: that nobody sends anything to.
tap() {
	ip link show "$1" >/dev/null 2>&1 && return
	ip tuntap add "$1" mode tap 2>/dev/null || tunctl -t "$1" >/dev/null
	echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6"
	ip link set "$1" up
}

tap bench-torpor
tap bench-qemu
truncate -s 16M "$work/torpor.img" "$work/qemu.img"
params="console=ttyS0 quiet torpor.run=commands"

set -- "$B/bench/linux_sleep" "$cycles" "$limit" "$rest" \
	"$work/torpor" "$B/torpor" run --socket "$work/torpor" --mem 256 \
	--cpus "$cpus" --serial stdio --no-rng --block "$work/torpor.img" \
	--net tap-name=bench-torpor --initrd "$B/bench/initramfs.cpio" \
	--params "$params" "$B/guest/vmlinuz"

# The same memory, devices and engine; PCI, as q35 has no virtio-mmio.
[ -n "${NO_QEMU-}" ] || set -- "$@" -- "$work/qmp" "$qemu" \
	-M q35,accel=kvm,memory-backend=ram -cpu host -m 256 -smp "$cpus" \
	-object memory-backend-memfd,id=ram,share=on,size=256M \
	-nodefaults -no-user-config -display none -no-reboot -serial stdio \
	-L "$share/seabios" -L "$share/qemu" -name guest,debug-threads=on \
	-drive "file=$work/qemu.img,format=raw,if=none,id=d,aio=io_uring" \
	-device virtio-blk-pci,drive=d \
	-netdev tap,id=n,ifname=bench-qemu,script=no,downscript=no,vhost=off \
	-device virtio-net-pci,netdev=n,romfile= \
	-qmp "unix:$work/qmp,server=on,wait=off" \
	-kernel "$B/guest/vmlinuz" -initrd "$B/bench/initramfs.cpio" \
	-append "$params"
echo "lsleep-set cycles=$cycles cpus=$cpus"
"$@"
