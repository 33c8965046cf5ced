# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests on bare-metal payloads share. For bash, sourced as
# `. "$(dirname "$0")/lib.sh"`. The payloads run on this machine's own /dev/kvm,
# whatever it can do: they poll and need no interrupts.
#
# Each check prints one line: `ok - NAME`, `not ok - NAME: WHY`, or
# `skip - NAME: WHY`; tests_end prints the sums and exits.
#
# A test runs in PID, mount and network namespaces of its own: taps end with
# them, and a process that a VM left behind is one that we did not start. An
# ordinary user gets them through a user namespace.
set -u

if [ -z "${TORPOR_TEST_NS-}" ]; then
	[ "$(id -u)" = 0 ] && ns_flags=-nmpf || ns_flags=-Urnmpf
	TORPOR_TEST_NS=$(id -u) exec unshare $ns_flags --mount-proc \
		--kill-child -- "$BASH" "$0" "$@"
fi

name=$(basename "$0" .sh)
B=${B:-build}
payloads=$(realpath "$B/guest/payloads")
tools=$(realpath "$B/tests/baremetal")
dir=$(mktemp -d "/tmp/torpor-$name.XXXXXX")
# Programs and files where another user may reach them.
chmod 755 "$dir"
cp "$B/torpor" "$B/torpor-device" "$dir"
torpor=$dir/torpor
# Under a tracer, see tests/sandbox/rules.sh: by the name of torpor, so that
# whoever runs it gets it.
if [ -n "${TORPOR_RULES-}" ]; then
	cp "$B/tests/sandbox/rule-callers" "$dir"
	mv "$torpor" "$torpor.traced"
	cat >"$torpor" <<-END
		#!/bin/sh
		[ "\$1" = run ] || exec "$torpor.traced" "\$@"
		exec "$dir/rule-callers" trace "$TORPOR_RULES/$name.\$\$" \\
			"$torpor.traced" "\$@"
	END
	chmod 755 "$torpor"
fi
sock=$dir/run/sock
# What each VM that ends tells of its main loop.
export TORPOR_TURNS=$dir/turns
: >"$TORPOR_TURNS"
chmod 666 "$TORPOR_TURNS"
# A word in front of names and commands: who runs the VM.
who= as=()

# All limits of time are this many times as long on an emulated host.
SLOW=1
[ "${TORPOR_NESTED-0}${TORPOR_RULES-}" = 0 ] || SLOW=6

# how_many USUAL EMULATED LONG: how much of a test is done.
how_many() {
	if [ "${LONG:-0}" = 1 ]; then
		echo "$3"
	elif [ $SLOW = 1 ]; then
		echo "$1"
	else
		echo "$2"
	fi
}

passed=0 failed=0 skipped=0
vm_pid= vm_part=

# ---------------------------------------------------------------- reporting

ok() {
	passed=$((passed + 1))
	echo "ok - $1$who"
}

not_ok() {
	failed=$((failed + 1))
	echo "not ok - $1$who: $2"
	# What the VM said last, for a person.
	[ ! -s "$dir/run/err" ] || tail -n 25 "$dir/run/err" | sed 's/^/  ! /'
}

skip() {
	skipped=$((skipped + 1))
	echo "skip - $1$who: $2"
}

# expect NAME WHY COMMAND...: ok if the command succeeds.
expect() {
	local what=$1 why=$2
	shift 2
	if "$@" >/dev/null; then
		ok "$what"
	else
		not_ok "$what" "$why"
		return 1
	fi
}

# expect_eq NAME GOT WANTED
expect_eq() {
	expect "$1" "got '$2', not '$3'" [ "$2" = "$3" ]
}

tests_end() {
	vm_kill
	sort -n "$TORPOR_TURNS" | sed -n '$s/^/# longest turn: /p'
	echo "$name: $passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit
}

