#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Back ends that are no processes of torpor's: Debian's virtiofsd, in its own
# jail, and torpor-device started by hand, for which torpor does what it does for
# any other. Verified I/O, sleep, back ends that die or are no good.
. tests/boot/lib.sh

work=$(mktemp -d /tmp/foreign.XXXXXX)
base=$work/share

cleanup() {
	vm_kill
	servers_kill
	[ -z "$work" ] || rm -rf "$work"
	work=
}
trap cleanup EXIT
trap 'cleanup; exit 143' TERM
trap 'cleanup; exit 130' INT

# backend NAME COMMAND...: listens on $work/NAME.sock.
backend() {
	be_name=$1
	shift
	server "$work/$be_name.sock" "$work/$be_name.err" "$@"
}

# ours NAME ROLE WORD...
ours() {
	ou_name=$1 ou_role=$2
	shift 2
	backend "$ou_name" "$B/torpor-device" "$ou_role" \
		--socket "$work/$ou_name.sock" "$@"
}

virtiofsd=/usr/lib/qemu/virtiofsd
[ -x $virtiofsd ] || virtiofsd=$PWD$virtiofsd # on the emulated host

share_of_virtiofsd() {
	rm -rf "$base"
	mkdir -p "$base/cases" "$base/many"
	cp "$B/tests/boot/posix_cases" "$base"
	echo "from the host" >"$base/hosts"
	echo outside >"$work/outside"
	backend fs "$virtiofsd" "--socket-path=$work/fs.sock" \
		-o "source=$base,cache=auto"
}

# Line breaks are spaces in the guest.
in_share() {
	guest "cd /mnt && { $1; }"
}

# share_eq NAME COMMANDS WANTED
share_eq() {
	expect_eq "$1" "$(in_share "$2" | tr -d '\r')" "$3"
}

# guest_eq NAME COMMANDS WANTED
guest_eq() {
	expect_eq "$1" "$(guest "$2" | tr -d '\r')" "$3"
}

powers_off() {
	expect_no_warning "$1"
	vm_powers_off "$1"
}

# ------------------------------------------------------------- virtiofsd

# The stock driver vetoes, and the VM lives on with all it had open.
stays_awake() {
	in_share '(exec 3>kept; echo before >&3; exec sleep 1000) & true'
	if vm_suspend; then
		not_ok "virtiofsd: refuses to sleep" "it sleeps"
		ctl resume
	else
		expect_eq "virtiofsd: refuses to sleep, and torpor names it" \
			"${ctl_out#*: refused by the guest: }" \
			"its driver of fs0 cannot suspend it (no VIRTIO_F_SUSPEND)"
	fi
	share_eq "virtiofsd: and has its files" 'cat hosts kept' \
		"$(printf 'from the host\nbefore')"
	guest 'kill $(pidof sleep)'
}

# A pause stops and starts its rings behind the guest's back.
pauses() {
	in_share '(i=0; while [ ! -e stop ]; do
		echo line $i || echo bad; i=$((i + 1)); done >lines; echo $i >n) & true'
	pa_bad=
	for pa_i in 1 2 3 4 5 6 7 8; do
		ctl suspend --full || pa_bad="$pa_bad pause$pa_i:$ctl_out"
		ctl resume || pa_bad="$pa_bad resume$pa_i"
		usleep 100000
	done
	expect_eq "virtiofsd: paused eight times while it writes" "$pa_bad" ""
	in_share 'touch stop; n=0; while [ ! -s n ] && [ $n -lt 200 ]; do
		n=$((n + 1)); usleep 50000; done'
	expect_eq "virtiofsd: no line is lost" "$(awk '$2 != NR - 1 { bad++ }
		END { print NR, bad + 0 }' "$base/lines")" "$(cat "$base/n") 0"
	expect_eq "virtiofsd: its device is live" "$(ctl state --json
		echo "$ctl_out" | tr -d ' \n' | tr '{' '\n' |
		sed -n 's/^"name":"fs0".*"live":\([a-z]*\).*/\1/p')" true
}

