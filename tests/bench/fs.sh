#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# One guest, two shared directories on the same file system of the host: one of
# torpor's own device, one of Debian's virtiofsd. Lines "fs SERVER NAME COUNT
# NANOSECONDS" for bench.sh; what went wrong goes to stderr and fails it.
#
#	fs.sh ENTRIES STRESS_TAR
. tests/boot/lib.sh

entries=$1 stress=$2
work=$(mktemp -d /tmp/fs.XXXXXX)
virtiofsd=/usr/lib/qemu/virtiofsd
[ -x $virtiofsd ] || virtiofsd=$PWD$virtiofsd # on the emulated host
virtiofsd_pid= bad=0

cleanup() {
	vm_kill
	[ -z "$virtiofsd_pid" ] || kill $virtiofsd_pid 2>/dev/null
	virtiofsd_pid=
	rm -rf "$work"
}
trap cleanup EXIT
trap 'cleanup; exit 143' TERM
trap 'cleanup; exit 130' INT

# How much each of the class `filesystem` is asked for.
STRESSORS='access:20 chmod:8 dentry:100 dir:20 fallocate:4 fcntl:40
	flock:2000 getdent:10 hdd:10 lockf:1000 rename:100 seek:200
	touch:40 utime:200'

wrong() {
	echo "fs.sh: $*" >&2
	bad=1
}

# measure SERVER COMMAND: of lines "NAME COUNT NS".
measure() {
	guest_send "$2"
	guest_result 3600 | tr -d '\r' >"$work/said"
	grep -v "^[a-z-]* [0-9]* [0-9]*$" "$work/said" | sed "s/^/$1: /" >&2
	sed -n "s/^\([a-z-]* [0-9]* [0-9]*\)$/fs $1 \1/p" "$work/said"
}

ulimit -n 1000000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
mkdir -p "$work/own/ops" "$work/own/stress" "$work/theirs/ops" \
	"$work/theirs/stress"
cp "$stress" "$work/own/stress.tar"
cp "$B/bench/fs_ops" "$work/own/fs_ops"
$virtiofsd "--socket-path=$work/sock" -o "source=$work/theirs,cache=auto" \
	2>"$work/err" &
virtiofsd_pid=$!
while [ ! -S "$work/sock" ] && kill -0 $virtiofsd_pid 2>/dev/null; do
	usleep 1000
done
VM_MEM=512
if ! vm_start "" --shared-dir "$work/own:own:cache=auto" \
	--vhost-user "fs,socket=$work/sock,tag=theirs"; then
	cat "$work/err" >&2
	exit 1
fi
guest 'mkdir /mnt/own /mnt/theirs /tmp/tools;
	mount -t virtiofs own /mnt/own && mount -t virtiofs theirs /mnt/theirs &&
	tar -C /tmp/tools -xf /mnt/own/stress.tar && cp /mnt/own/fs_ops /tmp' ||
	wrong "the guest cannot mount"

for server in own theirs; do
	mkdir "$work/$server/ops/many"
	(cd "$work/$server/ops/many" &&
		seq 1000000 $((999999 + entries)) | xargs touch)
	measure $server "/tmp/fs_ops /mnt/$server/ops $entries" >"$work/raw"
	cat "$work/raw"
	[ "$(wc -l <"$work/raw")" = 8 ] || wrong "$server: not all of fs_ops"
	rm -rf "$work/$server/ops/many"
	# What the guest remembers, the server keeps open.
	guest_send 'echo 3 >/proc/sys/vm/drop_caches'
	guest_result 3600
done
# In turns, as other work on the machine comes and goes.
for round in 2 3; do
	for server in own theirs; do
		measure $server "/tmp/fs_ops /mnt/$server/ops 0"
	done
done
# stress-ng says: ] NAME OPS SECONDS ...
for stressor in $STRESSORS; do
	name=${stressor%:*}
	for server in own theirs own theirs; do
		measure $server "/tmp/tools/ld.so --library-path /tmp/tools \
			/tmp/tools/stress-ng --temp-path /mnt/$server/stress \
			--$name 1 --$name-ops ${stressor#*:} --timeout 120 \
			--metrics-brief --verify 2>&1 | awk -v n=$name '
			/fail:|error:/ { print; next }
			{ for (i = 1; i < NF - 2; i++) if (\$i == n && \$(i + 1) ~ /^[0-9]+\$/ &&
			\$(i + 2) ~ /^[0-9.]+\$/) { printf \"stress-%s %d %.0f\\n\", n,
			\$(i + 1), \$(i + 2) * 1000000000; exit } }'"
	done
done
[ -z "$(find "$work/own/stress" "$work/theirs/stress" -mindepth 1)" ] ||
	wrong "stress-ng left files"
vm_running || wrong "the VM is gone: $(tail -n 3 "$vm_dir/err")"
guest_send "poweroff -f"
vm_exit 60 || wrong "no end"
exit $bad
