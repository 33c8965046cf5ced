#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A disk process is killed with a read and a write in flight on a file system
# that answers after seconds (tests/baremetal/slowfs.c). The kernel goes on with
# both. The guest's reset must not be acknowledged before they are over: afterwards
# no guest memory and no block of the image changes.
. "$(dirname "$0")/lib.sh"

DELAY_MS=3000
fs_pid=

fs_start() {
	mkdir -p "$dir/mnt"
	head -c 1048576 /dev/urandom >"$dir/backing"
	"$tools/slowfs" "$dir/backing" "$dir/mnt" $DELAY_MS >"$dir/fs.log" 2>&1 &
	fs_pid=$!
	within 10 grep -q ^mounted "$dir/fs.log"
}

fs_stop() {
	within 10 umount "$dir/mnt" 2>/dev/null
	within 10 gone $fs_pid && wait $fs_pid
}

image_sum() {
	md5sum <"$dir/backing"
}

# steps WORD: how often the file system has said so.
steps() {
	grep -c "$1" "$dir/fs.log"
}

# What came before ours: the device tries how its file wants to be read.
both_begun() {
	[ "$(steps 'READ begun'),$(steps 'WRITE begun')" = $((tried + 1)),1 ]
}

fence_test() { # ENGINE
	local blk sum tried at_kill done_at_reset
	who=", engine $1"
	run_dir_make
	fs_start || {
		not_ok "slow file system" "$(cat "$dir/fs.log")"
		return
	}
	vm_start --no-rng --params "watch=$((DELAY_MS / 1000 + 4))" \
		--block "$dir/mnt/image,o_direct=true,engine=$1" \
		"$payloads/fence.elf"
	vm_line SUBMITTED 30
	tried=$(steps ' done')
	expect "read and write are in the kernel" "$(cat "$dir/fs.log")" \
		within 10 both_begun
	blk=$(state_of pid blk0)
	kill -9 "$blk"
	at_kill=$(($(steps ' done') - tried))
	vm_line "RESET *" 60 || not_ok "reset" "not acknowledged"
	done_at_reset=$(($(steps ' done') - tried))
	sum=$(image_sum)
	expect_eq "neither was over when it was killed" "$at_kill" 0
	expect_eq "both were over when the reset was acknowledged" \
		"$done_at_reset" 2
	echo "  the read came in: ${line#RESET read=} (late: it wrote guest" \
		"memory after the death)"
	vm_line "DONE *" 60
	expect_eq "guest memory does not change after the reset" \
		"$(grep ^FAIL "$dir/run/out"),$line" ",DONE passed=3 failed=0"
	expect_eq "no block changes after the reset" "$(image_sum)" "$sum"
	vm_end 30
	expect_eq "the VM ends as its guest wants" "$code" 0
	fs_stop
	expect_eq "the image is let go" $? 0
}

answers() {
	timeout $SLOW "$torpor" state "$sock" >/dev/null
}

# For a new process the image is opened again, which may take a file system (NFS)
# for ever. The main loop answers meanwhile, and the guest goes on after that.
hang_test() { # HOW_IT_ENDS
	local n
	who=", an open that hangs, $1"
	run_dir_make
	fs_start || {
		not_ok "slow file system" "$(cat "$dir/fs.log")"
		return
	}
	vm_start --no-rng --params "watch=$((DELAY_MS / 1000 + 4))" \
		--block "$dir/mnt/image,o_direct=true" "$payloads/fence.elf"
	vm_line SUBMITTED 30
	kill -USR1 $fs_pid
	kill -9 "$(state_of pid blk0)"
	expect "the image is being opened" "$(cat "$dir/fs.log")" \
		within 30 grep -q '^OPEN hangs' "$dir/fs.log"
	for n in 1 2 3 4 5; do
		expect "the control socket answers within a second ($n)" "" \
			answers
	done
	if [ "$1" = SIGTERM ]; then
		kill -TERM "$vm_pid"
		# FUSE lets go of a thread only when it has answered.
		expect "SIGTERM ends all but that thread" "" \
			within 30 grep -q '^State:.Z' "/proc/$vm_pid/status"
		kill -USR2 $fs_pid
		vm_end 30
		expect_eq "the VM ends" "$code" 0
	else
		kill -USR2 $fs_pid
		vm_line "RESET *" 60 || not_ok "reset" "not acknowledged"
		vm_line "DONE *" 60
		expect_eq "the guest goes on" "$line" "DONE passed=3 failed=0"
		vm_end 30
		expect_eq "the VM ends as its guest wants" "$code" 0
	fi
	expect_eq "the main loop has not stood still" \
		"$(grep -c 'stood still' "$dir/run/err")" 0
	fs_stop
	expect_eq "the image is let go" $? 0
}

if ! { exec 6<>/dev/fuse; } 2>/dev/null; then
	skip "fence" "no /dev/fuse"
	tests_end
fi
exec 6>&-
fence_test uring
fence_test threads
hang_test "then ends"
hang_test SIGTERM
tests_end
