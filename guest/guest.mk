# SPDX-License-Identifier: BSD-3-Clause
#
# What runs inside a VM: bare-metal payloads, and Debian's kernel with an initramfs.

# ---------------------------------------------------------------- payloads

# A program each, but for what all of them stand on and the parts of hostile.
PAYLOAD_SRC = $(wildcard guest/payloads/*.c guest/payloads/*.S)
PAYLOAD_LIB = $(patsubst %,$(B)/obj/guest/payloads/%.o, \
	apic runtime rx sleep sock start virtio)
HOSTILE = $(patsubst %,$(B)/obj/guest/payloads/%.o, hostile_dev hostile_regs \
	hostile_ring hostile_smp hostile_suspend hostile_targets smp)
PAYLOADS = $(patsubst %,$(B)/%.elf,$(basename $(PAYLOAD_SRC)))
PAYLOADS := $(filter-out $(patsubst $(B)/obj/%.o,$(B)/%.elf, \
	$(PAYLOAD_LIB) $(HOSTILE)),$(PAYLOADS))

# Payloads: no libc, no SSE, no instruction that KVM's emulator lacks (endbr64).
# clang's interrupt-service-routine warning is about SSE registers.
PAYLOAD_CFLAGS = -std=gnu17 -I. -O2 -ffreestanding -fno-pie -fno-pic \
	-fcf-protection=none -fno-stack-protector -fno-common \
	-fno-strict-aliasing -fno-asynchronous-unwind-tables -mno-red-zone \
	-mgeneral-regs-only $(WARN) -Wno-interrupt-service-routine \
	$(if $(filter 1,$(WERROR)),-Werror) $(CFLAGS)

payloads: $(PAYLOADS)

$(B)/guest/payloads/hostile.elf: $(HOSTILE)

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

# ---------------------------------------------------------------- Linux

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
	$(NEED) guest

$(B)/guest/initramfs.cpio: $(GUEST_FILES) $(B)/guest/clocks \
		$(KERNEL_DIR)/VERSION
	$(call say,GUEST,$@)
	$(Q)guest/mkinitramfs.sh $(KERNEL_DIR) $(@D) $(B)/guest/clocks

# A guest with wake locks, which sleeps by itself. Its kernel is built into the
# cache, once: that takes minutes.
AUTOSLEEP_DIR := $(shell tests/harness/autosleep-kernel.sh --path)

autosleep-kernel: $(AUTOSLEEP_DIR)/VERSION ## the guest kernel with wake locks, once
autosleep-guest: $(B)/guest/autosleep/initramfs.cpio

# The script knows by itself whether there is anything to do.
$(AUTOSLEEP_DIR)/VERSION: FORCE
	$(Q)tests/harness/autosleep-kernel.sh

$(B)/guest/autosleep/initramfs.cpio: $(GUEST_FILES) $(B)/guest/clocks \
		$(B)/guest/autosleep/on-wake $(AUTOSLEEP_DIR)/VERSION
	$(call say,GUEST,$@)
	$(Q)guest/mkinitramfs.sh $(AUTOSLEEP_DIR) $(@D) $(B)/guest/clocks \
		$(B)/guest/autosleep/on-wake

# The same with virtio modules that suspend devices by VIRTIO_F_SUSPEND, of virtio
# 1.4 and of the draft of 2024: see guest/linux/README.md.
KERNEL_SOURCE := $(shell tests/harness/kernel-source.sh --path 6.1)
SUSPEND_DEPS = guest/linux/Kbuild guest/linux/build-modules.sh \
	$(wildcard guest/linux/selftest/*.[ch]) \
	$(wildcard guest/linux/patches/6.1/*.patch) $(KERNEL_SOURCE)/VERSION

guest-suspend: ## guests with VIRTIO_F_SUSPEND (guest/linux/README.md)
	$(NEED) guest guest-linux
	$(Q)tests/harness/kernel-source.sh 6.1
	$(Q)$(REMAKE) $(B)/guest/initramfs-suspend.cpio \
		$(B)/guest/initramfs-suspend-draft.cpio

# Small kernels of 6.12 with the patches, in which virtio is built in.
guest-suspend-kernel:
	$(NEED) guest-kernel
	$(Q)tests/harness/kernel-source.sh 6.12
	$(Q)$(REMAKE) $(B)/guest/linux/kernel-6.12-v14/bzImage \
		$(B)/guest/linux/kernel-6.12-draft/bzImage

$(B)/guest/linux/kernel-6.12-%/bzImage: guest/linux/build-kernel.sh \
		guest/linux/small.config $(wildcard guest/linux/patches/6.12/*)
	$(call say,KERNEL,$@)
	$(Q)guest/linux/build-kernel.sh $* $(@D)

# The patches' own tests, in QEMU, and that those for 6.12 compile. Guests that
# have them, on torpor, are parts of `make check` and `make check-all`.
check-guest-suspend: guest-suspend ## the guest patches' own tests, in QEMU
	$(NEED) nested
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

.PHONY: autosleep-guest autosleep-kernel check-guest-suspend FORCE guest \
	guest-suspend guest-suspend-kernel payloads
