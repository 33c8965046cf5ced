#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs a script as root on an emulated host: a Debian kernel in QEMU whose CPU
# has virtualisation, so that there is a complete /dev/kvm where this machine
# has none. Slow (emulated), but the same everywhere.
#
#	nested.sh [-b] [-p] [-t SECONDS] [-c CPUS] [-o DIR] [-a FILE]... SCRIPT [ARG]...
#	nested.sh -i
#
#	-t  give up after so long (600)
#	-c  CPUs of the emulated host (1; with 2, QEMU's emulation of SVM has
#	    been seen to fail, docs/hardware.md)
#	-o  afterwards unpack what the script left in $TORPOR_OUT to DIR
#	-a  take FILE along, and the shared libraries it needs if a program
#	-b  take along what the tests on bare-metal payloads need
#	-p  with an IOMMU, and two SSDs to pass on to a guest: 0000:00:07.0 has its
#	    MSI-X table in a BAR of its own, 0000:00:08.0 beside its registers;
#	    this one can go to D3cold
#	-i  an interactive shell instead of a script
#
# MONITOR=PATH in the environment: QEMU's monitor, for `info registers` of an
# emulated host that is stuck, on a UNIX socket.
#
# The script sees the project at /torpor, its working directory: tests/, guest/
# and what was built of build/. It has busybox, root and a user `user` (1000),
# and TORPOR_NESTED=1 in its environment.
# Its output is ours; so is its exit status. 124: time ran out, 125: the
# emulated host failed.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
B=${B:-build}
. guest/initramfs.sh

limit=600 cpus=1 outdir= extra= interactive= baremetal= passthrough=
while getopts bpt:c:o:a:i opt; do
	case $opt in
	b) baremetal=1 ;;
	p) passthrough=1 ;;
	c) cpus=$OPTARG ;;
	t) limit=$OPTARG ;;
	o) outdir=$OPTARG ;;
	a) extra="$extra $OPTARG" ;;
	i) interactive=1 limit=86400 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$interactive" ] && [ $# -eq 0 ]; then
	echo "usage: nested.sh [-b] [-p] [-t SECONDS] [-o DIR] [-a FILE]... SCRIPT" >&2
	exit 2
fi

tests/harness/packages.sh guest nested
kernel=$(tests/harness/kernel.sh --path)
work=$(mktemp -d "${TMPDIR:-/tmp}/torpor-nested.XXXXXX")
qemu= beat=

finish() {
	trap - EXIT INT TERM HUP
	[ -z "$beat" ] || kill "$beat" 2>/dev/null || :
	if [ -n "$qemu" ]; then
		kill "$qemu" 2>/dev/null || :
		wait "$qemu" 2>/dev/null || :
	fi
	rm -rf "$work"
}
trap finish EXIT
trap 'finish; exit 129' HUP
trap 'finish; exit 130' INT
trap 'finish; exit 143' TERM

# What changes only with the kernel: modules and busybox.
make_base() {
	base=$B/harness/base.cpio
	if [ -e "$base" ] && [ "$base" -nt "$kernel/VERSION" ] &&
		[ "$base" -nt tests/harness/nested.sh ]; then
		return
	fi
	mkdir -p "$B/harness" "$work/base/etc" "$work/base/newroot"
	initramfs_busybox "$work/base"
	initramfs_modules "$kernel/modules" "$work/base" \
		kvm-amd kvm-intel tun fuse virtio_pci virtio_blk \
		vfio_iommu_type1 vfio-pci
	echo 'root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/tmp:/bin/sh' >"$work/base/etc/passwd"
	echo 'root:x:0:
user:x:1000:' >"$work/base/etc/group"
	initramfs_pack "$work/base" "$base"
}

# add FILE: to the same place, with its libraries if it is a program.
add() {
	mkdir -p "$work/root/torpor/$(dirname "$1")"
	cp -L "$1" "$work/root/torpor/$1"
	[ ! -x "$1" ] || add_libraries "$1"
}

add_libraries() {
	for lib in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
		mkdir -p "$work/root/$(dirname "$lib")"
		cp -L -u "$lib" "$work/root/$lib"
	done
}

