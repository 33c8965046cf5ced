#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs every payload and judges it by its exit code and its PASS and FAIL lines.
. "$(dirname "$0")/lib.sh"

# verdict NAME CODE: of the last VM, by $code and what its payload printed.
verdict() {
	local fails done_line
	fails=$(grep '^FAIL' "$dir/run/out" | tr '\n' ';')
	done_line=$(grep '^DONE passed=[1-9]' "$dir/run/out")
	expect "$1: ${done_line#DONE }" \
		"exit code $code, not $2; ${fails:-no FAIL line}" \
		[ "$code,$fails" = "$2," -a -n "$done_line" ]
}

# ---------------------------------------------------------------- ways to end

end_test() { # PAYLOAD CODE LINE [PARAMS]
	vm_run 30 --no-rng --serial stdout --params "say=$1 ${4-}" \
		"$payloads/$1.elf"
	expect_eq "$1${4:+, $4}: exit code" "$code" "$2"
	[ -z "$3" ] || expect "$1: says '$3'" "$(cat "$dir/run/out")" \
		grep -q "^$3" "$dir/run/out"
}

stop_tests() {
	vm_start --no-rng "$payloads/spin.elf"
	vm_up 20 || not_ok "spin: starts" "$ctl_out"
	ctl stop
	expect_eq "torpor stop: its own exit code" $? 0
	vm_end 10
	expect_eq "torpor stop: exit code of the VM" "$code" 0
	expect "torpor stop: the socket is gone" "it is there" [ ! -e "$sock" ]

	vm_start --no-rng "$payloads/spin.elf"
	vm_up 20 || not_ok "spin: starts" "$ctl_out"
	local start=$SECONDS
	kill -TERM "$vm_pid"
	vm_end 10
	expect_eq "SIGTERM: exit code" "$code" 0
	expect "SIGTERM: ends it at once" "took $((SECONDS - start)) s" \
		[ $((SECONDS - start)) -le $((3 * SLOW)) ]
	expect "SIGTERM: no process is left" "$(strays)" within 5 none_left
}

said_halted() {
	grep -q "has halted" "$dir/run/err"
}

# A guest that has halted for good, and one that only masks its interrupts.
halted() {
	vm_start --no-rng "$payloads/halt.elf"
	vm_up 20 || not_ok "halt: starts" "$ctl_out"
	expect "halt: is told" "$(cat "$dir/run/err")" within 30 said_halted
	expect_eq "halt: is in the state" "$(state_of halted)" true
	ctl stop
	vm_end 10
	expect_eq "halt: torpor stop ends it" "$code" 0
	vm_start --no-rng --params halt=no "$payloads/halt.elf"
	vm_line "HALTING" 20
	sleep 3
	expect_eq "a guest that runs is not halted" "$(state_of halted)" false
	ctl stop
	vm_end 10
}

ends() {
	end_test hello 0 "SAY hello"
	end_test reset 32 ""
	end_test reset 32 "" how=acpi
	end_test reset 32 "" how=bios
	end_test panic 34 ""
	end_test triple 32 ""
	stop_tests
	halted
}

# ---------------------------------------------------------------- serial port

# unread NAME OPTION...: a guest that prints more than anybody takes ends.
# Standard output is fd 7.
unread() {
	local what=$1
	shift
	"${as[@]}" timeout -k 5 $((30 * SLOW)) "$torpor" run --no-rng "$@" \
		"$payloads/flood.elf" </dev/null >&7 2>"$dir/run/err"
	expect_eq "output unread, $what: the guest goes on" $? 0
	expect "output unread, $what: it is said once, and counted" \
		"$(cat "$dir/run/err")" eval \
		'[ $(grep -c "is dropped" "$dir/run/err") -le 1 ] &&
		grep -q "dropped in all: [1-9]" "$dir/run/err"'
}

flags_of() {
	grep flags: "/proc/self/fdinfo/$1"
}

