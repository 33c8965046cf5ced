#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Memory of all processes of a VM with a disk, a network card, a console and an
# entropy device that have all been used; exits to userspace and system calls
# a block read and a received packet (strace counts them). For a network
# namespace of its own, as its root.
#
#	counts.sh torpor|qemu TIMES
set -eu

cd "$(dirname "$0")/../.."
. tests/bench/lib.sh

vm=$1 n=$2
work=$(mktemp -d)
vm_pid= strace_pid=

finish() {
	trap - EXIT INT TERM
	for pid in $strace_pid $vm_pid; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	rm -rf "$work"
}
trap finish EXIT
trap 'finish; exit 130' INT
trap 'finish; exit 143' TERM

fail() {
	echo "counts.sh: $vm: $1" >&2
	tail -n 3 "$work/out" "$work/err" >&2
	exit 1
}

# wait_line PATTERN: until the guest has put it out.
wait_line() {
	tries=0
	while ! grep -q "$1" "$work/out"; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "the guest does not say '$1'"
		kill -0 "$vm_pid" 2>/dev/null || fail "ended"
		sleep 0.1
	done
}

# Lets the guest go on from its marker.
go() {
	printf G >&9
}

start() {
	truncate -s 16M "$work/disk.img"
	mkfifo "$work/in"
	exec 9<>"$work/in"
	: >"$work/out"
	case $vm in
	torpor)
		torpor_command 4 stdio
		set -- $command --params "n=$n" "$payloads/bench.elf"
		;;
	qemu)
		qemu_command 4
		set -- $command -append "n=$n $QEMU_WORDS" \
			-kernel "$payloads/bench.elf"
		;;
	esac
	"$@" <"$work/in" >>"$work/out" 2>"$work/err" 9>&- &
	vm_pid=$!
}

# Attaches strace to all processes of the VM, and writes their threads down.
trace_start() {
	attach=
	: >"$work/map"
	for pid in $pids; do
		name=$(cat "/proc/$pid/comm")
		# A device's process is named after its device.
		[ "$vm" = torpor ] || name=qemu
		for task in /proc/"$pid"/task/*; do
			echo "${task##*/} $name" >>"$work/map"
		done
		attach="$attach -p $pid"
	done
	strace -f -qq -o "$work/log" $attach 2>"$work/strace" &
	strace_pid=$!
	while read -r tid name; do
		tries=0
		while grep -q '^TracerPid:.0$' "/proc/$tid/status" \
			2>/dev/null; do
			tries=$((tries + 1))
			if [ $tries = 100 ]; then
				cat "$work/strace" >&2
				fail "strace does not attach to $name"
			fi
			sleep 0.05
		done
	done <"$work/map"
}

trace_stop() {
	kill "$strace_pid" 2>/dev/null || :
	wait "$strace_pid" 2>/dev/null || :
	strace_pid=
	awk -v vm="$vm" -v phase="$1" -v n="$n" -f tests/bench/trace.awk \
		"$work/map" "$work/log"
	[ -z "${KEEP_LOGS-}" ] || cp "$work/log" "$KEEP_LOGS/$vm-$1.log"
}

# phase NAME: what it costs; packets come from us.
phase() {
	wait_line "^READY $1 "
	trace_start
	go
	[ "$1" != net ] || "$B/bench/send_packets" $tap "$n"
	wait_line "^END $1 "
	trace_stop "$1"
	go
}

net_up
start
wait_line '^READY memory '
"$B/bench/memory" "$vm_pid" memfd:guest-ram memfd:memory-backend-memfd \
	>"$work/memory"
sed "s/^mem/mem $vm/" "$work/memory"
pids=$(awk '$3 > 0 { print $3 }' "$work/memory")
go
phase blk
phase net
wait_line '^DONE'
