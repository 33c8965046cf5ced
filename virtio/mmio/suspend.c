/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND (virtio 1.4, 2.1 and 3.4; and the draft of 2024 before it):
 * the driver stops a device and finds it as it was, by one bit of Status.
 *
 *	          SUSPEND=1                 drained
 *	LIVE ----------------> QUIESCING ------------> SUSPENDED
 *	 ^  <- - - - - - - - - - - - '                     |
 *	 |     draft: SUSPEND=0                            |
 *	 '-------------------------------------------------'
 *	     1.4: DRIVER_OK=1, draft: SUSPEND=0
 *
 *	Status      LIVE   QUIESCING   SUSPENDED
 *	1.4         0x0f   0x0f        0x1b
 *	draft       0x0f   0x0f        0x1f
 *
 * Suspended is what vhost-user calls so: every ring was stopped by
 * GET_VRING_BASE, so that whatever was in flight is used and told of, and
 * nothing is touched any more. The process keeps all it has.
 *
 * The write of SUSPEND waits for the drain, for a moment, so that the driver's
 * first look finds it suspended. That of resume does not wait: Status says
 * that the device is live, config changes that came meanwhile are told, and
 * only then its rings are started; what the driver kicks until then is in the
 * eventfds. If that fails it is a live device that needs a reset.
 *
 * A drain that was begun cannot be taken back. A driver that changes its mind
 * changes what is @wanted, and that is done next: at most one operation is in
 * progress however often it does.
 */
#include "virtio/mmio/internal.h"
#include "virtio/mmio/page.h"
#include "vmm/base/fd.h"

/* So long a vCPU is kept in the write; after that the driver polls. */
#define INLINE_NS (10 * NS_PER_MS)

static bool is_draft(const struct virtio_mmio *dev)
{
	return dev->acked & VIRTIO_MMIO_SUSPEND_DRAFT;
}

bool mmio_suspend_features_ok(const struct virtio_mmio *dev)
{
	/* One who looks for 0x1f would wait for ever at 0x1b. */
	return (dev->acked & VIRTIO_MMIO_SUSPEND_BOTH) !=
	       VIRTIO_MMIO_SUSPEND_BOTH;
}

bool mmio_suspend_moving(const struct virtio_mmio *dev)
{
	return dev->op == VIRTIO_OP_SUSPEND || dev->op == VIRTIO_OP_RESUME;
}

/* ---------------------------------------------------------- way down */

static void on_deadline(struct loop_timer *timer)
{
	struct virtio_mmio *dev =
		container_of(timer, struct virtio_mmio, suspend.timer);

	mmio_needs_reset(dev, "it did not suspend in time");
	mmio_run_pending(dev);
}

static void on_inline_end(struct loop_timer *timer)
{
	struct virtio_mmio *dev =
		container_of(timer, struct virtio_mmio, suspend.timer);

	loop_timer_set(dev->loop, timer, dev->suspend.deadline_ns, on_deadline);
	mmio_let_go(&dev->suspend.item);
}

static void want_down(struct virtio_mmio *dev)
{
	dev->suspend.wanted = true;
	loop_timer_set(dev->loop, &dev->suspend.timer, INLINE_NS,
		       on_inline_end);
	dev->ops->event(dev, VIRTIO_MMIO_SUSPENDING);
}

/* Of no use any more: every ring is looked at when it starts. */
static uint64_t forget_kicks(struct virtio_mmio *dev)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		n += fd_event_drain(dev->kick_fds[i]);
	return n;
}

static void drained(struct virtio_mmio *dev, int r)
{
	if (r < 0)
		mmio_needs_reset(dev, "it did not suspend");
	else
		dev->suspend.stopped = true;
}

bool mmio_suspend_begin_drain(struct virtio_mmio *dev)
{
	uint32_t status = dev->status | MMIO_S_SUSPEND;

	if (!dev->suspend.wanted || mmio_is_suspended(dev))
		return false;
	if (mmio_any_started(dev)) {
		mmio_stop_rings(dev, VIRTIO_OP_SUSPEND, drained);
		return true;
	}
	dev->suspend.stopped = true;
	dev->suspend.count++;
	(void)forget_kicks(dev);
	loop_timer_cancel(dev->loop, &dev->suspend.timer);
	if (!is_draft(dev))
		status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	mmio_publish_status(dev, status);
	dev->ops->event(dev, VIRTIO_MMIO_SUSPENDED);
	mmio_let_go(&dev->suspend.item);
	return true;
}

/* The draft's driver takes it back before it was acknowledged. */
static void want_no_more(struct virtio_mmio *dev)
{
	loop_timer_cancel(dev->loop, &dev->suspend.timer);
	dev->suspend.wanted = false;
	mmio_let_go(&dev->suspend.item);
	dev->ops->event(dev, VIRTIO_MMIO_RESUMED);
}

void mmio_suspend_reset_waits(struct virtio_mmio *dev)
{
	mmio_forget_suspend(dev);
	dev->suspend.reset_waits = true;
}

/* ------------------------------------------------------------ way up */

static void want_up(struct virtio_mmio *dev)
{
	uint32_t status = dev->status & ~MMIO_S_SUSPEND;

	dev->suspend.kicks += forget_kicks(dev);
	dev->suspend.wanted = false;
	mmio_publish_status(dev, status | VIRTIO_CONFIG_S_DRIVER_OK);
	dev->ops->event(dev, VIRTIO_MMIO_RESUMED);
}

static void resumed(struct virtio_mmio *dev, int r)
{
	if (r < 0)
		mmio_needs_reset(dev, "it did not resume");
	else
		mmio_was_of_use(dev);
}

bool mmio_suspend_begin_resume(struct virtio_mmio *dev)
{
	if (dev->suspend.wanted || !dev->suspend.stopped ||
	    dev->suspend.reset_waits || mmio_is_frozen(dev) ||
	    virtio_mmio_is_dead(dev) || !virtio_mmio_is_live(dev))
		return false;
	dev->suspend.stopped = false;
	mmio_start_rings(dev, VIRTIO_OP_RESUME, resumed);
	return true;
}

/* ------------------------------------------------------------- both */

enum mmio_write mmio_suspend_write(struct virtio_mmio *dev, uint32_t value)
{
	bool suspend = value & MMIO_S_SUSPEND;
	bool ok = dev->acked & VIRTIO_MMIO_SUSPEND_BOTH &&
		  !(dev->status &
		    (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));

	if (ok && !mmio_is_suspended(dev)) {
		if (suspend && !dev->suspend.wanted) {
			want_down(dev);
			return MMIO_WRITE_AWAITS_DRAIN;
		}
		if (!suspend && is_draft(dev) && dev->suspend.wanted)
			want_no_more(dev);
	} else if (ok) {
		if (is_draft(dev) ? !suspend
				  : value & VIRTIO_CONFIG_S_DRIVER_OK)
			want_up(dev);
	}
	return MMIO_WRITE_DONE;
}
