/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection of the socket device: its life, and what goes through the host's
 * socket. See vsock.h.
 *
 * System calls: recvmsg, sendmsg, shutdown, poll, epoll_ctl, close.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

/* ------------------------------------------------------------------- life */

void vsock_conn_touch(struct vsock_conn *conn)
{
	conn->vs->touched[conn->index / 64] |= 1ULL << conn->index % 64;
}

static bool pending(enum vsock_state state)
{
	return state == VSOCK_HELLO || state == VSOCK_WAITING ||
	       state == VSOCK_REQUESTED;
}

void vsock_conn_set(struct vsock_conn *conn, enum vsock_state state)
{
	struct virtio_vsock *vs = conn->vs;

	vs->nr_pending += pending(state);
	vs->nr_pending -= pending(conn->state);
	vs->nr_orphans += state == VSOCK_ORPHAN;
	vs->nr_orphans -= conn->state == VSOCK_ORPHAN;
	vs->nr_closing += state == VSOCK_CLOSING;
	vs->nr_closing -= conn->state == VSOCK_CLOSING;
	conn->state = state;
	vsock_conn_touch(conn);
}

static void close_host(struct vsock_conn *conn)
{
	loop_remove(conn->vs->dev.loop, &conn->src);
	fd_close(&conn->fd);
	vsock_bytes_free(&conn->out);
	vsock_bytes_free(&conn->part);
	vsock_bytes_free(&conn->rec);
}

/* Those whose guest side is over give way. */
static void evict_one(struct virtio_vsock *vs)
{
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *c = vs->conns[i];

		if (c && (c->state == VSOCK_ORPHAN || c->state == VSOCK_GONE)) {
			vsock_conn_free(c);
			return;
		}
	}
}

struct vsock_conn *vsock_conn_new(struct virtio_vsock *vs, uint16_t type,
				  enum vsock_state state, int fd)
{
	struct vsock_conn *conn;
	uint16_t i = 0;

	if (vs->nr_conns == VSOCK_MAX_CONNS)
		evict_one(vs);
	if (vs->nr_conns == VSOCK_MAX_CONNS)
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	while (vs->conns[i])
		i++;
	vs->conns[i] = conn;
	vs->nr_conns++;
	conn->vs = vs;
	conn->index = i;
	conn->type = type;
	conn->fd = fd;
	conn->src.fd = -1;
	vsock_conn_set(conn, state);
	return conn;
}

void vsock_conn_free(struct vsock_conn *conn)
{
	struct virtio_vsock *vs;

	if (!conn)
		return;
	vs = conn->vs;
	vsock_conn_set(conn, VSOCK_GONE);
	close_host(conn);
	if (vs->dial_conn == conn)
		vs->dial_conn = NULL;
	vs->touched[conn->index / 64] &= ~(1ULL << conn->index % 64);
	vs->owing[conn->index / 64] &= ~(1ULL << conn->index % 64);
	vs->conns[conn->index] = NULL;
	vs->nr_conns--;
	vs->accept_failed = false;
	free(conn);
}

struct vsock_conn *vsock_conn_find(const struct virtio_vsock *vs, uint16_t type,
				   uint32_t guest_port, uint32_t host_port)
{
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *c = vs->conns[i];

		if (c && c->state != VSOCK_GONE && c->state != VSOCK_HELLO &&
		    c->state != VSOCK_ORPHAN && c->guest_port == guest_port &&
		    c->host_port == host_port && c->type == type)
			return c;
	}
	return NULL;
}

void vsock_conn_owe(struct vsock_conn *conn, uint8_t what)
{
	conn->owe |= what;
	conn->vs->owing[conn->index / 64] |= 1ULL << conn->index % 64;
	vsock_conn_touch(conn);
}

void vsock_conn_reset(struct vsock_conn *conn)
{
	close_host(conn);
	vsock_conn_set(conn, VSOCK_RESETTING);
	conn->owe = 0;
	vsock_conn_owe(conn, VSOCK_OWE_RESET);
}

void vsock_conn_orphan(struct vsock_conn *conn)
{
	bool rest = vsock_bytes_len(&conn->out) && conn->state == VSOCK_OPEN;

	conn->owe = 0;
	vsock_bytes_free(&conn->part);
	vsock_bytes_free(&conn->rec);
	vsock_conn_set(conn, rest ? VSOCK_ORPHAN : VSOCK_GONE);
}

void vsock_conn_sent(struct vsock_conn *conn, uint8_t what)
{
	if (what == VSOCK_OWE_REQUEST) {
		vsock_conn_set(conn, VSOCK_REQUESTED);
	} else if (what == VSOCK_OWE_RESET) {
		vsock_conn_set(conn, VSOCK_GONE);
	} else if (what == VSOCK_OWE_SHUTDOWN &&
		   conn->host_shut == VSOCK_SHUT_BOTH) {
		close_host(conn);
		conn->ticks = 0;
		vsock_conn_set(conn, VSOCK_CLOSING);
	}
}

