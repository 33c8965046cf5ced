#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What a sleep costs the host: asleep for 5 s (LONG=1: 60, or the first argument)
# in each kind of sleep, with 1 and 2 CPUs and with a CPU offline, no thread of
# any process of the VM runs or wakes up. One CPU in a shallow sleep only if LONG.
. tests/boot/lib.sh

rest_s=5
[ "${LONG-0}" != 1 ] || rest_s=60
rest_s=${1:-$rest_s}
net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# boot NAME KERNEL_ARGS [OPTION]...: with one device of each kind.
boot() {
	bo_name=$1 bo_args=$2
	shift 2
	if ! vm_start "torpor.wake=net,ttyS0 $bo_args" --block $disk \
		--net $NET --console type=file,path=/tmp/hvc0 "$@"; then
		not_ok "$bo_name: boot" "see above"
		return 1
	fi
	vm_events_start
}

# rest NAME KIND
rest() {
	at_rest "$1" "$rest_s" "$2"
}

# standby NAME: the guest goes to S1 by itself.
standby() {
	# Not as a command: its end would be answered after the sleep.
	guest '(sleep 1; echo standby >/sys/power/state;
		echo "TORPOR: awake again") >/dev/console &'
	expect "$1: falls asleep" "$(vm_state)" vm_wait SUSPENDED $((10 * SLOW))
}

# rest_s1 NAME
rest_s1() {
	at_rest "$1" "$rest_s" s1 standby
}

cpu1() {
	guest "echo $1 >/sys/devices/system/cpu/cpu1/online"
}

if boot "1 CPU" ""; then
	rest "1 CPU, s2idle" s2idle
	rest_s1 "1 CPU, S1"
	expect_no_warning "1 CPU"
fi
if boot "2 CPUs" "" --cpus 2; then
	rest "2 CPUs, s2idle" s2idle
	rest_s1 "2 CPUs, S1"
	cpu1 0
	rest "a CPU offline, s2idle" s2idle
	rest_s1 "a CPU offline, S1"
	cpu1 1
	expect_eq "both CPUs are back" "$(guest nproc)" 2
	expect_no_warning "2 CPUs"
fi
if boot "shallow" "processor.max_cstate=1" --cpus 2; then
	rest "2 CPUs, shallow" shallow
	cpu1 0
	rest "a CPU offline, shallow" shallow
	expect_no_warning "shallow"
fi
if [ "${LONG-0}" = 1 ] &&
	boot "shallow, 1 CPU" "processor.max_cstate=1"; then
	rest "1 CPU, shallow" shallow
fi
tests_end rest
