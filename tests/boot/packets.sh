#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Which packets wake a sleeping guest with Debian's stock kernel, whose driver
# says what it receives when the interface is opened and not again.
. tests/boot/lib.sh

FOREIGN_IP=10.9.8.77
FOREIGN_MAC=02:00:0a:09:08:77

net_up
arp -i tap0 -s $FOREIGN_IP $FOREIGN_MAC

RECEIVED=/sys/class/net/eth0/statistics/rx_packets

WAKE_S=$((1 * SLOW))

# Packets for others, and for groups the guest is not in: the host's own IPv6.
noise() {
	ping -c 5 -W 1 $FOREIGN_IP >/dev/null
	echo 0 >/proc/sys/net/ipv6/conf/tap0/disable_ipv6
	sleep 3
	echo 1 >/proc/sys/net/ipv6/conf/tap0/disable_ipv6
}

tx() {
	cat /sys/class/net/tap0/statistics/tx_"$1"
}

asleep() {
	expect "$1: falls asleep" "$(vm_suspend; echo "$ctl_out")" \
		vm_wait SUSPENDED 1
}

still_asleep() {
	sleep 1
	expect_eq "$1" "$(vm_state)" SUSPENDED
}

woken_by_net() {
	expect "$1: wakes" "not RUNNING after $WAKE_S s" vm_awake $WAKE_S
	expect_eq "$1: knows why" "$(event_source)" net0
}

# Nobody in the VM sees what the kernel drops.
noise_costs_nothing() {
	asleep "noise" || return
	dropped=$(tx dropped)
	vm_threads >/tmp/before
	noise
	vm_threads >/tmp/after
	threads_diff /tmp/before /tmp/after >/tmp/diff
	expect "noise: is dropped by the kernel" "$(tx dropped) in all" \
		[ $(($(tx dropped) - dropped)) -ge 6 ]
	expect_eq "noise: no thread runs or wakes up" \
		"$(awk '$4 || $5 { print $3, $4 "ns", $5 }' /tmp/diff)" ""
	still_asleep "noise: does not wake"
	expect "a packet after it: is answered" "no reply" \
		ping -c 1 -W 10 $GUEST_IP
	woken_by_net "a packet after it"
}

if vm_start "torpor.wake=net" --net $NET && vm_events_start; then
	noise_costs_nothing
	# Again: what the guest had said has outlived the reset.
	noise_costs_nothing
	if asleep "broadcast"; then
		expect "broadcast: is answered" "no reply" \
			arping -c 3 -w 10 -I tap0 $GUEST_IP
		woken_by_net "broadcast"
	fi
	guest 'ip link set eth0 promisc on'
	if asleep "promiscuous"; then
		ping -c 1 -W 1 $FOREIGN_IP >/dev/null
		woken_by_net "promiscuous"
	fi
	guest 'ip link set eth0 promisc off'
	noise_costs_nothing
	expect_eq "afterwards awake it gets all" \
		"$(ping -c 3 -W 5 $GUEST_IP | grep -c 'bytes from')" 3
else
	not_ok "boot for packets" "see above"
fi
vm_kill

if vm_start "torpor.wake=net" --net $NET,wake=unicast && vm_events_start; then
	received=$(guest cat $RECEIVED)
	if asleep "wake=unicast"; then
		arping -c 3 -w 3 -I tap0 $GUEST_IP >/dev/null
		still_asleep "wake=unicast: a broadcast does not wake"
		expect "wake=unicast: a ping is answered" "no reply" \
			ping -c 1 -W 10 $GUEST_IP
		woken_by_net "wake=unicast"
		received=$(($(guest cat $RECEIVED) - received))
		expect "wake=unicast: the broadcasts were kept for it" \
			"$received packets" [ $received -ge 4 ]
	fi
else
	not_ok "boot for wake=unicast" "see above"
fi
if vm_start "torpor.wake=net" --net $NET --wake net0=off; then
	if asleep "net0=off"; then
		ping -c 2 -W 2 $GUEST_IP >/dev/null
		still_asleep "net0=off: does not wake"
		ctl wake
		expect "net0=off: the launcher wakes it" "$(vm_state)" \
			vm_awake 10
	fi
else
	not_ok "boot for net0=off" "see above"
fi

tests_end packets
