/* SPDX-License-Identifier: BSD-3-Clause */
/* The core's operations for a device of the host: device.h. */
#include "devices/vfio/device.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

static struct vfio_device *of_pci(struct pci_device *pci)
{
	return container_of(pci, struct vfio_device, pci);
}

/* What does not answer reads as ones and takes no writes. */
static void read_file(struct vfio_device *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	if (pread(dev->fd, data, len, (off_t)offset) != (ssize_t)len)
		memset(data, 0xff, len);
}

static void write_file(struct vfio_device *dev, uint64_t offset,
		       const void *data, uint32_t len)
{
	static struct log_limit limit;

	if (pwrite(dev->fd, data, len, (off_t)offset) != (ssize_t)len)
		log_limited(&limit, "%s: a write of %u bytes failed: %s",
			    dev->bdf, len, strerror(errno));
}

static uint32_t config_read(struct pci_device *pci, uint32_t reg, uint32_t len)
{
	struct vfio_device *dev = of_pci(pci);
	uint32_t value = 0;

	read_file(dev, dev->config_offset + reg, &value, len);
	return value;
}

static void config_write(struct pci_device *pci, uint32_t reg, uint32_t len,
			 uint32_t value)
{
	struct vfio_device *dev = of_pci(pci);

	write_file(dev, dev->config_offset + reg, &value, len);
}

static void bar_read(struct pci_device *pci, unsigned int bar, uint64_t offset,
		     void *data, uint32_t len)
{
	struct vfio_device *dev = of_pci(pci);

	read_file(dev, dev->bars[bar].file_offset + offset, data, len);
}

static void bar_write(struct pci_device *pci, unsigned int bar, uint64_t offset,
		      const void *data, uint32_t len)
{
	struct vfio_device *dev = of_pci(pci);

	write_file(dev, dev->bars[bar].file_offset + offset, data, len);
}

static void bar_decode(struct pci_device *pci, unsigned int i, bool on)
{
	struct vfio_device *dev = of_pci(pci);
	const struct vfio_bar *bar = &dev->bars[i];
	static struct log_limit limit;

	for (unsigned int k = 0; k < bar->nr_pieces; k++) {
		const struct vfio_piece *piece = &bar->pieces[k];
		const struct kvm_userspace_memory_region slot = {
			.slot = dev->first_memslot + i * VFIO_MAX_PIECES + k,
			.guest_phys_addr = pci->bars[i].gpa + piece->offset,
			.memory_size = on ? piece->bytes : 0,
			.userspace_addr = (uint64_t)(uintptr_t)piece->hva,
		};
		int r = kvm_set_memory(dev->vm_fd, &slot);

		/* Without it each access exits, and is right as well. */
		if (r < 0)
			log_limited(&limit, "%s: BAR %u not %s: %s", dev->bdf,
				    i, on ? "mapped" : "unmapped",
				    strerror(-r));
	}
}

static void command(struct pci_device *pci, uint16_t value)
{
	/* Nobody serves its pin. */
	config_write(pci, PCI_COMMAND, sizeof(value),
		     value | PCI_COMMAND_INTX_DISABLE);
}

static void power(struct pci_device *pci, enum pci_power state)
{
	uint32_t reg = (uint32_t)pci->pm_cap + PCI_PM_CTRL;
	uint32_t pmcsr;

	if (of_pci(pci)->pm == PCI_DEPTH_OFF)
		return;
	pmcsr = config_read(pci, reg, 2);
	config_write(pci, reg, 2,
		     (pmcsr & ~(uint32_t)PCI_PM_CTRL_STATE_MASK) | state);
}

static void cold_changed(struct pci_device *pci, bool cold)
{
	if (cold)
		vfio_power_enter(of_pci(pci));
	else
		vfio_power_leave(of_pci(pci));
}

static const struct pci_device_ops ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_decode = bar_decode,
	.command = command,
	.power = power,
	.cold = cold_changed,
	.msix_enable = vfio_irq_enable,
	.msix_connect = vfio_irq_connect,
	.msix_pending = vfio_irq_pending,
};

int vfio_device_init(struct vfio_device *dev,
		     const struct vfio_device_params *params, struct err *err)
{
	int r;

	dev->fd = params->fd;
	dev->vm_fd = params->vm_fd;
	dev->irqchip = params->irqchip;
	dev->first_memslot = params->first_memslot;
	(void)snprintf(dev->bdf, sizeof(dev->bdf), "%s", params->bdf);
	dev->pm = params->pm;
	dev->error_fd = dev->request_fd = dev->wake_fd = -1;
	for (unsigned int i = 0; i < PCI_MAX_VECTORS; i++)
		dev->irq_fds[i] = -1;
	pci_device_init(&dev->pci, dev->bdf, &ops);
	r = vfio_power_init(dev);
	if (r < 0)
		return err_set_errno(err, r, "its low power");
	r = vfio_device_setup(dev, err);
	if (r == 0)
		r = vfio_irq_init(dev, err);
	if (r == 0)
		command(&dev->pci, 0);
	return r;
}

void vfio_device_finish(struct vfio_device *dev)
{
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		struct vfio_bar *bar = &dev->bars[i];

		while (bar->nr_pieces > 0) {
			struct vfio_piece *piece =
				&bar->pieces[--bar->nr_pieces];

			(void)munmap(piece->hva, piece->bytes);
		}
	}
	fd_close(&dev->fd);
	fd_close(&dev->wake_fd);
	vfio_irq_finish(dev);
	pci_device_finish(&dev->pci);
}
