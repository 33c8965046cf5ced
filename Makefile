# SPDX-License-Identifier: BSD-3-Clause
#
# torpor: one non-recursive Makefile. Everything built goes to build/.
#
#   make            the two programs
#   make help       this text
#   make demo       boot a stock Debian guest, put it to sleep, wake it
#   make check      all tests that a change must pass
#   make check-all  these and the long ones
#   make autosleep-kernel   the guest kernel with wake locks, once
#   make lint san fuzz bench install
#   make guest-suspend check-guest-suspend   see guest/linux/README.md
#
#   V=1        show commands        WERROR=0   warnings do not stop
#   CC=clang   another compiler     SAN=1      ASan and UBSan      TSAN=1     TSan

B ?= build
PREFIX ?= /usr/local
CC = gcc
AR = ar
V ?= 0
WERROR ?= 1
SAN ?= 0
TSAN ?= 0
FUZZ ?= 0
VERSION := 0.1.0

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.SUFFIXES:
.DELETE_ON_ERROR:
# Objects of payloads and tests are kept.
.SECONDARY:
all: programs

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

# ---------------------------------------------------------------- sources

BASE_SRC = $(wildcard vmm/base/*.c)

# What a device process is made of.
VIRTIO_SRC = $(filter-out $(TRANSPORT_SRC) virtio/torpor_device.c, \
	$(wildcard virtio/*.c virtio/*/*.c))

SANDBOX_SRC = $(wildcard sandbox/*.c)

# What the VMM is made of.
TRANSPORT_SRC = $(wildcard virtio/mmio/*.c virtio/vhost_user/frontend*.c)
VMM_SRC = $(TRANSPORT_SRC) \
	$(filter-out vmm/cli/main.c $(CLIENT_SRC) $(BASE_SRC), \
	$(wildcard vmm/*/*.c))

