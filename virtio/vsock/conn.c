/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection of the socket device: its life and its host side. See vsock.h.
 *
 * System calls: accept4, recvmsg, sendmsg, shutdown, poll, epoll_ctl, close.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

/* Ports of the host's side, as Firecracker numbers them. */
#define FIRST_HOST_PORT (1U << 30)
#define LAST_HOST_PORT	((1U << 31) - 1)
#define PORT_ANY	UINT32_MAX

/* ------------------------------------------------------------------- life */

static void touch(struct vsock_conn *conn)
{
	conn->vs->touched[conn->index / 64] |= 1ULL << conn->index % 64;
}

static bool pending(enum vsock_state state)
{
	return state == VSOCK_HELLO || state == VSOCK_WAITING ||
	       state == VSOCK_REQUESTED;
}

static void set_state(struct vsock_conn *conn, enum vsock_state state)
{
	struct virtio_vsock *vs = conn->vs;

	vs->nr_pending += pending(state);
	vs->nr_pending -= pending(conn->state);
	vs->nr_orphans += state == VSOCK_ORPHAN;
	vs->nr_orphans -= conn->state == VSOCK_ORPHAN;
	vs->nr_closing += state == VSOCK_CLOSING;
	vs->nr_closing -= conn->state == VSOCK_CLOSING;
	conn->state = state;
	touch(conn);
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
	set_state(conn, state);
	return conn;
}

void vsock_conn_free(struct vsock_conn *conn)
{
	struct virtio_vsock *vs;

	if (!conn)
		return;
	vs = conn->vs;
	set_state(conn, VSOCK_GONE);
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
	touch(conn);
}

void vsock_conn_reset(struct vsock_conn *conn)
{
	close_host(conn);
	set_state(conn, VSOCK_RESETTING);
	conn->owe = 0;
	vsock_conn_owe(conn, VSOCK_OWE_RESET);
}

void vsock_conn_orphan(struct vsock_conn *conn)
{
	bool rest = vsock_bytes_len(&conn->out) && conn->state == VSOCK_OPEN;

	conn->owe = 0;
	vsock_bytes_free(&conn->part);
	vsock_bytes_free(&conn->rec);
	set_state(conn, rest ? VSOCK_ORPHAN : VSOCK_GONE);
}

void vsock_conn_sent(struct vsock_conn *conn, uint8_t what)
{
	if (what == VSOCK_OWE_REQUEST) {
		set_state(conn, VSOCK_REQUESTED);
	} else if (what == VSOCK_OWE_RESET) {
		set_state(conn, VSOCK_GONE);
	} else if (what == VSOCK_OWE_SHUTDOWN &&
		   conn->host_shut == VSOCK_SHUT_BOTH) {
		close_host(conn);
		conn->ticks = 0;
		set_state(conn, VSOCK_CLOSING);
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
		set_state(conn, VSOCK_WAITING);
		conn->owe = 0;
		vsock_conn_owe(conn, VSOCK_OWE_REQUEST);
		return;
	case VSOCK_OPEN:
		vsock_conn_orphan(conn);
		return;
	case VSOCK_DIALING:
	case VSOCK_CLOSING:
	case VSOCK_RESETTING:
		set_state(conn, VSOCK_GONE);
		return;
	}
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
	touch(conn);
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
			set_state(conn, VSOCK_GONE);
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

static void drain(struct vsock_conn *conn)
{
	while (vsock_bytes_len(&conn->out) && drain_once(conn) > 0)
		continue;
	touch(conn);
	if (conn->state == VSOCK_ORPHAN && !vsock_bytes_len(&conn->out))
		set_state(conn, VSOCK_GONE);
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

	touch(conn);
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
	touch(conn);
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
	set_state(conn, VSOCK_OPEN);
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
	set_state(conn, VSOCK_OPEN);
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
	touch(conn);
	host_shut(conn, VSOCK_SHUT_SEND);
	if (poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))
		conn->hup = true;
	if (conn->hup)
		out_lost(conn);
}

