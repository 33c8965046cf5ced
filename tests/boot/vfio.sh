#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# SSDs of the host in a stock guest, by VFIO: on an emulated host with an IOMMU
# (nested.sh -p). One has its MSI-X table in a BAR of its own, the other in the
# BAR that its registers are in.
. tests/boot/lib.sh

PCI=/sys/bus/pci
# How often an SSD wakes the guest.
WAKES=3
[ "${LONG-}" != 1 ] || WAKES=100

# driver_is BDF DRIVER
driver_is() {
	[ "$(basename "$(readlink $PCI/devices/$1/driver)")" = "$2" ]
}

# bind BDF: takes it from the host.
bind() {
	echo vfio-pci >$PCI/devices/$1/driver_override
	echo "$1" >$PCI/devices/$1/driver/unbind
	echo "$1" >$PCI/drivers_probe
	expect "bind $1" "its driver is another" driver_is "$1" vfio-pci
}

# refused NAME PATTERN OPTION...: no VM comes of it, and the user is told why.
refused() {
	re_name=$1 re_pattern=$2
	shift 2
	re_said=$("$torpor" run "$@" --serial none --no-rng "$VM_KERNEL" 2>&1)
	expect_eq "$re_name: usage" "$?" 35
	case $re_said in
	*$re_pattern*) ok "$re_name: says why" ;;
	*) not_ok "$re_name: says why" "$re_said" ;;
	esac
}

for bdf in 0000:00:07.0 0000:00:08.0; do
	if [ ! -e $PCI/devices/$bdf/iommu_group ]; then
		skip "$bdf" "no such device to pass on: nested.sh -p has it"
		tests_end vfio
	fi
done

# ------------------------------------------------------- what does not go

group=$(basename "$(readlink $PCI/devices/0000:00:07.0/iommu_group)")
refused "the host's own" "driver nvme" --vfio 0000:00:07.0
bind 0000:00:07.0
bind 0000:00:08.0
refused "no such device" "no such PCI device" --vfio 0000:00:1e.0
refused "a slot twice" "guest-slot=3" --vfio 00:07.0,guest-slot=3 \
	--vfio 00:08.0,guest-slot=3

# An ordinary user: first without the group, then with too little to lock.
# refused_user NAME PATTERN KIB
refused_user() {
	ru_said=$(
		ulimit -l "$3"
		su user -s /bin/sh -c "$torpor run --vfio 00:07.0 --serial none \
			--no-rng $VM_KERNEL" 2>&1
	)
	expect_eq "$1: usage" "$?" 35
	case $ru_said in
	*$2*) ok "$1: says why" ;;
	*) not_ok "$1: says why" "$ru_said" ;;
	esac
}

refused_user "a user without the group" "chown 1000 /dev/vfio/$group" 8192
chown 1000 "/dev/vfio/$group"
refused_user "a user who may lock little" "your limit is 8192 KiB" 8192
chown 0 "/dev/vfio/$group"

# ------------------------------------------------------------- what does go

MIB=64

# host_irqs BDF, guest_irqs DISK: interrupts of the device's vectors so far.
host_irqs() {
	grep "vfio-msix.*$1" /proc/interrupts | awk '{ n += $2 } END { print n + 0 }'
}

guest_irqs() {
	guest "grep ${1%n1}q /proc/interrupts" |
		awk '{ n += $2 } END { print n + 0 }'
}

