#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is wrong is refused: exit code 35, or 33 where the host is, a message that names the option
# or file, its value and a remedy, and nothing is left behind. A malformed
# control message gets an error and the connection lives. A terminal is given
# back as it was.
. "$(dirname "$0")/lib.sh"

hello=$payloads/hello.elf
spin=$payloads/spin.elf
ctl_tool=$tools/ctl
run=$dir/run

# refuse NAME WORDS... -- OPTION...: WORDS must all be in the message. Before
# OPTION may be a command that runs it: as= for a user, wrap= for more.
wrap=() wanted=35
refuse() {
	local what=$1 words=() missing= before w
	shift
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	before=$(ls -A "$run")
	"${wrap[@]}" "${as[@]}" timeout -k 5 20 "$torpor" run --serial none \
		"$@" </dev/null >"$dir/out" 2>"$dir/err"
	code=$?
	for w in "${words[@]}"; do
		grep -qF -- "$w" "$dir/err" || missing="$missing '$w'"
	done
	expect "$what" "code $code, without$missing: $(cat "$dir/err")" \
		[ "$missing,$code" = ",$wanted" ]
	expect "$what: no process, no file stays" \
		"$(strays; ls -A "$run")" \
		eval 'within 5 none_left && [ "$(ls -A "$run")" = "$before" ]'
}

# ---------------------------------------------------------------- files

kernels() {
	local n size
	refuse "kernel missing" "$run/none" "No such file" "give the path" -- \
		"$run/none"
	refuse "kernel is a directory" "$run" "regular file" -- "$run"
	head -c 100000 /dev/zero >"$run/zeros"
	refuse "kernel is something else" "$run/zeros" "bzImage" "ELF" -- \
		"$run/zeros"
	: >"$run/empty"
	refuse "kernel is empty" "$run/empty" "empty" -- "$run/empty"
	size=$(stat -c %s "$hello")
	for n in 1 3 4 63 64 100 511 4096 9000; do
		head -c $n "$hello" >"$run/cut"
		refuse "kernel cut to $n bytes" "$run/cut" -- "$run/cut"
	done
	[ ! -r "$B/guest/vmlinuz" ] || for n in 600 1000 30000 1000000; do
		head -c $n "$B/guest/vmlinuz" >"$run/cut"
		refuse "bzImage cut to $n bytes" "$run/cut" "truncated" -- \
			"$run/cut"
	done
	rm -f "$run/cut" "$run/zeros" "$run/empty"
	refuse "no kernel" "no kernel given" "KERNEL" --
	refuse "initrd missing" "initrd" "$run/none" "No such file" -- \
		--initrd "$run/none" "$hello"
	truncate -s 64M "$run/big"
	refuse "initrd too big" "initrd" "$run/big" "raise --mem" -- --mem 32 \
		--initrd "$run/big" "$hello"
	rm -f "$run/big"
	refuse "device-exe missing" "$run/none" "--device-exe" -- \
		--device-exe "$run/none" "$hello"
	refuse "device-exe is a directory" "$run" "--device-exe" -- \
		--device-exe "$run" "$hello"
	: >"$run/no-exe"
	refuse "device-exe is not a program" "$run/no-exe" "--device-exe" -- \
		--device-exe "$run/no-exe" "$hello"
	rm -f "$run/no-exe"
}

