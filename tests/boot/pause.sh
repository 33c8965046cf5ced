#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A stock guest is paused without its knowing, asked by force, and meets devices
# that do not stop or start in time. It runs on, and torpor says the truth.
. tests/boot/lib.sh

rest_s=5
[ "${LONG-0}" != 1 ] || rest_s=60
net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# device_pid NAME: of the process of a virtio device.
device_pid() {
	ctl state --json
	echo "$ctl_out" |
		sed -n "s/.*\"name\": *\"$1\", *\"role\": *\"[a-z]*\", *\"pid\": *\([0-9]*\).*/\1/p"
}

# said NAME PATTERN: what the last command printed.
said() {
	case $ctl_out in
	$2) ok "$1" ;;
	*) not_ok "$1" "said '$ctl_out'" ;;
	esac
}

is_paused() {
	ctl state
	case $ctl_out in
	*", paused"*) return 0 ;;
	*) return 1 ;;
	esac
}

# answers NAME: the guest's userspace runs, and the network with it.
answers() {
	expect_eq "$1: the guest answers" "$(guest echo here)" here
	expect "$1: so does its network" "no reply" \
		ping -c 1 -W $((5 * SLOW)) $GUEST_IP
}

disk_works() {
	guest 'dd if=/dev/urandom of=/tmp/d bs=64k count=16 2>/dev/null;
		dd if=/tmp/d of=/dev/vda bs=64k conv=fsync 2>/dev/null &&
		echo 3 >/proc/sys/vm/drop_caches &&
		dd if=/dev/vda bs=64k count=16 2>/dev/null | cmp - /tmp/d'
}

# ---------------------------------------------------------------- clocks

# pause_clocks NAME MONOTONIC REALTIME [OPTION]: over a pause of 3 s the two
# clocks are behind the host's by so many seconds.
pause_clocks() {
	pc_name=$1 pc_mono_s=$2 pc_real_s=$3
	shift 3
	clocks_pair || return
	pc_mono=$g_mono pc_host=$h_boot pc_off=$((h_real - g_real))
	clocks_read
	pc_asked=$boot
	expect "$pc_name: is paused" "$ctl_out" ctl suspend --full "$@"
	clocks_read
	pc_from=$boot
	sleep 3
	clocks_read
	pc_least=$((boot - pc_from))
	ctl resume --full
	clocks_read
	pc_most=$((boot - pc_asked))
	clocks_pair || return
	left_out "$pc_name: MONOTONIC" \
		$((h_boot - pc_host - (g_mono - pc_mono))) "$pc_mono_s"
	left_out "$pc_name: REALTIME" $((h_real - g_real - pc_off)) "$pc_real_s"
}

# left_out NAME NS TIMES: the guest's clock has left out NS; the pause was between
# $pc_least and $pc_most, and it should have left it out so many times.
left_out() {
	lo_least=$(($3 * pc_least - 250000000))
	lo_most=$(($3 * pc_most + 250000000))
	expect "$1" "$(($2 / 1000000)) ms left out, not \
$((lo_least / 1000000)) to $((lo_most / 1000000))" \
		between $lo_least "$2" $lo_most
}

# no_thread_runs NAME: of the VM, for a while.
no_thread_runs() {
	vm_threads >/tmp/before
	sleep $rest_s
	vm_threads >/tmp/after
	expect_eq "$1: $rest_s s, no thread runs or wakes up" \
		"$(threads_diff /tmp/before /tmp/after | awk '$4 || $5')" ""
}

pause() {
	ctl suspend --full
	said "pause: said so" "paused after * ms"
	expect "pause: in the state" "$ctl_out" is_paused
	no_thread_runs "pause"
	expect "pause: a second one is none" "$ctl_out" ctl suspend --full
	ctl suspend --timeout 500
	said "pause: a guest in it cannot be asked to sleep" "*paused*"
	expect "pause: ends" "$ctl_out" ctl resume --full
	expect "pause: its end is idempotent" "$ctl_out" ctl resume --full
	answers "pause"
	expect "pause: and its disk" "data differ" disk_works
	guest 'echo 0 >/sys/devices/system/cpu/cpu1/online'
	ctl suspend --full
	no_thread_runs "pause, a CPU offline"
	ctl resume --full
	guest 'echo 1 >/sys/devices/system/cpu/cpu1/online'
	vm_suspend
	ctl suspend --full
	no_thread_runs "pause of a sleeping guest"
	ctl resume
	expect "pause of a sleeping guest: it wakes" "$ctl_out" \
		vm_awake $((5 * SLOW))
}

# ---------------------------------------------------------------- nesting

nesting() {
	vm_suspend
	expect "nesting: a sleeping guest is paused" "$ctl_out" \
		ctl suspend --full
	ctl powerbtn
	usleep 500000
	expect_eq "nesting: a button waits" "$(vm_state)" "SUSPENDED,"
	ctl resume --full
	expect "nesting: until the pause ends" "$ctl_out" \
		vm_awake $((5 * SLOW))
	expect_eq "nesting: it woke the guest" "$(event_source)" powerbtn
	vm_suspend
	ctl suspend --full
	ctl resume --full
	expect_eq "nesting: without a button it sleeps on" "$(vm_state)" \
		SUSPENDED
	ctl resume
	vm_awake $((5 * SLOW))

	# A guest that sleeps by itself sleeps on over a suspend of the host.
	guest_send go-to-sleep
	vm_wait SUSPENDED $((10 * SLOW))
	ctl suspend
	said "by itself: a suspend says so" "asleep after * ms, by itself*"
	ctl resume
	said "by itself: a resume leaves it alone" "*sleeps by itself*"
	expect_eq "by itself: it does" "$(vm_state)" SUSPENDED
	ctl wake
	guest_result 20 >/dev/null
	expect_eq "by itself: and wakes" $? 0
}

