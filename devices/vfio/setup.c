/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device of the host has, told to the core: BARs and where they may be
 * mapped, the capabilities that the core answers. vfio-pci virtualises the rest
 * of config space. Of a capability that needs what we have not, the guest sees
 * nothing: the list goes past it.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/vfio/device.h"
#include "vmm/base/fd.h"

#define PAGE_BYTES   4096ULL
#define MAX_CAPS     48U
#define REGION_BYTES 1024U /* of a region's description, with capabilities */

struct range {
	uint64_t begin, end;
};

/* ------------------------------------------------------------------- BARs */

static uint64_t page_down(uint64_t n)
{
	return n & ~(PAGE_BYTES - 1);
}

static uint64_t page_up(uint64_t n)
{
	return page_down(n + PAGE_BYTES - 1);
}

static int map_piece(struct vfio_device *dev, struct vfio_bar *bar,
		     struct range range)
{
	struct vfio_piece *piece = &bar->pieces[bar->nr_pieces];
	void *hva;

	if (range.begin >= range.end || bar->nr_pieces == VFIO_MAX_PIECES)
		return 0;
	hva = mmap(NULL, range.end - range.begin, PROT_READ | PROT_WRITE,
		   MAP_SHARED, dev->fd,
		   (off_t)(bar->file_offset + range.begin));
	if (hva == MAP_FAILED)
		return -errno;
	*piece = (struct vfio_piece){ .offset = range.begin,
				      .bytes = range.end - range.begin,
				      .hva = hva };
	bar->nr_pieces++;
	return 0;
}

/* Maps @range without the pages of @holes, which ascend. */
static int map_around(struct vfio_device *dev, struct vfio_bar *bar,
		      struct range range, const struct range *holes,
		      unsigned int nr)
{
	int r = 0;

	range.begin = page_up(range.begin);
	range.end = page_down(range.end);
	for (unsigned int i = 0; i < nr && r == 0; i++) {
		if (holes[i].end <= range.begin || holes[i].begin >= range.end)
			continue;
		r = map_piece(dev, bar,
			      (struct range){ range.begin, holes[i].begin });
		range.begin = holes[i].end;
	}
	return r < 0 ? r : map_piece(dev, bar, range);
}

/* The pages of the MSI-X table and of the PBA, ascending. */
static unsigned int msix_pages(const struct vfio_device *dev, unsigned int bar,
			       struct range holes[2])
{
	const struct pci_msix *msix = &dev->pci.msix;
	const struct range table = { page_down(msix->table),
				     page_up(msix->table +
					     pci_msix_table_bytes(&dev->pci)) };
	const struct range pba = { page_down(msix->pba),
				   page_up(msix->pba +
					   pci_msix_pba_bytes(&dev->pci)) };

	if (bar != msix->bar)
		return 0;
	holes[0] = table.begin < pba.begin ? table : pba;
	holes[1] = table.begin < pba.begin ? pba : table;
	return 2;
}

/* The list of what may be mapped, or NULL: all of the region. */
static const struct vfio_region_info_cap_sparse_mmap *
sparse(const struct vfio_region_info *info)
{
	uint32_t at =
		info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;

	while (at && at <= REGION_BYTES - sizeof(struct vfio_info_cap_header)) {
		const struct vfio_info_cap_header *head =
			(const void *)((const uint8_t *)info + at);

		if (head->id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			return (const void *)head;
		at = head->next;
	}
	return NULL;
}

static int map_bar(struct vfio_device *dev, unsigned int i,
		   const struct vfio_region_info *info)
{
	const struct vfio_region_info_cap_sparse_mmap *cap = sparse(info);
	struct range holes[2];
	unsigned int nr = msix_pages(dev, i, holes);
	int r = 0;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	if (!cap)
		return map_around(dev, &dev->bars[i],
				  (struct range){ 0, info->size }, holes, nr);
	for (uint32_t k = 0; k < cap->nr_areas && r == 0; k++) {
		const struct vfio_region_sparse_mmap_area *area =
			&cap->areas[k];

		r = map_around(dev, &dev->bars[i],
			       (struct range){ area->offset,
					       area->offset + area->size },
			       holes, nr);
	}
	return r;
}

/* A buffer for a region's description. */
union region {
	struct vfio_region_info info;
	uint8_t bytes[REGION_BYTES];
};

static int get_region(struct vfio_device *dev, uint32_t index,
		      union region *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->info.argsz = sizeof(*ret);
	ret->info.index = index;
	return ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &ret->info) < 0
		       ? -errno
		       : 0;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* Those in memory; the guest sees no BAR of ports. */
static int setup_bars(struct vfio_device *dev, const uint8_t *config)
{
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		uint32_t reg = get32(config + PCI_BASE_ADDRESS_0 + 4UL * i);
		bool is_64 = reg & PCI_BASE_ADDRESS_MEM_TYPE_64;
		union region region;
		int r = get_region(dev, i, &region);

		if (r < 0)
			return r;
		if (region.info.size < 16 || reg & PCI_BASE_ADDRESS_SPACE_IO)
			continue;
		dev->bars[i].file_offset = region.info.offset;
		pci_device_set_bar(&dev->pci, i, region.info.size, is_64,
				   reg & PCI_BASE_ADDRESS_MEM_PREFETCH);
		i += is_64;
	}
	return 0;
}

