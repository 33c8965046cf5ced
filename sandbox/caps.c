/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kernels know fewer; PR_CAPBSET_READ says where they end. */
#define CAP_BITS 64

static int caps_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3,
						0 };

	return syscall(SYS_capget, &hdr, data) < 0 ? -errno : 0;
}

static int caps_set(const struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3,
						0 };

	return syscall(SYS_capset, &hdr, data) < 0 ? -errno : 0;
}

static int bounding_keep(uint64_t mask)
{
	struct __user_cap_data_struct data[2];
	int r = caps_get(data);

	if (r < 0)
		return r;
	if (!(data[0].effective & 1U << CAP_SETPCAP))
		return 0;
	for (unsigned int cap = 0; cap < CAP_BITS; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
			break;
		if (mask >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

int caps_drop_bounding(void)
{
	return bounding_keep(0);
}

int caps_limit(uint64_t mask)
{
	int r = bounding_keep(mask);

	return r < 0 ? r : caps_keep(mask);
}

int caps_drop_all(void)
{
	static const struct __user_cap_data_struct none[2];
	int r = caps_drop_bounding();

	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return caps_set(none);
}

int caps_keep(uint64_t mask)
{
	struct __user_cap_data_struct data[2];
	int r = caps_get(data);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(mask >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return caps_set(data);
}

int caps_gain_none(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}
