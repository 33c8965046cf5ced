#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# torpor's device processes behind another front end: Debian's QEMU boots a
# stock guest whose disk, network card, entropy device, shared directory and
# socket device are torpor-device. Verified I/O, also across QEMU's stop and cont,
# which stop and start every ring, and across a reset of the machine. Needs no KVM.
. tests/boot/lib.sh
. tests/boot/vsock_lib.sh

# QEMU emulates the processor.
SLOW=4
CONSOLE_ARGS="$CONSOLE_ARGS torpor.run=commands"
work=$(mktemp -d /tmp/interop.XXXXXX)
vsock_dir=$work vsock_path=$work/vsock vsock_guest_peer=/mnt/vsock_peer

cleanup() {
	vm_kill
	servers_kill
	rm -rf "$work"
}
trap cleanup EXIT
trap 'cleanup; exit 143' TERM
trap 'cleanup; exit 130' INT

# The guest of the other tests has no driver for PCI. With the tools of /bin,
# busybox has less of cpio.
make_initrd() {
	mkdir "$work/root"
	/bin/sh -c '. guest/initramfs.sh
		dir=$1 root=$2 pack=$3
		shift 3
		initramfs_modules "$dir" "$root" "$@"
		initramfs_pack "$root" "$pack"' sh \
		"$(dirname "$(readlink -f "$VM_GUEST/vmlinuz")")/modules" \
		"$work/root" "$work/pci.cpio" virtio_pci \
		$(grep -v '^#' guest/modules)
	cat "$GUEST_INITRD" "$work/pci.cpio" >"$work/initrd"
}

# device ROLE [WORD]...: listens on $work/ROLE.sock.
device() {
	de_role=$1
	shift
	server "$work/$de_role.sock" "$work/$de_role.err" "$B/torpor-device" \
		"$de_role" --socket "$work/$de_role.sock" "$@"
}

make_devices() {
	truncate -s 64M "$work/disk"
	mkdir -p "$work/share/cases"
	cp "$B/tests/boot/posix_cases" "$vsock_peer" "$work/share"
	echo "from the host" >"$work/share/hosts"
	device blk path="$work/disk"
	device net tap=tap0
	device rng
	device fs path="$work/share" tag=data suid
	device vsock cid=5 path="$vsock_path"
}

# One chardev and one device each; the network card is a netdev besides. It has
# no MSI-X: without KVM, QEMU 7.2 then uses a table that it has not allocated.
start_qemu() {
	vm_begin
	mkfifo "$work/mon.in" "$work/mon.out"
	set --
	for sq_role in blk net rng fs vsock; do
		set -- "$@" -chardev \
			"socket,id=$sq_role,path=$work/$sq_role.sock"
	done
	vm_exec qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 \
		-smp 1 -m 256 -nodefaults -display none -serial stdio \
		-object memory-backend-memfd,id=ram,size=256M,share=on \
		-machine memory-backend=ram \
		-chardev "pipe,id=mon,path=$work/mon" -mon chardev=mon "$@" \
		-device vhost-user-blk-pci,chardev=blk,num-queues=1 \
		-netdev vhost-user,id=card,chardev=net \
		-device "virtio-net-pci,netdev=card,mac=$GUEST_MAC,vectors=0" \
		-device vhost-user-rng-pci,chardev=rng \
		-device vhost-user-fs-pci,chardev=fs,tag=data \
		-device vhost-user-vsock-pci,chardev=vsock \
		-kernel "$VM_GUEST/vmlinuz" -initrd "$work/initrd" \
		-append "$CONSOLE_ARGS"
	exec 7>"$work/mon.in"
	cat "$work/mon.out" >"$work/mon.log" &
	mon_pid=$!
}

# monitor COMMAND PATTERN: until QEMU has said it once more than before.
monitor() {
	mo_before=$(grep -c "$2" "$work/mon.log")
	echo "$1" >&7
	now_s
	end=$((now + 20))
	while [ "$(grep -c "$2" "$work/mon.log")" = "$mo_before" ]; do
		now_s
		if [ "$now" -ge "$end" ] || ! vm_running; then
			echo "  QEMU says no '$2'" >&2
			return 1
		fi
		usleep 20000
	done
}

