/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket device over its back end: each line of the checklist for what it
 * offers (virtio 1.x, 5.10), both directions, floods, stops and wake-ups. The
 * host's programs are in this process too.
 */
#define _GNU_SOURCE
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

#include "tests/unit/guest_ring.h"
#include "virtio/roles.h"
#include "virtio/vsock.h"
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

static void create(void)
{
	char word[80], cid[] = "cid=5";
	char *const args[] = { cid, word, NULL };

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(dir, sizeof(dir), "/tmp/torpor-vsock-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	(void)snprintf(word, sizeof(word), "path=%s", path);
	cr_assert(zero(int, virtio_vsock_role.create(&f.loop, args, &dev)));
	vs = container_of(dev, struct virtio_vsock, dev);
}

static void setup(void)
{
	front_init(&f);
	create();
	front_connect(&f, dev);
	tx_buf = guest_alloc(&f.g, 1 << 20, 4096);
	rx_buf = guest_alloc(&f.g, NR_RX * RX_BYTES, 4096);
	front_negotiate(&f, ALL);
}

static void add_rx(uint64_t gpa)
{
	const struct guest_buf b = { gpa, RX_BYTES, true };

	rx_gpa[guest_ring_add(&f.ring[VSOCK_RX], &b, 1)] = gpa;
}

static void fill_rx(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		add_rx(rx_buf + i * RX_BYTES);
	guest_ring_kick(&f.ring[VSOCK_RX]);
}

static void start(void)
{
	front_start_all(&f, VSOCK_NR_QUEUES);
	front_settle(&f);
}

static void setup_started(void)
{
	setup();
	start();
	fill_rx(NR_RX);
}

static void teardown(void)
{
	char rm[64];

	front_finish(&f);
	virtio_vsock_role.destroy(dev);
	(void)snprintf(rm, sizeof(rm), "rm -rf %s", dir);
	cr_assert(zero(int, system(rm)));
}

TestSuite(vsock, .init = setup_started, .fini = teardown, .timeout = 60);
TestSuite(vsock_empty, .init = setup, .fini = teardown, .timeout = 60);

/* ---------------------------------------------------------- the guest's part
 */

static struct virtio_vsock_hdr hdr(uint16_t type, uint16_t op, uint32_t gport,
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

/* Sends it with the first @len bytes of @data, and h.len as it is. */
static void tx(const struct virtio_vsock_hdr *h, const void *data, uint32_t len)
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

static void tx_op(uint16_t type, uint16_t op, uint32_t gport, uint32_t hport)
{
	struct virtio_vsock_hdr h = hdr(type, op, gport, hport);

	tx(&h, NULL, 0);
}

static void tx_data(uint16_t type, uint32_t gport, uint32_t hport,
		    const void *data, uint32_t len, uint32_t flags)
{
	struct virtio_vsock_hdr h = hdr(type, VIRTIO_VSOCK_OP_RW, gport, hport);

	h.len = len;
	h.flags = flags;
	tx(&h, data, len);
}

/* The next packet for the guest, if there is one; its buffer is used again. */
static bool rx_maybe(struct packet *p)
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

static void rx_op(struct packet *p, uint16_t op)
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

static void rx_nothing(void)
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

static struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s%s", path, suffix);
	return sa;
}

static int host_connect(uint16_t type)
{
	struct sockaddr_un sa =
		address(type == SEQPACKET ? VSOCK_SEQPACKET_SUFFIX : "");
	int fd = unix_socket(type == SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM);

	cr_assert(zero(int, connect(fd, (struct sockaddr *)&sa, sizeof(sa))));
	return fd;
}

static int host_listen(uint16_t type, uint32_t port)
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

static void host_send(int fd, const void *data, size_t len)
{
	cr_assert(eq(sz, (size_t)send(fd, data, len, MSG_NOSIGNAL), len));
}

/* Return: bytes; 0 at the end; -EAGAIN. */
static ssize_t host_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	front_settle(&f);
	n = recv(fd, buf, len, 0);
	return n < 0 ? -errno : n;
}

static void host_sees_end(int fd)
{
	char c;
	ssize_t n = host_recv(fd, &c, 1);

	cr_assert(n == 0 || n == -ECONNRESET, "%zd", n);
}

/* A host's connection to @port, up to OPEN. Return: fd; *ret_hport. */
static int open_from_host(uint16_t type, uint32_t port, uint32_t *ret_hport)
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

/* A guest's connection to a listening socket. Return: fd. */
static int open_from_guest(uint16_t type, uint32_t gport, uint32_t hport)
{
	int listener = host_listen(type, hport), fd;
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	struct packet p;

	tx_op(type, VIRTIO_VSOCK_OP_REQUEST, gport, hport);
	/* The process that connects is another. */
	cr_assert(eq(int, poll(&pfd, 1, 10000), 1));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	fd_close(&listener);
	front_wait_fd(&f, f.ring[VSOCK_RX].call_fd);
	rx_op(&p, VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert(eq(u32, p.h.src_port, hport));
	cr_assert(eq(u32, p.h.dst_port, gport));
	return fd;
}

static void assert_idle(void)
{
	struct pollfd p = { .fd = f.loop.epoll_fd, .events = POLLIN };

	front_settle(&f);
	cr_assert(zero(int, poll(&p, 1, 0)), "the loop spins");
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 >> 3);
}

