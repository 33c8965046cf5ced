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
#include <stdarg.h>
#include <stdio.h>
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

static int set_memory(const struct kvm_userspace_memory_region *slot)
{
	fake.slots[slot->slot] = slot->memory_size;
	fake.gpas[slot->slot] = slot->guest_phys_addr;
	note("slot%u %llx; ", slot->slot,
	     (unsigned long long)slot->memory_size);
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

static int init(void)
{
	const struct vfio_device_params params = { .fd = fake.file,
						   .bdf = "0000:01:00.0",
						   .vm_fd = -1,
						   .irqchip = &chip };

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