cleanup() {
	vm_kill
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# ---------------------------------------------------------------- users

# An id that owns nothing here, with the groups that /dev/kvm wants.
ORDINARY=61234

# Where nobody but root may have KVM or taps, as in some containers, an ordinary
# user gets nodes of its own, which are seen in our mount namespace only: KVM for
# a group, as on Debian, and taps for all.
nodes_make() {
	local nodes=$dir/nodes
	mkdir "$nodes"
	mount -t tmpfs -o mode=755 nodes "$nodes"
	node_make kvm /dev/kvm 660 $((ORDINARY + 1))
	node_make tun /dev/net/tun 666 0
	umount -l "$nodes"
	rmdir "$nodes"
}

# node_make NAME PATH MODE GROUP: unless its group or all may have it.
node_make() {
	[ -n "$(find "$2" ! -perm -o+rw ! -perm -g+rw 2>/dev/null)" ] || return 0
	mknod "$nodes/$1" c $(stat -c '0x%t 0x%T' "$2")
	chown "0:$4" "$nodes/$1"
	chmod "$3" "$nodes/$1"
	mount --bind "$nodes/$1" "$2"
}

[ "$TORPOR_TEST_NS" != 0 ] || nodes_make

# for_each_user COMMAND...: as who we are and, if that is root, once more with
# VMs run by an ordinary user.
for_each_user() {
	declare -F "$1" >/dev/null || not_ok "$1" "there is no such test"
	as=() who=
	run_dir_make
	"$@"
	if [ "$TORPOR_TEST_NS" != 0 ]; then
		skip "$1 as another user" "needs root"
		return
	fi
	as_user
	"$@"
	as_root
}

as_user() {
	# By its path: busybox' shell has one of its own, which knows less.
	as=("$(command -v setpriv)" "--reuid=$ORDINARY" "--regid=$ORDINARY"
	    "--groups=$(stat -c %g /dev/kvm)")
	who=", as a user"
	run_dir_make
}

as_root() {
	as=() who=
	run_dir_make
}

# The directory of sockets, output and images, owned by who runs the VM.
run_dir_make() {
	vm_kill
	rm -rf "$dir/run"
	mkdir "$dir/run"
	[ ${#as[@]} = 0 ] || chown "$ORDINARY:$ORDINARY" "$dir/run"
}

# image NAME [SIZE]: a raw image that the VM may write, in $dir/run.
image() {
	rm -f "$dir/run/$1"
	truncate -s "${2:-1M}" "$dir/run/$1"
	[ ${#as[@]} = 0 ] || chown "$ORDINARY:$ORDINARY" "$dir/run/$1"
}

# tap NAME: a tap of ours, up, for the user that runs the VM.
tap() {
	ip link del "$1" 2>/dev/null
	if [ ${#as[@]} = 0 ]; then
		ip tuntap add dev "$1" mode tap
	else
		ip tuntap add dev "$1" mode tap user "$ORDINARY"
	fi || return 1
	echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6" 2>/dev/null
	ip addr add 10.9.8.1/24 dev "$1"
	ip link set "$1" up
}

# poke_tap: a packet for the guest, an ARP request for whom nobody answers.
poke_tap() {
	echo poke 2>/dev/null >/dev/udp/10.9.8.2/9
}

# ---------------------------------------------------------------- the VM

# vm_run SECONDS [OPTION]...: a VM until its end. Exit code in $code (124 if it
# took too long), output in $dir/run/out and err.
vm_run() {
	local limit=$1
	shift
	"${as[@]}" timeout -k 5 $((limit * SLOW)) "$torpor" run "$@" </dev/null \
		>"$dir/run/out" 2>"$dir/run/err"
	code=$?
}

# vm_start [OPTION]...: a VM in the background, its serial port on fds 8
# (output) and 9 (input), its control socket at $sock.
vm_start() {
	vm_kill
	rm -f "$dir/run/in" "$dir/run/pipe"
	mkfifo "$dir/run/in" "$dir/run/pipe"
	[ ${#as[@]} = 0 ] ||
		chown "$ORDINARY:$ORDINARY" "$dir/run/in" "$dir/run/pipe"
	# Open for reading and writing, so that neither side sees the end.
	exec 8<>"$dir/run/pipe" 9<>"$dir/run/in"
	: >"$dir/run/out"
	vm_part=
	"${as[@]}" "$torpor" run --socket "$sock" --serial stdio "$@" \
		<"$dir/run/in" >"$dir/run/pipe" 2>"$dir/run/err" 8>&- 9>&- &
	vm_pid=$!
}

# running PID: is it there and no zombie?
running() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	case $stat in
	*') Z '* | *') X '*) return 1 ;;
	esac
}

# vm_line PATTERN SECONDS: reads serial output up to a line that matches the
# shell pattern, into $line. All lines also go to $dir/run/out. What a VM that
# ends has said last is only there.
vm_line() {
	local end=$((SECONDS + $2 * SLOW))
	while [ $SECONDS -le $end ]; do
		if IFS= read -r -t 0.5 -u 8 line; then
			line=$vm_part${line%$'\r'} vm_part=
			echo "$line" >>"$dir/run/out"
			[[ $line != $1 ]] || return 0
			continue
		fi
		# The time was over in the middle of a line.
		vm_part=$vm_part$line
		running "$vm_pid" || break
	done
	return 1
}

# What is still in the pipe when the VM has ended: all up to a line of ours.
vm_rest() {
	local rest
	printf '\nEND OF THE VM\n' >&8
	while IFS= read -r -u 8 rest && [ "$rest" != "END OF THE VM" ]; do
		echo "$vm_part${rest%$'\r'}" >>"$dir/run/out"
		vm_part=
	done
}

# within SECONDS COMMAND...: until it succeeds.
within() {
	local end=$((SECONDS + $1 * SLOW))
	shift
	until "$@"; do
		[ $SECONDS -le $end ] || return 1
		sleep 0.02
	done
}

gone() {
	! running "$1"
}

# vm_end SECONDS: waits for the VM's end; its exit code in $code.
vm_end() {
	code=none
	within "$1" gone "$vm_pid" || return 1
	wait "$vm_pid"
	code=$?
	vm_pid=
	vm_rest
	exec 8>&- 9>&-
}

vm_kill() {
	[ -n "$vm_pid" ] || return 0
	kill -9 "$vm_pid" 2>/dev/null
	wait "$vm_pid" 2>/dev/null
	vm_pid=
	exec 8>&- 9>&-
	within 10 none_left
}

# ctl COMMAND [ARGUMENT]...: on the control socket; its output in $ctl_out.
ctl() {
	ctl_out=$("${as[@]}" "$torpor" "$@" "$sock" 2>&1)
}

# vm_up SECONDS: until the control socket answers.
vm_up() {
	within "$1" eval '[ -S "$sock" ] || gone "$vm_pid"'
	ctl state
}

# state_of KEY [PART]: a number or word out of `torpor state --json`; PART is a
# name of a device. One vCPU.
state_of() {
	local text
	text=$("${as[@]}" "$torpor" state --json "$sock") || return
	[ -z "${2-}" ] ||
		text=${text##*\"devices\":} text=${text##*\{\"name\":\"$2\"}
	echo "$text" | sed -n "s/^[^}]*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p;t
		s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}

# strays: processes of torpor in these namespaces, by their first word. One
# that is about to end has no words left.
strays() {
	local p word
	for p in /proc/[0-9]*; do
		p=${p#/proc/} word=
		running "$p" || continue
		{ IFS= read -r -d '' word <"/proc/$p/cmdline"; } 2>/dev/null
		case $word in
		'' | "$torpor" | "$torpor.traced" | torpor-device) echo "$p $word" ;;
		esac
	done
}

none_left() {
	[ -z "$(strays)" ]
}

[ -e /dev/kvm ] || {
	skip "$name" "no /dev/kvm"
	tests_end
}
cd "$(dirname "$0")/../.." || exit 1
