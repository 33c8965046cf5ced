#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Sleeps and wakes, many times, of a guest whose kernel can suspend virtio devices
# (guest/linux), with files open on a mounted disk and on a directory of the host,
# where one is locked too, four connections to the host that never end, and disk,
# directory, network, console, rng and connections busy:
#
#	suspend.sh fallback|v14|draft|6.12|virtiofsd [CYCLES]
#
# fallback: the devices do not offer VIRTIO_F_SUSPEND, and are reset by each sleep,
# once; no directory, since its driver would refuse to sleep, and no connections,
# since they would end. v14, draft: they do, bit 43 or 42, and are never reset.
# 6.12: as v14, with the small kernel of that version, which is taken along.
# virtiofsd: as v14, and the directory is Debian's virtiofsd's. As root.
. tests/boot/lib.sh
. tests/boot/vsock_lib.sh

vsock_dir=/tmp vsock_path=/tmp/vsock vsock_guest_peer=/share/vsock_peer
mode=$1 cycles=${2:-20}
case $mode in
fallback)
	GUEST_INITRD=$B/guest/initramfs-suspend.cpio bit=
	suspend=off net_suspend=off share=
	;;
v14) # the default
	GUEST_INITRD=$B/guest/initramfs-suspend.cpio bit=43
	suspend=v14 net_suspend=v14 share=/tmp/share
	;;
virtiofsd)
	GUEST_INITRD=$B/guest/initramfs-suspend.cpio bit=43
	suspend=v14 net_suspend=v14 share=/tmp/share
	virtiofsd=/usr/lib/qemu/virtiofsd
	[ -x $virtiofsd ] || virtiofsd=$PWD$virtiofsd # on the emulated host
	;;
6.12) # has what it needs built in
	VM_KERNEL=$B/guest/linux/kernel-6.12-v14/bzImage bit=43
	suspend=v14 net_suspend=v14 share=/tmp/share
	;;
draft)
	GUEST_INITRD=$B/guest/initramfs-suspend-draft.cpio bit=42
	suspend=draft net_suspend=force-draft share=/tmp/share
	;;
*)
	echo "usage: suspend.sh fallback|v14|draft|6.12|virtiofsd [CYCLES]" >&2
	exit 2
	;;
esac

if [ "$mode" = virtiofsd ] && { [ "$(id -u)" != 0 ] ||
	[ "$(awk '{ n += $3 } END { print n }' /proc/self/uid_map)" -le 65535 ]; }; then
	skip virtiofsd "it works as root only"
	tests_end suspend-virtiofsd
fi

net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# A writer and a reader that never close the file.
disk_load='mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt &&
	touch /mnt/log && ( exec 3>>/mnt/log 4</mnt/log; n=0;
	while [ ! -e /tmp/stop ]; do
		n=$((n + 1)); echo "line $n" >&3; sync;
		echo 3 >/proc/sys/vm/drop_caches; read -r line <&4;
		[ "$line" = "line $n" ] || echo "$n: $line" >>/tmp/disk-bad;
		echo $n >/tmp/disk-rounds;
	done; touch /tmp/disk-done) >/dev/null 2>&1 &'

# One TCP connection over all cycles; both ends sum what goes over it.
net_load='mkfifo /tmp/sum; md5sum </tmp/sum >/tmp/net-sum &
	(while [ ! -e /tmp/stop ]; do
		dd if=/dev/urandom bs=8k count=1 2>/dev/null; usleep 50000;
	done | tee /tmp/sum | nc HOST 7002; touch /tmp/net-done)
	>/dev/null 2>&1 &'

# hvc waits in a busy loop, with interrupts off, for the device to take a line.
console_load='(n=0; while [ ! -e /tmp/stop ]; do
		n=$((n + 1)); echo "line $n"; usleep 20000;
	done >/dev/hvc0; echo $n >/tmp/console-lines) 2>/dev/null &'

rng_load='(while [ ! -e /tmp/stop ]; do
		dd if=/dev/hwrng bs=64 count=1 2>/dev/null; usleep 50000;
	done | wc -c >/tmp/rng-bytes) &'

# A file that is open and locked all the time; the program is there too.
share_load='( cd /share; ./keep_open kept /tmp/stop /tmp/share-rounds;
	echo $? >/tmp/share-done ) >/tmp/share-said 2>&1 &'

# is_locked: does somebody have the lock of the guest's file?
is_locked() {
	$B/tests/boot/keep_open --locked $share/kept
}

# resets: a line "NAME RESETS" for each device.
resets() {
	ctl state --json || return
	echo "$ctl_out" | tr -d '\n' | sed 's/"name"/\n&/g' |
		sed -n 's/^"name": *"\([^"]*\)".*"resets": *\([0-9]*\).*/\1 \2/p'
}

