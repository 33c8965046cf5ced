#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Sleeps and wakes many times in a row (60; LONG=1: 300; or the first argument)
# under disk and network load, by all sources in turn. No wake-up may be lost,
# every sum must be right, no process of the VM may grow, and the guest's kernel
# must find nothing to complain of.
. tests/boot/lib.sh

cycles=60
[ "${LONG-0}" != 1 ] || cycles=300
cycles=${1:-$cycles}
# The cycle after which a VM has all it needs, and what it may grow by since: a
# cycle's leak of as much as 100 bytes is more, over 300.
SETTLED=20 GROWTH_KIB=256
net_up
disk=/tmp/disk.img
truncate -s 64M $disk

# Writes, drops the page cache, reads back and compares, for ever.
disk_load='n=0; mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt && (
	while [ ! -e /tmp/stop ]; do
		n=$((n + 1));
		dd if=/dev/urandom of=/tmp/w bs=64k count=4 2>/dev/null;
		cp /tmp/w /mnt/w; sync; echo 3 >/proc/sys/vm/drop_caches;
		cmp -s /tmp/w /mnt/w || echo "round $n" >>/tmp/disk-bad;
		echo $n >/tmp/disk-rounds;
	done; touch /tmp/disk-done) >/dev/null 2>&1 &'

# One TCP connection over all cycles; both ends sum what goes over it.
net_load='mkfifo /tmp/sum /tmp/never; md5sum </tmp/sum >/tmp/net-sum &
	(while [ ! -e /tmp/stop ]; do
		dd if=/dev/urandom bs=8k count=1 2>/dev/null; usleep 100000;
	done | tee /tmp/sum | nc HOST 7002; touch /tmp/net-done)
	>/dev/null 2>&1 &'

# wake_by NUMBER: one of the sources; its name in $how.
wake_by() {
	case $(($1 % 6)) in
	0) how=powerbtn && ctl powerbtn ;;
	1) how=sleepbtn && ctl sleepbtn ;;
	2) how=ping && ping -c 1 -W 10 $GUEST_IP >/dev/null ;;
	3) how=launcher && ctl wake ;;
	4) how=serial && echo >&9 ;;
	5) # set before; a slow guest may have had it before it slept
		how=alarm
		ctl state --json
		[ "$(source_get rtc armed)" = true ] || ctl wake
		;;
	esac
}

set_alarm() {
	guest 'echo 0 >/sys/class/rtc/rtc0/wakealarm;
		echo +5 >/sys/class/rtc/rtc0/wakealarm'
}

# answers NUMBER HOW: a guest that does not, twice, has come to an end.
answers() {
	[ "$(guest echo here)" != here ] || return 0
	echo "  cycle $1: $2, but does not answer"
	lost=$((lost + 1))
	[ "$(guest echo here)" != here ] || return 0
	ctl state --json
	echo "  $ctl_out"
	not_ok "$cycles cycles: the guest answers" "stuck in cycle $1"
	tests_end cycles
}

# one_cycle NUMBER: sets $slept and $lost.
one_cycle() {
	[ $(($1 % 6)) != 5 ] || set_alarm
	if ! vm_suspend; then
		# The load woke it again before it slept: that loses nothing.
		case $ctl_out in
		*aborted*) aborted=$((aborted + 1)) ;;
		*)
			echo "  cycle $1: $ctl_out"
			lost=$((lost + 1))
			vm_wait RUNNING 20
			answers "$1" "did not sleep"
			guest 'dmesg | grep -v "^.\{15\}virtio_blk" |
				tail -n 20; ps | grep -v "\[" | tail -n 20' |
				sed 's/^/  | /'
			;;
		esac
		return
	fi
	slept=$((slept + 1))
	wake_by "$1"
	if ! vm_awake $((6 + SLOW)); then
		echo "  cycle $1: $how did not wake it"
		lost=$((lost + 1))
		ctl resume
		vm_awake 10
	fi
	answers "$1" "awake by $how"
}

# flat NAME BEFORE AFTER SLACK: lines "WHAT NUMBER", of which none has grown.
flat() {
	awk -v slack="$4" '
		NR == FNR { before[$1] = $2; n++; next }
		!($1 in before) || $2 > before[$1] + slack {
			print $1, before[$1], $2
		}
		{ n-- }
		END { if (n) print "not the same processes" }' \
		"$2" "$3" >/tmp/grown
	expect_eq "$1" "$(cat /tmp/grown)" ""
}

if ! vm_start "torpor.wake=net,ttyS0" --cpus 2 --block $disk \
	--net $NET; then
	not_ok "boot for the cycles" "see above"
	tests_end cycles
fi
vm_events_start
[ -e /tmp/never ] || mkfifo /tmp/never
nc -l -p 7002 <>/tmp/never >/tmp/received &
nc_pid=$!
listening 7002
guest "$disk_load"
guest "$(echo "$net_load" | sed "s/HOST/$HOST_IP/")"

# sizes NAME: of all processes of the VM, asleep: then the load has no threads at
# work.
sizes() {
	for si_try in 1 2 3 4 5; do
		! vm_suspend || break
		guest :
	done
	vm_sizes >"/tmp/$1"
	awk '{ print $1 "-fds", $3; print $1 "-threads", $4 }' "/tmp/$1" \
		>"/tmp/$1.counts"
	awk '{ print $1 "-KiB", $2 }' "/tmp/$1" >"/tmp/$1.memory"
	ctl resume
	guest :
}

slept=0 lost=0 aborted=0 i=0
while [ $i -lt "$cycles" ] && vm_running; do
	i=$((i + 1))
	one_cycle $i
	[ $i != $SETTLED ] || sizes before
done
sizes after
echo "  $i cycles: $slept asleep, $aborted woken by the load before that;" \
	"woken by:"
sed -n 's/.*"event": *"RESUMING".*"source": *"\([^"]*\)".*/\1/p' \
	"$vm_dir/events" | sort | uniq -c | sed 's/^ */    /'

expect_eq "$cycles cycles: the VM lives" "$i" "$cycles"
expect_eq "$cycles cycles: none lost" $lost 0
expect "$cycles cycles: most of them asleep" "$slept of $cycles" \
	[ $slept -ge $((cycles * 3 / 4)) ]

if [ "$cycles" -gt $((2 * SETTLED)) ]; then
	flat "$cycles cycles: file descriptors and threads" \
		/tmp/before.counts /tmp/after.counts 0
	flat "$cycles cycles: memory of each process" \
		/tmp/before.memory /tmp/after.memory $GROWTH_KIB
fi

guest 'touch /tmp/stop; n=0; while [ $n -lt 100 ]; do n=$((n + 1));
	[ -e /tmp/disk-done ] && [ -e /tmp/net-done ] && break;
	usleep 100000; done'
rounds=$(guest 'cat /tmp/disk-rounds')
expect "$cycles cycles: the disk worked on" "$rounds rounds" \
	[ "${rounds:-0}" -gt "$((cycles / 10))" ]
expect_eq "$cycles cycles: all $rounds files are right" \
	"$(guest 'cat /tmp/disk-bad 2>/dev/null')" ""
n=0
while kill -0 $nc_pid 2>/dev/null && [ $n -lt 50 ]; do
	n=$((n + 1))
	usleep 100000
done
expect "$cycles cycles: the connection carried data" "nothing came" \
	[ -s /tmp/received ]
expect_eq "$cycles cycles: one connection, and its data is right" \
	"$(md5sum </tmp/received)" "$(guest 'cat /tmp/net-sum')"
expect_no_warning "$cycles cycles"
tests_end cycles
