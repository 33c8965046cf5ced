/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the transport does for a back end that is not a process of ours. It has
 * no register page, so it cannot say in InterruptStatus that it used a buffer:
 * its call eventfd comes here, and the VMM sets the bit and signals the irqfd.
 * It has no control channel either, so config space changes only by what the
 * driver writes. A process of ours costs nothing of this.
 */
#include <errno.h>
#include <string.h>

#include "virtio/mmio/internal.h"
#include "virtio/mmio/page.h"
#include "vmm/base/fd.h"

static void on_call(struct loop_source *src, uint32_t events)
{
	struct virtio_mmio *dev =
		container_of(src, struct virtio_mmio, call_src);

	(void)fd_event_drain(dev->call_fd);
	/* One that has stopped, as it says, has nothing to tell. */
	if (mmio_any_started(dev))
		mmio_raise_used(dev);
}

int mmio_foreign_init(struct virtio_mmio *dev)
{
	int r = dev->call_fd = fd_event_create();

	if (r < 0)
		return r;
	return loop_add(dev->loop, &dev->call_src, dev->call_fd, EPOLLIN,
			on_call);
}

void mmio_foreign_finish(struct virtio_mmio *dev)
{
	if (dev->call_fd < 0)
		return;
	loop_remove(dev->loop, &dev->call_src);
	fd_close(&dev->call_fd);
}

void mmio_foreign_op_ends(struct virtio_mmio *dev, enum virtio_mmio_op op)
{
	bool back = op == VIRTIO_OP_RESTART || op == VIRTIO_OP_RESUME;

	/*
	 * Down: told of before the stop was answered, to be passed on before
	 * anyone hears that it is. Up: buffers used while nobody listened.
	 */
	if (fd_event_drain(dev->call_fd) > 0 ||
	    (back && !virtio_mmio_is_dead(dev)))
		mmio_raise_used(dev);
}

/*
 * By the text of vhost-user a ring starts as it is kicked. The VMM must not
 * write to an eventfd that the back end has, see fd_event_signal(), so it
 * hands out a new one each time, with the kick in it.
 */
static int renew_kick(struct frontend *fe, uint32_t ring)
{
	struct virtio_mmio *dev = container_of(fe, struct virtio_mmio, fe);
	_cleanup_fd_ int fd = fd_event_create();
	int r = 0;

	if (fd < 0)
		return fd;
	fd_event_signal(fd);
	if (dev->ops->kick_moves)
		r = dev->ops->kick_moves(dev, ring, fd);
	if (r < 0)
		return r;
	fd_close(&dev->kick_fds[ring]);
	fe->rings[ring].kick_fd = dev->kick_fds[ring] = TAKE_FD(fd);
	return 0;
}

void mmio_foreign_prepare(struct virtio_mmio *dev)
{
	dev->fe.foreign = &dev->foreign->fe;
	dev->fe.renew_kick = renew_kick;
	if (dev->foreign->config && dev->config_size)
		memcpy(dev->fe.config, dev->foreign->config, dev->config_size);
}

uint64_t mmio_foreign_ours(const struct virtio_mmio *dev)
{
	return dev->foreign && dev->fe.config_ours ? dev->foreign->features_ours
						   : 0;
}

int mmio_foreign_check(struct virtio_mmio *dev, int r)
{
	dev->offered &= ~dev->foreign->features_hidden;
	dev->offered |= mmio_foreign_ours(dev);
	if (r == -ENODATA)
		dev->refused = "the back end has no config space (GET_CONFIG); "
			       "an fs needs tag=TAG";
	else if (r == -EREMOTEIO)
		dev->refused = "the back end refused a message of the start";
	else if (r == 0 && !(dev->offered >> VIRTIO_F_VERSION_1 & 1))
		dev->refused = "the back end does not know virtio 1";
	else if (r == 0 && dev->fe.queue_num &&
		 dev->fe.queue_num < dev->foreign->min_queues)
		dev->refused = "the back end has too few queues";
	return r == 0 && dev->refused ? -EPROTONOSUPPORT : r;
}
