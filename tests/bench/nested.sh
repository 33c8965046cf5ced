#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of the benchmarks that runs on an emulated host (bench.sh). A vCPU
# that runs is interrupted there when the emulator gets round to it, so only
# the halted one is measured.
B=${B:-build}
"$B/bench/irq_latency" 500 0 "$B/guest/payloads/latency.elf" || exit
"$B/bench/sleep_cycles" 100 "$B/torpor" "$B/guest/payloads/sleeper.elf" \
	/tmp/bench.sock