# ---------------------------------------------------------------- force

# agent start, agent stop: who takes the button in the guest. What was pressed
# while there was none is forgotten.
agent() {
	case $1 in
	start) guest 'acpid -l /dev/null -p /run/acpid.pid' ;;
	stop) guest 'killall -9 acpid' ;;
	esac
}

force() {
	agent stop
	ctl suspend --timeout 1000
	said "no agent: a suspend times out" "*timed out*no agent listens*"
	expect_eq "no agent: the guest runs" "$(vm_state)" RUNNING
	ctl suspend --force --timeout 1000
	said "force: paused, and why" "paused after * ms, by force: timeout"
	expect "force: in the state" "$ctl_out" is_paused
	expect "force: a resume ends it" "$ctl_out" ctl resume
	answers "force"
	agent start

	# Taken back while the guest has not even begun.
	guest 'killall -STOP acpid'
	"$torpor" suspend --timeout 20000 "$vm_sock" >/tmp/cancelled 2>&1 &
	fo_pid=$!
	vm_wait SUSPENDING 10
	ctl resume
	wait $fo_pid
	ctl_out=$(cat /tmp/cancelled)
	said "cancel: the one who asked is told" "*cancelled by*"
	# The press is still in the guest's queue: it obeys, and is brought back.
	guest 'killall -CONT acpid'
	vm_console_wait "TORPOR: awake again*" $((15 * SLOW))
	expect "cancel: it runs" "$ctl_out" vm_wait RUNNING $((10 * SLOW))
	answers "cancel"
}

# A press that nobody takes, as logind does with one that comes too early, is
# repeated. It was dropped, so the guest that wakes goes on.
dropped_press() {
	agent stop
	"$torpor" suspend --timeout $((30000 * SLOW)) "$vm_sock" \
		>/tmp/dropped 2>&1 &
	dp_pid=$!
	vm_wait SUSPENDING 10
	agent start
	wait $dp_pid
	ctl_out=$(cat /tmp/dropped)
	said "dropped press: asleep by another" \
		"asleep after * ms, by [2-9] presses of its sleep button"
	ctl wake
	expect "dropped press: wakes" "see above" vm_awake 10
	answers "dropped press"
	expect_eq "dropped press: one sleep of it" "$(vm_state)" RUNNING
}

# ---------------------------------------------------------------- devices

# Its process is stopped, so it does not answer: as a disk that hangs.
late_device() {
	ld_pid=$(device_pid blk0)
	# A guest that begins to sleep resets its disk, and waits for that.
	agent stop
	guest 'dd if=/dev/zero of=/dev/vda bs=4k count=100 2>/dev/null'
	kill -STOP "$ld_pid"
	ctl suspend --full
	said "late disk: a pause fails and names it" "*blk0*"
	expect_eq "late disk: the guest runs" "$(vm_state)" RUNNING
	answers "late disk"
	ctl suspend --force --timeout 1000
	said "late disk: force stops the rest and names it" \
		"paused after * ms, by force: *(device blk0 has not stopped)"
	expect "late disk: a resume waits for nobody" "$ctl_out" ctl resume
	answers "late disk, after force"
	kill -CONT "$ld_pid"
	expect "late disk: it goes on by itself" "data differ" disk_works
	expect "late disk: the next pause is one" "$ctl_out" \
		ctl suspend --full
	# On the way up.
	kill -STOP "$ld_pid"
	expect "slow start: the others come back" "$ctl_out" \
		ctl resume --full --timeout $((10000 * SLOW))
	answers "slow start"
	kill -CONT "$ld_pid"
	expect "slow start: the disk does too" "data differ" disk_works
	agent start
}

dead_device() {
	ctl suspend --full
	kill -9 "$(device_pid blk0)"
	expect "dead disk: the pause ends all the same" "$ctl_out" \
		ctl resume --full --timeout $((10000 * SLOW))
	answers "dead disk"
	vm_suspend
	said "dead disk: the guest sleeps without it" "asleep after *"
	ctl wake
	vm_awake $((5 * SLOW))
	answers "dead disk, after a sleep"
}

if vm_start "torpor.wake=ttyS0" --cpus 2 --device-timeout 1000 \
	--block $disk --net $NET; then
	vm_events_start
	pause
	pause_clocks "time runs on" 0 0
	expect_no_warning "pause"
	nesting
	force
	dropped_press
	late_device
	# Over a dozen pauses with load.
	guest '(while [ ! -e /tmp/stop ]; do dd if=/dev/zero of=/dev/vda \
		bs=64k count=64 conv=fsync; done) >/dev/null 2>&1 &'
	pa_n=0 pa_failed=0
	while [ $pa_n -lt 12 ]; do
		pa_n=$((pa_n + 1))
		ctl suspend --full && ctl resume --full ||
			pa_failed=$((pa_failed + 1))
	done
	guest 'touch /tmp/stop'
	expect_eq "12 pauses under load: none failed" $pa_failed 0
	expect_no_warning "devices"
	# Last: its REALTIME is behind from here on.
	pause_clocks "frozen clock" 1 1 --freeze-clock
	expect_no_warning "frozen clock"
	dead_device
else
	not_ok "boot for a pause" "see above"
fi

tests_end pause
