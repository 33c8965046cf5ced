#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# All tests (make check): unit tests, then what boots guests. Sums up the last
# lines "NAME: N passed, N failed, N skipped" of its parts.
#
#	check.sh UNIT_TEST...
#
# ONLY="boot sleep" in the environment runs only these parts; LONG=1 adds those
# that take long (make check-all).
set -u

cd "$(dirname "$0")/.." || exit 1
out=$(mktemp -d)
workers= child=
stop() {
	# shellcheck disable=SC2086
	[ -z "$workers" ] || { kill $workers; wait; } 2>/dev/null
	rm -rf "$out"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run NAME COMMAND...: runs it, keeps and shows what it prints: as it comes, or if
# there are others beside it when it has ended.
run() {
	name=$1 began=$(date +%s)
	shift
	if [ -z "$beside" ]; then
		echo "== $name"
		{
			"$@" 2>&1
			echo $? >"$out/$name.status"
		} | tee "$out/$name.log"
	else
		"$@" >"$out/$name.log" 2>&1 &
		child=$!
		wait $child
		echo $? >"$out/$name.status"
		child=
		{
			flock 3
			echo "== $name"
			cat "$out/$name.log"
		} 3>"$out/shown"
	fi
	echo "($name took $(($(date +%s) - began)) s)"
	if ! grep -q "^$name: [0-9]* passed" "$out/$name.log"; then
		echo "$name: ended without a result"
		return 1
	fi
	[ "$(cat "$out/$name.status")" = 0 ]
}

# mine NAME: is it wanted, and not another worker's?
mine() {
	case " ${ONLY:-$1} " in
	*" $1 "*) mkdir "$out/$1.taken" 2>/dev/null ;;
	*) return 1 ;;
	esac
}

part() {
	! mine "$1" || run "$@" || echo "$1" >>"$out/broken"
}

# guests NAME COMMAND...: a part that boots Linux guests. QEMU's emulation of SVM
# fails now and then (docs/hardware.md): on the emulated host a part that fails
# is run again, twice at most, and that is said. On a real one it is not.
guests() {
	mine "$1" || return 0
	for try in 1 2 3; do
		! run "$@" || return 0
		if [ "$NESTED" = 0 ] || [ $try = 3 ]; then
			echo "$1" >>"$out/broken"
			return 0
		fi
		echo "$1: failed on the emulated host; try $((try + 1)) of 3"
		echo "$1" >>"$out/repeated"
	done
}

# usual_or_long USUAL LONG: how long, how often.
usual_or_long() {
	[ "${LONG-0}" = 1 ] && echo "$2" || echo "$1"
}

# Once for all that boot guests.
eval "$(tests/harness/run-guests.sh --decide)"
export NESTED
# Once, not by several at a time.
if [ "$NESTED" = 1 ] || [ ! -e /dev/kvm ]; then
	tests/harness/packages.sh guest nested
fi

beside=
part unit tests/run-unit.sh "$@"

# make_part NAME TARGET...: what the Makefile itself has for it. Each of its targets is
# run by somebody, which the first of them sees to.
make_part() {
	part "$1" tests/run-make.sh "$@"
}

part targets tests/lint/targets.sh
make_part san san
make_part tsan tsan
make_part clang B="$B/clang" CC=clang all unit-tests payloads baremetal-tools \
	boot-tools
# They are run by `make fuzz`; here they are built, so that they can be.
make_part fuzzers B="$B/fuzz" CC=clang FUZZ=1 fuzzers
make_part clean B="$B/clang" clean
make_part help help
part install tests/install.sh
if [ "${LONG-0}" = 1 ]; then
	make_part lint lint
	make_part guest-suspend check-guest-suspend
	[ ! -e /dev/kvm ] || part rules tests/sandbox/rules.sh
	make_part demo demo
	export FUZZ_SECONDS="${FUZZ_SECONDS:-10}"
	make_part fuzz fuzz
	# Does it run? What it measures is for `make bench`.
	export CYCLES=2 LIMIT=60 ENTRIES=200 TIMES=1
	make_part bench bench
	unset CYCLES LIMIT ENTRIES TIMES
fi

# On this machine's own /dev/kvm, whatever it can do, one after the other; where
# there is none, on the emulated host.
baremetal() {
	[ ! -e /dev/kvm ] || mkdir "$out/baremetal.taken" 2>/dev/null || return 0
	for test in payloads exits memory errors kill stop mad fence forced \
		races bmcycles asleep; do
		if [ -e /dev/kvm ]; then
			part $test tests/baremetal/$test.sh
		else
			guests $test tests/harness/nested.sh -b \
				-t $(usual_or_long 1200 7200) \
				tests/baremetal/$test.sh
		fi
	done
}

# suspends MODE CYCLES -a FILE...: of a guest that suspends its virtio devices
# instead of resetting them.
suspends() {
	mode=$1 cycles=$2
	shift 2
	guests "suspend-$mode" tests/harness/run-guests.sh -t 6000 "$@" \
		-a "$B/tests/boot/keep_open" -a "$B/tests/boot/vsock_peer" \
		tests/boot/suspend.sh "$mode" "$cycles"
}

