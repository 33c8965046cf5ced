#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Debian's stock kernel sleeps (s2idle) and is woken by each source, and what
# its clocks say. rest.sh has what a sleep costs the host.
. tests/boot/lib.sh

net_up
disk=/tmp/disk.img
truncate -s 64M $disk

start() {
	vm_start "$@" --block $disk --net $NET || return 1
	vm_events_start
}

wake_after_3s() {
	sleep 3
	ctl wake
}

# How often the card has woken the guest, by the guest's own count.
net_wakeups='cat /sys/class/net/eth0/device/../wakeup/wakeup*/event_count'

sources() {
	asleep "power button" && ctl powerbtn && awake "power button" powerbtn
	asleep "sleep button" && ctl sleepbtn && awake "sleep button" sleepbtn
	asleep "launcher" && ctl wake && awake "launcher" launcher
	asleep "resume" && ctl resume && awake "resume" launcher

	asleep_for_alarm "alarm" && awake "alarm" rtc $((alarm_s + WAKE_S))

	# The device has a GPE of its own, so Linux knows which one it was.
	wakeups=$(guest "$net_wakeups")
	if asleep "packet"; then
		expect "packet: is answered" "no reply" \
			ping -c 1 -W 10 $GUEST_IP
		awake "packet" net0
		expect_eq "packet: the guest's statistics name the card" \
			"$(guest "$net_wakeups")" $((wakeups + 1))
	fi
	if asleep "serial byte"; then
		echo >&9
		awake "serial byte" serial
	fi

	# Asleep by itself, not on our request.
	guest_send go-to-sleep
	if expect "own sleep: seen" "not SUSPENDED" \
		vm_wait SUSPENDED $((5 * SLOW)); then
		ctl wake
		guest_result 10 >/dev/null
		expect_eq "own sleep: go-to-sleep says so" $? 0
	fi
}

# sum METRIC: over all its series in /tmp/stats.
sum() {
	awk -v name="$1{" 'index($0, name) == 1 { n += $NF } END { print n }' \
		/tmp/stats
}

# Every sleep so far was ended by a source, and the guest told that it was up.
counted() {
	ctl stats --prometheus
	echo "$ctl_out" >/tmp/stats
	ctl state
	co_sleeps=$(echo "$ctl_out" | awk '$1 == "sleeps" { print $2 }')
	expect "stats: there were sleeps" "none" [ "$co_sleeps" -gt 0 ]
	for co_metric in torpor_sleeps_total torpor_wakes_total \
		torpor_sleep_entry_seconds_count \
		torpor_wake_vcpus_seconds_count \
		torpor_wake_running_seconds_count; do
		expect_eq "stats: $co_metric" "$(sum $co_metric)" "$co_sleeps"
	done
	expect "stats: latency of the last wake-up" "$ctl_out" \
		[ "${ctl_out#*, ran after }" != "$ctl_out" ]
}

# With --wake net0=off: the guest has armed the card, but a packet waits until
# something else wakes it.
narrowed() {
	nr_woken=$(guest "$net_wakeups")
	asleep "net0=off" || return
	ping -c 1 -W $((20 * SLOW)) $GUEST_IP >/tmp/ping &
	nr_pid=$!
	expect "net0=off: a packet does not wake" "it did" \
		stays_asleep 2
	ctl powerbtn
	awake "net0=off" powerbtn
	wait $nr_pid
	expect_eq "net0=off: the packet is answered when it is awake" $? 0
	expect_eq "net0=off: the guest's statistics know nothing of it" \
		"$(guest "$net_wakeups")" "$nr_woken"
}

# stays_asleep SECONDS
stays_asleep() {
	! vm_wait RUNNING "$1" && [ "$(vm_state)" = SUSPENDED ]
}

# Data written before is there after, past the page cache.
disk_survives() {
	guest 'dd if=/dev/urandom of=/tmp/d bs=64k count=64 2>/dev/null;
		dd if=/tmp/d of=/dev/vda bs=64k 2>/dev/null'
	asleep "disk" && ctl wake && vm_awake $WAKE_S
	expect "disk: what was written before is right after" "they differ" \
		guest 'sync; echo 3 >/proc/sys/vm/drop_caches;
			dd if=/dev/vda bs=64k count=64 2>/dev/null |
			cmp - /tmp/d'
}

# ---------------------------------------------------------------- one CPU

if start "torpor.wake=net,ttyS0"; then
	sources
	counted
	disk_survives
	clocks_sleep "clocks" wake_after_3s
	expect_no_warning "1 CPU"
else
	not_ok "boot for sleep" "see above"
fi

# ---------------------------------------------------------------- two CPUs

if start "" --cpus 2; then
	asleep "2 CPUs" && ctl wake && awake "2 CPUs" launcher
	clocks_sleep "2 CPUs" wake_after_3s
	guest 'echo 0 >/sys/devices/system/cpu/cpu1/online'
	asleep "a CPU offline" && ctl wake && awake "a CPU offline" launcher
	guest 'echo 1 >/sys/devices/system/cpu/cpu1/online'
	asleep "a CPU online again" && ctl wake &&
		awake "a CPU online again" launcher
	expect_eq "a CPU online again: both are" "$(guest nproc)" 2
	expect_no_warning "2 CPUs"
else
	not_ok "boot with 2 CPUs for sleep" "see above"
fi

if start "maxcpus=1" --cpus 2; then
	asleep "maxcpus=1" && ctl wake && awake "maxcpus=1" launcher
else
	not_ok "boot with maxcpus=1 for sleep" "see above"
fi

# ---------------------------------------------------------------- shallow

if start "processor.max_cstate=1" --cpus 2; then
	asleep "max_cstate=1"
	case $(ctl state && echo "$ctl_out") in
	*SUSPENDED*shallow*) ok "max_cstate=1: said to be shallow" ;;
	*) not_ok "max_cstate=1: said to be shallow" "$ctl_out" ;;
	esac
	ctl wake
	awake "max_cstate=1" launcher
else
	not_ok "boot with max_cstate=1 for sleep" "see above"
fi

# ---------------------------------------------------------------- wakeup_count

if start "torpor.wakeup_count=1" --wake net0=off; then
	asleep "wakeup_count" && ctl powerbtn && awake "wakeup_count" powerbtn
	asleep "wakeup_count again" && ctl wake &&
		awake "wakeup_count again" launcher
	narrowed
else
	not_ok "boot with wakeup_count" "see above"
fi

tests_end sleep
