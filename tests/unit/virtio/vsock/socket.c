/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM's part of a vsock device: its sockets, and whom it connects to. */
#define _GNU_SOURCE
#include "vmm/vm/vsock_socket.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static char dir[64], path[80];
static struct vsock_socket sock;
static struct loop loop;
static struct err err;
static int dial = -1; /* the device's end */

static void setup(void)
{
	cr_assert(zero(int, loop_init(&loop)));
	strcpy(dir, "/tmp/torpor-vsock.XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	cr_assert(zero(int, vsock_socket_open(&sock, &loop, path, &err)), "%s",
		  err.msg);
	dial = vsock_socket_dials(&sock, &err);
	cr_assert(ge(int, dial, 0));
}

static void teardown(void)
{
	vsock_socket_close(&sock);
	fd_close(&dial);
	loop_finish(&loop);
	/* Nothing is left in it. */
	cr_assert(zero(int, rmdir(dir)));
}

TestSuite(vsock_socket, .init = setup, .fini = teardown, .timeout = 240);

/* "" PATH, or a name behind it. */
static struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s%s", path, suffix);
	return sa;
}

static int try_connect(const char *suffix, int type)
{
	struct sockaddr_un sa = address(suffix);
	_cleanup_fd_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
}

static int listen_at(const char *suffix, int type)
{
	struct sockaddr_un sa = address(suffix);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	cr_assert(zero(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa))));
	cr_assert(zero(int, listen(fd, 1)));
	return fd;
}

static void ask(uint32_t port, uint32_t type)
{
	const struct vsock_dial q = { .port = port, .type = type };

	cr_assert(eq(sz, (size_t)send(dial, &q, sizeof(q), 0), sizeof(q)));
}

/* Turns the loop until there is an answer. Return: its fd, -1, or -errno. */
static int answer(void)
{
	struct pollfd p[2] = { { .fd = dial, .events = POLLIN },
			       { .fd = loop.epoll_fd, .events = POLLIN } };
	struct vsock_dial q;
	size_t nr;
	ssize_t n;
	int fd = -1;

	for (;;) {
		cr_assert(gt(int, poll(p, 2, 10000), 0));
		if (p[0].revents)
			break;
		cr_assert(zero(int, loop_turn(&loop, 0)));
	}
	n = fd_recvmsg(dial, &q, sizeof(q), &fd, 1, &nr, 0);
	return n == 0 ? -ECONNRESET : n < 0 ? (int)n : fd;
}

Test(vsock_socket, both_sockets_listen_and_are_the_owners)
{
	static const char *const names[] = { "", VSOCK_SEQPACKET_SUFFIX };

	for (unsigned int i = 0; i < 2; i++) {
		struct sockaddr_un sa = address(names[i]);
		struct stat st;

		cr_assert(zero(int, stat(sa.sun_path, &st)));
		cr_assert(eq(u32, st.st_mode & 0777, 0600));
	}
	cr_assert(zero(int, try_connect("", SOCK_STREAM)));
	cr_assert(
		zero(int, try_connect(VSOCK_SEQPACKET_SUFFIX, SOCK_SEQPACKET)));
}

Test(vsock_socket, one_in_use_is_refused_and_a_stale_one_replaced)
{
	struct vsock_socket other;
	struct sockaddr_un sa = address("");
	int fd;

	cr_assert(eq(int, vsock_socket_open(&other, &loop, path, &err),
		     -EADDRINUSE));
	vsock_socket_close(&other);
	cr_assert(ne(ptr, strstr(err.msg, "--vsock"), NULL));
	cr_assert(zero(int, try_connect("", SOCK_STREAM)));
	vsock_socket_close(&sock);
	fd = listen_at("", SOCK_STREAM);
	fd_close(&fd);
	cr_assert(eq(int, try_connect("", SOCK_STREAM), -ECONNREFUSED));
	cr_assert(zero(int, vsock_socket_open(&sock, &loop, path, &err)), "%s",
		  err.msg);
	cr_assert(zero(int, try_connect("", SOCK_STREAM)));
	/* Somebody's file is not. */
	vsock_socket_close(&sock);
	fd = creat(sa.sun_path, 0600);
	fd_close(&fd);
	cr_assert(
		eq(int, vsock_socket_open(&sock, &loop, path, &err), -EEXIST));
	cr_assert(zero(int, unlink(sa.sun_path)));
}

Test(vsock_socket, connects_to_ports_only)
{
	int l = listen_at("_52", SOCK_STREAM),
	    s = listen_at("_53", SOCK_SEQPACKET);
	struct sockaddr_un a = address("_52"), b = address("_53");
	int fd;

	ask(52, VIRTIO_VSOCK_TYPE_STREAM);
	fd = answer();
	cr_assert(ge(int, fd, 0));
	fd_close(&fd);
	ask(53, VIRTIO_VSOCK_TYPE_SEQPACKET);
	fd = answer();
	cr_assert(ge(int, fd, 0));
	fd_close(&fd);
	/* Of another type, nobody there, no type at all. */
	ask(52, VIRTIO_VSOCK_TYPE_SEQPACKET);
	cr_assert(eq(int, answer(), -1));
	ask(4294967295U, VIRTIO_VSOCK_TYPE_STREAM);
	cr_assert(eq(int, answer(), -1));
	ask(52, 77);
	cr_assert(eq(int, answer(), -1));
	fd_close(&l);
	fd_close(&s);
	(void)unlink(a.sun_path);
	(void)unlink(b.sun_path);
}

/* The listener's backlog is 1, and nobody accepts. */
Test(vsock_socket, never_waits_for_the_host)
{
	struct sockaddr_un a = address("_52");
	int l = listen_at("_52", SOCK_STREAM), fds[4], refused = 0;

	for (int i = 0; i < 4; i++) {
		ask(52, VIRTIO_VSOCK_TYPE_STREAM);
		fds[i] = answer();
		refused += fds[i] < 0;
	}
	cr_assert(ge(int, refused, 1));
	for (int i = 0; i < 4; i++)
		fd_close(&fds[i]);
	fd_close(&l);
	(void)unlink(a.sun_path);
}

Test(vsock_socket, a_flood_of_questions_is_answered_slowly)
{
	uint64_t start = time_boot_ns();

	for (int i = 0; i < 20; i++)
		ask(1, VIRTIO_VSOCK_TYPE_STREAM);
	for (int i = 0; i < 20; i++)
		cr_assert(eq(int, answer(), -1));
	/* 19 pauses of a millisecond. */
	cr_assert(ge(u64, time_boot_ns() - start, 19000000));
}

Test(vsock_socket, a_question_of_another_form_is_the_last)
{
	cr_assert(eq(sz, (size_t)send(dial, "x", 1, 0), 1));
	cr_assert(eq(int, answer(), -ECONNRESET));
	/* But another process may ask. */
	fd_close(&dial);
	dial = vsock_socket_dials(&sock, &err);
	cr_assert(ge(int, dial, 0));
	ask(1, VIRTIO_VSOCK_TYPE_STREAM);
	cr_assert(eq(int, answer(), -1));
}
