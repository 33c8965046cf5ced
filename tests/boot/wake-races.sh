#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Wake races on Debian's stock kernel: each source has an event at a random
# moment between the suspend request and 50 ms after the guest is asleep, 3 times
# (LONG=1: 100), once with a plain write to /sys/power/state and once with the
# wakeup_count protocol.
#
# An event is lost unless the awake guest has taken it, or it wakes the guest, or
# keeps it from sleeping. That it was taken is what both sides must say: torpor
# has nothing pending, its input is empty; and the guest has counted it. With
# wakeup_count an event that Linux counts as one of wakeup must keep the guest
# from sleeping, unless it came before the count was read. Drivers of stock Linux
# count no packet and no byte that they take while the guest is awake.
#
#	wake-races.sh [ROUNDS [SOURCE]...]
. tests/boot/lib.sh

race=$B/tests/boot/race
rounds=3
[ "${LONG-0}" != 1 ] || rounds=100
if [ $# -gt 0 ]; then
	rounds=$1
	shift
fi
sources=${*:-powerbtn sleepbtn rtc net0 serial console0 launcher}
seed=${SEED:-$RANDOM}
RANDOM=$seed
# What an event may take to get from here to where it counts.
SETTLE_S=$((2 * SLOW))
# How far the guest's REALTIME may be off between two sleeps.
CLOCK_NS=20000000
HVC=/tmp/hvc

# The guest's part: the power button is counted and no more, the sleep button puts
# it to sleep if the host has allowed that by removing `held`, once: two presses
# may run it at the same time. The times of the files tell when. count prints what
# the guest has seen so far.
setup='cd /run; : >power; : >hvc; mkdir held; : >sleep-error;
printf "#!/bin/sh\necho >>/run/power\n" >/etc/acpi/power;
printf "#!/bin/sh\ncd /run; mkdir held 2>/dev/null || exit;
	exec go-to-sleep >/dev/console 2>&1\n"
	>/etc/acpi/sleep;
echo "cd /run; i=/sys/firmware/acpi/interrupts;
	read pwr x <\$i/ff_pwr_btn; read slp x <\$i/ff_slp_btn;
	read lid x <\$i/gpe1F;
	set -- \$(grep \"^ *8:\" /proc/interrupts); rtc=\$2;
	set -- \$(grep \"^Udp: [0-9]\" /proc/net/snmp);
	echo COUNT \$pwr \$slp \$rtc \$3 \$lid \$(wc -l <hvc) \$(wc -l <power)
	\$(stat -c \"%Y %y\" held sleep-error)" >count;
for f in /sys/bus/virtio/drivers/virtio_console/virtio*/../power/wakeup; do
	echo enabled >$f; done;
arp -i eth0 -s '$HOST_IP' $(cat /run/mac);
stty raw -echo </dev/hvc0; (cat /dev/hvc0 >>/run/hvc &)'

# guest_count: what the guest has seen to $n_powerbtn and so on, and when its
# script for the sleep button ran and when the count of wakeups was written.
guest_count() {
	gc_out=$(guest . /run/count)
	# The answer to a serial event may come before that of our question.
	case $gc_out in
	*"TORPOR-DONE $event_tag "*) n_serial=$((b_serial + 1)) ;;
	esac
	set -- $(echo "$gc_out" | grep '^COUNT ')
	[ $# = 16 ] || return 1
	n_powerbtn=$2 n_sleepbtn=$3 n_rtc=$4 n_net0=$5 n_launcher=$6
	n_console0=$7 n_key=$8
	shift 8
	held_ns=$1${3#*.} written_ns=$5${7#*.}
}

state_get() {
	echo "$ctl_out" | tr -d ' \n' | sed 's/.*"state":"\([A-Z]*\)".*/\1/'
}

tap_read() {
	cat /sys/class/net/tap0/statistics/tx_packets
}

# Bytes that the console's process has read. Whatever else it reads, counters
# and signals, comes in multiples of 8.
console_read() {
	sed -n 's/rchar: //p' "/proc/$console_pid/io"
}

# here_before, taken SOURCE: has the event left our hands since?
here_before() {
	ctl state --json
	b_count=$(source_get "$1" count) b_tap=$(tap_read)
	b_console=$(console_read)
}

taken() {
	[ "$(source_get "$1" pending)" = false ] || return 1
	case $1 in
	net0) [ "$(tap_read)" -gt "$b_tap" ] ;;
	serial) ! read -r -t 0 t_any <&9 ;;
	console0) [ $((($(console_read) - b_console) % 8)) != 0 ] ;;
	# A guest that runs is left alone.
	launcher) [ "$at" = RUNNING ] ||
		[ "$(source_get "$1" count)" -gt "$b_count" ] ;;
	*) [ "$(source_get "$1" count)" -gt "$b_count" ] ;;
	esac
}

