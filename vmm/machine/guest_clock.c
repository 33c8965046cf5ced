/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/machine/guest_clock.h"

#include <errno.h>

#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

bool guest_clock_can_freeze(int vm_fd)
{
	return kvm_check_extension(vm_fd, KVM_CAP_ADJUST_CLOCK) > 0 &&
	       kvm_check_extension(vm_fd, KVM_CAP_VCPU_ATTRIBUTES) > 0;
}

/* kvm-clock and the host's TSC at one moment, if KVM gives both. */
static int read_clocks(int vm_fd, struct guest_clock *ret)
{
	struct kvm_clock_data data = { 0 };
	int r = kvm_get_clock(vm_fd, &data);

	if (r < 0)
		return r;
	ret->clock_ns = data.clock;
	ret->host_tsc = data.flags & KVM_CLOCK_HOST_TSC
				? data.host_tsc
				: __builtin_ia32_rdtsc();
	return 0;
}

int guest_clock_stop(struct guest_clock *gc, int vm_fd)
{
	return read_clocks(vm_fd, gc);
}

int guest_clock_thaw(const struct guest_clock *gc, int vm_fd,
		     const struct vcpu_set *vcpus)
{
	struct kvm_clock_data data = { .clock = gc->clock_ns };
	struct guest_clock now;
	int r = read_clocks(vm_fd, &now);

	/* The guest's TSC is the host's plus an offset, at the same speed. */
	for (unsigned int i = 0; i < vcpus->nr && r == 0; i++) {
		int fd = vcpus->vcpus[i].fd;
		uint64_t offset;

		r = kvm_get_tsc_offset(fd, &offset);
		if (r == 0)
			r = kvm_set_tsc_offset(
				fd, offset - (now.host_tsc - gc->host_tsc));
	}
	return r == 0 ? kvm_set_clock(vm_fd, &data) : r;
}

void guest_clock_tell_stopped(const struct vcpu_set *vcpus)
{
	for (unsigned int i = 0; i < vcpus->nr; i++) {
		int r = kvm_kvmclock_ctrl(vcpus->vcpus[i].fd);

		/* Offline, in S1, or a guest that uses no kvm-clock. */
		if (r < 0 && r != -EINVAL)
			(void)log_errno(r, "tell vCPU %u that it was stopped",
					i);
	}
}
