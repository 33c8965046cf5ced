/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user back end: life cycle, message stream and control channel. All
 * on the device process's loop thread. The messages themselves are in
 * backend_request.c, the rings in backend_ring.c.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/devctl.h"
#include "virtio/vhost_user/backend_internal.h"
#include "vmm/base/fd.h"

/* Messages of one turn of the loop: rings get their share of a busy peer. */
#define MSGS_PER_TURN 16

/* ----------------------------------------------------------------- stream */

static void fds_drop(struct backend *be)
{
	for (size_t i = 0; i < be->nr_fds; i++)
		fd_close(&be->fds[i]);
	be->nr_fds = 0;
}

/* The connection has ended, by the peer or by its fault. */
static void disconnect(struct backend *be)
{
	fds_drop(be);
	backend_rings_halt(be);
	loop_remove(be->loop, &be->vhost_src);
	fd_close(&be->vhost_fd);
	be->closed = true;
	loop_stop(be->loop);
}

/* Receives until be->have == @want. Return: 1 have it, 0 not yet, -errno. */
static int receive(struct backend *be, size_t want)
{
	while (be->have < want) {
		int *fds = be->fds + be->nr_fds;
		size_t nr = 0;
		ssize_t n;

		n = fd_recvmsg(be->vhost_fd, (uint8_t *)&be->msg + be->have,
			       want - be->have, fds,
			       ARRAY_SIZE(be->fds) - be->nr_fds, &nr,
			       MSG_DONTWAIT);
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ECONNRESET;
		be->nr_fds += nr;
		be->have += (size_t)n;
	}
	return 1;
}

/* Answers the message just run. Return: 0, or -errno to end it all. */
static int answer(struct backend *be, int result)
{
	struct vhost_user_hdr *h = &be->msg.hdr;
	bool ack = h->flags & VHOST_USER_FLAG_NEED_REPLY &&
		   be->protocol & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	size_t len;
	ssize_t n;

	if (result < 0) {
		log_limited(&be->peer_limit, "vhost-user %s (%u) refused: %s",
			    vhost_user_name(h->request), h->request,
			    strerror(-result));
		if (!ack)
			return result;
	}
	if (result != BACKEND_REPLY) {
		if (!ack)
			return 0;
		be->msg.payload.u64 = result < 0;
		h->size = sizeof(uint64_t);
	}
	h->flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	len = sizeof(*h) + h->size;
	/* A full socket: the peer sends and does not read. */
	n = fd_sendmsg(be->vhost_fd, &be->msg, len, NULL, 0);
	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -ENOBUFS;
}

/* Answers and makes room for the next message. Return: 1 or -errno. */
static int finish_message(struct backend *be, int result)
{
	int r = answer(be, result);

	be->spoken_to = true;
	fds_drop(be);
	be->have = 0;
	return r < 0 ? r : 1;
}

bool backend_spoken_to(const struct backend *be)
{
	return be->spoken_to;
}

void backend_thread_can_change(struct backend *be)
{
	be->thread_can_change = true;
}

bool backend_thread_change(struct backend *be)
{
	if (!be->answer_held)
		return false;
	be->answer_held = false;
	if (finish_message(be, be->answer_result) < 0)
		disconnect(be);
	return true;
}

/* Return: 1 a message was handled, 0 none is there, -errno. */
static int message(struct backend *be)
{
	const struct vhost_user_hdr *h = &be->msg.hdr;
	int r;

	/*
	 * Header and payload apart: fds arrive with the first byte of the
	 * message they were sent with, so they never mix with another's.
	 */
	if (be->have < sizeof(*h)) {
		r = receive(be, sizeof(*h));
		if (r <= 0)
			return r;
	}
	if (h->size > sizeof(be->msg.payload) ||
	    (h->flags & VHOST_USER_FLAG_VERSION_MASK) != VHOST_USER_VERSION ||
	    h->flags & VHOST_USER_FLAG_REPLY) {
		log_limited(&be->peer_limit,
			    "vhost-user header: request %u flags %x size %u",
			    h->request, h->flags, h->size);
		return -EBADMSG;
	}
	r = receive(be, sizeof(*h) + h->size);
	if (r <= 0)
		return r;
	r = backend_request_run(be);
	if (be->dev->end_thread && be->thread_can_change) {
		be->dev->end_thread = false;
		be->answer_held = true;
		be->answer_result = r;
		loop_stop(be->loop);
		return 0;
	}
	return finish_message(be, r);
}

