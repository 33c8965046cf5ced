/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/mmio/mmio.h"

#include <assert.h>
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "virtio/mmio/internal.h"
#include "virtio/mmio/page.h"
#include "virtio/mmio/queue.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* What a driver may set; it may not clear (virtio 2.1.1). */
#define STATUS_DRIVER_BITS                                         \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |    \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FAILED)

/* Not in every <linux/virtio_config.h>. */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif
#ifndef VIRTIO_F_NOTIF_CONFIG_DATA
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#endif
#ifndef VIRTIO_F_ADMIN_VQ
#define VIRTIO_F_ADMIN_VQ 41
#endif

/* Bits that the back end and the VMM use between them. */
#define FEATURES_OF_VHOST                                       \
	(BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VHOST_F_LOG_ALL) | \
	 BIT(VHOST_USER_F_PROTOCOL_FEATURES))

/* The transport does not implement these. */
#define FEATURES_LACKING                                              \
	(BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED) |  \
	 BIT(VIRTIO_F_SR_IOV) | BIT(VIRTIO_F_NOTIFICATION_DATA) |     \
	 BIT(VIRTIO_F_NOTIF_CONFIG_DATA) | BIT(VIRTIO_F_RING_RESET) | \
	 BIT(VIRTIO_F_ADMIN_VQ))

/* Bits of a back end that the guest is not offered; the VMM suspends. */
#define FEATURES_HIDDEN \
	(FEATURES_OF_VHOST | FEATURES_LACKING | VIRTIO_MMIO_SUSPEND_BOTH)

/* A guest write on its way to the main loop; on the vCPU thread's stack. */
struct reg_write {
	struct mailbox_item item;
	struct virtio_mmio *dev;
	uint32_t offset;
	uint32_t len;
	uint8_t data[8];
};

/* --------------------------------------------------------- state */

static void clear_state(struct virtio_mmio *dev)
{
	bool was_up = mmio_is_up(dev);

	mmio_forget_suspend(dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->queues[i] = (struct virtio_mmio_queue){ 0 };
		dev->fe.rings[i].base = 0;
		(void)fd_event_drain(dev->kick_fds[i]);
	}
	(void)fd_event_drain(dev->err_fd);
	dev->acked = 0;
	dev->acked_unknown = false;
	dev->device_sel = 0;
	dev->driver_sel = 0;
	dev->queue_sel = 0;
	dev->break_wanted = false;
	mmio_was_of_use(dev);
	mmio_publish_features(dev);
	mmio_publish_queue(dev);
	regpage_ack(dev->page, UINT32_MAX);
	/* Last: a driver that sees 0 may reuse the rings' memory. */
	mmio_publish_status(dev, 0);
	if (was_up) {
		dev->resets++;
		dev->ops->event(dev, VIRTIO_MMIO_WAS_RESET);
	}
}

/* --------------------------------------------------------- Status writes */

static bool features_ok(const struct virtio_mmio *dev)
{
	return !dev->acked_unknown && !(dev->acked & ~dev->offered) &&
	       dev->acked >> VIRTIO_F_VERSION_1 & 1 &&
	       mmio_suspend_features_ok(dev);
}

static void started(struct virtio_mmio *dev, int r)
{
	if (r < 0)
		mmio_needs_reset(dev, "its rings were refused");
	else
		dev->ops->event(dev, VIRTIO_MMIO_WENT_LIVE);
}

static void go_live(struct virtio_mmio *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		const struct virtio_mmio_queue *q = &dev->queues[i];
		struct frontend_ring *ring = &dev->fe.rings[i];

		if (!q->ready)
			continue;
		ring->size = (uint16_t)q->size;
		ring->base = 0;
		ring->desc_gpa = q->desc_gpa;
		ring->avail_gpa = q->driver_gpa;
		ring->used_gpa = q->device_gpa;
	}
	mmio_start_rings(dev, VIRTIO_OP_START, started);
}

static void finish_reset(struct virtio_mmio *dev, int r)
{
	/*
	 * A killed process may still have I/O in flight that writes to guest
	 * memory. If that cannot be ruled out the reset is never acknowledged:
	 * Status stays as it is.
	 */
	if (dev->life == VIRTIO_MMIO_LOST)
		return;
	mmio_publish_config(dev, false);
	clear_state(dev);
}

