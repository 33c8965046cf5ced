/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: an eventfd a vector, which the host's handler signals and KVM
 * turns into the vector's message. A vector that is masked has no irqfd; what
 * came is in its eventfd, and KVM looks there when it gets one again.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "devices/vfio/device.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

static struct vfio_device *of_pci(struct pci_device *pci)
{
	return container_of(pci, struct vfio_device, pci);
}

/* @fds: @nr eventfds for the interrupts from 0 on; none: all are switched off.
 */
static int set_irqs(struct vfio_device *dev, uint32_t index, const int *fds,
		    uint32_t nr)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) +
			      PCI_MAX_VECTORS * sizeof(int)];
	} u = { .set = { .argsz = (uint32_t)(sizeof(u.set) + nr * sizeof(*fds)),
			 .flags = VFIO_IRQ_SET_ACTION_TRIGGER |
				  (nr ? VFIO_IRQ_SET_DATA_EVENTFD
				      : VFIO_IRQ_SET_DATA_NONE),
			 .index = index,
			 .count = nr } };
	int r;

	if (nr)
		memcpy(u.bytes + sizeof(u.set), fds, nr * sizeof(*fds));
	r = ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &u.set);
	if (r < 0)
		return -errno;
	/* The host has but so many vectors left. */
	return r > 0 ? -ENOSPC : 0;
}

void vfio_irq_enable(struct pci_device *pci, bool on)
{
	struct vfio_device *dev = of_pci(pci);
	static struct log_limit limit;
	/* All at once: before Linux 6.5 none can be added later. */
	int r = set_irqs(dev, VFIO_PCI_MSIX_IRQ_INDEX, dev->irq_fds,
			 on ? pci->msix.nr : 0);

	if (r < 0)
		log_limited(&limit, "%s: MSI-X not switched %s: %s", dev->bdf,
			    on ? "on" : "off", strerror(-r));
}

void vfio_irq_connect(struct pci_device *pci, unsigned int vector,
		      const struct pci_msi *msi)
{
	struct vfio_device *dev = of_pci(pci);
	uint32_t gsi = dev->first_gsi + vector;
	int fd = dev->irq_fds[vector], r = 0;
	static struct log_limit limit;

	/* In this order: an irqfd without a route loses what it is given. */
	if (msi)
		irqchip_set_msi(dev->irqchip, gsi, msi->address, msi->data);
	if (msi && !dev->has_irqfd[vector])
		r = irqchip_add_irqfd(dev->irqchip, fd, gsi);
	else if (!msi && dev->has_irqfd[vector])
		r = irqchip_remove_irqfd(dev->irqchip, fd, gsi);
	if (r < 0)
		log_limited(&limit, "%s: interrupt %u: %s", dev->bdf, vector,
			    strerror(-r));
	else
		dev->has_irqfd[vector] = msi != NULL;
}

bool vfio_irq_pending(struct pci_device *pci, unsigned int vector)
{
	struct vfio_device *dev = of_pci(pci);
	struct pollfd pfd = { .fd = dev->irq_fds[vector], .events = POLLIN };

	/* KVM takes from one with an irqfd what comes. */
	return !dev->has_irqfd[vector] && poll(&pfd, 1, 0) > 0;
}

/* An eventfd for a notice of the host's kernel; -1 if there is no such. */
static int open_notice(struct vfio_device *dev, uint32_t index, int *ret_fd)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 ||
	    info.count == 0)
		return 0;
	*ret_fd = fd_event_create();
	return *ret_fd < 0 ? *ret_fd : set_irqs(dev, index, ret_fd, 1);
}

int vfio_irq_init(struct vfio_device *dev, struct err *err)
{
	unsigned int nr = dev->pci.msix.nr;
	int r = irqchip_add_msis(dev->irqchip, nr);

	if (r < 0)
		return err_set_errno(err, r, "routes of its interrupts");
	dev->first_gsi = (uint32_t)r;
	for (unsigned int i = 0; i < nr && r >= 0; i++)
		r = dev->irq_fds[i] = fd_event_create();
	if (r >= 0)
		r = open_notice(dev, VFIO_PCI_ERR_IRQ_INDEX, &dev->error_fd);
	if (r >= 0)
		r = open_notice(dev, VFIO_PCI_REQ_IRQ_INDEX, &dev->request_fd);
	return r < 0 ? err_set_errno(err, r, "its interrupts") : 0;
}

void vfio_irq_finish(struct vfio_device *dev)
{
	for (unsigned int i = 0; i < PCI_MAX_VECTORS; i++)
		fd_close(&dev->irq_fds[i]);
	fd_close(&dev->error_fd);
	fd_close(&dev->request_fd);
}
