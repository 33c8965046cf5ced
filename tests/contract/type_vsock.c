/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket device: one connection from the host, which has to be the same over
 * all suspensions, with a stream of bytes each way. Each byte says where in the
 * stream it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "tests/contract/stream.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_socket.h"

#define CID	  3U
#define PORT	  5000U
#define SLOTS	  VSOCK_QUEUE_SIZE
#define BUF_SIZE  300U	     /* bytes: a header, and some of the stream */
#define NR_RX	  16U	     /* buffers to receive into */
#define BUF_ALLOC (1U << 30) /* more than a test ever has on the way */
#define DEPTH	  32U
#define FLOOD	  8192U /* bytes; more than the buffers hold */

#define FEATURES                                              \
	(1ULL << VSOCK_F_STREAM | 1ULL << VSOCK_F_SEQPACKET | \
	 1ULL << VSOCK_F_NO_IMPLIED_STREAM)

static char dir[32];
static int asks = -1; /* connections of the guest's, of which there are none */
static int host = -1; /* the program of the host */
static uint64_t rx_bufs, tx_bufs, event_buf;
/* Places in the streams of this connection, and packets not used yet. */
static uint64_t tx_sent, tx_seen, host_sent, rx_seen;
static bool tx_pending[SLOTS];
static unsigned int nr_tx;
static uint32_t host_port; /* of the connection; 0: not asked for yet */

static void path_of(char path[64], const char *suffix)
{
	(void)snprintf(path, 64, "%s/s%s", dir, suffix);
}

static int listener(const char *suffix, int type)
{
	char path[64];
	int fd;

	path_of(path, suffix);
	fd = unix_listen(path, type | SOCK_NONBLOCK, 8);
	cr_assert(ge(int, fd, 0));
	return fd;
}

static void open_sockets(struct spawn_request *req)
{
	static char cid[] = "cid=3";
	int pair[2];

	(void)snprintf(dir, sizeof(dir), "/tmp/contract-vsock-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	asks = pair[0];
	req->args[0] = cid;
	req->backend_fds[req->nr_backend_fds++] = listener("", SOCK_STREAM);
	req->backend_fds[req->nr_backend_fds++] =
		listener(VSOCK_SEQPACKET_SUFFIX, SOCK_SEQPACKET);
	req->backend_fds[req->nr_backend_fds++] = pair[1];
}

static void close_sockets(void)
{
	char path[64];

	fd_close(&asks);
	fd_close(&host);
	path_of(path, "");
	(void)unlink(path);
	path_of(path, VSOCK_SEQPACKET_SUFFIX);
	(void)unlink(path);
	(void)rmdir(dir);
}

/* ----------------------------------------------------------- the host's side
 */

static void host_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char line[32];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", PORT);

	path_of(sa.sun_path, "");
	fd_close(&host);
	host = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert(zero(int, connect(host, (struct sockaddr *)&sa, sizeof(sa))));
	cr_assert(zero(int, fd_write_all(host, line, (size_t)n)));
	rig_watch_host(host);
}

/* For nobody: it is taken and refused. */
static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	struct virtio_vsock_hdr h = { .src_cid = CID,
				      .dst_cid = VSOCK_HOST_CID,
				      .type = VIRTIO_VSOCK_TYPE_STREAM,
				      .op = VIRTIO_VSOCK_OP_RST };

	memcpy(guest_ptr(g, gpa), &h, sizeof(h));
	b[0] = (struct guest_buf){ gpa, sizeof(h), false };
	return 1;
}

/* Return: bytes of the host's connection, 0 for now. It must not end. */
static size_t host_read(void *buf, size_t size)
{
	ssize_t n = read(host, buf, size);

	cr_assert(n > 0 || (n < 0 && errno == EAGAIN),
		  "the connection has ended");
	return n > 0 ? (size_t)n : 0;
}

/* The answer to CONNECT. Return: it is there. */
static bool host_is_told(void)
{
	char line[32] = "", want[32];
	size_t n = host_read(line, sizeof(line) - 1);

	if (!n)
		return false;
	(void)snprintf(want, sizeof(want), "OK %u\n", host_port);
	cr_assert(eq(str, line, want));
	return true;
}

/* --------------------------------------------------------- the guest's side */

static void rx_post(uint16_t slot)
{
	struct guest_buf b = { rx_bufs + slot * BUF_SIZE, BUF_SIZE, true };

	cr_assert(eq(u16, rig.ring[VSOCK_RX].next_desc, slot));
	(void)guest_ring_add(&rig.ring[VSOCK_RX], &b, 1);
}

/* @len bytes of the stream with it. */
static void send_packet(uint16_t op, uint32_t len)
{
	uint16_t slot = rig.ring[VSOCK_TX].next_desc;
	struct guest_buf b = { tx_bufs + slot * BUF_SIZE, VSOCK_HDR_BYTES + len,
			       false };
	struct virtio_vsock_hdr h = { .src_cid = CID,
				      .dst_cid = VSOCK_HOST_CID,
				      .src_port = PORT,
				      .dst_port = host_port,
				      .len = len,
				      .type = VIRTIO_VSOCK_TYPE_STREAM,
				      .op = op,
				      .buf_alloc = BUF_ALLOC,
				      .fwd_cnt = (uint32_t)rx_seen };
	uint8_t *p = guest_ptr(&rig.g, b.gpa);

	cr_assert(not(tx_pending[slot]));
	memcpy(p, &h, sizeof(h));
	stream_fill(p + sizeof(h), len, &tx_sent);
	tx_pending[guest_ring_add(&rig.ring[VSOCK_TX], &b, 1)] = true;
	nr_tx++;
}