# What the first bytes say, and how many there are.
disk_content() {
	truncate -s 1M "$run/odd.img"
	chmod 666 "$run/odd.img"
	printf 'QFI\373\0\0\0\3' | dd of="$run/odd.img" conv=notrunc 2>/dev/null
	refuse "a qcow2 image" "--block" "odd.img" "qcow2" "-O raw" \
		"--vhost-user" "format=raw" -- --block "$run/odd.img" "$hello"
	refuse "a format that is not served" "format" "raw" -- \
		--block "$run/odd.img,format=qcow2" "$hello"
	vm_run 20 --serial none --block "$run/odd.img,format=raw" "$hello"
	expect_eq "format=raw insists" "$code" 0
	: >"$run/odd.img"
	refuse "an empty image" "odd.img" "0 bytes" "truncate -s" -- \
		--block "$run/odd.img" "$hello"
	head -c 511 /dev/zero >"$run/odd.img"
	refuse "an image without a sector" "odd.img" "511 bytes" -- \
		--block "$run/odd.img" "$hello"
	head -c 1000 /dev/zero >"$run/odd.img"
	vm_run 20 --serial none --block "$run/odd.img" "$hello"
	expect "an image with half a sector" "code $code: $(cat "$run/err")" \
		eval '[ $code = 0 ] && grep -q "last 488 bytes" "$run/err"'
	rm -f "$run/odd.img"
}

# What the host limits is named; nobody is killed by SIGXFSZ.
limits() {
	wrap=(bash -c 'ulimit -f 16384; exec "$@"' -)
	refuse "less than the RAM" "--mem 32" "ulimit -f" -- --mem 32 "$hello"
	wrap=(bash -c 'ulimit -f 40000; exec "$@"' -)
	image big.img 64M
	refuse "less than the image" "big.img" "ulimit -Hf" "40960000" -- \
		--mem 32 --block "$run/big.img" "$hello"
	wrap=()
	rm -f "$run/big.img"
	refuse "cgroup missing" "--cgroup" "$run/none" "No such file" -- \
		--cgroup "$run/none" "$hello"
	refuse "cgroup is another directory" "--cgroup" "$run" "cgroup v2" -- \
		--cgroup "$run" "$hello"
	in_cgroup
}

