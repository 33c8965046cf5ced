#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The host itself is suspended while a guest sleeps, and while one runs. Only on
# an emulated host: another one is not ours to suspend. That one sleeps in S3: from
# s2idle its clock does not wake it, as QEMU tells of an alarm by ACPI in S3 only.
. tests/boot/lib.sh

if [ "${TORPOR_NESTED-0}" != 1 ]; then
	skip "the host sleeps" "this machine is not ours to suspend"
	tests_end host-sleep
fi

rtc=/sys/class/rtc/rtc0
# QEMU's reset of S3 forgets where the ICH9's ACPI registers are, which firmware
# would set again: PMBASE and ACPI_CNTL of the LPC bridge.
lpc=/sys/bus/pci/devices/0000:00:1f.0/config

# host_sleep SECONDS: by its own clocks, how long it slept is in $host_ms.
host_sleep() {
	echo 0 >$rtc/wakealarm
	echo "+$1" >$rtc/wakealarm
	dd if=$lpc of=/tmp/lpc bs=1 skip=64 count=8 2>/dev/null
	clocks_read
	hs_mono=$mono hs_boot=$boot
	hs_rc=0
	echo mem >/sys/power/state || hs_rc=1
	dd if=/tmp/lpc of=$lpc bs=1 seek=64 count=8 conv=notrunc 2>/dev/null
	clocks_read
	host_ms=$((((boot - hs_boot) - (mono - hs_mono)) / 1000000))
	[ $hs_rc = 0 ]
}

# slept NAME: the host has.
slept() {
	expect "$1: the host slept" "$host_ms ms" [ $host_ms -ge 1000 ]
}

# What an asleep guest must not lose or gain: state, sleeps and events.
vm_facts() {
	ctl state --json
	echo "$ctl_out" | tr -d ' \n' | grep -o '"state":"[A-Z]*"\|"cycles":[0-9]*\|"count":[0-9]*\|"wakes":[0-9]*'
	wc -l <"$vm_dir/events"
}

echo deep >/sys/power/mem_sleep
net_up
if ! vm_start "" --net $NET --cpus 2; then
	not_ok "boot" "see above"
	tests_end host-sleep
fi
vm_events_start
# The first sleep also sets the guest's clocks right.
asleep "first" && ctl wake && awake "first" launcher

clocks_pair
before_boot=$g_boot before_host=$h_boot before_mono=$g_mono
if asleep "asleep meanwhile"; then
	vm_facts >/tmp/before
	host_sleep 4
	slept "asleep meanwhile"
	vm_facts >/tmp/after
	expect_eq "asleep meanwhile: the guest has not noticed" \
		"$(diff /tmp/before /tmp/after)" ""
	ping -c 1 -W $((10 * SLOW)) $GUEST_IP >/dev/null
	awake "asleep meanwhile" net0
	clocks_pair
	expect_within "asleep meanwhile: BOOTTIME counts it" \
		$((g_boot - before_boot)) $((h_boot - before_host)) \
		$((BOOT_MS + cp_ms))
	expect "asleep meanwhile: MONOTONIC does not" \
		"moved by $(((g_mono - before_mono) / 1000000)) ms" \
		[ $((g_mono - before_mono)) -lt \
		$((h_boot - before_host - host_ms * 1000000)) ]
	expect_within "asleep meanwhile: REALTIME is right" \
		"$g_real" "$h_real" $((100 + cp_ms))
fi

alarms() {
	ctl state --json
	source_get rtc wakes
}

wakes=$(alarms)
if asleep_for_alarm "alarm meanwhile"; then
	clocks_read
	before=$((real / 1000000000))
	host_sleep $((alarm_due - before + 3))
	slept "alarm meanwhile"
	expect "alarm meanwhile: it was due when the host slept" \
		"due $alarm_due, the host awake until $before and from $real" \
		[ "$alarm_due" -lt $((real / 1000000000)) ]
	awake "alarm meanwhile" rtc
	expect_eq "alarm meanwhile: it wakes once" "$(alarms)" $((wakes + 1))
fi

cycles() {
	vm_facts | grep cycles
}
before=$(cycles)
host_sleep 4
slept "running meanwhile"
expect_eq "running meanwhile: it answers" "$(guest echo here)" here
expect_eq "running meanwhile: it runs on" "$(vm_state)" RUNNING
expect_eq "running meanwhile: it has not slept" "$(cycles)" "$before"
clocks_pair
expect_within "running meanwhile: REALTIME is right" "$g_real" "$h_real" $((100 + cp_ms))
expect "running meanwhile: answers a ping" "no reply" \
	ping -c 1 -W $((10 * SLOW)) $GUEST_IP
asleep "after it all" && ctl powerbtn && awake "after it all" powerbtn
expect_no_warning "the host slept"
tests_end host-sleep
