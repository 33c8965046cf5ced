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
side=
trap '[ -z "$side" ] || kill "$side" 2>/dev/null; rm -rf "$out"' EXIT
broken= repeated=

# part NAME COMMAND...: runs it, keeps what it prints.
part() {
	name=$1
	shift
	case " ${ONLY:-$name} " in
	*" $name "*) ;;
	*) return ;;
	esac
	echo "== $name"
	{
		"$@" 2>&1
		echo $? >"$out/$name.status"
	} | tee "$out/$name.log"
	if ! grep -q "^$name: [0-9]* passed" "$out/$name.log"; then
		echo "$name: ended without a result"
		broken="$broken $name"
	elif [ "$(cat "$out/$name.status")" != 0 ]; then
		broken="$broken $name"
	fi
}

# guests NAME OPTION...: a part that boots Linux guests. QEMU's emulation of SVM
# fails now and then (docs/hardware.md): on the emulated host a part that fails
# is run again, twice at most, and that is said. On a real one it is not.
guests() {
	broken_before=$broken
	part "$@"
	for try in 2 3; do
		if [ "$broken" = "$broken_before" ] || [ "$NESTED" = 0 ]; then
			return
		fi
		echo "$1: failed on the emulated host; try $try of 3"
		repeated="$repeated $1"
		broken=$broken_before
		part "$@"
	done
}

# Once for all that boot guests.
eval "$(tests/harness/run-guests.sh --decide)"
export NESTED
# Once, not by several at a time.
[ "$NESTED" = 0 ] && [ -e /dev/kvm ] || tests/harness/packages.sh guest nested
[ "$NESTED" = 0 ] || echo "No KVM here that runs Linux: guests run on an" \
	"emulated host."

part unit tests/run-unit.sh "$@"
# QEMU drives the device processes; it emulates the processor, so never nested.
part interop env NESTED=0 tests/harness/run-guests.sh -t 300 \
	tests/interop/qemu.sh
# On this machine's own /dev/kvm, whatever it can do; where there is none, on the
# emulated host.
baremetal() {
	for test in payloads exits memory errors kill fence races bmcycles \
		asleep; do
		if [ -e /dev/kvm ]; then
			part $test tests/baremetal/$test.sh
		else
			guests $test tests/harness/nested.sh -b \
				-t $((${LONG:-0} ? 7200 : 1200)) \
				tests/baremetal/$test.sh
		fi
	done
}

# An emulated host has one CPU: two side by side halve the time.
if [ -e /dev/kvm ] || [ "$(nproc)" = 1 ]; then
	baremetal
else
	{
		# shellcheck disable=SC2030
		broken= repeated=
		baremetal
		echo "$broken" >"$out/side.broken"
		echo "$repeated" >"$out/side.repeated"
	} >"$out/side" 2>&1 &
	side=$!
	echo "Bare-metal tests go on beside these and are shown at the end."
fi
guests boot tests/harness/run-guests.sh -t 600 tests/boot/boot.sh
guests sleep tests/harness/run-guests.sh -t 900 tests/boot/sleep.sh
guests packets tests/harness/run-guests.sh -t 600 tests/boot/packets.sh
guests cycles tests/harness/run-guests.sh -t $((${LONG:-0} ? 6000 : 1200)) tests/boot/cycles.sh
guests wake-races tests/harness/run-guests.sh -t $((${LONG:-0} ? 9000 : 900)) -a "$B/tests/boot/race" tests/boot/wake-races.sh
guests clocks tests/harness/run-guests.sh -t $((${LONG:-0} ? 3000 : 900)) tests/boot/clocks.sh
guests rest tests/harness/run-guests.sh -t $((${LONG:-0} ? 3000 : 900)) tests/boot/rest.sh
guests s1 tests/harness/run-guests.sh -t 600 tests/boot/s1.sh
guests pause tests/harness/run-guests.sh -t $((${LONG:-0} ? 1500 : 900)) tests/boot/pause.sh
guests host-sleep tests/harness/run-guests.sh -t 600 tests/boot/host-sleep.sh
guests clients tests/harness/run-guests.sh -t 600 -a "$B/tests/boot/clients" \
	tests/boot/clients.sh
guests fs tests/harness/run-guests.sh -t 1200 -a "$B/tests/boot/posix_cases" \
	tests/boot/fs.sh
guests foreign tests/harness/run-guests.sh -t 900 \
	-a "$B/tests/boot/posix_cases" -a /usr/lib/qemu/virtiofsd \
	tests/boot/foreign.sh
guests vsock tests/harness/run-guests.sh -t 600 -a "$B/tests/boot/vsock_peer" \
	tests/boot/vsock.sh
# A guest that suspends its virtio devices instead of resetting them.
suspends() {
	guests "suspend-$1" tests/harness/run-guests.sh -t 6000 -a "$2" \
		-a "$B/tests/boot/keep_open" -a "$B/tests/boot/vsock_peer" \
		tests/boot/suspend.sh "$1" "$3"
}
suspends v14 "$B/guest/initramfs-suspend.cpio" $((${LONG:-0} ? 300 : 8))
suspends draft "$B/guest/initramfs-suspend-draft.cpio" $((${LONG:-0} ? 100 : 4))

# The long parts.
if [ "${LONG-0}" = 1 ]; then
	guests autosleep tests/harness/run-guests.sh -t 1800 \
		-a "$B/guest/autosleep/vmlinuz" \
		-a "$B/guest/autosleep/initramfs.cpio" tests/boot/autosleep.sh
	suspends fallback "$B/guest/initramfs-suspend.cpio" 20
	suspends 6.12 "$B/guest/linux/kernel-6.12-v14/bzImage" 50
	guests vsock-suspend tests/harness/run-guests.sh -t 900 \
		-a "$B/guest/initramfs-suspend.cpio" \
		-a "$B/tests/boot/vsock_peer" tests/boot/vsock.sh suspend
fi

if [ -n "$side" ]; then
	wait "$side"
	side=
	cat "$out/side"
	# shellcheck disable=SC2031
	broken="$broken$(cat "$out/side.broken")"
	repeated="$repeated$(cat "$out/side.repeated")"
fi

echo "== sum"
cat "$out"/*.log 2>/dev/null | awk '
	/^[a-z0-9.-]+: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
		p += $2; f += $4; s += $6
	}
	END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'
[ -z "$repeated" ] || echo "run again on the emulated host:$repeated"
if [ -n "$broken" ]; then
	echo "not right:$broken"
	grep -h '^not ok' "$out"/*.log
	exit 1
fi
