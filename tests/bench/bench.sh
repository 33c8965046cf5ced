#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# make bench: torpor beside QEMU's microvm, the same payload on the same KVM in
# turns. What is measured and what it means: docs/benchmarks.md.
#
#	bench.sh
#
# Where this machine's KVM cannot run Linux it is a slow one that emulates:
# then the interrupt and sleep figures are taken once more on an emulated host.
# RAW=FILE keeps the raw lines. ONLY=sleep: figure 7 alone, of CYCLES=N sleeps
# (200), or as many as begin in LIMIT=SECONDS (1800); CPUS="1 2" takes it once
# with each. ONLY=fs: figure 8 alone, with ENTRIES=N in a directory (100000; on
# the emulated host, where that takes half an hour, 10000).
# ONLY=suspend: figure 9 alone, of CYCLES=N sleeps (20). ONLY=awake: figure 10
# alone, of TIMES=N boots of each guest (3), with CPUS="1 2 4 8".
set -eu

cd "$(dirname "$0")/../.."
B=${B:-build}
export B

# In a network namespace of our own from here.
if [ -z "${BENCH_INSIDE-}" ]; then
	map=
	[ "$(id -u)" = 0 ] || map=-r
	BENCH_INSIDE=1 exec unshare $map -n "$0" "$@"
fi

raw=$(mktemp)
work=$(mktemp -d)
trap 'rm -rf "$raw" "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
. tests/bench/lib.sh

section() {
	printf '\n== %s\n' "$1"
}

# run COMMAND...: its raw lines are kept; a part that fails does not stop us.
failed=
run() {
	if ! "$@" >"$work/part" 2>"$work/errors"; then
		failed="$failed
	$*"
		sed 's/^/    | /' "$work/errors"
	fi
	cat "$work/part" >>"$raw"
}

# show SECTION: the table of a section out of the raw lines.
show() {
	awk -v section="$1" -f tests/bench/report.awk "$raw"
}

start_pair() {
	torpor_command "$1" stdout
	t=$command
	qemu_command "$1"
	run "$B/bench/first_byte" 15 "torpor-$1" $t "$payloads/hello.elf" -- \
		"qemu-$1" $command -kernel "$payloads/hello.elf"
}

nested_part() {
	run tests/harness/nested.sh -t 600 -a "$B/bench/irq_latency" \
		-a "$B/bench/sleep_cycles" tests/bench/nested.sh
}

# linux_part CPUS: on this machine, or on an emulated host that QEMU, with what
# it boots a kernel with, is taken along to.
linux_part() {
	set -- tests/bench/linux_sleep.sh "${CYCLES:-200}" "$1" \
		"${LIMIT:-1800}"
	[ "$NESTED" = 0 ] ||
		set -- tests/harness/nested.sh -t 7200 \
			-a "$B/bench/linux_sleep" -a "$B/bench/initramfs.cpio" \
			-a "$(command -v qemu-system-x86_64)" \
			-a /usr/share/seabios/bios-256k.bin \
			-a /usr/share/qemu/linuxboot_dma.bin \
			-a /usr/share/qemu/kvmvapic.bin "$@"
	section "7. Sleep and wake of a Linux guest, beside QEMU's q35"
	[ "$NESTED" = 0 ] || echo "  On an emulated host (QEMU TCG with SVM):" \
		"ratios and counts, not times."
	: >"$work/part"
	run "$@"
	# What it complains of: from the emulated host it comes among the rest.
	sed -n 's/^linux_sleep: [a-z]*, /    | &/p' "$work/part"
	awk -f tests/bench/linux_sleep.awk "$work/part" || :
}

# stress_tar FILE: stress-ng with its libraries, for a guest that has none.
stress_tar() {
	mkdir "$work/stress"
	program=$(command -v stress-ng)
	cp -L "$program" $(ldd "$program" | grep -o '/[^ ]*') "$work/stress"
	mv "$work/stress"/ld-linux* "$work/stress/ld.so"
	tar -C "$work/stress" -cf "$1" .
}

