/* SPDX-License-Identifier: BSD-3-Clause */
/* A device of the host and what shares its IOMMU group, by sysfs: host.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/vfio/host.h"
#include "vmm/base/fd.h"

#define BRIDGE_CLASS "0x0604" /* PCI to PCI */

#define HOW_TO_BIND "bind it to vfio-pci as docs/pci-vfio.md shows"

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* Up to @max hexadecimal digits and @end behind them. */
static bool take_hex(const char **p, size_t max, char end, unsigned long *ret)
{
	size_t n = strspn(*p, "0123456789abcdefABCDEF");

	if (n == 0 || n > max || (*p)[n] != end)
		return false;
	*ret = strtoul(*p, NULL, 16);
	*p += n + (end != '\0');
	return true;
}

/* "0000:01:00.0" or "01:00.0". */
static bool parse_bdf(const char *p, char ret[VFIO_BDF_BYTES])
{
	const char *colon = strchr(p, ':');
	unsigned long domain = 0, bus, dev, fn;

	if (colon && strchr(colon + 1, ':') && !take_hex(&p, 4, ':', &domain))
		return false;
	if (!take_hex(&p, 2, ':', &bus) || !take_hex(&p, 2, '.', &dev) ||
	    !take_hex(&p, 1, '\0', &fn) || dev > 31 || fn > 7)
		return false;
	(void)snprintf(ret, VFIO_BDF_BYTES, "%04x:%02x:%02x.%x",
		       (unsigned int)(domain & 0xffff),
		       (unsigned int)(bus & 0xff), (unsigned int)(dev & 0x1f),
		       (unsigned int)(fn & 7));
	return true;
}

/* The last word of where a link of device @bdf leads to. */
static bool link_word(const struct vfio_host *host, const char *bdf,
		      const char *link, char ret[NAME_MAX + 1])
{
	char path[PATH_MAX], to[PATH_MAX];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s",
		       host->sys, bdf, link);
	n = readlink(path, to, sizeof(to) - 1);
	if (n < 0)
		return false;
	to[n] = '\0';
	(void)snprintf(ret, NAME_MAX + 1, "%s", basename(to));
	return true;
}

static bool is_bridge(const struct vfio_host *host, const char *bdf)
{
	char path[PATH_MAX], class[16] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/class",
		       host->sys, bdf);
	file = fopen(path, "re");
	if (!file)
		return false;
	(void)!fgets(class, sizeof(class), file);
	(void)fclose(file);
	return !strncmp(class, BRIDGE_CLASS, strlen(BRIDGE_CLASS));
}

/* As the kernel judges: vfio_dev_driver_allowed(). */
static bool may_share(const struct vfio_host *host, const char *bdf,
		      char driver[NAME_MAX + 1])
{
	return !link_word(host, bdf, "driver", driver) ||
	       strstr(driver, "vfio") || !strcmp(driver, "pci-stub") ||
	       is_bridge(host, bdf);
}

static int check_group(const struct vfio_host *host,
		       const struct vfio_place *place, struct err *err)
{
	_cleanup_(close_dir) DIR *dir = NULL;
	char path[PATH_MAX], driver[NAME_MAX + 1];
	const struct dirent *entry;

	(void)snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices",
		       host->sys, place->group);
	dir = opendir(path);
	if (!dir)
		return err_usage_errno(err, -errno, "%s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    may_share(host, entry->d_name, driver))
			continue;
		return err_usage(
			err, -EBUSY,
			"its IOMMU group %u (%s/vfio/%u) has %s too, "
			"which the host uses (driver %.32s); bind that "
			"to vfio-pci as well, or give another device",
			place->group, host->dev, place->group, entry->d_name,
			driver);
	}
	return 0;
}

static int check_driver(const struct vfio_host *host,
			const struct vfio_place *place, struct err *err)
{
	char driver[NAME_MAX + 1];

	if (!link_word(host, place->bdf, "driver", driver))
		return err_usage(err, -EINVAL, "has no driver; " HOW_TO_BIND);
	if (!strstr(driver, "vfio"))
		return err_usage(err, -EINVAL,
				 "is the host's (driver %.32s); " HOW_TO_BIND,
				 driver);
	return 0;
}

/* @name, which is a path or an address, to an address. */
static int to_bdf(const struct vfio_host *host, const char *name,
		  char ret[VFIO_BDF_BYTES], struct err *err)
{
	char real[PATH_MAX], path[PATH_MAX];

	if (strchr(name, '/')) {
		if (!realpath(name, real))
			return err_usage_errno(err, -errno,
					       "no such directory of sysfs");
		name = basename(real);
	}
	if (!parse_bdf(name, ret))
		return err_usage(
			err, -EINVAL,
			"not a PCI device; give an address, as lspci "
			"-D prints it (0000:01:00.0), or its directory "
			"in /sys/bus/pci/devices");
	(void)snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", host->sys,
		       ret);
	if (access(path, F_OK) < 0)
		return err_usage(err, -ENODEV,
				 "this host has no such PCI device; 'lspci -D' "
				 "lists what it has");
	return 0;
}

int vfio_host_find(const struct vfio_host *host, const char *name,
		   struct vfio_place *ret, struct err *err)
{
	char group[NAME_MAX + 1], *end;
	int r = to_bdf(host, name, ret->bdf, err);

	if (r == 0)
		r = check_driver(host, ret, err);
	if (r < 0)
		return r;
	if (!link_word(host, ret->bdf, "iommu_group", group))
		return err_usage(err, -EINVAL,
				 "is behind no IOMMU; switch it on in the "
				 "firmware (VT-d, AMD-Vi) and, on Intel, by "
				 "intel_iommu=on on the host's command line");
	ret->group = (unsigned int)strtoul(group, &end, 10);
	return *end ? err_set(err, -EINVAL, "IOMMU group '%.32s'?", group)
		    : check_group(host, ret, err);
}
