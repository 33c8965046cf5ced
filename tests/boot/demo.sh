#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The demo (make demo): a stock Debian guest boots, sleeps, is woken by a packet
# and by its alarm, and has lost nothing. Ends with a table of what it took.
. tests/boot/lib.sh

say() {
	echo "$*"
}

# right WHAT COMMAND...: says so, or that it is wrong, which fails the demo.
right() {
	ri_what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "    right  $ri_what"
	else
		failed=$((failed + 1))
		echo "    WRONG  $ri_what"
	fi
}

give_up() {
	echo "The demo ends here: $*"
	[ -z "$vm_dir" ] || tail -n 20 "$vm_dir/console" "$vm_dir/err"
	vm_kill
	exit 1
}

# received WORD: the host gets it over the connection, soon.
received() {
	for re_try in $(seq 100); do
		! grep -q "$1" /tmp/received || return 0
		usleep 50000
	done
	return 1
}

# ms NS: as milliseconds with one decimal.
ms() {
	awk -v ns="$1" 'BEGIN { printf "%.1f", ns / 1000000 }'
}

row() {
	printf '  %-46s %s\n' "$1" "$2" >>/tmp/table
}

: >/tmp/table
net_up
disk=/tmp/disk.img
truncate -s 64M $disk
mkfifo /tmp/never

say "torpor: a stock Debian guest sleeps, and is woken with nothing lost."
if [ "${TORPOR_NESTED-0}" = 1 ]; then
	say "This machine has no KVM that runs Linux, so all this happens on an"
	say "emulated host: times are many times those of a real one."
fi

# ---------------------------------------------------------------- boot

say
say "1. Boot: 2 CPUs, a disk, a network card, a console, random numbers"
vm_start "" --cpus 2 --block $disk --net $NET \
	--console type=file,path=/tmp/hvc0 || give_up "the guest did not boot"
clocks_read
row "start of torpor to the guest's userspace" \
	"$(ms $((boot - vm_start_ns))) ms"
vm_events_start
say "    unmodified kernel: $(guest 'cat /etc/kernel-package')"
say "    $(vm_processes | wc -w) processes: the VMM, the spawner and one for" \
	"each device"
guest 'mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt &&
	dd if=/dev/hwrng of=/mnt/file bs=4k count=64 2>/dev/null; sync'
sum=$(guest 'md5sum </mnt/file')
say "    wrote a file to the disk, MD5 ${sum%% *}"

nc -l -p 7000 <>/tmp/never >/tmp/received &
nc_pid=$!
listening 7000
guest "mkfifo /tmp/to; (nc $HOST_IP 7000 <>/tmp/to >/dev/null 2>&1 &);
	echo before >/tmp/to"
right "a TCP connection to the host is open" received before

# ---------------------------------------------------------------- first sleep

say
say "2. Sleep for 3 s, then a ping"
clocks_pair || give_up "the guest does not answer"
d_mono=$g_mono d_gboot=$g_boot d_greal=$g_real d_hboot=$h_boot
d_off=$((g_real - h_real))
vm_suspend || give_up "the guest did not fall asleep: $ctl_out"
say "    $ctl_out"
row "request to asleep" "$(echo "$ctl_out" | grep -o '[0-9]* ms')"
vm_threads >/tmp/before
sleep 3
vm_threads >/tmp/after
threads_diff /tmp/before /tmp/after >/tmp/diff
say "    while it slept, of $(wc -l </tmp/after) threads in" \
	"$(vm_processes | wc -w) processes ran:"
awk '$4 || $5 { n++; printf "      %s: %.3f ms, woken %d times\n", $3,
		$4 / 1000000, $5 }
     END { if (!n) print "      none" }' /tmp/diff
row "asleep: all threads ran" \
	"$(ms "$(awk '{ n += $4 } END { print n + 0 }' /tmp/diff)") ms in 3 s"
row "asleep: all threads were woken" \
	"$(awk '{ n += $5 } END { print n + 0 }' /tmp/diff) times in 3 s"

reply=$(ping -c 1 -W 20 $GUEST_IP | sed -n 's/.*time=\([0-9.]* ms\).*/\1/p')
[ -n "$reply" ] || give_up "no reply to the ping"
vm_awake 20 || give_up "still not awake: $(vm_state)"
row "packet sent to reply received" "$reply"
clocks_pair || give_up "the guest does not answer after the sleep"
slept=$(($(event_ns RESUMING) - $(event_ns SUSPENDED)))
say "    awake again, by $(event_source), after $(ms $slept) ms asleep"
row "asleep until the packet came" "$(ms $slept) ms"
row "real time that passed meanwhile, in all" \
	"$(ms $((h_boot - d_hboot))) ms"
row "  guest's MONOTONIC moved (leaves sleep out)" \
	"$(ms $((g_mono - d_mono))) ms"
row "  guest's BOOTTIME moved (counts it)" \
	"$(ms $((g_boot - d_gboot))) ms"
row "  guest's REALTIME moved" "$(ms $((g_real - d_greal))) ms"
row "  guest's REALTIME was off, and is now, by" \
	"$(ms $d_off) ms, $(ms $((g_real - h_real))) ms"

guest 'echo 3 >/proc/sys/vm/drop_caches'
right "the file reads back as it was written" \
	[ "$(guest 'md5sum </mnt/file')" = "$sum" ]
guest 'echo after >/tmp/to'
right "the TCP connection still carries data" received after
off=$(((g_mono - d_mono) - (h_boot - d_hboot - slept)))
right "MONOTONIC leaves the sleep out" [ $((${off#-} / 1000000)) -lt 100 ]
# In its first sleep Linux also corrects what its clocks lost while booting.
off=$(((g_boot - d_gboot) - (h_boot - d_hboot) - (g_real - h_real - d_off)))
right "BOOTTIME counts the sleep" [ $((${off#-} / 1000000)) -lt 100 ]
off=$((g_real - h_real))
right "REALTIME is that of the host" [ $((${off#-} / 1000000)) -lt 100 ]

# ---------------------------------------------------------------- second sleep

say
say "3. Sleep again, until the alarm of the guest's clock"
guest 'echo 0 >/sys/class/rtc/rtc0/wakealarm;
	echo +5 >/sys/class/rtc/rtc0/wakealarm'
vm_suspend || give_up "the guest did not fall asleep: $ctl_out"
say "    $ctl_out"
vm_awake 15 || give_up "the alarm did not wake it"
say "    awake again, by $(event_source), after" \
	"$(ms $(($(event_ns RESUMING) - $(event_ns SUSPENDED)))) ms asleep"
right "it was the alarm" [ "$(event_source)" = rtc ]
right "it answers" [ "$(guest echo here)" = here ]
right "its kernel has no warning" \
	[ -z "$(guest "dmesg | grep -E 'WARNING: CPU|BUG:|lockup|stall'")" ]

# ---------------------------------------------------------------- the end

say
say "4. Power off"
guest 'umount /mnt'
guest_send 'poweroff -f'
vm_exit 20
kill $nc_pid 2>/dev/null
right "the guest is off and torpor's exit status is 0" [ "$code" = 0 ]

say
cat /tmp/table
say
if [ $failed != 0 ]; then
	say "$failed of the checks failed."
	exit 1
fi
say "All is right."
