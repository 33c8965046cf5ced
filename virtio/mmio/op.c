/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine of the transport. The back end does one operation at a time; at
 * its end the engine calls its done(), completes the write that began it, and
 * runs what is pending. transport.c says what that is, by run_one_pending().
 */
#include <assert.h>

#include "virtio/mmio/internal.h"

void mmio_op_begin(struct virtio_mmio *dev, enum virtio_mmio_op op,
		   void (*done)(struct virtio_mmio *dev, int r))
{
	assert(dev->op == VIRTIO_OP_NONE && !dev->op_item);
	dev->op = op;
	dev->op_done = done;
}

void mmio_op_end(struct virtio_mmio *dev, int r)
{
	void (*done)(struct virtio_mmio * dev, int r) = dev->op_done;
	struct mailbox_item *item = dev->op_item;

	/* Before the call: done() may begin the next operation. */
	dev->op = VIRTIO_OP_NONE;
	dev->op_done = NULL;
	dev->op_item = NULL;
	if (done)
		done(dev, r);
	mmio_let_go(&item);
	mmio_run_pending(dev);
}

bool mmio_op_needs_fence(const struct virtio_mmio *dev)
{
	return dev->op == VIRTIO_OP_RESET || dev->op == VIRTIO_OP_RING;
}

void mmio_op_answered(struct frontend *fe, int r)
{
	struct virtio_mmio *dev = container_of(fe, struct virtio_mmio, fe);

	if (dev->op == VIRTIO_OP_NONE) /* virtio_mmio_fenced() has ended it */
		return;
	if (mmio_op_needs_fence(dev) &&
	    (fe->failed || virtio_mmio_is_dead(dev)) &&
	    dev->life != VIRTIO_MMIO_LOST) {
		/*
		 * The process is being killed, or died after it had answered:
		 * the fence ends the write.
		 */
		return;
	}
	if (dev->foreign)
		mmio_foreign_op_ends(dev, dev->op);
	mmio_op_end(dev, r);
}

void mmio_run_pending(struct virtio_mmio *dev)
{
	while (dev->op == VIRTIO_OP_NONE && dev->run_one_pending(dev))
		;
}

/* --------------------------------------------------------- operations */

static uint32_t ready_mask(const struct virtio_mmio *dev)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		mask |= (uint32_t)dev->queues[i].ready << i;
	return mask;
}

void mmio_start_rings(struct virtio_mmio *dev, enum virtio_mmio_op op,
		      void (*done)(struct virtio_mmio *dev, int r))
{
	mmio_op_begin(dev, op, done);
	dev->used = true;
	frontend_start(&dev->fe,
		       dev->acked & ~(VIRTIO_MMIO_SUSPEND_BOTH |
				      mmio_foreign_ours(dev)),
		       ready_mask(dev), mmio_op_answered);
}

void mmio_stop_rings(struct virtio_mmio *dev, enum virtio_mmio_op op,
		     void (*done)(struct virtio_mmio *dev, int r))
{
	mmio_op_begin(dev, op, done);
	frontend_stop(&dev->fe, UINT32_MAX, mmio_op_answered);
}

void mmio_handshake(struct virtio_mmio *dev, enum virtio_mmio_op op,
		    void (*done)(struct virtio_mmio *dev, int r))
{
	mmio_op_begin(dev, op, done);
	frontend_handshake(&dev->fe, dev->config_size, mmio_op_answered);
}
