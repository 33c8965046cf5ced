/* SPDX-License-Identifier: BSD-3-Clause */
/* One ring's part of a turn of the loop, see turn.h. */
#include "virtio/turn.h"

#include <errno.h>

/* Return: whether the ring is empty, and may be left. */
static bool
serve_all(struct virtio_dev *dev, struct virtq *vq, struct turn *turn,
	  bool (*serve)(struct virtio_dev *dev, struct virtq *vq,
			const struct virtq_chain *chain, struct turn *turn))
{
	struct iovec iov[VIRTQ_MAX_CHAIN];
	struct virtq_chain chain;
	int r;

	virtq_disable_kick(vq);
	while ((r = virtq_pop(vq, &chain, iov, VIRTQ_MAX_CHAIN)) != 0) {
		if (r == -EPROTO)
			return false;
		if (r == -ENOBUFS)
			chain = (struct virtq_chain){ .head = chain.head,
						      .iov = iov };
		if (!serve(dev, vq, &chain, turn))
			return false;
		if (!turn_goes_on(turn, &chain)) {
			virtq_requeue_kick(vq);
			return false;
		}
	}
	return true;
}

void virtq_serve(struct virtio_dev *dev, struct virtq *vq, struct turn *turn,
		 bool (*serve)(struct virtio_dev *dev, struct virtq *vq,
			       const struct virtq_chain *chain,
			       struct turn *turn))
{
	while (serve_all(dev, vq, turn, serve) && virtq_enable_kick(vq))
		;
	(void)virtq_signal(vq);
}
