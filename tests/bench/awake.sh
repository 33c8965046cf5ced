#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What torpor's idle state C2 costs a guest that is awake: the same guest with it
# and, by cpuidle.off=1, without, idle and busy, in turns. Run by run-guests.sh.
#
#	awake.sh [TIMES [CPUS...]]
#
# TIMES (3) boots of each; CPUS: of the guest (1 2 4 8). The host's CPUs are as
# many as it has: those of the emulated host are one.
. tests/boot/lib.sh

times=${1:-3}
[ $# -le 1 ] && set -- 1 2 4 8 || shift
idle_s=10

# used: of all threads of the VM: CPU time in ms, and how often a vCPU woke.
used() {
	vm_threads | awk '{ ms += $4 / 1e6 } $3 ~ /^vcpu/ { wakes += $5 }
		END { printf "%d %d\n", ms, wakes }'
}

# A shell's work: processes, a loop, memory, a pipe.
load='i=0; while [ $i -lt 60 ]; do /bin/true; i=$((i + 1)); done;
dd if=/dev/zero of=/dev/null bs=64k count=2000 2>/dev/null;
i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done;
dd if=/dev/zero bs=64k count=200 2>/dev/null | md5sum >/dev/null'

# measure CPUS MODE KERNEL_ARGS
measure() {
	vm_start "$3" --cpus "$1" || return
	guest "sleep $((2 * SLOW))"
	set -- "$@" $(used)
	sleep $idle_s
	set -- "$@" $(used)
	guest "$load" || return
	set -- "$@" $(used)
	echo "awake cpus=$1 mode=$2 idle_cpu_ms=$((($6 - $4) / idle_s))" \
		"idle_halts=$((($7 - $5) / idle_s)) busy_cpu_ms=$(($8 - $6))"
	guest_send "poweroff -f"
	vm_exit 30
}

n=0
while [ $n -lt "$times" ]; do
	for cpus in "$@"; do
		measure "$cpus" c2 ""
		measure "$cpus" off "cpuidle.off=1"
	done
	n=$((n + 1))
done
