/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devices/vfio on a device that is a file: its regions lie behind each other in
 * a memfd, so that reads, writes and mappings are the kernel's; ioctl() is
 * ours.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86_64/layout.h"
#include "devices/vfio/device.h"
#include "vmm/base/fd.h"

#define REGION_BYTES 0x10000ULL /* of the file, each */
#define PM_CAP	     0x40
#define MSI_CAP	     0x50
#define MSIX_CAP     0x70
#define VENDOR_CAP   0x90
#define BAR_BYTES    0x8000ULL

/* The host's kernel. */
static struct {
	int file;
	uint64_t bars[PCI_NR_BARS];
	bool maps[PCI_NR_BARS];
	bool sparse;	      /* BAR 0: its pages 0 and 3 alone */
	unsigned int vectors; /* that are switched on */
	unsigned int room;    /* vectors that the host has */
	uint64_t slots[64];   /* KVM: bytes of each */
	uint64_t gpas[64];
	int irqfds;
	unsigned int routes;
	bool old;	 /* a kernel without low power */
	bool down;	 /* it is in low power */
	bool refuses;	 /* to go there */
	bool loop_looks; /* ... before our EXIT returns */
	int wakeup_fd;	 /* ... from where it signals; -1: does not */
	char trace[1024];
} fake;

static struct pci_bus pci;
static struct bus mmio;
static struct irqchip chip;
static struct vfio_device device;
static struct err err;
static uint8_t config[PCI_HEADER_BYTES];

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
	size_t len = strlen(fake.trace);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(fake.trace + len, sizeof(fake.trace) - len, fmt, ap);
	va_end(ap);
}

static int get_region(struct vfio_region_info *info)
{
	bool is_bar = info->index < PCI_NR_BARS;

	info->offset = info->index * REGION_BYTES;
	info->size = is_bar ? fake.bars[info->index] : PCI_CONFIG_BYTES;
	info->flags = is_bar && fake.maps[info->index]
			      ? VFIO_REGION_INFO_FLAG_MMAP
			      : 0;
	if (fake.sparse && info->index == 0) {
		struct vfio_region_info_cap_sparse_mmap *cap =
			(void *)(info + 1);

		info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
		info->cap_offset = sizeof(*info);
		cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
		cap->nr_areas = 2;
		cap->areas[0].size = 0x1000;
		cap->areas[1].offset = 0x3000;
		cap->areas[1].size = 0x1000;
	}
	return 0;
}

static int set_irqs(const struct vfio_irq_set *set)
{
	if (set->index == VFIO_PCI_MSIX_IRQ_INDEX) {
		if (set->count > fake.room)
			return (int)fake.room;
		fake.vectors = set->count;
		note("msix %u; ", set->count);
	}
	return 0;
}

/* 2 bytes of the real registers. */
static uint32_t config_get(uint32_t reg)
{
	uint16_t value = 0;

	(void)!pread(
		fake.file, &value, sizeof(value),
		(off_t)(VFIO_PCI_CONFIG_REGION_INDEX * REGION_BYTES + reg));
	return value;
}

static int set_memory(const struct kvm_userspace_memory_region *slot)
{
	if (slot->memory_size) {
		cr_assert(not(fake.down), "a memslot while in low power");
		cr_assert(eq(u32, config_get(PCI_COMMAND) & PCI_COMMAND_MEMORY,
			     PCI_COMMAND_MEMORY));
		cr_assert(zero(u32, config_get(PM_CAP + PCI_PM_CTRL) &
					    PCI_PM_CTRL_STATE_MASK));
	}
	fake.slots[slot->slot] = slot->memory_size;
	fake.gpas[slot->slot] = slot->guest_phys_addr;
	note("slot%u %llx; ", slot->slot,
	     (unsigned long long)slot->memory_size);
	return 0;
}

/* A memslot over a BAR that the kernel has zapped would end the guest. */
static void no_slot_is_left(const char *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(fake.slots); i++)
		cr_assert(eq(u64, fake.slots[i], 0), "slot %zu: %s", i, why);
}

/* The device leaves low power, whoever makes it: its eventfd is told. */
static void comes_up(void)
{
	if (fake.down && fake.wakeup_fd >= 0)
		fd_event_signal(fake.wakeup_fd);
	fake.down = false;
}