static uint8_t big[1 << 20];

static void fill_big(void)
{
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = pattern(i);
}

static void check_at(const uint8_t *p, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		cr_assert(eq(u8, p[i], pattern(at + i)), "byte %zu", at + i);
}

/* ------------------------------------------------------- config and features
 */

Test(vsock, config_has_the_cid)
{
	uint64_t cid = 0;

	cr_assert(front_get_config(&f, 0, &cid, sizeof(cid)));
	cr_assert(eq(u64, cid, CID));
	cid = 77;
	cr_assert(front_set_config(&f, 0, &cid, sizeof(cid)));
	cr_assert(front_get_config(&f, 0, &cid, sizeof(cid)));
	cr_assert(eq(u64, cid, CID));
	cr_assert(eq(u64, f.features & 7, 7));
}

Test(vsock_create, refuses_reserved_cids_and_bad_words, .timeout = 30)
{
	static const char *const bad[] = {
		"cid=0", "cid=1",	   "cid=2",
		"cid=",	 "cid=4294967295", "cid=18446744073709551615",
		"cid=x", "what",	   "path=/nonexistent/x",
	};
	struct virtio_dev *d = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		char word[64], p[] = "path=/nonexistent/x";
		char *const args[] = { word, p, NULL };

		(void)snprintf(word, sizeof(word), "%s", bad[i]);
		cr_assert(lt(int, virtio_vsock_role.create(&loop, args, &d), 0),
			  "%s", bad[i]);
		cr_assert(d == NULL);
	}
	loop_finish(&loop);
	virtio_vsock_role.destroy(NULL);
}

Test(vsock_empty, without_a_feature_bit_it_is_a_stream)
{
	struct packet p;
	int fd;
	uint32_t hport;

	front_negotiate(&f, BIT(VIRTIO_F_VERSION_1));
	start();
	fill_rx(NR_RX);
	fd = open_from_host(STREAM, 7, &hport);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	tx_op(SEQPACKET, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u16, p.h.type, SEQPACKET));
	/* And the host learns that there are no such sockets. */
	fd = host_connect(SEQPACKET);
	host_send(fd, "CONNECT 7\n", 10);
	front_settle(&f);
	host_sees_end(fd);
	fd_close(&fd);
}

Test(vsock_empty, no_implied_stream_means_it)
{
	struct packet p;
	int fd;

	front_negotiate(&f, BIT(VIRTIO_F_VERSION_1) | BIT(VSOCK_F_SEQPACKET) |
				    BIT(VSOCK_F_NO_IMPLIED_STREAM));
	start();
	fill_rx(NR_RX);
	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd = open_from_guest(SEQPACKET, 1, 3);
	fd_close(&fd);
}

/* ------------------------------------------------------------ opening, ending
 */

Test(vsock, host_connects_and_both_talk)
{
	struct packet p;
	uint32_t hport;
	char got[16];
	int fd = open_from_host(STREAM, 1024, &hport);

	host_send(fd, "hello", 5);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 5));
	cr_assert(zero(int, memcmp(p.data, "hello", 5)));
	tx_data(STREAM, 1024, hport, "hi", 2, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 2));
	cr_assert(zero(int, memcmp(got, "hi", 2)));
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 1024, hport);
	rx_nothing();
	cr_assert(zero(u32, vs->nr_conns));
	assert_idle();
}

Test(vsock, bytes_behind_the_line_are_the_guests)
{
	struct packet p;
	int fd = host_connect(STREAM);
	char got[16];

	host_send(fd, "connect 9", 9);
	rx_nothing();
	host_send(fd, "9\nrest", 6);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert(eq(u32, p.h.dst_port, 99));
	rx_nothing();
	tx_op(STREAM, VIRTIO_VSOCK_OP_RESPONSE, 99, p.h.src_port);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 4));
	cr_assert(zero(int, memcmp(p.data, "rest", 4)));
	cr_assert(gt(int, (int)host_recv(fd, got, sizeof(got)), 0));
	fd_close(&fd);
}

Test(vsock, wrong_first_lines_are_closed)
{
	static const char *const bad[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 1 2\n",
		"CONNECT 4294967295\n",
		"CONNECT -1\n",
		"HELLO 5\n",
		"CONNECT 99999999999999999999\n",
		"CONNECT 1                                        \n",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = host_connect(STREAM);

		host_send(fd, bad[i], strlen(bad[i]));
		rx_nothing();
		host_sees_end(fd);
		fd_close(&fd);
	}
	cr_assert(zero(u32, vs->nr_conns));
}

Test(vsock, refused_by_the_guest)
{
	struct packet p;
	int fd = host_connect(STREAM);

	host_send(fd, "CONNECT 5\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 5, p.h.src_port);
	host_sees_end(fd);
	rx_nothing();
	fd_close(&fd);
}

Test(vsock, host_gives_up_before_the_answer)
{
	struct packet p;
	int fd = host_connect(STREAM);

	host_send(fd, "CONNECT 5\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vs->nr_conns));
	/* A late answer finds nobody. */
	tx_op(STREAM, VIRTIO_VSOCK_OP_RESPONSE, 5, p.h.src_port);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
}

Test(vsock, guest_connects_and_both_talk)
{
	struct packet p;
	char got[16];
	int fd = open_from_guest(STREAM, 3000, 52);

	tx_data(STREAM, 3000, 52, "hello", 5, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 5));
	host_send(fd, "hi", 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 2));
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 3000, 52);
	host_sees_end(fd);
	fd_close(&fd);
}

