#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest that is awake notices of torpor's idle state C2: nothing. It stops
# the tick of its idle CPUs, and none of them enters C2.
. tests/boot/lib.sh

IDLE_S=10

# vcpu_wakeups: how often the vCPU threads have woken up so far. A HLT of the
# guest is one.
vcpu_wakeups() {
	vm_threads | awk '$3 ~ /^vcpu/ { n += $5 } END { print n + 0 }'
}

# c2_uses: how often the guest's CPUs have entered C2 awake, all together.
c2_uses() {
	guest 'cat /sys/devices/system/cpu/cpu*/cpuidle/state2/usage' |
		awk '{ n += $1 } END { print n + 0 }'
}

# calm: what comes of the boot is over: RCU, deferred probes.
calm() {
	guest "sleep $((2 * SLOW))"
}

ticks_stop() {
	if ! vm_start "" --cpus 4; then
		not_ok "4 CPUs, idle" "the guest did not boot"
		return
	fi
	calm
	ts_before=$(vcpu_wakeups)
	sleep $IDLE_S
	ts_rate=$((($(vcpu_wakeups) - ts_before) / IDLE_S))
	echo "  4 idle CPUs halt $ts_rate times a second"
	# The tick alone would be 1000, 250 of each.
	expect "4 CPUs, idle: the tick is stopped" \
		"$ts_rate halts a second" [ $ts_rate -lt 50 ]
	expect_eq "4 CPUs, idle: C2 is not used" "$(c2_uses)" 0
	expect_eq "4 CPUs, idle: C2 is there" \
		"$(guest 'cat /sys/devices/system/cpu/cpu3/cpuidle/state2/name')" C2
	asleep "4 CPUs"
	ctl wake
	expect "4 CPUs: wakes" "see above" vm_awake 20
	expect_eq "4 CPUs: that was no use of C2 by an awake guest" \
		"$(c2_uses)" 0
	expect_clean_log "4 CPUs"
	vm_powers_off "4 CPUs"
}

# A CPU whose tick is stopped, with no timer to come, is where a governor may
# forget to look at the latency.
tickless() {
	if ! vm_start "nohz_full=1 isolcpus=nohz,domain,1 rcu_nocbs=1" \
		--cpus 2; then
		not_ok "nohz_full" "the guest did not boot"
		return
	fi
	expect_eq "nohz_full: the kernel can" \
		"$(guest 'cat /sys/devices/system/cpu/nohz_full')" 1
	calm
	for tl_try in 1 2 3; do
		guest 'taskset 2 sh -c "i=0; while [ \$i -lt 20000 ]; do
			i=\$((i + 1)); done"' >/dev/null
		# No command of ours: the console's interrupt would be a timer.
		sleep 3
		expect_eq "nohz_full, after work $tl_try: the guest is awake" \
			"$(vm_state)" RUNNING
	done
	expect_eq "nohz_full: C2 is not used" "$(c2_uses)" 0
	asleep "nohz_full"
	ctl wake
	expect "nohz_full: wakes" "see above" vm_awake 20
	expect_eq "nohz_full: that was no use of C2 by an awake guest" \
		"$(c2_uses)" 0
	vm_powers_off "nohz_full"
}

ticks_stop
tickless

tests_end awake