static int low_power(const struct vfio_device_feature *feature)
{
	const struct vfio_device_low_power_entry_with_wakeup *wakeup =
		(const void *)feature->data;
	uint32_t what = feature->flags & VFIO_DEVICE_FEATURE_MASK;

	if (fake.old || (feature->flags & VFIO_DEVICE_FEATURE_GET)) {
		errno = ENOTTY;
		return -1;
	}
	if (feature->flags & VFIO_DEVICE_FEATURE_PROBE)
		return 0;
	if (what == VFIO_DEVICE_FEATURE_LOW_POWER_EXIT) {
		note("exit; ");
		comes_up();
		/* The main loop, at the worst moment. */
		if (fake.loop_looks)
			cr_assert(not(vfio_power_woken(&device)));
		fake.wakeup_fd = -1;
		return 0;
	}
	if (fake.refuses) {
		errno = EBUSY;
		return -1;
	}
	note(what == VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY ? "enter; "
							 : "enter armed; ");
	cr_assert(not(fake.down), "a second ENTRY wakes it");
	no_slot_is_left("ENTRY");
	fake.wakeup_fd = what == VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
				 ? -1
				 : wakeup->wakeup_eventfd;
	fake.down = true;
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case VFIO_DEVICE_GET_INFO:
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region(arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		((struct vfio_irq_info *)arg)->count = 1;
		return 0;
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(arg);
	case VFIO_DEVICE_FEATURE:
		return low_power(arg);
	case KVM_SET_USER_MEMORY_REGION:
		return set_memory(arg);
	case KVM_SET_GSI_ROUTING:
		fake.routes = ((struct kvm_irq_routing *)arg)->nr;
		return 0;
	case KVM_IRQFD:
		fake.irqfds += ((struct kvm_irqfd *)arg)->flags ? -1 : 1;
		note("irqfd %s; ",
		     ((struct kvm_irqfd *)arg)->flags ? "off" : "on");
		return 0;
	case KVM_ENABLE_CAP:
		return 0;
	default:
		errno = ENOTTY;
		return -1;
	}
}

ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	uint64_t reg =
		(uint64_t)offset - VFIO_PCI_CONFIG_REGION_INDEX * REGION_BYTES;
	uint16_t value = 0;

	memcpy(&value, buf, MIN(len, sizeof(value)));
	if (reg == PCI_COMMAND && !(value & PCI_COMMAND_MEMORY))
		no_slot_is_left("COMMAND.MEM is cleared");
	if (reg == PM_CAP + PCI_PM_CTRL && value & PCI_PM_CTRL_STATE_MASK)
		no_slot_is_left("to D3hot");
	return __real_pwrite(fd, buf, len, offset);
}

static void put(uint32_t reg, uint32_t value, uint32_t len)
{
	memcpy(config + reg, &value, len);
}

/* An SSD with a table in page 2 and a PBA in page 4 of its one BAR. */
static void setup(void)
{
	fake.file = memfd_create("device", MFD_CLOEXEC);
	cr_assert(ge(int, fake.file, 0));
	cr_assert(zero(int, ftruncate(fake.file, 16 * REGION_BYTES)));
	fake.bars[0] = BAR_BYTES;
	fake.maps[0] = true;
	fake.room = 64;
	fake.wakeup_fd = -1;
	put(PCI_VENDOR_ID, 0x00ee1b36, 4);
	put(PCI_STATUS, PCI_STATUS_CAP_LIST, 2);
	put(PCI_BASE_ADDRESS_0, 4, 4);
	put(PCI_CAPABILITY_LIST, PM_CAP, 1);
	put(PCI_INTERRUPT_PIN, 1, 1);
	put(PM_CAP, 3 << 16 | MSI_CAP << 8 | PCI_CAP_ID_PM, 4);
	put(PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET, 2);
	put(MSI_CAP, MSIX_CAP << 8 | PCI_CAP_ID_MSI, 2);
	put(MSIX_CAP, 7 << 16 | VENDOR_CAP << 8 | PCI_CAP_ID_MSIX, 4);
	put(MSIX_CAP + PCI_MSIX_TABLE, 0x2000, 4);
	put(MSIX_CAP + PCI_MSIX_PBA, 0x4000, 4);
	put(VENDOR_CAP, PCI_CAP_ID_VNDR, 1);
	pci_bus_init(&pci);
	cr_assert(zero(int, irqchip_init(&chip, -1, IRQCHIP_SPLIT)));
}