# reads_what_it_writes NAME DISK
reads_what_it_writes() {
	rw_wrote=$(guest "dd if=/dev/urandom of=/tmp/r bs=1M count=$MIB 2>/dev/null
		&& dd if=/tmp/r of=/dev/$2 bs=1M oflag=direct 2>/dev/null
		&& md5sum </tmp/r; rm /tmp/r")
	rw_read=$(guest "dd if=/dev/$2 bs=1M count=$MIB iflag=direct 2>/dev/null |
		md5sum")
	expect_eq "$1: reads the $MIB MiB that it wrote" "$rw_read" "$rw_wrote"
}

# settled BDF DISK: $irqs_host and $irqs_guest, when the guest's driver rests.
settled() {
	irqs_host= irqs_guest=
	for se_try in 1 2 3 4 5 6 7 8 9 10; do
		se_before="$irqs_host $irqs_guest"
		irqs_guest=$(guest_irqs "$2") irqs_host=$(host_irqs "$1")
		[ "$se_before" != "$irqs_host $irqs_guest" ] || return 0
	done
}

# counts_interrupts NAME BDF DISK: one request at a time, so that no interrupt
# comes while the guest has not taken the one before.
counts_interrupts() {
	settled "$2" "$3"
	ci_guest=$irqs_guest ci_host=$irqs_host
	guest "dd if=/dev/$3 of=/dev/null bs=4k count=1000 iflag=direct 2>/dev/null"
	settled "$2" "$3"
	ci_guest=$((irqs_guest - ci_guest)) ci_host=$((irqs_host - ci_host))
	expect_eq "$1: 1000 requests, as many interrupts" "$ci_guest" 1000
	expect_eq "$1: as many as the host has" "$ci_host" "$ci_guest"
}

# A source that wakes the guest so often would be a storm.
if ! vm_start "" --wake-storm 0 --vfio 0000:00:07.0 \
	--vfio $PCI/devices/0000:00:08.0,guest-slot=9,pm=deep; then
	not_ok "a guest with two SSDs" "it does not boot"
	tests_end vfio
fi
ok "a guest with two SSDs"
expect_eq "they are where they were put" \
	"$(guest "cd $PCI/devices && echo *")" \
	"0000:00:00.0 0000:00:01.0 0000:00:09.0"
for n in 0 1; do
	reads_what_it_writes "SSD $n" "nvme${n}n1"
	counts_interrupts "SSD $n" "0000:00:0$((7 + n)).0" "nvme${n}n1"
done
expect_clean_log "with SSDs"

# Linux clears COMMAND.MEM and sizes the BARs.
guest "echo 1 >$PCI/devices/0000:00:09.0/remove; echo 1 >$PCI/rescan
	cd $PCI/devices/0000:00:09.0/nvme/ && cd *
	for i in 1 2 3 4 5 6 7 8 9; do [ -d nvme*n1 ] || sleep 1; done" >/dev/null
again=$(guest "ls $PCI/devices/0000:00:09.0/nvme")
reads_what_it_writes "SSD 1, found again" "${again}n1"

# ------------------------------------------------------------------ asleep

# power_is BDF STATE: soon; the host's kernel takes its time.
power_is() {
	for pi_try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(cat $PCI/devices/$1/power_state)" != "$2" ] || return 0
		usleep 100000
	done
	return 1
}

# in_state NAME BDF STATE
in_state() {
	power_is "$2" "$3"
	expect_eq "$1 is in $3" "$(cat $PCI/devices/$2/power_state)" "$3"
}

# Somebody on the host wakes SSD 1, as a PME of the device would.
wake_ssd() {
	echo on >$PCI/devices/0000:00:08.0/power/control
	echo auto >$PCI/devices/0000:00:08.0/power/control
}

# sleep_cycle NAME: down, up by the launcher, and all is as it was.
sleep_cycle() {
	asleep "$1" || return
	in_state "$1: asleep, SSD 0" 0000:00:07.0 D3hot
	in_state "$1: asleep, SSD 1" 0000:00:08.0 D3cold
	ctl state
	expect_eq "$1: 'torpor state' says so" "$(echo "$ctl_out" |
		awk '$1 ~ /^vfio[01]$/ && $2 ~ /:/ { print $1, $3, $4 }' |
		tr '\n' ' ')" "vfio0 shallow D3hot vfio1 deep D3cold "
	ctl wake
	awake "$1" launcher
	expect_eq "$1: awake, SSD 0 and 1" \
		"$(cat $PCI/devices/0000:00:0[78].0/power_state | tr '\n' ' ')" \
		"D0 D0 "
	reads_what_it_writes "$1: SSD 0, awake again" nvme0n1
	reads_what_it_writes "$1: SSD 1, awake again" "${again}n1"
}

vm_events_start
MIB=8
sleep_cycle "with SSDs"
counts_interrupts "SSD 0, awake again" 0000:00:07.0 nvme0n1
counts_interrupts "SSD 1, awake again" 0000:00:08.0 "${again}n1"

# Nobody has armed it: the host wakes it for nothing, and it goes down again.
asleep "not armed"
power_is 0000:00:08.0 D3cold
wake_ssd
in_state "not armed: woken by the host, SSD 1" 0000:00:08.0 D3cold
expect_eq "not armed: the guest sleeps" "$(vm_state)" SUSPENDED
ctl wake
awake "not armed" launcher

guest "echo enabled >$PCI/devices/0000:00:09.0/power/wakeup"
for n in $(seq 1 "$WAKES"); do
	asleep "armed $n" || break
	power_is 0000:00:08.0 D3cold
	wake_ssd
	awake "armed $n, woken by SSD 1" vfio1
done
reads_what_it_writes "SSD 1, after it woke the guest" "${again}n1"
ctl state --json
expect_eq "as many wake-ups are counted" "$(source_get vfio1 wakes)" "$WAKES"

# Against the way down: the event comes before the device is down, and is not a
# wake-up; or it wakes the guest. A guest that sleeps beside a device that is up
# has lost it.
# race_wake MICROSECONDS
race_wake() {
	"$torpor" suspend --timeout $((20000 * SLOW)) "$vm_sock" >/dev/null 2>&1 &
	rc_pid=$!
	usleep "$1"
	wake_ssd
	wait $rc_pid
	usleep 100000
	rc_state=$(vm_state)
	[ "$rc_state" != SUSPENDED ] || power_is 0000:00:08.0 D3cold || return 1
	[ "$rc_state" != SUSPENDED ] || ctl wake
	vm_wait RUNNING $((10 * SLOW)) && [ "$(guest echo here)" = here ]
}

races_lost=0 races_asleep=0
for n in $(seq 1 "$WAKES"); do
	race_wake $((n * 7919 % 3000 * 1000)) || races_lost=$((races_lost + 1))
	[ "$rc_state" != SUSPENDED ] || races_asleep=$((races_asleep + 1))
done
expect_eq "$WAKES wake-ups on the way down, $races_asleep too early: lost" \
	$races_lost 0
reads_what_it_writes "SSD 1, after the races" "${again}n1"

# A device without a driver stays in D0: the user is told.
guest "echo 0000:00:01.0 >$PCI/drivers/nvme/unbind"
ctl suspend --timeout $((20000 * SLOW)) --json
case $ctl_out in
*'"stays_on":["vfio0"]'* | *'"stays_on": ["vfio0"]'*)
	ok "a device that is left on: the reply names it"
	;;