Test(vsock, nobody_listens_on_the_host)
{
	struct packet p;
	int fd;

	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 53);
	front_wait_fd(&f, f.ring[VSOCK_RX].call_fd);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u32, p.h.src_port, 53));
	cr_assert(eq(u32, p.h.dst_port, 1));
	/* A listener of the other type is none. */
	fd = host_listen(SEQPACKET, 54);
	(void)fd_event_drain(f.ring[VSOCK_RX].call_fd);
	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 54);
	front_wait_fd(&f, f.ring[VSOCK_RX].call_fd);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd_close(&fd);
	cr_assert(zero(u32, vs->nr_conns));
}

Test(vsock, half_close_by_the_host)
{
	struct packet p;
	char got[8];
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	host_send(fd, "last", 4);
	cr_assert(zero(int, shutdown(fd, SHUT_WR)));
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 4));
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_SEND));
	assert_idle();
	tx_data(STREAM, 8, hport, "more", 4, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 4));
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
	assert_idle();
}

static void tx_shutdown(uint16_t type, uint32_t gport, uint32_t hport,
			uint32_t flags)
{
	struct virtio_vsock_hdr h =
		hdr(type, VIRTIO_VSOCK_OP_SHUTDOWN, gport, hport);

	h.flags = flags;
	tx(&h, NULL, 0);
}

Test(vsock, half_closes_by_the_guest_are_sticky)
{
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd = open_from_host(STREAM, 8, &hport);

	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_SEND);
	cr_assert(zero(int, (int)host_recv(fd, got, sizeof(got))));
	host_send(fd, "on", 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	tx_shutdown(STREAM, 8, hport, 0);
	rx_nothing();
	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_RCV);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, guest_that_receives_no_more_stops_the_host)
{
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_RCV);
	cr_assert(lt(int, (int)send(fd, "x", 1, MSG_NOSIGNAL), 0));
	cr_assert(eq(int, errno, EPIPE));
	assert_idle();
	fd_close(&fd);
}

Test(vsock, both_ends_of_the_guest_with_bytes_left_for_the_host)
{
	struct packet p;
	uint32_t hport;
	size_t n = 0;
	ssize_t more;
	int fd = open_from_host(STREAM, 8, &hport);
	static uint8_t got[VSOCK_BUF_BYTES * 2];
	uint32_t sent = 0;

	fill_big();
	/* Until the host's socket is full and our buffer has some. */
	while (!vsock_bytes_len(&vs->conns[0]->out)) {
		tx_data(STREAM, 8, hport, big, 65536, 0);
		sent += 65536;
		cr_assert(le(u32, sent, sizeof(big)));
		memmove(big, big + 65536, sizeof(big) - 65536);
	}
	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_BOTH);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u32, vs->nr_orphans, 1));
	/* The guest may have the same ports at once. */
	while ((more = host_recv(fd, got, sizeof(got))) > 0) {
		check_at(got, (size_t)more, n);
		n += (size_t)more;
	}
	cr_assert(eq(sz, n, sent));
	cr_assert(zero(u32, vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, a_guest_that_does_not_end_is_reset_after_a_time)
{
	struct packet p;
	uint32_t hport;
	struct pollfd pfd = { .fd = f.loop.epoll_fd, .events = POLLIN };
	int fd = open_from_host(STREAM, 8, &hport);

	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, vs->nr_conns, 1));
	/* Stopped, its time stands still. */
	(void)front_stop(&f, VSOCK_RX);
	(void)front_stop(&f, VSOCK_TX);
	cr_assert(zero(u64, vs->close_timer.deadline_ns));
	front_start(&f, VSOCK_RX);
	front_start(&f, VSOCK_TX);
	front_settle(&f);
	cr_assert(vs->close_timer.deadline_ns != 0);
	for (int i = 0; i < 2; i++) {
		cr_assert(eq(int, poll(&pfd, 1, 30000), 1));
		front_settle(&f);
	}
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vs->nr_conns));
	assert_idle();
}

/* ------------------------------------------------------------------- credit */

Test(vsock, credit_is_told_and_asked)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	tx_data(STREAM, 8, hport, "abc", 3, 0);
	rx_nothing();
	tx_op(STREAM, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 8, hport);
	cr_assert(rx_maybe(&p));
	cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
	cr_assert(eq(u32, p.h.buf_alloc, VSOCK_BUF_BYTES));
	cr_assert(eq(u32, p.h.fwd_cnt, 3));
	fd_close(&fd);
}