static void teardown(void)
{
	vfio_device_finish(&device);
	pci_bus_finish(&pci);
	irqchip_finish(&chip);
}

TestSuite(vfio_device, .init = setup, .fini = teardown, .timeout = 120);

/* pm=: of the next device. */
static enum pci_depth depth;

static int init(void)
{
	const struct vfio_device_params params = { .fd = fake.file,
						   .bdf = "0000:01:00.0",
						   .vm_fd = -1,
						   .irqchip = &chip,
						   .pm = depth };

	cr_assert(eq(long,
		     pwrite(fake.file, config, sizeof(config),
			    VFIO_PCI_CONFIG_REGION_INDEX * REGION_BYTES),
		     (long)sizeof(config)));
	return vfio_device_init(&device, &params, &err);
}

static void start(void)
{
	static const struct pci_places places = {
		.ecam = LAYOUT_PCI_ECAM,
		.mem32 = LAYOUT_PCI_MEM32,
		.mem32_bytes = LAYOUT_PCI_MEM32_BYTES,
		.mem64 = LAYOUT_PCI_MEM64,
		.mem64_bytes = LAYOUT_PCI_MEM64_BYTES,
	};

	cr_assert(zero(int, init()), "%s", err.msg);
	cr_assert(zero(int, pci_bus_add(&pci, &device.pci, 1)));
	cr_assert(zero(int, pci_bus_connect(&pci, &mmio, &places, &err)));
	fake.trace[0] = '\0';
}

static uint32_t get(uint32_t reg, uint32_t len)
{
	return pci_bus_config_read(&pci, 1 << 3, reg, len);
}

static void set(uint32_t reg, uint32_t value, uint32_t len)
{
	pci_bus_config_write(&pci, 1 << 3, reg, len, value);
}

static uint64_t file_get(uint32_t region, uint64_t offset, uint32_t len)
{
	uint64_t value = 0;

	cr_assert(eq(long,
		     pread(fake.file, &value, len,
			   (off_t)(region * REGION_BYTES + offset)),
		     (long)len));
	return value;
}

static void expect_trace(const char *trace)
{
	cr_assert(zero(int, strcmp(fake.trace, trace)), "%s", fake.trace);
	fake.trace[0] = '\0';
}

Test(vfio_device, the_guest_sees_what_there_is_but_msi_and_the_pin)
{
	start();
	cr_assert(eq(u32, get(PCI_VENDOR_ID, 4), 0x00ee1b36));
	cr_assert(eq(u32, get(PCI_INTERRUPT_PIN, 1), 0));
	cr_assert(eq(u32, get(PCI_CAPABILITY_LIST, 1), PM_CAP));
	cr_assert(eq(u32, get(PM_CAP + 1, 1), MSIX_CAP));
	cr_assert(eq(u32, get(MSIX_CAP + 1, 1), VENDOR_CAP));
	cr_assert(eq(u32, get(VENDOR_CAP + 1, 1), 0));
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2),
		     PCI_PM_CTRL_NO_SOFT_RESET));
}

Test(vfio_device, what_is_mapped_leaves_the_msi_x_pages_out)
{
	start();
	cr_assert(eq(u32, device.bars[0].nr_pieces, 3));
	cr_assert(eq(u64, device.bars[0].pieces[0].bytes, 0x2000));
	cr_assert(eq(u64, device.bars[0].pieces[1].offset, 0x3000));
	cr_assert(eq(u64, device.bars[0].pieces[1].bytes, 0x1000));
	cr_assert(eq(u64, device.bars[0].pieces[2].offset, 0x5000));
	cr_assert(eq(u64, device.bars[0].pieces[2].bytes, 0x3000));
}

Test(vfio_device, of_a_bar_that_may_be_mapped_in_part_that_is)
{
	fake.sparse = true;
	start();
	cr_assert(eq(u32, device.bars[0].nr_pieces, 2));
	cr_assert(eq(u64, device.bars[0].pieces[1].offset, 0x3000));
	cr_assert(eq(u64, device.bars[0].pieces[1].bytes, 0x1000));
}

