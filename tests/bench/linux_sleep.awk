#!/usr/bin/awk -f
# SPDX-License-Identifier: BSD-3-Clause
#
# The tables of tests/bench/linux_sleep.sh out of its raw lines.

# value(NAME): of the word NAME=VALUE.
function value(name,    i) {
	for (i = 1; i <= NF; i++)
		if (index($i, name "=") == 1)
			return substr($i, length(name) + 2)
	return ""
}

function ratio(a, b) {
	return b + 0 > 0 && a != "" ? sprintf("%.2fx", a / b) : "-"
}

function number(a) {
	return a == "" ? "-" : sprintf("%.2f", a)
}

$1 == "lsleep-set" {
	cpus = value("cpus")
}

$1 == "lsleep" {
	n[$2] = value("n")
	p50[$2, $3] = value("p50")
	p99[$2, $3] = value("p99")
	max[$2, $3] = value("max")
}

$1 == "lsleep-rest" {
	slept[$2] = value("s")
	left_out[$2] = value("boot-s") - value("mono-s")
	threads[$2] = value("threads") " in " value("processes")
}

$1 == "lsleep-note" {
	keys[$2] = value("keys")
	failed[$2] = value("failed")
	censuses[$2] = value("censuses")
	relapses[$2] = value("relapses")
}

$1 == "lsleep-exits" {
	exits = value("exits")
	writes = value("mmio_write")
	all_exits = substr($0, length("lsleep-exits torpor ") + 1)
}

$1 == "lsleep-use" && $4 == "all" {
	cpu[$2, $3] = value("cpu-ms")
	wakeups[$2, $3] = value("wakeups")
	# On the ways most preemptions are our own, who look each millisecond.
	if ($3 == "asleep")
		wakeups[$2, $3] += value("preempts")
}

# A disk's process has short-lived workers: threads of a name in one line.
$1 == "lsleep-use" && $4 != "all" {
	key = sprintf("%-7s %-7s %s", $2, $3, $4)
	if (!(key in detail_cpu))
		order[++orders] = key
	detail_cpu[key] += value("cpu-ms")
	detail_wakeups[key] += value("wakeups")
	detail_preempts[key] += value("preempts")
}

function head(a, b, c, d) {
	printf "  %-44s %9s %9s %9s\n", a, b, c, d
}

function phase(name, text) {
	head(text, p50["torpor", name], p99["torpor", name],
	    max["torpor", name])
}

function pair(name, text) {
	head(text ", median", p50["torpor", name], number(p50["qemu", name]),
	    ratio(p50["qemu", name], p50["torpor", name]))
	head("  p99", p99["torpor", name], number(p99["qemu", name]),
	    ratio(p99["qemu", name], p99["torpor", name]))
	head("  max", max["torpor", name], number(max["qemu", name]), "")
}

function use(when, text) {
	head(text ": CPU ms", cpu["torpor", when], number(cpu["qemu", when]),
	    ratio(cpu["qemu", when], cpu["torpor", when]))
	head("  wake-ups of all its threads", wakeups["torpor", when],
	    number(wakeups["qemu", when]),
	    ratio(wakeups["qemu", when], wakeups["torpor", when]))
}

END {
	if (!n["torpor"])
		exit 1
	head("torpor, " n["torpor"] " cycles, " cpus " vCPUs, ms", "median",
	    "p99", "max")
	phase("request-to-asleep", "suspend request to asleep")
	phase("freezes-drivers", "  guest freezes user space and drivers")
	phase("request-to-agent", "    of which until its agent begins")
	phase("freezes-cpus", "  guest freezes CPUs")
	phase("census", "  census")
	phase("devices-stop", "  devices stop")
	phase("final-census", "  final census")
	phase("down-other", "  not accounted for")
	phase("event-to-output", "wake event to userspace output")
	phase("devices-restart", "  devices restart")
	phase("event-to-let-go", "  event to vCPUs let go")
	phase("event-to-first-run", "  event to first guest instruction")
	phase("event-to-lps0-exit", "  event to LPS0 exit")
	phase("lps0-exit-to-output", "  LPS0 exit to userspace output")
	print ""
	head("seen from outside", "torpor", "QEMU", "QEMU/torp.")
	pair("press-to-output", "power button to userspace output, ms")
	pair("agent-to-quiet", "agent begins to vCPU threads quiet, ms")
	use("down", "a way down")
	use("up", "a way up")
	use("asleep", "a second asleep")
	head("threads in processes", threads["torpor"], threads["qemu"], "")
	head("  asleep for, s, and a little more", slept["torpor"],
	    number(slept["qemu"]), "")
	head("  left out of that by MONOTONIC, s", number(left_out["torpor"]),
	    number(left_out["qemu"]), "")
	head("exits to userspace a cycle", exits, "-", "")
	head("  of which MMIO writes (virtio, I/O APIC)", writes, "-", "")
	head("presses that were a key as well", keys["torpor"],
	    keys["qemu"] == "" ? "-" : keys["qemu"], "")
	head("cycles that went otherwise", failed["torpor"],
	    failed["qemu"] == "" ? "-" : failed["qemu"], "")
	print ""
	print "  torpor, a cycle: censuses=" censuses["torpor"] " relapses=" \
		relapses["torpor"] " " all_exits
	printf "  of which, a cycle or a second asleep: %15s %9s %9s\n",
		"CPU ms", "wake-ups", "preempted"
	for (i = 1; i <= orders; i++) {
		key = order[i]
		if (detail_wakeups[key] + detail_preempts[key] > 0)
			printf "    %-40s %9.2f %9.2f %9.2f\n", key,
				detail_cpu[key], detail_wakeups[key],
				detail_preempts[key]
	}
}
