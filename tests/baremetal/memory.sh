#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a VM's processes cost in memory, guest RAM aside: USS of each device
# process and of all together, at rest and after traffic. USS is Private_Clean
# plus Private_Dirty of all mappings but guest RAM's; PSS also has its share of
# what is shared, such as program text.
. "$(dirname "$0")/lib.sh"

DEVICE_MAX=300 # KiB
VMM_MAX=400
VM_MAX=1400

# measure PID: "NAME USS PSS VMPTE", in KiB.
measure() {
	awk -v name="$(cat "/proc/$1/comm")" '
		/^[0-9a-f]+-[0-9a-f]+ / { ram = /guest-ram/ }
		ram { next }
		/^Private_(Clean|Dirty|Hugetlb):/ { uss += $2 }
		/^Pss:/ { pss += $2 }
		FILENAME ~ /status$/ && /^VmPTE:/ { pte = $2 }
		END { print name, uss, pss, pte }
	' "/proc/$1/smaps" "/proc/$1/status"
}

measure_all() { # WHEN
	local pids line process uss pss pte sum=0 sum_pss=0 sum_pte=0 n=0
	pids=$(strays | awk 'NF > 1 { print $1 }')
	printf '  %-18s %8s %8s %8s  %s\n' process USS PSS VmPTE "KiB, $1"
	for p in $pids; do
		read -r process uss pss pte < <(measure "$p")
		printf '  %-18s %8d %8d %8d\n' "$process" "$uss" "$pss" "$pte"
		sum=$((sum + uss)) sum_pss=$((sum_pss + pss))
		sum_pte=$((sum_pte + pte)) n=$((n + 1))
		case $process in
		torpor-spawner) ;;
		torpor) expect "VMM $1: at most $VMM_MAX KiB" "$uss KiB" \
			[ "$uss" -gt 0 -a "$uss" -le $VMM_MAX ] ;;
		*) expect "$process $1: at most $DEVICE_MAX KiB" "$uss KiB" \
			[ "$uss" -gt 0 -a "$uss" -le $DEVICE_MAX ] ;;
		esac
	done
	printf '  %-18s %8d %8d %8d\n' "all" "$sum" "$sum_pss" "$sum_pte"
	expect_eq "$1: VMM, spawner and devices are looked at" $n 6
	expect "all processes $1: at most $VM_MAX KiB" "$sum KiB" \
		[ "$sum" -gt 0 -a "$sum" -le $VM_MAX ]
}

# limit PID NAME: the soft limit and the hard one.
limit() {
	awk -v name="$2" 'index($0, name) == 1 {
		sub(name, "")
		print $1, $2
	}' "/proc/$1/limits"
}

# Memory of its own is at most half of what a role's limit lets it have; a disk
# has a limit that is its image's size.
limits_all() { # WHEN
	local p process data soft hard n=0
	for p in $(strays | awk 'NF > 1 { print $1 }'); do
		process=$(cat "/proc/$p/comm")
		case $process in torpor*) continue ;; esac
		data=$(awk '/^VmData:/ { print $2 }' "/proc/$p/status")
		read -r soft hard < <(limit "$p" "Max data size")
		echo "  $process $1: data $data KiB, limit $hard bytes"
		expect "$process $1: its memory is limited, with room" \
			"$data KiB of $soft, $hard" eval \
			'[ "$soft" = "$hard" ] && [ "$hard" -ge $((data * 2048)) ]'
		[ "$process" != blk0 ] ||
			expect_eq "$process $1: its image does not grow" \
				"$(limit "$p" "Max file size")" "4194304 4194304"
		n=$((n + 1))
	done
	expect_eq "$1: the limits of all devices" $n 4
}

# An option whose payload waits for a byte when all is done.
after_traffic() {
	image disk.img 4M
	tap tap0
	vm_start --block "$dir/run/disk.img" --net tap-name=tap0 \
		--console "type=file,path=$dir/run/console" "$@"
}

memory_tests() {
	after_traffic "$payloads/spin.elf"
	vm_up 20
	measure_all "at rest"
	after_traffic --params "stay=1 net-reply=1" "$payloads/devices.elf"
	vm_line "WAIT net" 60 && poke_tap
	expect "devices ran" "no DONE line" vm_line "DONE passed=*" 60
	measure_all "after traffic"
	after_traffic --params "stay=1" "$payloads/hostile.elf"
	expect "hostile ran" "no DONE line" vm_line "DONE passed=*" 120
	measure_all "after hostile requests"
	limits_all "after hostile requests"
}

for_each_user memory_tests
tests_end
