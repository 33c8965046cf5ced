# SPDX-License-Identifier: BSD-3-Clause
#
# The tables of `make bench` out of the raw lines that its programs print.
#
#	awk -v section=NAME -f report.awk RAW

# value(NAME): of the word NAME=VALUE after field @from.
function value(name, from,    i) {
	for (i = from; i <= NF; i++)
		if (index($i, name "=") == 1)
			return substr($i, length(name) + 2)
	return ""
}

function ratio(a, b) {
	return b > 0 ? sprintf("%.2fx", a / b) : "-"
}

section == "start" && $1 == "start" && $2 != "ratio" {
	split($2, vm, "-")
	wall[vm[1], vm[2]] = value("p50", 5)
	worst[vm[1], vm[2]] = value("p99", 5)
	for (i = 1; i <= NF; i++)
		if ($i == "cpu-ms")
			cpu[vm[1], vm[2]] = value("p50", i)
}

section == "memory" && $1 == "mem" {
	if (!head++)
		row("", "private", "share", "page tables")
	name = $3 == "sum" ? "all processes" : $3
	printf "  %-36s %9d %9d %12d\n", $2 ": " name, value("uss", 4),
		value("pss", 4), value("pte", 4)
	if ($3 == "sum")
		uss[$2] = value("uss", 4)
	if ($3 == "sum")
		pss[$2] = value("pss", 4)
}

section == "exits" && $1 == "count" && $4 == "exits" {
	exits[$2, $3] = $5
}

section == "syscalls" && $1 == "count" && $4 == "syscalls" {
	if ($5 == "sum") {
		calls[$2, $3] = $6
		next
	}
	if ($6 < 0.05)
		next
	line = "    " $2 ", " what($3) ": process " $5 ":"
	for (i = 7; i <= NF; i++)
		line = line " " $i
	detail[++details] = line
}

section == "irq" && $1 == "irq" && $2 != "ratio" && /gsis=/ {
	gsis[$2] = value("gsis", 3)
}

section == "irq" && $1 == "irq" && / n=/ {
	p50[$3 " " $4, $2] = value("p50", 5)
	p99[$3 " " $4, $2] = value("p99", 5)
	if (!seen[$3 " " $4]++)
		order[++orders] = $3 " " $4
}

section == "sleep" && $1 == "sleep" {
	if (!head++)
		row("", "median", "p99", "")
	text["request-to-asleep"] = "suspend request to asleep"
	text["wake-event-to-output"] = "wake event to guest's output"
	text["powerbtn-command-to-output"] = "powerbtn command to output"
	printf "  %-36s %9s %9s   (%s cycles)\n", text[$2],
		value("p50", 3), value("p99", 3), value("n", 3)
}

function what(phase) {
	return phase == "blk" ? "block read" : "received packet"
}

function row(a, b, c, d) {
	printf "  %-36s %9s %9s %12s\n", a, b, c, d
}

function start_rows(devices, text) {
	row(text ", wall ms", wall["torpor", devices], wall["qemu", devices],
	    ratio(wall["qemu", devices], wall["torpor", devices]))
	row(text ", CPU ms", cpu["torpor", devices], cpu["qemu", devices],
	    ratio(cpu["qemu", devices], cpu["torpor", devices]))
}

function vm_rows(table,    phase) {
	row("", "torpor", "QEMU", "QEMU/torpor")
	row("block read of 512 bytes", table["torpor", "blk"],
	    table["qemu", "blk"],
	    ratio(table["qemu", "blk"], table["torpor", "blk"]))
	row("received packet", table["torpor", "net"], table["qemu", "net"],
	    ratio(table["qemu", "net"], table["torpor", "net"]))
}

function irq_rows(    i, text) {
	row("", "split", "kernel", "kernel/split")
	text["halted to-handler"] = "vCPU halted, to handler"
	text["halted and-back"] = "vCPU halted, there and back"
	text["running to-handler"] = "vCPU running, to handler"
	text["running and-back"] = "vCPU running, there and back"
	for (i = 1; i <= orders; i++) {
		row(text[order[i]] ", median", p50[order[i], "split"],
		    p50[order[i], "kernel"],
		    ratio(p50[order[i], "kernel"], p50[order[i], "split"]))
		row("  p99", p99[order[i], "split"], p99[order[i], "kernel"],
		    "")
	}
	row("interrupts for virtio devices", gsis["split"], gsis["kernel"], "")
}

END {
	if (section == "start") {
		row("medians", "torpor", "QEMU", "QEMU/torpor")
		start_rows(0, "no devices")
		start_rows(4, "4 devices")
	}
	if (section == "memory" && uss["torpor"])
		row("QEMU/torpor", ratio(uss["qemu"], uss["torpor"]),
		    ratio(pss["qemu"], pss["torpor"]), "")
	if (section == "exits")
		vm_rows(exits)
	if (section == "syscalls") {
		vm_rows(calls)
		print "  of which:"
		for (i = 1; i <= details; i++)
			print detail[i]
	}
	if (section == "irq" && orders)
		irq_rows()
}
