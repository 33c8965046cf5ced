/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/shared_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/* As much as the kernel allows anyone by default (fs.nr_open). */
#define FILES_WANTED (1U << 20)

int shared_dir_open(const char *path, char ret_path[PATH_MAX], struct err *err)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char link[32];
	ssize_t n;

	if (fd < 0)
		return err_usage_errno(err, -errno, "shared directory '%s'",
				       path);
	/* Not realpath(): an inherited fd (/proc/self/fd/N) will do as well. */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret_path, PATH_MAX);
	if (n < 0)
		return err_usage_errno(err, -errno, "shared directory '%s'",
				       path);
	if (n == PATH_MAX)
		return err_usage_errno(err, -ENAMETOOLONG,
				       "shared directory '%s'", path);
	ret_path[n] = '\0';
	return TAKE_FD(fd);
}

void shared_dir_raise_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_max >= FILES_WANTED)
		return;
	lim.rlim_max = FILES_WANTED;
	/* Only root may. The soft limit of this process stays. */
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}
