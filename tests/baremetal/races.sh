#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Wake events at random moments of a guest that goes to sleep again at once,
# 1000 for each kind of sleep: none is lost, the VM never gets stuck.
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$RANDOM}
echo "seed $seed"
for kind in s2idle s1; do
	run_dir_make
	"$torpor" run --socket "$sock" --no-rng --serial stdout \
		--params "cycles=1000000000 kind=$kind" \
		"$payloads/sleeper.elf" </dev/null 2>"$dir/run/err" |
		timeout 300 "$tools/wake_races" "$sock" 1000 "$seed" \
			>"$dir/run/result" 2>>"$dir/run/err"
	status=("${PIPESTATUS[@]}")
	expect_eq "$kind: 1000 presses at random moments, each wakes" \
		"${status[1]} $(cat "$dir/run/result")" \
		"0 presses=1000 wakes=1000"
	expect_eq "$kind: the VM stops" "${status[0]}" 0
done
tests_end