# In this order; of two workers each takes the next.
all_guests() {
	baremetal
	# QEMU drives the device processes; it emulates the processor, so never
	# nested.
	part interop env NESTED=0 tests/harness/run-guests.sh -t 300 \
		tests/interop/qemu.sh
	guests boot tests/harness/run-guests.sh -t 600 tests/boot/boot.sh
	guests awake tests/harness/run-guests.sh -t 600 tests/boot/awake.sh
	guests sleep tests/harness/run-guests.sh -t 900 tests/boot/sleep.sh
	guests packets tests/harness/run-guests.sh -t 600 tests/boot/packets.sh
	guests cycles tests/harness/run-guests.sh -t $(usual_or_long 1200 6000) \
		tests/boot/cycles.sh
	guests wake-races tests/harness/run-guests.sh -t $(usual_or_long 900 9000) \
		-a "$B/tests/boot/race" tests/boot/wake-races.sh
	guests clocks tests/harness/run-guests.sh -t $(usual_or_long 900 3000) \
		tests/boot/clocks.sh
	guests rest tests/harness/run-guests.sh -t $(usual_or_long 900 3000) \
		tests/boot/rest.sh
	guests s1 tests/harness/run-guests.sh -t 600 tests/boot/s1.sh
	guests pause tests/harness/run-guests.sh -t $(usual_or_long 900 1500) \
		tests/boot/pause.sh
	guests host-sleep tests/harness/run-guests.sh -t 600 \
		tests/boot/host-sleep.sh
	guests clients tests/harness/run-guests.sh -t 600 \
		-a "$B/tests/boot/clients" tests/boot/clients.sh
	guests fs tests/harness/run-guests.sh -t 1200 \
		-a "$B/tests/boot/posix_cases" tests/boot/fs.sh
	guests foreign tests/harness/run-guests.sh -t 900 \
		-a "$B/tests/boot/posix_cases" -a /usr/lib/qemu/virtiofsd \
		tests/boot/foreign.sh
	guests vsock tests/harness/run-guests.sh -t 600 \
		-a "$B/tests/boot/vsock_peer" tests/boot/vsock.sh
	# Its host has what this machine may lack: an IOMMU, SSDs to pass on.
	guests vfio tests/harness/nested.sh -p -t 600 tests/boot/vfio.sh
	suspends v14 $(usual_or_long 8 300) \
		-a "$B/guest/initramfs-suspend.cpio"
	suspends draft $(usual_or_long 4 100) \
		-a "$B/guest/initramfs-suspend-draft.cpio"
	suspends virtiofsd $(usual_or_long 4 50) \
		-a "$B/guest/initramfs-suspend.cpio" \
		-a /usr/lib/qemu/virtiofsd

	# The long parts.
	if [ "${LONG-0}" = 1 ]; then
		guests autosleep tests/harness/run-guests.sh -t 1800 \
			-a "$B/guest/autosleep/vmlinuz" \
			-a "$B/guest/autosleep/initramfs.cpio" \
			tests/boot/autosleep.sh
		suspends fallback 20 -a "$B/guest/initramfs-suspend.cpio"
		suspends 6.12 50 -a "$B/guest/linux/kernel-6.12-v14/bzImage"
		guests vsock-suspend tests/harness/run-guests.sh -t 900 \
			-a "$B/guest/initramfs-suspend.cpio" \
			-a "$B/tests/boot/vsock_peer" tests/boot/vsock.sh suspend
	fi
}

# An emulated host has one CPU: two side by side halve the time.
if [ "$NESTED" = 0 ] || [ "$(nproc)" = 1 ]; then
	all_guests
else
	echo "No KVM here that runs Linux: guests run on emulated hosts, two at" \
		"a time; a part is shown when it has ended."
	beside=1
	for _ in 1 2; do
		(
			trap - EXIT INT
			trap '[ -z "$child" ] || kill "$child"; exit 143' TERM
			all_guests
		) &
		workers="$workers $!"
	done
	wait
	workers=
fi

# A worker that has ended in the middle of a part.
for taken in "$out"/*.taken; do
	name=$(basename "$taken" .taken)
	[ "$name" = baremetal ] || [ -e "$out/$name.status" ] ||
		echo "$name" >>"$out/broken"
done
echo "== sum"
cat "$out"/*.log 2>/dev/null | awk '
	/^[a-z0-9.-]+: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
		p += $2; f += $4; s += $6
	}
	END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'
# Of the VMs' main loops, as tests/*/lib.sh have it of those that ended well.
sed -n 's/^# longest turn: /longest turn of a main loop: /p' "$out"/*.log |
	sort -t: -k2 -n | tail -n 1
if [ -e "$out/repeated" ]; then
	echo "run again on the emulated host:" $(cat "$out/repeated")
fi
if [ -e "$out/broken" ]; then
	echo "not right:" $(cat "$out/broken")
	grep -h '^not ok' "$out"/*.log
	exit 1
fi