static enum mmio_write write_zero(struct virtio_mmio *dev)
{
	if (mmio_awaits_fence(dev)) {
		/* Until the fence. */
		mmio_op_begin(dev, VIRTIO_OP_RESET, finish_reset);
		return MMIO_WRITE_AWAITS_OP;
	}
	if (dev->used && !virtio_mmio_is_dead(dev)) {
		mmio_op_begin(dev, VIRTIO_OP_RESET, finish_reset);
		dev->used = false;
		frontend_reset(&dev->fe, mmio_op_answered);
		return MMIO_WRITE_AWAITS_OP;
	}
	finish_reset(dev, 0);
	return MMIO_WRITE_DONE;
}

static enum mmio_write write_status(struct virtio_mmio *dev, uint32_t value)
{
	uint32_t set = value & STATUS_DRIVER_BITS & ~dev->status;
	uint32_t status = dev->status;
	bool live = false;

	if (value == 0)
		return write_zero(dev);
	if (mmio_is_up(dev)) {
		if (!(status & VIRTIO_CONFIG_S_NEEDS_RESET))
			mmio_publish_status(
				dev, status | (set & VIRTIO_CONFIG_S_FAILED));
		return mmio_suspend_write(dev, value);
	}
	if (!(status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		status |=
			set & (VIRTIO_CONFIG_S_ACKNOWLEDGE |
			       VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED);
		if (set & VIRTIO_CONFIG_S_FEATURES_OK &&
		    status & VIRTIO_CONFIG_S_DRIVER && features_ok(dev))
			status |= VIRTIO_CONFIG_S_FEATURES_OK;
		live = set & VIRTIO_CONFIG_S_DRIVER_OK &&
		       status & VIRTIO_CONFIG_S_FEATURES_OK &&
		       !(status & VIRTIO_CONFIG_S_FAILED);
		mmio_publish_status(dev, status);
	}
	if (!live)
		return MMIO_WRITE_DONE;
	mmio_publish_status(dev, status | VIRTIO_CONFIG_S_DRIVER_OK);
	if (virtio_mmio_is_dead(dev)) {
		mmio_needs_reset(dev, "its process has died");
		return MMIO_WRITE_DONE;
	}
	go_live(dev);
	return MMIO_WRITE_AWAITS_OP;
}

/* --------------------------------------------------------- other registers */

/* QueueReady reads 0 only once nothing of the ring is in flight. */
static void finish_ring(struct virtio_mmio *dev, int r)
{
	struct virtio_mmio_queue *q = mmio_queue_selected(dev);

	if (q && !(dev->life == VIRTIO_MMIO_LOST && mmio_is_up(dev)))
		q->ready = false;
	mmio_publish_queue(dev);
}

static enum mmio_write write_ready(struct virtio_mmio *dev, uint32_t value)
{
	struct virtio_mmio_queue *q = mmio_queue_selected(dev);
	uint32_t index = dev->queue_sel;

