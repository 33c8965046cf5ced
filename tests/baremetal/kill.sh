#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# SIGKILL of each process of a VM at random moments, start-up included. Without
# its VMM or its spawner nothing of a VM remains, and nothing it left stops the
# next run. Without a device the VM goes on, says which died, and the guest sees
# that it must be reset; so too if it is stopped and does not go on.
# SEED=N repeats a run, ROUNDS=N makes it longer.
. "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-20}
SEED=${SEED:-$((SRANDOM % 32768))}
MAX_DELAY_MS=120
BOUND=15 # seconds: far more than it may take

# with_devices [OPTION]...: a VM with all kinds of devices and a control socket.
with_devices() {
	vm_start --block "$dir/run/disk.img" --net tap-name=tap0 \
		--console "type=file,path=$dir/run/console" "$@"
}

# Mostly short or none: a start takes a few hundredths of a second.
random_pause() {
	local max=$((RANDOM % MAX_DELAY_MS + 1))
	local ms=$((RANDOM % max - 10))
	[ $ms -le 0 ] || sleep "$(printf '0.%03d' $ms)"
}

# The same tap, image and socket again.
next_run_works() {
	vm_run 30 --socket "$sock" --serial stdout \
		--block "$dir/run/disk.img" --net tap-name=tap0 \
		--console "type=file,path=$dir/run/console" "$payloads/hello.elf"
	[ "$code" = 0 ] && grep -q ^HELLO "$dir/run/out"
}

# find_victim: the process of the VM that is called $victim, in $pid. Without a
# process of its own, so that it is found while it starts.
find_victim() {
	local comm spawner= devices=
	# These files have no newline, so read always says that it failed.
	read -r spawner _ </proc/$vm_pid/task/$vm_pid/children
	read -r devices </proc/$spawner/task/$spawner/children
	for pid in $spawner $devices; do
		read -r comm </proc/$pid/comm || continue
		[ "$comm" != "$victim" ] || return 0
	done
	return 1
} 2>/dev/null

victim_found_or_gone() {
	find_victim || gone "$vm_pid"
}

find_soon() {
	local end=$((SECONDS + BOUND * SLOW))
	until victim_found_or_gone; do
		[ $SECONDS -le $end ] || return 1
		sleep 0.001
	done
}

victim_dead_or_gone() {
	device_dead "$victim" || gone "$vm_pid"
}

# ---------------------------------------------------------------- VMM, spawner

# kill_one VMM|spawner: one round. What is wrong is in $why.
kill_one() {
	local victim=torpor-spawner pid
	with_devices "$payloads/spin.elf"
	pid=$vm_pid why="no spawner"
	if [ "$1" = spawner ]; then
		find_soon || return 1
	fi
	random_pause
	kill -9 $pid
	why="its process does not end"
	within $BOUND gone "$vm_pid" || return 1
	wait "$vm_pid" 2>/dev/null
	code=$?
	vm_pid=
	exec 8>&- 9>&-
	why="left: $(strays | tr '\n' ' ')"
	within $BOUND none_left || return 1
	why="exit code $code after the spawner's death"
	[ "$1" = VMM ] || [ "$code" = 33 ] || return 1
	why="the next run fails: $(cat "$dir/run/err" | tail -n 3)"
	next_run_works
}

kill_rounds() { # WHICH
	local i bad=0
	for ((i = 0; i < ROUNDS; i++)); do
		kill_one "$1" && continue
		not_ok "SIGKILL of the $1, round $i" "$why"
		bad=$((bad + 1))
		run_dir_make
		image disk.img
	done 2>/dev/null # bash tells of each killed job
	expect "SIGKILL of the $1, $ROUNDS rounds: nothing is left" \
		"$bad were not right" [ $bad = 0 ]
}

# ---------------------------------------------------------------- devices

device_dead() {
	[ "$(state_of dead "$1")" = true ]
}

# One round; the others answer afterwards.
kill_device() { # NAME
	local other pid victim=$1
	with_devices "$payloads/spin.elf"
	why="did not start"
	find_soon || return 1
	random_pause
	kill -9 $pid
	# Before the guest runs, a device that dies is a failed start.
	why="is not shown as dead"
	within $BOUND victim_dead_or_gone || return 1
	if gone "$vm_pid"; then
		wait "$vm_pid"
		code=$?
		vm_pid=
		exec 8>&- 9>&-
		why="exit code $code"
		[ $code = 33 ] || return 1
		why="no message: $(cat "$dir/run/err")"
		grep -q "$1" "$dir/run/err" || return 1
		early=$((early + 1))
	else
		why="state is $(state_of state)"
		[ "$(state_of state)" = RUNNING ] || return 1
		for other in blk0 net0 console0 rng; do
			[ $other = "$1" ] && continue
			why="$other is dead too"
			device_dead $other && return 1
		done
		why="torpor stop"
		ctl stop || return 1
		vm_end $BOUND
		why="exit code $code"
		[ "$code" = 0 ] || return 1
		late=$((late + 1))
	fi
	why="left: $(strays | tr '\n' ' ')"
	within $BOUND none_left
}

kill_device_rounds() {
	local i bad=0 device early=0 late=0
	for ((i = 0; i < ROUNDS; i++)); do
		for device in blk0 net0 console0 rng; do
			kill_device $device && continue
			not_ok "SIGKILL of $device, round $i" "$why"
			bad=$((bad + 1))
			run_dir_make
			image disk.img
		done
	done 2>/dev/null
	expect "SIGKILL of a device, $((4 * ROUNDS)) times ($early before the\
 guest ran): the VM goes on" "$bad were not right" [ $bad = 0 ]
	expect "SIGKILL of the devices: the next run works" \
		"$(cat "$dir/run/err")" next_run_works
}