serial_tests() {
	local fifo=$dir/run/fifo log=$dir/run/log flags
	"${as[@]}" mkfifo "$fifo"
	exec 7<>"$fifo"
	flags=$(flags_of 7)
	head -c 65536 /dev/zero >&7
	unread "a pty" --serial pty --params kib=30
	unread "a pipe of the shell" --serial stdout --params kib=4
	expect_eq "output unread: the shell's flags stay" "$(flags_of 7)" \
		"$flags"
	unread "a FIFO" --serial "file,path=$fifo" --params kib=4
	exec 7>&- 6<>"$fifo" 7<"$fifo" 6>&-
	"${as[@]}" timeout 20 "$torpor" run --no-rng "$payloads/hello.elf" \
		<&7 >"$dir/run/out" 2>"$dir/run/err"
	expect_eq "input whose writer has gone is not waited for" $? 0
	exec 7>&-
	# Root's pipe, which another user cannot open, is copied to.
	expect "output to another user's pipe" "" eval \
		'"${as[@]}" timeout 20 "$torpor" run --no-rng --serial stdio \
			"$payloads/hello.elf" </dev/null 2>/dev/null |
			cat | grep -q HELLO'
	vm_run 30 --no-rng --serial "file,path=$log" "$payloads/hello.elf"
	vm_run 30 --no-rng --serial "file,path=$log" "$payloads/hello.elf"
	expect_eq "a log is appended to" "$(grep -c HELLO "$log")" 2
	pty_end
	rm -f "$fifo" "$log"
}

# A reader that keeps up has all, to the last line.
pty_end() {
	local reader
	vm_start --no-rng --serial "pty,path=$dir/run/tty" \
		--params kib=30 "$payloads/flood.elf"
	within 20 [ -e "$dir/run/tty" ]
	cat "$dir/run/tty" >"$dir/run/read" 2>/dev/null 8>&- 9>&- &
	reader=$!
	vm_end 60
	wait $reader
	expect "a pty is read to its last line" "$(tail -n 1 "$dir/run/read")" \
		grep -q "LAST LINE" "$dir/run/read"
	rm -f "$dir/run/read"
}

# ---------------------------------------------------------------- devices

# drive NAME PAYLOAD [OPTION]...: with every kind of device.
drive() {
	local what=$1 payload=$2 net=()
	shift 2
	image disk.img 4M
	image ro.img 1M
	tap tap0 && net=(--net tap-name=tap0)
	[ -z "${mtu-}" ] || ip link set tap0 mtu "$mtu"
	vm_start --block "$dir/run/disk.img,id=disk-one,$engine" \
		--block "$dir/run/ro.img,ro=true" "${net[@]}" \
		--console "type=file,path=$dir/run/console" \
		"$@" "$payloads/$payload.elf"
	# A frame for its receive queue, when it waits for one.
	if [ $payload = devices ] && vm_line "WAIT net" 60; then
		poke_tap
	fi
	vm_end 120 || not_ok "$what" "does not end"
	verdict "$what" 0
}

devices_tests() {
	local engine chip params="blk-id=disk-one net-reply=1"
	for engine in engine=uring engine=threads; do
		drive "devices, $engine" devices --params "$params"
		expect "devices, $engine: the host gets the console's bytes" \
			"$(cat "$dir/run/console" 2>&1)" \
			grep -q "console says hello" "$dir/run/console"
	done
	engine=engine=auto
	drive "devices, irqchip kernel" devices --irqchip kernel \
		--params "$params"
	local mtu=9000
	drive "devices, a tap with an MTU of 9000" devices \
		--params "$params net-mtu=9000"
}

# The console's other direction, and a disk past the page cache.
echo_test() {
	local direct=o_direct=true
	image disk.img 4M
	if [ "$(stat -f -c %T "$dir")" = tmpfs ]; then
		direct=ro=false
		skip "console echo, o_direct" "no direct I/O on tmpfs"
	fi
	vm_start --serial stdout --console stdio \
		--block "$dir/run/disk.img,$direct" \
		--params console-echo=1 "$payloads/devices.elf"
	if vm_line "WAIT console" 60; then
		echo "to and fro" >&9
	fi
	vm_end 60 || not_ok "console echo" "does not end"
	verdict "console echo, $direct" 0
	expect "console echo: comes back" "$(tail -n 5 "$dir/run/out")" \
		grep -q "to and fro" "$dir/run/out"
}

