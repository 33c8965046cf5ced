/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the host has of VFIO (Documentation/driver-api/vfio.rst): the container
 * with the guest's memory, the groups in it, their devices' fds. All that knows
 * of groups and containers is behind these functions; what iommufd has in their
 * place would be too. Main thread, before it is jailed: nothing is opened
 * later.
 */
#ifndef TORPOR_DEVICES_VFIO_HOST_H
#define TORPOR_DEVICES_VFIO_HOST_H

#include "vmm/base/err.h"
#include "vmm/base/gmem.h"
#include "vmm/base/util.h"

#define VFIO_MAX_GROUPS 8U
#define VFIO_BDF_BYTES	16

struct vfio_host {
	const char *sys, *dev; /* borrowed: "/sys", "/dev" */
	int container;
	int kvm; /* KVM's device for groups */
	struct {
		unsigned int number;
		int fd;
	} groups[VFIO_MAX_GROUPS];
	unsigned int nr_groups;
};

/* A device of the host. */
struct vfio_place {
	char bdf[VFIO_BDF_BYTES]; /* 0000:01:00.0 */
	unsigned int group;
};

void vfio_host_init(struct vfio_host *host, const char *sys, const char *dev);
void vfio_host_finish(struct vfio_host *host);
/**
 * vfio_host_find() - the device that the user means, if it may be had
 * @name: its address, or its directory in sysfs
 *
 * Return: 0; -errno with @err that names what is in the way and the remedy.
 */
int vfio_host_find(const struct vfio_host *host, const char *name,
		   struct vfio_place *ret, struct err *err) must_check;
/*
 * Takes the device's group and opens it, which resets it. Return: its fd, or
 * -errno with @err.
 */
int vfio_host_open(struct vfio_host *host, const struct vfio_place *place,
		   struct err *err) must_check;
/*
 * The devices may access guest memory, all of which is allocated and pinned for
 * it. Return: 0, or -errno with @err.
 */
int vfio_host_map(struct vfio_host *host, const struct gmem *gm,
		  struct err *err) must_check;
/* KVM has to know: of non-coherent DMA, for one. 0, or -errno with @err. */
int vfio_host_tell_kvm(struct vfio_host *host, int vm_fd,
		       struct err *err) must_check;

#endif
