#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Connections over vsock of a stock guest: from either side, streams and records,
# four at a time, all bytes checked (vsock_peer.c); what is refused; a sleeping
# guest is woken by a connection, which it then gets.
#
#	vsock.sh
#	vsock.sh suspend [CYCLES]
#
# suspend: of a guest that can suspend devices (guest/linux): four streams that
# stay open and busy over sleeps; idle ones, whose end wakes.
. tests/boot/lib.sh
. tests/boot/vsock_lib.sh

mode=${1-stock} cycles=${2:-5}

base=/tmp/vsock
sock=$base/s
vsock_dir=$base vsock_path=$sock

# The guest's programs and one more.
make_initrd() {
	rm -rf $base
	mkdir -p $base/root/bin
	cp "$vsock_peer" $base/root/bin/
	(cd $base/root && echo bin/vsock_peer | cpio -o -H newc 2>/dev/null) |
		cat "$GUEST_INITRD" - >$base/initramfs.cpio
	GUEST_INITRD=$base/initramfs.cpio
}

# What leads nowhere ends at once, with an error.
refused() {
	expect_eq "$1: nobody at the guest's port" \
		"$("$vsock_peer" host connect $sock 4999 1 bytes=1 2>&1)" \
		"vsock_peer: no OK: Connection refused"
	expect_eq "$1: nobody at the host's port" \
		"$(guest 'vsock_peer guest connect 4999 1 bytes=1 2>&1' |
			tr -d '\r')" \
		"vsock_peer: connect to the host: Connection reset by peer"
}

# woken NAME OPTION...: by a connection, which is then one like any other.
woken() {
	wo_name=$1
	shift
	guest_peer listen 5001 1 bytes=100000 "$@"
	guest_listens
	asleep "$wo_name" || return
	host_peer connect $sock 5001 1 bytes=100000 "$@" &
	wo_pid=$!
	awake "$wo_name" vsock
	wait $wo_pid
	expect_eq "$wo_name: the connection is delivered" $? 0 ||
		cat $base/host
	expect_eq "$wo_name: the guest has all bytes" "$(guest_done)" 0
}

# Linux' driver drops what is open when it sleeps; the host is told.
loses() {
	guest_peer listen 5002 1 hold
	guest_listens
	: >$base/host
	host_peer connect $sock 5002 1 hold &
	lo_pid=$!
	guest 'n=0; while [ "$(pidof vsock_peer | wc -w)" -lt 2 ] &&
		[ $n -lt 200 ]; do n=$((n + 1)); usleep 20000; done'
	asleep "$1" || return
	wait $lo_pid
	expect_eq "$1: the host sees its end" "$(cat $base/host)" \
		"0: sent 0 received 0"
	ctl wake
	awake "$1" launcher
	guest_done >/dev/null
}

start() {
	st_name=$1
	shift
	rm -f $sock*
	if ! vm_start "torpor.wake=LNRO0005:00" --no-rng \
		--vsock "cid=5,socket=$sock" "$@"; then
		not_ok "$st_name: boots" "see above"
		return 1
	fi
	vm_events_start
}

the_end() {
	expect_no_warning "$1"
	expect_eq "$1: no device was killed" \
		"$(grep -c 'killed:' "$vm_dir/err")" 0
	vm_powers_off "$1"
	expect_eq "$1: its sockets are gone" "$(echo $base/s $base/s.*)" \
		"$base/s $base/s.*"
}

# --------------------------------------------------- a guest that can suspend

# wakeup enabled|disabled: whether the device may wake the guest.
wakeup() {
	guest "echo $1 >/sys/devices/platform/LNRO0005:00/power/wakeup"
}

# vsock_count KEY: of the device in `state`.
vsock_count() {
	ctl state --json && echo "$ctl_out" | tr -d ' \n' | tr '{' '\n' |
		sed -n "s/^\"name\":\"vsock\",\"role\".*\"$1\":\([0-9]*\).*/\1/p"
}