# What the guest and a client see. The payload waits for NEEDS_RESET of the
# device that is named, then has the others answer.
device_death_seen() { # NAME
	local events=$dir/run/events events_pid
	with_devices --params "victim=$1" "$payloads/survivor.elf"
	vm_line "READY *" 30 || not_ok "death of $1" "guest not ready"
	"${as[@]}" "$torpor" events --json "$sock" >"$events" &
	events_pid=$!
	# Until its request for events has been answered.
	within 10 sleeping_in_poll $events_pid
	kill -9 "$(state_of pid "$1")"
	vm_line "DONE *" 60
	expect_eq "death of $1: the guest sees NEEDS_RESET, others work" \
		"$(grep -c ^FAIL "$dir/run/out"),$line" \
		"0,DONE passed=5 failed=0"
	vm_end 30
	expect_eq "death of $1: the VM ends as its guest wants" "$code" 0
	wait $events_pid
	expect "death of $1: DEVICE_DIED is sent" "$(cat "$events")" \
		grep -q "\"event\":\"DEVICE_DIED\".*\"device\":\"$1\"" "$events"
	expect_eq "death of $1: once" "$(grep -c DEVICE_DIED "$events")" 1
}

# Its driver has suspended it, so another process takes its place: it has the
# address that the driver has set.
suspended_card_death() {
	local pid
	with_devices --params "suspended=1" "$payloads/survivor.elf"
	vm_line "READY *" 30 || not_ok "death of a suspended card" "not ready"
	pid=$(state_of pid net0)
	kill -9 "$pid"
	within 20 respawned net0 "$pid" ||
		not_ok "death of a suspended card" "no other process"
	printf x >&9
	vm_line "DONE *" 60
	expect_eq "death of a suspended card: its address is kept" \
		"$(grep ^FAIL "$dir/run/out"),$line" \
		",DONE passed=5 failed=0"
	vm_end 30
}

respawned() { # NAME PID
	local pid
	pid=$(state_of pid "$1") && [ -n "$pid" ] && [ "$pid" != "$2" ]
}

# The spawner is stopped when another process is wanted: nobody else waits.
spawner_stopped() {
	local what="a stopped spawner" pid spawner
	with_devices --params "suspended=1" "$payloads/survivor.elf"
	vm_line "READY *" 30 || not_ok "$what" "not ready"
	pid=$(state_of pid net0)
	read -r spawner _ </proc/$vm_pid/task/$vm_pid/children
	kill -STOP "$spawner"
	kill -9 "$pid"
	expect "$what: torpor sees the death" "it does not" \
		within 5 grep -q "net0: device process $pid" "$dir/run/err"
	expect "$what: and goes on to answer" "it does not" \
		within 2 ctl state
	kill -CONT "$spawner"
	expect "$what: the process is made when it goes on" "it is not" \
		within 20 respawned net0 "$pid"
	printf x >&9
	vm_line "DONE *" 60
	expect_eq "$what: the guest has lost nothing" \
		"$(grep ^FAIL "$dir/run/out"),$line" ",DONE passed=5 failed=0"
	vm_end 30
}

# A client that has nothing more to do than to wait for an event.
sleeping_in_poll() {
	local nr
	read -r nr _ 2>/dev/null <"/proc/$1/syscall" || return 0
	# poll, ppoll
	[ "$nr" = 7 ] || [ "$nr" = 271 ]
}

# ---------------------------------------------------------------- SIGSTOP

# The guest has told the device, whatever became of it.
wants_wake() {
	ctl state --json || return
	ctl_out=${ctl_out#*"{\"name\":\"$1\","}
	[[ ${ctl_out%%\}*} == *'"armed":true'* ]]
}

# One that stays stopped keeps its guest waiting, but not for ever.
stopped_for_good() {
	with_devices --params "toggles=4000 slot=1" "$payloads/dsw.elf"
	vm_line READY 20 || not_ok "stopped for good" "guest not ready"
	kill -STOP "$(state_of pid net0)"
	printf '!' >&9
	expect "stopped for good: torpor answers" "it does not" \
		within 5 wants_wake net0
	expect "stopped for good: it counts as dead" "it does not" \
		within 30 device_dead net0
	vm_line "DONE *" 20
	expect_eq "stopped for good: the guest goes on" "$line" \
		"DONE passed=1 failed=0"
	vm_end 20
	expect_eq "stopped for good: the VM ends as its guest wants" "$code" 0
}

# ---------------------------------------------------------------- SIGTERM

sigterm() {
	with_devices "$payloads/spin.elf"
	vm_up 20
	kill -TERM "$vm_pid"
	vm_end 10
	expect_eq "SIGTERM: exit code" "$code" 0
	expect "SIGTERM: the socket is gone" "it is there" [ ! -e "$sock" ]
	expect "SIGTERM: no process is left" "$(strays)" within 5 none_left
	expect "SIGTERM: the next run works" "$(cat "$dir/run/err")" \
		next_run_works
}

kill_tests() {
	local device
	RANDOM=$SEED
	echo "  SEED=$SEED ROUNDS=$ROUNDS"
	image disk.img
	tap tap0
	sigterm
	kill_rounds VMM
	kill_rounds spawner
	kill_device_rounds
	stopped_for_good
	for device in blk0 net0 console0 rng; do
		device_death_seen $device
	done
	suspended_card_death
	spawner_stopped
}

for_each_user kill_tests
tests_end
