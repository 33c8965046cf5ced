/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"
#include "vmm/vm/terminal.h"

#define MIB (1024ULL * 1024)

/* Ctrl-A, then x leaves; Ctrl-A twice sends one. */
#define ESCAPE_KEY 0x01

void vm_end(struct vm *vm, enum vm_exit code)
{
	int running = -1;

	if (!atomic_compare_exchange_strong(&vm->exit_code, &running, code))
		return;
	/* The guest does not run past its own end. */
	if (vm->vcpus_made)
		vcpu_set_stop(&vm->vcpus);
	loop_stop(&vm->loop);
}

/* ------------------------------------------------------------- memory */

static int map_ram(struct vm *vm, struct err *err)
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	uint64_t bytes = vm->cfg->mem_mib * MIB, offset = 0;
	unsigned int nr = arch_ram_ranges(bytes, ranges);
	int r;

	r = vm->ram_fd = fd_memfd_sealed("guest-ram", bytes,
					 vm->cfg->hugepages ? MFD_HUGETLB : 0);
	for (unsigned int i = 0; i < nr && r >= 0; i++) {
		struct gmem_region region = { .gpa = ranges[i].gpa,
					      .size = ranges[i].size,
					      .fd_offset = offset };

		region.fd = r = dup(vm->ram_fd);
		if (r < 0)
			break;
		r = gmem_add(&vm->gm, &region);
		if (r < 0)
			fd_close(&region.fd);
		offset += ranges[i].size;
	}
	if (r == -EFBIG)
		return err_usage(err, r,
				 "--mem %llu: more than the file size limit "
				 "(ulimit -f); raise that limit",
				 (unsigned long long)vm->cfg->mem_mib);
	if (r < 0)
		return err_set_errno(
			err, r, "--mem %llu: cannot get guest memory%s",
			(unsigned long long)vm->cfg->mem_mib,
			vm->cfg->hugepages ? "; --hugepages needs that much in "
					     "/proc/sys/vm/nr_hugepages"
					   : "");
	return 0;
}

static int map_memslots(struct vm *vm, struct err *err)
{
	for (unsigned int i = 0; i < vm->gm.nr; i++) {
		const struct gmem_region *reg = &vm->gm.regions[i];
		const struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = reg->gpa,
			.memory_size = reg->size,
			.userspace_addr = (uint64_t)(uintptr_t)reg->hva,
		};
		int r = kvm_set_memory(vm->vm_fd, &slot);

		if (r < 0)
			return err_set_errno(err, r, "KVM: guest memory");
		/* A crash of ours must not put the guest's secrets on disk. */
		(void)madvise(reg->hva, reg->size, MADV_DONTDUMP);
	}
	return 0;
}

/* ---------------------------------------------------------------- KVM */

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

static int need_capabilities(int kvm, struct err *err)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQFD, "irqfd" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_READONLY_MEM, "read-only memory" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ KVM_CAP_SIGNAL_MSI, "MSI" },
		{ KVM_CAP_SPLIT_IRQCHIP, "split irqchip" },
		{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC deadline timer" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (kvm_check_extension(kvm, needed[i].cap) <= 0)
			return err_set(err, -EOPNOTSUPP,
				       "/dev/kvm lacks %s; a newer kernel is "
				       "needed",
				       needed[i].name);
	}
	return 0;
}

static int make_kvm(struct vm *vm, struct err *err)
{
	int r;

	vm->kvm_fd = r = kvm_open();
	if (r < 0)
		return open_error(err, r);
	r = need_capabilities(vm->kvm_fd, err);
	if (r < 0)
		return r;
	vm->vm_fd = r = kvm_create_vm(vm->kvm_fd);
	if (r >= 0)
		r = kvm_set_identity_map_addr(vm->vm_fd, LAYOUT_IDENTITY_MAP);
	if (r >= 0)
		r = kvm_set_tss_addr(vm->vm_fd, LAYOUT_TSS);
	if (r >= 0)
		r = irqchip_init(&vm->irqchip, vm->vm_fd, vm->cfg->irqchip);
	if (r < 0)
		return err_set_errno(err, r, "KVM: create the VM");
	r = map_memslots(vm, err);
	if (r < 0)
		return r;
	r = vcpu_set_init(&vm->vcpus, vm->kvm_fd, vm->vm_fd, vm->cfg->cpus,
			  &vm_vcpu_ops, vm, &vm->pio, &vm->mmio);
	vm->vcpus_made = true;
	return r < 0 ? err_set_errno(err, r, "KVM: create %u vCPUs",
				     vm->cfg->cpus)
		     : 0;
}

