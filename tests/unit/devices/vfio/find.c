/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/vfio/find.c and host.c up to the kernel: a sysfs of files and links.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/vfio/host.h"

static char root[64], sys[80], dev[80];
static struct vfio_host host;
static struct vfio_place place;
static struct err err;

static const char *path(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

static const char *path(const char *fmt, ...)
{
	static char text[4][PATH_MAX];
	static unsigned int next;
	char *to = text[next++ % 4];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(to, PATH_MAX, fmt, ap);
	va_end(ap);
	return to;
}

/* With all directories on the way. */
static void make_dir(const char *name)
{
	char part[PATH_MAX];

	for (const char *p = strchr(name + 1, '/'); p; p = strchr(p + 1, '/')) {
		(void)snprintf(part, sizeof(part), "%.*s", (int)(p - name),
			       name);
		(void)mkdir(part, 0755);
	}
	(void)mkdir(name, 0755);
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "we");

	cr_assert(ne(ptr, file, NULL));
	(void)fputs(text, file);
	(void)fclose(file);
}

/* @driver: NULL for none; @group: < 0 for none. */
static void add_device(const char *bdf, const char *class, const char *driver,
		       int group)
{
	char dir[PATH_MAX];

	strcpy(dir, path("%s/bus/pci/devices/%s", sys, bdf));
	make_dir(dir);
	write_file(path("%s/class", dir), class);
	if (driver)
		cr_assert(zero(int, symlink(path("../../drivers/%s", driver),
					    path("%s/driver", dir))));
	if (group < 0)
		return;
	cr_assert(zero(int,
		       symlink(path("../../../kernel/iommu_groups/%d", group),
			       path("%s/iommu_group", dir))));
	make_dir(path("%s/kernel/iommu_groups/%d/devices/%s", sys, group, bdf));
}

static void setup(void)
{
	strcpy(root, "/tmp/torpor-vfio-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(root), NULL));
	(void)snprintf(sys, sizeof(sys), "%s/sys", root);
	(void)snprintf(dev, sizeof(dev), "%s/dev", root);
	make_dir(dev);
	vfio_host_init(&host, sys, dev);
	add_device("0000:00:1c.0", "0x060400\n", "pcieport", 7);
	add_device("0000:01:00.0", "0x010802\n", "vfio-pci", 7);
	add_device("0000:02:00.0", "0x020000\n", "e1000e", 8);
	add_device("0000:03:00.0", "0x020000\n", "vfio-pci", 9);
	add_device("0000:03:00.1", "0x040300\n", "snd_hda_intel", 9);
	add_device("0000:04:00.0", "0x020000\n", NULL, 10);
	add_device("0000:05:00.0", "0x020000\n", "vfio-pci", -1);
	add_device("0001:05:00.7", "0x020000\n", "mlx5_vfio_pci", 11);
}

static int unlink_one(const char *name, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	return remove(name);
}

static void teardown(void)
{
	vfio_host_finish(&host);
	(void)nftw(root, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(vfio_find, .init = setup, .fini = teardown, .timeout = 120);

static bool finds(const char *name, const char *bdf, unsigned int group)
{
	return vfio_host_find(&host, name, &place, &err) == 0 &&
	       !strcmp(place.bdf, bdf) && place.group == group;
}

static void refuses(const char *name, const char *why)
{
	cr_assert(lt(int, vfio_host_find(&host, name, &place, &err), 0), "%s",
		  name);
	cr_assert(ne(ptr, strstr(err.msg, why), NULL), "%s", err.msg);
	cr_assert(err.usage);
}

Test(vfio_find, a_device_by_its_address_or_directory)
{
	cr_assert(finds("0000:01:00.0", "0000:01:00.0", 7), "%s", err.msg);
	cr_assert(finds("01:00.0", "0000:01:00.0", 7));
	cr_assert(finds("1:5:0.7", "0001:05:00.7", 11));
	cr_assert(finds(path("%s/bus/pci/devices/0000:01:00.0", sys),
			"0000:01:00.0", 7));
	cr_assert(finds(path("%s/bus/pci/devices/0000:01:00.0/", sys),
			"0000:01:00.0", 7));
}

Test(vfio_find, what_is_no_address_is_refused)
{
	static const char *const bad[] = {
		"",	   "nvme0",    "01.0",		"01:20.0",
		"01:00.8", "01:00.0x", "0000:01:00.00", ":01:00.0"
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuses(bad[i], "not a PCI device");
	refuses("0000:06:00.0", "no such PCI device");
	refuses(path("%s/bus/pci/devices/0000:06:00.0", sys), "no such dir");
	refuses(sys, "not a PCI device");
}

Test(vfio_find, a_device_that_the_host_uses_is_refused)
{
	refuses("02:00.0", "driver e1000e");
	refuses("04:00.0", "has no driver");
	refuses("05:00.0", "no IOMMU");
}

Test(vfio_find, a_group_that_the_host_uses_is_refused)
{
	refuses("03:00.0", "group 9");
	cr_assert(ne(ptr, strstr(err.msg, "0000:03:00.1"), NULL));
	cr_assert(ne(ptr, strstr(err.msg, "snd_hda_intel"), NULL));
}

Test(vfio_find, without_the_module_there_is_no_container)
{
	cr_assert(finds("01:00.0", "0000:01:00.0", 7));
	cr_assert(eq(int, vfio_host_open(&host, &place, &err), -ENOENT));
	cr_assert(ne(ptr, strstr(err.msg, "modprobe vfio-pci"), NULL));
	cr_assert(ne(ptr, strstr(err.msg, "dev/vfio/vfio"), NULL));
}

Test(vfio_find, what_is_no_container_is_refused)
{
	make_dir(path("%s/vfio", dev));
	write_file(path("%s/vfio/vfio", dev), "");
	cr_assert(finds("01:00.0", "0000:01:00.0", 7));
	cr_assert(eq(int, vfio_host_open(&host, &place, &err), -EOPNOTSUPP));
	cr_assert(ne(ptr, strstr(err.msg, "vfio_iommu_type1"), NULL));
}
