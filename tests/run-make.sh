#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs targets of the Makefile as a part of tests/check.sh.
#
#	run-make.sh NAME MAKE_ARGUMENT...
#
# Another make has started us; what it passes to its children is of no use, as it
# does not know that we are one.
unset MAKEFLAGS MFLAGS MAKELEVEL

name=$1 failed=0
shift
cd "$(dirname "$0")/.." || exit 1
if make --no-print-directory "$@" </dev/null; then
	echo "ok - make $*"
else
	failed=1
	echo "not ok - make $*"
fi
echo "$name: $((1 - failed)) passed, $failed failed, 0 skipped"
exit $failed