	if (q && value == 0 && q->ready) {
		if (mmio_awaits_fence(dev) && mmio_is_up(dev)) {
			/* Until the fence. */
			mmio_op_begin(dev, VIRTIO_OP_RING, finish_ring);
			return MMIO_WRITE_AWAITS_OP;
		}
		if (!virtio_mmio_is_dead(dev) && dev->fe.rings[index].started) {
			mmio_op_begin(dev, VIRTIO_OP_RING, finish_ring);
			frontend_stop(&dev->fe, 1U << index, mmio_op_answered);
			return MMIO_WRITE_AWAITS_OP;
		}
		finish_ring(dev, 0);
	} else if (q && value == 1 && !q->ready &&
		   dev->status & VIRTIO_CONFIG_S_FEATURES_OK &&
		   !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
		   !mmio_is_up(dev) && mmio_queue_valid(dev, q)) {
		q->ready = true;
		mmio_publish_queue(dev);
	}
	return MMIO_WRITE_DONE;
}

static void write_driver_features(struct virtio_mmio *dev, uint32_t value)
{
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	if (dev->driver_sel < 2)
		mmio_set_half(&dev->acked, dev->driver_sel == 1, value);
	else if (value)
		dev->acked_unknown = true;
}

/* Registers whose effect is over when this returns. */
static void write_simple(struct virtio_mmio *dev, uint32_t offset,
			 uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		dev->device_sel = value;
		mmio_publish_features(dev);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		dev->driver_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_driver_features(dev, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		dev->queue_sel = value;
		mmio_publish_queue(dev);
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		if (!mmio_is_suspended(dev))
			mmio_queue_write(dev, offset, value);
		break;
	default: /* QueueNotify of no queue, read-only or unknown: ignored */
		break;
	}
}

static void config_written(struct virtio_mmio *dev, int r)
{
	mmio_publish_config(dev, false);
}

static enum mmio_write write_config(struct virtio_mmio *dev,
				    const struct reg_write *w)
{
	uint32_t offset = w->offset - VIRTIO_MMIO_CONFIG;

	if (virtio_mmio_is_dead(dev) || offset >= dev->config_size ||
	    w->len > dev->config_size - offset || mmio_is_suspended(dev) ||
	    dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return MMIO_WRITE_DONE;
	mmio_op_begin(dev, VIRTIO_OP_CONFIG_WRITE, config_written);
	dev->used = true;
	frontend_set_config(&dev->fe, offset, w->data, w->len,
			    mmio_op_answered);
	return MMIO_WRITE_AWAITS_OP;
}

static enum mmio_write write_register(struct virtio_mmio *dev,
				      const struct reg_write *w)
{
	uint32_t value;

	if (w->offset >= VIRTIO_MMIO_CONFIG)
		return write_config(dev, w);
	memcpy(&value, w->data, sizeof(value));
	if (w->offset == VIRTIO_MMIO_STATUS)
		return write_status(dev, value);
	if (w->offset == VIRTIO_MMIO_QUEUE_READY)
		return write_ready(dev, value);
	write_simple(dev, w->offset, value);
	return MMIO_WRITE_DONE;
}

/* No operation ends inside the call that began it: the item is in time. */
static void run_write(struct virtio_mmio *dev, struct mailbox_item *item)
{
	struct reg_write *w = container_of(item, struct reg_write, item);

	switch (write_register(dev, w)) {
	case MMIO_WRITE_DONE:
		mailbox_complete(item);
		break;
	case MMIO_WRITE_AWAITS_OP:
		assert(dev->op != VIRTIO_OP_NONE && !dev->op_item);
		dev->op_item = item;
		break;
	case MMIO_WRITE_AWAITS_DRAIN:
		assert(!dev->suspend.item);
		dev->suspend.item = item;
		break;
	}
}

/* --------------------------------------------------------- scheduling */

/* Config space stays as it is while the guest or the VMM has it stopped. */
static bool may_refresh_config(const struct virtio_mmio *dev)
{
	return !virtio_mmio_is_dead(dev) && dev->run != VIRTIO_MMIO_QUIESCED &&
	       !dev->suspend.wanted;
}

static void config_refreshed(struct virtio_mmio *dev, int r)
{
	mmio_publish_config(dev, true);
	/* Or it was told of another meanwhile, and reads again. */
	if (!dev->config_refresh_wanted && dev->ops->config_published)
		dev->ops->config_published(dev);
}

/* Begins one thing that is due. Return: false if there is none. */
static bool run_one_pending(struct virtio_mmio *dev)
{
	struct mailbox_item *item = dev->waiting;

	if (dev->break_wanted && !virtio_mmio_is_dead(dev) &&
	    mmio_any_started(dev)) {
		dev->break_wanted = false;
		mmio_stop_rings(dev, VIRTIO_OP_BREAK, NULL);
		return true;
	}
	if (mmio_suspend_begin_drain(dev))
		return true;
	if (dev->config_refresh_wanted && may_refresh_config(dev)) {
		dev->config_refresh_wanted = false;
		mmio_op_begin(dev, VIRTIO_OP_CONFIG_REFRESH, config_refreshed);
		frontend_get_config(&dev->fe, mmio_op_answered);
		return true;
	}
	/* After that: the driver hears of the change before any buffer. */
	if (mmio_suspend_begin_resume(dev))
		return true;
	if (dev->run == VIRTIO_MMIO_QUIESCING) {
		virtio_mmio_quiesce(dev, dev->on_moved);
		return true;
	}
	if (!item || mmio_is_frozen(dev))
		return false;
	dev->waiting = item->next;
	if (!dev->waiting)
		dev->waiting_tail = &dev->waiting;
	run_write(dev, item);
	return true;
}

/* Status, while it suspends or resumes: the driver may change its mind. */
static bool overtakes(struct virtio_mmio *dev, const struct reg_write *w)
{
	uint32_t value;

	if (w->offset != VIRTIO_MMIO_STATUS || mmio_is_frozen(dev) ||
	    !mmio_suspend_moving(dev))
		return false;
	memcpy(&value, w->data, sizeof(value));
	if (value == 0)
		mmio_suspend_reset_waits(dev);
	return value != 0;
}

static void on_write(struct mailbox_item *item)
{
	struct reg_write *w = container_of(item, struct reg_write, item);
	struct virtio_mmio *dev = w->dev;

	if (overtakes(dev, w)) {
		run_write(dev, item);
		return;
	}
	item->next = NULL;
	*dev->waiting_tail = item;
	dev->waiting_tail = &item->next;
	mmio_run_pending(dev);
}

static void handshake_done(struct virtio_mmio *dev, int r)
{
	void (*ready)(struct virtio_mmio * dev, int r) = dev->ready;

	dev->ready = NULL;
	dev->offered =
		(dev->fe.features & ~FEATURES_HIDDEN) | dev->suspend.offered;
	if (dev->foreign)
		r = mmio_foreign_check(dev, r);
	if (r == 0 && !(dev->offered >> VIRTIO_F_VERSION_1 & 1))
		r = -EPROTONOSUPPORT;
	mmio_publish_features(dev);
	mmio_publish_config(dev, false);
	if (ready)
		ready(dev, r);
}

/* --------------------------------------------------------- vCPU threads */

static bool register_aligned(uint64_t offset, uint32_t len)
{
	if (offset < VIRTIO_MMIO_CONFIG)
		return len == 4 && !(offset & 3);
	return !(offset & (len - 1)) && len <= 4;
}

static void mmio_bus_write(struct bus_dev *bus, uint64_t offset,
			   const void *data, uint32_t len)
{
	struct virtio_mmio *dev = container_of(bus, struct virtio_mmio, bus);
	struct reg_write w = { .item.fn = on_write,
			       .item.what = dev->name,
			       .dev = dev,
			       .offset = (uint32_t)offset,
			       .len = len };
	static struct log_limit limit;
	uint32_t value = 0;

	(void)__atomic_fetch_add(&dev->writes, 1, __ATOMIC_RELAXED);
	if (!register_aligned(offset, len)) {
		log_limited(&limit, "%s: %u-byte write at %#llx, ignored",
			    dev->name, len, (unsigned long long)offset);
		return;
	}
	memcpy(w.data, data, len);
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		memcpy(&value, data, len);
		regpage_ack(dev->page, value);
		return;
	}
	mailbox_call(dev->mailbox, &w.item);
}

/* Only where the page is not mapped into the guest: it is plain memory. */
static void mmio_bus_read(struct bus_dev *bus, uint64_t offset, void *data,
			  uint32_t len)
{
	struct virtio_mmio *dev = container_of(bus, struct virtio_mmio, bus);

	memcpy(data, dev->page->bytes + offset, len);
}

static const struct bus_ops mmio_bus_ops = {
	.name = "virtio-mmio",
	.read = mmio_bus_read,
	.write = mmio_bus_write,
};

/* --------------------------------------------------------- faults */

static void on_ring_error(struct loop_source *src, uint32_t events)
{
	struct virtio_mmio *dev =
		container_of(src, struct virtio_mmio, err_src);

	(void)fd_event_drain(dev->err_fd);
	/* A stale one, of rings that were reset since, means nothing. */
	if (!mmio_is_up(dev))
		return;
	/* Only its process says so: whose fault it is we do not know. */
	mmio_needs_reset(dev, "its process says that a ring is broken");
	mmio_run_pending(dev);
}

static void on_frontend_failed(struct frontend *fe, const char *why)
{
	struct virtio_mmio *dev = container_of(fe, struct virtio_mmio, fe);

	virtio_mmio_died(dev, why);
}

void virtio_mmio_died(struct virtio_mmio *dev, const char *why)
{
	if (virtio_mmio_is_dead(dev))
		return;
	if (mmio_respawn_begin(dev)) {
		mmio_set_life(dev, VIRTIO_MMIO_REPLACING);
		dev->ops->failed(dev, why);
		return;
	}
	mmio_set_life(dev, VIRTIO_MMIO_DYING);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->fe.rings[i].started = false;
	if (mmio_is_up(dev)) {
		mmio_needs_reset(dev, why);
		/* Its last completions may lack their interrupt. */
		if (!mmio_is_suspended(dev))
			mmio_raise_used(dev);
	}
	dev->ops->failed(dev, why);
}

void virtio_mmio_fenced(struct virtio_mmio *dev, bool ok)
{
	bool replacing = dev->life == VIRTIO_MMIO_REPLACING;

	/* Asked for more than once: what was sure stays so. */
	if (!mmio_awaits_fence(dev) && !(ok && dev->life == VIRTIO_MMIO_LOST))
		return;
	mmio_set_life(dev, ok ? VIRTIO_MMIO_FENCED : VIRTIO_MMIO_LOST);
	if (mmio_op_needs_fence(dev))
		mmio_op_end(dev, 0);
	if (replacing)
		mmio_respawn_fenced(dev);
}

void virtio_mmio_config_changed(struct virtio_mmio *dev)
{
	dev->config_refresh_wanted = true;
	mmio_run_pending(dev);
}

/* --------------------------------------------------------- life */

static int make_fds(struct virtio_mmio *dev)
{
	int r;

	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		r = dev->kick_fds[i] = fd_event_create();
		if (r < 0)
			return r;
	}
	r = dev->irq_fd = fd_event_create();
	if (r < 0)
		return r;
	r = dev->err_fd = fd_event_create();
	if (r < 0)
		return r;
	if (dev->foreign)
		r = mmio_foreign_init(dev);
	else
		r = dev->used_irq_fd = fd_event_create();
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->fe.rings[i].kick_fd = dev->kick_fds[i];
		dev->fe.rings[i].call_fd =
			dev->foreign ? dev->call_fd : dev->used_irq_fd;
		dev->fe.rings[i].err_fd = dev->err_fd;
	}
	r = loop_add(dev->loop, &dev->err_src, dev->err_fd, EPOLLIN,
		     on_ring_error);
	if (r == 0)
		loop_pace(&dev->err_src);
	return r;
}

