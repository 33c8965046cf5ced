/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's clocks over a pause that it does not know of. By default time
 * runs on: the guest is told that it was stopped (KVM_KVMCLOCK_CTRL), so that
 * its watchdogs do not take the pause for a lockup. Or it is taken out of TSC
 * and kvm-clock alike; one without the other, and the guest would find them to
 * diverge and call its TSC unstable. In a sleep of the guest's own nothing is
 * done: it freezes its clocks by itself.
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
 * Can this KVM take time out? Asks the VM, at any time: an ioctl of a vCPU
 * would wait until that leaves KVM_RUN.
 */
bool guest_clock_can_freeze(int vm_fd);
/* Return: 0 or -errno of KVM_GET_CLOCK. */
int guest_clock_stop(struct guest_clock *gc, int vm_fd) must_check;
/* Time goes on as if it had not stopped since guest_clock_stop(). */
int guest_clock_thaw(const struct guest_clock *gc, int vm_fd,
		     const struct vcpu_set *vcpus) must_check;
/* Time ran on, and the guest is told that it did not. */
void guest_clock_tell_stopped(const struct vcpu_set *vcpus);

#endif