virtiofsd_serves() {
	share_of_virtiofsd
	if ! vm_start "" --vhost-user "fs,socket=$work/fs.sock,tag=data"; then
		not_ok "virtiofsd: boots" "see above"
		cat "$work/fs.err"
		return
	fi
	guest_eq "virtiofsd: mounts" \
		'mount -t virtiofs data /mnt && cat /mnt/hosts' "from the host"
	in_share 'echo "from the guest" >guests'
	expect_eq "virtiofsd: the host reads what the guest wrote" \
		"$(cat "$base/guests")" "from the guest"
	in_share 'dd if=/dev/urandom of=big bs=100k count=40 2>/dev/null; sync'
	expect_eq "virtiofsd: 4 MiB are the same to the host" \
		"$(md5sum <"$base/big")" "$(in_share \
		'echo 3 >/proc/sys/vm/drop_caches; md5sum <big' | tr -d '\r')"
	vm_posix virtiofsd root
	pauses
	stays_awake
	share_eq "virtiofsd: mounts again" 'cd /; umount /mnt &&
		mount -t virtiofs data /mnt && cat /mnt/hosts' "from the host"
	powers_off virtiofsd
	expect "virtiofsd: has ended with its VM" "it runs" gone "$server_pid"
}

# gone PID: ends within 5 s.
gone() {
	go_n=0
	while kill -0 "$1" 2>/dev/null; do
		go_n=$((go_n + 1))
		[ $go_n -lt 100 ] || return 1
		usleep 50000
	done
}

