#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A device process that fills, empties and blocks every descriptor it shares with
# the VMM, floods it, or does not read what it is sent
# (tests/sandbox/mad_device.c), while the guest never leaves the device alone.
# All the time the control socket answers, the main loop stands still nowhere,
# and SIGTERM ends the VM.
. "$(dirname "$0")/lib.sh"

ROUNDS=$(how_many 20 5 200)
BOUND=15 # seconds: far more than it may take
mad=$(realpath "$B/tests/sandbox/mad-device")
cp "$mad" "$dir/mad-device"

# asks: ROUNDS questions; one that waits for the device ends by its limit.
asks() {
	local i
	for ((i = 0; i < ROUNDS; i++)); do
		ctl_out=$("${as[@]}" timeout $((BOUND * SLOW)) "$torpor" state \
			"$sock" 2>&1) || return 1
		sleep 0.05
	done
	ctl_out=
}

# number KEY: out of `torpor stats --json`.
number() {
	"${as[@]}" timeout $((BOUND * SLOW)) "$torpor" stats --json "$sock" |
		sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

mad() { # MODE
	image disk.img
	printf '%s' "$1" | dd of="$dir/run/disk.img" conv=notrunc status=none
	vm_start --device-exe "$dir/mad-device" --block "$dir/run/disk.img" \
		"$payloads/restless.elf"
	expect "$1: the guest runs" "$(tail -n 3 "$dir/run/err")" \
		vm_line 'READY*' 30 || return
	asks
	expect_eq "$1: the control socket answers, $ROUNDS times" "$? $ctl_out" \
		"0 "
	# On the way to sleep the device is stopped and started too.
	ctl suspend --timeout 100
	asks
	expect_eq "$1: it answers after a suspend that fails" "$? $ctl_out" "0 "
	expect_eq "$1: the main loop never stood still" "$(number stalls)" 0
	kill -TERM "$vm_pid"
	expect "$1: SIGTERM ends the VM" "it runs on" vm_end $BOUND
	expect_eq "$1: as a stop" "$code" 0
	expect "$1: nothing is left" "$(strays)" within $BOUND none_left
}

# A start that waits for a device is ended as well.
dumb() {
	image disk.img
	printf dumb | dd of="$dir/run/disk.img" conv=notrunc status=none
	vm_start --device-exe "$dir/mad-device" --block "$dir/run/disk.img" \
		--no-rng "$payloads/spin.elf"
	within $BOUND has_devices
	kill -TERM "$vm_pid"
	expect "SIGTERM ends a start that waits for a device" "it goes on" \
		vm_end $BOUND
	expect_eq "as a stop" "$code" 0
	expect "nothing of it is left" "$(strays)" within $BOUND none_left
}

# Its process is there, so the VMM has signals to a file descriptor.
has_devices() {
	strays | grep -q torpor-device
}

all() {
	local mode
	for mode in ${MODES:-fill steal flood mute stuff slow}; do
		mad $mode
	done
	dumb
}

for_each_user all
tests_end
