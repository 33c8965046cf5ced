#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Debian's stock kernel sleeps (s2idle) and is woken by each source; what that
# costs the host, and what the guest's clocks say.
. tests/boot/lib.sh

net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# How long the guest may take from the event until it runs.
WAKE_S=$((1 * SLOW))

start() {
	vm_start "$@" --block $disk --net $NET || return 1
	vm_events_start
}

# asleep NAME: the guest is put to sleep, or the test failed.
asleep() {
	expect "$1: falls asleep" "$(vm_suspend; echo "$ctl_out")" \
		vm_wait SUSPENDED 1
}

# awake NAME SOURCE: the guest wakes by itself or by what was just done.
awake() {
	if ! vm_wait RUNNING "${3-$WAKE_S}"; then
		not_ok "$1: wakes" "not RUNNING after ${3-$WAKE_S} s"
		vm_resume_anyhow
		return 1
	fi
	ok "$1: wakes"
	expect "$1: its userspace goes on" "see above" \
		vm_console_wait "TORPOR: awake again*" $((10 * SLOW))
	expect_eq "$1: knows why" "$(event_source)" "$2"
	expect_eq "$1: answers" "$(guest echo here)" here
}

# For the tests that follow a failed one.
vm_resume_anyhow() {
	ctl resume
	vm_awake 10
}

# A sleep also corrects BOOTTIME by what the guest's clocks have drifted from the
# host's since the last one. On the emulated host, whose kernel measures the
# speed of an emulated TSC, that was up to 400 ms; REALTIME is right after it.
BOOT_MS=100
[ "${TORPOR_NESTED-0}" = 0 ] || BOOT_MS=1000

# clocks_sleep NAME COMMAND: around a sleep that COMMAND ends. Not the first of
# a guest, in which Linux also corrects what its clocks lost while booting.
clocks_sleep() {
	clocks_pair || {
		not_ok "$1: clocks" "the guest did not answer"
		return
	}
	cs_mono=$g_mono cs_gboot=$g_boot cs_hboot=$h_boot
	asleep "$1" || return
	"$2"
	vm_awake 10 || return
	clocks_pair || return
	# From the sleep's start to its end, as the coordinator saw it.
	cs_slept=$(($(event_ns RESUMING) - $(event_ns SUSPENDED)))
	cs_passed=$((h_boot - cs_hboot))
	expect_within "$1: MONOTONIC leaves the sleep out" \
		$((g_mono - cs_mono)) $((cs_passed - cs_slept)) 100
	expect_within "$1: BOOTTIME counts the sleep" \
		$((g_boot - cs_gboot)) $cs_passed $BOOT_MS
	expect_within "$1: REALTIME is right" "$g_real" "$h_real" 100
}

wake_after_3s() {
	sleep 3
	ctl wake
}

# Nobody does anything for 10 s.
zero_cost() {
	asleep "at rest" || return
	vm_threads >/tmp/before
	sleep 10
	vm_threads >/tmp/after
	threads_diff /tmp/before /tmp/after >/tmp/diff
	expect_eq "at rest: threads of the VM" "$(wc -l </tmp/after)" \
		"$(wc -l </tmp/before)"
	expect_eq "at rest: 10 s asleep, no thread runs" \
		"$(awk '$4 { print $3, $4 "ns" }' /tmp/diff)" ""
	expect_eq "at rest: 10 s asleep, no thread wakes up" \
		"$(awk '$5 { print $3, $5 }' /tmp/diff)" ""
	ctl wake
	awake "at rest" launcher
}

sources() {
	asleep "power button" && ctl powerbtn && awake "power button" powerbtn
	asleep "sleep button" && ctl sleepbtn && awake "sleep button" sleepbtn
	asleep "launcher" && ctl wake && awake "launcher" launcher
	asleep "resume" && ctl resume && awake "resume" launcher

	guest 'echo 0 >/sys/class/rtc/rtc0/wakealarm;
		echo +4 >/sys/class/rtc/rtc0/wakealarm'
	asleep "alarm" && awake "alarm" rtc 10

	if asleep "packet"; then
		expect "packet: is answered" "no reply" \
			ping -c 1 -W 10 $GUEST_IP
		awake "packet" net0
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
	zero_cost
	expect_no_warning "1 CPU"
else
	not_ok "boot for sleep" "see above"
fi

# ---------------------------------------------------------------- two CPUs

if start "" --cpus 2; then
	asleep "2 CPUs" && ctl wake && awake "2 CPUs" launcher
	clocks_sleep "2 CPUs" wake_after_3s
	zero_cost
	guest 'echo 0 >/sys/devices/system/cpu/cpu1/online'
	asleep "a CPU offline" && ctl wake && awake "a CPU offline" launcher
	asleep "a CPU offline" && {
		vm_threads >/tmp/before
		sleep 3
		vm_threads >/tmp/after
		expect_eq "a CPU offline: costs nothing either" \
			"$(threads_diff /tmp/before /tmp/after |
				awk '$4 || $5')" ""
		ctl wake
		awake "a CPU offline, 3 s" launcher
	}
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

if start "torpor.wakeup_count=1"; then
	asleep "wakeup_count" && ctl powerbtn && awake "wakeup_count" powerbtn
	asleep "wakeup_count again" && ctl wake &&
		awake "wakeup_count again" launcher
else
	not_ok "boot with wakeup_count" "see above"
fi

tests_end sleep
