# SPDX-License-Identifier: BSD-3-Clause
#
# Functions of the tests that boot Linux guests. For busybox sh, as root of a
# machine or of a network namespace (tests/harness/run-guests.sh).
#
# Each check prints one line: `ok - NAME`, `not ok - NAME: WHY`, or
# `skip - NAME: WHY`; tests_end prints the sums and exits.

B=${B:-build}
TORPOR_OUT=${TORPOR_OUT:-/tmp}
torpor=$B/torpor
HOST_IP=10.9.8.1
GUEST_IP=10.9.8.2
# What a VM boots: vmlinuz and initramfs.cpio of this directory.
VM_GUEST=${VM_GUEST:-$B/guest}
VM_KERNEL=$VM_GUEST/vmlinuz
GUEST_INITRD=$VM_GUEST/initramfs.cpio
GUEST_MAC=02:00:0a:09:08:02
NET=tap-name=tap0,mac=$GUEST_MAC # for torpor run --net
CONSOLE_ARGS="console=ttyS0 quiet torpor.ip=$GUEST_IP/24"
# What each VM that ends tells of its main loop.
TORPOR_TURNS=$(mktemp)
export TORPOR_TURNS
# Everything emulated takes longer.
[ "${TORPOR_NESTED-0}" = 1 ] && SLOW=4 || SLOW=1

passed=0 failed=0 skipped=0
vm_pid= vm_waiter= vm_dir= vm_events_pid=

# ---------------------------------------------------------------- reporting

ok() {
	passed=$((passed + 1))
	echo "ok - $1"
}

not_ok() {
	failed=$((failed + 1))
	echo "not ok - $1: $2"
}

skip() {
	skipped=$((skipped + 1))
	echo "skip - $1: $2"
}

# expect NAME WHY COMMAND...: ok if the command succeeds.
expect() {
	ex_name=$1 ex_why=$2
	shift 2
	if "$@" >/dev/null; then
		ok "$ex_name"
	else
		not_ok "$ex_name" "$ex_why"
		return 1
	fi
}

# expect_eq NAME GOT WANTED
expect_eq() {
	expect "$1" "got '$2', not '$3'" [ "$2" = "$3" ]
}

# between LEAST VALUE MOST
between() {
	[ "$1" -le "$2" ] && [ "$2" -le "$3" ]
}

# expect_within NAME VALUE_NS WANTED_NS TOLERANCE_MS
expect_within() {
	ew_ms=$((($2 - $3) / 1000000))
	expect "$1" "off by $ew_ms ms, more than $4" \
		[ "${ew_ms#-}" -le "$4" ]
}

tests_end() {
	vm_kill
	servers_kill
	sort -n "$TORPOR_TURNS" | sed -n '$s/^/# longest turn: /p'
	rm -f "$TORPOR_TURNS"
	echo "$1: $passed passed, $failed failed, $skipped skipped"
	trap - EXIT
	[ "$failed" = 0 ]
	exit
}

# ---------------------------------------------------------------- time

# now_s: seconds since boot in $now, without a process.
now_s() {
	read -r now _ </proc/uptime
	now=${now%.*}
}

# clocks_read: the clocks of this side in $mono, $boot and $real, ns.
clocks_read() {
	set -- $("$B/guest/clocks")
	mono=$1 boot=$2 real=$3
}

# ---------------------------------------------------------------- the network

net_up() {
	[ ! -e /sys/class/net/tap0 ] || return 0
	tunctl -t tap0 >/dev/null
	echo 1 >/proc/sys/net/ipv6/conf/tap0/disable_ipv6
	ip addr add $HOST_IP/24 dev tap0
	ip link set tap0 up
	# Else this side asks who has the address every now and then, which is
	# a packet, which wakes a sleeper.
	arp -i tap0 -s $GUEST_IP $GUEST_MAC
}

# listening PORT: returns when somebody on this side listens there.
listening() {
	li_port=$(printf ':%04X 00000000:0000 0A' "$1")
	for li_try in 1 2 3 4 5 6 7 8 9 10; do
		! grep -q "$li_port" /proc/net/tcp /proc/net/tcp6 \
			2>/dev/null || return 0
		usleep 50000
	done
	return 1
}

