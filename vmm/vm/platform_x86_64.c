/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The platform of x86: interrupt controllers of KVM or ours, fixed ACPI
 * hardware, and what else stands on ports.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"
#include "vmm/vm/device.h"
#include "vmm/vm/platform.h"
#include "vmm/vm/terminal.h"

const struct vm_capability vm_platform_capabilities[] = {
	{ KVM_CAP_SIGNAL_MSI, "MSI" },
	{ KVM_CAP_SPLIT_IRQCHIP, "split irqchip" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC deadline timer" },
	{ 0 },
};

/* --------------------------------------------------------- the VM's vCPUs */

static struct vm *vm_of(const struct vcpu *vcpu)
{
	return vcpu->set->ctx;
}

bool vm_platform_port_read(struct vcpu *vcpu, uint16_t port, void *data,
			   uint32_t len)
{
	if (port != LAYOUT_PORT_PMC_C2 || len != 1)
		return false;
	*(uint8_t *)data = 0;
	power_c2_read(&vm_of(vcpu)->power, vcpu->index);
	return true;
}

void vm_platform_eoi(struct vcpu *vcpu, uint8_t vector)
{
	irqchip_eoi(&vm_of(vcpu)->platform.irqchip, vector);
}

/* ----------------------------------------------------- what ends the VM */

static void i8042_reset(struct i8042 *i8042)
{
	vm_end(container_of(i8042, struct vm, platform.i8042), VM_EXIT_RESET);
}

static void register_reset(struct pci_conf *conf)
{
	vm_end(container_of(conf, struct vm, platform.pci_conf), VM_EXIT_RESET);
}

static void panicked(struct pvpanic *pvpanic, uint8_t events)
{
	struct vm *vm = container_of(pvpanic, struct vm, platform.pvpanic);

	if (events & PVPANIC_PANICKED)
		vm_end(vm, VM_EXIT_PANIC);
}

/* ------------------------------------------- what the coordinator is told */

/* vCPU thread: the guest took fixed events by clearing their status. */
static void pm_cleared(struct acpi_pm *pm, uint16_t pm1, uint32_t gpe,
		       bool bulk)
{
	struct vm *vm = container_of(pm, struct vm, platform.pm);

	/* Everything at once is ACPICA on its way to sleep: not taken. The
	 * RTC's is cleared when it is armed too; reading its register C is
	 * what takes an alarm. */
	if (bulk || !(pm1 & (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN)))
		return;
	(void)atomic_fetch_or(&vm->platform.cleared_pm1, pm1);
	mailbox_post(&vm->mailbox, &vm->platform.pm_item);
}

static void rtc_taken(struct rtc *rtc)
{
	struct vm *vm = container_of(rtc, struct vm, platform.rtc);

	atomic_store(&vm->platform.rtc_taken, 1);
	mailbox_post(&vm->mailbox, &vm->platform.pm_item);
}

static void on_pm_item(struct mailbox_item *item)
{
	struct vm *vm = container_of(item, struct vm, platform.pm_item);
	unsigned int pm1 = atomic_exchange(&vm->platform.cleared_pm1, 0);

	/* Set again since: that is the next event, which was not taken. */
	pm1 &= ~(unsigned int)acpi_pm_get(&vm->platform.pm).pm1_sts;
	if (pm1 & ACPI_PM1_PWRBTN)
		power_source_clear(&vm->power, &vm->power.powerbtn);
	if (pm1 & ACPI_PM1_SLPBTN)
		power_source_clear(&vm->power, &vm->power.sleepbtn);
	if (vm->power.launcher.pm1_bit & pm1)
		power_source_clear(&vm->power, &vm->power.launcher);
	if (atomic_exchange(&vm->platform.rtc_taken, 0))
		power_source_clear(&vm->power, &vm->power.rtc);
}

static void pm_sleep(struct acpi_pm *pm, unsigned int slp_typ)
{
	struct vm *vm = container_of(pm, struct vm, platform.pm);

	for (unsigned int i = 0; i < vm->vcpus.nr; i++) {
		struct vcpu *vcpu = &vm->vcpus.vcpus[i];

		if (!pthread_equal(vcpu->thread, pthread_self()))
			continue;
		if (slp_typ == LAYOUT_SLP_TYP_S5)
			vm_end(vm, VM_EXIT_STOP);
		else if (slp_typ == LAYOUT_SLP_TYP_S1)
			power_s1(&vm->power, i);
	}
}

static void rtc_alarm(struct rtc *rtc)
{
	struct vm *vm = container_of(rtc, struct vm, platform.rtc);

	(void)power_wake(&vm->power, &vm->power.rtc);
}

static void serial_input(struct serial *serial)
{
	struct vm *vm = container_of(serial, struct vm, platform.serial);

	(void)power_wake(&vm->power, &vm->platform.serial_wake);
}

static void pmc_lps0(struct pmc *pmc, bool entry)
{
	power_lps0(&container_of(pmc, struct vm, platform.pmc)->power, entry);
}

struct arm_call {
	struct mailbox_item item;
	struct vm_device *dev;
	bool armed;
};

static void on_arm(struct mailbox_item *item)
{
	struct arm_call *call = container_of(item, struct arm_call, item);

	call->dev->vm->platform.arm(call->dev, call->armed, item);
}

/*
 * Waits until the device's process has taken it. What comes before that it may
 * put into a running ring without a wake-up: the guest, which looks at its
 * rings when this has returned, sees it there. What comes later is a wake
 * event.
 */
static void pmc_arm(struct pmc *pmc, unsigned int index, bool armed)
{
	struct vm *vm = container_of(pmc, struct vm, platform.pmc);
	struct arm_call call = { .item.fn = on_arm, .armed = armed };

	if (index >= vm->nr_devices)
		return;
	call.dev = &vm->devices[index];
	mailbox_call(&vm->mailbox, &call.item);
}

/* Any thread. */
static void all_masked(struct ioapic *ioapic)
{
	struct vm *vm =
		container_of(ioapic, struct vm, platform.irqchip.ioapic);

	mailbox_post(&vm->mailbox, &vm->halt.suspected);
}

void vm_platform_connect(struct vm *vm,
			 void (*arm)(struct vm_device *dev, bool armed,
				     struct mailbox_item *item))
{
	struct vm_platform *p = &vm->platform;

	p->arm = arm;
	p->pm_item.fn = on_pm_item;
	p->serial_wake = (struct wake_source){
		.name = "serial",
		.irq = irqchip_line(&p->irqchip, LAYOUT_GSI_SERIAL),
	};
	power_add_source(&vm->power, &p->serial_wake);
	p->pm.on_sleep = pm_sleep;
	p->pm.on_clear = pm_cleared;
	p->rtc.on_alarm = rtc_alarm;
	p->rtc.on_alarm_taken = rtc_taken;
	p->serial.on_held_input = serial_input;
	p->pmc.on_lps0 = pmc_lps0;
	p->pmc.on_arm = pmc_arm;
	p->irqchip.ioapic.all_masked = all_masked;
}

void vm_platform_wake_options_applied(struct vm *vm)
{
	vm->platform.serial.no_wake = vm->platform.serial_wake.off;
}

void vm_platform_hold_input(struct vm *vm)
{
	struct vm_platform *p = &vm->platform;

	/* From here on a byte stays in its fd, where it counts as a wake. */
	p->serial_wake.armed =
		serial_wake_armed(&p->serial) && !p->serial_wake.off;
	serial_hold(&p->serial, true);
}

void vm_platform_release_input(struct vm *vm)
{
	serial_hold(&vm->platform.serial, false);
	power_source_clear(&vm->power, &vm->platform.serial_wake);
}

bool vm_platform_all_masked(struct vm *vm)
{
	return ioapic_all_masked(&vm->platform.irqchip.ioapic);
}

/* ------------------------------------------------------------------ places */

int vm_platform_virtio_slot(const struct vm *vm, unsigned int index,
			    struct arch_virtio_slot *ret, struct err *err)
{
	int gsi = irqchip_virtio_gsi(vm->cfg->irqchip, index);

	/* Each has a GPE, and so has a PCI device. */
	if (gsi < 0 || index >= LAYOUT_MAX_VIRTIO - vm->cfg->nr_vfios)
		return err_usage(err, -ENOSPC,
				 "too many virtio devices; the limit is %d, "
				 "those of --vfio counted, (--irqchip split) "
				 "or 16 (--irqchip kernel)",
				 LAYOUT_MAX_VIRTIO);
	*ret = (struct arch_virtio_slot){
		.gpa = LAYOUT_VIRTIO_BASE +
		       (uint64_t)index * LAYOUT_VIRTIO_STRIDE,
		.gsi = (uint32_t)gsi,
	};
	return 0;
}

int vm_platform_add_irqfd(struct vm *vm, int fd, uint32_t gsi)
{
	return irqchip_add_irqfd(&vm->platform.irqchip, fd, gsi);
}

struct pci_places vm_platform_pci_places(const struct vm *vm)
{
	struct pci_places places = {
		.ecam = LAYOUT_PCI_ECAM,
		.mem32 = LAYOUT_PCI_MEM32,
		.mem32_bytes = LAYOUT_PCI_MEM32_BYTES,
		.mem64 = LAYOUT_PCI_MEM64,
	};

	if (LAYOUT_PCI_MEM64_LAST >> arch_address_bits(vm->kvm_fd) == 0)
		places.mem64_bytes = LAYOUT_PCI_MEM64_BYTES;
	return places;
}

unsigned int vm_platform_pci_gpe(unsigned int index)
{
	return LAYOUT_GPE_WAKE - 1 - index;
}

static uint32_t pmc_pci_powered(struct pmc *pmc)
{
	struct vm *vm = container_of(pmc, struct vm, platform.pmc);

	return vm->platform.pci_ops->powered(vm);
}

static void pmc_pci_power(struct pmc *pmc, unsigned int slot, bool on)
{
	struct vm *vm = container_of(pmc, struct vm, platform.pmc);

	vm->platform.pci_ops->power(vm, slot, on);
}

static void pmc_pci_arm(struct pmc *pmc, unsigned int slot, bool armed)
{
	struct vm *vm = container_of(pmc, struct vm, platform.pmc);

	vm->platform.pci_ops->arm(vm, slot, armed);
}

int vm_platform_connect_pci(struct vm *vm, const struct vm_pci_ops *ops)
{
	struct pmc *pmc = &vm->platform.pmc;

	vm->platform.pci_ops = ops;
	pmc->pci_powered = pmc_pci_powered;
	pmc->on_pci_power = pmc_pci_power;
	pmc->on_pci_arm = pmc_pci_arm;
	return bus_add(&vm->pio, &pmc->pci_bus);
}

void vm_platform_describe(const struct vm *vm, struct arch_config *cfg)
{
	cfg->nr_ioapic_pins = vm->platform.irqchip.nr_pins;
	cfg->has_pic = vm->cfg->irqchip == IRQCHIP_KERNEL;
}

/* -------------------------------------------------------------------- life */

static bool serial_escapes(struct serial *serial, uint8_t byte)
{
	struct vm *vm = container_of(serial, struct vm, platform.serial);
	enum terminal_key key = terminal_key(&vm->platform.escaped, byte);

	if (key == TERMINAL_KEY_LEAVE)
		vm_end(vm, VM_EXIT_STOP);
	return key != TERMINAL_KEY_PLAIN;
}

static int make_serial(struct vm *vm, struct err *err)
{
	const struct char_config *cfg = &vm->cfg->serial;
	int r;

	r = char_fd_open(cfg, "--serial", vm->cfg->sandbox, &vm->serial_fd,
			 err);
	if (r < 0)
		return r;
	r = serial_init(&vm->platform.serial, &vm->loop, LAYOUT_PORT_SERIAL,
			irqchip_line(&vm->platform.irqchip, LAYOUT_GSI_SERIAL),
			vm->serial_fd.in, vm->serial_fd.out);
	if (r < 0)
		return err_set_errno(err, r, "--serial");
	if (cfg->type != CHAR_STDIO || !isatty(STDIN_FILENO))
		return 0;
	vm->platform.serial.filter = serial_escapes;
	r = terminal_raw(STDIN_FILENO);
	return r < 0 ? err_set_errno(err, r, "--serial: terminal") : 0;
}

_Static_assert(LAYOUT_PORT_GPE0_LEN == ACPI_GPE0_PORTS,
	       "what the FADT says of GPE0");
_Static_assert(LAYOUT_PORT_RESET - LAYOUT_PORT_PCI_ADDRESS == 1 &&
		       LAYOUT_PORT_PCI_DATA - LAYOUT_PORT_PCI_ADDRESS == 4,
	       "where devices/pci/conf.c has them");

int vm_platform_init(struct vm *vm)
{
	int r = kvm_set_identity_map_addr(vm->vm_fd, LAYOUT_IDENTITY_MAP);

	if (r >= 0)
		r = kvm_set_tss_addr(vm->vm_fd, LAYOUT_TSS);
	if (r >= 0)
		r = irqchip_init(&vm->platform.irqchip, vm->vm_fd,
				 vm->cfg->irqchip);
	return r;
}

int vm_platform_create(struct vm *vm, struct err *err)
{
	int r = make_serial(vm, err);

	if (r < 0)
		return r;
	r = rtc_init(&vm->platform.rtc, &vm->loop, LAYOUT_PORT_RTC,
		     irqchip_line(&vm->platform.irqchip, LAYOUT_GSI_RTC));
	if (r < 0)
		return err_set_errno(err, r, "real-time clock");
	acpi_pm_init(&vm->platform.pm, LAYOUT_PORT_PM1A_EVT,
		     LAYOUT_PORT_PM1A_CNT, LAYOUT_PORT_GPE0,
		     irqchip_line(&vm->platform.irqchip, LAYOUT_GSI_SCI));
	i8042_init(&vm->platform.i8042, LAYOUT_PORT_I8042_DATA,
		   LAYOUT_PORT_I8042_CMD);
	vm->platform.i8042.on_reset = i8042_reset;
	pci_conf_init(&vm->platform.pci_conf, LAYOUT_PORT_PCI_ADDRESS,
		      &vm->pci);
	vm->platform.pci_conf.on_reset = register_reset;
	pvpanic_init(&vm->platform.pvpanic, LAYOUT_PORT_PVPANIC);
	vm->platform.pvpanic.on_event = panicked;
	pmc_init(&vm->platform.pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW,
		 LAYOUT_PORT_PMC_PCI);

	struct bus_dev *const ports[] = {
		&vm->platform.serial.bus,    &vm->platform.rtc.bus,
		&vm->platform.pm.evt_bus,    &vm->platform.pm.cnt_bus,
		&vm->platform.pm.gpe_bus,    &vm->platform.i8042.data_bus,
		&vm->platform.i8042.cmd_bus, &vm->platform.pci_conf.bus,
		&vm->platform.pvpanic.bus,   &vm->platform.pmc.lps0_bus,
		&vm->platform.pmc.dsw_bus,
	};

	for (size_t i = 0; i < ARRAY_SIZE(ports) && r == 0; i++)
		r = bus_add(&vm->pio, ports[i]);
	if (r == 0)
		r = irqchip_add_to_bus(&vm->platform.irqchip, &vm->mmio);
	return r < 0 ? err_set_errno(err, r, "device addresses") : 0;
}

void vm_platform_finish(struct vm *vm)
{
	rtc_finish(&vm->platform.rtc);
	serial_finish(&vm->platform.serial);
	irqchip_finish(&vm->platform.irqchip);
}