qemu_stop() {
	echo stop >&7
	monitor "info status" "VM status: paused"
}

qemu_cont() {
	echo cont >&7
	monitor "info status" "VM status: running"
}

boots() {
	if ! vm_console_wait "TORPOR-COMMANDS*" $((20 * SLOW)); then
		not_ok "$1" "see above"
		cat "$vm_dir"/code; tail -n 5 "$work"/*.err
		return 1
	fi
	ok "$1"
}

# guest_eq NAME COMMANDS WANTED
guest_eq() {
	expect_eq "$1" "$(guest "$2" | tr -d '\r')" "$3"
}

# Eight writes of a pattern with a flush each, each read back past the cache;
# "verified" is the last word. In a subshell, as it may go on in the background.
BLK_LOAD='(cd /tmp; dd if=/dev/urandom of=pattern bs=1M count=4;
	want=$(md5sum <pattern); i=0;
	while [ $i -lt 8 ]; do
		dd if=pattern of=/dev/vda bs=256k seek=$((i * 16)) conv=fsync;
		dd if=/dev/vda bs=256k skip=$((i * 16)) count=16 iflag=direct |
			md5sum >>sums;
		i=$((i + 1));
	done;
	[ "$(sort -u sums)" = "$want" ] && echo verified >said || mv sums said;
	rm -f sums; mv said result) 2>/dev/null'
# until_there FILE TEXT: the guest waits for it, not for ever.
until_there() {
	echo "i=0; while ! grep -qs '$2' $1 && [ \$i -lt 600 ]; do
		usleep 50000; i=\$((i + 1)); done; cat $1"
}

disk() {
	guest_eq "disk: size, from its config space" \
		'cat /sys/block/vda/size' 131072
	guest_eq "disk: written, flushed, read back past the cache" \
		"$BLK_LOAD; cat /tmp/result; rm /tmp/result" verified
	expect_eq "disk: the image has it" \
		"$(dd if="$work/disk" bs=256k skip=112 count=16 2>/dev/null |
			md5sum)" \
		"$(guest 'md5sum </tmp/pattern' | tr -d '\r')"
}

net() {
	expect "net: ping from the host" "no reply" \
		ping -c 3 -W 10 $GUEST_IP
	guest_eq "net: ping from the guest" \
		"ping -c 3 -W 10 $HOST_IP >/dev/null && echo replies" replies
	head -c 4194304 /dev/urandom >"$work/sent"
	# Not both sides by nc alone: it ends with what it receives.
	nc -l -p 5001 <"$work/sent" >/dev/null &
	ne_pid=$!
	listening 5001
	guest_eq "net: 4 MiB to the guest" \
		"nc $HOST_IP 5001 -e /bin/sh -c 'cat >/tmp/got'; md5sum </tmp/got" \
		"$(md5sum <"$work/sent")"
	wait $ne_pid
	nc -l -p 5002 -e /bin/sh -c "cat >$work/back" &
	ne_pid=$!
	listening 5002
	guest "nc $HOST_IP 5002 </tmp/got" >/dev/null
	wait $ne_pid
	expect_eq "net: 4 MiB from the guest" "$(md5sum <"$work/back")" \
		"$(md5sum <"$work/sent")"
}

rng() {
	guest_eq "rng: is the guest's source" \
		'cat /sys/class/misc/hw_random/rng_current' virtio_rng.0
	rn_a=$(guest 'dd if=/dev/hwrng bs=4k count=4 iflag=fullblock 2>/dev/null |
		tee /tmp/r | md5sum; wc -c </tmp/r')
	rn_b=$(guest 'dd if=/dev/hwrng bs=4k count=4 iflag=fullblock 2>/dev/null |
		tee /tmp/r | md5sum; wc -c </tmp/r')
	expect_eq "rng: gives what it is asked for" \
		"$(echo "$rn_a" | tail -n 1 | tr -d '\r')" 16384
	expect "rng: never the same" "$rn_a" [ "$rn_a" != "$rn_b" ]
}

# Root of a user namespace of one id cannot give files away.
all_ids() {
	[ "$(awk '{ n += $3 } END { print n }' /proc/self/uid_map)" -gt 65535 ]
}

share() {
	guest_eq "fs: mounts" 'mount -t virtiofs data /mnt && cat /mnt/hosts' \
		"from the host"
	all_ids && sh_root=root || sh_root=
	vm_posix fs $sh_root
}

# QEMU keeps the event queue to itself.
sockets() {
	from_host "vsock: host connects" bytes=1000000
	from_guest "vsock: guest connects" bytes=1000000
	from_host "vsock: records" seqpacket bytes=1000000
}

# Under load, several times; a file stays open and locked, a packet waits.
stop_and_cont() {
	guest '(cd /mnt; exec 3>kept; flock -x 3; echo before >&3;
		while [ ! -e /tmp/go ]; do usleep 100000; done; echo after >&3;
		) >/dev/null 2>&1 &' >/dev/null
	guest "$BLK_LOAD & (while [ ! -e /tmp/go ]; do
		dd if=/dev/hwrng bs=64 count=4; done) >/dev/null 2>&1 &" >/dev/null
	streams_begin 20000
	sc_bad=
	for sc_i in 1 2 3 4 5; do
		usleep 300000
		qemu_stop || sc_bad="$sc_bad stop$sc_i"
		ping -c 1 -W 20 $GUEST_IP >"$work/ping" &
		sc_ping=$!
		usleep 200000
		qemu_cont || sc_bad="$sc_bad cont$sc_i"
		wait $sc_ping || sc_bad="$sc_bad packet$sc_i"
	done
	expect_eq "stop, cont: five times; a packet of meanwhile arrives" \
		"$sc_bad" ""
	streams_end "stop, cont: vsock"
	guest_eq "stop, cont: the disk lost nothing" \
		"$(until_there /tmp/result .)" verified
	guest_eq "stop, cont: an open file stays open" \
		">/tmp/go; $(until_there /mnt/kept after)" \
		"$(printf 'before\nafter')"
	guest_eq "stop, cont: rng answers" \
		'dd if=/dev/hwrng bs=64 count=1 iflag=fullblock 2>/dev/null | wc -c' \
		64
	guest_eq "stop, cont: net answers" \
		"ping -c 3 -W 10 $HOST_IP >/dev/null && echo replies" replies
	expect_no_warning "stop, cont"
}

machine_reset() {
	sum=$(guest 'md5sum </tmp/pattern' | tr -d '\r')
	echo system_reset >&7
	boots "reset: boots again" || return
	guest_eq "reset: the disk has kept it" \
		'dd if=/dev/vda bs=256k skip=16 count=16 2>/dev/null | md5sum' \
		"$sum"
	guest_eq "reset: the share mounts" \
		'mount -t virtiofs data /mnt && cat /mnt/kept' \
		"$(printf 'before\nafter')"
	from_host "reset: vsock" bytes=100000
	guest_eq "reset: net answers" \
		"ping -c 3 -W 10 $HOST_IP >/dev/null && echo replies" replies
	guest_eq "reset: rng answers" \
		'dd if=/dev/hwrng bs=64 count=1 iflag=fullblock 2>/dev/null | wc -c' \
		64
	expect_no_warning "reset"
}

# They outlive QEMU and have had nothing to complain of.
the_end() {
	guest_send "poweroff -f"
	vm_exit 30
	expect_eq "QEMU ends" "$code" 0
	exec 7>&-
	wait $mon_pid
	for te_pid in $servers; do
		kill -0 "$te_pid" 2>/dev/null || echo "$te_pid"
	done >"$work/gone"
	expect_eq "no device process has ended" "$(cat "$work/gone")" ""
	expect_eq "no device refused anything" \
		"$(grep -hv 'at most .* files at a time' "$work"/*.err)" ""
}

net_up
make_initrd
make_devices
start_qemu
if boots "a guest of QEMU boots with them"; then
	disk
	net
	rng
	share
	sockets
	stop_and_cont
	machine_reset
	the_end
fi
vm_kill
[ -z "$servers" ] || cleanup
tests_end interop
