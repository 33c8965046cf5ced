/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's clocks over a pause, which the guest does not see. By default
 * time runs on: KVM_KVMCLOCK_CTRL notifies the guest that it was stopped, so
 * that its watchdogs do not take the pause for a lockup. Alternatively, TSC and
 * kvm-clock both exclude the pause; if only one did, the guest would see them
 * diverge and call its TSC unstable. For the guest's own sleep nothing is done:
 * the guest freezes its clocks itself.
 *
 * Main loop, with every vCPU out of KVM_RUN (vcpu_set_hold()).
 */
#ifndef TORPOR_VMM_MACHINE_GUEST_CLOCK_H
#define TORPOR_VMM_MACHINE_GUEST_CLOCK_H

#include "vmm/machine/vcpu.h"

struct guest_clock {
	uint64_t clock_ns; /* kvm-clock when it was stopped */
	uint64_t host_tsc; /* the host's TSC at that moment */
};

/*
 * Can this KVM exclude time from the clocks? Asks the VM, at any time: an ioctl
 * of a vCPU would wait until the vCPU leaves KVM_RUN.
 */
bool guest_clock_can_freeze(int vm_fd);
/* Return: 0 or -errno of KVM_GET_CLOCK. */
int guest_clock_stop(struct guest_clock *gc, int vm_fd) must_check;
/* The clocks continue as if no time had passed since guest_clock_stop(). */
int guest_clock_thaw(const struct guest_clock *gc, int vm_fd,
		     const struct vcpu_set *vcpus) must_check;
/* The clocks ran on; notifies the guest that it was stopped. */
void guest_clock_tell_stopped(const struct vcpu_set *vcpus);

#endif
