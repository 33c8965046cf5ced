/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets of the socket device from the guest. See vsock.h. Each is used at
 * once: what the host does not take now is kept, within the credit that the
 * guest was given. Only if RSTs cannot be sent, for want of receive buffers,
 * does the ring wait (5.10.6.1).
 *
 * A guest that breaks the rules loses that connection, or gets no answer.
 */
#define _GNU_SOURCE
#include <errno.h>

#include "virtio/iov.h"
#include "virtio/turn.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

/* Packets of one turn of the loop. */
#define TURN_PACKETS 64U
#define TURN_BYTES   (2U << 20)

struct packet {
	struct virtio_vsock_hdr hdr;
	struct iovec *iov; /* of the whole chain */
	unsigned int nr;
	uint64_t payload; /* bytes behind the header */
};

/* No connection, and none shall be. A RST is answered by nothing. */
static void refuse(struct virtio_vsock *vs, const struct packet *p)
{
	if (p->hdr.op == VIRTIO_VSOCK_OP_RST)
		return;
	/* There is room: see serve(). */
	vs->resets[vs->nr_resets++] = (struct vsock_reset){
		.guest_port = p->hdr.src_port,
		.host_port = p->hdr.dst_port,
		.type = p->hdr.type,
	};
}

static void bad(struct vsock_conn *conn, const char *what)
{
	log_limited(&conn->vs->limit,
		    "vsock: the guest violates the protocol: %s; connection "
		    "reset",
		    what);
	vsock_conn_reset(conn);
}

static void on_request(struct virtio_vsock *vs, const struct packet *p)
{
	struct vsock_conn *conn =
		vsock_conn_new(vs, p->hdr.type, VSOCK_DIALING, -1);

	if (!conn) {
		log_limited(&vs->limit,
			    "vsock: more than %u connections; refused",
			    VSOCK_MAX_CONNS);
		refuse(vs, p);
		return;
	}
	conn->guest_port = p->hdr.src_port;
	conn->host_port = p->hdr.dst_port;
	conn->peer_buf_alloc = p->hdr.buf_alloc;
	conn->peer_fwd_cnt = p->hdr.fwd_cnt;
}

static void on_data(struct vsock_conn *conn, const struct packet *p)
{
	struct iovec iov[VIRTQ_MAX_CHAIN];
	uint32_t len = p->hdr.len;
	int nr = 0;

	if (len > p->payload) {
		bad(conn, "a length beyond the buffer");
		return;
	}
	if (len > VSOCK_BUF_BYTES - (conn->rx_cnt - conn->fwd_cnt)) {
		bad(conn, "more bytes than it had credit for");
		return;
	}
	if (conn->guest_shut & VSOCK_SHUT_SEND) {
		bad(conn, "bytes after their end");
		return;
	}
	if (len)
		nr = iov_slice(p->iov, p->nr, VSOCK_HDR_BYTES, len, iov,
			       ARRAY_SIZE(iov));
	if (nr < 0) {
		bad(conn, "a packet in too many pieces");
		return;
	}
	conn->rx_cnt += len;
	vsock_conn_write(conn, iov, (unsigned int)nr, len, p->hdr.flags);
}

static void on_shutdown(struct vsock_conn *conn, const struct packet *p)
{
	conn->guest_shut |= (uint8_t)(p->hdr.flags & VSOCK_SHUT_BOTH);
	if (conn->guest_shut == VSOCK_SHUT_BOTH) {
		refuse(conn->vs, p);
		vsock_conn_orphan(conn);
	} else if (conn->state == VSOCK_OPEN) {
		vsock_conn_guest_shut(conn);
	}
}

static void on_open(struct vsock_conn *conn, const struct packet *p)
{
	switch (p->hdr.op) {
	case VIRTIO_VSOCK_OP_RW:
		on_data(conn, p);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		on_shutdown(conn, p);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		vsock_conn_owe(conn, VSOCK_OWE_CREDIT);
		break;
	default:
		bad(conn, "an operation out of place");
		break;
	}
}

static void on_requested(struct vsock_conn *conn, const struct packet *p)
{
	if (p->hdr.op == VIRTIO_VSOCK_OP_RESPONSE)
		vsock_conn_opened(conn);
	else
		bad(conn, "no answer to a request");
}

static void credit(struct vsock_conn *conn, const struct packet *p)
{
	conn->peer_buf_alloc = p->hdr.buf_alloc;
	conn->peer_fwd_cnt = p->hdr.fwd_cnt;
	if (vsock_credit(conn))
		conn->credit_ask = false;
	/* A record may go on, and the socket be polled. */
	vsock_conn_owe(conn, 0);
}

static void on_conn(struct vsock_conn *conn, const struct packet *p)
{
	if (p->hdr.op == VIRTIO_VSOCK_OP_RST) {
		vsock_conn_orphan(conn);
		return;
	}
	credit(conn, p);
	switch (conn->state) {
	case VSOCK_OPEN:
		on_open(conn, p);
		break;
	case VSOCK_REQUESTED:
		on_requested(conn, p);
		break;
	case VSOCK_CLOSING:
		/* The host has gone: only the end counts. */
		if (p->hdr.op == VIRTIO_VSOCK_OP_SHUTDOWN)
			on_shutdown(conn, p);
		break;
	case VSOCK_RESETTING:
		break;
	default:
		bad(conn, "a packet before it is open");
		break;
	}
}

static void handle(struct virtio_vsock *vs, const struct packet *p)
{
	struct vsock_conn *conn;

	if (p->hdr.src_cid != vs->cid || p->hdr.dst_cid != VSOCK_HOST_CID) {
		log_limited(&vs->limit,
			    "vsock: a packet from CID %llu to CID %llu dropped",
			    (unsigned long long)p->hdr.src_cid,
			    (unsigned long long)p->hdr.dst_cid);
		return;
	}
	if (!vsock_type_ok(vs, p->hdr.type)) {
		refuse(vs, p);
		return;
	}
	conn = vsock_conn_find(vs, p->hdr.type, p->hdr.src_port,
			       p->hdr.dst_port);
	if (p->hdr.op == VIRTIO_VSOCK_OP_REQUEST) {
		/* The guest has forgotten the old connection. */
		if (conn)
			vsock_conn_orphan(conn);
		on_request(vs, p);
	} else if (conn) {
		on_conn(conn, p);
	} else {
		refuse(vs, p);
	}
}

/* A packet causes one RST at most: there is room for it. */
static bool serve(struct virtio_dev *dev, struct virtq *vq,
		  const struct virtq_chain *chain, struct turn *turn)
{
	struct virtio_vsock *vs = container_of(dev, struct virtio_vsock, dev);
	struct packet p = { .iov = chain->iov, .nr = chain->nr_out };

	/* Read once: the guest may change it. */
	if (iov_read(chain->iov, chain->nr_out, 0, &p.hdr, sizeof(p.hdr)) <
	    sizeof(p.hdr)) {
		log_limited(&vs->limit, "vsock: a packet without a header");
	} else {
		p.payload = chain->len_out - sizeof(p.hdr);
		handle(vs, &p);
	}
	virtq_push(vq, chain->head, 0);
	vs->tx_blocked = vs->nr_resets == VSOCK_MAX_RESETS;
	return !vs->tx_blocked;
}

void vsock_tx_run(struct virtio_vsock *vs)
{
	struct turn turn = turn_begin(TURN_PACKETS, TURN_BYTES);

	vs->tx_blocked = vs->nr_resets == VSOCK_MAX_RESETS;
	if (!vs->tx_blocked)
		virtq_serve(&vs->dev, &vs->dev.queues[VSOCK_TX], &turn, serve);
}
