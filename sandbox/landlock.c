/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/* Rights by the version of the interface that has them first. */
#define FS_V1	 ((1ULL << 13) - 1) /* execute ... make symlinks */
#define FS_V2	 (1ULL << 13)	    /* link or rename to another directory */
#define FS_V3	 (1ULL << 14)	    /* truncate */
#define FS_V5	 (1ULL << 15)	    /* ioctl of a device */
#define NET_V4	 3ULL		    /* bind and connect TCP */
#define SCOPE_V6 1ULL		    /* abstract UNIX sockets */

/* That of the newest of them, of which older kernels take the beginning. */
struct ruleset {
	uint64_t fs, net, scoped;
};

static int interface_version(void)
{
	int r = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
			     LANDLOCK_CREATE_RULESET_VERSION);

	if (r < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return r;
}

static uint64_t fs_rights(int version)
{
	uint64_t fs = FS_V1;

	if (version >= 2)
		fs |= FS_V2;
	if (version >= 3)
		fs |= FS_V3;
	return version >= 5 ? fs | FS_V5 : fs;
}

static int ruleset_make(int version)
{
	struct ruleset set = { .fs = fs_rights(version) };
	size_t size = offsetof(struct ruleset, net);
	int fd;

	if (version >= 4) {
		set.net = NET_V4;
		size = offsetof(struct ruleset, scoped);
	}
	if (version >= 6) {
		set.scoped = SCOPE_V6;
		size = sizeof(set);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	return fd < 0 ? -errno : fd;
}

static uint64_t rights_of(const struct landlock_path *path, int version)
{
	uint64_t rights = 0;
	struct stat st;

	if (path->may & LANDLOCK_MAY_ALL)
		return fs_rights(version);
	if (path->may & LANDLOCK_MAY_READ)
		rights |= LANDLOCK_ACCESS_FS_READ_FILE;
	if (path->may & LANDLOCK_MAY_WRITE)
		rights |= LANDLOCK_ACCESS_FS_WRITE_FILE;
	if (path->may & LANDLOCK_MAY_REMOVE)
		rights |= LANDLOCK_ACCESS_FS_REMOVE_FILE;
	/* Who is given a disk asks for its size. */
	if (version >= 5 && fstat(path->fd, &st) == 0 && S_ISBLK(st.st_mode))
		rights |= FS_V5;
	return rights;
}

/*
 * The first version has no right to link or rename to another directory, and
 * always refuses it: what may be done below a directory would not be all.
 */
static bool can_grant(const struct landlock_path *paths, unsigned int nr,
		      int version)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (paths[i].may & LANDLOCK_MAY_ALL && version < 2)
			return false;
	}
	return true;
}

static int add_path(int ruleset, const struct landlock_path *path, int version)
{
	const struct landlock_path_beneath_attr attr = {
		.allowed_access = rights_of(path, version),
		.parent_fd = path->fd,
	};

	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		    &attr, 0) == 0)
		return 0;
	/* A memfd: it has no name, and is not limited. */
	return errno == EBADFD ? 0 : -errno;
}

int landlock_limit(const struct landlock_path *paths, unsigned int nr)
{
	int version = interface_version();
	_cleanup_fd_ int ruleset =
		version < 0 ? version : ruleset_make(version);

	if (ruleset < 0)
		return ruleset;
	if (!can_grant(paths, nr, version))
		return -EOPNOTSUPP;
	for (unsigned int i = 0; i < nr; i++) {
		int r = add_path(ruleset, &paths[i], version);

		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}
