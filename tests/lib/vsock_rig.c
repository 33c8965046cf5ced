/* SPDX-License-Identifier: BSD-3-Clause */
/* See vsock_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/vsock_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

struct vsock_rig vsock;

static void create(void)
{
	char word[80], cid[] = "cid=5";
	char *const args[] = { cid, word, NULL };

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(vsock.dir, sizeof(vsock.dir),
		       "/tmp/torpor-vsock-XXXXXX");
	cr_assert(mkdtemp(vsock.dir) != NULL);
	(void)snprintf(vsock.path, sizeof(vsock.path), "%s/s", vsock.dir);
	(void)snprintf(word, sizeof(word), "path=%s", vsock.path);
	cr_assert(
		zero(int, virtio_vsock_ops.create(&vsock.f.loop, args,
						  virtio_no_fds, &vsock.dev)));
	vsock.vs = container_of(vsock.dev, struct virtio_vsock, dev);
}

void vsock_test_setup(void)
{
	front_init(&vsock.f);
	create();
	front_connect(&vsock.f, vsock.dev);
	vsock.tx_buf = guest_alloc(&vsock.f.g, 1 << 20, 4096);
	vsock.rx_buf = guest_alloc(&vsock.f.g, NR_RX * RX_BYTES, 4096);
	front_negotiate(&vsock.f, ALL);
}

void add_rx(uint64_t gpa)
{
	const struct guest_buf b = { gpa, RX_BYTES, true };

	vsock.rx_gpa[guest_ring_add(&vsock.f.ring[VSOCK_RX], &b, 1)] = gpa;
}

void fill_rx(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		add_rx(vsock.rx_buf + i * RX_BYTES);
	guest_ring_kick(&vsock.f.ring[VSOCK_RX]);
}

void start_rings(void)
{
	front_start_all(&vsock.f, VSOCK_NR_QUEUES);
	front_settle(&vsock.f);
}

void vsock_test_setup_started(void)
{
	vsock_test_setup();
	start_rings();
	fill_rx(NR_RX);
}

void vsock_test_teardown(void)
{
	char rm[64];

	front_finish(&vsock.f);
	virtio_vsock_ops.destroy(vsock.dev);
	(void)snprintf(rm, sizeof(rm), "rm -rf %s", vsock.dir);
	cr_assert(zero(int, system(rm)));
}

/* ---------------------------------------------------------- the guest's part
 */

struct virtio_vsock_hdr hdr(uint16_t type, uint16_t op, uint32_t gport,
			    uint32_t hport)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = gport,
					  .dst_port = hport,
					  .type = type,
					  .op = op,
					  .buf_alloc = PEER_ALLOC };
}

void tx(const struct virtio_vsock_hdr *h, const void *data, uint32_t len)
{
	const struct guest_buf b[] = {
		{ vsock.tx_buf, sizeof(*h), false },
		{ vsock.tx_buf + 4096, len, false },
	};

	memcpy(guest_ptr(&vsock.f.g, vsock.tx_buf), h, sizeof(*h));
	if (len)
		memcpy(guest_ptr(&vsock.f.g, vsock.tx_buf + 4096), data, len);
	cr_assert(zero(u32,
		       front_wait_used(&vsock.f, VSOCK_TX,
				       guest_ring_add(&vsock.f.ring[VSOCK_TX],
						      b, len ? 2 : 1))));
	front_settle(&vsock.f);
}

void tx_op(uint16_t type, uint16_t op, uint32_t gport, uint32_t hport)
{
	struct virtio_vsock_hdr h = hdr(type, op, gport, hport);

	tx(&h, NULL, 0);
}

void tx_data(uint16_t type, uint32_t gport, uint32_t hport, const void *data,
	     uint32_t len, uint32_t flags)
{
	struct virtio_vsock_hdr h = hdr(type, VIRTIO_VSOCK_OP_RW, gport, hport);

	h.len = len;
	h.flags = flags;
	tx(&h, data, len);
}

void tx_shutdown(uint16_t type, uint32_t gport, uint32_t hport, uint32_t flags)
{
	struct virtio_vsock_hdr h =
		hdr(type, VIRTIO_VSOCK_OP_SHUTDOWN, gport, hport);

	h.flags = flags;
	tx(&h, NULL, 0);
}

bool rx_maybe(struct packet *p)
{
	uint16_t head;
	uint32_t len;
	uint64_t gpa;

	front_settle(&vsock.f);
	if (!guest_ring_reap(&vsock.f.ring[VSOCK_RX], &head, &len))
		return false;
	gpa = vsock.rx_gpa[head];
	cr_assert(ge(u32, len, sizeof(p->h)));
	memcpy(p, guest_ptr(&vsock.f.g, gpa), len);
	cr_assert(eq(u32, len, sizeof(p->h) + p->h.len));
	cr_assert(eq(u64, p->h.src_cid, VSOCK_HOST_CID));
	cr_assert(eq(u64, p->h.dst_cid, CID));
	add_rx(gpa);
	guest_ring_kick(&vsock.f.ring[VSOCK_RX]);
	return true;
}

