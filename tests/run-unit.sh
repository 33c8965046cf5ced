#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs Criterion programs one after the other and sums up what they report.
#
#	run-unit.sh PROGRAM...
#
# A program that passes gets one line; one that does not is shown in full. Exits
# 1 if any test failed or a program ended without a report. A sanitizer's
# report fails its program too, also a leak, which Criterion would let pass.
set -u

log=$(mktemp)
san=$(mktemp -d)
trap 'rm -rf "$log" "$san"' EXIT
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$san/report
UBSAN_OPTIONS=${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$san/report
export ASAN_OPTIONS UBSAN_OPTIONS

tested=0 passing=0 failing=0 skipped=0 broken=0
for program in "$@"; do
	"$program" >"$log" 2>&1
	rc=$?
	# [====] Synthesis: Tested: 9 | Passing: 9 | Failing: 0 | Crashing: 0
	line=$(grep 'Synthesis:' "$log" | tail -n 1 |
		sed 's/\x1b\[[0-9;]*m//g')
	set -- $(echo "$line" | grep -o '[0-9]\+')
	skips=$(grep -c 'SKIP' "$log")
	if [ $# != 4 ]; then
		echo "not ok - $program: no report (exit status $rc)"
		cat "$log"
		broken=$((broken + 1))
		continue
	fi
	tested=$((tested + $1)) passing=$((passing + $2))
	failing=$((failing + $1 - $2)) skipped=$((skipped + skips))
	if [ -n "$(ls "$san")" ]; then
		echo "not ok - ${program##*/}: sanitizer report"
		cat "$san"/*
		rm -f "$san"/*
		broken=$((broken + 1))
	elif [ $rc != 0 ]; then
		echo "not ok - ${program##*/}: $2 of $1 passed"
		cat "$log"
		[ $1 != $2 ] || broken=$((broken + 1))
	else
		echo "ok - ${program##*/}: $2 of $1 passed"
	fi
done
echo "unit: $passing passed, $((failing + broken)) failed, $skipped skipped"
[ $((failing + broken)) = 0 ]
