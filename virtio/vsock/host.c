/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the host does with its sockets: connects, says where to, sends, takes,
 * closes. And what of that is waited for, in the state that things are in. See
 * vsock.h.
 *
 * System calls: accept4, poll.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

#define LAST_HOST_PORT ((1U << 31) - 1)
#define PORT_ANY       UINT32_MAX

/* --------------------------------------------------------------- accepting */

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
		vs->next_host_port = port == LAST_HOST_PORT
					     ? VSOCK_FIRST_HOST_PORT
					     : port + 1;
	} while (vsock_conn_find(vs, c->type, c->guest_port, port));
	return port;
}

static void line_over(struct vsock_conn *conn, bool complete)
{
	if (!complete || parse_line(conn) < 0) {
		log_limited(&conn->vs->host_limit,
			    "vsock: a connection of the host does not begin "
			    "with 'CONNECT <port>'; closed");
		vsock_conn_set(conn, VSOCK_GONE);
		return;
	}
	conn->host_port = new_host_port(conn->vs, conn);
	vsock_conn_set(conn, VSOCK_WAITING);
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
		vsock_conn_set(conn, VSOCK_GONE);
		return;
	}
	conn->line_len += (uint8_t)n;
	if (complete || conn->line_len == VSOCK_LINE_MAX)
		line_over(conn, complete);
}

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

/* ------------------------------------------------------------------ events */

static void on_open(struct vsock_conn *conn, uint32_t events)
{
	bool end = events & (EPOLLHUP | EPOLLERR);

	if (events & EPOLLOUT)
		vsock_conn_drain(conn);
	if (conn->state != VSOCK_OPEN)
		return;
	if (end)
		vsock_conn_hung_up(conn);
	if (vsock_live(conn->vs)) {
		if (events & EPOLLIN || end)
			vsock_rx_read(conn);
	} else if (events & EPOLLIN || end) {
		vsock_wake(conn->vs);
	}
}

void vsock_host_event(struct vsock_conn *conn, uint32_t events)
{
	vsock_conn_touch(conn);
	switch (conn->state) {
	case VSOCK_HELLO:
		hello(conn);
		break;
	case VSOCK_WAITING:
		vsock_conn_set(conn, VSOCK_GONE);
		break;
	case VSOCK_REQUESTED:
		vsock_conn_reset(conn);
		break;
	case VSOCK_OPEN:
		on_open(conn, events);
		break;
	case VSOCK_ORPHAN:
		vsock_conn_drain(conn);
		if (events & (EPOLLHUP | EPOLLERR))
			vsock_conn_set(conn, VSOCK_GONE);
		break;
	default:
		break;
	}
}

/* ----------------------------------------------------------------- waiting */

static bool takes_input(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_OPEN && !conn->eof &&
	       !(conn->guest_shut & VSOCK_SHUT_RCV) &&
	       !vsock_bytes_len(&conn->rec) && vsock_credit(conn) > 0;
}

int64_t vsock_host_wanted(const struct vsock_conn *conn)
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

bool vsock_host_wakes(const struct vsock_conn *conn)
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
