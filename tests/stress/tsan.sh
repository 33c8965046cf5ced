#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs the programs under ThreadSanitizer, see `make tsan`.
#
#	B=build/tsan tsan.sh SECONDS [SEED]	of clients_stress
set -u

B=${B:-build/tsan}
export TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS-}"
failed=0 passed=0

# run PROGRAM [ARG]...: one line, or what is wrong.
run() {
	"$@"
	status=$?
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		echo "ok - ${1##*/}"
	else
		failed=$((failed + 1))
		echo "not ok - ${1##*/}: exit status $status"
	fi
}

run "$B/tests/stress/power_stress"
run "$B/tests/stress/clients_stress" "$@"
echo "tsan: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