# resets_since FILE: a line "NAME DIFFERENCE" for each device.
resets_since() {
	resets | awk 'NR == FNR { n[$1] = $2; next }
		{ print $1, $2 - n[$1] }' "$1" -
}

# features BIT: how many virtio devices of the guest have negotiated it.
features() {
	guest "cut -c$(($1 + 1)) /sys/bus/virtio/devices/*/features" |
		grep -c 1
}

# said TEXT: how many lines of the guest's log have it.
said() {
	guest "grep -E '^\[[ 0-9.]*\] [_a-z]+ virtio[0-9]+: ' /tmp/dmesg |
		grep -c '$1'"
}

# Processes that keep nothing but their rings are replaced when they die in a
# sleep, and the guest does not notice: what is busy goes on, as checked below.
deaths_in_sleep() {
	expect "$mode: asleep for the deaths" "$ctl_out" vm_suspend || return
	for di_device in blk0 net0 console0 rng; do
		kill -9 "$(process_of $di_device)"
	done
	for di_device in blk0 net0 console0 rng; do
		expect "$mode: $di_device: another process in its place" \
			"$(cat "$vm_dir/err")" vm_says \
			"$di_device: replaced by process"
	done
	expect_eq "$mode: it sleeps on" "$(vm_state)" SUSPENDED
	ping -c 1 -W 20 $GUEST_IP >/dev/null
	expect "$mode: a packet to the new process wakes it" "$(vm_state)" \
		vm_awake $((6 + SLOW))
}

# process_of DEVICE: its pid.
process_of() {
	ctl state --json && echo "$ctl_out" | tr -d ' \n' | sed 's/"name"/\n&/g' |
		sed -n "s/^\"name\":\"$1\".*\"pid\":\([0-9]*\).*/\1/p"
}

one_cycle() {
	if ! vm_suspend; then
		case $ctl_out in
		*aborted*) aborted=$((aborted + 1)) ;;
		*)
			echo "  cycle $1: $ctl_out"
			lost=$((lost + 1))
			vm_wait RUNNING 20
			guest 'dmesg | tail -n 40' | sed 's/^/  | /'
			;;
		esac
		return
	fi
	slept=$((slept + 1))
	[ -z "$share" ] || is_locked || unlocked=$((unlocked + 1))
	case $(($1 % 3)) in
	0) ctl powerbtn ;;
	1) ctl wake ;;
	2) ping -c 1 -W 10 $GUEST_IP >/dev/null ;;
	esac
	vm_awake $((6 + SLOW)) || {
		echo "  cycle $1: did not wake"
		lost=$((lost + 1))
		ctl resume
		vm_awake 10
	}
	[ "$(guest echo here)" = here ] || {
		not_ok "$mode: the guest answers" "not after cycle $1"
		tests_end "suspend-$mode"
	}
}

rm -f /tmp/hvc0
if [ -n "$share" ]; then
	mkdir -p $share
	cp $B/tests/boot/keep_open $B/tests/boot/vsock_peer $share
	if [ "$mode" = virtiofsd ]; then
		server /tmp/fs.sock /tmp/fs.err "$virtiofsd" \
			--socket-path=/tmp/fs.sock -o "source=$share,posix_lock"
		set -- --vhost-user \
			"fs,socket=/tmp/fs.sock,tag=data,suspend=$suspend"
	else
		set -- --shared-dir "$share:data:locks=true:suspend=$suspend"
	fi
	set -- "$@" --vsock "cid=3,socket=/tmp/vsock,suspend=$suspend"
else
	set --
fi
# The kernel's log has to hold a few dozen lines a cycle.
if ! vm_start "torpor.wake=net log_buf_len=8M" --cpus 2 \
	--block "$disk,suspend=$suspend" --rng "suspend=$suspend" \
	--console "type=file,path=/tmp/hvc0,suspend=$suspend" \
	--net "$NET,suspend=$net_suspend" "$@"; then
	not_ok "$mode: boot" "see above"
	tests_end "suspend-$mode"
fi
guest 'mount -t debugfs debugfs /sys/kernel/debug;
	echo "module virtio +p" >/sys/kernel/debug/dynamic_debug/control'
count=$(guest 'ls /sys/bus/virtio/devices | wc -l')
expect "$mode: the guest has virtio devices" "$count" [ "$count" -ge 3 ]
if [ -n "$bit" ]; then
	expect_eq "$mode: all have bit $bit" "$(features $bit)" "$count"
else
	expect_eq "$mode: none has bit 42 or 43" \
		"$(features 42) $(features 43)" "0 0"
fi