# settle SOURCE: what became of the event in $fate: awake (the guest is, and its
# scripts say so), taken (and it sleeps on), or nothing. An event has SETTLE_S from
# when the guest sleeps; to get there, and back, takes as long as it takes.
settle() {
	se_state= fate=nothing
	while :; do
		ctl state --json
		settled=$ctl_out
		found="$(state_get), pending $(source_get "$1" pending)"
		case $found in
		RUNNING*)
			listen
			[ $back = 0 ] || { fate=awake && return; }
			;;
		SUSPENDED*) ! taken "$1" || { fate=taken && return; } ;;
		esac
		now_s
		if [ "$se_state" != "${found%%,*}" ]; then
			se_state=${found%%,*}
			se_end=$((now + 15 * SLOW))
			[ "$se_state" != SUSPENDED ] ||
				se_end=$((now + SETTLE_S))
		fi
		[ "$now" -lt $se_end ] || return 0
		usleep 20000
	done
}

# listen: takes what the guest has said so far. $back: its script has said that
# the sleep is over, or was none.
listen() {
	while read -r -t 0 li_any <&8; do
		now_s
		end=$((now + 10 * SLOW))
		console_line || return
		case $line in
		"TORPOR: awake again"* | "TORPOR: not asleep"*) back=1 ;;
		"TORPOR-DONE $event_tag "*) n_serial=$((b_serial + 1)) ;;
		esac
	done
}

# come_back: the guest is woken, if it sleeps, until it has said that it is awake.
come_back() {
	now_s
	co_end=$((now + 15 * SLOW))
	while [ $back = 0 ] && [ "$now" -lt $co_end ]; do
		ctl state --json
		[ "$(state_get)" != SUSPENDED ] || ctl wake
		listen
		usleep 20000
		now_s
	done
	[ $back = 1 ]
}

# seen SOURCE: the guest has counted the event.
seen() {
	case $1 in
	launcher)
		[ "$at" = RUNNING ] || [ "$n_launcher" -gt "$b_launcher" ]
		;;
	sleepbtn)
		# The request is a press too, and one that comes before the
		# guest has taken it is the same.
		[ $((n_sleepbtn - b_sleepbtn)) -ge 2 ] ||
			[ "$event_ns" -lt "$held_ns" ]
		;;
	*) eval "[ \$n_$1 -gt \$b_$1 ]" ;;
	esac
}

# lose SOURCE WHY
lose() {
	lost=$((lost + 1))
	echo "$settled" >>"$TORPOR_OUT/races.log"
	echo "  lost: $1, $(((event_ns - request_ns) / 1000000)) ms after the" \
		"request ($outcome, $fate): $2; $found"
}

# fire SOURCE: sets $request_ns, $event_ns, $outcome. 1: the test is at fault.
fire() {
	fi_us=$(((RANDOM * 32768 + RANDOM) % (fall_us + 50000)))
	case $1 in
	powerbtn | sleepbtn) set -- "$1" "$1" ;;
	launcher) set -- "$1" wake ;;
	net0) set -- "$1" packet $GUEST_IP ;;
	serial)
		read -r event_tag </proc/sys/kernel/random/uuid
		set -- "$1" write "$vm_dir/in" "$event_tag :"
		;;
	console0) set -- "$1" write $HVC "$(cat /proc/sys/kernel/random/uuid)" ;;
	rtc)
		# Soon, but not before a slow guest has answered.
		for fi_s in 2 4 8 16; do
			fi_due=$(guest "cd /sys/class/rtc/rtc0; echo 0 >wakealarm;
				echo +$fi_s >wakealarm; cat wakealarm")
			[ -z "$fi_due" ] || break
		done
		set -- "$1" alarm "$fi_due"
		;;
	esac
	shift
	fi_out=$("$race" "$vm_sock" $((fall_us / 250)) $fi_us "$@") || return 1
	echo "$fi_out" >>"$TORPOR_OUT/races.log"
	set -- $fi_out
	request_ns=$1 event_ns=$2 outcome=$3 at=$4
}

