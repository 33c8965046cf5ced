/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets of the socket device to the guest. See vsock.h.
 *
 * A control packet is a bit of its connection until there is a buffer for it,
 * so nothing queues up but RSTs for packets of no connection. Bytes stay in the
 * host's socket until there is both credit and a buffer; a record is taken out
 * of it at once and waits in conn->rec while it goes packet by packet.
 *
 * System calls: readv, recvmsg; write of eventfds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "virtio/iov.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

/* Packets of one connection in one turn of the loop. */
#define TURN_PACKETS 16U

struct rx_buf {
	struct virtq_chain c;
	struct iovec iov[VIRTQ_MAX_CHAIN];
};

/* Return: false if there is no buffer; the driver's kick will tell. */
static bool take(struct virtio_vsock *vs, struct rx_buf *b)
{
	struct virtq *vq = &vs->dev.queues[VSOCK_RX];
	int r;

	if (!vsock_live(vs) || vs->rx_starved)
		return false;
	do {
		r = virtq_pop(vq, &b->c, b->iov, ARRAY_SIZE(b->iov));
	} while (r == 0 && virtq_enable_kick(vq));
	if (r == 0)
		vs->rx_starved = true;
	if (r == 0 || r == -EPROTO)
		return false;
	if (r < 0 || b->c.len_in <= VSOCK_HDR_BYTES) {
		virtq_push(vq, b->c.head, 0);
		virtq_break(vq, "a receive buffer without room for a packet");
		return false;
	}
	return true;
}

static void give_back(struct virtio_vsock *vs, const struct rx_buf *b)
{
	virtq_unpop(&vs->dev.queues[VSOCK_RX], &b->c.head, 1);
}

/* @hdr: but for the addresses. The payload is in the buffer already. */
static void put(struct virtio_vsock *vs, struct rx_buf *b,
		struct virtio_vsock_hdr *hdr)
{
	hdr->src_cid = VSOCK_HOST_CID;
	hdr->dst_cid = vs->cid;
	(void)iov_write(b->iov + b->c.nr_out, b->c.nr_in, 0, hdr, sizeof(*hdr));
	virtq_push(&vs->dev.queues[VSOCK_RX], b->c.head,
		   VSOCK_HDR_BYTES + hdr->len);
}

static void put_conn(struct vsock_conn *conn, struct rx_buf *b, uint16_t op,
		     uint32_t flags, uint32_t len)
{
	struct virtio_vsock_hdr hdr = {
		.src_port = conn->host_port,
		.dst_port = conn->guest_port,
		.len = len,
		.type = conn->type,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCK_BUF_BYTES,
		.fwd_cnt = conn->fwd_cnt,
	};

	put(conn->vs, b, &hdr);
	conn->tx_cnt += len;
	/* Each packet tells the credit. */
	conn->told_fwd_cnt = conn->fwd_cnt;
	conn->owe &= (uint8_t)~VSOCK_OWE_CREDIT;
}

/* ------------------------------------------------------------ what is owed */

/* RSTs for no connection. Return: false if a buffer is missing. */
static bool send_resets(struct virtio_vsock *vs, struct rx_buf *b)
{
	unsigned int n = 0;

	while (n < vs->nr_resets && take(vs, b)) {
		struct virtio_vsock_hdr hdr = {
			.src_port = vs->resets[n].host_port,
			.dst_port = vs->resets[n].guest_port,
			.type = vs->resets[n].type,
			.op = VIRTIO_VSOCK_OP_RST,
		};

		put(vs, b, &hdr);
		n++;
	}
	vs->nr_resets -= n;
	memmove(vs->resets, vs->resets + n,
		vs->nr_resets * sizeof(vs->resets[0]));
	if (n && vs->tx_blocked) {
		vs->tx_blocked = false;
		virtq_requeue_kick(&vs->dev.queues[VSOCK_TX]);
	}
	return vs->nr_resets == 0;
}

/* As much of the record as credit and the buffer allow. */
static void send_record(struct vsock_conn *conn, struct rx_buf *b)
{
	struct vsock_bytes *rec = &conn->rec;
	uint32_t n = MIN(vsock_bytes_len(rec), vsock_credit(conn));
	bool last;

	n = (uint32_t)MIN(n, b->c.len_in - VSOCK_HDR_BYTES);
	n = MIN(n, VSOCK_PACKET_BYTES);
	(void)iov_write(b->iov + b->c.nr_out, b->c.nr_in, VSOCK_HDR_BYTES,
			rec->p + rec->start, n);
	last = n == vsock_bytes_len(rec);
	put_conn(conn, b, VIRTIO_VSOCK_OP_RW, last ? VIRTIO_VSOCK_SEQ_EOM : 0,
		 n);
	vsock_bytes_skip(rec, n);
}

