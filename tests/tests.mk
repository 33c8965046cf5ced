# SPDX-License-Identifier: BSD-3-Clause
#
# Programs of the tests, and the targets that run them. tests/README.md tells what
# runs where.

# ---------------------------------------------------------------- unit, contract

# One Criterion program a file; each is linked with all libraries.
UNIT_SRC = $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c)
# Every device type: device.c in its own process, suspend_*.c in the real one, with
# what these share and what they know of each type.
CONTRACT = device suspend_contract suspend_load suspend_states
CONTRACT_SRC = $(CONTRACT:%=tests/contract/%.c)
CONTRACT_HELPERS = $(filter-out $(CONTRACT_SRC),$(wildcard tests/contract/*.c))
TESTS = $(patsubst %.c,$(B)/%,$(UNIT_SRC) $(CONTRACT_SRC))

LIB_TEST = $(B)/libtest.a
$(LIB_TEST): $(call obj,$(wildcard tests/lib/*.c))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

TEST_LIBS = -lcriterion -l:liburing.a $(VMM_LIBS)

# Criterion's macros trip -Wconversion.
$(B)/obj/tests/unit/%.o $(B)/obj/tests/lib/%.o $(B)/obj/tests/contract/%.o: \
	private ALL_CFLAGS += -Wno-conversion

# WRAP: what a test has in the place of a function.
$(TESTS): $(B)/%: $(B)/obj/%.o $(LIB_TEST) $(LIBS)
	$(call link,$(filter %.o,$^) $(WRAP) $(LIB_TEST),$(TEST_LIBS))

# The rig counts what is sent to the process that it starts.
CONTRACT_TESTS = $(CONTRACT:%=$(B)/tests/contract/%)
$(CONTRACT_TESTS): private WRAP = -Wl,--wrap=fd_sendmsg
$(CONTRACT_TESTS): $(call obj,$(CONTRACT_HELPERS)) | $(B)/torpor-device

# This one lists directories of a kernel of its own.
$(B)/tests/unit/virtio/fs/list: private WRAP = \
	-Wl,--wrap=getdents64 -Wl,--wrap=lseek

# This one looks at what is asked of the host.
$(B)/tests/unit/virtio/fs/limits: private WRAP = \
	-Wl,--wrap=pwritev -Wl,--wrap=fallocate -Wl,--wrap=fstatfs \
	-Wl,--wrap=fsync -Wl,--wrap=syncfs

# Counts how often guest memory is read.
$(B)/tests/unit/virtio/net/ctrl: private WRAP = -Wl,--wrap=iov_read

# This one is the host's kernel.
$(B)/tests/unit/devices/vfio/device: private WRAP = \
	-Wl,--wrap=ioctl -Wl,--wrap=pwrite

# Executed by it.
$(B)/tests/unit/virtio/device_socket: | $(B)/torpor-device

unit-tests: $(TESTS)

# ---------------------------------------------------------------- sandbox

# What the sandbox tests jail. From sources: a sanitizer cannot be linked
# statically, and a program in an empty root must be.
STATIC = -std=gnu17 -I. -fPIE -static-pie -O2 $(HARDEN) $(WARN)
PROBE = $(B)/tests/sandbox/probe-device
PROBE_SRC = tests/sandbox/probe_device.c tests/sandbox/attempts.c \
	$(BASE_SRC) sandbox/caps.c sandbox/jail.c sandbox/landlock.c sandbox/policy.c \
	sandbox/policy_roles.c sandbox/policy_vmm.c virtio/blk/ring.c

$(PROBE): $(PROBE_SRC) $(wildcard sandbox/*.h vmm/base/*.h virtio/*.h virtio/*/*.h)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(STATIC) -o $@ $(PROBE_SRC) \
		-l:libseccomp.a -l:liburing.a

$(addprefix $(B)/tests/unit/sandbox/,captured_vmm device_log isolation \
	jail_attempts lifetime spawn_errors violations): | $(PROBE)
$(B)/tests/unit/sandbox/jail_attempts: $(B)/obj/tests/sandbox/attempts.o

# In the place of torpor-device.
$(B)/tests/sandbox/mad-device: tests/sandbox/mad_device.c $(BASE_SRC) \
		$(wildcard virtio/*.h vmm/base/*.h)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(STATIC) -o $@ $(filter %.c,$^) -lpthread

# Which rules of the filters the programs use.
$(B)/tests/sandbox/rule-callers: $(B)/obj/tests/sandbox/rule_callers.o $(LIBS)
	$(call link,$<,-lseccomp)

# ---------------------------------------------------------------- guests

# Programs that the tests on bare-metal payloads use.
BAREMETAL_TOOLS = $(addprefix $(B)/tests/baremetal/, \
	ctl cycle_host slowfs wake_forced wake_races)

baremetal-tools: $(BAREMETAL_TOOLS) $(B)/tests/sandbox/mad-device \
	$(B)/tests/sandbox/rule-callers

$(B)/tests/baremetal/wake_forced $(B)/tests/baremetal/wake_races: \
	$(B)/obj/tests/baremetal/wake_guest.o
$(BAREMETAL_TOOLS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBS)
	$(call link,$(filter %.o,$^),-ljansson)

# Programs of the tests that boot Linux guests.
BOOT_TOOLS = $(B)/tests/boot/clients $(B)/tests/boot/race
$(B)/tests/boot/clients: $(B)/obj/tests/stress/clients.o
$(BOOT_TOOLS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBS)
	$(call link,$(filter %.o,$^),-ljansson -lpthread)

# These run in a guest, which has no libraries.
IN_GUEST = $(addprefix $(B)/tests/boot/,keep_open posix_cases vsock_peer)
$(IN_GUEST): $(B)/tests/boot/%: tests/boot/%.c
$(B)/bench/fs_ops: tests/bench/fs_ops.c
$(IN_GUEST) $(B)/bench/fs_ops:
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -static $(WARN) \
		-Wno-conversion -o $@ $<

boot-tools: $(BOOT_TOOLS) $(IN_GUEST)

# ---------------------------------------------------------------- bench

BENCH = $(addprefix $(B)/bench/, \
	first_byte irq_latency linux_sleep memory send_packets sleep_cycles)

$(B)/bench/linux_sleep: $(call obj,tests/bench/linux_vm.c \
	tests/bench/proc_threads.c tests/bench/sleep_trace.c)
$(BENCH): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(LIBS)
	$(call link,$(filter %.o,$^),$(VMM_LIBS))

$(B)/bench/initramfs.cpio: tests/bench/mkguest.sh $(B)/guest/initramfs.cpio
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && tests/bench/mkguest.sh $(KERNEL_DIR) \
		$(B)/guest/initramfs.cpio $@

bench-programs: $(BENCH) $(B)/bench/fs_ops $(B)/bench/initramfs.cpio

# ---------------------------------------------------------------- fuzz

# One file each; fuzz*.c is what they share.
FUZZ_HELPERS = $(wildcard tests/fuzz/fuzz*.c)
FUZZERS = $(basename $(notdir $(filter-out $(FUZZ_HELPERS), \
	$(wildcard tests/fuzz/*.c))))

fuzzers: $(FUZZERS:%=$(B)/bin/%)
$(B)/bin/pci: $(call obj,tests/lib/model_pci.c)
$(B)/bin/%: $(B)/obj/tests/fuzz/%.o $(call obj,$(FUZZ_HELPERS)) $(LIBS)
	$(call link,-fsanitize=fuzzer $(filter %.o,$^),-l:liburing.a $(VMM_LIBS))

# ---------------------------------------------------------------- TSan

# What a program has in place of a part of the VMM comes first.
TSAN_PROGRAMS = $(B)/tests/stress/clients_stress $(B)/tests/stress/power_stress

$(B)/tests/stress/clients_stress: $(call obj,tests/stress/sleepy_guest.c \
	tests/stress/clients.c)
$(B)/tests/stress/power_stress: $(call obj,tests/lib/power_model.c \
	tests/lib/power_race.c)
$(TSAN_PROGRAMS): $(B)/%: $(B)/obj/%.o $(LIBS)
	$(call link,$(filter %.o,$^) -zmuldefs,-l:liburing.a $(VMM_LIBS))

tsan-programs: $(TSAN_PROGRAMS)

# ---------------------------------------------------------------- what people run

demo: ## boot a stock Debian guest, put it to sleep, wake it
	$(NEED) build guest
	$(Q)$(REMAKE) programs payloads guest
	$(Q)B=$(B) tests/harness/run-guests.sh -t 300 tests/boot/demo.sh

# ONLY="sleep boot" runs only these parts.
check: ## all tests that a change must pass
	$(NEED) build check guest interop clang fuzz
	$(Q)$(REMAKE) programs payloads baremetal-tools guest \
		boot-tools unit-tests
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)B=$(B) tests/check.sh $(TESTS)

check-all: ## these and the long ones
	$(NEED) build check guest interop clang fuzz
	$(Q)$(REMAKE) programs payloads baremetal-tools boot-tools guest \
		autosleep-kernel autosleep-guest unit-tests
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)$(MAKE) --no-print-directory guest-suspend-kernel
	$(Q)B=$(B) LONG=1 tests/check.sh $(TESTS)

check-baremetal: ## the tests on bare-metal payloads alone
	$(NEED) build check
	$(Q)$(REMAKE) programs payloads baremetal-tools
	$(Q)B=$(B) ONLY="payloads exits memory errors kill stop mad fence forced \
		races bmcycles asleep" \
		tests/check.sh

bench: ## figures, beside peers in the same run (docs/benchmarks.md)
	$(NEED) build guest bench
	$(Q)$(REMAKE) programs payloads guest bench-programs
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)B=$(B) tests/bench/bench.sh

# A leak counts as a failure.
san: ## the unit tests with ASan and UBSan
	$(NEED) build check
	$(Q)$(REMAKE) B=$(B)/san SAN=1 programs unit-tests
	$(Q)NAME=san tests/run-unit.sh $(TESTS:$(B)/%=$(B)/san/%)

# What vCPU threads and the main loop share, and what control clients do to it.
# LONG=1: the clients for 60 s. SEED=N: the same choices again.
tsan: ## the coordinator and its clients with ThreadSanitizer
	$(NEED) build check
	$(Q)$(REMAKE) B=$(B)/tsan TSAN=1 tsan-programs
	$(Q)B=$(B)/tsan tests/stress/tsan.sh $(if $(filter 1,$(LONG)),60,10) \
		$(SEED)

# Everything that reads what a guest, a peer or a person wrote, each for
# FUZZ_SECONDS. What is found is kept in build/fuzz/crashes, what is learnt in
# build/fuzz/corpus. FUZZERS="blk net" runs only these.
fuzz: ## the fuzzers, for FUZZ_SECONDS each
	$(NEED) build fuzz
	$(Q)$(REMAKE) B=$(B)/fuzz CC=clang FUZZ=1 fuzzers
	$(Q)B=$(B)/fuzz tests/fuzz/fuzz.sh $(FUZZERS)

shell-nested: ## a root shell on the emulated host, to try things by hand
	$(NEED) build guest nested
	$(Q)$(REMAKE) programs payloads guest
	$(Q)B=$(B) tests/harness/nested.sh -i

.PHONY: baremetal-tools bench bench-programs boot-tools check check-all \
	check-baremetal demo fuzz fuzzers san shell-nested tsan tsan-programs \
	unit-tests