DEVICES_SRC = $(wildcard devices/*.c)

ARCH_SRC = $(wildcard arch/x86_64/*.c)

# The client library and what the CLI needs.
CLIENT_SRC = vmm/control/client.c

# Bare-metal guests: a program each, and what all of them stand on.
PAYLOADS = \
	bench \
	cycles \
	devices \
	dsw \
	exits \
	fence \
	flood \
	halt \
	hello \
	hostile \
	hostile_fuse \
	irq \
	latency \
	panic \
	probe \
	reset \
	restless \
	sleeper \
	spin \
	survivor \
	triple

PAYLOAD_LIB_SRC = \
	guest/payloads/apic.c \
	guest/payloads/runtime.c \
	guest/payloads/rx.c \
	guest/payloads/sleep.c \
	guest/payloads/sock.c \
	guest/payloads/start.S \
	guest/payloads/virtio.c

# The suspend contract, on real processes, and what its programs share.
SUSPEND_TESTS = \
	suspend_contract \
	suspend_load \
	suspend_states

CONTRACT_SRC = $(wildcard tests/contract/*.c)

# One Criterion program a file; each is linked with all libraries.
UNIT_TESTS = $(filter-out guest_ring,$(basename $(notdir \
	$(wildcard tests/unit/*.c))))

# Linked into every unit test.
UNIT_HELPERS = $(call obj,tests/unit/guest_ring.c)

# Programs of `make bench`.
BENCH = \
	first_byte \
	irq_latency \
	linux_sleep \
	memory \
	send_packets \
	sleep_cycles

# Programs of `make fuzz`; each has one file in tests/fuzz.
FUZZERS = $(basename $(notdir $(filter-out $(FUZZ_HELPERS), \
	$(wildcard tests/fuzz/*.c))))

FUZZ_HELPERS = $(wildcard tests/fuzz/fuzz*.c)

# ---------------------------------------------------------------- flags

WARN = -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes \
	-Wmissing-declarations -Wold-style-definition -Wredundant-decls \
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion \
	-Wno-unused-parameter -Wno-missing-field-initializers
HARDEN = -fno-common -fno-strict-aliasing -fstack-protector-strong
OPT = -O2 -D_FORTIFY_SOURCE=2
ifeq ($(SAN),1)
OPT = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
endif
ifeq ($(TSAN),1)
# It does not know fences, which are in the rings of device processes: those have
# one thread.
OPT = -O1 -fsanitize=thread -fno-omit-frame-pointer -Wno-tsan
endif
ifeq ($(FUZZ),1)
OPT = -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
endif
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 -I. -I$(B) -fPIE $(OPT) $(HARDEN) $(WARN) \
	$(if $(filter 1,$(WERROR)),-Werror) -DTORPOR_VERSION='"$(VERSION)"' \
	$(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)

VMM_LIBS = -lseccomp -ljansson -lpthread
DEVICE_LIBS = -l:liburing.a -l:libseccomp.a
TEST_LIBS = -lcriterion -l:liburing.a $(VMM_LIBS)

# Programs that the tests on bare-metal payloads use.
BAREMETAL_TOOLS = \
	$(B)/tests/baremetal/ctl \
	$(B)/tests/baremetal/cycle_host \
	$(B)/tests/baremetal/slowfs \
	$(B)/tests/baremetal/wake_forced \
	$(B)/tests/baremetal/wake_races

baremetal-tools: $(BAREMETAL_TOOLS) $(B)/tests/sandbox/mad-device \
	$(B)/tests/sandbox/rule-callers

$(B)/tests/baremetal/ctl: tests/baremetal/ctl.c
$(B)/tests/baremetal/cycle_host: tests/baremetal/cycle_host.c
$(B)/tests/baremetal/slowfs: tests/slowfs.c
$(B)/tests/baremetal/wake_forced: tests/baremetal/wake_forced.c
$(B)/tests/baremetal/wake_races: tests/baremetal/wake_races.c
$(B)/tests/baremetal/wake_forced $(B)/tests/baremetal/wake_races: \
	tests/baremetal/wake_guest.c tests/baremetal/wake_guest.h
$(BAREMETAL_TOOLS): $(B)/libtorpor.a $(B)/libbase.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ \
		$(filter %.c,$^) \
		$(B)/libtorpor.a $(B)/libbase.a -ljansson

# Programs of the tests that boot Linux guests. keep_open, posix_cases and
# vsock_peer run in a guest, which has no libraries.
BOOT_TOOLS = \
	$(B)/tests/boot/clients \
	$(B)/tests/boot/keep_open \
	$(B)/tests/boot/posix_cases \
	$(B)/tests/boot/race \
	$(B)/tests/boot/vsock_peer

boot-tools: $(BOOT_TOOLS)

$(B)/tests/boot/clients: $(B)/obj/tests/boot/clients.o \
		$(B)/obj/tests/stress/clients.o $(B)/libtorpor.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ \
		-ljansson -lpthread

$(B)/tests/boot/race: tests/boot/race.c
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< \
		-ljansson

$(B)/tests/boot/keep_open $(B)/tests/boot/posix_cases \
$(B)/tests/boot/vsock_peer: $(B)/tests/boot/%: tests/boot/%.c
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -static $(WARN) \
		-Wno-conversion -o $@ $<

# Payloads: no libc, no SSE, no instruction that KVM's emulator lacks (endbr64).
# clang's interrupt-service-routine warning is about SSE registers.
PAYLOAD_CFLAGS = -std=gnu17 -I. -O2 -ffreestanding -fno-pie -fno-pic \
	-fcf-protection=none -fno-stack-protector -fno-common \
	-fno-strict-aliasing -fno-asynchronous-unwind-tables -mno-red-zone \
	-mgeneral-regs-only $(WARN) -Wno-interrupt-service-routine \
	$(if $(filter 1,$(WERROR)),-Werror) $(CFLAGS)

# ---------------------------------------------------------------- objects

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

LIB_BASE = $(B)/libbase.a
LIB_VIRTIO = $(B)/libvirtio.a
LIB_SANDBOX = $(B)/libsandbox.a
LIB_VMM = $(B)/libvmm.a
LIB_CLIENT = $(B)/libtorpor.a
LIBS = $(LIB_VMM) $(LIB_SANDBOX) $(LIB_VIRTIO) $(LIB_CLIENT) $(LIB_BASE)

$(LIB_BASE): $(call obj,$(BASE_SRC))
$(LIB_VIRTIO): $(call obj,$(VIRTIO_SRC))
$(LIB_SANDBOX): $(call obj,$(SANDBOX_SRC))
$(LIB_VMM): $(call obj,$(VMM_SRC) $(DEVICES_SRC) $(ARCH_SRC))
$(LIB_CLIENT): $(call obj,$(CLIENT_SRC))
$(LIBS):
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

# The flags of the last build: with others everything is built anew.
FLAGS = $(strip $(CC) $(ALL_CFLAGS) $(PAYLOAD_CFLAGS) $(ALL_LDFLAGS))
ifneq ($(file <$(B)/flags),$(FLAGS))
.PHONY: $(B)/flags
endif

$(B)/flags:
	$(Q)mkdir -p $(@D) && printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# ---------------------------------------------------------------- programs

programs: $(B)/torpor $(B)/torpor-device

$(B)/torpor: $(call obj,vmm/cli/main.c) $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< \
		-Wl,--start-group $(LIBS) -Wl,--end-group $(VMM_LIBS)

# Executed in an empty root, so it carries all it needs. Sanitizers are shared
# libraries.
DEVICE_PIE = $(if $(filter 1,$(SAN) $(TSAN)),-pie,-static-pie)

$(B)/torpor-device: $(call obj,virtio/torpor_device.c) $(LIB_VIRTIO) \
		$(LIB_SANDBOX) $(LIB_BASE)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEVICE_PIE) -Wl,-z,relro,-z,now $(LDFLAGS) \
		-o $@ $< -Wl,--start-group $(LIB_VIRTIO) $(LIB_SANDBOX) \
		$(LIB_BASE) -Wl,--end-group $(DEVICE_LIBS)

# ---------------------------------------------------------------- tests

# Criterion's macros trip -Wconversion.
$(B)/obj/tests/unit/%.o $(B)/obj/tests/contract/%.o: \
	private ALL_CFLAGS += -Wno-conversion

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(UNIT_HELPERS) $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(WRAP) -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group \
		$(TEST_LIBS)

# This one lists directories of a kernel of its own.
$(B)/tests/unit/fs_list: private WRAP = \
	-Wl,--wrap=getdents64 -Wl,--wrap=lseek

# This one looks at what is asked of the host.
$(B)/tests/unit/fs_limits: private WRAP = \
	-Wl,--wrap=pwritev -Wl,--wrap=fallocate -Wl,--wrap=fstatfs \
	-Wl,--wrap=fsync -Wl,--wrap=syncfs

# These count what is sent to the process that they start.
$(SUSPEND_TESTS:%=$(B)/tests/unit/%): private WRAP = -Wl,--wrap=fd_sendmsg
$(SUSPEND_TESTS:%=$(B)/tests/unit/%): $(call obj,$(CONTRACT_SRC)) \
	| $(B)/torpor-device

# Counts how often guest memory is read.
$(B)/tests/unit/net_ctrl: private WRAP = -Wl,--wrap=iov_read

# The DSDT: C preprocessor, then iasl, then a C array. Remark 2173 is about the
# speed of methods that make names.
DSDT = $(B)/arch/x86_64/dsdt.h

$(DSDT): arch/x86_64/dsdt.asl arch/x86_64/layout.h devices/pmc_codes.h
	$(call say,ASL,$<)
	$(Q)mkdir -p $(@D) && $(CC) -E -P -undef -w -x c -I. \
		-o $(B)/arch/x86_64/dsdt.asl $<
	$(Q)cd $(@D) && iasl -we -vs -vw 2173 -tc dsdt.asl >dsdt.log || \
		{ cat dsdt.log; exit 1; }
	$(Q)sed 's/^unsigned char/static const unsigned char/' \
		$(B)/arch/x86_64/dsdt.hex >$@

$(B)/obj/arch/x86_64/acpi.o: $(DSDT)

PAYLOAD_LIB = $(patsubst %,$(B)/obj/%.o,$(basename $(PAYLOAD_LIB_SRC)))

$(B)/guest/payloads/hostile.elf: \
	$(B)/obj/guest/payloads/hostile_dev.o \
	$(B)/obj/guest/payloads/hostile_regs.o \
	$(B)/obj/guest/payloads/hostile_ring.o \
	$(B)/obj/guest/payloads/hostile_smp.o \
	$(B)/obj/guest/payloads/hostile_suspend.o \
	$(B)/obj/guest/payloads/hostile_targets.o \
	$(B)/obj/guest/payloads/smp.o

payloads: $(PAYLOADS:%=$(B)/guest/payloads/%.elf)

$(B)/obj/guest/payloads/%.o: guest/payloads/%.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(PAYLOAD_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/guest/payloads/%.o: guest/payloads/%.S $(B)/flags
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -I. -MMD -MP -c -o $@ $<

$(B)/guest/payloads/%.elf: $(B)/obj/guest/payloads/%.o $(PAYLOAD_LIB) \
		guest/payloads/payload.lds
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -nostdlib -static \
		-Wl,-T,guest/payloads/payload.lds -Wl,--build-id=none \
		-Wl,-z,noexecstack -o $@ $(filter %.o,$^)

# What the sandbox tests jail. From sources: a sanitizer cannot be linked
# statically, and a program in an empty root must be.
PROBE = $(B)/tests/sandbox/probe-device
PROBE_SRC = tests/sandbox/probe_device.c tests/sandbox/attempts.c \
	$(BASE_SRC) sandbox/caps.c sandbox/jail.c sandbox/landlock.c sandbox/policy.c \
	sandbox/policy_roles.c sandbox/policy_vmm.c virtio/blk/ring.c

$(PROBE): $(PROBE_SRC) $(wildcard sandbox/*.h vmm/base/*.h virtio/*.h virtio/*/*.h)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -I. -fPIE -static-pie -O2 \
		$(HARDEN) $(WARN) -o $@ $(PROBE_SRC) -l:libseccomp.a \
		-l:liburing.a