*) not_ok "a device that is left on: the reply names it" "$ctl_out" ;;
esac
expect "a device that is left on: so does the log" "it does not" \
	vm_says "vfio0 (0000:00:07.0) stays on"
expect_eq "it is in D0" "$(cat $PCI/devices/0000:00:07.0/power_state)" D0
ctl wake
awake "a device that is left on" launcher
guest "echo 0000:00:01.0 >$PCI/drivers/nvme/bind"

if [ "${LONG-}" = 1 ]; then
	for n in $(seq 1 100); do
		sleep_cycle "sleep $n"
	done
fi
expect_no_warning "with SSDs"
expect_eq "the host's log has no error of theirs" "$(dmesg |
	grep -i -E 'AER:|vfio.*(error|fail|timeout)|nvme.*reset')" ""

# The host's unbind waits until the VM is over.
echo 0000:00:07.0 >$PCI/devices/0000:00:07.0/driver/unbind &
vm_exit $((20 * SLOW))
expect_eq "the host wants an SSD back: the guest powers off" "$code" 0
wait $!
expect "the host has it back" "vfio-pci has it still" \
	[ ! -e $PCI/devices/0000:00:07.0/driver ]
expect_eq "its interrupts are gone" "$(grep -c vfio-msix /proc/interrupts)" 0

# ------------------------------------------------------- of an ordinary user

group=$(basename "$(readlink $PCI/devices/0000:00:08.0/iommu_group)")
chown 1000 "/dev/vfio/$group"
ulimit -l 300000
cat >/tmp/as-user <<-END
	#!/bin/sh
	chown 1000 /tmp/vm.*
	exec su user -s /bin/sh -c 'exec $PWD/$torpor "\$@"' -- sh "\$@"
END
chmod 755 /tmp/as-user
torpor=/tmp/as-user
if vm_start "" --vfio 0000:00:08.0; then
	reads_what_it_writes "an ordinary user" nvme0n1
	torpor=$B/torpor
	asleep "an ordinary user"
	echo 0000:00:08.0 >$PCI/devices/0000:00:08.0/driver/unbind &
	vm_exit $((20 * SLOW))
	expect_eq "the host wants it back from a sleeping guest: powers off" \
		"$code" 0
	wait $!
else
	not_ok "an ordinary user" "no guest"
fi

tests_end vfio
