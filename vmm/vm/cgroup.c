/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static const char *remedy(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "; it and the cgroup that this process comes from have "
		       "to be delegated to this user";
	case EBUSY:
		return "; it has controllers for cgroups below it: give one "
		       "of those";
	case EOPNOTSUPP:
		return "; it is threaded or below one that is";
	default:
		return "";
	}
}

int cgroup_enter(const char *path, struct err *err)
{
	_cleanup_fd_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int procs = -1;
	struct statfs fs;

	if (dir < 0)
		return err_usage_errno(err, -errno, "--cgroup '%s'", path);
	if (fstatfs(dir, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return err_usage(err, -EINVAL,
				 "--cgroup '%s': not a directory of a cgroup "
				 "v2 file system (often /sys/fs/cgroup/...)",
				 path);
	procs = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	/* 0: the process that writes. */
	if (procs < 0 || write(procs, "0", 1) < 0) {
		int error = errno;

		return err_usage(err, -error,
				 "--cgroup '%s': cannot enter it: %s%s", path,
				 strerror(error), remedy(error));
	}
	return 0;
}
