/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket device: role, slots, wake-up. See vsock.h.
 *
 * What is polled depends on whether the rings run and whether the guest shall
 * be woken. Running: everything that can make progress. Not running, and armed:
 * what would wake: the listening sockets, connections that have not said where
 * to, input of open ones. Not armed, or once it has woken: none of that; what
 * comes waits in the sockets and in the backlog of the listening ones. Bytes
 * that the guest has sent go on to the host at any time.
 *
 * A connection of the host wakes when its CONNECT line is complete; on an open
 * connection, bytes (if the guest has given credit for some) and the end do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_socket.h"

/* A guest that does not end a closed connection: two of these at most. */
#define CLOSE_TICK_NS (4000000000ULL)
#define CLOSE_TICKS   2U

static struct virtio_vsock *vsock_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_vsock, dev);
}

/* ----------------------------------------------------------------- dialling */

/* The last thing every entry does: sends, frees, polls again. */
static void settle(struct virtio_vsock *vs);

/* Asks for the next connection of the guest. */
static void dial_next(struct virtio_vsock *vs)
{
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS && !vs->dial_busy; i++) {
		struct vsock_conn *conn = vs->conns[i];
		struct vsock_dial q;

		if (!conn || conn->state != VSOCK_DIALING)
			continue;
		q = (struct vsock_dial){ .port = conn->host_port,
					 .type = conn->type };
		if (vs->dial_fd < 0 ||
		    fd_sendmsg(vs->dial_fd, &q, sizeof(q), NULL, 0) < 0) {
			vsock_conn_dialled(conn, -1);
			continue;
		}
		vs->dial_conn = conn;
		vs->dial_busy = true;
	}
}

static void on_dialled(struct loop_source *src, uint32_t events)
{
	struct virtio_vsock *vs =
		container_of(src, struct virtio_vsock, dial_src);
	struct vsock_conn *conn = vs->dial_conn;
	struct vsock_dial q;
	size_t nr_fds = 0;
	int fd = -1;
	ssize_t n = fd_recvmsg(vs->dial_fd, &q, sizeof(q), &fd, 1, &nr_fds,
			       MSG_DONTWAIT);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_remove(vs->dev.loop, &vs->dial_src);
		fd_close(&vs->dial_fd);
	}
	vs->dial_busy = false;
	vs->dial_conn = NULL;
	if (conn)
		vsock_conn_dialled(conn, fd);
	else
		fd_close(&fd);
	settle(vs);
}

/* --------------------------------------------------------------- settling */

static void on_listen(struct loop_source *src, uint32_t events)
{
	struct vsock_listener *l =
		container_of(src, struct vsock_listener, src);

	vsock_accept(l);
	settle(l->vs);
}

static void on_conn(struct loop_source *src, uint32_t events)
{
	struct vsock_conn *conn = container_of(src, struct vsock_conn, src);
	struct virtio_vsock *vs = conn->vs;

	vsock_host_event(conn, events);
	settle(vs);
}

/* Polls what it should be polled for, in the state that things are in. */
static void conn_poll(struct vsock_conn *conn)
{
	struct loop *loop = conn->vs->dev.loop;
	int64_t events = conn->fd < 0 ? -1 : vsock_host_wanted(conn);
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

static void listener_poll(struct vsock_listener *l)
{
	struct virtio_vsock *vs = l->vs;
	bool on = l->fd >= 0 && (vsock_live(vs) || vs->armed) &&
		  vsock_has_room(vs);

	if (!on)
		loop_remove(vs->dev.loop, &l->src);
	else if (l->src.fd < 0 &&
		 loop_add(vs->dev.loop, &l->src, l->fd, EPOLLIN, on_listen) < 0)
		log_limited(&vs->host_limit,
			    "vsock: cannot wait for connections of the host");
}

/* What decides for all connections alike what is polled. */
static uint8_t polled_state(const struct virtio_vsock *vs)
{
	return (uint8_t)(vsock_live(vs) | vs->armed << 1 | vs->rx_starved << 2);
}

static void touch_all(struct virtio_vsock *vs)
{
	vs->polled = polled_state(vs);
	memset(vs->touched, 0xff, sizeof(vs->touched));
}

static void on_close_timer(struct loop_timer *timer)
{
	struct virtio_vsock *vs =
		container_of(timer, struct virtio_vsock, close_timer);

	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *c = vs->conns[i];

		if (c && c->state == VSOCK_CLOSING && ++c->ticks >= CLOSE_TICKS)
			vsock_conn_reset(c);
	}
	settle(vs);
}

