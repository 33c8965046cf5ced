/* SPDX-License-Identifier: BSD-3-Clause */
/* Connects to the host's sockets for a jailed device, see dial.h. */
#define _GNU_SOURCE
#include "virtio/vsock/dial.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/jail.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/unix_socket.h"

int vsock_dial(const char *path, const struct vsock_dial *dial)
{
	_cleanup_fd_ int fd = -1;
	struct sockaddr_un sa;
	int type;

	switch (dial->type) {
	case VIRTIO_VSOCK_TYPE_STREAM:
		type = SOCK_STREAM;
		break;
	case VIRTIO_VSOCK_TYPE_SEQPACKET:
		type = SOCK_SEQPACKET;
		break;
	default:
		return -EINVAL;
	}
	if (strlen(path) > VSOCK_PATH_MAX ||
	    unix_address(&sa, "%s_%u", path, dial->port) < 0)
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int vsock_dial_answer(int sock, const char *path)
{
	/* One byte more than a question, to see longer packets. */
	struct {
		struct vsock_dial q;
		uint8_t more;
	} buf;
	_cleanup_fd_ int fd = -1;
	size_t nr_fds;
	ssize_t n = fd_recvmsg(sock, &buf, sizeof(buf.q) + 1, NULL, 0, &nr_fds,
			       MSG_DONTWAIT);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	if (n != sizeof(buf.q))
		return n == 0 ? -ECONNRESET : -EBADMSG;
	fd = vsock_dial(path, &buf.q);
	if (fd < 0)
		log_debug("vsock: the guest's connection to '%s_%u': %s", path,
			  buf.q.port, strerror(-fd));
	/* Full: it asks and does not read what is answered. */
	n = fd_sendmsg(sock, &buf.q, sizeof(buf.q), &fd, fd >= 0);
	return n < 0 ? (int)n : 1;
}

static void __attribute__((noreturn)) serve(int sock, const char *path)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int r = 0;

	/* Nothing of what the device has been given: it would stay open. */
	(void)close_range(3, (unsigned int)sock - 1, 0);
	(void)close_range((unsigned int)sock + 1, ~0U, 0);
	jail_dialler();
	while (r >= 0) {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			break;
		r = vsock_dial_answer(sock, path);
	}
	_exit(0);
}

int vsock_dial_process(const char *path, int *ret_fd)
{
	_cleanup_fd_ int ours = -1, theirs = -1;
	int pair[2], status = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	/* A grandchild: the device, once in its jail, can wait for none. */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			serve(theirs, path);
		_exit(pid < 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (status)
		return -EAGAIN;
	*ret_fd = TAKE_FD(ours);
	return 0;
}