Test(vsock, no_more_than_the_guest_has_credit_for)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	int fd = open_from_host(STREAM, 8, &hport);

	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 10000;
	tx(&h, NULL, 0);
	fill_big();
	host_send(fd, big, 30000);
	while (rx_maybe(&p) && p.h.op == VIRTIO_VSOCK_OP_RW) {
		check_at(p.data, p.h.len, got);
		got += p.h.len;
	}
	cr_assert(eq(u32, got, 10000));
	cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_REQUEST));
	/* Asked for once; the socket is not polled. */
	rx_nothing();
	assert_idle();
	h.fwd_cnt = 4000;
	tx(&h, NULL, 0);
	while (rx_maybe(&p) && p.h.op == VIRTIO_VSOCK_OP_RW)
		got += p.h.len;
	cr_assert(eq(u32, got, 14000));
	/* A liar gets nothing. */
	h.fwd_cnt = 99999;
	tx(&h, NULL, 0);
	while (rx_maybe(&p))
		cr_assert(ne(u16, p.h.op, VIRTIO_VSOCK_OP_RW));
	assert_idle();
	fd_close(&fd);
}

Test(vsock, counters_wrap)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd = open_from_host(STREAM, 8, &hport);
	struct vsock_conn *c = vs->conns[0];

	c->rx_cnt = c->fwd_cnt = c->told_fwd_cnt = UINT32_MAX - 1;
	c->tx_cnt = UINT32_MAX - 2;
	h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 8, hport);
	h.fwd_cnt = UINT32_MAX - 2;
	h.len = 5;
	tx(&h, "12345", 5);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 5));
	cr_assert(eq(u32, c->fwd_cnt, 3));
	host_send(fd, "123456", 6);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 6));
	cr_assert(eq(u32, p.h.fwd_cnt, 3));
	cr_assert(eq(u32, vsock_credit(c), PEER_ALLOC - 6));
	fd_close(&fd);
}

/* The host does not read: the guest may send its credit, and a byte more not.
 */
static void overrun(uint16_t type)
{
	struct packet p;
	uint32_t hport, sent = 0, fwd = 0;
	int fd = open_from_host(type, 8, &hport);

	fill_big();
	while (vs->nr_conns && sent - fwd < VSOCK_BUF_BYTES) {
		uint32_t n = MIN(VSOCK_BUF_BYTES - (sent - fwd), 50000U);

		tx_data(type, 8, hport, big, n, VIRTIO_VSOCK_SEQ_EOM);
		sent += n;
		while (rx_maybe(&p)) {
			cr_assert(
				eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
			fwd = p.h.fwd_cnt;
		}
		/* What it knows may be less than it has. */
		fwd = vs->conns[0]->fwd_cnt;
	}
	assert_idle();
	cr_assert(le(u32, vsock_bytes_len(&vs->conns[0]->out),
		     2 * VSOCK_BUF_BYTES));
	tx_data(type, 8, hport, big, 1, VIRTIO_VSOCK_SEQ_EOM);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, credit_overrun_is_reset)
{
	overrun(STREAM);
}

Test(vsock, credit_overrun_by_records_is_reset)
{
	overrun(SEQPACKET);
}

Test(vsock, tiny_records_stay_within_twice_their_bytes)
{
	struct packet p;
	uint32_t hport;
	struct vsock_conn *c;
	int fd = open_from_host(SEQPACKET, 8, &hport);
	unsigned int n = 0, m = 0;
	char byte;

	c = vs->conns[0];
	/* More than a socket takes; a part of the credit is enough. */
	while (c->rx_cnt - c->fwd_cnt < 3000) {
		byte = (char)n++;
		tx_data(SEQPACKET, 8, hport, &byte, 1, VIRTIO_VSOCK_SEQ_EOM);
	}
	cr_assert(le(u32, vsock_bytes_len(&c->out), 6000));
	while (rx_maybe(&p))
		continue;
	while (host_recv(fd, &byte, 1) == 1)
		cr_assert(eq(u8, (uint8_t)byte, (uint8_t)m++));
	cr_assert(eq(u32, m, n));
	fd_close(&fd);
}

/* -------------------------------------------------------------- a lot of bytes
 */

Test(vsock, stream_to_a_slow_host_is_whole)
{
	struct packet p;
	uint32_t hport, sent = 0;
	size_t n = 0;
	static uint8_t got[4096];
	int fd = open_from_host(STREAM, 8, &hport);
	struct vsock_conn *c = vs->conns[0];

	fill_big();
	while (n < sizeof(big)) {
		uint32_t room = VSOCK_BUF_BYTES - (c->rx_cnt - c->told_fwd_cnt);
		uint32_t len =
			MIN(MIN(room, 60000U), (uint32_t)sizeof(big) - sent);
		ssize_t r;

		if (len)
			tx_data(STREAM, 8, hport, big + sent, len, 0);
		sent += len;
		r = host_recv(fd, got, sizeof(got));
		cr_assert(gt(int, (int)r, 0), "stuck at %zu of %u", n, sent);
		check_at(got, (size_t)r, n);
		n += (size_t)r;
		while (rx_maybe(&p))
			cr_assert(
				eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
	}
	fd_close(&fd);
}

Test(vsock, stream_to_a_slow_guest_is_whole)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	size_t sent = 0;
	int fd = open_from_host(STREAM, 8, &hport);

	fill_big();
	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 20000;
	tx(&h, NULL, 0);
	while (got < sizeof(big)) {
		ssize_t n =
			send(fd, big + sent, sizeof(big) - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		while (rx_maybe(&p)) {
			if (p.h.op != VIRTIO_VSOCK_OP_RW)
				continue;
			check_at(p.data, p.h.len, got);
			got += p.h.len;
			cr_assert(le(u32, got - h.fwd_cnt, 20000));
		}
		h.fwd_cnt = got;
		tx(&h, NULL, 0);
	}
	fd_close(&fd);
}

/* ------------------------------------------------------------------- records
 */

Test(vsock, records_keep_their_bounds)
{
	struct packet p;
	uint32_t hport, got = 0;
	char buf[64];
	int fd = open_from_host(SEQPACKET, 8, &hport);

	tx_data(SEQPACKET, 8, hport, "one", 3, VIRTIO_VSOCK_SEQ_EOM);
	tx_data(SEQPACKET, 8, hport, "tw", 2, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 3));
	cr_assert(eq(int, (int)host_recv(fd, buf, sizeof(buf)), -EAGAIN));
	tx_data(SEQPACKET, 8, hport, "o", 1,
		VIRTIO_VSOCK_SEQ_EOM | VIRTIO_VSOCK_SEQ_EOR);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 3));
	cr_assert(zero(int, memcmp(buf, "two", 3)));
	/* An empty one is dropped either way, and ends nothing. */
	tx_data(SEQPACKET, 8, hport, "", 0, VIRTIO_VSOCK_SEQ_EOM);
	host_send(fd, "", 0);
	front_settle(&f);
	host_send(fd, "", 0);
	host_send(fd, "three", 5);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 5));
	cr_assert(eq(u32, p.h.flags, VIRTIO_VSOCK_SEQ_EOM));
	/* In many packets, the last of which says so. */
	fill_big();
	host_send(fd, big, 20000);
	do {
		rx_op(&p, VIRTIO_VSOCK_OP_RW);
		check_at(p.data, p.h.len, got);
		got += p.h.len;
		cr_assert(eq(u32, p.h.flags,
			     got == 20000 ? VIRTIO_VSOCK_SEQ_EOM : 0));
	} while (got < 20000);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
}