static const struct {
	uint8_t owe;
	uint16_t op;
} controls[] = {
	{ VSOCK_OWE_RESET, VIRTIO_VSOCK_OP_RST },
	{ VSOCK_OWE_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ VSOCK_OWE_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ VSOCK_OWE_CREDIT_ASK, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	{ VSOCK_OWE_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
	{ VSOCK_OWE_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
};

/* The next control packet, or -1. The end comes after what was before it. */
static int next_control(const struct vsock_conn *conn)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(controls); i++) {
		if (!(conn->owe & controls[i].owe))
			continue;
		if (controls[i].owe == VSOCK_OWE_SHUTDOWN &&
		    vsock_bytes_len(&conn->rec))
			continue;
		return (int)i;
	}
	return -1;
}

static void send_control(struct vsock_conn *conn, struct rx_buf *b, int i)
{
	uint8_t what = controls[i].owe;

	conn->owe &= (uint8_t)~what;
	put_conn(conn, b, controls[i].op,
		 what == VSOCK_OWE_SHUTDOWN ? conn->host_shut : 0, 0);
	vsock_conn_sent(conn, what);
}

/* Return: false if a buffer is missing. */
static bool send_owed(struct vsock_conn *conn, struct rx_buf *b)
{
	struct virtio_vsock *vs = conn->vs;
	int i;

	if (conn->owe & VSOCK_OWE_REQUEST && !vsock_type_ok(vs, conn->type)) {
		/* The driver knows no such sockets. */
		vsock_conn_orphan(conn);
	}
	for (;;) {
		i = next_control(conn);
		if (i < 0 &&
		    !(vsock_bytes_len(&conn->rec) && vsock_credit(conn)))
			break;
		if (!take(vs, b))
			return false;
		if (i >= 0)
			send_control(conn, b, i);
		else
			send_record(conn, b);
	}
	/* The rest of a record goes when credit comes. */
	vs->owing[conn->index / 64] &= ~(1ULL << conn->index % 64);
	return true;
}

void vsock_rx_run(struct virtio_vsock *vs)
{
	struct rx_buf b;
	bool more = vsock_live(vs) && send_resets(vs, &b);

	for (unsigned int n = 0; n < VSOCK_MAX_CONNS && more; n++) {
		unsigned int i = (vs->next_send + n) % VSOCK_MAX_CONNS;

		if (!(vs->owing[i / 64] >> i % 64 & 1))
			continue;
		more = send_owed(vs->conns[i], &b);
		/* Who had to wait is the first next time. */
		if (!more)
			vs->next_send = i;
	}
	if (vsock_live(vs))
		(void)virtq_signal(&vs->dev.queues[VSOCK_RX]);
}

/* ---------------------------------------------------------------- the host */

/* Bytes of a stream. Return: as read(2), or -errno. */
static ssize_t read_stream(struct vsock_conn *conn, uint32_t credit,
			   struct rx_buf *b)
{
	struct iovec iov[VIRTQ_MAX_CHAIN];
	uint32_t max;
	ssize_t n;
	int nr;

	if (!take(conn->vs, b))
		return -EAGAIN;
	max = (uint32_t)MIN(b->c.len_in - VSOCK_HDR_BYTES, credit);
	max = MIN(max, VSOCK_PACKET_BYTES);
	nr = iov_slice(b->iov + b->c.nr_out, b->c.nr_in, VSOCK_HDR_BYTES, max,
		       iov, ARRAY_SIZE(iov));
	if (nr <= 0) {
		give_back(conn->vs, b);
		return -EAGAIN;
	}
	do {
		n = readv(conn->fd, iov, nr);
	} while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : n;
	if (n > 0)
		put_conn(conn, b, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)n);
	else
		give_back(conn->vs, b);
	return n;
}

/*
 * No bytes: a record without any, or the end? The former is dropped, as Linux
 * sends none over vsock either. Return: 0 the end, -EAGAIN not yet, -errno.
 */
