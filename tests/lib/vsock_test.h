/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the socket device share: the device with its back end, a
 * driver's side of it, and programs of the host, all in this process (but for
 * who connects to the host's sockets). One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_VSOCK_TEST_H
#define TORPOR_TESTS_VSOCK_TEST_H

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
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

#define CID	   5U
#define BIT(n)	   (1ULL << (n))
#define STREAM	   VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET  VIRTIO_VSOCK_TYPE_SEQPACKET
#define PEER_ALLOC (256U << 10) /* the guest's buf_alloc */
#define RX_BYTES   4096U
#define NR_RX	   64U
#define ALL                                                       \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VSOCK_F_STREAM) | BIT(VSOCK_F_SEQPACKET) |           \
	 BIT(VSOCK_F_NO_IMPLIED_STREAM))

static struct front f;
static struct virtio_dev *dev;
static struct virtio_vsock *vs;
static char dir[32], path[64];
static uint64_t tx_buf, rx_buf; /* gpa; rx: NR_RX of RX_BYTES */
static uint64_t rx_gpa[VSOCK_QUEUE_SIZE];

struct packet { /* as the guest got it */
	struct virtio_vsock_hdr h;
	uint8_t data[RX_BYTES];
};

static inline void create(void)
{
	char word[80], cid[] = "cid=5";
	char *const args[] = { cid, word, NULL };

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(dir, sizeof(dir), "/tmp/torpor-vsock-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	(void)snprintf(word, sizeof(word), "path=%s", path);
	cr_assert(zero(int, virtio_vsock_ops.create(&f.loop, args,
						    virtio_no_fds, &dev)));
	vs = container_of(dev, struct virtio_vsock, dev);
}

static inline void setup(void)
{
	front_init(&f);
	create();
	front_connect(&f, dev);
	tx_buf = guest_alloc(&f.g, 1 << 20, 4096);
	rx_buf = guest_alloc(&f.g, NR_RX * RX_BYTES, 4096);
	front_negotiate(&f, ALL);
}

static inline void add_rx(uint64_t gpa)
{
	const struct guest_buf b = { gpa, RX_BYTES, true };

	rx_gpa[guest_ring_add(&f.ring[VSOCK_RX], &b, 1)] = gpa;
}

static inline void fill_rx(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		add_rx(rx_buf + i * RX_BYTES);
	guest_ring_kick(&f.ring[VSOCK_RX]);
}

static inline void start(void)
{
	front_start_all(&f, VSOCK_NR_QUEUES);
	front_settle(&f);
}

static inline void setup_started(void)
{
	setup();
	start();
	fill_rx(NR_RX);
}

static inline void teardown(void)
{
	char rm[64];

	front_finish(&f);
	virtio_vsock_ops.destroy(dev);
	(void)snprintf(rm, sizeof(rm), "rm -rf %s", dir);
	cr_assert(zero(int, system(rm)));
}

/* ---------------------------------------------------------- the guest's part
 */

static inline struct virtio_vsock_hdr hdr(uint16_t type, uint16_t op,
					  uint32_t gport, uint32_t hport)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = gport,
					  .dst_port = hport,
					  .type = type,
					  .op = op,
					  .buf_alloc = PEER_ALLOC };
}

/* Sends it with the first @len bytes of @data, and h.len as it is. */
static inline void tx(const struct virtio_vsock_hdr *h, const void *data,
		      uint32_t len)
{
	const struct guest_buf b[] = {
		{ tx_buf, sizeof(*h), false },
		{ tx_buf + 4096, len, false },
	};

	memcpy(guest_ptr(&f.g, tx_buf), h, sizeof(*h));
	if (len)
		memcpy(guest_ptr(&f.g, tx_buf + 4096), data, len);
	cr_assert(zero(u32, front_wait_used(&f, VSOCK_TX,
					    guest_ring_add(&f.ring[VSOCK_TX], b,
							   len ? 2 : 1))));
	front_settle(&f);
}

static inline void tx_op(uint16_t type, uint16_t op, uint32_t gport,
			 uint32_t hport)
{
	struct virtio_vsock_hdr h = hdr(type, op, gport, hport);

	tx(&h, NULL, 0);
}