# Each queue of each device type, VIRTIO_F_SUSPEND in both dialects.
hostile_start() { # OPTION...
	"${as[@]}" mkdir "$dir/run/share"
	image disk.img 4M
	tap tap0 || return
	# Of whom packets can be sent at once.
	ip neigh replace 10.9.8.2 lladdr 52:54:00:77:77:77 nud permanent \
		dev tap0
	vm_start --block "$dir/run/disk.img,$engine,suspend=both" \
		--net tap-name=tap0,suspend=force-both --rng suspend=both \
		--shared-dir "$dir/run/share:tag:suspend=both" \
		--vsock "cid=77,socket=$dir/run/vsock,suspend=both" \
		"$@" "$payloads/hostile.elf"
}

# hostile_end NAME SECONDS: nothing broke, and the log is no longer for it.
hostile_end() {
	vm_end $2 || not_ok "$1" "does not end"
	verdict "$1" 0
	expect "$1: its log is short" "$(tail -n 3 "$dir/run/err")" \
		[ "$(wc -l <"$dir/run/err")" -le 200 ]
}

# The host keeps talking to whatever receives.
stir() {
	while :; do
		poke_tap
		echo x >&9
		timeout .1 "$tools/ctl" "$dir/run/vsock" <<<"CONNECT 5"
	done
}

