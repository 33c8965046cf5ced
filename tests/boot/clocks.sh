#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest's clocks over 8 sleeps (LONG=1: 50, or the first argument) on
# kvm-clock, on the TSC, and without kvm-clock; then, on an emulated host, which
# is ours, with the host's clock set while the guest sleeps.
. tests/boot/lib.sh

cycles=8
[ "${LONG-0}" != 1 ] || cycles=50
cycles=${1:-$cycles}
# What reading the clocks of both sides may be off by, besides the time it took.
READ_MS=20

# sleep_once SECONDS: 1 if the guest does not sleep or not wake. When its
# userspace said that it was awake to $woke.
sleep_once() {
	vm_suspend || return 1
	sleep "$1"
	ctl wake
	vm_awake 10 && clocks_read && woke=$boot
}

# bad NAME HOW VALUE_MS LIMIT_MS: remembers what was outside.
bad() {
	[ "$3" -gt "$4" ] || return 0
	wrong="$wrong $1: $2 $3 ms, more than $4;"
}

# One sleep of those of clocks_over(): adds what is not right to $wrong.
#
# MONOTONIC stands still at least from SUSPENDED to RESUMING, and at most from
# before the request until the guest answers again.
clocks_cycle() {
	cy_mono=$g_mono cy_gboot=$g_boot cy_hboot=$h_boot cy_err=$cp_best
	sleep_once 1 && clocks_pair || return 1
	cy_err=$(((cy_err + cp_best) / 2000000 + READ_MS))
	cy_passed=$(((h_boot - cy_hboot) / 1000000))
	cy_still=$((cy_passed - (g_mono - cy_mono) / 1000000))
	cy_slept=$((($(event_ns RESUMING) - $(event_ns SUSPENDED)) / 1000000))
	cy_most=$(((woke - $(event_ns SUSPENDING)) / 1000000))
	bad "sleep $1" "MONOTONIC counts of the sleep" \
		$((cy_slept - cy_still)) $cy_err
	bad "sleep $1" "MONOTONIC leaves out more than the sleep" \
		$((cy_still - cy_most)) $cy_err
	cy_off=$(((g_boot - cy_gboot) / 1000000 - cy_passed))
	bad "sleep $1" "BOOTTIME is off by" ${cy_off#-} $((boot_ms + cy_err))
	cy_off=$(((g_real - h_real) / 1000000))
	bad "sleep $1" "REALTIME is off by" ${cy_off#-} $((real_ms + cy_err))
	echo "  sleep $1: $cy_slept of $cy_passed ms; MONOTONIC left out" \
		"$cy_still; REALTIME off by $cy_off" >>"$TORPOR_OUT/clocks.log"
}

source_file=/sys/devices/system/clocksource/clocksource0/current_clocksource

# clocks_over NAME CLOCKSOURCE CYCLES: not the first sleep of a guest, in which
# Linux also corrects what its clocks lost while booting.
clocks_over() {
	expect_eq "$1: the clocksource" "$(guest "cat $source_file")" "$2"
	echo "$1" >>"$TORPOR_OUT/clocks.log"
	vm_suspend && ctl wake && vm_awake 10 && clocks_pair
	wrong= co_n=0
	while [ $co_n -lt "$3" ]; do
		co_n=$((co_n + 1))
		clocks_cycle $co_n && continue
		not_ok "$1: $3 sleeps" "lost in the ${co_n}th: $ctl_out"
		return
	done
	expect_eq "$1: clocks over $3 sleeps" "$wrong" ""
}

# no_clock_warning NAME PATTERN
no_clock_warning() {
	expect_no_warning "$1"
	expect_eq "$1: no complaint of a clock" "$(guest "dmesg |
		grep -iE 'clocksource.*(watchdog|unstable|skew)$2'")" ""
}

# host_date SECONDS: sets the clock of this machine; nobody else has it.
host_date() {
	date -u -s "@$1" >/dev/null
}

# The guest sleeps while the host's clock jumps an hour ahead.
step_asleep() {
	clocks_pair
	sa_mono=$g_mono sa_gboot=$g_boot sa_hboot=$h_boot
	asleep "clock step" || return
	host_date $(($(date +%s) + 3600))
	ctl wake
	awake "clock step" launcher
	clocks_pair
	expect_within "clock step: REALTIME is that of the host" \
		"$g_real" "$h_real" $((100 + cp_ms))
	sa_passed=$((h_boot - sa_hboot))
	expect "clock step: MONOTONIC knows nothing of it" \
		"moved $((g_mono - sa_mono)) ns of $sa_passed" \
		[ $((g_mono - sa_mono)) -le $((sa_passed + (100 + cp_ms) * 1000000)) ]
	# A kernel that wakes asks the clock how long it slept.
	expect_within "clock step: BOOTTIME takes it for sleep" \
		$((g_boot - sa_gboot)) $((sa_passed + 3600 * 1000000000)) \
		$((BOOT_MS + cp_ms))
}

# An alarm that is more than a day ahead needs its date.
alarm_30h() {
	set_alarm='cd /sys/class/rtc/rtc0; echo 0 >wakealarm;
		echo +108000 >wakealarm; cat wakealarm'
	aa_due=$(guest "$set_alarm")
	asleep "alarm in 30 hours" || return
	# The same time of day, a day too early; then just before it.
	host_date $((aa_due - 86400 - 1))
	sleep 3
	expect "alarm in 30 hours: not a day early" "$(vm_state)" \
		[ "$(vm_state)" = SUSPENDED ]
	host_date $((aa_due - 3))
	expect "alarm in 30 hours: not before it is due" "$(vm_state)" \
		[ "$(vm_state)" = SUSPENDED ]
	awake "alarm in 30 hours" rtc $((3 + 2 * SLOW))
	clocks_pair
	expect "alarm in 30 hours: it was due" "$h_real, not $aa_due" \
		[ $((h_real / 1000000000)) -ge "$aa_due" ]
	expect_within "alarm in 30 hours: REALTIME" "$g_real" "$h_real" $((100 + cp_ms))
}

# boot NAME KERNEL_ARGS [OPTION]...
boot() {
	bo_name=$1
	shift
	if ! vm_start "$@"; then
		not_ok "$bo_name: boot" "see above"
		return 1
	fi
	vm_events_start
}

boot_ms=$BOOT_MS real_ms=100
if boot kvm-clock "" --cpus 2; then
	clocks_over kvm-clock kvm-clock "$cycles"
	if [ "${TORPOR_NESTED-0}" = 1 ]; then
		step_asleep
		alarm_30h
	else
		skip "clock step" "the clock of this machine is not ours to set"
		skip "alarm in 30 hours" "the same"
	fi
	no_clock_warning kvm-clock ""
fi
detected='s/.*tsc: Detected \([0-9]*\)\.\([0-9]*\) MHz.*/\1\2/p'
if boot TSC "clocksource=tsc tsc=reliable" --cpus 2 --cpu invtsc=on; then
	clocks_over TSC tsc "$cycles"
	no_clock_warning TSC "|Marking TSC unstable"
	khz=$(guest "dmesg | sed -n '$detected'")
fi
# Its time comes from the CMOS clock, in whole seconds; and the frequency of the
# TSC is known to kvm-clock only, there being no other timer to measure it by.
boot_ms=$((BOOT_MS + 1000)) real_ms=1000
if boot no-kvmclock "no-kvmclock tsc=reliable tsc_early_khz=$khz" \
	--cpu invtsc=on; then
	clocks_over no-kvmclock tsc $(((cycles + 1) / 2))
	no_clock_warning no-kvmclock ""
fi
tests_end clocks