# ---------------------------------------------------------------- the VM

# vm_start KERNEL_ARGS [OPTION OF torpor run]...
# Starts a VM whose serial port is ours, and returns when its init takes
# commands. 1 if it does not get there.
vm_start() {
	vs_args=$1
	shift
	vm_launch "torpor.run=commands $vs_args" "$@"
	vm_console_wait "TORPOR-COMMANDS*" $((20 * SLOW))
}

# vm_launch KERNEL_ARGS [OPTION]...: the same without waiting for anything.
vm_launch() {
	vl_args=$1
	shift
	vm_begin
	vm_exec "$torpor" run --socket "$vm_sock" --mem "${VM_MEM:-256}" \
		--serial stdio --initrd "$GUEST_INITRD" \
		--params "$CONSOLE_ARGS $vl_args" "$@" "$VM_KERNEL"
}

# vm_begin: $vm_dir, with what connects the console.
vm_begin() {
	vm_kill
	vm_dir=$(mktemp -d /tmp/vm.XXXXXX)
	vm_sock=$vm_dir/sock
	mkfifo "$vm_dir/in" "$vm_dir/out"
	# Open for reading and writing, so that neither side ever sees the end.
	exec 8<>"$vm_dir/out" 9<>"$vm_dir/in"
	: >"$vm_dir/console"
}

# vm_exec COMMAND...: what runs the VM; its stdin and stdout are the console.
vm_exec() {
	clocks_read
	vm_start_ns=$boot
	(
		"$@" <"$vm_dir/in" >"$vm_dir/out" 2>"$vm_dir/err" 8>&- 9>&- &
		echo $! >"$vm_dir/pid"
		wait $!
		echo $? >"$vm_dir/code"
		printf '\nTORPOR-GONE\n' >&8
	) 2>/dev/null &
	vm_waiter=$!
	while [ ! -s "$vm_dir/pid" ]; do
		usleep 1000
	done
	read -r vm_pid <"$vm_dir/pid"
}

vm_running() {
	[ -n "$vm_pid" ] && [ ! -s "$vm_dir/code" ]
}

# console_line: the next line of the console in $line, before the time $end (as
# now_s). 1 if there is none, as the time is over or the VM is gone. The one
# timeout is that of the caller: a read that times out loses half a line.
console_line() {
	now_s
	[ "$now" -lt "$end" ] &&
		IFS= read -r -t $((end - now)) line <&8 || return 1
	line=${line%$(printf '\r')}
	echo "$line" >>"$vm_dir/console"
	[ "$line" != TORPOR-GONE ]
}

# vm_console_wait PATTERN SECONDS: reads the console up to a line that matches
# the shell pattern, into $line. All lines also go to $vm_dir/console.
vm_console_wait() {
	now_s
	end=$((now + $2))
	while console_line; do
		case $line in
		$1) return 0 ;;
		esac
	done
	echo "  no '$1' on the console in $2 s; its last lines:" >&2
	tail -n 5 "$vm_dir/console" | sed 's/^/  | /' >&2
	tail -n 5 "$vm_dir/err" | sed 's/^/  ! /' >&2
	return 1
}

# guest_send COMMAND: has the guest's init run it; $tag names it. One line to
# the guest, so a line break in it is no more than a space.
guest_send() {
	read -r tag </proc/sys/kernel/random/uuid
	echo "$tag $1" | tr '\n\t' '  ' >&9
	echo >&9
}

# guest_result SECONDS: the output of the command of $tag, and its status.
guest_result() {
	now_s
	end=$((now + $1))
	while console_line; do
		case $line in
		"TORPOR-DONE $tag "*) return "${line##* }" ;;
		"TORPOR: "*) ;;
		*) echo "$line" ;;
		esac
	done
	echo "  the guest did not answer in $1 s" >&2
	vm_postmortem >&2
	return 125
}

