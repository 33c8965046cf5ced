/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/vm/build.h. */
#define _GNU_SOURCE
#include "vmm/vm/build.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"
#include "vmm/vm/device.h"
#include "vmm/vm/jail.h"
#include "vmm/vm/memory.h"
#include "vmm/vm/power_ops.h"
#include "vmm/vm/terminal.h"
#include "vmm/vm/vfio.h"

#define MIB (1024ULL * 1024)

/* -------------------------------------------------------------------- KVM */

/* The host's fault, not the command line's: never a usage error. */
static int open_error(struct err *err, int r)
{
	switch (-r) {
	case ENOENT:
		return err_set(
			err, -ENXIO,
			"/dev/kvm does not exist: load the kvm_intel or "
			"kvm_amd module and enable virtualisation in the "
			"firmware");
	case EACCES:
	case EPERM:
		return err_set(err, -ENXIO,
			       "/dev/kvm: permission denied; add the user to "
			       "the group that owns it (usually kvm)");
	case EPROTO:
		return err_set(err, r, "/dev/kvm: not KVM API version 12");
	default:
		return err_set_errno(err, r, "/dev/kvm");
	}
}

static int need_capabilities(int kvm, const struct vm_capability *caps,
			     struct err *err)
{
	for (; caps->name; caps++) {
		if (kvm_check_extension(kvm, caps->cap) <= 0)
			return err_set(err, -EOPNOTSUPP,
				       "/dev/kvm lacks %s; a newer kernel is "
				       "needed",
				       caps->name);
	}
	return 0;
}

static int make_kvm(struct vm *vm, struct err *err)
{
	static const struct vm_capability needed[] = {
		{ KVM_CAP_IRQFD, "irqfd" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_READONLY_MEM, "read-only memory" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ 0 },
	};
	int r;

	vm->kvm_fd = r = kvm_open();
	if (r < 0)
		return open_error(err, r);
	r = need_capabilities(vm->kvm_fd, needed, err);
	if (r == 0)
		r = need_capabilities(vm->kvm_fd, vm_platform_capabilities,
				      err);
	if (r < 0)
		return r;
	vm->vm_fd = r = kvm_create_vm(vm->kvm_fd);
	if (r >= 0)
		r = vm_platform_init(vm);
	if (r < 0)
		return err_set_errno(err, r, "KVM: create the VM");
	r = vm_memory_connect(vm, err);
	if (r < 0)
		return r;
	r = vcpu_set_init(&vm->vcpus, vm->kvm_fd, vm->vm_fd, vm->cfg->cpus,
			  &vm_vcpu_ops, vm, &vm->pio, &vm->mmio);
	return r < 0 ? err_set_errno(err, r, "KVM: create %u vCPUs",
				     vm->cfg->cpus)
		     : 0;
}

/* ------------------------------------------------------------------ guest */

static int load_guest(struct vm *vm, struct err *err)
{
	struct arch_virtio_slot slots[ARCH_MAX_VIRTIO];
	_cleanup_free_ char *cmdline = config_cmdline(vm->cfg);
	struct arch_entry entry;
	struct arch_config cfg = {
		.kernel_path = vm->cfg->kernel,
		.initrd_path = vm->cfg->initrd,
		.cmdline = cmdline,
		.mem_bytes = vm->cfg->mem_mib * MIB,
		.nr_vcpus = vm->cfg->cpus,
		.virtio = slots,
		.nr_virtio = vm->nr_devices,
		.has_pci = vm->pci.nr > 0,
		.invariant_tsc = vm->cfg->invtsc == TRISTATE_AUTO
					 ? -1
					 : vm->cfg->invtsc == TRISTATE_ON,
	};
	int r;

	if (!cmdline)
		return err_set_errno(err, -ENOMEM, "kernel command line");
	vm_platform_describe(vm, &cfg);
	vm_vfio_describe(vm, &cfg.pci);
	for (unsigned int i = 0; i < vm->nr_devices; i++)
		slots[i] = vm->devices[i].slot;
	r = arch_load(&cfg, &vm->gm, &entry, err);
	for (unsigned int i = 0; i < vm->vcpus.nr && r == 0; i++)
		r = arch_vcpu_setup(&cfg, vm->kvm_fd, vm->vcpus.vcpus[i].fd, i,
				    &entry, err);
	return r;
}

