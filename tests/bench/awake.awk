# SPDX-License-Identifier: BSD-3-Clause
#
# The table of tests/bench/awake.sh: medians.
function median(list, n,    i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && list[j - 1] > list[j]; j--) {
			t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
		}
	return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function of(cpus, mode, key,    list, n) {
	n = split(values[cpus, mode, key], list)
	for (i in list)
		list[i] += 0
	return median(list, n)
}
function row(cpus, what, key,    with, without) {
	with = of(cpus, "c2", key)
	without = of(cpus, "off", key)
	printf "  %5d  %-28s %10d %10d   %s\n", cpus, what, with, without, \
		without ? sprintf("%.2f", with / without) : "-"
}
$1 == "awake" {
	for (i = 2; i <= NF; i++) {
		split($i, pair, "=")
		field[pair[1]] = pair[2]
	}
	for (key in field)
		values[field["cpus"], field["mode"], key] = \
			values[field["cpus"], field["mode"], key] " " field[key]
	if (!(field["cpus"] in known)) {
		known[field["cpus"]]
		order[++nr] = field["cpus"]
	}
}
END {
	printf "  %5s  %-28s %10s %10s   %s\n", "vCPUs", "", "with C2", \
		"without", "ratio"
	for (k = 1; k <= nr; k++) {
		row(order[k], "idle: halts/s", "idle_halts")
		row(order[k], "idle: CPU ms/s, all threads", "idle_cpu_ms")
		row(order[k], "busy: CPU ms, all threads", "busy_cpu_ms")
	}
	exit !nr
}
