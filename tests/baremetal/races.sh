#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Wake events of every source at random moments of a guest that goes to sleep
# again at once: none is lost, none comes twice or from nowhere, the VM never
# gets stuck. For each kind of sleep, with devices that are reset, suspended, and
# devices that stay live. RACES=N events of each source; SEED=N repeats a run;
# LOAD=N processes do nothing but run beside each VM; KINDS, STATES narrow it.
. "$(dirname "$0")/lib.sh"

RACES=${RACES:-$(how_many 100 10 10000)}
LOAD=${LOAD:-0}
KINDS=${KINDS:-s2idle s1}
STATES=${STATES:-alarm reset suspended live}
SEED=${SEED:-$RANDOM}
# The clock ticks once a second: alarms of many VMs at a time.
RTC_VMS=${RTC_VMS:-8}
races_pids=()

# Longer than it can take: 3 s an event are far from any that comes.
limit=$((60 + RACES * 3 * 6))

# vm_race DIR PARAMS COUNT SEED [OPTION]... -- SOURCE...: a VM that sleeps and
# the events that wake it. What they say goes to DIR/result.
vm_race() {
	local d=$1 params=$2 count=$3 seed=$4 options=()
	shift 4
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	mkfifo "$d/in"
	exec 7<>"$d/in"
	timeout "$limit" "$torpor" run --socket "$d/sock" --no-rng --serial stdio --mem 32 \
		--wake-storm 0 \
		--params "cycles=1000000000 quiet=1 $params" "${options[@]}" \
		"$payloads/sleeper.elf" <"$d/in" 2>"$d/err" 7>&- |
		timeout "$limit" "$tools/wake_races" -l "$LOAD" "$d/sock" "$seed" \
			"$count" "$@" >"$d/result" 2>>"$d/err" 7>&-
	echo "${PIPESTATUS[*]}" >"$d/status"
	exec 7>&-
}

# judge WHAT DIR...: of one VM or several.
judge() {
	local what=$1 d bad= said
	shift
	for d in "$@"; do
		said=$(tail -n 1 "$d/result" 2>&1)
		[ "$said" = "lost=0 spurious=0" ] ||
			bad="$bad ${said:-no result};"
		[ "$(cat "$d/status")" = "0 0" ] ||
			bad="$bad VM, events: status $(cat "$d/status");"
		[ -z "$bad" ] || tail -n 5 "$d/err" | sed 's/^/  ! /'
	done
	for d in "$@"; do
		grep 'events=' "$d/result"
	done | awk '{
		name = $1
		gsub(/[a-z]*=/, "")
		split($0, n)
		sent[name] += n[2]; down[name] += n[3]; taken[name] += n[4]
	}
	END {
		for (name in sent)
			printf "  %-13s %5d events, %d of them on the way" \
				" down, %d taken awake\n", name, sent[name],
				down[name], taken[name]
	}' | sort
	expect "$what: none lost, none spurious" "$bad (seed $SEED)" \
		[ -z "$bad" ]
}

# sources KIND STATE PARAMS SOURCE...: of a VM with all devices that wake.
sources() {
	local d=$dir/run/$1-$2 what="$1: $RACES events of each source, devices $2"
	local params="kind=$1 io=1 $3 $irqs"
	shift 3
	mkdir "$d"
	vm_race "$d" "$params" "$RACES" "$SEED" --net tap-name=tap0 \
		--console "pty,path=$d/console" \
		--vsock "cid=3,socket=$d/vsock" -- \
		net=tap0 "console=$d/console" "vsock=$d/vsock" "${@//DIR/$d}"
	judge "$what" "$d"
}

# alarms_start KIND, alarms_end KIND: many VMs in the background.
alarms_start() {
	local i d
	for ((i = 0; i < RTC_VMS; i++)); do
		d=$dir/run/rtc-$1-$i
		mkdir "$d"
		vm_race "$d" "kind=$1 alarm=tick" \
			$(((RACES + RTC_VMS - 1) / RTC_VMS)) $((SEED + i)) \
			-- rtc &
		races_pids+=($!)
	done
}

alarms_end() {
	judge "$1: $RACES alarms, $RTC_VMS VMs at a time" \
		"$dir/run/rtc-$1"-*
}

# Whether this KVM delivers interrupts, or the guest has to do without.
irqs= serial=serial-asleep
run_dir_make
vm_run 30 --no-rng --serial stdout "$payloads/probe.elf"
if grep -q '^INTERRUPTS OK' "$dir/run/out"; then
	irqs=irqs=1 serial=serial
fi
echo "  RACES=$RACES SEED=$SEED; serial bytes" \
	"$([ -n "$irqs" ] && echo "at any moment" || echo "to a sleeping guest")"
run_dir_make
tap tap0 || not_ok "tap" "cannot be made"
for kind in $KINDS; do
	for state in $STATES; do
		case $state in
		# Beside the others.
		alarm) alarms_start "$kind" ;;
		# By the guest, as stock drivers do.
		reset) sources "$kind" reset "" powerbtn sleepbtn launcher \
			"$serial=DIR/in" ;;
		suspended) sources "$kind" suspended suspend=1 \
			vsock-data=DIR/vsock ;;
		# By torpor, not by the guest.
		live) sources "$kind" live live=1 vsock-data=DIR/vsock ;;
		esac
	done
	[ ${#races_pids[@]} = 0 ] || {
		wait "${races_pids[@]}"
		races_pids=()
		alarms_end "$kind"
	}
done
tests_end
