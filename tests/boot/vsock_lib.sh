# SPDX-License-Identifier: BSD-3-Clause
#
# Checked connections over vsock between this side and a guest (vsock_peer.c), of
# tests that have a guest with a socket device. After lib.sh. The caller sets
# $vsock_dir, where the files of this side are, and $vsock_path, the device's
# socket; what vsock_peer is called in the guest if not that.

vsock_peer=$B/tests/boot/vsock_peer
vsock_guest_peer=vsock_peer

# guest_peer ARG...: in the guest, in the background; output in its /tmp/peer.
guest_peer() {
	guest "rm -f /tmp/peer /tmp/peer-code; ($vsock_guest_peer guest $*
		>/tmp/peer 2>&1; echo \$? >/tmp/peer-code) >/dev/null 2>&1 &"
}

# guest_listens: the guest's end does.
guest_listens() {
	guest 'n=0; while ! grep -q listening /tmp/peer && [ $n -lt 200 ]; do
		n=$((n + 1)); usleep 20000; done; grep -q listening /tmp/peer'
}

# guest_done: the status of the guest's end, once it has one.
guest_done() {
	guest 'n=0; while [ ! -s /tmp/peer-code ] && [ $n -lt 500 ]; do
		n=$((n + 1)); usleep 20000; done; cat /tmp/peer-code' |
		tr -d '\r'
}

# host_peer ARG...: on this side, not for ever.
host_peer() {
	timeout $((30 * SLOW)) "$vsock_peer" host "$@" >$vsock_dir/host 2>&1
}

# both_right NAME: four connections, whose ends both have seen all bytes.
both_right() {
	expect_eq "$1: the host has all bytes" \
		"$(grep -c 'sent .* received ' $vsock_dir/host)" 4
	expect_eq "$1: and so has the guest" "$(guest_done)" 0 ||
		guest 'cat /tmp/peer'
}

# from_host NAME OPTION...: four connections that the host opens.
from_host() {
	fh_name=$1
	shift
	guest_peer listen 5000 4 "$@"
	guest_listens
	host_peer connect $vsock_path 5000 4 "$@"
	expect_eq "$fh_name: status" $? 0 || cat $vsock_dir/host
	both_right "$fh_name"
}

# from_guest NAME OPTION...: four that the guest opens.
from_guest() {
	fg_name=$1
	shift
	: >$vsock_dir/host
	host_peer listen $vsock_path 6000 4 "$@" &
	fg_pid=$!
	while ! grep -q . $vsock_dir/host; do
		usleep 10000
	done
	# Whoever torpor is may connect to it.
	chmod 666 ${vsock_path}_6000
	guest_peer connect 6000 4 "$@"
	wait $fg_pid
	expect_eq "$fg_name: status" $? 0 || cat $vsock_dir/host
	both_right "$fg_name"
}

# streams_begin RATE: four streams, both ways, which do not end by themselves.
streams_begin() {
	guest_peer listen 5000 4 "rate=$1"
	guest_listens
	"$vsock_peer" host connect $vsock_path 5000 4 "rate=$1" \
		>$vsock_dir/host 2>&1 &
	streams_pid=$!
}

# sums FIELD FILE: connections, and what they have sent (3) or received (5).
sums() {
	awk -v f="$1" '/^[0-9]*: sent/ { n++; s += $f } END { print n, s }' "$2"
}

# streams_end NAME: they have been open all the time, and nothing was lost.
streams_end() {
	expect "$1: the connections are open" "$(cat $vsock_dir/host)" \
		kill -TERM $streams_pid
	wait $streams_pid
	expect_eq "$1: the host has all bytes" $? 0 || cat $vsock_dir/host
	expect_eq "$1: and so has the guest" "$(guest_done)" 0
	guest 'cat /tmp/peer' | tr -d '\r' >$vsock_dir/guest
	sed 's/^/  host: /' $vsock_dir/host
	expect_eq "$1: what the host has sent has come" \
		"$(sums 5 $vsock_dir/guest)" "$(sums 3 $vsock_dir/host)"
	expect_eq "$1: what the guest has sent has come" \
		"$(sums 5 $vsock_dir/host)" "$(sums 3 $vsock_dir/guest)"
	expect_eq "$1: all four" "$(sums 3 $vsock_dir/host | cut -d' ' -f1)" 4
}