Test(vsock, a_record_waits_for_credit_and_is_whole)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	int fd = open_from_host(SEQPACKET, 8, &hport);

	fill_big();
	h = hdr(SEQPACKET, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 50000;
	tx(&h, NULL, 0);
	host_send(fd, big, 30000);
	host_send(fd, big + 30000, 30000);
	(void)shutdown(fd, SHUT_WR);
	while (rx_maybe(&p)) {
		cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_RW));
		check_at(p.data, p.h.len, got);
		got += p.h.len;
	}
	cr_assert(eq(u32, got, 50000));
	assert_idle();
	h.fwd_cnt = 30000;
	tx(&h, NULL, 0);
	while (got < 60000) {
		rx_op(&p, VIRTIO_VSOCK_OP_RW);
		got += p.h.len;
	}
	cr_assert(eq(u32, p.h.flags, VIRTIO_VSOCK_SEQ_EOM));
	/* The end comes after it. */
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	fd_close(&fd);
}

Test(vsock, records_beyond_the_limits_are_reset)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(SEQPACKET, 8, &hport);

	host_send(fd, big, VSOCK_RECORD_MAX + 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	host_sees_end(fd);
	fd_close(&fd);
	/* More than the guest could ever hold. */
	fd = open_from_host(SEQPACKET, 8, &hport);
	h = hdr(SEQPACKET, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 100;
	tx(&h, NULL, 0);
	host_send(fd, big, 101);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd_close(&fd);
}

Test(vsock, guest_connects_by_seqpacket)
{
	struct packet p;
	char buf[8];
	int fd = open_from_guest(SEQPACKET, 30, 60);

	tx_data(SEQPACKET, 30, 60, "ab", 2, VIRTIO_VSOCK_SEQ_EOM);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 2));
	host_send(fd, "c", 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	fd_close(&fd);
}

/* ---------------------------------------------------------- a guest that lies
 */

Test(vsock, packets_that_are_dropped_or_reset)
{
	struct virtio_vsock_hdr h;
	struct guest_buf b = { tx_buf, 20, false };
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	/* Spoofed addresses: not a word. */
	h = hdr(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	h.src_cid = CID + 1;
	tx(&h, NULL, 0);
	h.src_cid = CID | BIT(40);
	tx(&h, NULL, 0);
	h.src_cid = CID;
	h.dst_cid = 3;
	tx(&h, NULL, 0);
	/* Half a header. */
	cr_assert(zero(u32, front_wait_used(
				    &f, VSOCK_TX,
				    guest_ring_add(&f.ring[VSOCK_TX], &b, 1))));
	rx_nothing();
	/* A RST is answered by nothing, all else to nobody by a RST. */
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 77, 78);
	rx_nothing();
	for (uint16_t op = 0; op < 12; op++) {
		if (op == VIRTIO_VSOCK_OP_RST || op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		tx_op(STREAM, op, 77, 78);
		rx_op(&p, VIRTIO_VSOCK_OP_RST);
		cr_assert(eq(u32, p.h.dst_port, 77));
		cr_assert(eq(u32, p.h.src_port, 78));
	}
	/* An unknown type, with its type. */
	tx_op(9, VIRTIO_VSOCK_OP_REQUEST, 77, 78);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u16, p.h.type, 9));
	/* The open one has not noticed. */
	tx_data(STREAM, 8, hport, "x", 1, 0);
	cr_assert(eq(u32, vs->nr_conns, 1));
	fd_close(&fd);
}