# kvm_counts: a line "NAME COUNT" for each of KVM's own statistics.
kvm_counts() {
	[ "${TORPOR_NESTED-0}" = 0 ] || [ -d /sys/kernel/debug/kvm ] ||
		mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	for kc in /sys/kernel/debug/kvm/*; do
		[ ! -f "$kc" ] || echo "${kc##*/} $(cat "$kc")"
	done 2>/dev/null
}

# vm_postmortem: what can be seen from outside of a guest that is stuck.
vm_postmortem() {
	tail -n 8 "$vm_dir/console" | sed 's/^/  | /'
	tail -n 5 "$vm_dir/err" | sed 's/^/  ! /'
	vm_running || return 0
	ctl state
	echo "$ctl_out" | sed 's/^/  : /'
	vm_threads >"$vm_dir/threads"
	kvm_counts >"$vm_dir/counts"
	sleep 2
	kvm_counts | awk 'NR == FNR { n[$1] = $2; next }
		$2 != n[$1] { printf " %s +%d", $1, $2 - n[$1] }
		END { print "" }' "$vm_dir/counts" - | sed 's/^/  KVM in 2 s:/'
	vm_threads | threads_diff "$vm_dir/threads" - |
		awk '$4 || $5 { print "  " $3 ": in 2 s ran", $4 / 1e6,
			"ms, woke", $5, "times" }'
	ping -c 1 -W 5 $GUEST_IP >/dev/null 2>&1 &&
		echo "  its network answers" || echo "  its network does not answer"
}

# guest COMMAND: runs it in the guest, prints its output, returns its status.
guest() {
	guest_send "$*"
	guest_result $((15 * SLOW))
}

# expect_no_warning NAME: the guest's kernel found nothing to complain of.
expect_no_warning() {
	enw=$(guest "dmesg | grep -E 'WARNING: CPU|BUG:|lockup|rcu.*stall|\
Oops|blocked for more than|Call Trace|I/O error'")
	[ -z "$enw" ] || guest dmesg | tee "$TORPOR_OUT/dmesg" | grep -B 3 -A 30 \
		-m 1 -E 'WARNING: CPU|BUG:|rcu.*stall' | sed 's/^/  | /'
	expect_eq "$1: no kernel warning" "$enw" ""
}

# expect_clean_log NAME: its log has no line of level warning or worse but those
# of accepted.dmesg.
expect_clean_log() {
	ecl_accepted=$(mktemp)
	grep -v '^#' tests/boot/accepted.dmesg >"$ecl_accepted"
	# A level is the low three bits of what stands in angle brackets.
	guest 'dmesg -r' | tr -d '\r' | sed -n 's/^<[0-4]>//p' |
		sed 's/^\[[^]]*\] //' >"$ecl_accepted.log"
	ecl_found=$(grep -v -E -f "$ecl_accepted" "$ecl_accepted.log")
	rm -f "$ecl_accepted" "$ecl_accepted.log"
	expect_eq "$1: a clean log" "$ecl_found" ""
}

# vm_exit SECONDS: waits for the end of the VM; its exit code in $code.
vm_exit() {
	code=none
	vm_gone_wait "$1" || return 1
	read -r code <"$vm_dir/code"
	vm_end
}

vm_gone_wait() {
	now_s
	end=$((now + $1))
	while vm_running; do
		[ "$now" -lt "$end" ] || return 1
		usleep 50000
		now_s
	done
}

# vm_powers_off NAME: the guest is told to, and the VM ends as it should.
vm_powers_off() {
	guest_send "poweroff -f"
	vm_exit 30
	expect_eq "$1: powers off" "$code" 0
}

# vm_says TEXT: torpor has, or does soon.
vm_says() {
	vs_try=0
	while ! grep -q "$1" "$vm_dir/err"; do
		vs_try=$((vs_try + 1))
		[ $vs_try -lt 200 ] || return 1
		usleep 50000
	done
}