# As root: all processes of a VM are in the cgroup, and nothing is left there.
in_cgroup() {
	local mount cg
	[ ${#as[@]} = 0 ] || return 0
	mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ "$mount" ] || {
		mount=$dir/cgroup2
		mkdir -p "$mount"
		mount -t cgroup2 none "$mount" 2>/dev/null || {
			skip "--cgroup" "no cgroup v2 on this host"
			return 0
		}
	}
	cg=$mount/torpor-errors.$$
	mkdir "$cg"
	vm_start --cgroup "$cg" --block "$run/used.img" "$spin"
	vm_up 20 || not_ok "a VM in a cgroup" "$(cat "$run/err")"
	expect_eq "every process of the VM is in the cgroup" \
		"$(sort -n "$cg/cgroup.procs")" \
		"$(strays | awk 'NF > 1 { print $1 }' | sort -n)"
	kill $vm_pid
	wait $vm_pid
	vm_pid=
	within 10 none_left
	expect "the cgroup is left as it was" "$(cat "$cg/cgroup.procs")" \
		rmdir "$cg"
	exec 8>&- 9>&-
	rm -f "$sock" "$run/in" "$run/pipe"
	[ "$mount" != "$dir/cgroup2" ] || umount "$mount"
}

images() {
	refuse "image missing" "--block" "$run/none" "truncate -s" -- \
		--block "$run/none" "$hello"
	refuse "image is a directory" "--block" "$run" "regular file" -- \
		--block "$run" "$hello"
	image used.img
	ln "$run/used.img" "$run/link.img"
	refuse "the same image twice" "used.img" "link.img" "same image" ",ro" \
		-- --block "$run/used.img" --block "$run/link.img,ro" "$hello"
	expect_eq "that is all it says" "$(wc -l <"$dir/err")" 1
	vm_run 20 --serial none --block "$run/used.img,ro" \
		--block "$run/link.img,ro" "$hello"
	expect_eq "read-only it may be two disks" "$code" 0
	rm -f "$run/link.img"
	disk_content
	limits
	vm_start --no-rng --block "$run/used.img" "$spin"
	vm_up 20 || not_ok "a VM uses an image" "$(cat "$run/err")"
	# Processes of that VM are no strays of the other.
	"${as[@]}" timeout 20 "$torpor" run --serial none \
		--block "$run/used.img" "$hello" </dev/null 2>"$dir/err"
	code=$?
	expect "image in use" "$code, $(cat "$dir/err")" eval \
		'[ $code = 35 ] && grep -q "used.img.*in use.*,ro" "$dir/err"'
	"${as[@]}" timeout 20 "$torpor" run --serial none --socket "$sock" \
		"$hello" </dev/null 2>"$dir/err"
	code=$?
	expect "socket in use" "$code, $(cat "$dir/err")" eval \
		'[ $code = 35 ] && grep -q "$sock.*torpor stop" "$dir/err"'
	ctl state
	expect_eq "the VM that uses them is untouched" $? 0
	kill -9 $vm_pid
	wait $vm_pid 2>/dev/null
	vm_pid=
	within 10 none_left
	expect "a killed VM leaves its socket" "none" [ -S "$sock" ]
	vm_run 20 --socket "$sock" --serial none --block "$run/used.img" \
		"$hello"
	expect_eq "a stale socket is replaced" "$code" 0
	rm -f "$run/used.img" "$sock" "$run/in" "$run/pipe"
	exec 8>&- 9>&-
}

# As an ordinary user only: root may read all.
no_permission() {
	cp "$hello" "$run/secret"
	chmod 600 "$run/secret"
	chown 0:0 "$run/secret"
	refuse "kernel without permission" "$run/secret" "Permission denied" \
		"may read" -- "$run/secret"
	refuse "initrd without permission" "$run/secret" "Permission denied" -- \
		--initrd "$run/secret" "$hello"
	refuse "image without permission" "--block" "$run/secret" \
		"permission denied" "change its mode" -- \
		--block "$run/secret" "$hello"
	chmod 644 "$run/secret"
	refuse "image that is only readable" "--block" "$run/secret" ",ro" -- \
		--block "$run/secret" "$hello"
	rm -f "$run/secret"
	as=(setpriv "--reuid=$ORDINARY" "--regid=$ORDINARY" --clear-groups)
	[ -n "$(find /dev/kvm -perm -o+w)" ] ||
		wanted=33 refuse "/dev/kvm without permission" "/dev/kvm" \
			"permission denied" "group" -- "$hello"
	as_user
	ip tuntap add dev tap9 mode tap user 1
	refuse "a tap of somebody else" "tap9" "user $ORDINARY" -- \
		--net tap-name=tap9 "$hello"
	ip link del tap9
	refuse "socket where we may not write" "--socket" "/proc/sock" \
		"directory" -- --socket /proc/sock "$hello"
}

# ---------------------------------------------------------------- options

bad_values() {
	local pair option value
	refuse "unknown option" "--memm" "did you mean --mem" -- --memm 1 \
		"$hello"
	refuse "option without its value" "--mem" "needs a value" -- "$hello" \
		--mem
	refuse "two kernels" "$hello" "already" -- "$spin" "$hello"
	for pair in mem=0 mem=15 mem=65537 mem=99999999999999999999 mem=x \
		mem=1T mem= mem=-1 cpus=0 cpus=65 cpus=x cpus=1.5 socket= \
		name= name=a/b name=a\ b sandbox=none irqchip=none \
		cpu=invtsc=maybe cpu=avx=on log-level=loud cfg=/none \
		initrd= device-exe= block= block=,ro net= net=tap-name= \
		net=tap-name=a/b net=tap-fd=1 net=tap-fd=99 net=tap-fd=x \
		net=tap-name=t,mac=1:2 net=tap-name=t,mac=01:00:00:00:00:00 \
		net=mac=02:00:00:00:00:01 serial= serial=type= serial=modem \
		serial=file serial=stdio,path=x console= console=tty \
		console=file block=x,ro=maybe block=x,o_direct=1 \
		block=x,sparse=no block=x,engine=fast \
		block=x,id=123456789012345678901 block=x,id= block=x,ro,ro; do
		option=${pair%%=*} value=${pair#*=}
		refuse "--$option '$value'" "--$option" "${value:0:60}" -- \
			"--$option" "$value" "$hello"
	done
	for pair in "block=x,cache=on" "net=tap-name=t,speed=1" \
		"serial=file,path=x,baud=9600" "console=pty,cols=80"; do
		option=${pair%%=*} value=${pair#*=}
		refuse "unknown key in --$option '$value'" "--$option" \
			"unknown key" "known:" -- "--$option" "$value" "$hello"
	done
	for option in hugepages no-rng disable-sandbox; do
		refuse "--$option=maybe" "--$option" "maybe" "true or false" \
			-- "--$option=maybe" "$hello"
	done
	refuse "command line too long for Linux" "--params" "command line" \
		"2047" -- --params "$(head -c 2048 /dev/zero | tr '\0' x)" \
		"$hello"
	refuse "command line too long" "--params" "command line" -- \
		--params "$(head -c 100000 /dev/zero | tr '\0' x)" "$hello"
	refuse "socket path too long" "--socket" "shorter" -- --socket \
		"/tmp/$(head -c 150 /dev/zero | tr '\0' x)" "$hello"
	refuse "socket in no directory" "--socket" "$run/no/sock" "create" -- \
		--socket "$run/no/sock" "$hello"
	: >"$run/plain"
	refuse "socket path of a plain file" "--socket" "$run/plain" \
		"not a socket" -- --socket "$run/plain" "$hello"
	refuse "link to a terminal where a file is" "--serial" "$run/plain" -- \
		--serial "pty,path=$run/plain" "$hello"
	refuse "socket in what is not a directory" "--socket" "$run/plain/sock" \
		-- --socket "$run/plain/sock" "$hello"
	refuse "directory that is a file" "$run/plain" -- \
		--shared-dir "$run/plain:tag" "$hello"
	refuse "back end's socket is a file" "--vhost-user" "$run/plain" -- \
		--vhost-user "blk,socket=$run/plain" "$hello"
	refuse "back end that is not there" "--vhost-user" "$run/none" \
		"first" -- --vhost-user "blk,socket=$run/none" "$hello"
	rm -f "$run/plain"
	ln -s loop "$run/loop"
	refuse "kernel in a loop of links" "$run/loop" -- "$run/loop"
	refuse "image in a loop of links" "--block" "$run/loop" -- \
		--block "$run/loop" "$hello"
	refuse "socket in a loop of links" "--socket" "$run/loop" -- \
		--socket "$run/loop/sock" "$hello"
	refuse "serial file in a loop of links" "--serial" "$run/loop" -- \
		--serial "file,path=$run/loop" "$hello"
	rm -f "$run/loop"
	refuse "no such wake source" "--wake" "net7" -- --wake net7=off "$hello"
	mkfifo -m 666 "$run/fifo"
	vm_run 20 --serial "file,path=$run/fifo" "$hello"
	expect_eq "serial file is a FIFO that nobody reads: the VM runs" \
		"$code" 0
	vm_run 20 --serial none --console "file,path=$run/fifo" "$hello"
	expect_eq "console file is a FIFO that nobody reads: the VM runs" \
		"$code" 0
	rm -f "$run/fifo"
	refuse "serial file that cannot be written" "--serial" "$run/no/file" \
		-- --serial "file,path=$run/no/file" "$hello"
	refuse "standard input twice" "stdio" "pty" -- --serial stdio \
		--console stdio "$hello"
}

config_files() {
	local text
	config() { # NAME TEXT WORDS...
		local what=$1
		printf '%s' "$2" >"$run/vm.json"
		shift 2
		refuse "--cfg: $what" "--cfg" "$run/vm.json" "$@" -- \
			--cfg "$run/vm.json" "$hello"
	}
	config "bad JSON" '{ "mem": 256,
  "cpus" 2 }' "line 2" "column"
	config "cut off" '{ "mem":' "line 1" "column"
	config "no object" '[ 1 ]' "object"
	config "empty" '' "line 1"
	config "twice the same key" '{ "mem": 256, "mem": 128 }' "line 1" mem
	config "unknown key" '{ "meme": 1 }' "unknown key" "meme" \
		"did you mean 'mem'"
	config "wrong type" '{ "mem": [ 1 ] }' "'mem'" "string"
	config "null" '{ "cpus": null }' "'cpus'"
	config "a fraction" '{ "cpus": 1.5 }' "'cpus'" "whole number"
	config "wrong value" '{ "cpus": 65 }' "'cpus'" "65" "1 to 64"
	config "boolean wanted" '{ "no-rng": "yes" }' "'no-rng'" "true or false"
	config "unknown key of a disk" '{ "block": [ "a.img",
		{ "path": "b", "cache": 1 } ] }' "'block', entry 2" "cache"
	config "a file in a file" '{ "cfg": "x" }' "'cfg'" "several times"
	config "wrong type of kernel" '{ "kernel": 1 }' "'kernel'" "string"
	config "binary" $'\x80\xff{' "line 1"
	rm -f "$run/vm.json"
}

