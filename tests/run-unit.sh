#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs Criterion programs, as many at a time as there are CPUs, and sums up what
# they report.
#
#	run-unit.sh PROGRAM...
#
# NAME=san in the environment: what the last line begins with (unit). JOBS=1: one
# after the other.
#
# A program that passes gets one line; one that does not is shown in full. Exits
# 1 if any test failed or a program ended without a report. A sanitizer's
# report fails its program too, also a leak, which Criterion would let pass.
set -u

# name PROGRAM: its path below tests/, as in unit/virtio/rng.
name() {
	echo "${1##*/tests/}"
}

# one DIR PROGRAM: its output, its exit status and what sanitizers say, to DIR.
if [ "$1" = --one ]; then
	to=$2/$(name "$3")
	mkdir -p "$to/san"
	export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$to/san/report"
	export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$to/san/report"
	# A leak is told by its report, see criterions_own.
	export LSAN_OPTIONS="${LSAN_OPTIONS:+$LSAN_OPTIONS:}exitcode=0"
	"$3" >"$to/log" 2>&1
	echo $? >"$to/status"
	exit 0
fi

dir=$(mktemp -d)
running=
stop() {
	[ -z "$running" ] || { kill "$running" && wait "$running"; } 2>/dev/null
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf '%s\n' "$@" |
	xargs -n 1 -P "${JOBS:-$(nproc)}" "$0" --one "$dir" &
running=$!
wait $running
running=

# criterions_own REPORT: nothing but leaks of what Criterion itself has allocated,
# as Debian's 2.4.1 leaves some now and then.
criterions_own() {
	awk '/leak of/ { leaks++ }
		/^    #1 / && /libcriterion/ { own++ }
		/ERROR: AddressSanitizer|runtime error/ { more = 1 }
		END { exit !(leaks && leaks == own && !more) }' "$1"
}

passing=0 failing=0 skipped=0 broken=0
for program in "$@"; do
	name=$(name "$program")
	out=$dir/$name
	rc=$(cat "$out/status" 2>/dev/null || echo unknown)
	# [====] Synthesis: Tested: 9 | Passing: 9 | Failing: 0 | Crashing: 0
	# What a test prints may be anything.
	line=$(grep -a 'Synthesis:' "$out/log" 2>/dev/null | tail -n 1 |
		sed 's/\x1b\[[0-9;]*m//g')
	set -- $(echo "$line" | grep -o '[0-9]\+')
	if [ $# != 4 ]; then
		echo "not ok - $program: no report (exit status $rc)"
		cat "$out/log" "$out"/san/* 2>/dev/null
		broken=$((broken + 1))
		continue
	fi
	skips=$(grep -a -c 'SKIP' "$out/log")
	passing=$((passing + $2))
	failing=$((failing + $1 - $2)) skipped=$((skipped + skips))
	for report in "$out"/san/*; do
		[ ! -e "$report" ] || ! criterions_own "$report" || rm "$report"
	done
	if [ -n "$(ls "$out/san")" ]; then
		echo "not ok - $name: sanitizer report"
		cat "$out"/san/*
		broken=$((broken + 1))
	elif [ "$rc" != 0 ]; then
		echo "not ok - $name: $2 of $1 passed"
		cat "$out/log"
		[ $1 != $2 ] || broken=$((broken + 1))
	else
		echo "ok - $name: $2 of $1 passed"
	fi
done
echo "${NAME:-unit}: $passing passed, $((failing + broken)) failed, $skipped skipped"
[ $((failing + broken)) = 0 ]