/* "CONNECT <port>", any case, in blanks. Return: 0 or -EINVAL. */
static int parse_line(struct vsock_conn *conn)
{
	static const char word[] = "connect";
	const char *p = conn->line, *end = conn->line + conn->line_len;
	uint64_t port = 0;
	bool digits = false;

	if (conn->line_len <= strlen(word) ||
	    strncasecmp(p, word, strlen(word)) != 0)
		return -EINVAL;
	p += strlen(word);
	if (*p != ' ')
		return -EINVAL;
	while (p < end && *p == ' ')
		p++;
	for (; p < end && *p >= '0' && *p <= '9' && port <= UINT32_MAX; p++) {
		port = port * 10 + (uint64_t)(*p - '0');
		digits = true;
	}
	while (p < end && (*p == ' ' || *p == '\r' || *p == '\n'))
		p++;
	if (!digits || p != end || port >= PORT_ANY)
		return -EINVAL;
	conn->guest_port = (uint32_t)port;
	return 0;
}

static uint32_t new_host_port(struct virtio_vsock *vs,
			      const struct vsock_conn *c)
{
	uint32_t port;

	do {
		port = vs->next_host_port;
		vs->next_host_port =
			port == LAST_HOST_PORT ? FIRST_HOST_PORT : port + 1;
	} while (vsock_conn_find(vs, c->type, c->guest_port, port));
	return port;
}

static void line_over(struct vsock_conn *conn, bool complete)
{
	if (!complete || parse_line(conn) < 0) {
		log_limited(&conn->vs->host_limit,
			    "vsock: a connection of the host does not begin "
			    "with 'CONNECT <port>'; closed");
		set_state(conn, VSOCK_GONE);
		return;
	}
	conn->host_port = new_host_port(conn->vs, conn);
	set_state(conn, VSOCK_WAITING);
	vsock_conn_owe(conn, VSOCK_OWE_REQUEST);
	vsock_wake(conn->vs);
}

/* Return: bytes of the line taken off the socket; 0 or -errno: none. */
static ssize_t take_line(struct vsock_conn *conn, bool *ret_complete)
{
	char *at = conn->line + conn->line_len;
	size_t room = VSOCK_LINE_MAX - conn->line_len;
	const char *newline;
	ssize_t n;

	if (conn->type == VIRTIO_VSOCK_TYPE_SEQPACKET) {
		*ret_complete = true;
		n = vsock_host_recv(conn, at, room, MSG_TRUNC);
		return n > (ssize_t)room ? -EMSGSIZE : n;
	}
	/* Not a byte beyond the line: that is for the guest. */
	n = vsock_host_recv(conn, at, room, MSG_PEEK);
	if (n <= 0)
		return n;
	newline = memchr(at, '\n', (size_t)n);
	*ret_complete = newline != NULL;
	return vsock_host_recv(
		conn, at, newline ? (size_t)(newline + 1 - at) : (size_t)n, 0);
}

static void hello(struct vsock_conn *conn)
{
	bool complete = false;
	ssize_t n = take_line(conn, &complete);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		set_state(conn, VSOCK_GONE);
		return;
	}
	conn->line_len += (uint8_t)n;
	if (complete || conn->line_len == VSOCK_LINE_MAX)
		line_over(conn, complete);
}

/* ----------------------------------------------------------------- polling */

static bool takes_input(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_OPEN && !conn->eof &&
	       !(conn->guest_shut & VSOCK_SHUT_RCV) &&
	       !vsock_bytes_len(&conn->rec) && vsock_credit(conn) > 0;
}

/* Return: events, or -1: not even the end. */
static int64_t wanted(const struct vsock_conn *conn)
{
	const struct virtio_vsock *vs = conn->vs;
	bool live = vsock_live(vs);
	bool watch = live || vs->armed;
	uint32_t events = 0;

	switch (conn->state) {
	case VSOCK_HELLO:
		return watch ? EPOLLIN : -1;
	case VSOCK_WAITING:
	case VSOCK_REQUESTED:
		return live ? 0 : -1;
	case VSOCK_ORPHAN:
		return EPOLLOUT;
	case VSOCK_OPEN:
		break;
	default:
		return -1;
	}
	if (watch && takes_input(conn) && !(live && vs->rx_starved))
		events |= EPOLLIN;
	if (vsock_bytes_len(&conn->out))
		events |= EPOLLOUT;
	return events || (watch && !conn->hup) ? (int64_t)events : -1;
}

