/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/vsock_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* Between two connections of the guest: 1000 a second. */
#define PAUSE_NS 1000000ULL

#define OPTION "--vsock socket="

static void on_dial(struct loop_source *src, uint32_t events);

static int watch(struct vsock_socket *sock)
{
	return loop_add(sock->loop, &sock->dial_src, sock->dial_fd, EPOLLIN,
			on_dial);
}

static void on_pause_over(struct loop_timer *timer)
{
	struct vsock_socket *sock =
		container_of(timer, struct vsock_socket, pause);

	if (watch(sock) < 0)
		fd_close(&sock->dial_fd);
}

static void on_dial(struct loop_source *src, uint32_t events)
{
	struct vsock_socket *sock =
		container_of(src, struct vsock_socket, dial_src);
	int r = vsock_dial_answer(sock->dial_fd, sock->path);

	if (r == 0)
		return;
	loop_remove(sock->loop, src);
	if (r > 0) {
		loop_timer_set(sock->loop, &sock->pause, PAUSE_NS,
			       on_pause_over);
		return;
	}
	if (r != -ECONNRESET)
		log_warn("vsock: the device process violates the protocol of "
			 "connections (%s); it gets no more",
			 strerror(-r));
	fd_close(&sock->dial_fd);
}

static int open_both(struct vsock_socket *sock, struct err *err)
{
	char path[VSOCK_PATH_MAX + sizeof(VSOCK_SEQPACKET_SUFFIX)];
	int r;

	(void)snprintf(path, sizeof(path), "%s" VSOCK_SEQPACKET_SUFFIX,
		       sock->path);
	r = control_socket_open_other(&sock->stream, sock->path, SOCK_STREAM,
				      OPTION, err);
	if (r == 0)
		r = control_socket_open_other(&sock->seqpacket, path,
					      SOCK_SEQPACKET, OPTION, err);
	return r;
}

int vsock_socket_open(struct vsock_socket *sock, struct loop *loop,
		      const char *path, struct err *err)
{
	*sock = (struct vsock_socket){ .loop = loop,
				       .stream = { .fd = -1, .dir_fd = -1 },
				       .seqpacket = { .fd = -1, .dir_fd = -1 },
				       .dial_fd = -1,
				       .dial_src.fd = -1 };
	if (strlen(path) > VSOCK_PATH_MAX)
		return err_usage(err, -ENAMETOOLONG,
				 OPTION " '%s': longer than %d bytes; give a "
					"shorter path",
				 path, VSOCK_PATH_MAX);
	(void)snprintf(sock->path, sizeof(sock->path), "%s", path);
	return open_both(sock, err);
}

static void end_dialling(struct vsock_socket *sock)
{
	loop_timer_cancel(sock->loop, &sock->pause);
	loop_remove(sock->loop, &sock->dial_src);
	fd_close(&sock->dial_fd);
}

int vsock_socket_dials(struct vsock_socket *sock, struct err *err)
{
	_cleanup_fd_ int theirs = -1;
	int pair[2];
	int r;

	end_dialling(sock);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, pair) < 0)
		return err_set_errno(err, -errno, OPTION " '%s'", sock->path);
	sock->dial_fd = pair[0];
	theirs = pair[1];
	r = watch(sock);
	if (r < 0)
		return err_set_errno(err, r, OPTION " '%s'", sock->path);
	return TAKE_FD(theirs);
}

void vsock_socket_close(struct vsock_socket *sock)
{
	end_dialling(sock);
	control_socket_close(&sock->stream);
	control_socket_close(&sock->seqpacket);
}
