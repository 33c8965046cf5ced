#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs a script that starts Linux guests: on this machine, in a network
# namespace of its own, if /dev/kvm here can run Linux; else on an emulated host
# (nested.sh). Found out by trying, as a KVM may be there and yet not deliver
# interrupts. Options, environment and exit status are those of nested.sh;
# TORPOR_NESTED is 0 or 1 for the script.
#
#	run-guests.sh [-t SECONDS] [-c CPUS] [-o DIR] [-a FILE]... SCRIPT [ARG]...
#	run-guests.sh --decide		prints NESTED=0 or NESTED=1
#
# NESTED=0 or NESTED=1 in the environment skips the trial.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
B=${B:-build}

# Boots the guest itself: a KVM may deliver interrupts to a small payload and
# still not run Linux. The first line of the kernel comes at once or not at all.
kvm_runs_linux() {
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
	[ -r /dev/net/tun ] && [ -w /dev/net/tun ] || return 1
	log=$(mktemp)
	"$B/torpor" run --mem 256 --serial stdout \
		--initrd "$B/guest/initramfs.cpio" --params "console=ttyS0 \
		earlycon=uart8250,io,0x3f8 torpor.run=/bin/true" \
		"$B/guest/vmlinuz" </dev/null >"$log" 2>/dev/null &
	pid=$!
	trap 'kill $pid 2>/dev/null; rm -f "$log"' EXIT
	tries=0 verdict=1
	while [ $tries -lt 200 ] && kill -0 $pid 2>/dev/null; do
		if grep -q '^TORPOR-READY' "$log"; then
			verdict=0
			break
		fi
		[ $tries -lt 30 ] || grep -q 'Linux version' "$log" || break
		tries=$((tries + 1))
		sleep 0.1
	done
	kill $pid 2>/dev/null || :
	wait $pid 2>/dev/null || :
	rm -f "$log"
	trap - EXIT
	return $verdict
}

if [ "${1-}" = --decide ]; then
	if [ -n "${NESTED-}" ]; then
		echo "NESTED=$NESTED"
	elif kvm_runs_linux; then
		echo NESTED=0
	else
		echo NESTED=1
	fi
	exit
fi

limit=600 outdir=
while getopts t:c:o:a: opt; do
	case $opt in
	c) ;;
	t) limit=$OPTARG ;;
	o) outdir=$OPTARG ;;
	a) ;;
	*) exit 2 ;;
	esac
done

case ${NESTED-} in
0) ;;
1) exec tests/harness/nested.sh "$@" ;;
*) kvm_runs_linux || exec tests/harness/nested.sh "$@" ;;
esac
shift $((OPTIND - 1))

tests/harness/packages.sh guest
# An ordinary user gets a network namespace only along with a user namespace.
map=
[ "$(id -u)" = 0 ] || map=-r
TORPOR_NESTED=0
TORPOR_OUT=${outdir:-$(mktemp -d)}
[ -z "$outdir" ] || mkdir -p "$outdir"
export TORPOR_NESTED TORPOR_OUT

rc=0
setpriv --pdeathsig TERM timeout -k 5 "$limit" unshare $map -n --kill-child \
	busybox sh -c '
	ip link set lo up
	for if in all default; do
		echo 1 >/proc/sys/net/ipv6/conf/$if/disable_ipv6
	done
	exec busybox sh "$@"' sh "$@" </dev/null || rc=$?
[ -n "$outdir" ] || rm -rf "$TORPOR_OUT"
if [ $rc = 124 ] || [ $rc = 137 ]; then
	echo "run-guests.sh: no end after $limit s: stopped" >&2
	exit 124
fi
exit $rc