/* ---------------------------------------------------- platform devices */

static void i8042_reset(struct i8042 *i8042)
{
	vm_end(container_of(i8042, struct vm, i8042), VM_EXIT_RESET);
}

static void register_reset(struct pci_conf *conf)
{
	vm_end(container_of(conf, struct vm, pci_conf), VM_EXIT_RESET);
}

static void panicked(struct pvpanic *pvpanic, uint8_t events)
{
	struct vm *vm = container_of(pvpanic, struct vm, pvpanic);

	if (events & PVPANIC_PANICKED)
		vm_end(vm, VM_EXIT_PANIC);
}

static bool escape_filter(struct serial *serial, uint8_t byte)
{
	struct vm *vm = container_of(serial, struct vm, serial);
	bool escaped = vm->escape;

	vm->escape = !escaped && byte == ESCAPE_KEY;
	if (escaped && byte == 'x') {
		vm_end(vm, VM_EXIT_STOP);
		return true;
	}
	return vm->escape;
}

static int make_serial(struct vm *vm, struct err *err)
{
	const struct char_config *cfg = &vm->cfg->serial;
	int r;

	r = char_fd_open(cfg, "--serial", vm->cfg->sandbox, &vm->serial_fd,
			 err);
	if (r < 0)
		return r;
	r = serial_init(&vm->serial, &vm->loop, LAYOUT_PORT_SERIAL,
			irqchip_line(&vm->irqchip, LAYOUT_GSI_SERIAL),
			vm->serial_fd.in, vm->serial_fd.out);
	if (r < 0)
		return err_set_errno(err, r, "--serial");
	vm->serial_made = true;
	if (cfg->type != CHAR_STDIO || !isatty(STDIN_FILENO))
		return 0;
	vm->serial.filter = escape_filter;
	r = terminal_raw(STDIN_FILENO);
	return r < 0 ? err_set_errno(err, r, "--serial: terminal") : 0;
}

_Static_assert(LAYOUT_PORT_GPE0_LEN == ACPI_GPE0_PORTS,
	       "what the FADT says of GPE0");
_Static_assert(LAYOUT_PORT_RESET - LAYOUT_PORT_PCI_ADDRESS == 1 &&
		       LAYOUT_PORT_PCI_DATA - LAYOUT_PORT_PCI_ADDRESS == 4,
	       "where devices/pci/conf.c has them");

static int make_platform(struct vm *vm, struct err *err)
{
	int r = make_serial(vm, err);

	if (r < 0)
		return r;
	r = rtc_init(&vm->rtc, &vm->loop, LAYOUT_PORT_RTC,
		     irqchip_line(&vm->irqchip, LAYOUT_GSI_RTC));
	if (r < 0)
		return err_set_errno(err, r, "real-time clock");
	vm->rtc_made = true;
	acpi_pm_init(&vm->pm, LAYOUT_PORT_PM1A_EVT, LAYOUT_PORT_PM1A_CNT,
		     LAYOUT_PORT_GPE0,
		     irqchip_line(&vm->irqchip, LAYOUT_GSI_SCI));
	i8042_init(&vm->i8042, LAYOUT_PORT_I8042_DATA, LAYOUT_PORT_I8042_CMD);
	vm->i8042.on_reset = i8042_reset;
	pci_bus_init(&vm->pci);
	pci_conf_init(&vm->pci_conf, LAYOUT_PORT_PCI_ADDRESS, &vm->pci);
	vm->pci_conf.on_reset = register_reset;
	pvpanic_init(&vm->pvpanic, LAYOUT_PORT_PVPANIC);
	vm->pvpanic.on_event = panicked;
	pmc_init(&vm->pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW);

	struct bus_dev *const ports[] = {
		&vm->serial.bus,    &vm->rtc.bus,      &vm->pm.evt_bus,
		&vm->pm.cnt_bus,    &vm->pm.gpe_bus,   &vm->i8042.data_bus,
		&vm->i8042.cmd_bus, &vm->pci_conf.bus, &vm->pvpanic.bus,
		&vm->pmc.lps0_bus,  &vm->pmc.dsw_bus,
	};

	for (size_t i = 0; i < ARRAY_SIZE(ports) && r == 0; i++)
		r = bus_add(&vm->pio, ports[i]);
	if (r == 0)
		r = irqchip_add_to_bus(&vm->irqchip, &vm->mmio);
	return r < 0 ? err_set_errno(err, r, "device addresses") : 0;
}

/* -------------------------------------------------------------- guest */

