#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest's accesses cost in exits to user space. The payload does one
# thing N times between two markers; the counters of `torpor state` are read at
# both. Figures are printed, and judged against what is promised: reads of the
# register page cost nothing, a request one exit, for the acknowledgement.
. "$(dirname "$0")/lib.sh"

N=1000
# The vCPU runs on while the counters are read: each reading may have counted an
# exit whose kind it has not counted yet.
IN_FLIGHT=1
COUNTERS="exits pio_in pio_out mmio_read mmio_write eoi"

# counters PREFIX: $PREFIX_exits and so on.
counters() {
	local c text
	text=$("$torpor" state --json "$sock") || return 1
	text=${text##*\"vcpus\":}
	for c in $COUNTERS; do
		printf -v "$1_$c" %s "$(echo "$text" |
			sed -n "s/.*\"$c\":\([0-9]*\).*/\1/p")"
	done
}

# differ: the counters' differences as $d_*. Port accesses are the markers': the
# payload prints, then polls the serial port for our byte.
differ() {
	local c a b
	for c in $COUNTERS; do
		a=before_$c b=after_$c
		printf -v "d_$c" %s $((${!b} - ${!a}))
	done
	d_pio=$((d_pio_in + d_pio_out))
}

phase() {
	local what=$1
	vm_line "READY $what *" 60 || {
		not_ok "$what" "not reached"
		return 1
	}
	counters before
	printf g >&9
	vm_line "END $what *" 120 || {
		not_ok "$what" "does not end"
		return 1
	}
	counters after
	differ
	printf g >&9
}

per_n() {
	awk "BEGIN { printf \"%.3f\", $1 / $N }"
}

register_reads() {
	phase "$1" || return
	echo "  $N reads of $1: mmio_read $d_mmio_read, mmio_write" \
		"$d_mmio_write, eoi $d_eoi; serial port $d_pio"
	expect "reads of $1 do not exit" "$d_mmio_read mmio_read" \
		[ "$d_mmio_read,$d_mmio_write,$d_eoi" = 0,0,0 ]
	expect "reads of $1: no other exit" "$d_exits exits, $d_pio of ports" \
		[ $((d_exits - d_pio)) -le $IN_FLIGHT ]
}

blk_reads() {
	phase blk-reads || return
	echo "  $N disk reads: exits each: read $(per_n $d_mmio_read), write" \
		"$(per_n $d_mmio_write), eoi $(per_n $d_eoi);" \
		"serial port $d_pio in all"
	expect_eq "disk reads: no kick, no read exits" "$d_mmio_read" 0
	expect "disk reads: a used buffer costs one exit" \
		"$d_mmio_write mmio_write, $d_eoi eoi for $N" \
		[ $((d_mmio_write + d_eoi)) -le $N ]
	expect "disk reads: no other exit" \
		"$d_exits exits, $d_pio of ports, $N acknowledgements" \
		[ $((d_exits - d_pio)) -le $((N + IN_FLIGHT)) ]
}

count_exits() { # CHIP ENGINE
	local reg
	who=", irqchip $1, engine $2"
	run_dir_make
	image disk.img
	vm_start --irqchip "$1" --block "$dir/run/disk.img,engine=$2" \
		--params "n=$N" "$payloads/exits.elf"
	for reg in magic interrupt-status status config-generation \
		config-space; do
		register_reads $reg
	done
	blk_reads
	vm_end 30
	expect_eq "ends well" "$code" 0
	expect "no FAIL line" "$(grep ^FAIL "$dir/run/out")" \
		grep -q "^DONE passed=[1-9][0-9]* failed=0" "$dir/run/out"
}

count_exits split uring
count_exits kernel threads
tests_end
