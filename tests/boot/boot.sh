#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Boots Debian's stock kernel and checks its devices and how it ends.
. tests/boot/lib.sh

net_up
disk=/tmp/disk.img

# boot_and_check NAME CPUS ONLINE KERNEL_ARGS
boot_and_check() {
	rm -f $disk
	truncate -s 64M $disk
	if ! vm_start "$4" --cpus "$2" --block $disk --net $NET \
		--console type=file,path=/tmp/hvc0; then
		not_ok "$1 reaches userspace" "see above"
		return
	fi
	ok "$1 reaches userspace"
	expect_eq "$1 has its CPUs" "$(guest nproc)" "$3"
	check_disk "$1"
	check_net "$1"
	check_console "$1"
	check_rng "$1"
	expect_no_warning "$1"
	guest_send "poweroff -f"
	vm_exit 20
	expect_eq "$1 powers off" "$code" 0
}

# The guest's sum of what it wrote, of what it reads back past its cache, and
# ours of the image.
check_disk() {
	if ! guest 'dd if=/dev/urandom of=/tmp/r bs=64k count=32 2>/dev/null &&
		dd if=/tmp/r of=/dev/vda bs=64k conv=fsync 2>/dev/null &&
		echo 3 >/proc/sys/vm/drop_caches' >/dev/null; then
		not_ok "$1 writes its disk" "see above"
		return
	fi
	cd_wrote=$(guest 'md5sum </tmp/r')
	cd_read=$(guest 'dd if=/dev/vda bs=64k count=32 2>/dev/null | md5sum')
	cd_image=$(dd if=$disk bs=64k count=32 2>/dev/null | md5sum)
	expect_eq "$1 reads what it wrote" "$cd_read" "$cd_wrote"
	expect_eq "$1 has it in the image" "$cd_image" "$cd_wrote"
	expect "$1 has a file system" "mke2fs, mount or sum failed" \
		guest 'mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt &&
		cp /tmp/r /mnt/r && umount /mnt && mount -t ext4 /dev/vda /mnt &&
		cmp /tmp/r /mnt/r && umount /mnt'
}

check_net() {
	expect "$1 answers a ping" "no reply" \
		ping -c 2 -W 5 $GUEST_IP
	expect "$1 pings the host" "no reply" \
		guest "ping -c 2 -W 5 $HOST_IP"
	# Enough to go round the rings several times. nc ends when its peer
	# has no more to send, so the receiver's input must not end at all.
	[ -e /tmp/never ] || mkfifo /tmp/never
	dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
	nc -l -p 7000 </tmp/data >/dev/null &
	cn_pid=$!
	listening 7000
	expect_eq "$1 receives 4 MiB by TCP" \
		"$(guest "mkfifo /tmp/never;
			nc $HOST_IP 7000 <>/tmp/never | md5sum")" \
		"$(md5sum </tmp/data)"
	kill $cn_pid 2>/dev/null
	guest 'dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null'
	nc -l -p 7001 <>/tmp/never >/tmp/data &
	cn_pid=$!
	listening 7001
	cn_sum=$(guest "nc $HOST_IP 7001 </tmp/data; md5sum </tmp/data")
	kill $cn_pid 2>/dev/null
	wait $cn_pid 2>/dev/null
	expect_eq "$1 sends 4 MiB by TCP" "$(md5sum </tmp/data)" "$cn_sum"
}

check_console() {
	guest 'echo over the console >/dev/hvc0; usleep 100000'
	expect "$1 writes its console" "nothing there" \
		grep -q 'over the console' /tmp/hvc0
}

check_rng() {
	expect "$1 has random numbers" "no 16 bytes from /dev/hwrng" guest \
		'[ $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c) = 16 ]'
}

# ends_with NAME CODE COMMAND [PARAMS]: the guest does it, torpor exits with the
# code.
ends_with() {
	if ! vm_start "panic=0 ${4-}"; then
		not_ok "$1" "the guest did not boot"
		return
	fi
	guest_send "$3"
	vm_exit 20
	expect_eq "$1" "$code" "$2"
}

boot_and_check "1 CPU" 1 1 ""
boot_and_check "2 CPUs" 2 2 ""
boot_and_check "4 CPUs" 4 4 ""
boot_and_check "maxcpus=1" 2 1 "maxcpus=1"

ends_with "reboot exits 32" 32 "reboot -f"
ends_with "reboot by the firmware exits 32" 32 "reboot -f" "reboot=b"
ends_with "panic exits 34" 34 "echo c >/proc/sysrq-trigger"

is_halted() {
	ctl state
	echo "$ctl_out" | grep -q "RUNNING, halted"
}

# Nothing on the command line, and no root: a panic before any module.
timeout $((60 * SLOW)) "$torpor" run --serial stdout "$VM_KERNEL" </dev/null \
	>/tmp/early 2>&1
expect_eq "an early panic exits 32" $? 32
expect "an early panic is seen" "$(tail -n 5 /tmp/early)" \
	grep -q 'Kernel panic' /tmp/early

if vm_start ""; then
	guest_send "halt -f"
	n=0
	until is_halted || [ $n = 120 ]; do
		n=$((n + 1))
		sleep 1
	done
	expect "a guest that has halted is said to have" "$ctl_out" is_halted
	ctl stop
	vm_exit 10
	expect_eq "... and stops" "$code" 0
fi
if vm_start ""; then
	ctl powerbtn
	vm_exit 20
	expect_eq "the power button ends an awake guest" "$code" 0
fi
if vm_start ""; then
	ctl stop
	vm_exit 10
	expect_eq "stop exits 0" "$code" 0
fi
if vm_start ""; then
	kill -TERM "$vm_pid"
	vm_exit 10
	expect_eq "SIGTERM is a clean stop" "$code" 0
fi

tests_end boot