Test(vsock, wrong_packets_of_a_connection_reset_it)
{
	for (int i = 0; i < 5; i++) {
		struct virtio_vsock_hdr h;
		struct packet p;
		uint32_t hport;
		int fd = open_from_host(STREAM, 8, &hport);

		h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 8, hport);
		switch (i) {
		case 0: /* longer than its buffer */
			h.len = 100;
			tx(&h, "abc", 3);
			break;
		case 1:
			h.len = UINT32_MAX;
			tx(&h, "abc", 3);
			break;
		case 2:
			h.op = 0;
			tx(&h, NULL, 0);
			break;
		case 3:
			h.op = VIRTIO_VSOCK_OP_RESPONSE;
			tx(&h, NULL, 0);
			break;
		default: /* after its end */
			tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_SEND);
			h.len = 1;
			tx(&h, "a", 1);
			break;
		}
		rx_op(&p, VIRTIO_VSOCK_OP_RST);
		cr_assert(eq(u32, p.h.src_port, hport));
		host_sees_end(fd);
		fd_close(&fd);
	}
	cr_assert(zero(u32, vs->nr_conns));
}

Test(vsock, a_request_for_an_open_pair_begins_anew)
{
	int fd = open_from_guest(STREAM, 3000, 52), again;
	char name[80];

	(void)snprintf(name, sizeof(name), "%s_52", path);
	cr_assert(zero(int, unlink(name)));
	(void)fd_event_drain(f.ring[VSOCK_RX].call_fd);
	again = open_from_guest(STREAM, 3000, 52);
	host_sees_end(fd);
	cr_assert(eq(u32, vs->nr_conns, 1));
	fd_close(&fd);
	fd_close(&again);
}

Test(vsock, a_flood_of_requests_is_bounded)
{
	unsigned int resets = 0, responses = 0;
	int listener = host_listen(STREAM, 52);
	struct packet p;

	for (uint32_t i = 0; i < 2000; i++) {
		tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 10000 + i, 52);
		cr_assert(le(u32, vs->nr_conns, VSOCK_MAX_CONNS));
		while (rx_maybe(&p)) {
			resets += p.h.op == VIRTIO_VSOCK_OP_RST;
			responses += p.h.op == VIRTIO_VSOCK_OP_RESPONSE;
		}
	}
	/* The listener's queue is full at 64; all else is refused. */
	while (vs->nr_conns > 65 + resets * 0 && vs->dial_busy) {
		front_wait_fd(&f, vs->dial_fd);
		while (rx_maybe(&p)) {
			resets += p.h.op == VIRTIO_VSOCK_OP_RST;
			responses += p.h.op == VIRTIO_VSOCK_OP_RESPONSE;
		}
	}
	cr_assert(ge(u32, responses, 1));
	cr_assert(le(u32, responses, VSOCK_MAX_CONNS));
	cr_assert(ge(u32, resets, 2000 - VSOCK_MAX_CONNS));
	fd_close(&listener);
}

Test(vsock_empty, a_flood_without_receive_buffers_waits)
{
	const struct guest_buf b = { tx_buf, sizeof(struct virtio_vsock_hdr),
				     false };
	struct virtio_vsock_hdr h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 1, 2);
	unsigned int resets = 0;
	struct packet p;

	start();
	memcpy(guest_ptr(&f.g, tx_buf), &h, sizeof(h));
	for (unsigned int i = 0; i < 200; i++)
		(void)guest_ring_add(&f.ring[VSOCK_TX], &b, 1);
	guest_ring_kick(&f.ring[VSOCK_TX]);
	assert_idle();
	/* As many as there is a place for; then the ring waits. */
	cr_assert(eq(u16, f.ring[VSOCK_TX].used->idx, VSOCK_MAX_RESETS));
	fill_rx(NR_RX);
	while (rx_maybe(&p)) {
		cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_RST));
		resets++;
	}
	cr_assert(eq(u32, resets, 200));
	cr_assert(eq(u16, f.ring[VSOCK_TX].used->idx, 200));
}

Test(vsock_empty, tx_goes_on_without_receive_buffers)
{
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd;

	start();
	fill_rx(1);
	fd = open_from_host(STREAM, 8, &hport);
	/* The one buffer is in use for this. */
	host_send(fd, "x", 1);
	front_settle(&f);
	host_send(fd, "y", 1);
	assert_idle();
	for (int i = 0; i < 100; i++) {
		tx_data(STREAM, 8, hport, "abc", 3, 0);
		cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 3));
	}
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	fd_close(&fd);
}

Test(vsock, hosts_that_say_nothing_do_not_fill_it)
{
	int fds[VSOCK_MAX_PENDING + 10];
	struct packet p;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = host_connect(STREAM);
		front_settle(&f);
	}
	cr_assert(eq(u32, vs->nr_pending, VSOCK_MAX_PENDING));
	assert_idle();
	fd_close(&fds[0]);
	front_settle(&f);
	cr_assert(eq(u32, vs->nr_pending, VSOCK_MAX_PENDING));
	for (unsigned int i = 1; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i]);
	rx_nothing();
	cr_assert(zero(u32, vs->nr_conns));
	fds[0] = host_connect(STREAM);
	host_send(fds[0], "CONNECT 1\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	fd_close(&fds[0]);
}