# Four streams, sent both ways all the time, also while the guest sleeps.
busy() {
	wakeup disabled
	streams_begin 100000
	bu_resets=$(vsock_count resets) bu_suspends=$(vsock_count suspends)
	i=0
	while [ $i -lt "$cycles" ]; do
		i=$((i + 1))
		asleep "busy, sleep $i" || return
		# The host goes on until its sockets are full.
		sleep 1
		ctl wake
		vm_awake 10
	done
	expect_eq "busy: the device was not reset" "$(vsock_count resets)" \
		"$bu_resets"
	expect_eq "busy: it was suspended each time" \
		"$(vsock_count suspends)" $((bu_suspends + cycles))
	streams_end busy
}

# hold PORT NUMBER: so many open connections that say nothing; $hold_pid is the
# host's end.
hold() {
	guest_peer listen "$1" "$2" hold
	guest_listens
	"$vsock_peer" host connect $sock "$1" "$2" hold >$base/host 2>&1 &
	hold_pid=$!
	# The guest has a process for each and one more.
	guest "n=0; while [ \"\$(pidof vsock_peer | wc -w)\" -le $2 ] &&
		[ \$n -lt 200 ]; do n=\$((n + 1)); usleep 20000; done"
}

# Open connections that say nothing cost nothing; the end of one wakes.
idle() {
	wakeup enabled
	hold 5001 4
	at_rest "four idle connections" 5 s2idle
	asleep "idle" || return
	kill -TERM $hold_pid
	awake "idle, the end of a connection" vsock
	wait $hold_pid
	expect_eq "idle: the host's ends" $? 0 || cat $base/host
	expect_eq "idle: the guest's ends" "$(guest_done)" 0
}

# Its process dies while the guest sleeps: another takes its place, connections
# are lost, and both sides are told.
dies() {
	hold 5003 2
	asleep "dies" || return
	kill -9 "$(vsock_count pid)"
	wait $hold_pid
	expect_eq "dies: the host sees the ends" "$(grep -c sent $base/host)" 2
	expect "dies: another in its place" "$(cat "$vm_dir/err")" \
		vm_says "vsock: replaced by process"
	expect_eq "dies: it sleeps on" "$(vm_state)" SUSPENDED
	ctl wake
	awake "dies" launcher
	expect "dies: the guest sees the ends" "status '$(guest_done)'" \
		[ -n "$(guest_done)" ]
	woken "dies, and the new one"
}

if [ "$mode" = suspend ]; then
	GUEST_INITRD=$B/guest/initramfs-suspend.cpio
	make_initrd
	if start suspend; then
		busy
		idle
		dies
		the_end suspend
	fi
	tests_end vsock-suspend
fi

# -------------------------------------------------------------- a stock guest

make_initrd
if start stock; then
	from_host "host connects, stream" bytes=1000000
	from_guest "guest connects, stream" bytes=1000000
	from_host "host connects, seqpacket" seqpacket bytes=1000000
	from_guest "guest connects, seqpacket" seqpacket bytes=1000000
	refused stock
	woken "woken by a stream"
	woken "woken by seqpacket" seqpacket
	loses "an open connection"
	at_rest "at rest" 5 s2idle
	from_host "after sleeps" bytes=100000
	the_end stock
fi

# As an ordinary user.
if [ "$(id -u)" = 0 ] && grep -q '^user:' /etc/passwd; then
	cat >/tmp/as-user <<-END
		#!/bin/sh
		chown user /tmp/vm.* $base
		exec su user -c "exec $PWD/$torpor \$(for word in "\$@"; do
			printf "'%s' " "\$word"; done)"
	END
	chmod 755 /tmp/as-user
	chmod 777 /tmp
	torpor_root=$torpor
	torpor=/tmp/as-user
	if start "ordinary user"; then
		from_host "ordinary user: host connects" bytes=100000
		from_guest "ordinary user: guest connects" bytes=100000
		woken "ordinary user"
		the_end "ordinary user"
	fi
	torpor=$torpor_root
else
	skip "ordinary user" "this is one, or there is no other"
fi
tests_end vsock
