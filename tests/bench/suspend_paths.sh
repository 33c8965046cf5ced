#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What it costs a guest to suspend its virtio devices (VIRTIO_F_SUSPEND) beside
# resetting them and setting them up again: the same guest, kernel and devices,
# once with suspend=v14 and once with suspend=off. Run by run-guests.sh with
# initramfs-suspend.cpio taken along.
#
#	suspend_paths.sh [CYCLES]
#
# Prints raw lines for suspend_paths.awk:
#
#	path MODE time DEVICE suspend|resume MICROSECONDS	of each cycle
#	path MODE count DEVICE KEY NUMBER			in all cycles
. tests/boot/lib.sh

cycles=${1:-20}
events=/sys/kernel/tracing
GUEST_INITRD=$B/guest/initramfs-suspend.cpio
net_up
truncate -s 64M /tmp/disk.img

# counters: a line "DEVICE KEY NUMBER" for each.
counters() {
	ctl state --json || return
	echo "$ctl_out" | tr -d ' \n' | sed 's/"name"/\n&/g; s/"vcpus"/\n&/' |
		sed -n 's/^"name":"\([^"]*\)".*"resets":\([0-9]*\).*"writes":\([0-9]*\),"messages":\([0-9]*\).*/\1 resets \2\n\1 writes \3\n\1 messages \4/p
		s/^"vcpus".*"exits":\([0-9]*\).*/vcpu exits \1/p'
}

# The kernel's own figures: what each callback of a device took.
device_times() {
	guest "cat $events/trace" | tr -d '\r' | awk -v mode="$1" '
		match($0, /[0-9]+\.[0-9]+: device_pm_callback_/) {
			split(substr($0, RSTART), word, /[: ,]+/)
			slot = word[5]
		}
		word[2] == "device_pm_callback_start" {
			begun[slot] = word[1]
			way[slot] = /\[resume\]/ ? "resume" : "suspend"
		}
		word[2] == "device_pm_callback_end" {
			printf "%s %s %d\n", slot, way[slot],
				(word[1] - begun[slot]) * 1000000 + 0.5
		}' | while read -r dt_slot dt_way dt_us; do
			echo "path $1 time $(name_of "${dt_slot#0}")" \
				"$dt_way $dt_us"
		done
}

# The order of the options is that of the devices.
name_of() {
	set -- "$1" blk0 net0 console0 rng
	shift $(($1 + 1))
	echo "$1"
}

measure() {
	rm -f /tmp/hvc0
	if ! vm_start "torpor.wake=net" --block "/tmp/disk.img,suspend=$1" \
		--net "$NET,suspend=$1" --rng "suspend=$1" \
		--console "type=file,path=/tmp/hvc0,suspend=$1"; then
		echo "suspend_paths: $1: no guest" >&2
		exit 1
	fi
	# Each of them has been used once.
	guest 'dd if=/dev/vda of=/dev/null bs=4k count=64 2>/dev/null;
		dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null;
		echo here >/dev/hvc0'
	vm_suspend && ctl wake && vm_awake 20
	guest "mount -t tracefs tracefs $events; cd $events/events/power;
		for e in start end; do cd device_pm_callback_\$e;
			echo 'device ~ \"LNRO*\" && driver == \"virtio-mmio\"' >filter;
			echo 1 >enable; cd ..; done; echo 1 >$events/tracing_on"
	counters >/tmp/before
	mp_cycle=0
	while [ $mp_cycle -lt "$cycles" ]; do
		mp_cycle=$((mp_cycle + 1))
		if ! vm_suspend || ! ctl wake || ! vm_awake 20; then
			echo "suspend_paths: $1: cycle $mp_cycle: $ctl_out" >&2
			exit 1
		fi
	done
	counters >/tmp/after
	awk -v mode="$1" 'NR == FNR { n[$1, $2] = $3; next }
		{ print "path", mode, "count", $1, $2, $3 - n[$1, $2] }' \
		/tmp/before /tmp/after
	device_times "$1"
	vm_kill
}

echo "path cycles $cycles"
measure off
measure v14
trap - EXIT