Test(vsock_empty, a_receive_buffer_without_room_breaks_the_ring)
{
	const struct guest_buf b = { rx_buf, sizeof(struct virtio_vsock_hdr),
				     true };

	start();
	(void)guest_ring_add(&f.ring[VSOCK_RX], &b, 1);
	guest_ring_kick(&f.ring[VSOCK_RX]);
	tx_op(STREAM, VIRTIO_VSOCK_OP_RW, 1, 2);
	front_wait_fd(&f, f.ring[VSOCK_RX].err_fd);
	assert_idle();
}

/* ------------------------------------------------- stop, start, reset, events
 */

static void stop_all(void)
{
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++) {
		uint16_t base = front_stop(&f, q);

		/* Nothing is held: buffers not used were given back. */
		cr_assert(eq(u16, base, f.ring[q].used->idx));
	}
	assert_idle();
}

Test(vsock, connections_stay_over_a_stop)
{
	struct packet p;
	uint32_t hport, gport = 3000;
	char got[8];
	int a = open_from_host(STREAM, 8, &hport);
	int b = open_from_guest(SEQPACKET, gport, 52);
	uint16_t used;

	for (int i = 0; i < 3; i++) {
		stop_all();
		used = f.ring[VSOCK_RX].used->idx;
		host_send(a, "while", 5);
		host_send(b, "stopped", 7);
		assert_idle();
		cr_assert(eq(u16, f.ring[VSOCK_RX].used->idx, used));
		start();
		/* In either order. */
		for (int n = 0; n < 2; n++) {
			rx_op(&p, VIRTIO_VSOCK_OP_RW);
			cr_assert(eq(u32, p.h.len, p.h.type == STREAM ? 5 : 7));
		}
		tx_data(STREAM, 8, hport, "a", 1, 0);
		cr_assert(eq(sz, (size_t)host_recv(a, got, sizeof(got)), 1));
		tx_data(SEQPACKET, gport, 52, "b", 1, VIRTIO_VSOCK_SEQ_EOM);
		cr_assert(eq(sz, (size_t)host_recv(b, got, sizeof(got)), 1));
	}
	/* Ended while stopped: told after. */
	stop_all();
	fd_close(&a);
	assert_idle();
	start();
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.src_port, hport));
	rx_nothing();
	fd_close(&b);
}

Test(vsock, bytes_of_the_guest_go_on_while_stopped)
{
	uint32_t hport;
	static uint8_t got[65536];
	size_t n = 0, sent = 0;
	ssize_t more;
	int fd = open_from_host(STREAM, 8, &hport);

	fill_big();
	while (!vsock_bytes_len(&vs->conns[0]->out)) {
		tx_data(STREAM, 8, hport, big + sent, 60000, 0);
		sent += 60000;
	}
	stop_all();
	while ((more = host_recv(fd, got, sizeof(got))) > 0) {
		check_at(got, (size_t)more, n);
		n += (size_t)more;
	}
	cr_assert(eq(sz, n, sent));
	fd_close(&fd);
}

static void reset(void)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++)
		front_ring_reset(&f, q);
	front_negotiate(&f, ALL);
}

Test(vsock, a_reset_drops_connections_and_keeps_those_to_come)
{
	struct packet p;
	uint32_t hport;
	int open = open_from_host(STREAM, 8, &hport);
	int asked = host_connect(STREAM), silent = host_connect(STREAM), late;

	host_send(asked, "CONNECT 9\n", 10);
	host_send(silent, "CONN", 4);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	stop_all();
	reset();
	host_sees_end(open);
	late = host_connect(STREAM);
	host_send(late, "CONNECT 10\n", 11);
	assert_idle();
	host_send(silent, "ECT 11\n", 7);
	assert_idle();
	start();
	fill_rx(NR_RX);
	/* All three are asked for, of the driver that is there now. */
	for (int n = 0, seen = 0; n < 3; n++) {
		rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
		cr_assert(p.h.dst_port >= 9 && p.h.dst_port <= 11);
		cr_assert(zero(int, seen & 1 << p.h.dst_port));
		seen |= 1 << p.h.dst_port;
	}
	rx_nothing();
	/* It is a reset, not another machine. */
	cr_assert(zero(u16, f.ring[VSOCK_EVENT].used->idx));
	fd_close(&open);
	fd_close(&asked);
	fd_close(&silent);
	fd_close(&late);
}

