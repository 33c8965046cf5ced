/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a ring of the vhost-user back end runs, and with it the device. Loop
 * thread only.
 *
 * A ring runs when it has a size, addresses and a kick fd and is enabled:
 *
 *	     NUM, ADDR, BASE, KICK       ENABLE 1
 *	stopped ------------> started ------------> running
 *	   ^                     ^---- ENABLE 0 -------' |
 *	   '------- GET_VRING_BASE, RESET_DEVICE --------'
 *
 * The device is started with its first running ring and stopped when none is
 * left. Whatever leaves "running" waits until nothing is in flight.
 */
#include <errno.h>
#include <string.h>

#include "virtio/vhost_user/backend_internal.h"
#include "vmm/base/fd.h"

static void on_kick(struct loop_source *src, uint32_t events)
{
	struct backend_ring *ring =
		container_of(src, struct backend_ring, kick_src);
	struct virtio_dev *dev = ring->be->dev;
	unsigned int i = (unsigned int)(ring - ring->be->rings);
	uint64_t count;
	int r = events & EPOLLIN ? fd_event_read(src->fd, &count) : -EPIPE;

	if (r < 0 && r != -EAGAIN) {
		/* Not an eventfd, or its other end is gone: never spin on it.
		 */
		loop_remove(ring->be->loop, src);
		return;
	}
	if (dev->queues[i].running && !dev->queues[i].broken)
		dev->ops->kick(dev, i);
}

bool backend_any_running(const struct backend *be)
{
	const struct virtio_dev *dev = be->dev;

	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (dev->queues[i].running)
			return true;
	}
	return false;
}

void backend_ring_halt(struct backend *be, unsigned int i)
{
	struct virtio_dev *dev = be->dev;

	if (!dev->queues[i].running)
		return;
	dev->ops->stop_queue(dev, i);
	be->rings[i].base = virtq_stop(&dev->queues[i]);
	loop_remove(be->loop, &be->rings[i].kick_src);
}

void backend_stop_if_idle(struct backend *be)
{
	struct virtio_dev *dev = be->dev;

	if (backend_any_running(be) || !dev->started)
		return;
	if (dev->ops->stop)
		dev->ops->stop(dev);
	dev->started = false;
	be->failed = false;
}

static void dev_start(struct backend *be)
{
	static struct log_limit limit;
	struct virtio_dev *dev = be->dev;
	int r;

	if (dev->started)
		return;
	dev->features = be->features & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	dev->started = true;
	r = dev->ops->start ? dev->ops->start(dev) : 0;
	if (r < 0) {
		log_limited(&limit, "start %s: %s", dev->ops->type->name,
			    strerror(-r));
		be->failed = true;
	}
}

int backend_ring_resolve(struct backend *be, unsigned int i)
{
	const struct backend_ring *ring = &be->rings[i];
	const struct gmem *gm = &be->dev->gmem;
	void *desc, *avail, *used;
	int r;

	r = gmem_from_user(gm, ring->desc_user,
			   ring->num * sizeof(struct vring_desc), &desc);
	if (r < 0)
		return r;
	/* One more field behind each ring: used_event, avail_event. */
	r = gmem_from_user(gm, ring->avail_user,
			   sizeof(struct vring_avail) +
				   (ring->num + 1U) * sizeof(uint16_t),
			   &avail);
	if (r < 0)
		return r;
	r = gmem_from_user(gm, ring->used_user,
			   sizeof(struct vring_used) + sizeof(uint16_t) +
				   ring->num * sizeof(struct vring_used_elem),
			   &used);
	if (r < 0)
		return r;
	return virtq_setup_hva(&be->dev->queues[i], gm, ring->num, desc, avail,
			       used);
}

/* Without protocol features there is no ENABLE: a ring starts enabled. */
static bool ring_enabled(const struct backend *be, unsigned int i)
{
	return be->rings[i].enabled ||
	       !(be->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));
}

/* Starts or stops a ring as its state says. */
int backend_ring_update(struct backend *be, unsigned int i)
{
	struct virtio_dev *dev = be->dev;
	struct backend_ring *ring = &be->rings[i];
	struct virtq *vq = &dev->queues[i];
	bool want = ring->num && ring->has_addr && vq->kick_fd >= 0 &&
		    ring_enabled(be, i);
	int r;

	if (vq->running == want)
		return 0;
	if (!want) {
		backend_ring_halt(be, i);
		backend_stop_if_idle(be);
		return 0;
	}
	r = backend_ring_resolve(be, i);
	if (r < 0)
		return r;
	r = loop_add(be->loop, &ring->kick_src, vq->kick_fd, EPOLLIN, on_kick);
	if (r < 0)
		return r;
	vq->page = be->page;
	dev_start(be);
	virtq_start(vq, ring->base,
		    virtio_dev_has(dev, VIRTIO_RING_F_EVENT_IDX),
		    virtio_dev_has(dev, VIRTIO_RING_F_INDIRECT_DESC));
	if (be->failed)
		virtq_break(vq, "the device has failed");
	else
		dev->ops->kick(dev, i);
	return 0;
}

void backend_rings_halt(struct backend *be)
{
	for (unsigned int i = 0; i < be->dev->nr_queues; i++)
		backend_ring_halt(be, i);
	backend_stop_if_idle(be);
}

/* After a change of the memory table. Return: the first ring's failure. */
int backend_rings_update(struct backend *be)
{
	int first = 0;

	for (unsigned int i = 0; i < be->dev->nr_queues; i++) {
		int r = backend_ring_update(be, i);

		if (r < 0 && !first)
			first = r;
	}
	return first;
}

void backend_ring_forget(struct backend *be, unsigned int i)
{
	struct backend_ring *ring = &be->rings[i];

	backend_ring_halt(be, i);
	virtq_finish(&be->dev->queues[i]);
	*ring = (struct backend_ring){ .kick_src.fd = -1, .be = be };
}