# vm_posix NAME [root]: the list of cases of posix_cases.c in the guest's /mnt,
# a check each. The program is from the directory itself: its pages are mapped.
vm_posix() {
	vp_list=$(mktemp)
	guest_send "cd /mnt && ./posix_cases cases ${2-}"
	guest_result $((60 * SLOW)) | tr -d '\r' >"$vp_list"
	while read -r vp_line; do
		case $vp_line in
		"ok - "*) ok "$1: POSIX: ${vp_line#ok - }" ;;
		"not ok - "*) not_ok "$1: POSIX: ${vp_line#not ok - }" \
			"see posix_cases.c" ;;
		*) echo "  $vp_line" ;;
		esac
	done <"$vp_list"
	expect "$1: POSIX: to the end of the list" \
		"$(wc -l <"$vp_list") cases" \
		[ "$(grep -c 'ok - ' "$vp_list")" -ge 36 ]
	rm -f "$vp_list"
}

# server SOCKET ERRORS COMMAND...: in the background, its pid in $server_pid;
# returns when it listens, or has ended. servers_kill ends all of them.
servers=

server() {
	se_socket=$1 se_errors=$2
	shift 2
	rm -f "$se_socket"
	"$@" >"$se_errors" 2>&1 &
	server_pid=$!
	servers="$servers $server_pid"
	while [ ! -S "$se_socket" ] && kill -0 $server_pid 2>/dev/null; do
		usleep 1000
	done
}

servers_kill() {
	for sk_pid in $servers; do
		kill "$sk_pid" 2>/dev/null
		wait "$sk_pid" 2>/dev/null
	done
	servers=
}

# Ends whatever is left of the VM.
vm_kill() {
	if [ -n "$vm_pid" ] && vm_running; then
		kill -9 "$vm_pid" 2>/dev/null
		vm_gone_wait 10
	fi
	vm_end
}

vm_end() {
	[ -n "$vm_dir" ] || return 0
	wait "$vm_waiter" 2>/dev/null
	vm_pid=
	if [ -n "$vm_events_pid" ]; then
		kill "$vm_events_pid" 2>/dev/null
		wait "$vm_events_pid" 2>/dev/null
		vm_events_pid=
	fi
	exec 8>&- 9>&-
	cp "$vm_dir/console" /tmp/last-console
	cp "$vm_dir/err" /tmp/last-err
	rm -rf "$vm_dir"
	vm_dir=
}

trap 'vm_kill; servers_kill' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# ---------------------------------------------------------------- sleep

# ctl COMMAND [ARG]...: a command on the control socket; output in $ctl_out.
ctl() {
	ctl_command=$1
	shift
	ctl_out=$("$torpor" "$ctl_command" "$@" "$vm_sock" 2>&1)
}

# vm_suspend: has the guest asked to sleep; 0 once it does.
vm_suspend() {
	ctl suspend --timeout $((20000 * SLOW))
}

# vm_wait STATE SECONDS
vm_wait() {
	ctl wait --timeout $(($2 * 1000)) "$1"
}

# vm_awake SECONDS: the guest runs and its userspace says so. RUNNING alone is
# early: the guest's drivers are still asleep then, that of the console too.
vm_awake() {
	vm_wait RUNNING "$1" &&
		vm_console_wait "TORPOR: awake again*" $((10 * SLOW))
}

# vm_state: RUNNING, SUSPENDED ...
vm_state() {
	ctl state && echo "$ctl_out" | awk '$1 == "state" { print $2; exit }'
}

# source_get NAME KEY: of that source in the last `ctl state --json`.
source_get() {
	echo "$ctl_out" | tr -d ' \n' | tr '{' '\n' |
		sed -n "s/^\"name\":\"$1\",\"off\".*\"$2\":\([a-z0-9]*\).*/\1/p"
}

# vm_kind: s2idle, s1 or shallow, of this sleep or the last.
vm_kind() {
	ctl state --json && echo "$ctl_out" | tr -d ' \n' |
		sed 's/.*"kind":"\([^"]*\)".*/\1/'
}

# vm_events_start: from now on all events go to $vm_dir/events.
vm_events_start() {
	"$torpor" events --json "$vm_sock" >"$vm_dir/events" 2>/dev/null &
	vm_events_pid=$!
	usleep $((100000 * SLOW))
}

