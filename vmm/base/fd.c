/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

ssize_t fd_sendmsg(int sock, const void *buf, size_t len, const int *fds,
		   size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf,
			     .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	assert(n_fds <= FD_PASS_MAX);
	if (n_fds > 0) {
		struct cmsghdr *c;

		memset(&ctl, 0, sizeof(ctl));
		msg.msg_control = ctl.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Hands the first @max_fds fds to the caller and closes the others. */
static int take_fds(struct msghdr *msg, int *fds, size_t max_fds, size_t *ret_n)
{
	size_t n = 0, extra = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
			if (n < max_fds) {
				fds[n++] = fd;
			} else {
				(void)close(fd);
				extra++;
			}
		}
	}
	if (!extra && !(msg->msg_flags & MSG_CTRUNC)) {
		*ret_n = n;
		return 0;
	}
	while (n > 0)
		(void)close(fds[--n]);
	return -EMSGSIZE;
}

ssize_t fd_recvmsg(int sock, void *buf, size_t len, int *fds, size_t max_fds,
		   size_t *ret_n_fds, int flags)
{
	union {
		char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t n_fds = 0;
	ssize_t n;
	int r;

	*ret_n_fds = 0;
	/* Without room the kernel drops them: we have none of them to close. */
	if (max_fds > 0) {
		msg.msg_control = ctl.bytes;
		msg.msg_controllen = sizeof(ctl.bytes);
	}
	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r = take_fds(&msg, fds, max_fds, &n_fds);
	if (r < 0)
		return r;
	*ret_n_fds = n_fds;
	return n;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

void fd_event_signal(int efd)
{
	const uint64_t one = 1;

	/* EAGAIN: the counter is full, so a wake-up is pending already. */
	(void)!write(efd, &one, sizeof(one));
}

int fd_event_read(int efd, uint64_t *ret)
{
	uint64_t count = 0;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };
	ssize_t n;

	/* Not by the flag of the description, which others may share. */
	do {
		n = preadv2(efd, &iov, 1, -1, RWF_NOWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != (ssize_t)sizeof(count))
		return -EINVAL;
	*ret = count;
	return 0;
}

uint64_t fd_event_drain(int efd)
{
	uint64_t count = 0;

	return fd_event_read(efd, &count) == 0 ? count : 0;
}

int fd_event_create(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int fd_set_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_memfd_sealed(const char *name, uint64_t size, unsigned int flags)
{
	_cleanup_fd_ int fd = -1;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
	    0)
		return -errno;
	return TAKE_FD(fd);
}