Test(vfio_device, memslots_are_there_while_the_bar_is_decoded)
{
	start();
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	expect_trace("slot0 2000; slot1 1000; slot2 3000; ");
	cr_assert(eq(u64, fake.gpas[1], LAYOUT_PCI_MEM64 + 0x3000));
	set(PM_CAP + PCI_PM_CTRL, 3, 2);
	expect_trace("slot0 0; slot1 0; slot2 0; ");
	cr_assert(eq(
		u64,
		file_get(VFIO_PCI_CONFIG_REGION_INDEX, PM_CAP + PCI_PM_CTRL, 2),
		PCI_PM_CTRL_NO_SOFT_RESET | 3));
	set(PM_CAP + PCI_PM_CTRL, 0, 2);
	expect_trace("slot0 2000; slot1 1000; slot2 3000; ");
	set(PCI_COMMAND, 0, 2);
	expect_trace("slot0 0; slot1 0; slot2 0; ");
}

Test(vfio_device, its_pin_is_off_whatever_the_guest_says)
{
	start();
	cr_assert(eq(u64,
		     file_get(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2),
		     PCI_COMMAND_INTX_DISABLE));
	set(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	cr_assert(eq(u64,
		     file_get(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2),
		     PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY |
			     PCI_COMMAND_MASTER));
	cr_assert(eq(u32, get(PCI_COMMAND, 2),
		     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
}

Test(vfio_device, what_is_not_mapped_is_read_and_written)
{
	uint32_t value = 0x12345678;

	start();
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	/* On a page of the table, behind it. */
	bus_write(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
	cr_assert(eq(u64, file_get(0, 0x2800, 4), value));
	value = 0;
	bus_read(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
	cr_assert(eq(u32, value, 0x12345678));
	/* The table is ours. */
	bus_write(&mmio, LAYOUT_PCI_MEM64 + 0x2000, &value, 4);
	cr_assert(eq(u64, file_get(0, 0x2000, 4), 0));
	set(0x60, 0xabcd, 2);
	cr_assert(eq(u64, file_get(VFIO_PCI_CONFIG_REGION_INDEX, 0x60, 2),
		     0xabcd));
	/* What fails reads as ones. */
	fd_close(&device.fd);
	bus_read(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
	cr_assert(eq(u32, value, ~0U));
	cr_assert(eq(u32, get(0x60, 2), 0xffff));
	set(0x60, 0, 2);
}

static void vector(unsigned int i, uint32_t data, bool masked)
{
	uint64_t entry = LAYOUT_PCI_MEM64 + 0x2000 + i * 16;
	uint32_t words[4] = { 0xfee00000, 0, data, masked };

	for (unsigned int k = 0; k < 4; k++)
		bus_write(&mmio, entry + 4 * k, &words[k], 4);
}

Test(vfio_device, a_vector_has_a_route_and_an_irqfd_while_it_is_unmasked)
{
	uint64_t pba = 0;

	start();
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake.trace[0] = '\0';
	set(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	expect_trace("msix 8; ");
	vector(2, 0x33, false);
	expect_trace("irqfd on; ");
	cr_assert(eq(u32, fake.routes, 1));
	vector(3, 0x34, false);
	cr_assert(eq(u32, fake.routes, 2));
	vector(2, 0x33, true);
	cr_assert(eq(int, fake.irqfds, 1));
	/* What comes is pending, in its eventfd. */
	fd_event_signal(device.irq_fds[2]);
	fd_event_signal(device.irq_fds[3]);
	bus_read(&mmio, LAYOUT_PCI_MEM64 + 0x4000, &pba, 8);
	cr_assert(eq(u64, pba, 4));
	cr_assert(eq(u64, fd_event_drain(device.irq_fds[2]), 1));
	fake.trace[0] = '\0';
	set(MSIX_CAP + PCI_MSIX_FLAGS, 0, 2);
	expect_trace("irqfd off; msix 0; ");
	cr_assert(eq(int, fake.irqfds, 0));
}

Test(vfio_device, a_host_without_vectors_is_no_end)
{
	start();
	fake.room = 3;
	set(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	expect_trace("");
	cr_assert(eq(u32, get(MSIX_CAP + PCI_MSIX_FLAGS, 2),
		     PCI_MSIX_FLAGS_ENABLE | 7));
	set(MSIX_CAP + PCI_MSIX_FLAGS, 0, 2);
}

Test(vfio_device, ports_and_small_bars_are_not_mapped)
{
	fake.bars[2] = 32;
	put(PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_SPACE_IO, 4);
	fake.bars[3] = 256;
	fake.maps[3] = true;
	start();
	cr_assert(eq(u64, device.pci.bars[2].bytes, 0));
	cr_assert(eq(u64, device.pci.bars[3].bytes, 256));
	cr_assert(eq(u32, device.bars[3].nr_pieces, 0));
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	bus_write(&mmio, LAYOUT_PCI_MEM32 + 4, "abcd", 4);
	cr_assert(eq(u64, file_get(3, 4, 1), 'a'));
}

Test(vfio_device, without_msi_x_it_is_refused)
{
	put(MSI_CAP, PCI_CAP_ID_MSI, 2);
	cr_assert(eq(int, init(), -EOPNOTSUPP));
	cr_assert(ne(ptr, strstr(err.msg, "no MSI-X"), NULL));
	cr_assert(err.usage);
}

Test(vfio_device, a_table_outside_its_bar_is_refused)
{
	put(MSIX_CAP + PCI_MSIX_TABLE, 0x8000, 4);
	cr_assert(eq(int, init(), -EINVAL));
}

Test(vfio_device, a_bridge_is_refused)
{
	put(PCI_HEADER_TYPE, PCI_HEADER_TYPE_BRIDGE, 1);
	cr_assert(eq(int, init(), -EINVAL));
	cr_assert(ne(ptr, strstr(err.msg, "is a bridge"), NULL));
}

Test(vfio_device, a_list_of_capabilities_may_be_a_ring)
{
	put(VENDOR_CAP, PM_CAP << 8 | PCI_CAP_ID_VNDR, 2);
	start();
	cr_assert(eq(u32, device.pci.msix.nr, 8));
}

/* -------------------------------------------------------------- low power */

/* As Linux does in suspend-to-idle. */
static void put_down(void)
{
	set(PM_CAP + PCI_PM_CTRL, 3, 2);
	pci_device_set_cold(&device.pci, true);
}

static void start_deep(void)
{
	depth = PCI_DEPTH_DEEP;
	start();
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake.trace[0] = '\0';
}

Test(vfio_device, off_means_that_the_guest_alone_believes_it)
{
	depth = PCI_DEPTH_OFF;
	start();
	set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake.trace[0] = '\0';
	set(PM_CAP + PCI_PM_CTRL, 3, 2);
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2) & 3, 3));
	cr_assert(eq(u32, config_get(PM_CAP + PCI_PM_CTRL) & 3, 0));
	/* A BAR of a device in D3 is not there, all the same. */
	expect_trace("slot0 0; slot1 0; slot2 0; ");
}

Test(vfio_device, a_device_that_keeps_its_state_says_so_unless_deep)
{
	start_deep();
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2), 0));
}

Test(vfio_device, d3hot_alone_never_gives_low_power)
{
	start_deep();
	set(PM_CAP + PCI_PM_CTRL, 3, 2);
	cr_assert(eq(u32, config_get(PM_CAP + PCI_PM_CTRL) & 3, 3));
	cr_assert(not(fake.down));
	expect_trace("slot0 0; slot1 0; slot2 0; ");
}

Test(vfio_device, without_power_it_answers_nothing_and_nothing_touches_it)
{
	uint32_t value = 0;

	start_deep();
	put_down();
	expect_trace("slot0 0; slot1 0; slot2 0; enter; ");
	/* Whatever reached the device would wake it. */
	fd_close(&device.fd);
	cr_assert(eq(u32, get(PCI_VENDOR_ID, 4), ~0U));
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2), 0xffff));
	set(PM_CAP + PCI_PM_CTRL, 0, 2);
	set(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	set(PCI_BASE_ADDRESS_0, 0xd2000000, 4);
	bus_read(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
	cr_assert(eq(u32, value, ~0U));
	bus_write(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
	pci_device_set_cold(&device.pci, true);
	expect_trace("");
}

Test(vfio_device, with_power_it_is_in_d0_and_as_it_was)
{
	start_deep();
	put_down();
	fake.trace[0] = '\0';
	pci_device_set_cold(&device.pci, false);
	expect_trace("exit; slot0 2000; slot1 1000; slot2 3000; ");
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2) & 3, 0));
	cr_assert(eq(u32, get(PCI_COMMAND, 2), PCI_COMMAND_MEMORY));
	cr_assert(eq(u32, get(PCI_VENDOR_ID, 4), 0x00ee1b36));
	/* Once more: it has power. */
	pci_device_set_cold(&device.pci, false);
	expect_trace("");
}