/* It stands still while the rings do: a guest asleep does not answer. */
static void close_timer_update(struct virtio_vsock *vs)
{
	if (!vs->nr_closing || !vsock_live(vs))
		loop_timer_cancel(vs->dev.loop, &vs->close_timer);
	else if (!vs->close_timer.deadline_ns)
		loop_timer_set(vs->dev.loop, &vs->close_timer, CLOSE_TICK_NS,
			       on_close_timer);
}

static void settle(struct virtio_vsock *vs)
{
	dial_next(vs);
	vsock_rx_run(vs);
	if (vs->polled != polled_state(vs))
		touch_all(vs);
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *conn = vs->conns[i];

		if (!(vs->touched[i / 64] >> i % 64 & 1) || !conn)
			continue;
		vs->touched[i / 64] &= ~(1ULL << i % 64);
		if (conn->state != VSOCK_GONE)
			conn_poll(conn);
		if (conn->state == VSOCK_GONE)
			vsock_conn_free(conn);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vs->listeners); i++)
		listener_poll(&vs->listeners[i]);
	close_timer_update(vs);
}

/* ------------------------------------------------------------------- slots */

/*
 * The first ring of this process begins where another process has left off: the
 * guest has connections that we have not.
 */
static void first_ring(struct virtio_vsock *vs, unsigned int queue)
{
	if (vs->running[queue])
		return;
	vs->running[queue] = true;
	if (!vs->seen_rings && vs->dev.queues[queue].last_avail)
		vs->event_owed = true;
	vs->seen_rings = true;
}

static void vsock_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_vsock *vs = vsock_of(dev);

	first_ring(vs, queue);
	switch (queue) {
	case VSOCK_RX:
		virtq_disable_kick(&dev->queues[VSOCK_RX]);
		vs->rx_starved = false;
		break;
	case VSOCK_TX:
		vsock_tx_run(vs);
		break;
	default:
		break;
	}
	if (queue == VSOCK_EVENT || vs->event_owed)
		vsock_rx_event(vs);
	settle(vs);
}

static void vsock_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_vsock *vs = vsock_of(dev);

	vs->running[queue] = false;
	if (queue == VSOCK_RX)
		vs->rx_starved = false;
	if (queue == VSOCK_TX)
		vs->tx_blocked = false;
	settle(vs);
}

static void vsock_reset(struct virtio_dev *dev)
{
	struct virtio_vsock *vs = vsock_of(dev);

	vs->nr_resets = 0;
	vs->event_owed = false;
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		if (vs->conns[i])
			vsock_conn_forget(vs->conns[i]);
	}
	settle(vs);
}

static void vsock_wake_arm(struct virtio_dev *dev, bool armed)
{
	struct virtio_vsock *vs = vsock_of(dev);

	vs->armed = armed;
	/* What is there already wakes at once, before the acknowledgement. */
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS && vs->armed; i++) {
		if (vs->conns[i] && vsock_host_wakes(vs->conns[i]))
			vsock_wake(vs);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vs->listeners); i++) {
		if (vs->armed && vs->listeners[i].fd >= 0)
			vsock_accept(&vs->listeners[i]);
	}
	settle(vs);
}

/* ------------------------------------------------------------------ create */

/* May be a guest's (5.10.4). */
static bool cid_ok(uint64_t cid)
{
	return cid > VSOCK_HOST_CID && cid < UINT32_MAX;
}

static int words_parse(struct virtio_vsock *vs, const char **ret_path,
		       char *const *args)
{
	char *end;

	for (; *args; args++) {
		if (!strncmp(*args, "path=", 5)) {
			*ret_path = *args + 5;
		} else if (!strncmp(*args, "cid=", 4)) {
			errno = 0;
			vs->cid = strtoull(*args + 4, &end, 10);
			if (errno || *end)
				return -EINVAL;
		} else {
			return -EINVAL;
		}
	}
	return cid_ok(vs->cid) ? 0 : -EINVAL;
}

