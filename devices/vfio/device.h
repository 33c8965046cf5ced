/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device of the host in the guest's bus, by vfio-pci. The guest reaches
 * its BARs without an exit, but for the pages of the MSI-X table; its
 * interrupts reach the guest by irqfds. Made on the main thread before the jail
 * closes; then its operations run on vCPU threads, see devices/pci/pci.h.
 *
 * While the device is in D3hot or COMMAND.MEM is clear, the kernel takes the
 * BARs out of our mappings, and a guest's access through a memslot would end
 * KVM_RUN by EFAULT. So a memslot is there only while the core decodes the BAR.
 */
#ifndef TORPOR_DEVICES_VFIO_DEVICE_H
#define TORPOR_DEVICES_VFIO_DEVICE_H

#include <stdatomic.h>

#include "arch/x86_64/irqchip.h"
#include "devices/pci/pci.h"
#include "devices/vfio/host.h"

#define VFIO_MAX_PIECES 6U /* of a BAR that are mapped; the rest traps */
/* Memslots of a device. */
#define VFIO_MEMSLOTS (PCI_NR_BARS * VFIO_MAX_PIECES)

struct vfio_piece {
	uint64_t offset, bytes; /* in the BAR, whole pages */
	void *hva;
};

struct vfio_bar {
	uint64_t file_offset;
	struct vfio_piece pieces[VFIO_MAX_PIECES];
	unsigned int nr_pieces;
};

struct vfio_device {
	struct pci_device pci;
	char bdf[VFIO_BDF_BYTES];
	int fd;
	int vm_fd;		 /* borrowed */
	struct irqchip *irqchip; /* borrowed */
	uint32_t first_memslot;	 /* of VFIO_MEMSLOTS */
	uint64_t config_offset;
	struct vfio_bar bars[PCI_NR_BARS];
	uint32_t first_gsi;
	int irq_fds[PCI_MAX_VECTORS]; /* eventfds; -1 beyond those it has */
	bool has_irqfd[PCI_MAX_VECTORS];
	/* Eventfds: an error that ended it; the host wants it back. -1: none.
	 */
	int error_fd, request_fd;
	enum pci_depth pm;
	bool armed; /* _DSW: it shall wake the guest; under the lock */
	/* The host has been asked for low power. Any thread reads it. */
	atomic_bool low;
	int wake_fd; /* eventfd: it has left low power; -1 unless deep */
};

struct vfio_device_params {
	int fd; /* of vfio_host_open(), owned from here on */
	const char *bdf;
	int vm_fd;
	struct irqchip *irqchip;
	uint32_t first_memslot;
	enum pci_depth pm;
};

/*
 * @dev: zeroed. Return: 0, or -errno with @err. Either way
 * vfio_device_finish() follows.
 */
int vfio_device_init(struct vfio_device *dev,
		     const struct vfio_device_params *params,
		     struct err *err) must_check;
/* Gives it back to the host; no vCPU runs. */
void vfio_device_finish(struct vfio_device *dev);

/* --- setup.c: what there is, found by the device's registers --- */
int vfio_device_setup(struct vfio_device *dev, struct err *err) must_check;
/* --- power.c --- */
/* Asks the host what it can: dev->pm may be less afterwards. 0 or -errno. */
int vfio_power_init(struct vfio_device *dev) must_check;
/* Under the lock. May take as long as the host needs, as the next two. */
void vfio_power_enter(struct vfio_device *dev);
void vfio_power_leave(struct vfio_device *dev);
/* _DSW; a vCPU's thread. */
void vfio_power_arm(struct vfio_device *dev, bool armed);
/* A wake-up that nobody took: down again. A thread that may wait. */
void vfio_power_again(struct vfio_device *dev);
/* Takes the signal of dev->wake_fd. Return: the device asks for the guest. */
bool vfio_power_woken(struct vfio_device *dev);
/* --- irq.c --- */
int vfio_irq_init(struct vfio_device *dev, struct err *err) must_check;
void vfio_irq_finish(struct vfio_device *dev);
void vfio_irq_enable(struct pci_device *pci, bool on);
void vfio_irq_connect(struct pci_device *pci, unsigned int vector,
		      const struct pci_msi *msi);
bool vfio_irq_pending(struct pci_device *pci, unsigned int vector);

#endif
