#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Prints how long functions and files are, and fails for those that are too long
# to read. A file of tests may be longer: its tests do not build on each other.
#
#	sizes.sh FILE.c...
set -eu

function_limit=100
file_limit=800
test_file_limit=1200

ctags -x --kinds-C=f --fields=+ne \
	--_xformat='%{end} %{line} %{input}:%{name}' "$@" |
	awk '{ print $1 - $2 + 1, $3 }' | sort -n | awk -v limit=$function_limit '
	{
		lines[NR] = $1
		if ($1 > limit) {
			printf "%s: %d lines, limit %d\n", $2, $1, limit
			bad = 1
		}
	}
	END {
		if (!NR)
			exit 1
		printf "functions: %d, lines: median %d, p95 %d, max %d\n", NR,
			lines[int((NR + 1) / 2)], lines[int(NR * 0.95 + 0.5)],
			lines[NR]
		exit bad
	}' || bad=1
wc -l "$@" | awk '$2 != "total"' | sort -n | awk -v file_limit=$file_limit \
	-v test_file_limit=$test_file_limit '
	{
		lines[NR] = $1
		limit = $2 ~ /^tests\/unit\// ? test_file_limit : file_limit
		if ($1 > limit) {
			printf "%s: %d lines, limit %d\n", $2, $1, limit
			bad = 1
		}
	}
	END {
		printf "files: %d, lines: median %d, p95 %d, max %d\n", NR,
			lines[int((NR + 1) / 2)], lines[int(NR * 0.95 + 0.5)],
			lines[NR]
		exit bad
	}' || bad=1
exit ${bad:-0}
