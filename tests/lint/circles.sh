#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Which sources need each other? An object file that uses a symbol of another
# one stands above it; where A stands above B and B above A, neither can be read
# or tested first. Looks at $B/obj (build/obj), which has to be built.
#
#	circles.sh
#
# Prints each circle with its arrows. Exits 1 if there is one that is not
# named below.
set -u
obj=${B:-build}/obj

# FOLDER or source ... : a circle that lies within these is known.
known='
# The coordinator is one machine under one lock, with a door for each user.
vmm/power
'

# An object may be left over from a source that is gone.
objects=$(find "$obj" -name '*.o' ! -path "$obj/tests/*" ! -path "$obj/guest/*" |
		sort | while read -r o; do
	source=${o#"$obj/"}
	[ ! -e "${source%.o}.c" ] || echo "$o"
done)
[ -n "$objects" ] || { echo "circles.sh: no objects in $obj" >&2; exit 1; }

# shellcheck disable=SC2086 # no blanks in their names
nm -A -g $objects | awk -v obj="$obj/" -v known="$known" '
# Every source that can be reached from v, and gets there again, is one circle
# (Tarjan). Circles come from the bottom upwards.
function visit(v, i, w) {
	order[v] = low[v] = ++visited
	stack[++depth] = v
	on_stack[v] = 1
	for (i = 1; i <= outs[v]; i++) {
		w = out[v, i]
		if (!(w in order)) {
			visit(w)
			if (low[w] < low[v])
				low[v] = low[w]
		} else if (on_stack[w] && order[w] < low[v]) {
			low[v] = order[w]
		}
	}
	if (low[v] == order[v])
		circle(v)
}

function circle(v, n, i, j, list, members, name) {
	do {
		members[++n] = stack[depth]
		on_stack[stack[depth]] = 0
	} while (stack[depth--] != v)
	if (n == 1 || is_known(members, n))
		return
	bad = 1
	for (i = 1; i <= n; i++)
		list = list " " members[i]
	print "circle:" list
	for (i = 1; i <= n; i++) {
		for (j = 1; j <= n; j++) {
			if (name = arrow[members[i], members[j]])
				print "\t" members[i] " > " members[j] ":" name
		}
	}
}

function is_known(members, n, k, i, room, inside) {
	for (k = 1; k <= rooms; k++) {
		inside = 0
		for (i = 1; i <= n; i++) {
			room = members[i]
			if (index(line[k], " " room " "))
				inside++
			else if (sub(/\/[^\/]*$/, "", room) &&
				 index(line[k], " " room " "))
				inside++
		}
		if (inside == n)
			return used[k] = 1
	}
	return 0
}

BEGIN {
	n = split(known, lines, "\n")
	for (i = 1; i <= n; i++) {
		if (lines[i] ~ /^[a-z]/)
			line[++rooms] = " " lines[i] " "
	}
}
{
	from = substr($1, length(obj) + 1)
	sub(/\.o:.*/, "", from)
	if ($(NF - 1) == "U")
		wants[++nr_wants] = from " " $NF
	else
		owner[$NF] = from
}
END {
	for (i = 1; i <= nr_wants; i++) {
		split(wants[i], want, " ")
		if (!(want[2] in owner) || owner[want[2]] == want[1])
			continue
		if (!((want[1], owner[want[2]]) in arrow))
			out[want[1], ++outs[want[1]]] = owner[want[2]]
		arrow[want[1], owner[want[2]]] = \
			arrow[want[1], owner[want[2]]] " " want[2]
		above[want[1]] = 1
	}
	for (v in above) {
		if (!(v in order))
			visit(v)
	}
	for (k = 1; k <= rooms; k++) {
		if (!used[k])
			print "circles.sh: known, but no circle any more:" line[k]
	}
	exit bad
}'
