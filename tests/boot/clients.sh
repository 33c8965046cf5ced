#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Eight clients give random commands for 20 s (LONG=1: 60, or the first argument)
# to a VM whose guest also sleeps by itself in a loop. Each command is
# answered, and afterwards all is as it was. The second argument is the seed.
. tests/boot/lib.sh

seconds=${1:-$([ "${LONG-0}" = 1 ] && echo 60 || echo 20)}
seed=${2:-$(date +%s)}
clients=$B/tests/boot/clients
net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# The guest sleeps whenever it can, with an alarm some seconds ahead; in the end
# nobody in it wants to any more. The power button has to mean nothing to it.
sleep_loop='echo "#!/bin/sh" >/etc/acpi/power;
(end=$(($(cut -d. -f1 /proc/uptime) + SECONDS)); alarm=/sys/class/rtc/rtc0/wakealarm;
	while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do
		echo 0 >$alarm; echo +3 >$alarm; go-to-sleep; usleep 200000;
	done >/tmp/own 2>&1;
	echo "#!/bin/sh" >/etc/acpi/sleep; sleep 1;
	while ps | grep -q "[/]go-to-sleep"; do usleep 100000; done;
	echo; echo TORPOR-LOOP-END) >/dev/console 2>&1 &'

# what_vmm_has: threads and fds of the VMM, and the VM's processes.
what_vmm_has() {
	sort /proc/"$vm_pid"/task/*/comm
	echo "$(ls /proc/"$vm_pid"/fd | wc -l) fds"
	echo "$(vm_processes | wc -w) processes"
}

# While the guest may still sleep: nobody else would wake it.
keep_awake() {
	while :; do
		ctl resume --full --timeout 5000
		ctl resume --timeout 5000
		ctl wake
		sleep 1
	done
}

# stress: runs the clients; $requests is what torpor must have counted then.
stress() {
	if ! "$clients" run "$vm_sock" "$seconds" "$seed" $((2 * SLOW)) \
		>/tmp/clients-run; then
		not_ok "$seconds s: every command is answered" "see above"
		tail -n 5 "$vm_dir/err" | sed 's/^/  ! /'
		return 1
	fi
	sed 's/^/  /;$d' /tmp/clients-run
	requests=$(tail -n 1 /tmp/clients-run)
	ok "$seconds s: every command is answered"
}

# loop_ends: the guest has come to the end of its loop.
loop_ends() {
	keep_awake &
	le_pid=$!
	vm_console_wait "TORPOR-LOOP-END*" $((60 * SLOW))
	le_status=$?
	kill $le_pid
	wait $le_pid 2>/dev/null
	return $le_status
}

echo "  seed $seed"
if ! vm_start "torpor.wake=net,ttyS0" --cpus 2 --block $disk --net $NET; then
	not_ok "boot for the clients" "see above"
	tests_end clients
fi
what_vmm_has >/tmp/before
guest "$(echo "$sleep_loop" | sed "s/SECONDS/$seconds/")"
if stress; then
	expect "the guest gets to the end of its sleeps" "see above" loop_ends
	expect "state, statistics and trace are consistent" "see above" \
		"$clients" check "$vm_sock" "$requests"
	expect_eq "the guest answers" "$(guest echo here)" here
	expect "so does its network" "no reply" \
		ping -c 1 -W $((5 * SLOW)) $GUEST_IP
	ctl stats
	echo "$ctl_out" | sed 's/^/  | /' | head -n 20
	expect "the guest has slept" "never" \
		[ "$(ctl state --json; echo "$ctl_out" |
			sed -n 's/.*"cycles": *\([0-9]*\).*/\1/p')" -gt 0 ]
	what_vmm_has >/tmp/after
	expect_eq "threads, fds and processes are as before" \
		"$(diff /tmp/before /tmp/after)" ""
	expect_no_warning "clients"
fi
tests_end clients
