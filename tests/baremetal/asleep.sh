#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a sleep costs: several VMs, a kind of sleep each, are asleep for
# ASLEEP=SECONDS at the same time. No thread of any of their processes may run
# or be woken in that time. Then each is woken and has to be well.
. "$(dirname "$0")/lib.sh"

ASLEEP=${ASLEEP:-$(how_many 10 5 60)}
vms=() pids=()

# vm NAME PARAMS [OPTION]...: a VM with all devices, each on a host side that
# is there and says nothing.
vm() {
	local d=$dir/run/$1 params=$2 tap=tap${#vms[@]}
	vms+=("$1")
	mkdir "$d"
	mkfifo "$d/in"
	truncate -s 1M "$d/disk.img"
	ip tuntap add dev "$tap" mode tap
	echo 1 >"/proc/sys/net/ipv6/conf/$tap/disable_ipv6" 2>/dev/null
	ip link set "$tap" up
	exec {input}<>"$d/in"
	shift 2
	"$torpor" run --socket "$d/sock" --serial stdio --mem 32 \
		--block "$d/disk.img" --net "tap-name=$tap" \
		--console "pty,path=$d/console" --params "io=1 $params" "$@" \
		"$payloads/sleeper.elf" <"$d/in" >"$d/out" 2>"$d/err" &
	pids+=($!)
}

on() { # NAME COMMAND [ARGUMENT]...
	local socket=$dir/run/$1/sock
	shift
	"$torpor" "$@" "$socket"
}

has_socket() {
	[ -S "$dir/run/$1/sock" ]
}

# threads FILE: a line "PID TID NAME RUN_NS SLICES WAKE-UPS PREEMPTIONS" for each
# thread of each process of all VMs.
threads() {
	local p t
	for p in $(strays | awk 'NF > 1 { print $1 }'); do
		for t in "/proc/$p/task"/*; do
			echo "$p ${t##*/} $(tr ' ' '-' <"$t/comm")" \
				"$(awk '{ print $1, $3 }' "$t/schedstat")" \
				"$(awk '/ctxt_switches/ { print $2 }' \
					"$t/status" | tr '\n' ' ')"
		done
	done >"$1"
}

# The client that waited for the sleep has gone, and the VMM has noticed.
quiet() {
	threads "$dir/run/a"
	sleep 0.5
	threads "$dir/run/b"
	cmp -s "$dir/run/a" "$dir/run/b"
}

# diff_of BEFORE AFTER: lines that differ, as sums of what was added.
diff_of() {
	awk 'NR == FNR { old[$1, $2] = $0; next }
		{
			split(old[$1, $2], o)
			if ($0 != old[$1, $2])
				print $3, "ran", $4 - o[4], "ns,", $6 - o[6],
					"wake-ups,", $7 - o[7], "preemptions"
			seen++
		}
		END {
			if (seen != length(old))
				print "threads came or went"
		}' "$1" "$2"
}

run_dir_make
vm s2idle-live "live=1"
vm s2idle-reset ""
vm s1-live "kind=s1 live=1"
vm s1-reset "kind=s1"
# The second CPU is never started: it must not be waited for, nor run.
vm s2idle-2-cpus "live=1" --cpus 2
vm s1-2-cpus "kind=s1 live=1" --cpus 2
for v in "${vms[@]}"; do
	within 60 has_socket "$v"
	expect "$v: falls asleep" "$(tail -n 3 "$dir/run/$v/err")" \
		on "$v" wait --timeout 60000 SUSPENDED
done
within 20 quiet
expect_eq "nothing runs soon after" "$(diff_of "$dir/run/a" "$dir/run/b")" ""
threads "$dir/run/before"
sleep "$ASLEEP"
threads "$dir/run/after"
echo "  ${#vms[@]} VMs asleep for $ASLEEP s:" \
	"$(wc -l <"$dir/run/after") threads in" \
	"$(awk '{ print $1 }' "$dir/run/after" | sort -u | wc -l) processes"
expect_eq "asleep for $ASLEEP s: no thread ran or was woken" \
	"$(diff_of "$dir/run/before" "$dir/run/after")" ""
# The measure itself: a question makes the VMM run.
on s2idle-live state >/dev/null
threads "$dir/run/asked"
expect "a question is seen as a thread that ran" "it is not" \
	[ -n "$(diff_of "$dir/run/after" "$dir/run/asked" | grep ^torpor)" ]
for i in "${!vms[@]}"; do
	v=${vms[$i]}
	on "$v" wake >/dev/null
	within 60 gone "${pids[$i]}"
	wait "${pids[$i]}"
	expect_eq "$v: wakes and is well" \
		"$? $(grep -E '^(FAIL|WAKE|DONE)' "$dir/run/$v/out" |
			sed 's/ reads=.*//' | tr -d '\r' | tr '\n' ';')" \
		"0 WAKE cycle=1 by=gpe pm1=0x0 gpe=0x80000000;DONE passed=2 failed=0;"
done
tests_end