fs_part() {
	stress_tar "$B/bench/stress.tar"
	[ "$NESTED" = 0 ] && usual=100000 || usual=10000
	set -- tests/bench/fs.sh "${ENTRIES:-$usual}" "$B/bench/stress.tar"
	[ "$NESTED" = 0 ] ||
		set -- tests/harness/nested.sh -t 7200 -a "$B/bench/fs_ops" \
			-a "$B/bench/stress.tar" -a /usr/lib/qemu/virtiofsd "$@"
	section "8. A shared directory, beside Debian's virtiofsd in the same guest"
	[ "$NESTED" = 0 ] || echo "  On an emulated host (QEMU TCG with SVM):" \
		"ratios, not times."
	: >"$work/part"
	run "$@"
	awk -f tests/bench/fs.awk "$work/part" || :
}

suspend_part() {
	section "9. Devices suspended, beside devices reset, in a cycle of sleep"
	[ "$NESTED" = 0 ] || echo "  On an emulated host (QEMU TCG with SVM):" \
		"ratios and counts, not times."
	: >"$work/part"
	run tests/harness/run-guests.sh -t 3000 \
		-a "$B/guest/initramfs-suspend.cpio" \
		tests/bench/suspend_paths.sh "${CYCLES:-20}"
	awk -f tests/bench/suspend_paths.awk "$work/part" || :
}

awake_part() {
	section "10. A guest that is awake, beside one without the idle state C2"
	[ "$NESTED" = 0 ] || echo "  On an emulated host with one CPU (QEMU TCG" \
		"with SVM): ratios and counts, not times."
	: >"$work/part"
	run tests/harness/run-guests.sh -t 5000 tests/bench/awake.sh \
		"${TIMES:-3}" ${CPUS-}
	awk -f tests/bench/awake.awk "$work/part" || :
}

kvm_runs_payloads() {
	timeout 10 "$B/torpor" run --no-rng --serial stdout \
		"$payloads/hello.elf" 2>"$work/errors" | grep -q HELLO
}

eval "$(tests/harness/run-guests.sh --decide)"
begun=$(date +%s)

finish() {
	[ -z "${RAW-}" ] || cp "$raw" "$RAW"
	printf '\nTook %s s.\n' $(($(date +%s) - begun))
	if [ -n "$failed" ]; then
		echo "Failed:$failed"
		exit 1
	fi
	exit 0
}

linux_parts() {
	for cpus in ${CPUS:-1}; do
		linux_part "$cpus"
	done
}

if [ "${ONLY-}" = sleep ]; then
	linux_parts
	finish
elif [ "${ONLY-}" = fs ]; then
	fs_part
	finish
elif [ "${ONLY-}" = suspend ]; then
	suspend_part
	finish
elif [ "${ONLY-}" = awake ]; then
	awake_part
	finish
fi

direct=1
if ! kvm_runs_payloads; then
	direct=0
	echo "Not measured on this machine itself, its KVM is not usable:"
	sed 's/^/    /' "$work/errors"
fi
[ $direct = 1 ] || [ "$NESTED" = 1 ] || exit 1
truncate -s 16M "$work/disk.img"
[ $direct = 0 ] || net_up

echo "torpor beside $(qemu-system-x86_64 --version | head -n 1), -M microvm"
if [ "$NESTED" = 1 ] && [ $direct = 1 ]; then
	echo "The KVM of this machine emulates and cannot run Linux: times say" \
		"little, ratios more,
counts are exact."
fi

if [ $direct = 1 ]; then
	section "1. From starting the process to the guest's first output"
	start_pair 0
	start_pair 4
	show start

	for vm in torpor qemu; do
		run tests/bench/counts.sh $vm 200
	done
	section "2. Memory with disk, network, console and entropy device, KiB"
	show memory
	section "3. Exits to userspace a request (what a vCPU waits for)"
	show exits
	section "4. System calls a request, returns of KVM_RUN not among them"
	show syscalls

	section "5. Used event to interrupt handler, microseconds"
	run "$B/bench/irq_latency" 2000 2000 "$payloads/latency.elf"
	show irq

	section "6. Sleep and wake of a guest without an operating system, ms"
	run "$B/bench/sleep_cycles" 200 "$B/torpor" "$payloads/sleeper.elf" \
		"$work/socket"
	show sleep
fi

if [ "$NESTED" = 1 ]; then
	section "5 and 6 on an emulated host (QEMU TCG with SVM)"
	# Its raw lines are named like those above: apart from them.
	mv "$raw" "$work/direct"
	: >"$raw"
	nested_part
	show irq
	show sleep
	cat "$raw" >>"$work/direct"
	mv "$work/direct" "$raw"
fi

linux_parts
fs_part
suspend_part
awake_part
finish