static void on_vhost(struct loop_source *src, uint32_t events)
{
	struct backend *be = container_of(src, struct backend, vhost_src);

	if (be->answer_held)
		return;
	for (int i = 0; i < MSGS_PER_TURN; i++) {
		int r = message(be);

		if (r == 1)
			continue;
		if (r < 0) {
			/* It has gone, maybe before it was answered. */
			if (r != -ECONNRESET && r != -EPIPE)
				log_limited(&be->peer_limit,
					    "vhost-user connection closed: %s",
					    strerror(-r));
			disconnect(be);
		}
		return;
	}
}

/* -------------------------------------------------------- control channel */

static void host_wake(struct virtio_dev_host *host)
{
	struct backend *be = container_of(host, struct backend, host);

	if (!be->armed || be->woken || be->wake_fd < 0)
		return;
	be->woken = true;
	fd_event_signal(be->wake_fd);
}

/*
 * Tells of the last change when those before were published: a driver that
 * changes it without end shall not fill the channel, or an acknowledgement
 * found no room.
 */
static void config_tell(struct backend *be)
{
	const struct devctl_msg msg = { .type = DEVCTL_CONFIG_CHANGED,
					.generation = be->config_changes };

	if (be->ctl_src.fd < 0 || be->config_told == be->config_changes ||
	    be->config_told != be->config_published)
		return;
	be->config_told = be->config_changes;
	(void)!fd_sendmsg(be->ctl_fd, &msg, sizeof(msg), NULL, 0);
}

static void host_fail(struct virtio_dev_host *host, const char *why)
{
	struct backend *be = container_of(host, struct backend, host);

	be->failed = true;
	for (unsigned int i = 0; i < be->dev->nr_queues; i++) {
		if (be->dev->queues[i].running)
			virtq_break(&be->dev->queues[i], why);
	}
}

static void host_config_changed(struct virtio_dev_host *host)
{
	struct backend *be = container_of(host, struct backend, host);

	be->config_changes++;
	config_tell(be);
}

static bool host_config_published(struct virtio_dev_host *host)
{
	const struct backend *be = container_of(host, struct backend, host);

	return be->ctl_src.fd < 0 || be->config_published == be->config_changes;
}

/* Of what the VMM has published until now there may be a change since. */
static void config_published(struct backend *be, uint32_t generation)
{
	/* More than was told of, in arithmetic that wraps. */
	if ((int32_t)(generation - be->config_told) > 0) {
		log_limited(&be->ctl_limit,
			    "control: change %u of config space unknown",
			    generation);
		return;
	}
	be->config_published = generation;
	config_tell(be);
	if (generation == be->config_changes && be->dev->ops->config_published)
		be->dev->ops->config_published(be->dev);
}

/* Nobody is there who publishes: nobody waits for it. */
static void ctl_gone(struct backend *be)
{
	loop_remove(be->loop, &be->ctl_src);
	if (be->dev->ops->config_published)
		be->dev->ops->config_published(be->dev);
}

static void wake_arm(struct backend *be, const struct devctl_msg *m)
{
	struct virtio_dev *dev = be->dev;

	be->armed = m->arg != 0;
	be->woken = false;
	/* Before the acknowledgement: after it, no event may be missed. */
	if (dev->ops->wake_arm)
		dev->ops->wake_arm(dev, be->armed);
}

static void ctl_message(struct backend *be, const struct devctl_msg *m)
{
	struct devctl_msg ack = { .type = DEVCTL_ACK,
				  .generation = m->generation,
				  .arg = m->type };
	ssize_t n;

	if (m->type == DEVCTL_CONFIG_PUBLISHED) {
		config_published(be, m->generation);
		return;
	}
	/* Older than the last, in arithmetic that wraps: superseded. */
	if (be->has_generation && (int32_t)(m->generation - be->generation) < 0)
		return;
	switch (m->type) {
	case DEVCTL_WAKE_ARM:
		wake_arm(be, m);
		break;
	case DEVCTL_LOG_LEVEL:
		if (m->arg > LOG_LEVEL_DEBUG) {
			log_limited(&be->ctl_limit, "control: log level %llu",
				    (unsigned long long)m->arg);
			return;
		}
		log_set_level((enum log_level)m->arg);
		break;
	default:
		log_limited(&be->ctl_limit, "control: unknown type %u",
			    m->type);
		return;
	}
	be->has_generation = true;
	be->generation = m->generation;
	n = fd_sendmsg(be->ctl_fd, &ack, sizeof(ack), NULL, 0);
	if (n < 0)
		log_limited(&be->ctl_limit, "control: acknowledgement lost: %s",
			    strerror((int)-n));
}