static int load_guest(struct vm *vm, struct err *err)
{
	struct arch_virtio_slot slots[LAYOUT_MAX_VIRTIO];
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
		.nr_ioapic_pins = vm->irqchip.nr_pins,
		.has_pic = vm->cfg->irqchip == IRQCHIP_KERNEL,
		.has_pci = vm->pci.nr > 0,
		.invariant_tsc = vm->cfg->invtsc == TRISTATE_AUTO
					 ? -1
					 : vm->cfg->invtsc == TRISTATE_ON,
	};
	int r;

	if (!cmdline)
		return err_set_errno(err, -ENOMEM, "kernel command line");
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		slots[i].gpa = vm->devices[i].mmio.bus.base;
		slots[i].gsi = vm->devices[i].gsi;
	}
	r = arch_load(&cfg, &vm->gm, &entry, err);
	for (unsigned int i = 0; i < vm->vcpus.nr && r == 0; i++)
		r = arch_vcpu_setup(&cfg, vm->kvm_fd, vm->vcpus.vcpus[i].fd, i,
				    &entry, err);
	return r;
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct vm *vm = container_of(src, struct vm, signal_src);
	struct signalfd_siginfo info;

	if (read(vm->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_debug("signal %u: stopping", info.ssi_signo);
	vm_end(vm, VM_EXIT_STOP);
}

/* Before the first thread: they inherit the mask. */
static int watch_signals(struct vm *vm, struct err *err)
{
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set_errno(err, -errno, "signals");
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vm->signal_fd < 0)
		return err_set_errno(err, -errno, "signals");
	r = loop_add(&vm->loop, &vm->signal_src, vm->signal_fd, EPOLLIN,
		     on_signal);
	return r < 0 ? err_set_errno(err, r, "signals") : 0;
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

static void on_stalled(struct loop *loop, const char *in, uint64_t ns)
{
	struct vm *vm = container_of(loop, struct vm, loop);
	long long ms = (long long)(ns / 1000000);
	static struct log_limit limit;

	log_limited(&limit, "the main loop stalled for %lld ms in %s", ms, in);
	vm_tell(vm, stalled, in, ms);
}

static int vm_build(struct vm *vm, struct err *err)
{
	int r;

	r = loop_init(&vm->loop);
	vm->loop.watched = true;
	vm->loop.stalled = on_stalled;
	if (r == 0)
		r = mailbox_init(&vm->mailbox, &vm->loop);
	if (r < 0)
		return err_set_errno(err, r, "event loop");
	r = watch_signals(vm, err);
	if (r == 0)
		r = map_ram(vm, err);
	if (r == 0)
		r = make_kvm(vm, err);
	if (r < 0)
		return r;
	r = make_platform(vm, err);
	if (r < 0)
		return r;
	vm_power_init(vm);
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
	/* No assignment of the whole: what is not written costs no memory. */
	vm->cfg = cfg;
	vm->spawner = spawner;
	vm->signal_src.fd = vm->spawner_src.fd = -1;
	vm->signal_fd = vm->kvm_fd = vm->vm_fd = vm->ram_fd = -1;
	vm->serial_fd = (struct char_fd)CHAR_FD_NONE;
	atomic_store(&vm->exit_code, -1);
	trace_init(&vm->trace, cfg->cpus);
	return vm_build(vm, err);
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
	if (vm->power_made)
		power_stop(&vm->power);
	mailbox_close(&vm->mailbox);
	vm_devices_release_waiters(vm);
	if (vm->vcpus_made)
		vcpu_set_finish(&vm->vcpus);
	vm_tell(vm, ended, (enum vm_exit)atomic_load(&vm->exit_code));
	vm->listener = NULL;
	vm_devices_destroy(vm);
	vm_vfio_destroy(vm);
	loop_remove(&vm->loop, &vm->spawner_src);
	vm_halt_finish(vm);
	vm_moves_finish(vm);
	vm_power_finish(vm);
	if (vm->rtc_made)
		rtc_finish(&vm->rtc);
	if (vm->serial_made)
		serial_finish(&vm->serial);
	terminal_restore();
	char_fd_close(&vm->cfg->serial, &vm->serial_fd);
	pci_bus_finish(&vm->pci);
	irqchip_finish(&vm->irqchip);
	fd_close(&vm->vm_fd);
	fd_close(&vm->kvm_fd);
	gmem_finish(&vm->gm);
	fd_close(&vm->ram_fd);
	loop_remove(&vm->loop, &vm->signal_src);
	fd_close(&vm->signal_fd);
	mailbox_finish(&vm->mailbox);
	loop_finish(&vm->loop);
	trace_finish(&vm->trace);
}