static void take_packet(const uint8_t *p, uint32_t len)
{
	struct virtio_vsock_hdr h;

	cr_assert(len >= sizeof(h) && len <= BUF_SIZE);
	memcpy(&h, p, sizeof(h));
	cr_assert(eq(u32, len, (uint32_t)sizeof(h) + h.len));
	cr_assert(eq(u64, h.dst_cid, CID));
	cr_assert(eq(u32, h.dst_port, PORT));
	if (!host_port && h.op == VIRTIO_VSOCK_OP_REQUEST) {
		host_port = h.src_port;
		return;
	}
	cr_assert(eq(u32, h.src_port, host_port));
	if (h.op == VIRTIO_VSOCK_OP_RW)
		stream_check(p + sizeof(h), h.len, &rx_seen, host_sent,
			     "input");
	else
		cr_assert(eq(u16, h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
}

static void collect_rx(void)
{
	uint16_t head;
	uint32_t len;
	bool posted = false;

	while (guest_ring_reap(&rig.ring[VSOCK_RX], &head, &len)) {
		const struct vring_desc *d = &rig.ring[VSOCK_RX].desc[head];

		take_packet(guest_ptr(&rig.g, d->addr), len);
		rx_post((uint16_t)((head + NR_RX) % SLOTS));
		posted = true;
	}
	if (posted)
		rig_kick(VSOCK_RX);
}

static void collect_tx(void)
{
	uint8_t bytes[4096];
	uint16_t head;
	uint32_t len;
	size_t n;

	while (guest_ring_reap(&rig.ring[VSOCK_TX], &head, &len)) {
		cr_assert(tx_pending[head], "completed twice");
		tx_pending[head] = false;
		nr_tx--;
	}
	while ((n = host_read(bytes, sizeof(bytes))))
		stream_check(bytes, n, &tx_seen, tx_sent, "output");
}

/* A reset has ended the connection that was; here is another. */
static void live(void)
{
	struct guest_buf event;

	if (!rx_bufs) {
		rx_bufs = guest_alloc(&rig.g, SLOTS * BUF_SIZE, 64);
		tx_bufs = guest_alloc(&rig.g, SLOTS * BUF_SIZE, 64);
		event_buf = guest_alloc(&rig.g, 64, 64);
	}
	memset(tx_pending, 0, sizeof(tx_pending));
	nr_tx = 0;
	tx_sent = tx_seen = host_sent = rx_seen = 0;
	host_port = 0;
	event = (struct guest_buf){ event_buf,
				    sizeof(struct virtio_vsock_event), true };
	(void)guest_ring_add(&rig.ring[VSOCK_EVENT], &event, 1);
	for (uint16_t i = 0; i < NR_RX; i++)
		rx_post(i);
	rig_kick(VSOCK_EVENT);
	rig_kick(VSOCK_RX);
	host_connect();
	for (collect_rx(); !host_port; collect_rx())
		rig_wait();
	send_packet(VIRTIO_VSOCK_OP_RESPONSE, 0);
	rig_kick(VSOCK_TX);
	while (!host_is_told())
		rig_wait();
}

static void begin(unsigned int n)
{
	while (n--)
		send_packet(VIRTIO_VSOCK_OP_RW,
			    1 + rig.ring[VSOCK_TX].next_desc % 64);
	rig_kick(VSOCK_TX);
}

static void flood(void)
{
	uint8_t bytes[FLOOD];

	stream_fill(bytes, FLOOD, &host_sent);
	cr_assert(zero(int, fd_write_all(host, bytes, FLOOD)));
}

static unsigned int collect(void)
{
	collect_rx();
	collect_tx();
	return nr_tx + (unsigned int)(tx_sent - tx_seen) +
	       (unsigned int)(host_sent - rx_seen);
}

/* The connection goes on, and nobody was told that it does not. */
static void kept(void)
{
	cr_assert(zero(u16, rig.ring[VSOCK_EVENT].used->idx));
	begin(1);
	flood();
	rig_finish_io();
	cr_assert(eq(u64, tx_seen, tx_sent));
	cr_assert(eq(u64, rx_seen, host_sent));
}

const struct contract_subject contract_vsock[] = {
	{
		.name = "vsock",
		.type = VIRTIO_TYPE_VSOCK,
		.open = open_sockets,
		.close = close_sockets,
		.queue = VSOCK_TX,
		.request = request,
		.host = host_connect,
		.features = FEATURES,
		.depth = DEPTH,
		.live = live,
		.begin = begin,
		.flood = flood,
		.collect = collect,
		.kept = kept,
	},
	{ NULL },
};