hostile_tests() {
	local engine=engine=uring queue stirring
	local console="type=file,path=$dir/run/console,suspend=both"
	run_dir_make
	hostile_start --console "$console" --cpus 2 --params cpus=2
	hostile_end "hostile" 300
	# Who runs it is of no matter to a ring.
	[ ${#as[@]} = 0 ] || return
	for queue in net-rx console-rx vsock-rx; do
		run_dir_make
		hostile_start --serial stdout --console stdio,suspend=both \
			--params "target=$queue"
		stir >/dev/null 2>&1 &
		stirring=$!
		hostile_end "hostile, $queue" 300
		kill $stirring
		wait $stirring 2>/dev/null
	done
	engine=engine=threads
	run_dir_make
	hostile_start --console "$console" --params target=blk
	hostile_end "hostile, engine=threads" 120
	engine=engine=auto
	run_dir_make
	hostile_start --console "$console" --irqchip kernel --params \
		only=status,stray,kick,acknowledge,odd,read-only,suspend,used,reset
	hostile_end "hostile, irqchip kernel" 120
}

# A shared directory of whoever runs the VM; its device outlives it all.
fuse_tests() {
	rm -rf "$dir/run/share"
	mkdir "$dir/run/share"
	[ ${#as[@]} = 0 ] || chown "$ORDINARY:$ORDINARY" "$dir/run/share"
	vm_start --shared-dir "$dir/run/share:data" "$payloads/hostile_fuse.elf"
	vm_end 120 || not_ok "hostile FUSE driver" "does not end"
	verdict "hostile FUSE driver" 0
	expect "hostile FUSE driver: no device has died" "$(cat "$dir/run/err")" \
		eval '! grep -q "killed\|deadline\|died" "$dir/run/err"'
}

# Kicks without end, of a device that has nothing to do: how many of them go by
# while another device answers a request? One vCPU does both.
flood_tests() {
	local engine=engine=uring queue kicks
	kicks=$(how_many 20000 5000 1000000)
	for queue in blk net-tx console-tx rng fs vsock-tx; do
		run_dir_make
		hostile_start --console "type=file,path=$dir/run/console" \
			--params "target=$queue flood=$kicks"
		hostile_end "flood, $queue" $((60 + kicks / 2000))
		echo "# $(grep FLOOD "$dir/run/out")"
	done
}

# ---------------------------------------------------------------- sleep

# sleeper NAME CAUSE CYCLES PARAMS COMMAND...: sleeps, each ended by COMMAND.
# CAUSE is a pattern of what the guest finds.
sleeper() {
	local what=$1 cause=$2 cycles=$3 params=$4 n
	shift 4
	image disk.img 1M
	tap tap0 || return
	vm_start --block "$dir/run/disk.img" --net tap-name=tap0 \
		--console stdout --params "cycles=$cycles $params" \
		"$payloads/sleeper.elf"
	for ((n = 1; n <= cycles; n++)); do
		vm_line "SLEEP cycle=$n" 30 || break
		# An alarm does not wait for us.
		[ "$1" = : ] || ctl wait --timeout 20000 SUSPENDED || break
		"$@"
		vm_line "WAKE cycle=$n by=*" 30 || break
		expect "sleep $n, $what wakes" "$line" \
			eval '[[ $line == *" by="$cause" reads="* ]]'
	done
	vm_end 30 || not_ok "$what" "does not end"
	verdict "sleep, $what" 0
	expect_eq "sleep, $what: $cycles times" "$((n - 1))" "$cycles"
}

serial_byte() {
	printf x >&9
}

# The button that puts it to sleep, then the one that wakes it.
sleeper_on_button() {
	tap tap0
	vm_start --params "cycles=1 on=sleepbtn" "$payloads/sleeper.elf"
	vm_line "AWAKE cycle=1" 30
	ctl suspend --timeout 20000
	expect "torpor suspend: says how long it took" "$ctl_out" \
		eval '[[ $ctl_out == "asleep after "*" ms"* ]]'
	expect_eq "torpor suspend: SUSPENDED" "$(state_of state)" SUSPENDED
	ctl resume
	expect_eq "torpor resume" $? 0
	vm_line "WAKE cycle=1 by=*" 30
	vm_end 30
	verdict "suspend and resume" 0
}

# A guest that has set no bit of PM1_EN does not hear them, and that is said.
deaf_to_buttons() {
	local button bit
	vm_start "$payloads/spin.elf"
	vm_up 30
	for button in powerbtn:PWRBTN_EN sleepbtn:SLPBTN_EN suspend:SLPBTN_EN; do
		bit=${button#*:} button=${button%:*}
		ctl "$button"
		expect_eq "torpor $button: fails on a deaf guest" $? 33
		expect "torpor $button: says why" "$ctl_out" \
			eval '[[ $ctl_out == *"PM1_EN.$bit"*clear* ]]'
	done
	ctl stop
	vm_end 30
}

# GPEs: a bit each device in the order of the options, bit 31 a button that
# finds the guest asleep. The packet stays in the tap, so one sleep is enough.
sleep_tests() {
	local lid="gpe pm1=0x0 gpe=0x80000000"
	sleeper "power button" "$lid" 3 "" ctl powerbtn
	sleeper "sleep button" "$lid" 3 "" ctl sleepbtn
	sleeper "launcher" "$lid" 3 "" ctl wake
	sleeper "alarm" "rtc pm1=0x400 gpe=0x0" 2 "alarm=2" :
	sleeper "serial byte" "serial pm1=0x0 gpe=0x0" 3 "" serial_byte
	sleeper "packet" "gpe pm1=0x0 gpe=0x2" 1 "" poke_tap
	sleeper "S1, power button" "$lid" 3 "kind=s1" ctl powerbtn
	sleeper "S1, alarm" "rtc pm1=0x400 gpe=0x0" 2 "kind=s1 alarm=2" :
	sleeper "a live disk, power button" "$lid" 3 "live=1" ctl powerbtn
	sleeper_on_button
	deaf_to_buttons
}

for_each_user ends
for_each_user serial_tests
for_each_user devices_tests
for_each_user echo_test
for_each_user hostile_tests
flood_tests
for_each_user fuse_tests
for_each_user sleep_tests
tests_end