int virtio_mmio_init(struct virtio_mmio *dev,
		     const struct virtio_mmio_config *cfg, struct loop *loop,
		     struct mailbox *mailbox, const struct gmem *gm,
		     void (*ready)(struct virtio_mmio *dev, int r))
{
	int r;

	*dev = (struct virtio_mmio){
		.bus = { .ops = &mmio_bus_ops,
			 .base = cfg->gpa,
			 .size = VIRTIO_REGPAGE_SIZE },
		.name = cfg->name,
		.ops = cfg->ops,
		.loop = loop,
		.mailbox = mailbox,
		.gm = gm,
		.page = cfg->page,
		.queue_size_max = cfg->queue_size,
		.nr_queues = cfg->nr_queues,
		.config_size = cfg->config_size,
		.irq_fd = -1,
		.used_irq_fd = -1,
		.err_fd = -1,
		.call_fd = -1,
		.err_src.fd = -1,
		.call_src.fd = -1,
		.foreign = cfg->foreign,
		.ready = ready,
		.run_one_pending = run_one_pending,
		.suspend = { .offered = cfg->suspend,
			     .deadline_ns = cfg->suspend_deadline_ns },
	};
	for (unsigned int i = 0; i < VIRTIO_MMIO_MAX_QUEUES; i++)
		dev->kick_fds[i] = -1;
	dev->waiting_tail = &dev->waiting;
	r = frontend_init(&dev->fe, loop, cfg->vhost_fd, gm, cfg->deadline_ns);
	if (r == 0)
		r = make_fds(dev);
	if (r < 0) {
		dev->fe.fd = -1; /* stays the caller's */
		virtio_mmio_finish(dev);
		return r;
	}
	dev->fe.on_failed = on_frontend_failed;
	mmio_page_init(dev, cfg->device_id);
	if (dev->foreign)
		mmio_foreign_prepare(dev);
	mmio_handshake(dev, VIRTIO_OP_HANDSHAKE, handshake_done);
	return 0;
}

void virtio_mmio_release_waiters(struct virtio_mmio *dev)
{
	mmio_forget_suspend(dev);
	mmio_let_go(&dev->op_item);
	while (dev->waiting) {
		struct mailbox_item *item = dev->waiting;

		dev->waiting = item->next;
		mailbox_complete(item);
	}
	dev->waiting_tail = &dev->waiting;
}

void virtio_mmio_finish(struct virtio_mmio *dev)
{
	if (!dev->loop)
		return;
	loop_timer_cancel(dev->loop, &dev->suspend.timer);
	frontend_finish(&dev->fe);
	loop_remove(dev->loop, &dev->err_src);
	mmio_foreign_finish(dev);
	for (unsigned int i = 0; i < VIRTIO_MMIO_MAX_QUEUES; i++)
		fd_close(&dev->kick_fds[i]);
	fd_close(&dev->irq_fd);
	fd_close(&dev->used_irq_fd);
	fd_close(&dev->err_fd);
	dev->loop = NULL;
}