static ssize_t empty_record(struct vsock_conn *conn)
{
	struct pollfd p = { .fd = conn->fd, .events = POLLRDHUP };
	ssize_t n = vsock_host_recv(conn, NULL, 0, 0);

	if (n < 0)
		return n;
	if (poll(&p, 1, 0) != 1)
		return -EAGAIN;
	/* The host sends no more; is that all there was? */
	n = vsock_host_recv(conn, NULL, 0, MSG_PEEK | MSG_TRUNC);
	return n > 0 ? -EAGAIN : n;
}

/* A record into conn->rec. Return: as read(2), or -errno. */
static ssize_t read_record(struct vsock_conn *conn, struct rx_buf *b)
{
	ssize_t n = vsock_host_recv(conn, NULL, 0, MSG_PEEK | MSG_TRUNC);
	uint32_t len;
	uint8_t *p;

	/* It closed with records unread; but its own may be there still. */
	if (n == -ECONNRESET)
		n = vsock_host_recv(conn, NULL, 0, MSG_PEEK | MSG_TRUNC);
	if (n == 0)
		return empty_record(conn);
	if (n < 0)
		return n;
	len = (uint32_t)n;
	if (n > VSOCK_RECORD_MAX || len > conn->peer_buf_alloc) {
		log_limited(&conn->vs->host_limit,
			    "vsock: the host sent a record of %zd bytes, more "
			    "than a record or the guest's buffer may have; "
			    "connection reset",
			    n);
		vsock_conn_reset(conn);
		return -EMSGSIZE;
	}
	p = vsock_bytes_room(&conn->rec, len);
	if (!p) {
		vsock_conn_reset(conn);
		return -EMSGSIZE;
	}
	n = vsock_host_recv(conn, p, len, 0);
	if (n <= 0) {
		vsock_bytes_free(&conn->rec);
		return n;
	}
	conn->rec.end += (uint32_t)n;
	vsock_conn_owe(conn, 0);
	(void)send_owed(conn, b);
	return n;
}

/* Return: whether there may be more. */
static bool read_once(struct vsock_conn *conn, struct rx_buf *b)
{
	uint32_t credit = vsock_credit(conn);
	ssize_t n;

	if (!credit) {
		if (!conn->credit_ask)
			vsock_conn_owe(conn, VSOCK_OWE_CREDIT_ASK);
		conn->credit_ask = true;
		return false;
	}
	if (conn->type == VIRTIO_VSOCK_TYPE_SEQPACKET)
		n = read_record(conn, b);
	else
		n = read_stream(conn, credit, b);
	if (n == -EAGAIN || n == -EMSGSIZE)
		return false;
	vsock_wake(conn->vs);
	/* ECONNRESET: it closed with bytes unread. The end as well. */
	if (n <= 0)
		vsock_conn_ended(conn);
	return n > 0;
}

void vsock_rx_read(struct vsock_conn *conn)
{
	const uint8_t first = (uint8_t) ~(
		VSOCK_OWE_CREDIT | VSOCK_OWE_CREDIT_ASK | VSOCK_OWE_SHUTDOWN);
	struct rx_buf b;

	for (unsigned int n = 0; n < TURN_PACKETS; n++) {
		if (conn->state != VSOCK_OPEN || conn->eof ||
		    conn->owe & first || vsock_bytes_len(&conn->rec) ||
		    conn->guest_shut & VSOCK_SHUT_RCV || !read_once(conn, &b))
			break;
	}
	vsock_conn_owe(conn, 0);
}

/* ------------------------------------------------------------------ events */

void vsock_rx_event(struct virtio_vsock *vs)
{
	static const struct virtio_vsock_event event = {
		.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET
	};
	struct virtq *vq = &vs->dev.queues[VSOCK_EVENT];
	struct rx_buf b;
	int r;

	if (!vs->running[VSOCK_EVENT])
		return;
	do {
		r = virtq_pop(vq, &b.c, b.iov, ARRAY_SIZE(b.iov));
	} while (r == 0 && virtq_enable_kick(vq));
	if (r == 0 || r == -EPROTO)
		return;
	if (r < 0 || b.c.len_in < sizeof(event)) {
		virtq_push(vq, b.c.head, 0);
		virtq_break(vq, "an event buffer without room for an event");
		return;
	}
	if (!vs->event_owed) {
		/* Nothing to say; but a broken ring is told now. */
		virtq_unpop(vq, &b.c.head, 1);
		virtq_disable_kick(vq);
		return;
	}
	(void)iov_write(b.iov + b.c.nr_out, b.c.nr_in, 0, &event,
			sizeof(event));
	virtq_push(vq, b.c.head, sizeof(event));
	(void)virtq_signal(vq);
	vs->event_owed = false;
}