void vsock_conn_forget(struct vsock_conn *conn)
{
	switch (conn->state) {
	case VSOCK_HELLO:
	case VSOCK_ORPHAN:
	case VSOCK_GONE:
		return;
	case VSOCK_WAITING:
	case VSOCK_REQUESTED:
		vsock_conn_set(conn, VSOCK_WAITING);
		conn->owe = 0;
		vsock_conn_owe(conn, VSOCK_OWE_REQUEST);
		return;
	case VSOCK_OPEN:
		vsock_conn_orphan(conn);
		return;
	case VSOCK_DIALING:
	case VSOCK_CLOSING:
	case VSOCK_RESETTING:
		vsock_conn_set(conn, VSOCK_GONE);
		return;
	}
}

/* ------------------------------------------------------------ of the guest */

uint32_t vsock_credit(const struct vsock_conn *conn)
{
	uint32_t used = conn->tx_cnt - conn->peer_fwd_cnt;

	return used < conn->peer_buf_alloc ? conn->peer_buf_alloc - used : 0;
}

bool vsock_type_ok(const struct virtio_vsock *vs, uint16_t type)
{
	switch (type) {
	case VIRTIO_VSOCK_TYPE_STREAM:
		return virtio_dev_has(&vs->dev, VSOCK_F_STREAM) ||
		       !virtio_dev_has(&vs->dev, VSOCK_F_NO_IMPLIED_STREAM);
	case VIRTIO_VSOCK_TYPE_SEQPACKET:
		return virtio_dev_has(&vs->dev, VSOCK_F_SEQPACKET);
	default:
		return false;
	}
}

void vsock_wake(struct virtio_vsock *vs)
{
	if (!vs->armed)
		return;
	vs->armed = false;
	virtio_dev_wake(&vs->dev);
}

/* ---------------------------------------------------------- to the host */

/* Before the guest sees the window close; see vsock.h for the counters. */
static void tell_credit(struct vsock_conn *conn)
{
	uint32_t window = VSOCK_BUF_BYTES - (conn->rx_cnt - conn->told_fwd_cnt);

	if (window < VSOCK_BUF_BYTES / 2 && conn->fwd_cnt != conn->told_fwd_cnt)
		vsock_conn_owe(conn, VSOCK_OWE_CREDIT);
}

static void host_shut(struct vsock_conn *conn, uint8_t flags)
{
	if ((conn->host_shut | flags) == conn->host_shut)
		return;
	conn->host_shut |= flags;
	if (conn->state == VSOCK_OPEN)
		vsock_conn_owe(conn, VSOCK_OWE_SHUTDOWN);
}

/* The host takes nothing more: what comes counts as taken. */
static void out_lost(struct vsock_conn *conn)
{
	if (conn->out_dead)
		return;
	conn->out_dead = true;
	vsock_bytes_free(&conn->out);
	vsock_bytes_free(&conn->part);
	conn->fwd_cnt = conn->rx_cnt;
	vsock_conn_touch(conn);
	host_shut(conn, VSOCK_SHUT_RCV);
}

/* Return: bytes taken; -EAGAIN; another error has been dealt with. */
static ssize_t host_send(struct vsock_conn *conn, struct iovec *iov,
			 unsigned int nr)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = nr };
	ssize_t n;

	do {
		n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
		return -EAGAIN;
	if (errno == EMSGSIZE) {
		log_limited(&conn->vs->limit,
			    "vsock: a record is too long for the host's "
			    "socket buffers; connection reset");
		if (conn->state == VSOCK_ORPHAN)
			vsock_conn_set(conn, VSOCK_GONE);
		else
			vsock_conn_reset(conn);
		return -EMSGSIZE;
	}
	out_lost(conn);
	return -EPIPE;
}

/* All has been sent: what the guest has shut can be shut for the host. */
static void shut_host(struct vsock_conn *conn)
{
	if (!(conn->guest_shut & VSOCK_SHUT_SEND) || conn->wr_closed ||
	    vsock_bytes_len(&conn->out) || conn->fd < 0)
		return;
	conn->wr_closed = true;
	(void)shutdown(conn->fd, SHUT_WR);
}

/* One record, or as much of a stream as is taken. Return: as host_send(). */
static ssize_t drain_once(struct vsock_conn *conn)
{
	struct vsock_bytes *b = &conn->out;
	uint32_t head = 0, len = vsock_bytes_len(b);
	struct iovec iov;
	ssize_t n;

	if (conn->type == VIRTIO_VSOCK_TYPE_SEQPACKET)
		len = vsock_record_front(b, &head);
	iov.iov_base = b->p + b->start + head;
	iov.iov_len = len;
	n = host_send(conn, &iov, 1);
	if (n <= 0)
		return n;
	conn->fwd_cnt += (uint32_t)n;
	vsock_bytes_skip(b, head + (uint32_t)n);
	return n;
}