void rx_op(struct packet *p, uint16_t op)
{
	for (;;) {
		cr_assert(rx_maybe(p), "no packet, not op %u", op);
		if (p->h.op == op)
			break;
		/* May come at any time. */
		cr_assert(eq(u16, p->h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE),
			  "op %u, not %u", p->h.op, op);
	}
	if (op != VIRTIO_VSOCK_OP_RST)
		cr_assert(eq(u32, p->h.buf_alloc, VSOCK_BUF_BYTES));
}

void rx_nothing(void)
{
	struct packet p;

	cr_assert(not(rx_maybe(&p)), "op %u", p.h.op);
}

/* ----------------------------------------------------------- the host's part
 */

static int unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert(ge(int, fd, 0));
	return fd;
}

struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s%s", vsock.path,
		       suffix);
	return sa;
}

int host_connect(uint16_t type)
{
	struct sockaddr_un sa =
		address(type == SEQPACKET ? VSOCK_SEQPACKET_SUFFIX : "");
	int fd = unix_socket(type == SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM);

	cr_assert(zero(int, connect(fd, (struct sockaddr *)&sa, sizeof(sa))));
	return fd;
}

int host_listen(uint16_t type, uint32_t port)
{
	char suffix[16];
	struct sockaddr_un sa;
	int fd = unix_socket(type == SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM);

	(void)snprintf(suffix, sizeof(suffix), "_%u", port);
	sa = address(suffix);
	cr_assert(zero(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa))));
	cr_assert(zero(int, listen(fd, 64)));
	return fd;
}

void host_send(int fd, const void *data, size_t len)
{
	cr_assert(eq(sz, (size_t)send(fd, data, len, MSG_NOSIGNAL), len));
}

ssize_t host_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	front_settle(&vsock.f);
	n = recv(fd, buf, len, 0);
	return n < 0 ? -errno : n;
}

void host_sees_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;
	ssize_t n;

	front_settle(&vsock.f);
	/* Who made the connection may be about to close its fd of it. */
	cr_assert(eq(int, poll(&p, 1, 10000), 1));
	n = host_recv(fd, &c, 1);

	cr_assert(n == 0 || n == -ECONNRESET, "%zd", n);
}

int open_from_host(uint16_t type, uint32_t port, uint32_t *ret_hport)
{
	char line[32], want[32];
	struct packet p;
	int fd = host_connect(type);
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);

	host_send(fd, line, (size_t)n);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert(eq(u32, p.h.dst_port, port));
	cr_assert(eq(u16, p.h.type, type));
	tx_op(type, VIRTIO_VSOCK_OP_RESPONSE, port, p.h.src_port);
	n = snprintf(want, sizeof(want), "OK %u\n", p.h.src_port);
	cr_assert(eq(sz, (size_t)host_recv(fd, line, sizeof(line)), (size_t)n));
	cr_assert(zero(int, memcmp(line, want, (size_t)n)));
	*ret_hport = p.h.src_port;
	return fd;
}

void dialled(void)
{
	while (vsock.vs->dial_busy) {
		front_wait_fd(&vsock.f, vsock.vs->dial_fd);
		front_settle(&vsock.f);
	}
}

int open_from_guest(uint16_t type, uint32_t gport, uint32_t hport)
{
	int listener = host_listen(type, hport), fd;
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	struct packet p;

	tx_op(type, VIRTIO_VSOCK_OP_REQUEST, gport, hport);
	dialled();
	cr_assert(eq(int, poll(&pfd, 1, 10000), 1));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	fd_close(&listener);
	rx_op(&p, VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert(eq(u32, p.h.src_port, hport));
	cr_assert(eq(u32, p.h.dst_port, gport));
	return fd;
}

void assert_idle(void)
{
	struct pollfd p = { .fd = vsock.f.loop.epoll_fd, .events = POLLIN };

	front_settle(&vsock.f);
	cr_assert(zero(int, poll(&p, 1, 0)), "the loop spins");
}

uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 >> 3);
}

void fill_big(void)
{
	for (size_t i = 0; i < sizeof(vsock.big); i++)
		vsock.big[i] = pattern(i);
}

void check_at(const uint8_t *p, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		cr_assert(eq(u8, p[i], pattern(at + i)), "byte %zu", at + i);
}
