#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Prints how long functions and files are, and fails for those that are too long
# to read.
#
#	sizes.sh FILE...
set -eu

function_limit=80
file_limit=800

# sum WHAT LIMIT: of lines "LENGTH NAME".
sum() {
	sort -n | awk -v what="$1" -v limit="$2" '
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
		printf "%s: %d, lines: median %d, p95 %d, max %d\n", what, NR,
			lines[int((NR + 1) / 2)], lines[int(NR * 0.95 + 0.5)],
			lines[NR]
		exit bad
	}'
}

bad=0
ctags -x --kinds-C=f --fields=+ne \
	--_xformat='%{end} %{line} %{input}:%{name}' "$@" |
	awk '{ print $1 - $2 + 1, $3 }' | sum functions $function_limit || bad=1
wc -l "$@" | awk '$2 != "total"' | sum files $file_limit || bad=1
exit $bad