too_many() {
	local i many=() fewer=()
	for i in $(seq 32); do
		image d$i.img
		many+=(--block "$run/d$i.img")
	done
	refuse "32 devices" "at most 31" "split" -- --no-rng "${many[@]}" "$hello"
	fewer=("${many[@]:0:34}")
	refuse "17 devices with --irqchip kernel" "at most 16" \
		"--irqchip split" -- --no-rng --irqchip kernel "${fewer[@]}" \
		"$hello"
	rm -f "$run"/d*.img
}

taps() {
	refuse "tap missing" "tap8" "does not exist" "ip tuntap" -- \
		--net tap-name=tap8 "$hello"
	refuse "an interface that is not a tap" "lo" -- --net tap-name=lo "$hello"
	tap tap0
	refuse "the same tap twice" "--net" "twice" -- --net tap-name=tap0 \
		--net tap-name=tap0 "$hello"
	vm_start --no-rng --net tap-name=tap0 "$spin"
	vm_up 20
	"${as[@]}" timeout 20 "$torpor" run --serial none \
		--net tap-name=tap0 "$hello" </dev/null 2>"$dir/err"
	code=$?
	expect "tap in use" "$code, $(cat "$dir/err")" eval \
		'[ $code = 35 ] && grep -q "tap0.*in use" "$dir/err"'
	vm_kill
	rm -f "$sock" "$run/in" "$run/pipe"
}