# Requests fail, the guest and the VM live, and the driver is told.
virtiofsd_dies() {
	share_of_virtiofsd
	if ! vm_start "" --vhost-user "fs,socket=$work/fs.sock,tag=data"; then
		not_ok "a dead back end: boots" "see above"
		return
	fi
	vm_events_start
	guest 'mount -t virtiofs data /mnt; cat /mnt/hosts' >/dev/null
	# virtiofsd has forked into its jail; all of it goes.
	for vd_pid in $(cat /proc/$server_pid/task/*/children 2>/dev/null) $server_pid; do
		kill -9 $vd_pid
	done
	n=0
	while ! grep -q DEVICE_DIED "$vm_dir/events" && [ $n -lt 200 ]; do
		n=$((n + 1))
		usleep 50000
	done
	expect "a dead back end: is told of" "$(cat "$vm_dir/events")" \
		grep -q '"DEVICE_DIED".*"fs0"' "$vm_dir/events"
	expect_eq "a dead back end: the VM lives" "$(guest echo here | tr -d '\r')" \
		here
	expect_eq "a dead back end: needs a reset, which it never gets" \
		"$(ctl state --json; echo "$ctl_out" | tr -d ' \n' | tr '{' '\n' |
		sed -n 's/^"name":"fs0".*"status":\([0-9]*\).*"dead":\([a-z]*\).*/\1 \2/p')" \
		"79 true"
	# Its driver waits for ever, so no orderly end.
	ctl stop
	vm_exit 30
	expect_eq "a dead back end: the VM stops" "$code" 0
}

# ------------------------------------------------------------- our own, by hand

everything() {
	truncate -s 32M "$work/disk"
	mkfifo "$work/typed" "$work/printed"
	exec 5<>"$work/typed" 6<>"$work/printed"
	mkdir "$work/ours"
	echo "by our own" >"$work/ours/hosts"
	ours blk blk path="$work/disk"
	ours net net tap=tap0
	ours rng rng
	ours console console in="$work/typed" out="$work/printed"
	ours ofs fs path="$work/ours" tag=ours
	set --
	for ev in blk rng console; do
		set -- "$@" --vhost-user "type=$ev,socket=$work/$ev.sock"
	done
	vm_start "" --no-rng --vhost-user "fs,socket=$work/ofs.sock" "$@" \
		--vhost-user "net,socket=$work/net.sock,mac=$GUEST_MAC"
}

LOAD='dd if=/dev/urandom of=/tmp/p bs=1M count=4 2>/dev/null;
	dd if=/tmp/p of=/dev/vda bs=256k conv=fsync 2>/dev/null;
	dd if=/dev/vda bs=256k count=16 iflag=direct 2>/dev/null | cmp - /tmp/p &&
	echo verified'

works() {
	guest_eq "$1: disk" "$LOAD" verified
	expect "$1: card, ping from the host" "no reply" \
		ping -c 2 -W 10 $GUEST_IP
	guest_eq "$1: card, ping from the guest" \
		"ping -c 2 -W 10 $HOST_IP >/dev/null && echo replies" replies
	guest_eq "$1: entropy" \
		'dd if=/dev/hwrng bs=64 count=2 iflag=fullblock 2>/dev/null | wc -c' \
		128
	guest "echo 'printed $1' >/dev/hvc0" >/dev/null
	# What was typed before may be echoed.
	wo_line= wo_n=0
	while [ "$wo_line" != "printed $1" ] && [ $wo_n -lt 5 ]; do
		read -r -t 10 wo_line <&6
		wo_line=${wo_line%$(printf '\r')}
		wo_n=$((wo_n + 1))
	done
	expect_eq "$1: console prints" "$wo_line" "printed $1"
	echo "typed $1" >&5
	guest_eq "$1: console reads" 'read -t 10 l </dev/hvc0; echo $l' "typed $1"
}

by_hand() {
	if ! everything; then
		not_ok "by hand: boots" "see above"
		tail -n 3 "$work"/*.err
		return
	fi
	guest_eq "by hand: size of the disk, from its process" \
		'cat /sys/block/vda/size' 65536
	works "by hand"
	guest_eq "by hand: share, with the tag of its process" \
		'mount -t virtiofs ours /mnt && cat /mnt/hosts; umount /mnt' \
		"by our own"
	# The share is in the way of a sleep even when it is not mounted.
	expect_eq "by hand: the share is named" "$(vm_suspend
		echo "${ctl_out#*: refused by the guest: }")" \
		"its driver of fs0 cannot suspend it (no VIRTIO_F_SUSPEND)"
	guest 'echo virtio0 >/sys/bus/virtio/drivers/virtiofs/unbind; true' \
		>/dev/null
	vm_events_start
	if asleep "by hand, without its driver"; then
		ctl wake
		awake "by hand" launcher
		works "by hand, after a sleep"
	fi
	ctl suspend --full && ctl resume
	expect_eq "by hand: paused and resumed" "$(vm_state)" RUNNING
	works "by hand, after a pause"
	powers_off "by hand"
	exec 5>&- 6>&-
	expect_eq "by hand: no back end had to complain" \
		"$(cat "$work"/blk.err "$work"/net.err "$work"/rng.err \
			"$work"/console.err)" ""
}

# ------------------------------------------------------------- no good

# refused NAME PATTERN OPTION...: torpor says why and ends.
refused() {
	re_name=$1 re_pattern=$2
	shift 2
	timeout 20 "$torpor" run --mem 64 --serial none "$@" \
		"$VM_GUEST/vmlinuz" >"$work/said" 2>&1
	re_code=$?
	expect "$re_name" "$re_code: $(cat "$work/said")" \
		grep -q "$re_pattern" "$work/said"
	expect "$re_name: ends" "$re_code" between 33 $re_code 35
}

no_good() {
	refused "nobody listens: torpor says it" "start the back end first" \
		--vhost-user "fs,socket=$work/nobody,tag=x"
	ours wrong rng
	refused "a wrong type: torpor says it" "no config space" \
		--vhost-user "blk,socket=$work/wrong.sock"
	share_of_virtiofsd
	refused "no tag: torpor says it" "no config space" \
		--vhost-user "fs,socket=$work/fs.sock"
	share_of_virtiofsd
	refused "too many queues: torpor says it" "too few queues" \
		--vhost-user "fs,socket=$work/fs.sock,tag=x,queues=4"
}

net_up
if [ "$(id -u)" = 0 ] &&
	[ "$(awk '{ n += $3 } END { print n }' /proc/self/uid_map)" -gt 65535 ]; then
	virtiofsd_serves
	virtiofsd_dies
else
	skip "virtiofsd" "it works as root only"
fi
by_hand
no_good
cleanup
tests_end foreign
