#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Many sleeps of a bare-metal guest under disk and network load, with requests
# in flight over the sleep and with devices that are reset for it: each request
# is done once, each block is right, each frame comes once and in order
# (guest/payloads/cycles.c). Over all of them the VM's processes do not grow.
# CYCLES=N cycles.
. "$(dirname "$0")/lib.sh"

CYCLES=${CYCLES:-$(how_many 300 150 2000)}
FIRST=100 # from here on nothing may grow
SLACK=128 # KiB of all processes together
# A disk whose requests take so long that a sleep overtakes them.
DELAY_MS=4
host_pid= fs_pid=

slow_disk() {
	mkdir "$dir/mnt"
	truncate -s 1M "$dir/backing"
	"$tools/slowfs" "$dir/backing" "$dir/mnt" $DELAY_MS \
		>"$dir/fs.log" 2>&1 &
	fs_pid=$!
	within 10 grep -q ^mounted "$dir/fs.log"
}

# resources FILE: a line "NAME FDS THREADS USS" for each process of the VM. USS
# without guest memory, in KiB; threads without those of the kernel for io_uring,
# which come and go.
resources() {
	local p
	for p in $(strays | awk 'NF > 1 { print $1 }'); do
		echo "$(tr ' ' '-' <"/proc/$p/comm")" \
			"$(find "/proc/$p/fd" -mindepth 1 | wc -l)" \
			"$(cat "/proc/$p"/task/*/comm | grep -vc iou-wrk)" \
			"$(awk '/^[0-9a-f]+-[0-9a-f]+ / { ram = /guest-ram/ }
				!ram && /^Private_(Clean|Dirty|Hugetlb):/ {
					sum += $2
				}
				END { print sum }' "/proc/$p/smaps")"
	done | sort >"$1"
}

# mark N FILE: the guest stands still after cycle N: look at its processes.
mark() {
	vm_line "@(MARK cycle=$1|FAIL *|DONE *)" $((120 + CYCLES)) || return 1
	[[ $line = "MARK cycle=$1" ]] || return 1
	[ -z "${2-}" ] || resources "$2"
	printf x >&9
}

host_ready() {
	grep -q '^ready' "$dir/run/host" || gone $host_pid
}

bmcycles() {
	local disks=(--block "$dir/run/disk.img") took
	run_dir_make
	image disk.img 1M
	tap tap0 || return
	if [ -e /dev/fuse ] && slow_disk; then
		disks+=(--block "$dir/mnt/image,o_direct=true")
	else
		skip "a slow disk" "no /dev/fuse: $(cat "$dir/fs.log" 2>&1)"
	fi
	vm_start --no-rng "${disks[@]}" --net tap-name=tap0 --mem 32 \
		--params "cycles=$CYCLES mark=$FIRST" "$payloads/cycles.elf"
	vm_up 20
	"$tools/cycle_host" "$sock" tap0 >"$dir/run/host" 2>&1 &
	host_pid=$!
	within 20 host_ready
	mark 0
	took=$SECONDS
	if mark $FIRST "$dir/run/first" && mark "$CYCLES" "$dir/run/last"; then
		took=$((SECONDS - took))
		vm_line "DONE *" 60
	fi
	vm_end 30
	wait $host_pid
	echo "  $CYCLES cycles in $took s, ${#disks[@]} words of disks;" \
		"not yet done at the sleep:" \
		"$(sed -n 's/^INFLIGHT //p' "$dir/run/out")"
	expect_eq "$CYCLES cycles: each request done once, each block right" \
		"$(grep -E '^(CYCLE|FAIL|DONE)' "$dir/run/out" | tr '\n' ';')" \
		"DONE passed=1 failed=0;"
	expect_eq "$CYCLES cycles: each was a sleep, each frame came once" \
		"$(tail -n 1 "$dir/run/host")" \
		"sleeps=$CYCLES frames=$((4 * CYCLES))"
	expect "requests and echoes were in flight over sleeps" \
		"$(grep ^INFLIGHT "$dir/run/out")" \
		grep -q '^INFLIGHT blk=[1-9].* echoes=[1-9]' "$dir/run/out"
	expect_eq "the VM ends as its guest wants" "$code" 0
	flat
	[ -z "$fs_pid" ] || umount "$dir/mnt"
}

flat() {
	local first last
	[ -s "$dir/run/last" ] || {
		not_ok "nothing grows" "the cycles did not end"
		return
	}
	paste -d ' ' "$dir/run/first" "$dir/run/last" | awk '
		BEGIN { printf "  %-16s %12s %12s %16s\n", "process", "fds",
			"threads", "USS, KiB" }
		{ printf "  %-16s %5d -> %3d %5d -> %3d %7d -> %5d\n", $1, $2,
			$6, $3, $7, $4, $8 }'
	expect_eq "from cycle $FIRST to $CYCLES: the same fds and threads" \
		"$(awk '{ print $1, $2, $3 }' "$dir/run/last")" \
		"$(awk '{ print $1, $2, $3 }' "$dir/run/first")"
	first=$(awk '{ sum += $4 } END { print sum }' "$dir/run/first")
	last=$(awk '{ sum += $4 } END { print sum }' "$dir/run/last")
	expect "from cycle $FIRST to $CYCLES: at most $SLACK KiB more memory" \
		"$first KiB became $last" [ "$last" -le $((first + SLACK)) ]
}

bmcycles
tests_end