static int map_bars(struct vfio_device *dev)
{
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		union region region;
		int r;

		if (!dev->pci.bars[i].bytes)
			continue;
		r = get_region(dev, i, &region);
		if (r == 0)
			r = map_bar(dev, i, &region.info);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ----------------------------------------------------------- capabilities */

/* Their addresses need what the core answers, or a second kind of interrupt. */
static bool is_hidden(uint8_t id)
{
	return id == PCI_CAP_ID_MSI || id == PCI_CAP_ID_EA;
}

/* The register with the address of the next one, now @next. */
static void link_caps(struct vfio_device *dev, uint32_t reg, uint8_t next)
{
	pci_device_own(&dev->pci, reg, &next, NULL, 1);
}

static int setup_cap(struct vfio_device *dev, const uint8_t *config, uint8_t at)
{
	uint16_t word[2];

	memcpy(word, config + at + 2, sizeof(word));
	switch (config[at]) {
	case PCI_CAP_ID_PM:
		/* D3cold loses its state, whatever D3hot does. */
		if (dev->pm == PCI_DEPTH_DEEP)
			word[1] &= (uint16_t)~PCI_PM_CTRL_NO_SOFT_RESET;
		pci_device_set_pm(&dev->pci, at, word[0], word[1]);
		return 0;
	case PCI_CAP_ID_MSIX:
		return pci_device_set_msix(
			&dev->pci, at, (word[0] & PCI_MSIX_FLAGS_QSIZE) + 1U,
			get32(config + at + PCI_MSIX_TABLE),
			get32(config + at + PCI_MSIX_PBA));
	default:
		return 0;
	}
}

static int setup_caps(struct vfio_device *dev, const uint8_t *config)
{
	uint32_t link = PCI_CAPABILITY_LIST;
	uint8_t at = config[link] & 0xfc;
	int r = 0;

	if (!(config[PCI_STATUS] & PCI_STATUS_CAP_LIST))
		return 0;
	/* A list may be a ring. */
	for (unsigned int i = 0; i < MAX_CAPS && r == 0 && at >= 0x40 &&
				 at <= PCI_HEADER_BYTES - 12;
	     i++) {
		uint8_t next = config[at + PCI_CAP_LIST_NEXT] & 0xfc;

		if (is_hidden(config[at])) {
			link_caps(dev, link, next);
		} else {
			r = setup_cap(dev, config, at);
			link = (uint32_t)at + PCI_CAP_LIST_NEXT;
		}
		at = next;
	}
	return r;
}

/* --------------------------------------------------------------- the whole */

static int read_config(struct vfio_device *dev,
		       uint8_t config[PCI_HEADER_BYTES])
{
	union region region;
	int r = get_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &region);

	if (r < 0)
		return r;
	dev->config_offset = region.info.offset;
	return pread(dev->fd, config, PCI_HEADER_BYTES,
		     (off_t)dev->config_offset) == PCI_HEADER_BYTES
		       ? 0
		       : -EIO;
}

int vfio_device_setup(struct vfio_device *dev, struct err *err)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint8_t config[PCI_HEADER_BYTES];
	int r;

	if (ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &info) < 0)
		return err_set_errno(err, -errno, "VFIO: what it is");
	r = read_config(dev, config);
	if (r < 0)
		return err_set_errno(err, r, "VFIO: its registers");
	if ((config[PCI_HEADER_TYPE] & 0x7f) != PCI_HEADER_TYPE_NORMAL)
		return err_usage(err, -EINVAL,
				 "is a bridge; give a device behind it");
	r = setup_bars(dev, config);
	if (r == 0)
		r = setup_caps(dev, config);
	if (r == 0)
		r = map_bars(dev);
	if (r < 0)
		return err_set_errno(err, r, "VFIO: its BARs");
	if (!dev->pci.msix.cap)
		return err_usage(err, -EOPNOTSUPP,
				 "has no MSI-X, and torpor's guests have no "
				 "other interrupt of a PCI device");
	return 0;
}
