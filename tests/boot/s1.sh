#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# ACPI S1 as ARCVM uses it: mem_sleep_default=shallow, and the agent writes `mem`.
# A request leads to S1; all sources wake from it. With 2 CPUs, as Linux takes all
# but the first offline for S1; LONG=1: with one as well.
. tests/boot/lib.sh

net_up

# asleep_s1 NAME
asleep_s1() {
	asleep "$1" && expect_eq "$1: the kind of sleep" "$(vm_kind)" s1
}

sources() {
	for button in powerbtn sleepbtn; do
		asleep_s1 "$1, $button" && ctl $button &&
			awake "$1, $button" $button
	done
	asleep_s1 "$1, launcher" && ctl wake && awake "$1, launcher" launcher

	asleep_for_alarm "$1, alarm" &&
		expect_eq "$1, alarm: the kind of sleep" "$(vm_kind)" s1 &&
		awake "$1, alarm" rtc $((alarm_s + WAKE_S))

	if asleep_s1 "$1, packet"; then
		expect "$1, packet: is answered" "no reply" \
			ping -c 1 -W $((10 * SLOW)) $GUEST_IP
		awake "$1, packet" net0
	fi
	if asleep_s1 "$1, serial byte"; then
		echo >&9
		awake "$1, serial byte" serial
	fi
	expect_eq "$1: its CPUs are back" "$(guest nproc)" "$2"
	expect_no_warning "$1"
}

[ "${LONG-0}" = 1 ] && numbers="1 2" || numbers=2
for cpus in $numbers; do
	if vm_start "mem_sleep_default=shallow torpor.sleep=mem \
		torpor.wake=net,ttyS0" --cpus $cpus --net $NET; then
		vm_events_start
		expect_eq "S1, CPUs $cpus: what mem means" \
			"$(guest cat /sys/power/mem_sleep)" "s2idle [shallow]"
		sources "S1, CPUs $cpus" $cpus
	else
		not_ok "S1, CPUs $cpus: boot" "see above"
	fi
done
tests_end s1
