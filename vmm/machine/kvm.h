/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM API (Documentation/virt/kvm/api.rst), one typed function per ioctl.
 * fds are borrowed unless returned. All return 0 or a value >= 0 on success
 * and -errno on failure; -EINTR is passed through from KVM_RUN only.
 */
#ifndef TORPOR_VMM_MACHINE_KVM_H
#define TORPOR_VMM_MACHINE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/util.h"

/* --- system: @kvm is /dev/kvm --- */
/* Opens /dev/kvm; -EPROTO if it speaks another API version. */
int kvm_open(void) must_check;
int kvm_create_vm(int kvm) must_check;
int kvm_check_extension(int kvm_or_vm, int cap) must_check;
/* Bytes of the shared area of a vCPU. */
int kvm_vcpu_mmap_size(int kvm) must_check;
int kvm_get_supported_cpuid(int kvm, struct kvm_cpuid2 *cpuid) must_check;

/* --- VM --- */
int kvm_create_vcpu(int vm, unsigned int index) must_check;
int kvm_set_memory(int vm,
		   const struct kvm_userspace_memory_region *region) must_check;
int kvm_enable_cap(int vm, uint32_t cap, uint64_t arg0) must_check;
int kvm_create_irqchip(int vm) must_check;
int kvm_create_pit(int vm) must_check;
int kvm_set_tss_addr(int vm, uint64_t gpa) must_check;
int kvm_set_identity_map_addr(int vm, uint64_t gpa) must_check;
/* Synchronous: the irq is in the irqchip when this returns. */
int kvm_irq_line(int vm, uint32_t gsi, bool level) must_check;
int kvm_signal_msi(int vm, const struct kvm_msi *msi) must_check;
int kvm_irqfd(int vm, int fd, uint32_t gsi, bool assign) must_check;
int kvm_set_gsi_routing(int vm,
			const struct kvm_irq_routing *routing) must_check;
/* Guest writes of @value, 4 bytes wide, at @gpa signal @fd without an exit. */
int kvm_ioeventfd(int vm, uint64_t gpa, int fd, uint32_t value,
		  bool assign) must_check;
int kvm_get_clock(int vm, struct kvm_clock_data *data) must_check;
int kvm_set_clock(int vm, const struct kvm_clock_data *data) must_check;

/* Return: the fd of the device that stands for VFIO's groups. */
int kvm_create_vfio(int vm) must_check;
int kvm_vfio_add_group(int vfio, int group) must_check;

/* --- vCPU: from its own thread, or while it is not in KVM_RUN --- */
int kvm_run(int vcpu) must_check;
int kvm_set_cpuid(int vcpu, const struct kvm_cpuid2 *cpuid) must_check;
int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs) must_check;
int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs) must_check;
int kvm_get_regs(int vcpu, struct kvm_regs *regs) must_check;
int kvm_set_regs(int vcpu, const struct kvm_regs *regs) must_check;
int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic) must_check;
int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic) must_check;
int kvm_get_mp_state(int vcpu, struct kvm_mp_state *state) must_check;
int kvm_set_mp_state(int vcpu, const struct kvm_mp_state *state) must_check;
int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *events) must_check;
int kvm_set_fpu(int vcpu, const struct kvm_fpu *fpu) must_check;
int kvm_set_xcr0(int vcpu, uint64_t value) must_check;
/* Return: number of MSRs set; fewer than nmsrs if one was refused. */
int kvm_set_msrs(int vcpu, const struct kvm_msrs *msrs) must_check;
int kvm_get_msrs(int vcpu, struct kvm_msrs *msrs) must_check;
/* -EINVAL: this vCPU uses no kvm-clock. */
int kvm_kvmclock_ctrl(int vcpu) must_check;
/* The guest's TSC minus the host's; -ENXIO: an old KVM. */
int kvm_get_tsc_offset(int vcpu, uint64_t *ret) must_check;
int kvm_set_tsc_offset(int vcpu, uint64_t offset) must_check;

#endif