static void on_open(struct vsock_conn *conn, uint32_t events)
{
	bool end = events & (EPOLLHUP | EPOLLERR);

	if (events & EPOLLOUT)
		drain(conn);
	if (conn->state != VSOCK_OPEN)
		return;
	if (end) {
		conn->hup = true;
		out_lost(conn);
		/* Nothing that is left would be taken. */
		if (conn->eof || conn->guest_shut & VSOCK_SHUT_RCV)
			vsock_conn_ended(conn);
	}
	if (vsock_live(conn->vs)) {
		if (events & EPOLLIN || end)
			vsock_rx_read(conn);
	} else if (events & EPOLLIN || end) {
		vsock_wake(conn->vs);
	}
}

static void on_conn(struct loop_source *src, uint32_t events)
{
	struct vsock_conn *conn = container_of(src, struct vsock_conn, src);
	struct virtio_vsock *vs = conn->vs;

	touch(conn);
	switch (conn->state) {
	case VSOCK_HELLO:
		hello(conn);
		break;
	case VSOCK_WAITING:
		set_state(conn, VSOCK_GONE);
		break;
	case VSOCK_REQUESTED:
		vsock_conn_reset(conn);
		break;
	case VSOCK_OPEN:
		on_open(conn, events);
		break;
	case VSOCK_ORPHAN:
		drain(conn);
		if (events & (EPOLLHUP | EPOLLERR))
			set_state(conn, VSOCK_GONE);
		break;
	default:
		break;
	}
	vsock_settle(vs);
}

void vsock_conn_poll(struct vsock_conn *conn)
{
	struct loop *loop = conn->vs->dev.loop;
	int64_t events = conn->fd < 0 ? -1 : wanted(conn);
	int r = 0;

	if (events < 0)
		loop_remove(loop, &conn->src);
	else if (conn->src.fd < 0)
		r = loop_add(loop, &conn->src, conn->fd, (uint32_t)events,
			     on_conn);
	else
		r = loop_modify(loop, &conn->src, (uint32_t)events);
	/* Out of kernel memory: rather an end than a silence. */
	if (r < 0)
		vsock_conn_reset(conn);
}

bool vsock_conn_wakes(struct vsock_conn *conn)
{
	struct pollfd p = { .fd = conn->fd };

	switch (conn->state) {
	case VSOCK_WAITING:
	case VSOCK_REQUESTED:
		return true;
	case VSOCK_OPEN:
		break;
	default:
		return false;
	}
	if (conn->owe & VSOCK_OWE_SHUTDOWN ||
	    (vsock_bytes_len(&conn->rec) && vsock_credit(conn)))
		return true;
	if (takes_input(conn))
		p.events = POLLIN;
	return !conn->hup && poll(&p, 1, 0) == 1;
}

/* --------------------------------------------------------------- accepting */

bool vsock_has_room(const struct virtio_vsock *vs)
{
	return vs->nr_pending < VSOCK_MAX_PENDING && !vs->accept_failed &&
	       vs->nr_conns - vs->nr_orphans < VSOCK_MAX_CONNS;
}

void vsock_accept(struct vsock_listener *l)
{
	struct virtio_vsock *vs = l->vs;

	while (vsock_has_room(vs)) {
		int fd = accept4(l->fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct vsock_conn *conn;

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			/* Out of fds: again when one is free. */
			vs->accept_failed = errno != EAGAIN;
			return;
		}
		conn = vsock_conn_new(vs, l->type, VSOCK_HELLO, fd);
		if (!conn) {
			fd_close(&fd);
			return;
		}
		/* Mostly the line is there already. */
		hello(conn);
	}
}
