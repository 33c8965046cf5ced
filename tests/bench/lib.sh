# SPDX-License-Identifier: BSD-3-Clause
#
# The VMs of `make bench`: torpor and QEMU with the same payload, the same
# devices and the same memory (a shared memfd). For sh, in a network namespace
# of its own; $work is a directory for scratch.

B=${B:-build}
payloads=$B/guest/payloads
tap=torpor-bench

# QEMU's transports on microvm, for payloads.
QEMU_WORDS="virtio-base=$((0xfeb00000)) virtio-stride=512 virtio-slots=24"

net_up() {
	# Not by /sys: that of another namespace may be mounted there.
	! ip link show $tap >/dev/null 2>&1 || return 0
	ip tuntap add $tap mode tap
	echo 1 >/proc/sys/net/ipv6/conf/$tap/disable_ipv6
	ip link set $tap up
}

# torpor_command DEVICES SERIAL: in $command, up to the payload. DEVICES: 0 or
# 4.
torpor_command() {
	command="$B/torpor run --mem 256 --serial $2"
	if [ "$1" = 4 ]; then
		command="$command --block $work/disk.img --net tap-name=$tap \
			--console type=file,path=$work/console"
	else
		command="$command --no-rng"
	fi
}

# qemu_command DEVICES: in $command, up to -kernel.
qemu_command() {
	command="qemu-system-x86_64 -M microvm,accel=kvm,memory-backend=ram \
		-m 256 -smp 1 -nodefaults -no-user-config -display none \
		-no-reboot -serial stdio \
		-object memory-backend-memfd,id=ram,share=on,size=256M \
		-global virtio-mmio.force-legacy=false"
	[ "$1" != 4 ] || command="$command \
		-drive file=$work/disk.img,format=raw,if=none,id=d,aio=io_uring \
		-device virtio-blk-device,drive=d \
		-netdev tap,id=n,ifname=$tap,script=no,downscript=no,vhost=off \
		-device virtio-net-device,netdev=n \
		-chardev file,id=c,path=$work/console \
		-device virtio-serial-device -device virtconsole,chardev=c \
		-device virtio-rng-device"
}
