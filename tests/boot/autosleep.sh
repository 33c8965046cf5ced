#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest with autosleep, as Android has it: it sleeps whenever no wake lock is
# held, without being asked to. Its kernel is that of tests/harness/
# autosleep-kernel.sh. No sleep may fail, and none may end without an event.
VM_GUEST=${B:-build}/guest/autosleep
. tests/boot/lib.sh

net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# How long the guest may take from giving a wake lock back until it sleeps, or
# from an event until its userspace says that it is awake.
GO_S=$((10 * SLOW))
# No sleep that ends sooner is taken for one: the test's events come later.
SHORT_MS=100

# start STATE OPTION...: with the wake lock `console` held.
start() {
	st_state=$1
	shift
	woken_by='' sleeps=0
	vm_launch "torpor.run=commands torpor.autosleep=$st_state \
torpor.wake=net,ttyS0" --block $disk --net $NET "$@"
	vm_console_wait "TORPOR-COMMANDS*" $((50 * SLOW)) || return 1
	vm_events_start
	# Else it asks who has our address: the answer is another packet.
	guest "arp -s $HOST_IP $(cat /sys/class/net/tap0/address)"
	set -- $(guest 'for d in net/eth0/device/.. rtc/rtc0/device; do
		basename $(readlink -f /sys/class/$d); done')
	net_dev=$1 rtc_dev=$2
}

events_count() {
	grep -c "\"event\": *\"$1\"" "$vm_dir/events"
}

# stays_awake NAME: for 3 s nothing begins to sleep.
stays_awake() {
	sa_before=$(events_count SUSPENDING)
	sleep 3
	expect_eq "$1: RUNNING" "$(vm_state)" RUNNING
	expect_eq "$1: does not even begin to sleep" \
		"$(events_count SUSPENDING)" "$sa_before"
}

# give_back [COMMAND]: runs COMMAND and gives the lock back, in one line to the
# guest: it may be asleep before it could read another.
give_back() {
	guest_send "${1-:}; echo console >/sys/power/wake_unlock"
}

# asleep NAME: by itself. Counts the sleep.
asleep() {
	if ! vm_wait SUSPENDED $GO_S; then
		not_ok "$1: falls asleep by itself" "$ctl_out"
		return 1
	fi
	sleeps=$((sleeps + 1))
	ok "$1: falls asleep by itself"
	usleep $((SHORT_MS * 1500))
}

# by SOURCE COMMAND...: does what wakes the guest.
by() {
	source=$1
	shift
	woken_by="$woken_by $source"
	"$@"
}

# up NAME: the guest's wake handler has been run.
up() {
	if ! vm_console_wait "TORPOR: awake again*" $GO_S; then
		not_ok "$1: wakes" "see above"
		ctl state
		echo "$ctl_out" | sed 's/^/  | /'
		ctl wake
		vm_console_wait "TORPOR: awake again*" $GO_S
		return 1
	fi
	ok "$1: wakes"
	expect_eq "$1: knows why" "$(event_source)" "$source"
}

ping_guest() {
	ping -c 1 -W 10 $GUEST_IP >/dev/null
}

serial_byte() {
	echo >&9
}

# Names of devices that had events, says the guest's kernel, since the lock was
# given back: not the lock, and not what ran the wake handler.
blamed() {
	guest "awk '{ if (NR == FNR) n[\$1] += \$3; else n[\$1] -= \$3 }
		END { for (i in n) if (n[i]) print i }' \
		/run/wakeup_sources /run/before |
		grep -v -x -e console -e autosleep -e eventpoll \
			-e '\[timerfd\]'"
}

# once NAME DEVICE SOURCE COMMAND...: one sleep, which SOURCE ends and for which
# the guest's kernel blames DEVICE. The guest runs $prepare before.
prepare=:
once() {
	on_name=$1 on_device=$2
	shift 2
	give_back "$prepare; cat /sys/kernel/debug/wakeup_sources >/run/before"
	asleep "$on_name" || return
	by "$@"
	up "$on_name" || return
	expect_eq "$on_name: answers" "$(guest echo here)" here
	expect_eq "$on_name: the wake handler's lock is held" \
		"$(guest cat /sys/power/wake_lock | tr -d ' ')" console
	expect_eq "$on_name: the guest's kernel says who woke it" \
		"$(blamed)" "$on_device"
}

# ---------------------------------------------------------------- the parts

driver() {
	expect_eq "the idle driver" "$(guest \
		cat /sys/devices/system/cpu/cpuidle/current_driver)" acpi_idle
	expect_eq "the deepest idle state" "$(guest 'cd /sys/devices/system/cpu &&
		cat $(ls -d cpu0/cpuidle/state* | tail -n 1)/name')" C2
	# What mem means, too.
	expect_eq "autosleep is on" "$(guest cat /sys/power/autosleep)" freeze
}

locks() {
	stays_awake "a lock held"

	# The sleep button's agent cannot make it sleep either.
	ctl suspend --timeout $((3000 * SLOW))
	expect "a lock held: a request times out" "$ctl_out" \
		[ "${ctl_out#*timed out}" != "$ctl_out" ]
	expect_eq "a lock held: RUNNING after the request" "$(vm_state)" RUNNING
	expect_eq "a lock held: the guest answers" "$(guest echo here)" here
	expect "a lock held: the guest's agent says why" "nothing" \
		grep -q '^TORPOR: not asleep: autosleep.*: console' \
		"$vm_dir/console"

	# One of two is given back.
	guest 'echo other >/sys/power/wake_lock'
	give_back
	guest_result $GO_S
	stays_awake "one of two locks held"
	guest_send 'echo other >/sys/power/wake_unlock'
	asleep "the second of two locks given back" || return
	by launcher ctl wake
	up "the second of two locks given back"
	stays_awake "the wake handler's lock"

	clocks_read
	lo_start=$boot
	give_back 'echo "brief 2000000000" >/sys/power/wake_lock'
	asleep "a lock of 2 s" || return
	lo_ms=$((($(event_ns SUSPENDED) - lo_start) / 1000000))
	# The guest's clock need not run as ours does.
	expect "a lock of 2 s: was held" "asleep after $lo_ms ms" \
		[ $lo_ms -ge 1800 ]
	by launcher ctl wake
	up "a lock of 2 s"
}

sources() {
	once "power button" PNP0C0D:00 powerbtn ctl powerbtn
	once "sleep button" PNP0C0D:00 sleepbtn ctl sleepbtn
	once "launcher" PNP0C0D:00 launcher ctl wake
	once "packet" "$net_dev" net0 ping_guest
	once "serial byte" ttyS0 serial serial_byte
	prepare="echo +$((3 + 3 * SLOW)) >/sys/class/rtc/rtc0/wakealarm"
	once "alarm" "$rtc_dev" rtc :
	prepare=:
}

# A request to a guest that sleeps, and to one that is about to. Its button is
# an event to the latter, which may wake it: then it sleeps after that, and the
# request waits for it. Such a first sleep is none to the coordinator, so this is
# not in the sums.
requests() {
	give_back
	asleep "request" || return
	vm_suspend
	expect_eq "request: asleep already: $ctl_out" $? 0
	# Nobody asked it to sleep, so there is nothing to take back.
	ctl resume
	expect_eq "resume: leaves it asleep" "$(vm_state)" SUSPENDED
	by launcher ctl wake
	up "request" || return
	give_back
	vm_suspend
	expect_eq "request to one about to sleep: $ctl_out" $? 0
	asleep "request to one about to sleep" || return
	by launcher ctl wake
	up "request to one about to sleep"
}

# Nobody does anything for 10 s.
zero_cost() {
	give_back
	asleep "at rest" || return
	vm_threads >/tmp/before
	sleep 10
	vm_threads >/tmp/after
	threads_diff /tmp/before /tmp/after >/tmp/diff
	expect "at rest: threads of the VM" "$(wc -l </tmp/after)" \
		[ "$(wc -l </tmp/after)" -ge 3 ]
	expect_eq "at rest: 10 s asleep, no thread runs" \
		"$(awk '$4 { print $3, $4 "ns" }' /tmp/diff)" ""
	expect_eq "at rest: 10 s asleep, no thread wakes up" \
		"$(awk '$5 { print $3, $5 }' /tmp/diff)" ""
	by launcher ctl wake
	up "at rest"
}

# cycles N: sleeps by itself after each wake-up, but the last.
cycles() {
	cy_n=0
	give_back "echo $(($1 - 1)) >/run/sleeps"
	while [ $cy_n -lt "$1" ]; do
		cy_n=$((cy_n + 1))
		asleep "cycle $cy_n" || return
		case $((cy_n % 5)) in
		0) by powerbtn ctl powerbtn ;;
		1) by net0 ping_guest ;;
		2) by launcher ctl wake ;;
		3) by serial serial_byte ;;
		4) by sleepbtn ctl sleepbtn ;;
		esac
		up "cycle $cy_n" || return
	done
	expect_eq "$1 cycles: the guest answers" "$(guest echo here)" here
}