static void on_ctl(struct loop_source *src, uint32_t events)
{
	struct backend *be = container_of(src, struct backend, ctl_src);

	for (int i = 0; i < MSGS_PER_TURN; i++) {
		/* One byte more than a message, to see longer packets. */
		struct {
			struct devctl_msg m;
			uint8_t more;
		} buf;
		size_t nr_fds;
		ssize_t n;

		n = fd_recvmsg(be->ctl_fd, &buf, sizeof(buf.m) + 1, NULL, 0,
			       &nr_fds, MSG_DONTWAIT);
		if (n == -EAGAIN)
			return;
		if (n == 0 || (n < 0 && n != -EMSGSIZE)) {
			ctl_gone(be);
			return;
		}
		if (n != sizeof(buf.m)) {
			log_limited(&be->ctl_limit,
				    "control: packet of a wrong form dropped");
			continue;
		}
		ctl_message(be, &buf.m);
	}
}

/* -------------------------------------------------------------- life cycle */

static int page_map(struct backend *be, int fd)
{
	void *p;

	if (fd < 0)
		return 0;
	p = mmap(NULL, VIRTIO_REGPAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	be->page = p;
	return 0;
}

static int fds_watch(struct backend *be)
{
	int r = loop_add(be->loop, &be->vhost_src, be->vhost_fd, EPOLLIN,
			 on_vhost);

	if (r < 0 || be->ctl_fd < 0)
		return r;
	return loop_add(be->loop, &be->ctl_src, be->ctl_fd, EPOLLIN, on_ctl);
}

int backend_create(struct virtio_dev *dev, struct loop *loop,
		   const struct backend_config *cfg, struct backend **ret)
{
	struct backend *be = calloc(1, sizeof(*be));
	int regpage_fd = cfg->regpage_fd;
	int r;

	assert(dev->nr_queues > 0 && dev->nr_queues <= VIRTIO_DEV_MAX_QUEUES);
	assert(dev->ops->type->config_size <= sizeof(dev->config));
	if (!be)
		return -ENOMEM;
	be->dev = dev;
	be->loop = loop;
	be->vhost_fd = cfg->vhost_fd;
	be->ctl_fd = cfg->ctl_fd;
	be->wake_fd = cfg->wake_fd;
	be->vhost_src.fd = -1;
	be->ctl_src.fd = -1;
	memcpy(be->config_initial, dev->config, sizeof(dev->config));
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		virtq_init(&dev->queues[i]);
		be->rings[i] =
			(struct backend_ring){ .kick_src.fd = -1, .be = be };
	}
	r = page_map(be, regpage_fd);
	if (r == 0)
		r = fds_watch(be);
	if (r < 0) {
		/* The fds stay the caller's. */
		be->vhost_fd = be->ctl_fd = be->wake_fd = -1;
		backend_destroy(be);
		return r;
	}
	/* The mapping is enough. */
	fd_close(&regpage_fd);
	be->host = (struct virtio_dev_host){
		.wake = host_wake,
		.config_changed = host_config_changed,
		.config_published = host_config_published,
		.fail = host_fail,
	};
	dev->host = &be->host;
	*ret = be;
	return 0;
}

void backend_destroy(struct backend *be)
{
	if (!be)
		return;
	fds_drop(be);
	for (unsigned int i = 0; i < be->dev->nr_queues; i++)
		backend_ring_forget(be, i);
	backend_stop_if_idle(be);
	if (be->armed && be->dev->ops->wake_arm)
		be->dev->ops->wake_arm(be->dev, false);
	loop_remove(be->loop, &be->vhost_src);
	loop_remove(be->loop, &be->ctl_src);
	fd_close(&be->vhost_fd);
	fd_close(&be->ctl_fd);
	fd_close(&be->wake_fd);
	if (be->page)
		(void)munmap(be->page, VIRTIO_REGPAGE_SIZE);
	gmem_finish(&be->dev->gmem);
	be->dev->host = NULL;
	free(be);
}
