/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/machine/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* KVM ioctls return -1 with errno, or a value that is meaningful. */
static int call(int fd, unsigned long request, const void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int call_value(int fd, unsigned long request, unsigned long value)
{
	int r = ioctl(fd, request, value);

	return r < 0 ? -errno : r;
}

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0)
		return -errno;
	version = call_value(fd, KVM_GET_API_VERSION, 0);
	if (version == KVM_API_VERSION)
		return fd;
	(void)close(fd);
	return version < 0 ? version : -EPROTO;
}

int kvm_create_vm(int kvm)
{
	return call_value(kvm, KVM_CREATE_VM, 0);
}

int kvm_check_extension(int kvm_or_vm, int cap)
{
	return call_value(kvm_or_vm, KVM_CHECK_EXTENSION, (unsigned long)cap);
}

int kvm_vcpu_mmap_size(int kvm)
{
	return call_value(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_get_supported_cpuid(int kvm, struct kvm_cpuid2 *cpuid)
{
	return call(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
}

int kvm_create_vcpu(int vm, unsigned int index)
{
	return call_value(vm, KVM_CREATE_VCPU, index);
}

int kvm_set_memory(int vm, const struct kvm_userspace_memory_region *region)
{
	return call(vm, KVM_SET_USER_MEMORY_REGION, region);
}

int kvm_enable_cap(int vm, uint32_t cap, uint64_t arg0)
{
	const struct kvm_enable_cap ec = { .cap = cap, .args = { arg0 } };

	return call(vm, KVM_ENABLE_CAP, &ec);
}

int kvm_create_irqchip(int vm)
{
	return call_value(vm, KVM_CREATE_IRQCHIP, 0);
}

int kvm_create_pit(int vm)
{
	const struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return call(vm, KVM_CREATE_PIT2, &pit);
}

int kvm_set_tss_addr(int vm, uint64_t gpa)
{
	return call_value(vm, KVM_SET_TSS_ADDR, gpa);
}

int kvm_set_identity_map_addr(int vm, uint64_t gpa)
{
	return call(vm, KVM_SET_IDENTITY_MAP_ADDR, &gpa);
}

int kvm_irq_line(int vm, uint32_t gsi, bool level)
{
	const struct kvm_irq_level line = { .irq = gsi, .level = level };

	return call(vm, KVM_IRQ_LINE, &line);
}

int kvm_signal_msi(int vm, const struct kvm_msi *msi)
{
	return call(vm, KVM_SIGNAL_MSI, msi);
}

int kvm_irqfd(int vm, int fd, uint32_t gsi, bool assign)
{
	const struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
		.flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return call(vm, KVM_IRQFD, &irqfd);
}

int kvm_set_gsi_routing(int vm, const struct kvm_irq_routing *routing)
{
	return call(vm, KVM_SET_GSI_ROUTING, routing);
}

int kvm_ioeventfd(int vm, uint64_t gpa, int fd, uint32_t value, bool assign)
{
	const struct kvm_ioeventfd ioev = {
		.addr = gpa,
		.len = 4,
		.fd = fd,
		.datamatch = value,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
			 (assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return call(vm, KVM_IOEVENTFD, &ioev);
}

int kvm_create_vfio(int vm)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	int r = call(vm, KVM_CREATE_DEVICE, &device);

	return r < 0 ? r : (int)device.fd;
}

int kvm_vfio_add_group(int vfio, int group)
{
	int32_t fd = group;
	const struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_GROUP,
		.attr = KVM_DEV_VFIO_GROUP_ADD,
		.addr = (uint64_t)(uintptr_t)&fd,
	};

	return call(vfio, KVM_SET_DEVICE_ATTR, &attr);
}

int kvm_run(int vcpu)
{
	return call_value(vcpu, KVM_RUN, 0);
}

int kvm_set_cpuid(int vcpu, const struct kvm_cpuid2 *cpuid)
{
	return call(vcpu, KVM_SET_CPUID2, cpuid);
}

int kvm_get_sregs(int vcpu, struct kvm_sregs *sregs)
{
	return call(vcpu, KVM_GET_SREGS, sregs);
}

int kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs)
{
	return call(vcpu, KVM_SET_SREGS, sregs);
}

int kvm_get_regs(int vcpu, struct kvm_regs *regs)
{
	return call(vcpu, KVM_GET_REGS, regs);
}

int kvm_set_regs(int vcpu, const struct kvm_regs *regs)
{
	return call(vcpu, KVM_SET_REGS, regs);
}

int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic)
{
	return call(vcpu, KVM_GET_LAPIC, lapic);
}

int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *lapic)
{
	return call(vcpu, KVM_SET_LAPIC, lapic);
}

int kvm_get_mp_state(int vcpu, struct kvm_mp_state *state)
{
	return call(vcpu, KVM_GET_MP_STATE, state);
}

int kvm_set_mp_state(int vcpu, const struct kvm_mp_state *state)
{
	return call(vcpu, KVM_SET_MP_STATE, state);
}

int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *events)
{
	return call(vcpu, KVM_GET_VCPU_EVENTS, events);
}

int kvm_set_fpu(int vcpu, const struct kvm_fpu *fpu)
{
	return call(vcpu, KVM_SET_FPU, fpu);
}

int kvm_set_xcr0(int vcpu, uint64_t value)
{
	const struct kvm_xcrs xcrs = {
		.nr_xcrs = 1,
		.xcrs = { { .xcr = 0, .value = value } },
	};

	return call(vcpu, KVM_SET_XCRS, &xcrs);
}

int kvm_set_msrs(int vcpu, const struct kvm_msrs *msrs)
{
	return call(vcpu, KVM_SET_MSRS, msrs);
}

int kvm_get_msrs(int vcpu, struct kvm_msrs *msrs)
{
	return call(vcpu, KVM_GET_MSRS, msrs);
}

int kvm_get_clock(int vm, struct kvm_clock_data *data)
{
	return call(vm, KVM_GET_CLOCK, data);
}

int kvm_set_clock(int vm, const struct kvm_clock_data *data)
{
	return call(vm, KVM_SET_CLOCK, data);
}

int kvm_kvmclock_ctrl(int vcpu)
{
	return call_value(vcpu, KVM_KVMCLOCK_CTRL, 0);
}

static struct kvm_device_attr tsc_offset_attr(uint64_t *value)
{
	return (struct kvm_device_attr){
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)value,
	};
}

int kvm_get_tsc_offset(int vcpu, uint64_t *ret)
{
	const struct kvm_device_attr attr = tsc_offset_attr(ret);

	return call(vcpu, KVM_GET_DEVICE_ATTR, &attr);
}

int kvm_set_tsc_offset(int vcpu, uint64_t offset)
{
	const struct kvm_device_attr attr = tsc_offset_attr(&offset);

	return call(vcpu, KVM_SET_DEVICE_ATTR, &attr);
}