void vsock_conn_drain(struct vsock_conn *conn)
{
	while (vsock_bytes_len(&conn->out) && drain_once(conn) > 0)
		continue;
	vsock_conn_touch(conn);
	if (conn->state == VSOCK_ORPHAN && !vsock_bytes_len(&conn->out))
		vsock_conn_set(conn, VSOCK_GONE);
	if (conn->state != VSOCK_OPEN)
		return;
	shut_host(conn);
	tell_credit(conn);
}

/* Not sent, or only in part, since the host does not take it now. */
static void keep(struct vsock_conn *conn, const struct iovec *iov,
		 unsigned int nr, uint32_t off, uint32_t len)
{
	int r;

	if (conn->type == VIRTIO_VSOCK_TYPE_SEQPACKET)
		r = vsock_record_add(&conn->out, iov, nr, len);
	else
		r = vsock_bytes_add(&conn->out, iov, nr, off, len);
	if (r < 0)
		vsock_conn_reset(conn);
}

/* A stream's bytes or a whole record. */
static void send_or_keep(struct vsock_conn *conn, struct iovec *iov,
			 unsigned int nr, uint32_t len)
{
	ssize_t n = -EAGAIN;

	/* Nothing overtakes what waits. */
	if (!vsock_bytes_len(&conn->out))
		n = host_send(conn, iov, nr);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0)
		return;
	conn->fwd_cnt += (uint32_t)n;
	if ((uint32_t)n < len)
		keep(conn, iov, nr, (uint32_t)n, len - (uint32_t)n);
}

void vsock_conn_write(struct vsock_conn *conn, struct iovec *iov,
		      unsigned int nr, uint32_t len, uint32_t flags)
{
	struct iovec whole;

	vsock_conn_touch(conn);
	if (conn->out_dead) {
		conn->fwd_cnt += len;
	} else if (conn->type == VIRTIO_VSOCK_TYPE_STREAM ||
		   (flags & VIRTIO_VSOCK_SEQ_EOM &&
		    !vsock_bytes_len(&conn->part))) {
		if (len)
			send_or_keep(conn, iov, nr, len);
	} else if (vsock_bytes_add(&conn->part, iov, nr, 0, len) < 0) {
		vsock_conn_reset(conn);
	} else if (flags & VIRTIO_VSOCK_SEQ_EOM) {
		whole.iov_base = conn->part.p + conn->part.start;
		whole.iov_len = vsock_bytes_len(&conn->part);
		send_or_keep(conn, &whole, 1, (uint32_t)whole.iov_len);
		vsock_bytes_free(&conn->part);
	}
	if (conn->state == VSOCK_OPEN)
		tell_credit(conn);
}

void vsock_conn_guest_shut(struct vsock_conn *conn)
{
	vsock_conn_touch(conn);
	if (conn->guest_shut & VSOCK_SHUT_SEND) {
		/* What was begun of a record is never ended. */
		vsock_bytes_free(&conn->part);
		shut_host(conn);
	}
	if (conn->guest_shut & VSOCK_SHUT_RCV) {
		vsock_bytes_free(&conn->rec);
		(void)shutdown(conn->fd, SHUT_RD);
	}
}

void vsock_conn_opened(struct vsock_conn *conn)
{
	char line[32];
	struct iovec iov = { .iov_base = line };

	iov.iov_len = (size_t)snprintf(line, sizeof(line), "OK %u\n",
				       conn->host_port);
	vsock_conn_set(conn, VSOCK_OPEN);
	/* A new socket has room; if not, it is the host's who has gone. */
	if (host_send(conn, &iov, 1) != (ssize_t)iov.iov_len)
		vsock_conn_reset(conn);
}

void vsock_conn_dialled(struct vsock_conn *conn, int fd)
{
	if (conn->state != VSOCK_DIALING) {
		fd_close(&fd);
		return;
	}
	if (fd < 0) {
		vsock_conn_reset(conn);
		return;
	}
	conn->fd = fd;
	vsock_conn_set(conn, VSOCK_OPEN);
	vsock_conn_owe(conn, VSOCK_OWE_RESPONSE);
}

/* -------------------------------------------------------- from the host */

ssize_t vsock_host_recv(struct vsock_conn *conn, void *buf, size_t len,
			int flags)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	do {
		n = recvmsg(conn->fd, &msg, flags | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void vsock_conn_ended(struct vsock_conn *conn)
{
	struct pollfd p = { .fd = conn->fd };

	conn->eof = true;
	vsock_conn_touch(conn);
	host_shut(conn, VSOCK_SHUT_SEND);
	if (poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))
		conn->hup = true;
	if (conn->hup)
		out_lost(conn);
}

void vsock_conn_hung_up(struct vsock_conn *conn)
{
	conn->hup = true;
	out_lost(conn);
	/* Nothing that is left would be taken. */
	if (conn->eof || conn->guest_shut & VSOCK_SHUT_RCV)
		vsock_conn_ended(conn);
}
