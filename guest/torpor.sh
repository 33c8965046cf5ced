# SPDX-License-Identifier: BSD-3-Clause
#
# Functions of the guest's scripts. Options of the kernel's command line:
#
#	torpor.ip=10.9.8.2/24	address of eth0
#	torpor.wake=net,ttyS0	who may wake the guest besides the buttons and
#				the alarm: net (each network device, the
#				default), a tty, LNRO0005:NN, or none
#	torpor.sleep=freeze	what is written to /sys/power/state
#	torpor.wakeup_count=1	with the wakeup_count protocol
#	torpor.autosleep=mem	sleep whenever no wake lock is held; for a kernel
#				with autosleep, see torpor_autosleep
#	torpor.run=/FILE	a script to run; the guest then powers off
#	torpor.run=commands	take commands from the console, see below

# torpor_param NAME DEFAULT
torpor_param() {
	for tp_word in $(cat /proc/cmdline); do
		case $tp_word in
		torpor."$1"=*) set -- "$1" "${tp_word#*=}" ;;
		esac
	done
	echo "${2-}"
}

torpor_modules() {
	[ -e /lib/modules/order ] || return 0
	while read -r tm_file; do
		insmod "/lib/modules/$tm_file" ||
			echo "TORPOR: cannot load $tm_file"
	done </lib/modules/order
}

torpor_network() {
	ip link set lo up
	# Nothing but what the tests send: no neighbour discovery.
	[ ! -e /proc/sys/net/ipv6 ] ||
		echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	[ -e /sys/class/net/eth0 ] || return 0
	tn_ip=$(torpor_param ip)
	[ -z "$tn_ip" ] || ip addr add "$tn_ip" dev eth0
	ip link set eth0 up
}

# A virtio device wakes through the platform device that it sits on.
torpor_wake_enable() {
	for we_name in $(torpor_param wake net | tr ',' ' '); do
		case $we_name in
		none) continue ;;
		net) set -- /sys/class/net/eth*/device/.. ;;
		tty*) set -- "/sys/class/tty/$we_name" ;;
		*) set -- "/sys/devices/platform/$we_name" ;;
		esac
		for we_dir in "$@"; do
			[ ! -w "$we_dir/power/wakeup" ] ||
				echo enabled >"$we_dir/power/wakeup"
		done
	done
}

# The wake lock `console` is held from here on, also after each sleep (see
# wake-handler): the guest sleeps when it is given back, and only then.
torpor_autosleep() {
	ta_state=$(torpor_param autosleep)
	[ -n "$ta_state" ] || return 0
	mount -t debugfs debugfs /sys/kernel/debug
	echo console >/sys/power/wake_lock
	echo 0 >/run/sleeps
	on-wake wake-handler >/dev/console 2>&1 &
	echo "$ta_state" >/sys/power/autosleep
}

# Each line "TAG COMMAND..." from the console is run; its output is followed by
# "TORPOR-DONE TAG STATUS".
torpor_commands() {
	stty -echo -opost </dev/console
	echo "TORPOR-COMMANDS"
	while IFS=' ' read -r tc_tag tc_line; do
		[ -n "$tc_tag" ] || continue
		sh -c "$tc_line" </dev/null
		echo "TORPOR-DONE $tc_tag $?"
	done
}