static inline void tx_data(uint16_t type, uint32_t gport, uint32_t hport,
			   const void *data, uint32_t len, uint32_t flags)
{
	struct virtio_vsock_hdr h = hdr(type, VIRTIO_VSOCK_OP_RW, gport, hport);

	h.len = len;
	h.flags = flags;
	tx(&h, data, len);
}

/* The next packet for the guest, if there is one; its buffer is used again. */
static inline bool rx_maybe(struct packet *p)
{
	uint16_t head;
	uint32_t len;
	uint64_t gpa;

	front_settle(&f);
	if (!guest_ring_reap(&f.ring[VSOCK_RX], &head, &len))
		return false;
	gpa = rx_gpa[head];
	cr_assert(ge(u32, len, sizeof(p->h)));
	memcpy(p, guest_ptr(&f.g, gpa), len);
	cr_assert(eq(u32, len, sizeof(p->h) + p->h.len));
	cr_assert(eq(u64, p->h.src_cid, VSOCK_HOST_CID));
	cr_assert(eq(u64, p->h.dst_cid, CID));
	add_rx(gpa);
	guest_ring_kick(&f.ring[VSOCK_RX]);
	return true;
}

static inline void rx_op(struct packet *p, uint16_t op)
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

static inline void rx_nothing(void)
{
	struct packet p;

	cr_assert(not(rx_maybe(&p)), "op %u", p.h.op);
}

/* ----------------------------------------------------------- the host's part
 */

static inline int unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert(ge(int, fd, 0));
	return fd;
}

static inline struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s%s", path, suffix);
	return sa;
}

static inline int host_connect(uint16_t type)
{
	struct sockaddr_un sa =
		address(type == SEQPACKET ? VSOCK_SEQPACKET_SUFFIX : "");
	int fd = unix_socket(type == SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM);

	cr_assert(zero(int, connect(fd, (struct sockaddr *)&sa, sizeof(sa))));
	return fd;
}

static inline int host_listen(uint16_t type, uint32_t port)
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

static inline void host_send(int fd, const void *data, size_t len)
{
	cr_assert(eq(sz, (size_t)send(fd, data, len, MSG_NOSIGNAL), len));
}

/* Return: bytes; 0 at the end; -EAGAIN. */
static inline ssize_t host_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	front_settle(&f);
	n = recv(fd, buf, len, 0);
	return n < 0 ? -errno : n;
}

static inline void host_sees_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;
	ssize_t n;

	front_settle(&f);
	/* Who made the connection may be about to close its fd of it. */
	cr_assert(eq(int, poll(&p, 1, 10000), 1));
	n = host_recv(fd, &c, 1);

	cr_assert(n == 0 || n == -ECONNRESET, "%zd", n);
}

/* A host's connection to @port, up to OPEN. Return: fd; *ret_hport. */
static inline int open_from_host(uint16_t type, uint32_t port,
				 uint32_t *ret_hport)
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

/* The process that connects is another: until it has answered. */
static inline void dialled(void)
{
	while (vs->dial_busy) {
		front_wait_fd(&f, vs->dial_fd);
		front_settle(&f);
	}
}

/* A guest's connection to a listening socket. Return: fd. */
static inline int open_from_guest(uint16_t type, uint32_t gport, uint32_t hport)
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

static inline void assert_idle(void)
{
	struct pollfd p = { .fd = f.loop.epoll_fd, .events = POLLIN };

	front_settle(&f);
	cr_assert(zero(int, poll(&p, 1, 0)), "the loop spins");
}

static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 >> 3);
}

static uint8_t big[1 << 20];

static inline void fill_big(void)
{
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = pattern(i);
}

static inline void check_at(const uint8_t *p, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		cr_assert(eq(u8, p[i], pattern(at + i)), "byte %zu", at + i);
}

static inline void tx_shutdown(uint16_t type, uint32_t gport, uint32_t hport,
			       uint32_t flags)
{
	struct virtio_vsock_hdr h =
		hdr(type, VIRTIO_VSOCK_OP_SHUTDOWN, gport, hport);

	h.flags = flags;
	tx(&h, NULL, 0);
}

#endif