static int open_path(struct virtio_vsock *vs, const char *path)
{
	char seqpacket[VSOCK_PATH_MAX + sizeof(VSOCK_SEQPACKET_SUFFIX)];
	int r;

	if (strlen(path) > VSOCK_PATH_MAX)
		return -ENAMETOOLONG;
	(void)snprintf(seqpacket, sizeof(seqpacket),
		       "%s" VSOCK_SEQPACKET_SUFFIX, path);
	r = unix_listen(path, SOCK_STREAM | SOCK_NONBLOCK, SOMAXCONN);
	if (r < 0)
		return r;
	vs->listeners[0].fd = r;
	r = unix_listen(seqpacket, SOCK_SEQPACKET | SOCK_NONBLOCK, SOMAXCONN);
	if (r < 0)
		return r;
	vs->listeners[1].fd = r;
	return vsock_dial_process(path, &vs->dial_fd);
}

static int fds_open(struct virtio_vsock *vs, const char *path, const int *fds)
{
	int r;

	if (path) {
		r = open_path(vs, path);
		if (r < 0)
			return r;
	} else {
		for (int i = 0; i < 3; i++) {
			if (fds[i] < 0)
				return -EBADF;
		}
		vs->listeners[0].fd = fds[0];
		vs->listeners[1].fd = fds[1];
		vs->dial_fd = fds[2];
	}
	return loop_add(vs->dev.loop, &vs->dial_src, vs->dial_fd, EPOLLIN,
			on_dialled);
}

static void vsock_destroy(struct virtio_dev *dev)
{
	struct virtio_vsock *vs;

	if (!dev)
		return;
	vs = vsock_of(dev);
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++)
		vsock_conn_free(vs->conns[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(vs->listeners); i++) {
		loop_remove(dev->loop, &vs->listeners[i].src);
		fd_close(&vs->listeners[i].fd);
	}
	loop_remove(dev->loop, &vs->dial_src);
	fd_close(&vs->dial_fd);
	loop_timer_cancel(dev->loop, &vs->close_timer);
	free(vs);
}

static void vsock_init(struct virtio_vsock *vs, struct loop *loop)
{
	static const uint16_t types[] = { VIRTIO_VSOCK_TYPE_STREAM,
					  VIRTIO_VSOCK_TYPE_SEQPACKET };

	virtio_dev_init(&vs->dev, &virtio_vsock_ops, loop);
	vs->dev.features_offered |= BIT(VSOCK_F_STREAM) |
				    BIT(VSOCK_F_SEQPACKET) |
				    BIT(VSOCK_F_NO_IMPLIED_STREAM);
	vs->dial_fd = -1;
	vs->dial_src.fd = -1;
	vs->next_host_port = VSOCK_FIRST_HOST_PORT;
	for (unsigned int i = 0; i < ARRAY_SIZE(vs->listeners); i++) {
		vs->listeners[i] = (struct vsock_listener){
			.vs = vs, .src.fd = -1, .fd = -1, .type = types[i]
		};
	}
}

static int vsock_create(struct loop *loop, char *const *args, const int *fds,
			struct virtio_dev **ret_dev)
{
	struct virtio_vsock *vs = calloc(1, sizeof(*vs));
	const char *path = NULL;
	int r;

	if (!vs)
		return -ENOMEM;
	vsock_init(vs, loop);
	r = words_parse(vs, &path, args);
	if (r == 0)
		r = fds_open(vs, path, fds);
	if (r < 0) {
		vsock_destroy(&vs->dev);
		return r;
	}
	memcpy(vs->dev.config, &vs->cid, sizeof(vs->cid));
	*ret_dev = &vs->dev;
	return 0;
}

const struct virtio_dev_ops virtio_vsock_ops = {
	.type = &virtio_types[VIRTIO_TYPE_VSOCK],
	.usage = "cid=N path=PATH",
	.create = vsock_create,
	.destroy = vsock_destroy,
	.kick = vsock_kick,
	.stop_queue = vsock_stop_queue,
	.reset = vsock_reset,
	.wake_arm = vsock_wake_arm,
};
