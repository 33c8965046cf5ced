/* SPDX-License-Identifier: BSD-3-Clause */
/* The container and its groups (type 1): host.h. */
#define _GNU_SOURCE
#include "devices/vfio/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/machine/kvm.h"

void vfio_host_init(struct vfio_host *host, const char *sys, const char *dev)
{
	*host = (struct vfio_host){
		.sys = sys, .dev = dev, .container = -1, .kvm = -1
	};
}

void vfio_host_finish(struct vfio_host *host)
{
	fd_close(&host->kvm);
	while (host->nr_groups > 0)
		fd_close(&host->groups[--host->nr_groups].fd);
	fd_close(&host->container);
}

/* ----------------------------------------------------------- the container */

static int open_node(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return err_usage(err, -ENOENT,
				 "there is no %s; load the module vfio-pci "
				 "(modprobe vfio-pci)",
				 path);
	if (errno == EBUSY)
		return err_usage(err, -EBUSY,
				 "%s is in use by another program; end that "
				 "first",
				 path);
	if (errno == EACCES && stat(path, &st) == 0)
		return err_usage(err, -EACCES,
				 "%s belongs to uid %u, gid %u (mode %03o) and "
				 "you are uid %u; as root: chown %u %s",
				 path, st.st_uid, st.st_gid, st.st_mode & 0777,
				 geteuid(), geteuid(), path);
	return err_usage_errno(err, -errno, "%s", path);
}

static int open_container(struct vfio_host *host, struct err *err)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/vfio/vfio", host->dev);
	fd = open_node(path, err);
	if (fd < 0)
		return fd;
	host->container = fd;
	if (ioctl(fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0)
		return err_set(err, -EOPNOTSUPP,
			       "%s has no type 1 IOMMU; load the module "
			       "vfio_iommu_type1",
			       path);
	return 0;
}

/* With the first group the container gets its kind. */
static int set_iommu(struct vfio_host *host, struct err *err)
{
	if (ioctl(host->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0)
		return 0;
	if (errno == EPERM)
		return err_usage(
			err, -EPERM,
			"this host has no interrupt remapping, without "
			"which a device may send the host any "
			"interrupt; switch it on in the firmware");
	return err_usage_errno(err, -errno, "VFIO: set the IOMMU's type");
}

static int check_viable(int fd, const char *path, struct err *err)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return err_set_errno(err, -errno, "%s", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return err_usage(err, -EBUSY,
				 "%s: the host uses another device of this "
				 "group; bind all of them to vfio-pci",
				 path);
	return 0;
}

static int join(struct vfio_host *host, unsigned int number, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	char path[PATH_MAX];
	int r;

	if (host->nr_groups == VFIO_MAX_GROUPS)
		return err_usage(err, -ENOSPC, "at most %u IOMMU groups",
				 VFIO_MAX_GROUPS);
	(void)snprintf(path, sizeof(path), "%s/vfio/%u", host->dev, number);
	fd = r = open_node(path, err);
	if (r >= 0)
		r = check_viable(fd, path, err);
	if (r < 0)
		return r;
	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &host->container) < 0)
		return err_usage_errno(err, -errno, "%s: to the container",
				       path);
	if (host->nr_groups == 0)
		r = set_iommu(host, err);
	host->groups[host->nr_groups].number = number;
	host->groups[host->nr_groups++].fd = TAKE_FD(fd);
	return r;
}

static int group_fd(struct vfio_host *host, unsigned int number)
{
	for (unsigned int i = 0; i < host->nr_groups; i++) {
		if (host->groups[i].number == number)
			return host->groups[i].fd;
	}
	return -1;
}

int vfio_host_open(struct vfio_host *host, const struct vfio_place *place,
		   struct err *err)
{
	int r = 0, fd;

