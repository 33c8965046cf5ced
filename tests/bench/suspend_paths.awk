# SPDX-License-Identifier: BSD-3-Clause
#
# The table of suspend_paths.sh.

$1 != "path" { next }
$2 == "cycles" { cycles = $3; next }

# A device has more than one callback on each way; their sum is what counts.
$3 == "time" {
	us[$2, $4] += $6
	us[$2, "all"] += $6
	seen[$4] = 1
}

$3 == "count" {
	count[$2, $4, $5] = $6
	if ($5 != "exits")
		count[$2, "all", $5] += $6
}

function row(name,    off, on) {
	off = us["off", name] / cycles
	on = us["v14", name] / cycles
	printf "  %-10s %10.0f %10.0f %8s %7.1f %7.1f %7.1f %7.1f\n", name,
		off, on, (on > 0 ? sprintf("%.1fx", off / on) : "-"),
		count["off", name, "writes"] / cycles,
		count["v14", name, "writes"] / cycles,
		count["off", name, "messages"] / cycles,
		count["v14", name, "messages"] / cycles
}

END {
	if (!cycles || !(("v14", "all") in us) || !(("off", "all") in us)) {
		print "  no figures"
		exit 1
	}
	printf "  %-10s %21s %8s %15s %15s\n", "a cycle", "microseconds",
		"", "register writes", "messages"
	printf "  %-10s %10s %10s %8s %7s %7s %7s %7s\n", "", "reset",
		"suspend", "ratio", "reset", "suspend", "reset", "suspend"
	split("blk0 net0 console0 rng", order)
	for (i = 1; i in order; i++)
		row(order[i])
	row("all")
	printf "  All exits to torpor a cycle: %.1f reset, %.1f suspend\n",
		count["off", "vcpu", "exits"] / cycles,
		count["v14", "vcpu", "exits"] / cycles
	printf "  Resets: %d, %d\n", count["off", "all", "resets"],
		count["v14", "all", "resets"]
}
