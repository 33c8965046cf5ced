#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Wake events of every source in the orders that are the worst for a guest that
# goes to sleep, for each kind of sleep and each state of its devices: none is
# lost. wake_forced.c has the orders; EVENTS=N events of each.
. "$(dirname "$0")/lib.sh"

EVENTS=${EVENTS:-$(how_many 3 1 50)}

# forced WHAT ORDER PARAMS SOURCE...: in a VM of its own.
forced() {
	local what=$1 order=$2 params=$3 d=$dir/run
	shift 3
	run_dir_make
	image disk.img
	mkfifo "$d/in"
	exec 7<>"$d/in"
	timeout $((120 * SLOW * (1 + EVENTS / 10))) "$torpor" run --socket "$sock" \
		--serial stdio --mem 32 --wake-storm 0 --no-rng \
		--block "$d/disk.img" --net tap-name=tap0 \
		--vsock "cid=3,socket=$d/vsock" --console "pty,path=$d/console" \
		--params "cycles=1000000000 quiet=1 io=1 go=$order $params" \
		"$payloads/sleeper.elf" <"$d/in" 2>"$d/err" 7>&- |
		"$tools/wake_forced" "$sock" "$order" blk0 "$d/in" \
			"$EVENTS" "$@" >"$d/result" 2>>"$d/err" 7>&-
	expect_eq "$what" "${PIPESTATUS[*]} $(tail -n 1 "$d/result")" \
		"0 0 lost=0 spurious=0"
	exec 7>&-
}

run_dir_make
tap tap0 || not_ok "tap" "cannot be made"
devices="net=tap0 console=$dir/run/console vsock=$dir/run/vsock"
data=vsock-data=$dir/run/vsock
echo "  EVENTS=$EVENTS"
for kind in s2idle s1; do
	for order in arm sleep; do
		what="$kind, before the devices"
		[ $order = arm ] && what="$what are armed" || what="$what stop"
		# shellcheck disable=SC2086
		{
			forced "$what: live devices" $order \
				"kind=$kind live=1" $devices "$data"
			forced "$what: reset devices" $order "kind=$kind" \
				$devices
			forced "$what: suspended devices" $order \
				"kind=$kind suspend=1" $devices "$data"
		}
		forced "$what: alarm" $order "kind=$kind live=1 alarm=2" rtc
	done
	forced "$kind, status set before the guest goes down: buttons" arm \
		"kind=$kind live=1" powerbtn sleepbtn
	forced "$kind, all vCPUs parked: buttons, launcher, serial byte" sleep \
		"kind=$kind live=1" powerbtn sleepbtn launcher \
		"serial=$dir/run/in"
done
tests_end