# event_ns NAME: the time of the last event of this name (BOOTTIME, ns).
event_ns() {
	sed -n "s/.*\"event\": *\"$1\".*\"time_ns\": *\([0-9]*\).*/\1/p" \
		"$vm_dir/events" | tail -n 1
}

# event_source: who woke the guest last.
event_source() {
	sed -n 's/.*"event": *"RESUMING".*"source": *"\([^"]*\)".*/\1/p' \
		"$vm_dir/events" | tail -n 1
}

# vm_processes: the pids of all processes of the VM, on one line.
vm_processes() {
	vp_new=$vm_pid vp_all=
	while [ -n "$vp_new" ]; do
		vp_all="$vp_all $vp_new"
		vp_next=
		for vp in $vp_new; do
			vp_next="$vp_next $(cat /proc/$vp/task/*/children \
				2>/dev/null)"
		done
		vp_new=$(echo $vp_next)
	done
	echo $vp_all
}

# vm_threads: a line "PID TID NAME RUN_NS WAKEUPS PREEMPTIONS" for each thread.
vm_threads() {
	vt_files=
	for vt in $(vm_processes); do
		vt_files="$vt_files /proc/$vt/task/*"
	done
	for vt in $vt_files; do
		echo "$vt $(cat "$vt/comm" "$vt/schedstat" | tr '\n' ' ')" \
			$(grep ctxt_switches "$vt/status")
	done 2>/dev/null | awk '
	# A thread that ended while it was looked at has fewer fields.
	NF == 9 {
		split($1, path, "/")
		print path[3], path[5], $2, $3, $(NF - 2), $NF
	}'
}