Test(vsock_empty, a_process_that_takes_over_says_so)
{
	const uint64_t gpa = guest_alloc(&f.g, 64, 8);
	const struct guest_buf b = { gpa, 8, true };
	uint32_t id = 77;
	uint16_t head;

	memcpy(guest_ptr(&f.g, gpa), &id, sizeof(id));
	/* Rings that another process has used. */
	front_start_at(&f, VSOCK_RX, 0);
	(void)front_stop(&f, VSOCK_RX);
	vs->seen_rings = false;
	f.ring[VSOCK_RX].used->idx = f.ring[VSOCK_RX].avail->idx = 7;
	f.ring[VSOCK_RX].avail_idx = f.ring[VSOCK_RX].last_used = 7;
	front_start_at(&f, VSOCK_RX, 7);
	front_start_at(&f, VSOCK_TX, 0);
	front_start_at(&f, VSOCK_EVENT, 0);
	head = guest_ring_add(&f.ring[VSOCK_EVENT], &b, 1);
	cr_assert(eq(u32, front_wait_used(&f, VSOCK_EVENT, head), 4));
	memcpy(&id, guest_ptr(&f.g, gpa), sizeof(id));
	cr_assert(eq(u32, id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET));
	/* Once. */
	(void)guest_ring_add(&f.ring[VSOCK_EVENT], &b, 1);
	guest_ring_kick(&f.ring[VSOCK_EVENT]);
	front_settle(&f);
	cr_assert(eq(u16, f.ring[VSOCK_EVENT].used->idx, 1));
}

/* As QEMU's front end does. */
Test(vsock_empty, works_without_the_event_queue)
{
	uint32_t hport;
	int fd;

	front_start_all(&f, 2);
	fill_rx(NR_RX);
	fd = open_from_host(STREAM, 8, &hport);
	fd_close(&fd);
}

/* --------------------------------------------------------------------- wake */

Test(vsock_empty, a_connection_wakes_once_and_is_delivered)
{
	struct packet p;
	int fd;

	front_wake_arm(&f, true);
	assert_idle();
	/* Not before it says where to. */
	fd = host_connect(STREAM);
	host_send(fd, "CONN", 4);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	host_send(fd, "ECT 7\n", 6);
	front_wait_fd(&f, f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	assert_idle();
	start();
	fill_rx(NR_RX);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert(eq(u32, p.h.dst_port, 7));
	fd_close(&fd);
}

Test(vsock_empty, once_it_has_woken_nothing_wakes_the_process)
{
	int fds[8];

	front_wake_arm(&f, true);
	for (int i = 0; i < 8; i++) {
		fds[i] = host_connect(STREAM);
		host_send(fds[i], "CONNECT 7\n", 10);
	}
	front_wait_fd(&f, f.wake_fd);
	front_settle(&f);
	for (int i = 0; i < 8; i++)
		fd_close(&fds[i]);
	assert_idle();
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
}

Test(vsock_empty, a_connection_there_already_wakes_before_the_acknowledgement)
{
	int fd = host_connect(SEQPACKET);

	host_send(fd, "CONNECT 7", 9);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	front_wake_arm(&f, true);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	/* And again, as long as the guest has not taken it. */
	front_wake_arm(&f, true);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	fd_close(&fd);
}

Test(vsock_empty, disarmed_or_wrong_it_does_not_wake)
{
	int fd;

	front_wake_arm(&f, true);
	fd = host_connect(STREAM);
	host_send(fd, "GET / HTTP/1.1\n", 15);
	front_settle(&f);
	host_sees_end(fd);
	fd_close(&fd);
	front_wake_arm(&f, false);
	fd = host_connect(STREAM);
	host_send(fd, "CONNECT 7\n", 10);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	fd_close(&fd);
}

Test(vsock, bytes_and_the_end_of_an_open_connection_wake)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	stop_all();
	front_wake_arm(&f, true);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	host_send(fd, "x", 1);
	front_wait_fd(&f, f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	host_send(fd, "y", 1);
	assert_idle();
	start();
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 2));
	stop_all();
	front_wake_arm(&f, true);
	fd_close(&fd);
	front_wait_fd(&f, f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	assert_idle();
	start();
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
}

Test(vsock, bytes_without_credit_do_not_wake)
{
	struct virtio_vsock_hdr h;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 0;
	tx(&h, NULL, 0);
	host_send(fd, "x", 1);
	stop_all();
	front_wake_arm(&f, true);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	fd_close(&fd);
}

Test(vsock, armed_while_live_delivers_and_wakes)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	front_wake_arm(&f, true);
	host_send(fd, "x", 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	fd_close(&fd);
}

/* ------------------------------------------------------------------ dialling
 */

Test(vsock_dial, answers_what_keeps_to_the_rules, .timeout = 30)
{
	struct vsock_dial q = { .port = 1, .type = STREAM };
	int pair[2];

	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	cr_assert(zero(int, vsock_dial_answer(pair[0], "/nonexistent/s")));
	cr_assert(eq(sz, (size_t)send(pair[1], &q, sizeof(q), 0), sizeof(q)));
	cr_assert(eq(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 1));
	cr_assert(eq(sz, (size_t)recv(pair[1], &q, sizeof(q), 0), sizeof(q)));
	cr_assert(eq(sz, (size_t)send(pair[1], &q, 3, 0), 3));
	cr_assert(lt(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 0));
	cr_assert(eq(sz, (size_t)send(pair[1], big, 100, 0), 100));
	cr_assert(lt(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 0));
	q.type = 3;
	cr_assert(eq(int, vsock_dial("/tmp/x", &q), -EINVAL));
	fd_close(&pair[1]);
	cr_assert(eq(int, vsock_dial_answer(pair[0], "/x"), -ECONNRESET));
	fd_close(&pair[0]);
}