# Beyond busybox: bash, and tools of which it has less.
add_baremetal() {
	mkdir -p "$work/root/bin" "$work/root/torpor/tests/baremetal"
	for tool in bash ip script setpriv unshare; do
		path=$(PATH=$PATH:/sbin:/usr/sbin command -v $tool)
		cp -L "$path" "$work/root/bin/$tool"
		add_libraries "$path"
	done
	cp -R tests/baremetal/. "$work/root/torpor/tests/baremetal"
	for file in "$B"/tests/baremetal/*; do
		add "$file"
	done
}

make_payload() {
	mkdir -p "$work/root/torpor" "$work/root/run"
	install -m 755 tests/harness/host-init "$work/root/init"
	for dir in tests/boot tests/harness tests/bench guest; do
		mkdir -p "$work/root/torpor/$dir"
		[ ! -d $dir ] || cp -R $dir/. "$work/root/torpor/$dir"
	done
	for file in "$B"/torpor "$B"/torpor-device "$B"/guest/vmlinuz \
		"$B"/guest/initramfs.cpio "$B"/guest/clocks \
		"$B"/guest/payloads/*.elf; do
		[ ! -e "$file" ] || add "$file"
	done
	for file in $extra; do
		add "$file"
	done
	[ -z "$baremetal" ] || add_baremetal
	set -- "$@"
	{
		printf 'exec'
		for word in "$@"; do
			printf " '%s'" "$(printf %s "$word" |
				sed "s/'/'\\\\''/g")"
		done
		echo
	} >"$work/root/run/job"
	size=$(stty size 2>/dev/null || :)
	case $size in
	'' | 0* | *' 0') size='24 80' ;;
	esac
	echo "INTERACTIVE=$interactive ROWS=${size% *} COLS=${size#* }
export LONG='${LONG-}' SEED='${SEED-}'" >"$work/root/run/job.env"
	# Of the tests on bare-metal payloads: how many, how long.
	for var in RACES CYCLES ASLEEP; do
		eval "value=\${$var-}"
		[ -z "$value" ] || echo "export $var='$value'"
	done >>"$work/root/run/job.env"
	initramfs_pack "$work/root" "$work/payload.cpio"
}

make_base
make_payload "$@"
cat "$B/harness/base.cpio" "$work/payload.cpio" >"$work/initrd"
rm -rf "$work/root" "$work/base" "$work/payload.cpio"

set -- -accel tcg,thread=multi -cpu EPYC -m 2048 -smp "$cpus" -nodefaults \
	-no-reboot -display none -chardev "stdio,id=tty,signal=off" \
	-serial chardev:tty -serial "file:$work/status" \
	-kernel "$kernel/vmlinuz" -initrd "$work/initrd" \
	-append "console=ttyS0 quiet panic=-1 ${passthrough:+intel_iommu=on}"
# ssd NUMBER SLOT EXCLUSIVE
add_ssd() {
	truncate -s 96M "$work/ssd$1.img"
	ssds="$ssds -drive file=$work/ssd$1.img,format=raw,if=none,id=ssd$1
		-device nvme,drive=ssd$1,serial=ssd$1,addr=$2,msix_qsize=4"
	ssds="$ssds,msix-exclusive-bar=$3"
}

if [ -n "$passthrough" ]; then
	ssds=
	add_ssd 0 07.0 on
	add_ssd 1 08.0 off
	iasl -vs -p "$work/d3cold" tests/harness/d3cold.asl >"$work/iasl.log" ||
		{ cat "$work/iasl.log" && exit 125; }
	# shellcheck disable=SC2086
	set -- "$@" -M q35,kernel-irqchip=split \
		-device intel-iommu,intremap=on,caching-mode=on $ssds \
		-acpitable "file=$work/d3cold.aml"
else
	set -- "$@" -M q35
fi
if [ -n "${MONITOR-}" ]; then
	set -- "$@" -monitor "unix:$MONITOR,server,nowait"
fi
if [ -n "$outdir" ]; then
	truncate -s 256M "$work/out.img"
	set -- "$@" -drive "file=$work/out.img,format=raw,if=virtio"
fi

# Should this script be killed, timeout goes with it, and QEMU with timeout.
run_qemu() {
	setpriv --pdeathsig TERM timeout --foreground -k 5 "$limit" \
		setpriv --pdeathsig KILL qemu-system-x86_64 "$@" \
		2>"$work/errors"
}

rc=0
if [ -n "$interactive" ]; then
	run_qemu "$@" || rc=$?
	stty sane 2>/dev/null || :
else
	# QEMU's SVM loses an interrupt now and then (docs/hardware.md), and if it
	# is the timer's, its kernel never runs again. The next interrupt brings
	# it back: a byte for its serial port, ten times a second. A terminal
	# shows none of it, and keeps none: DEL, where nothing is to delete.
	mkfifo "$work/beat"
	# shellcheck disable=SC2016
	setpriv --pdeathsig KILL sh -c 'exec >"$1"
		while printf "\177"; do sleep 0.1; done' sh "$work/beat" \
		2>/dev/null &
	beat=$!
	# exec: the pid to end is that of timeout, not of a shell around it.
	(exec setpriv --pdeathsig TERM timeout -k 5 "$limit" \
		setpriv --pdeathsig KILL qemu-system-x86_64 "$@" \
		<"$work/beat" 2>"$work/errors") &
	qemu=$!
	wait $qemu || rc=$?
	qemu=
fi

status=$(tr -d '\r\n' <"$work/status" 2>/dev/null || :)
if [ -n "$outdir" ] && [ -n "$status" ]; then
	mkdir -p "$outdir"
	tar -C "$outdir" -xf "$work/out.img" 2>/dev/null || :
fi
if [ $rc = 124 ] || [ $rc = 137 ]; then
	echo "nested.sh: no end after $limit s: stopped" >&2
	exit 124
fi
if [ -z "$status" ]; then
	grep -v "doesn't support requested feature" "$work/errors" >&2 || :
	echo "nested.sh: the emulated host ended early (QEMU: $rc)" >&2
	exit 125
fi
exit "$status"
