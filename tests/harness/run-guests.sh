#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs a script that starts Linux guests: on this machine, in a network
# namespace of its own, if /dev/kvm here can run Linux; else on an emulated host
# (nested.sh). Found out by trying, as a KVM may be there and yet not deliver
# interrupts. Options, environment and exit status are those of nested.sh;
# TORPOR_NESTED is 0 or 1 for the script.
#
#	run-guests.sh [-t SECONDS] [-o DIR] [-a FILE]... SCRIPT [ARG]...
#
# NESTED=0 or NESTED=1 in the environment skips the trial.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
B=${B:-build}

kvm_runs_linux() {
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
	[ -r /dev/net/tun ] && [ -w /dev/net/tun ] || return 1
	timeout -k 2 20 "$B/torpor" run --mem 64 --serial stdout \
		"$B/guest/payloads/probe.elf" </dev/null 2>/dev/null |
		grep -q 'INTERRUPTS OK'
}

limit=600 outdir=
while getopts t:o:a: opt; do
	case $opt in
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
