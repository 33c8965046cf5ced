/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/unix_socket.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

int unix_address(struct sockaddr_un *ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	va_start(ap, fmt);
	n = vsnprintf(ret->sun_path, sizeof(ret->sun_path), fmt, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

int unix_probe(const char *path)
{
	_cleanup_fd_ int fd = -1;
	struct sockaddr_un sa;
	struct stat st;
	int r = unix_address(&sa, "%s", path);

	if (r < 0)
		return r;
	/* connect(2) refuses a plain file as it does a stale socket. */
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
		return 1;
	switch (errno) {
	case ECONNREFUSED:
		return 0;
	case EAGAIN:	 /* alive, its queue is full */
	case EPROTOTYPE: /* alive, of another type */
		return 1;
	default:
		return -errno;
	}
}

/* The leftover of a dead server goes; nothing else does. */
static int make_room(const char *path)
{
	int r = unix_probe(path);

	if (r == -ENOENT)
		return 0;
	if (r != 0)
		return r > 0 ? -EADDRINUSE : r;
	return unlink(path) < 0 ? -errno : 0;
}

int unix_listen(const char *path, int type, int backlog)
{
	_cleanup_fd_ int fd = -1;
	struct sockaddr_un addr;
	int r = unix_address(&addr, "%s", path);

	if (r == 0)
		r = make_room(path);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, backlog) < 0)
		return -errno;
	return TAKE_FD(fd);
}
