#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Directories of the host in a stock guest: what POSIX says of files
# (posix_cases.c), run in the guest; what one side writes, read by the other. A
# guest that has one refuses to sleep, and that is what the launcher is told.
. tests/boot/lib.sh

base=/tmp/share
cases=$B/tests/boot/posix_cases

# in_guest COMMANDS: in the shared directory.
in_guest() {
	guest "cd /mnt && ( $1 )"
}

# guest_ok NAME COMMANDS: ok if they succeed.
guest_ok() {
	expect "$1" "the guest says no" in_guest "$2"
}

# guest_eq NAME COMMANDS WANTED
guest_eq() {
	expect_eq "$1" "$(in_guest "$2" | tr -d '\r')" "$3"
}

# share_start NAME OPTIONS OWNER [OPTION OF torpor run]...: a guest that has the
# directory mounted.
share_start() {
	rm -rf $base
	mkdir -p $base/sub $base/cases
	cp "$cases" $base/posix_cases
	echo "from the host" >$base/hosts
	echo outside >/tmp/outside
	chown -R "$3" $base
	ss_name=$1 ss_options=$2
	shift 3
	if ! vm_start "" --shared-dir "$base:data$ss_options" "$@"; then
		not_ok "$ss_name: boots" "see above"
		return 1
	fi
	expect_eq "$ss_name: mounts" \
		"$(guest 'mount -t virtiofs data /mnt && echo it does')" \
		"it does"
}

# both_sides NAME: what one writes the other reads.
both_sides() {
	guest_eq "$1: the guest reads" 'cat hosts' "from the host"
	guest_ok "$1: the guest writes" 'echo "from the guest" >guests'
	expect_eq "$1: the host reads it" "$(cat $base/guests)" \
		"from the guest"
	guest_ok "$1: 4 MiB of the guest's" \
		'dd if=/dev/urandom of=big bs=100k count=40 2>/dev/null; sync'
	expect_eq "$1: are the same to the host" "$(md5sum <$base/big)" \
		"$(in_guest 'echo 3 >/proc/sys/vm/drop_caches; md5sum <big' |
			tr -d '\r')"
	ln -s ../outside $base/up
	ln -s /tmp/outside $base/abs
	guest_ok "$1: links of the host lead nowhere in the guest" \
		'! cat up 2>/dev/null && ! cat abs 2>/dev/null'
	mkdir -m 777 $base/many
	(cd $base/many && i=0 && while [ $i -lt 2000 ]; do
		: >f$i
		i=$((i + 1))
	done)
	guest_eq "$1: 2000 files of the host's" 'ls -l many | grep -c f' 2000
	guest_ok "$1: and removes them all" 'rm -r many && [ ! -e many ]'
}

# the_end NAME
the_end() {
	expect_eq "$1: mounts again" "$(guest 'cd /; umount /mnt &&
		mount -t virtiofs data /mnt && cat /mnt/hosts')" \
		"from the host"
	expect_no_warning "$1"
	expect_eq "$1: no device was killed" \
		"$(grep -c 'killed:' "$vm_dir/err")" 0
	vm_powers_off "$1"
}

# The stock driver vetoes; torpor says so and the guest goes on.
refuses_to_sleep() {
	in_guest '(exec 3>kept; echo before >&3; exec sleep 1000) &'
	if vm_suspend; then
		not_ok "$1: refuses to sleep" "it sleeps: $ctl_out"
		ctl resume
	else
		expect_eq "$1: refuses to sleep, and torpor says it" \
			"${ctl_out#*: refused by the guest: }" \
			"its driver of fs0 cannot suspend it (no VIRTIO_F_SUSPEND)"
	fi
	expect_eq "$1: and runs on" "$(vm_state)" RUNNING
	guest_eq "$1: and has its files" 'cat hosts kept' \
		"$(printf 'from the host\nbefore')"
	guest_ok "$1: its kernel names the driver" \
		'dmesg | grep -q "virtio-fs: suspend/resume not yet supported"'
	in_guest 'kill $(pidof sleep)'
}

if share_start root ":suid=true" 0:0; then
	both_sides root
	vm_posix root root
	refuses_to_sleep root
	the_end root
fi

name="cache never, locks of the host"
if share_start "$name" ":type=fs:cache=never:locks=true:suid=true" 0:0; then
	vm_posix "$name" root
	the_end "$name"
fi

# Without namespaces it is an id nobody uses (weak), or root as it is (off).
name="weak sandbox"
if share_start "$name" "" 0:0 --sandbox weak; then
	guest_eq "$name: reads what others may" 'cat hosts' "from the host"
	guest_ok "$name: writes not what others may not" \
		'! echo x >hosts 2>/dev/null'
	the_end "$name"
fi
name="no sandbox"
if share_start "$name" "" 0:0 --sandbox off; then
	both_sides "$name"
	guest_ok "$name: sets set-id bits" 'cp /bin/busybox s && chmod 6755 s'
	expect_eq "$name: the host has none of them" \
		"$(stat -c %a $base/s)" 755
	the_end "$name"
fi

# As an ordinary user: all files are that user's.
if [ "$(id -u)" = 0 ] && grep -q '^user:' /etc/passwd; then
	name="ordinary user"
	cat >/tmp/as-user <<-END
		#!/bin/sh
		ulimit -Hn 65536
		# The directory of its socket was made by root.
		chown user /tmp/vm.*
		exec su user -c "exec $PWD/$torpor \$(for word in "\$@"; do
			printf "'%s' " "\$word"; done)"
	END
	chmod 755 /tmp/as-user
	torpor_root=$torpor
	torpor=/tmp/as-user
	chmod 777 /tmp
	if share_start "$name" ":cache=always:writeback=true" user:user; then
		both_sides "$name"
		vm_posix "$name"
		guest_ok "$name: nothing is given away" \
			'! chown 5 hosts 2>/dev/null'
		expect_eq "$name: what is new is the user's" \
			"$(stat -c %U $base/guests)" user
		the_end "$name"
	fi
	torpor=$torpor_root
else
	skip "ordinary user" "this is one, or there is no other"
fi
tests_end fs