Test(vfio_device, a_guest_in_a_hurry_may_switch_off_what_is_in_d0)
{
	start_deep();
	pci_device_set_cold(&device.pci, true);
	expect_trace("slot0 0; slot1 0; slot2 0; enter; ");
}

Test(vfio_device, armed_it_enters_with_a_wakeup_and_only_then)
{
	start_deep();
	vfio_power_arm(&device, true);
	expect_trace("");
	put_down();
	expect_trace("slot0 0; slot1 0; slot2 0; enter armed; ");
	vfio_power_arm(&device, false);
	expect_trace("exit; enter; ");
	cr_assert(not(vfio_power_woken(&device)), "our own exit is none");
	vfio_power_arm(&device, true);
	expect_trace("exit; enter armed; ");
	vfio_power_arm(&device, true);
	expect_trace("");
}

Test(vfio_device, what_wakes_it_is_told_once)
{
	start_deep();
	vfio_power_arm(&device, true);
	put_down();
	cr_assert(not(vfio_power_woken(&device)));
	comes_up();
	cr_assert(vfio_power_woken(&device));
	cr_assert(not(vfio_power_woken(&device)));
	/* Nobody took it: down again, to be woken again. */
	fake.trace[0] = '\0';
	vfio_power_again(&device);
	expect_trace("enter armed; ");
	comes_up();
	cr_assert(vfio_power_woken(&device));
}

