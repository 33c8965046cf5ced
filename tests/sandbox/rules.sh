#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Is there a caller for each rule of each filter? Runs the bare-metal tests that
# use most of what the programs can do, under a tracer that notes which rules
# their system calls needed, and sums up.
#
#	rules.sh SCRIPT...	of tests/baremetal, in place of the usual ones
#
# Needs root, as the tests of the sandbox do.
set -u

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
used=$(mktemp -d "/tmp/torpor-rules.XXXXXX")
chmod 1777 "$used" # VMs of an ordinary user write there, too
log=$used.log
trap 'rm -rf "$used" "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$(id -u)" != 0 ]; then
	echo "skip - rules: needs root"
	echo "rules: 0 passed, 0 failed, 1 skipped"
	exit 0
fi
[ $# != 0 ] || set -- payloads kill errors bmcycles mad

passed=0 failed=0
for script in "$@"; do
	if TORPOR_RULES=$used B=$B "tests/baremetal/$script.sh" \
		>"$log" 2>&1; then
		echo "ok - $script, traced"
		passed=$((passed + 1))
	else
		grep '^not ok\|^  !' "$log" | head -n 40
		echo "not ok - $script, traced"
		failed=$((failed + 1))
	fi
done
if "$B/tests/sandbox/rule-callers" sum "$used"/*; then
	echo "ok - each rule has a caller"
	passed=$((passed + 1))
else
	echo "not ok - each rule has a caller: see above"
	failed=$((failed + 1))
fi
echo "rules: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