# vm_sizes: a line "NAME-PID USS_KIB FDS THREADS" for each process. The guest's
# memory does not count: where one process only has touched it, it looks like its
# own.
vm_sizes() {
	for vz in $(vm_processes); do
		echo "$(cat "/proc/$vz/comm")-$vz" $(awk '
			/^[0-9a-f]+-[0-9a-f]+ / { ours = !/memfd:guest-ram/ }
			/^Private_(Clean|Dirty):/ && ours { n += $2 }
			END { print n + 0 }' "/proc/$vz/smaps") \
			$(ls "/proc/$vz/fd" | wc -l) \
			$(ls "/proc/$vz/task" | wc -l)
	done
}

# threads_diff BEFORE AFTER: the same lines with the differences of the counts.
threads_diff() {
	awk 'NR == FNR { run[$2] = $4; wake[$2] = $5; pre[$2] = $6; next }
	     $2 in run { print $1, $2, $3, $4 - run[$2], $5 - wake[$2],
			 $6 - pre[$2] }
	     !($2 in run) { print $1, $2, $3, $4, $5, $6 }' "$1" "$2"
}

# clocks_pair: the guest's clocks in $g_mono $g_boot $g_real and ours, taken at
# the same moment within half the time that asking took, in $h_boot and $h_real.
# Of a few tries the one that took least, so long that both may be off by $cp_ms.
clocks_pair() {
	cp_best=1000000000000
	for cp_try in 1 2 3 4 5 6 7 8; do
		clocks_read
		cp_boot=$boot cp_real=$real
		set -- $(guest clocks)
		[ $# = 3 ] || return 1
		clocks_read
		cp_took=$((boot - cp_boot))
		[ $cp_took -lt $cp_best ] || continue
		cp_best=$cp_took
		g_mono=$1 g_boot=$2 g_real=$3
		h_boot=$(((boot + cp_boot) / 2))
		h_real=$(((real + cp_real) / 2))
		[ $cp_best -gt 50000000 ] || break
	done
	cp_ms=$((cp_best / 2000000))
}

# ---------------------------------------------------------------- checks of sleep

# How long the guest may take from the event until it runs.
WAKE_S=$((1 * SLOW))

# asleep NAME: the guest is put to sleep, or the test failed.
asleep() {
	expect "$1: falls asleep" "$(vm_suspend; echo "$ctl_out")" \
		vm_wait SUSPENDED 1
}

# asleep_for_alarm NAME: the same with an alarm to come, in $alarm_s seconds at
# most, at $alarm_due. One that is due before a slow guest sleeps does not wake:
# then a later one.
asleep_for_alarm() {
	for alarm_s in 4 16 64; do
		alarm_due=$(guest "cd /sys/class/rtc/rtc0; echo 0 >wakealarm;
			echo +$alarm_s >wakealarm; cat wakealarm")
		vm_suspend || continue
		ctl state --json
		if [ "$(source_get rtc armed)" = true ]; then
			ok "$1: falls asleep"
			return
		fi
		vm_resume_anyhow
	done
	not_ok "$1: falls asleep" "not before its alarm: $ctl_out"
	return 1
}

# awake NAME SOURCE: the guest wakes by itself or by what was just done.
awake() {
	if ! vm_wait RUNNING "${3-$WAKE_S}"; then
		not_ok "$1: wakes" "not RUNNING after ${3-$WAKE_S} s"
		vm_resume_anyhow
		return 1
	fi
	ok "$1: wakes"
	expect "$1: its userspace goes on" "see above" \
		vm_console_wait "TORPOR: awake again*" $((10 * SLOW))
	expect_eq "$1: knows why" "$(event_source)" "$2"
	expect_eq "$1: answers" "$(guest echo here)" here
}

# For the tests that follow a failed one.
vm_resume_anyhow() {
	ctl resume
	vm_awake 10
}

# A sleep also corrects BOOTTIME by what the guest's clocks have drifted from the
# host's since the last one. On the emulated host, whose kernel measures the
# speed of an emulated TSC, that was up to 400 ms; REALTIME is right after it.
BOOT_MS=100
[ "${TORPOR_NESTED-0}" = 0 ] || BOOT_MS=1000

# clocks_sleep NAME COMMAND: around a sleep that COMMAND ends. Not the first of
# a guest, in which Linux also corrects what its clocks lost while booting.
clocks_sleep() {
	clocks_pair || {
		not_ok "$1: clocks" "the guest did not answer"
		return
	}
	cs_mono=$g_mono cs_gboot=$g_boot cs_hboot=$h_boot
	asleep "$1" || return
	"$2"
	vm_awake 10 || return
	clocks_read
	cs_woke=$boot
	clocks_pair || return
	cs_passed=$((h_boot - cs_hboot))
	# It stands still for the sleep, as the coordinator saw it, and not for
	# longer than from before that until userspace went on.
	cs_still=$((cs_passed - (g_mono - cs_mono)))
	cs_least=$(($(event_ns RESUMING) - $(event_ns SUSPENDED) - 100000000))
	cs_most=$((cs_woke - $(event_ns SUSPENDING) + 100000000))
	expect "$1: MONOTONIC leaves the sleep out" \
		"it left out $cs_still ns, not $cs_least to $cs_most" \
		between $cs_least $cs_still $cs_most
	expect_within "$1: BOOTTIME counts the sleep" \
		$((g_boot - cs_gboot)) $cs_passed $((BOOT_MS + cp_ms))
	expect_within "$1: REALTIME is right" "$g_real" "$h_real" $((100 + cp_ms))
}

# at_rest NAME SECONDS KIND [COMMAND]: a sleep of that kind in which nobody does
# anything costs nothing. `COMMAND NAME` has the guest sleep, else a request.
at_rest() {
	"${4-asleep}" "$1" || return
	expect_eq "$1: the kind of sleep" "$(vm_kind)" "$3"
	vm_threads >/tmp/before
	sleep "$2"
	vm_threads >/tmp/after
	threads_diff /tmp/before /tmp/after >/tmp/diff
	expect_eq "$1: threads of the VM" "$(wc -l </tmp/after)" \
		"$(wc -l </tmp/before)"
	expect_eq "$1: $2 s asleep, no thread runs" \
		"$(awk '$4 { print $3, $4 "ns" }' /tmp/diff)" ""
	expect_eq "$1: $2 s asleep, no thread wakes up" \
		"$(awk '$5 { print $3, $5 }' /tmp/diff)" ""
	ctl wake
	awake "$1" launcher
}