# ---------------------------------------------------------------- the host

# hide_kvm COMMAND...: in a mount namespace whose /dev has no kvm.
hide_kvm() {
	local script='mkdir "$0/dev"
		mount --bind /dev "$0/dev"
		mount -t tmpfs none /dev
		for f in null zero full random urandom; do
			: >"/dev/$f"
			mount --bind "$0/dev/$f" "/dev/$f"
		done
		"$@"'
	unshare -m sh -c "$script" "$dir" "$@"
	local r=$?
	rmdir "$dir/dev"
	return $r
}

# forbid_userns COMMAND...: in a user namespace that may have no other in it.
forbid_userns() {
	unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces
		exec "$@"' sh "$@"
}

host() {
	wanted=33
	wrap=(hide_kvm)
	refuse "no /dev/kvm" "/dev/kvm" "does not exist" "module" -- "$hello"
	wrap=()
	[ ${#as[@]} = 0 ] || { wanted=35; return 0; }
	wrap=(forbid_userns)
	refuse "user namespaces forbidden" "max_user_namespaces" \
		"--sandbox=weak" -- "$hello"
	wrap=() wanted=35
	# What it recommends works.
	vm_run 20 --serial none --sandbox weak --shared-dir "$run:tag" "$hello"
	expect_eq "without user namespaces" "$code" 0
}

# ---------------------------------------------------------------- control

# refused_then_answered REPLIES CODE
refused_then_answered() {
	local first=${1%%$'\n'*} last=${1##*$'\n'}
	[[ $first == *'"ok":false'*"\"code\":\"$2\""* &&
		$last == '{"id":7,"ok":true'* ]]
}

# malformed NAME CODE: what is on standard input gets an error with this code,
# and then the connection answers. The first line that comes is the greeting.
malformed() {
	local reply
	reply=$({
		cat
		printf '\n{"id":7,"command":"state"}\n'
	} | "${as[@]}" "$ctl_tool" "$sock" 2>&1 | tail -n +2)
	expect "control: $1" "${reply:0:300}" refused_then_answered "$reply" $2
}

nest() {
	head -c "$1" /dev/zero | tr '\0' '['
}

control() {
	cp "$ctl_tool" "$dir/ctl"
	ctl_tool=$dir/ctl
	vm_start --no-rng "$spin"
	vm_up 20
	malformed "no JSON" parse <<<'hello?'
	malformed "cut JSON" parse <<<'{"command":'
	malformed "no object" parse <<<'[1,2]'
	malformed "two objects on a line" parse <<<'{}{}'
	malformed "the same key twice" parse \
		<<<'{"command":"state","command":"stop"}'
	malformed "binary" parse < <(printf '\x00\x01\xff\xfe\x80')
	malformed "random bytes" parse < <(head -c 2000 /dev/urandom |
		tr -d '\n ')
	malformed "no command" invalid <<<'{"id":1}'
	malformed "command of a wrong type" invalid <<<'{"command":7}'
	malformed "id of a wrong type" invalid \
		<<<'{"id":{},"command":"state"}'
	malformed "unknown command" unknown-command \
		<<<'{"command":"explode"}'
	malformed "unknown key" invalid <<<'{"command":"state","x":1}'
	malformed "argument of a wrong type" invalid \
		<<<'{"command":"suspend","timeout_ms":"soon"}'
	malformed "argument out of range" invalid \
		<<<'{"command":"suspend","timeout_ms":-1}'
	malformed "unknown state" invalid \
		<<<'{"command":"wait","state":"HAPPY"}'
	malformed "deep nesting" parse < <(nest 60000)
	malformed "a line too long" too-long < <(nest 1000000)
	malformed "a long line of spaces" too-long < <(head -c 1000000 \
		/dev/zero | tr '\0' ' ')
	ctl stop
	vm_end 10
	expect_eq "control: the VM ends well" "$code" 0
	ctl_tool=$tools/ctl
}

# ---------------------------------------------------------------- terminal

# terminal NAME CODE KEYS OPTION...: run on a terminal, which must be as it was
# afterwards. KEYS are typed once the guest has said HELLO or AWAKE.
on_terminal() {
	local what=$1 wanted=$2 keys=$3 pid
	shift 3
	rm -f "$dir/keys" "$dir/code" "$dir/screen"
	mkfifo "$dir/keys"
	: >"$dir/screen"
	exec 7<>"$dir/keys"
	printf '%s\n' 'stty -g >"$dir/before"' \
		'sh -c '\''echo $$ >"$dir/pid"; exec "$@"'\'' sh "$torpor" run "$@"' \
		'echo $? >"$dir/code.new"; stty -g >"$dir/after"' \
		'mv "$dir/code.new" "$dir/code"' >"$dir/session"
	export dir torpor
	script -qfc "sh $dir/session $*" "$dir/screen" <"$dir/keys" \
		>/dev/null 2>&1 7>&- &
	pid=$!
	case $keys in
	TERM)
		within 20 grep -q . "$dir/screen" || :
		within 20 is_raw
		kill -TERM "$(cat "$dir/pid")"
		;;
	?*)
		within 20 is_raw
		printf "$keys" >&7
		;;
	esac
	within 20 [ -e "$dir/code" ] || kill "$(cat "$dir/pid")"
	exec 7>&-
	wait $pid
	expect_eq "terminal, $what: exit code" "$(cat "$dir/code")" "$wanted"
	expect "terminal, $what: as it was" \
		"$(diff "$dir/before" "$dir/after")" \
		cmp -s "$dir/before" "$dir/after"
}

# The VM has its terminal in raw mode.
is_raw() {
	local pid tty
	read -r pid 2>/dev/null <"$dir/pid" || return 1
	tty=$(readlink "/proc/$pid/fd/0") || return 1
	[[ $(stty -a -F "$tty" 2>/dev/null) == *-icanon* ]]
}

terminal() {
	on_terminal "the guest powers off" 0 "" --no-rng "$hello"
	on_terminal "the guest panics" 34 "" --no-rng "$payloads/panic.elf"
	on_terminal "the guest resets" 32 "" --no-rng "$payloads/reset.elf"
	on_terminal "Ctrl-A x" 0 '\001x' --no-rng "$spin"
	on_terminal "Ctrl-A Ctrl-A, then Ctrl-A x" 0 '\001\001x\001x' \
		--no-rng "$spin"
	on_terminal "SIGTERM" 0 TERM --no-rng "$spin"
	on_terminal "an error" 35 "" --no-rng "$run/none"
	on_terminal "an image that is missing" 35 "" --block "$run/none" \
		"$hello"
}

# ---------------------------------------------------------------- log

# Nobody reads what the VM says, and there is no room for more: it goes on.
full_log() {
	mkfifo "$dir/full"
	exec 7<>"$dir/full"
	[ ${#as[@]} = 0 ] || chown "$ORDINARY:$ORDINARY" "$dir/full"
	dd if=/dev/zero of="$dir/full" bs=4096 oflag=nonblock 2>/dev/null
	"${as[@]}" "$torpor" run --socket "$sock" --serial none \
		--log-level debug "$spin" 2>"$dir/full" </dev/null 7>&- &
	vm_pid=$! vm_part=
	expect "a full log: the VM answers" "no answer" \
		within 20 eval 'ctl state; [ "$ctl_out" != "${ctl_out#*RUNNING}" ]'
	kill -TERM $vm_pid
	expect "a full log: SIGTERM ends the VM" "it lives on" \
		within 10 gone $vm_pid
	vm_kill
	exec 7>&-
	rm "$dir/full"
}

# Standard input is a FIFO whose writer has gone: no keys come, no start waits.
without_writer() {
	local pid
	mkfifo "$run/gone"
	exec 7<>"$run/gone" 6<"$run/gone" 7>&-
	"${as[@]}" "$torpor" run --socket "$sock" --serial stdio --no-rng \
		"$spin" <&6 >/dev/null 2>"$dir/err" &
	pid=$!
	exec 6<&-
	expect "input without a writer: the VM runs" "$(cat "$dir/err")" \
		within 20 eval '[ -S "$sock" ]'
	kill -TERM $pid
	expect "input without a writer: SIGTERM ends it" "it runs on" \
		within 20 gone $pid || kill -9 $pid
	wait $pid
	expect_eq "input without a writer: as a stop" $? 0
	rm -f "$run/gone"
}

# What is wrong with an option does not depend on who gives it: on an emulated
# host that takes too long to be done twice.
wrong_options() {
	kernels
	images
	bad_values
	config_files
	too_many
}

all_tests() {
	if [ ${#as[@]} = 0 ] || [ "$(how_many 1 0 1)" = 1 ]; then
		wrong_options
	fi
	taps
	host
	[ ${#as[@]} = 0 ] || no_permission
	control
	full_log
	without_writer
	[ ${#as[@]} != 0 ] || terminal
}

[ "$TORPOR_TEST_NS" = 0 ] || skip "files without permission" "needs root"
for_each_user all_tests
tests_end