Test(vfio_device, our_own_exit_wakes_nobody)
{
	start_deep();
	vfio_power_arm(&device, true);
	put_down();
	fake.loop_looks = true;
	pci_device_set_cold(&device.pci, false);
	cr_assert(not(vfio_power_woken(&device)));
	/* Nor is it sent down again, since the guest has it. */
	fake.trace[0] = '\0';
	vfio_power_again(&device);
	expect_trace("");
}

Test(vfio_device, a_host_that_refuses_low_power_is_no_end)
{
	start_deep();
	vfio_power_arm(&device, true);
	fake.refuses = true;
	put_down();
	cr_assert(eq(u32, get(PCI_VENDOR_ID, 4), ~0U), "D3cold for the guest");
	cr_assert(not(vfio_power_woken(&device)));
	pci_device_set_cold(&device.pci, false);
	cr_assert(eq(u32, get(PCI_VENDOR_ID, 4), 0x00ee1b36));
}

Test(vfio_device, a_kernel_without_low_power_makes_deep_shallow)
{
	fake.old = true;
	start_deep();
	cr_assert(eq(int, device.pm, PCI_DEPTH_SHALLOW));
	cr_assert(eq(int, device.wake_fd, -1));
	cr_assert(eq(u32, get(PM_CAP + PCI_PM_CTRL, 2),
		     PCI_PM_CTRL_NO_SOFT_RESET));
}

static void *hammer(void *arg)
{
	atomic_bool *stop = arg;
	uint32_t value = 0;

	while (!atomic_load(stop)) {
		bus_read(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
		bus_write(&mmio, LAYOUT_PCI_MEM64 + 0x2800, &value, 4);
		(void)get(PCI_COMMAND, 4);
	}
	return NULL;
}

static void toggle(unsigned int what)
{
	switch (what % 4) {
	case 0:
		set(PCI_COMMAND, what & 4 ? PCI_COMMAND_MEMORY : 0, 2);
		break;
	case 1:
		set(PM_CAP + PCI_PM_CTRL, what & 4 ? 3 : 0, 2);
		break;
	case 2:
		pci_device_set_cold(&device.pci, what & 4);
		break;
	default:
		vfio_power_arm(&device, what & 4);
	}
}

/* What a slot is when, the host's kernel above looks at. */
Test(vfio_device, no_memslot_is_ever_over_a_bar_that_is_gone)
{
	unsigned int seed = 1;
	atomic_bool stop = false;
	pthread_t thread;

	start_deep();
	cr_assert(zero(int, pthread_create(&thread, NULL, hammer, &stop)));
	for (int i = 0; i < 10000; i++) {
		toggle((unsigned int)rand_r(&seed) >> 4);
		fake.trace[0] = '\0';
	}
	atomic_store(&stop, true);
	cr_assert(zero(int, pthread_join(thread, NULL)));
}