	if (host->container < 0)
		r = open_container(host, err);
	if (r == 0 && group_fd(host, place->group) < 0)
		r = join(host, place->group, err);
	if (r < 0)
		return r;
	fd = ioctl(group_fd(host, place->group), VFIO_GROUP_GET_DEVICE_FD,
		   place->bdf);
	if (fd < 0)
		return err_usage_errno(err, -errno, "VFIO: open it");
	return fd;
}

/* ------------------------------------------------------------------ memory */

/*
 * The IOMMU's word on which addresses it translates. Return: 0, also if it has
 * nothing to say.
 */
static int check_iova(const struct vfio_info_cap_header *head,
		      const struct gmem_region *reg, struct err *err)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap =
		(const void *)head;

	for (unsigned int i = 0; i < cap->nr_iovas; i++) {
		if (reg->gpa >= cap->iova_ranges[i].start &&
		    reg->gpa + reg->size - 1 <= cap->iova_ranges[i].end)
			return 0;
	}
	return err_usage(err, -ERANGE,
			 "--vfio: the host's IOMMU cannot map guest memory "
			 "from %#llx to %#llx; lower --mem",
			 (unsigned long long)reg->gpa,
			 (unsigned long long)(reg->gpa + reg->size - 1));
}

static int check_iovas(int container, const struct gmem *gm, struct err *err)
{
	union {
		struct vfio_iommu_type1_info info;
		uint8_t bytes[4096];
	} u = { .info.argsz = sizeof(u) };
	uint32_t at;
	int r = 0;

	if (ioctl(container, VFIO_IOMMU_GET_INFO, &u.info) < 0)
		return err_set_errno(err, -errno, "VFIO: IOMMU");
	if (!(u.info.flags & VFIO_IOMMU_INFO_CAPS))
		return 0;
	for (at = u.info.cap_offset; at;) {
		const struct vfio_info_cap_header *head =
			(const void *)(u.bytes + at);

		if (at > sizeof(u) - sizeof(*head))
			return 0;
		for (unsigned int i = 0; i < gm->nr && r == 0; i++) {
			if (head->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
				r = check_iova(head, &gm->regions[i], err);
		}
		at = head->next;
	}
	return r;
}

static int pin_error(const struct gmem *gm, int r, struct err *err)
{
	uint64_t bytes = 0;
	struct rlimit limit;

	for (unsigned int i = 0; i < gm->nr; i++)
		bytes += gm->regions[i].size;
	if (r != -ENOMEM || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
	    limit.rlim_cur >= bytes)
		return err_set_errno(err, r, "--vfio: cannot pin guest memory");
	return err_usage(
		err, r,
		"--vfio: the guest's %llu MiB must be locked in "
		"memory, and your limit is %llu KiB; raise it to at "
		"least %llu KiB (ulimit -l, LimitMEMLOCK= of a systemd "
		"unit, memlock in /etc/security/limits.conf)",
		(unsigned long long)bytes >> 20,
		(unsigned long long)limit.rlim_cur >> 10,
		(unsigned long long)bytes >> 10);
}

int vfio_host_map(struct vfio_host *host, const struct gmem *gm,
		  struct err *err)
{
	int r = check_iovas(host->container, gm, err);

	for (unsigned int i = 0; i < gm->nr && r == 0; i++) {
		const struct gmem_region *reg = &gm->regions[i];
		const struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof(map),
			.flags = VFIO_DMA_MAP_FLAG_READ |
				 VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uint64_t)(uintptr_t)reg->hva,
			.iova = reg->gpa,
			.size = reg->size,
		};

		if (ioctl(host->container, VFIO_IOMMU_MAP_DMA, &map) < 0)
			r = pin_error(gm, -errno, err);
	}
	return r;
}

int vfio_host_tell_kvm(struct vfio_host *host, int vm_fd, struct err *err)
{
	int r = host->kvm = kvm_create_vfio(vm_fd);

	for (unsigned int i = 0; i < host->nr_groups && r >= 0; i++)
		r = kvm_vfio_add_group(host->kvm, host->groups[i].fd);
	return r < 0 ? err_set_errno(err, r, "KVM: VFIO's groups") : 0;
}
