#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# SIGSTOP of each device process at random moments, while the guest never leaves
# its devices alone, sleeps, or only runs. All the time the control socket
# answers and the main loop stands still nowhere; SIGTERM ends the VM, and
# nothing is left of it. SEED=N repeats a run, ROUNDS=N says how often.
. "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-$(how_many 1 1 20)} # of each device and guest
SEED=${SEED:-$((SRANDOM % 32768))}
MAX_DELAY_MS=200
ASKS=5
BOUND=15 # seconds: far more than it may take
DEVICES="blk0 net0 console0 rng fs0"
slowest=0

random_pause() {
	sleep "$(printf '0.%03d' $((RANDOM % MAX_DELAY_MS)))"
}

# Milliseconds of the slowest answer in $slowest. SIGTERM is not asked for it.
ask() {
	local began=${EPOCHREALTIME/./} ms
	ctl_out=$("${as[@]}" timeout $((BOUND * SLOW)) "$torpor" "$@" "$sock" \
		2>&1) || return 1
	ms=$(((${EPOCHREALTIME/./} - began) / 1000))
	[ $ms -le $slowest ] || slowest=$ms
}

stopped() {
	[[ $(cat "/proc/$1/stat") == *') T '* ]]
}

stop_one() { # DEVICE PAYLOAD WORDS
	local pid i
	vm_start --block "$dir/run/disk.img" --net tap-name=tap0 \
		--console "type=file,path=$dir/run/console" \
		--shared-dir "$dir/run/share:tag" --params "$3" \
		"$payloads/$2.elf"
	why="it does not start: $(tail -n 2 "$dir/run/err")"
	vm_up 30 || return 1
	pid=$(state_of pid "$1")
	random_pause
	kill -STOP "$pid"
	why="$1 does not stop"
	within $BOUND stopped "$pid" || return 1
	for ((i = 0; i < ASKS; i++)); do
		why="no answer: $ctl_out"
		ask state || return 1
		# Which waits for the device, and says so in time.
		[ $i != 1 ] || "${as[@]}" "$torpor" suspend --timeout 50 "$sock" \
			>/dev/null 2>&1
		random_pause
	done
	why="no statistics: $ctl_out"
	ask stats --json || return 1
	why="the main loop stood still: $ctl_out"
	[[ $ctl_out == *'"stalls":0'* ]] || return 1
	kill -TERM "$vm_pid"
	why="SIGTERM does not end it"
	vm_end $BOUND || return 1
	why="exit code $code"
	[ "$code" = 0 ] || return 1
	why="left: $(strays | tr '\n' ' ')"
	within $BOUND none_left
}

guests() { # PAYLOAD WORDS
	local device i bad=0
	for device in $DEVICES; do
		for ((i = 0; i < ROUNDS; i++)); do
			stop_one "$device" "$@" && continue
			not_ok "SIGSTOP of $device under $1, round $i" "$why"
			vm_kill
			bad=$((bad + 1))
		done
	done
	expect "SIGSTOP of each device under $1, $ROUNDS times each" \
		"$bad were not right" [ $bad = 0 ]
}

all() {
	image disk.img
	tap tap0
	"${as[@]}" mkdir "$dir/run/share"
	guests restless ""
	guests sleeper "cycles=1000000 quiet=1 live=1 alarm=tick"
	guests spin ""
}

echo "  SEED=$SEED"
RANDOM=$SEED
for_each_user all
echo "  slowest answer: $slowest ms"
tests_end