static void on_spawner(struct loop_source *src, uint32_t events)
{
	struct vm *vm = container_of(src, struct vm, spawner_src);

	/* It speaks only when asked. */
	if (!(events & EPOLLHUP) && vm->spawns) {
		vm_devices_on_spawner(vm);
		return;
	}
	loop_remove(&vm->loop, src);
	/* Its children, the devices, die with it. */
	log_err("the spawner process has died");
	vm_end(vm, VM_EXIT_CRASH);
}

/* Every thread is narrowed before the first guest instruction. */
static int start_guest(struct vm *vm, struct err *err)
{
	int r = vm_jail_rights(vm, err);

	if (r < 0)
		return r;
	r = vm_devices_start_worker(vm, err);
	if (r < 0)
		return r;
	vcpu_set_hold(&vm->vcpus);
	r = vcpu_set_start(&vm->vcpus);
	if (r < 0)
		return err_set_errno(err, r, "start the vCPUs");
	r = vm_jail_main(vm, err);
	if (r < 0)
		return r;
	vcpu_set_release(&vm->vcpus);
	return 0;
}

static int vm_build(struct vm *vm, struct err *err)
{
	int r = vm_memory_create(vm, err);

	if (r == 0)
		r = make_kvm(vm, err);
	pci_bus_init(&vm->pci);
	if (r == 0)
		r = vm_platform_create(vm, err);
	if (r < 0)
		return r;
	vm_power_init(vm);
	vm_platform_connect(vm, vm_device_arm);
	vm_halt_init(vm);
	r = vm_vfio_create(vm, err);
	if (r == 0)
		r = vm_devices_create(vm, err);
	if (r == 0)
		r = vm_apply_wake_options(vm, err);
	if (r == 0)
		r = vm_devices_wait_ready(vm, err);
	if (r == 0)
		r = load_guest(vm, err);
	return r;
}

int vm_create(struct vm *vm, const struct vm_config *cfg,
	      struct spawner *spawner, struct err *err)
{
	int r = vm_init(vm, cfg, spawner, err);

	return r < 0 ? r : vm_build(vm, err);
}

int vm_run(struct vm *vm, struct err *err)
{
	int r = loop_add(&vm->loop, &vm->spawner_src, spawner_fd(vm->spawner),
			 EPOLLIN, on_spawner);

	if (r < 0)
		return err_set_errno(err, r, "event loop");
	r = start_guest(vm, err);
	if (r < 0)
		return r;
	r = loop_run(&vm->loop);
	return r < 0 ? err_set_errno(err, r, "event loop") : 0;
}

void vm_destroy(struct vm *vm)
{
	/* vCPU threads first: let go whoever waits, wherever. */
	power_stop(&vm->power);
	mailbox_close(&vm->mailbox);
	vm_devices_release_waiters(vm);
	vcpu_set_finish(&vm->vcpus);
	vm_tell(vm, ended, (enum vm_exit)atomic_load(&vm->exit_code));
	vm->listener = NULL;
	vm_devices_destroy(vm);
	vm_vfio_destroy(vm);
	loop_remove(&vm->loop, &vm->spawner_src);
	vm_halt_finish(vm);
	vm_moves_finish(vm);
	vm_power_finish(vm);
	vm_platform_finish(vm);
	terminal_restore();
	char_fd_close(&vm->cfg->serial, &vm->serial_fd);
	pci_bus_finish(&vm->pci);
	fd_close(&vm->vm_fd);
	fd_close(&vm->kvm_fd);
	vm_memory_destroy(vm);
	vm_finish(vm);
}
