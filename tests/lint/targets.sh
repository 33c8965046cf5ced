#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Every target of the Makefile is run by `make check` or `make check-all`: one that
# nobody runs is broken some day and nobody sees it. Follows prerequisites, the
# makes in recipes, and those in tests/check.sh.
#
#	targets.sh [MAKEFILE...]
set -u

cd "$(dirname "$0")/../.." || exit 1
[ $# != 0 ] || set -- Makefile guest/*.mk tests/*.mk tests/*/*.mk

awk '
	# Of these no check can run more than what it is made of:
	BEGIN {
		# asks for commands at a terminal; `demo` and all guest tests
		# are what it starts with
		known["shell-nested"]
		# parts of `check`, by name
		known["check-baremetal"]
		# not a target, but what makes others be made
		known["FORCE"]
	}
	!makefile {
		sub(/#.*/, "")
		# also on lines that go on
		if (!more && !sub(/^.*(make_part|make --[-a-z]*) +/, ""))
			next
		more = sub(/\\$/, "")
		calls("check", $0)
		next
	}
	/\\$/ { sub(/\\$/, ""); line = line " " $0; next }
	{ $0 = line " " $0; line = "" }
	/^ [^\t#]/ && /:/ { target = "" }
	/^ \.PHONY:/ {
		for (i = 2; i <= NF; i++)
			phony[$i]
		next
	}
	/^ \t/ {
		if (/\$\((REMAKE|MAKE)\)/)
			calls(target, $0)
		next
	}
	/^ [a-z][-a-z]*:([^=]|$)/ {
		target = $1
		sub(/:.*/, "", target)
		text = $0
		sub(/^[^:]*:/, "", text)
		calls(target, text)
	}
	function calls(from, text,    n, words, i) {
		n = split(text, words)
		for (i = 1; i <= n; i++)
			edge[from, words[i]]
	}
	function visit(name,    pair, parts) {
		if (name in seen)
			return
		seen[name]
		for (pair in edge) {
			split(pair, parts, SUBSEP)
			if (parts[1] == name && parts[2] in phony)
				visit(parts[2])
		}
	}
	END {
		visit("check")
		visit("check-all")
		for (name in phony) {
			if (name ~ /\$/ || name in known)
				continue
			if (name in seen) {
				passed++
				continue
			}
			failed++
			print "not ok - make " name ": no check runs it"
		}
		if (passed < 15) {
			failed++
			print "not ok - only " passed + 0 " targets were found"
		}
		printf "targets: %d passed, %d failed, 0 skipped\n", passed, failed
		exit failed > 0
	}' makefile=1 "$@" makefile=0 tests/check.sh tests/install.sh