[ -e /tmp/never ] || mkfifo /tmp/never
nc -l -p 7002 <>/tmp/never >/tmp/received &
nc_pid=$!
listening 7002
guest "$disk_load"
guest "$(echo "$net_load" | sed "s/HOST/$HOST_IP/")"
guest "$rng_load"
guest "$console_load"
if [ -n "$share" ]; then
	expect "$mode: mounts the directory" "it does not" \
		guest 'mkdir /share && mount -t virtiofs data /share'
	guest "$share_load"
	streams_begin 20000
fi
resets >/tmp/resets

slept=0 unlocked=0 lost=0 aborted=0 i=0
while [ $i -lt "$cycles" ] && vm_running; do
	i=$((i + 1))
	[ $((i % 50)) != 0 ] || echo "  cycle $i"
	one_cycle $i
done
echo "  $i cycles: $slept asleep, $aborted woken by the load before that"
expect_eq "$mode: the VM lives" "$i" "$cycles"
expect_eq "$mode: no sleep and no wake-up lost" $lost 0
expect "$mode: most cycles asleep" "$slept of $cycles" \
	[ $slept -ge $((cycles * 3 / 4)) ]

if [ -n "$bit" ]; then
	deaths_in_sleep
	slept=$((slept + 1))
fi

resets_since /tmp/resets >/tmp/resets-diff
sed 's/^/  resets: /' /tmp/resets-diff
expect_eq "$mode: all devices are counted" "$(wc -l </tmp/resets-diff)" "$count"
# Once, as a slow guest may take a second press for a sleep of its own.
guest 'dmesg >/tmp/dmesg'
suspended=$(said ' suspended$') resumed=$(said ' resumed$')
echo "  dmesg: $suspended times suspended, $resumed times resumed"
if [ -n "$bit" ]; then
	expect_eq "$mode: no device was reset" \
		"$(awk '$2' /tmp/resets-diff)" ""
	expect "$mode: all devices were suspended in all sleeps" "$suspended" \
		[ "$suspended" -ge $((slept * count)) ]
else
	expect_eq "$mode: each device was reset by each sleep" \
		"$(awk -v n=$slept '$2 < n' /tmp/resets-diff)" ""
	expect_eq "$mode: no device was suspended" "$suspended" 0
fi
expect_eq "$mode: all that were suspended were resumed" "$resumed" "$suspended"
expect_eq "$mode: no device was given up" \
	"$(said 'has to be reset\|lost (\|still not suspended')" 0

[ -z "$share" ] || streams_end $mode
guest 'touch /tmp/stop; n=0; while [ $n -lt 100 ]; do n=$((n + 1));
	[ ! -e /tmp/share-rounds ] || [ -e /tmp/share-done ] &&
	[ -e /tmp/disk-done ] && [ -e /tmp/net-done ] && [ -s /tmp/rng-bytes ] &&
	[ -s /tmp/console-lines ] && break; usleep 100000; done'
rounds=$(guest 'cat /tmp/disk-rounds')
expect "$mode: the disk worked on" "$rounds rounds" \
	[ "${rounds:-0}" -gt "$((cycles / 4))" ]
expect_eq "$mode: the open file is right, all $rounds lines" \
	"$(guest 'cat /tmp/disk-bad 2>/dev/null')" ""
if [ -n "$share" ]; then
	expect_eq "$mode: the lock was held in every sleep" $unlocked 0
	expect_eq "$mode: the program that never closes its file says" \
		"$(guest 'cat /tmp/share-done /tmp/share-said')" 0
	rounds=$(guest 'cat /tmp/share-rounds')
	expect "$mode: it worked on" "$rounds rounds" \
		[ "${rounds:-0}" -gt "$((cycles / 4))" ]
	expect_eq "$mode: all of it is on the host" "$(wc -l <$share/kept)" \
		"$rounds"
	expect "$mode: and the lock is given back" "it is not" eval '! is_locked'
fi
bytes=$(guest 'cat /tmp/rng-bytes')
expect "$mode: rng worked on" "$bytes bytes" [ "${bytes:-0}" -gt 64 ]
expect_eq "$mode: the console has all lines" \
	"$(tr -d '\r' </tmp/hvc0 | awk '$0 != "line " NR { bad++ }
		END { print NR, "bad", bad + 0 }')" \
	"$(guest 'cat /tmp/console-lines') bad 0"
n=0
while kill -0 $nc_pid 2>/dev/null && [ $n -lt 50 ]; do
	n=$((n + 1))
	usleep 100000
done
expect "$mode: the connection carried data" "nothing came" [ -s /tmp/received ]
expect_eq "$mode: one connection, and its data is right" \
	"$(md5sum </tmp/received)" "$(guest 'cat /tmp/net-sum')"
expect_no_warning "$mode"
tests_end "suspend-$mode"