# What the guest's kernel and the coordinator have counted.
sums() {
	expect_eq "$1: sleeps and failures, says the kernel" "$(guest \
		'cd /sys/power/suspend_stats && echo $(cat success fail)')" \
		"$sleeps 0"
	expect_eq "$1: sleeps, says the coordinator" \
		"$(events_count SUSPENDED)" $sleeps
	expect_eq "$1: each ended by its event" "$(echo $(sed -n \
		's/.*"event": *"RESUMING".*"source": *"\{0,1\}\([^"}]*\).*/\1/p' \
		"$vm_dir/events"))" "${woken_by# }"
	expect_eq "$1: none was shorter than $SHORT_MS ms" "$(sed -n \
		's/.*"event": *"\([A-Z]*\)".*"time_ns": *\([0-9]*\).*/\1 \2/p' \
		"$vm_dir/events" | awk -v short=$SHORT_MS '
		$1 == "SUSPENDED" { t = $2 }
		$1 == "RESUMING" && $2 - t < short * 1000000')" ""
	expect_no_warning "$1"
}

# ---------------------------------------------------------------- 1 and 2 CPUs

if start mem; then
	driver
	locks
	sources
	zero_cost
	sums "1 CPU"
	requests
else
	not_ok "boot for autosleep" "see above"
fi

if start freeze --cpus 2; then
	stays_awake "2 CPUs: a lock held"
	cycles 20
	zero_cost
	sums "2 CPUs"
else
	not_ok "boot with 2 CPUs for autosleep" "see above"
fi

tests_end autosleep