# look SOURCE: what the guest has seen, which it may a little later than it is
# awake.
look() {
	for lo_try in 1 2 3 4 5 6 7 8; do
		listen
		guest_count || return 1
		! seen "$1" || return 0
		# A button that wakes is not a press, an alarm that does no
		# interrupt: there is no more to see.
		case $fate,$1 in
		awake,powerbtn | awake,sleepbtn | awake,rtc | awake,launcher)
			return 0
			;;
		esac
		usleep $((50000 * SLOW))
	done
}

# one_race SOURCE: counts what became of it; 1 if the guest is stuck.
one_race() {
	guest rmdir /run/held
	here_before "$1"
	b_powerbtn=$n_powerbtn b_sleepbtn=$n_sleepbtn b_rtc=$n_rtc
	b_net0=$n_net0 b_launcher=$n_launcher b_console0=$n_console0
	b_key=$n_key b_serial=0 n_serial=0 back=0 event_tag=none
	fire "$1" || return 1
	settle "$1"
	[ "$fate" = awake ] || come_back || return 1
	look "$1" && judge "$1"
}

judge() {
	eval "$fate=\$(($fate + 1))"
	case $fate,$1 in
	nothing,*)
		lose "$1" "neither taken nor a wake-up"
		return
		;;
	awake,powerbtn | awake,sleepbtn | awake,rtc | awake,launcher) return ;;
	# Used buffers that the driver throws away when it freezes.
	taken,net0 | taken,console0) seen "$1" || dropped=$((dropped + 1)) ;;
	*) seen "$1" || lose "$1" "the guest has not seen it" ;;
	esac
	# A press that its driver finds to come too late.
	[ "$fate,$1" != taken,powerbtn ] || [ "$n_key" -gt "$b_key" ] ||
		dropped=$((dropped + 1))
	case $mode,$fate,$1 in
	wakeup_count,taken,powerbtn | wakeup_count,taken,sleepbtn | \
		wakeup_count,taken,rtc | wakeup_count,taken,launcher)
		[ "$event_ns" -lt $((written_ns + CLOCK_NS)) ] ||
			lose "$1" "the guest sleeps, although it counts this"
		;;
	esac
}

# spurious: wake-ups by sources that had fewer events, from the log of events.
spurious() {
	sed -n 's/.*"event": *"RESUMING".*"source": *"\([^"]*\)".*/\1/p
		/"source"/!s/.*"event": *"RESUMING".*/nobody/p' \
		"$vm_dir/events" | sort | uniq -c | while read -r sp_n sp_name; do
		case $sp_name in
		launcher) continue ;; # also what follows the others
		nobody) sp_events=0 ;;
		*) sp_events=$rounds ;;
		esac
		[ "$sp_n" -le $sp_events ] ||
			echo "$sp_name $sp_n of $sp_events"
	done
}

# races MODE KERNEL_ARGS
races() {
	mode=$1
	if ! vm_start "torpor.wake=net,ttyS0 $2" --net $NET \
		--console type=pty,path=$HVC; then
		not_ok "$1: boot" "see above"
		return
	fi
	vm_events_start
	# Held open: a terminal that nobody has open hangs up.
	exec 7<>$HVC
	stty raw -echo <&7
	guest "echo $(cat /sys/class/net/tap0/address) >/run/mac"
	guest "$setup"
	ctl state --json
	console_pid=$(echo "$ctl_out" | tr -d ' \n' | tr '{' '\n' |
		sed -n 's/^"name":"console0".*"pid":\([0-9]*\).*/\1/p')
	# The first sleep also sets the guest's clocks right.
	guest rmdir /run/held
	vm_suspend
	fall_us=$(echo "$ctl_out" | sed -n 's/.* \([0-9]*\) ms.*/\1000/p')
	ctl wake
	vm_awake 10
	event_tag=none
	guest_count
	lost=0 dropped=0
	for source in $sources; do
		awake=0 taken=0 nothing=0 i=0
		while [ $i -lt "$rounds" ]; do
			i=$((i + 1))
			one_race $source && continue
			not_ok "$1: $source, the guest goes on" \
				"stuck in round $i: $ctl_out"
			vm_postmortem
			return
		done
		echo "  $1, $source: $awake kept it awake or woke it," \
			"$taken taken before, $nothing neither"
	done
	[ $dropped = 0 ] || echo "  $1: of them $dropped thrown away by the" \
		"guest's drivers on their way to sleep"
	ok "$1: $rounds races of each source, the guest goes on"
	expect_eq "$1: events lost" $lost 0
	expect_eq "$1: wake-ups without an event" "$(spurious)" ""
	expect_no_warning "$1"
}

echo "  seed $seed"
net_up
races plain ""
races wakeup_count "torpor.wakeup_count=1"
tests_end wake-races
