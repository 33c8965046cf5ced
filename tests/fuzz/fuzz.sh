#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs fuzzers one after the other, see `make fuzz`.
#
#	B=build/fuzz fuzz.sh NAME...
#
# Each gets FUZZ_SECONDS (20). Prints inputs tried, coverage and the size of the
# corpus of each. Exits 1 if one of them found something; the input is then in
# $B/crashes and is kept.
set -u

seconds=${FUZZ_SECONDS:-20}
B=${B:-build/fuzz}
symbolizer=$(command -v llvm-symbolizer || :)
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=1\
${symbolizer:+:external_symbolizer_path=$symbolizer}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}print_stacktrace=1\
${symbolizer:+:external_symbolizer_path=$symbolizer}"

mkdir -p "$B/crashes" "$B/log" || exit 1
failed=
printf '%-10s %12s %10s %16s %8s\n' fuzzer inputs inputs/s 'edges reached' corpus
for name in "$@"; do
	program=$B/bin/$name
	corpus=$B/corpus/$name
	log=$B/log/$name
	mkdir -p "$corpus"
	"$program" --seeds="$corpus" || exit 1
	"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=4096 -use_value_profile=1 -print_final_stats=1 \
		-artifact_prefix="$B/crashes/$name-" "$corpus" \
		</dev/null >"$log" 2>&1
	rc=$?
	tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
	all=$(sed -n 's/.*Loaded 1 modules *(\([0-9]*\) inline.*/\1/p' "$log")
	reached=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
	printf '%-10s %12s %10s %16s %8s\n' "$name" "${tried:-?}" "${rate:-?}" \
		"${reached:-?} of ${all:-?}" "$(ls "$corpus" | wc -l)"
	[ $rc != 0 ] || continue
	failed="$failed $name"
	grep -m1 -A25 -E 'ERROR: |runtime error: ' "$log"
	input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	echo "$name found something; all of it is in $log. Again:"
	echo "    $program ${input:-$corpus}"
done
if [ -n "$failed" ]; then
	echo "fuzz: findings in$failed"
	exit 1
fi
echo "fuzz: no findings"