$(B)/tests/unit/spawner $(B)/tests/unit/device_log \
	$(B)/tests/unit/captured_vmm $(B)/tests/unit/jail_attempts: | $(PROBE)
$(B)/tests/unit/jail_attempts: $(B)/obj/tests/sandbox/attempts.o

# In the place of torpor-device.
$(B)/tests/sandbox/mad-device: tests/sandbox/mad_device.c $(BASE_SRC) \
		$(wildcard virtio/*.h vmm/base/*.h)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -I. -fPIE -static-pie -O2 \
		$(HARDEN) $(WARN) -o $@ $(filter %.c,$^) -lpthread

# Which rules of the filters the programs use.
$(B)/tests/sandbox/rule-callers: $(B)/obj/tests/sandbox/rule_callers.o $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< \
		$(B)/libsandbox.a $(B)/libbase.a -lseccomp

# Executed by it.
$(B)/tests/unit/device_socket: | $(B)/torpor-device

fuzzers: $(FUZZERS:%=$(B)/bin/%)

$(B)/bin/%: $(B)/obj/tests/fuzz/%.o $(call obj,$(FUZZ_HELPERS)) $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) \
		-fsanitize=fuzzer -o $@ $< $(call obj,$(FUZZ_HELPERS)) \
		-Wl,--start-group $(LIBS) -Wl,--end-group -l:liburing.a \
		$(VMM_LIBS)

bench-programs: $(BENCH:%=$(B)/bench/%) $(B)/bench/fs_ops \
		$(B)/bench/initramfs.cpio

# Runs in a guest, which has no libraries.
$(B)/bench/fs_ops: tests/bench/fs_ops.c
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -static $(WARN) \
		-Wno-conversion -o $@ $<

$(B)/bench/linux_sleep: $(call obj,tests/bench/linux_vm.c \
	tests/bench/proc_threads.c tests/bench/sleep_trace.c)

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(VMM_LIBS)

# ---------------------------------------------------------------- guest

# What the guest of tests and demo boots from: Debian's kernel out of a cache
# and an initramfs of busybox, modules and our scripts.
KERNEL_DIR := $(shell tests/harness/kernel.sh --path)
GUEST_FILES = \
	guest/acpi-power \
	guest/acpi-sleep \
	guest/acpi.map \
	guest/acpid.conf \
	guest/go-to-sleep \
	guest/init \
	guest/initramfs.sh \
	guest/mkinitramfs.sh \
	guest/modules \
	guest/torpor.sh \
	guest/wake-handler

guest: $(B)/guest/initramfs.cpio

GUEST_LD = mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -static $(WARN) -o $@ $<

$(B)/guest/clocks: guest/clocks.c | $(KERNEL_DIR)/VERSION
	$(call say,LD,$@)
	$(Q)$(GUEST_LD)

$(B)/guest/autosleep/on-wake: guest/on_wake.c
	$(call say,LD,$@)
	$(Q)$(GUEST_LD)

$(KERNEL_DIR)/VERSION:
	$(Q)tests/harness/packages.sh guest

$(B)/guest/initramfs.cpio: $(GUEST_FILES) $(B)/guest/clocks \
		$(KERNEL_DIR)/VERSION
	$(call say,GUEST,$@)
	$(Q)guest/mkinitramfs.sh $(KERNEL_DIR) $(@D) $(B)/guest/clocks

# A guest with wake locks, which sleeps by itself. Its kernel is built into the
# cache, once: that takes minutes.
AUTOSLEEP_DIR := $(shell tests/harness/autosleep-kernel.sh --path)

autosleep-kernel: $(AUTOSLEEP_DIR)/VERSION
autosleep-guest: $(B)/guest/autosleep/initramfs.cpio

# The script knows by itself whether there is anything to do.
$(AUTOSLEEP_DIR)/VERSION: FORCE
	$(Q)tests/harness/autosleep-kernel.sh

.PHONY: autosleep-guest autosleep-kernel check-all FORCE

$(B)/guest/autosleep/initramfs.cpio: $(GUEST_FILES) $(B)/guest/clocks \
		$(B)/guest/autosleep/on-wake $(AUTOSLEEP_DIR)/VERSION
	$(call say,GUEST,$@)
	$(Q)guest/mkinitramfs.sh $(AUTOSLEEP_DIR) $(@D) $(B)/guest/clocks \
		$(B)/guest/autosleep/on-wake

# The same with virtio modules that suspend devices by VIRTIO_F_SUSPEND, of virtio
# 1.4 and of the draft of 2024: see guest/linux/README.md.
KERNEL_SOURCE := $(shell tests/harness/kernel-source.sh --path 6.1)
SUSPEND_DEPS = guest/linux/Kbuild guest/linux/build-modules.sh \
	guest/linux/selftest/virtio_suspend_test.c \
	$(wildcard guest/linux/patches/6.1/*.patch) $(KERNEL_SOURCE)/VERSION

guest-suspend:
	$(Q)tests/harness/packages.sh guest guest-linux
	$(Q)tests/harness/kernel-source.sh 6.1
	$(Q)$(REMAKE) $(B)/guest/initramfs-suspend.cpio \
		$(B)/guest/initramfs-suspend-draft.cpio

# Small kernels of 6.12 with the patches, in which virtio is built in.
guest-suspend-kernel:
	$(Q)tests/harness/packages.sh guest-kernel
	$(Q)tests/harness/kernel-source.sh 6.12
	$(Q)$(REMAKE) $(B)/guest/linux/kernel-6.12-v14/bzImage \
		$(B)/guest/linux/kernel-6.12-draft/bzImage

$(B)/guest/linux/kernel-6.12-%/bzImage: guest/linux/build-kernel.sh \
		guest/linux/small.config $(wildcard guest/linux/patches/6.12/*)
	$(call say,KERNEL,$@)
	$(Q)guest/linux/build-kernel.sh $* $(@D)

# The patches' own tests, in QEMU, and that those for 6.12 compile. Guests that
# have them, on torpor, are parts of `make check` and `make check-all`.
check-guest-suspend: guest-suspend
	$(Q)tests/harness/packages.sh nested
	$(Q)B=$(B) guest/linux/selftest/run.sh v14
	$(Q)B=$(B) guest/linux/selftest/run.sh draft
	$(Q)tests/harness/kernel-source.sh 6.12
	$(Q)guest/linux/build-modules.sh 6.12 v14 $(B)/guest/linux/6.12-v14
	$(Q)guest/linux/build-modules.sh 6.12 draft $(B)/guest/linux/6.12-draft

$(KERNEL_SOURCE)/VERSION:
	$(Q)tests/harness/kernel-source.sh 6.1

$(B)/guest/linux/v14/virtio_mmio.ko $(B)/guest/linux/draft/virtio_mmio.ko: \
		$(B)/guest/linux/%/virtio_mmio.ko: $(SUSPEND_DEPS)
	$(call say,KBUILD,$(@D))
	$(Q)guest/linux/build-modules.sh 6.1 $* $(@D)

$(B)/guest/initramfs-suspend.cpio: $(B)/guest/linux/v14/virtio_mmio.ko
$(B)/guest/initramfs-suspend-draft.cpio: $(B)/guest/linux/draft/virtio_mmio.ko
$(B)/guest/initramfs-suspend.cpio $(B)/guest/initramfs-suspend-draft.cpio: \
		guest/linux/mkinitramfs.sh $(B)/guest/initramfs.cpio
	$(call say,GUEST,$@)
	$(Q)guest/linux/mkinitramfs.sh $(KERNEL_DIR) \
		$(patsubst %/,%,$(dir $(filter %.ko,$^))) $(B)/guest/clocks $@
$(B)/bench/initramfs.cpio: tests/bench/mkguest.sh $(B)/guest/initramfs.cpio
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && tests/bench/mkguest.sh $(KERNEL_DIR) \
		$(B)/guest/initramfs.cpio $@

# ---------------------------------------------------------------- run and test

unit-tests: $(UNIT_TESTS:%=$(B)/tests/unit/%)

# Each of these works on a machine that has nothing but make: what they need is
# installed first, then make is run again for what is to be built.
REMAKE = $(MAKE) --no-print-directory \
	$(if $(findstring j,$(MFLAGS)),,-j$(shell nproc))

demo:
	$(Q)tests/harness/packages.sh build guest
	$(Q)$(REMAKE) programs payloads guest
	$(Q)B=$(B) tests/harness/run-guests.sh -t 300 tests/boot/demo.sh

check:
	$(Q)tests/harness/packages.sh build check guest interop clang fuzz
	$(Q)$(REMAKE) programs payloads baremetal-tools guest \
		boot-tools unit-tests
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)B=$(B) tests/check.sh $(UNIT_TESTS:%=$(B)/tests/unit/%)

# All of that and the long parts. ONLY="sleep autosleep" runs only these.
check-all:
	$(Q)tests/harness/packages.sh build check guest interop clang fuzz
	$(Q)$(REMAKE) programs payloads baremetal-tools boot-tools guest \
		autosleep-kernel autosleep-guest unit-tests
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)$(MAKE) --no-print-directory guest-suspend-kernel
	$(Q)B=$(B) LONG=1 tests/check.sh $(UNIT_TESTS:%=$(B)/tests/unit/%)

# The tests on bare-metal payloads alone.
check-baremetal:
	$(Q)tests/harness/packages.sh build check
	$(Q)$(REMAKE) programs payloads baremetal-tools
	$(Q)B=$(B) ONLY="payloads exits memory errors kill stop mad fence forced \
		races bmcycles asleep" \
		tests/check.sh

bench:
	$(Q)tests/harness/packages.sh build guest bench
	$(Q)$(REMAKE) programs payloads guest bench-programs
	$(Q)$(MAKE) --no-print-directory guest-suspend
	$(Q)B=$(B) tests/bench/bench.sh

# A root shell on the emulated host, to try things by hand.
shell-nested:
	$(Q)tests/harness/packages.sh build guest nested
	$(Q)$(REMAKE) programs payloads guest
	$(Q)B=$(B) tests/harness/nested.sh -i

# ---------------------------------------------------------------- lint

# All there is, so that what is in no list is looked at too.
LINT_TEST_C = $(wildcard tests/*/*.c)
LINT_C = $(filter-out tests/% $(B)/%,$(wildcard */*.c */*/*.c))
LINT_H = $(filter-out $(B)/%,$(wildcard */*.h */*/*.h))
LINT_SH = .ci/run guest/acpi-power guest/acpi-sleep guest/go-to-sleep \
	guest/init guest/wake-handler \
	$(wildcard guest/*.sh guest/linux/*.sh guest/linux/*/*.sh) \
	tests/harness/host-init \
	$(wildcard tests/*.sh tests/*/*.sh)
LINT = $(B)/lint

# Each of these looks only at what has changed since it was content.
lint:
	$(Q)tests/harness/packages.sh build check lint
	$(Q)$(REMAKE) -k lint-all

lint-all: $(LINT)/shell $(LINT)/format $(LINT)/cppcheck \
		$(patsubst %.c,$(LINT)/%.tidy,$(LINT_C) $(LINT_TEST_C))
	$(Q)tests/lint/sizes.sh $(LINT_C) $(LINT_TEST_C) $(LINT_H)
	$(Q)tests/lint/docs.sh
	$(Q)tests/lint/includes.sh

$(LINT)/shell: $(LINT_SH) .shellcheckrc
	$(call say,SHELL,$(words $(filter $(LINT_SH),$?)) scripts)
	$(Q)mkdir -p $(@D) && tests/lint/shell.sh $(filter $(LINT_SH),$?)
	$(Q)touch $@

$(LINT)/format: $(LINT_C) $(LINT_TEST_C) $(LINT_H) .clang-format
	$(call say,FORMAT,$(words $(filter %.c %.h,$?)) files)
	$(Q)mkdir -p $(@D) && clang-format --dry-run -Werror \
		$(or $(filter %.c %.h,$?),$(LINT_C) $(LINT_TEST_C) $(LINT_H))
	$(Q)touch $@

# Not the unit tests: it cannot read Criterion's macros. It keeps by itself what
# it found in which file.
$(LINT)/cppcheck: $(LINT_C) $(LINT_H) tests/lint/cppcheck.txt | $(DSDT)
	$(call say,CPPCHK,$(words $(LINT_C)) files)
	$(Q)mkdir -p $(LINT)/cppcheck.d && cppcheck --quiet -j2 --std=c11 \
		--enable=warning,performance,portability --error-exitcode=1 \
		--library=posix,gnu --inline-suppr --template=gcc \
		--suppressions-list=tests/lint/cppcheck.txt -I. -I$(B) \
		-D__GNUC__=12 -D__x86_64__ \
		--cppcheck-build-dir=$(LINT)/cppcheck.d $(LINT_C)
	$(Q)touch $@

TIDY_CFLAGS = -std=gnu17 -I. -I$(B) -O2 -DTORPOR_VERSION='"$(VERSION)"' $(WARN)
$(LINT)/tests/%.tidy: TIDY_CFLAGS += -Wno-conversion
$(LINT)/guest/payloads/%.tidy: TIDY_CFLAGS = $(filter-out -Werror,\
	$(PAYLOAD_CFLAGS))

$(LINT)/%.tidy: %.c .clang-tidy guest/payloads/.clang-tidy tests/.clang-tidy \
		| $(DSDT)
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(TIDY_CFLAGS) -MM -MP -MT $@ -MF $@.d $<
	$(Q)clang-tidy --quiet $< -- $(TIDY_CFLAGS) >$@.log 2>$@.err || \
		{ cat $@.log; grep 'rror' $@.err; exit 1; }
	$(Q)touch $@

-include $(shell find $(LINT) -name '*.d' -type f 2>/dev/null)

# Unit tests with sanitizers. A leak counts as a failure.
san:
	$(Q)tests/harness/packages.sh build check
	$(Q)$(REMAKE) B=$(B)/san SAN=1 programs unit-tests
	$(Q)NAME=san tests/run-unit.sh $(UNIT_TESTS:%=$(B)/san/tests/unit/%)

# What vCPU threads and the main loop share, and what control clients do to it,
# under ThreadSanitizer. Linked with the libraries, as the unit tests are; what a
# program has in place of a part of the VMM comes first.
TSAN_PROGRAMS = $(B)/tests/tsan/clients_stress $(B)/tests/tsan/power_stress

$(B)/tests/tsan/clients_stress: $(call obj,tests/tsan/sleepy_guest.c \
	tests/stress/clients.c)
$(TSAN_PROGRAMS): $(B)/tests/tsan/%: $(B)/obj/tests/tsan/%.o $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ \
		$(filter %.o,$^) -Wl,-z,muldefs -Wl,--start-group $(LIBS) \
		-Wl,--end-group -l:liburing.a $(VMM_LIBS)

tsan-programs: $(TSAN_PROGRAMS)

# LONG=1: the clients for 60 s. SEED=N: the same choices again.
tsan:
	$(Q)tests/harness/packages.sh build check
	$(Q)$(REMAKE) B=$(B)/tsan TSAN=1 tsan-programs
	$(Q)B=$(B)/tsan tests/tsan/tsan.sh $(if $(filter 1,$(LONG)),60,10) \
		$(SEED)

# Everything that reads what a guest, a peer or a person wrote, each for
# FUZZ_SECONDS. What is found is kept in build/fuzz/crashes, what is learnt in
# build/fuzz/corpus. FUZZERS="blk net" runs only these.
fuzz:
	$(Q)tests/harness/packages.sh build fuzz
	$(Q)$(REMAKE) B=$(B)/fuzz CC=clang FUZZ=1 fuzzers
	$(Q)B=$(B)/fuzz tests/fuzz/fuzz.sh $(FUZZERS)

# ---------------------------------------------------------------- install

install: programs $(LIB_CLIENT)
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include \
		$(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/share/man/man1
	$(Q)install -m 755 $(B)/torpor $(B)/torpor-device \
		$(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 644 include/torpor.h $(DESTDIR)$(PREFIX)/include
	$(Q)install -m 644 $(LIB_CLIENT) $(DESTDIR)$(PREFIX)/lib
	$(Q)install -m 644 docs/torpor.1 $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	$(Q)rm -rf $(B)

.PHONY: all baremetal-tools bench bench-programs boot-tools check \
	check-baremetal check-guest-suspend clean demo fuzz fuzzers guest guest-suspend \
	guest-suspend-kernel help install lint lint-all payloads programs san \
	shell-nested tsan tsan-programs unit-tests

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
