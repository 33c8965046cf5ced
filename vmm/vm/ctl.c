/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's end of the control channel to a device's process (virtio/devctl.h).
 * The process is not trusted: whatever it may not say ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>

#include "virtio/devctl.h"
#include "vmm/base/fd.h"
#include "vmm/vm/device.h"

/*
 * For an acknowledgement. Shorter than for vhost-user, since it waits for no
 * drain: a process that serves at all looks at its channel each turn of its
 * loop. Until then a vCPU stands still.
 */
#define ARM_DEADLINE_NS 15000000000ULL

static void died(struct vm_device *dev, const char *why)
{
	virtio_mmio_died(&dev->mmio, why);
}

void vm_ctl_release(struct vm_device *dev)
{
	struct mailbox_item *item;

	while ((item = dev->ctl.waiters) != NULL) {
		dev->ctl.waiters = item->next;
		mailbox_complete(item);
	}
}

/* Nothing is owed: who waits goes on. */
static void nothing_owed(struct vm_device *dev)
{
	vm_ctl_release(dev);
	if (dev->ctl.settled)
		dev->ctl.settled(dev->vm);
}

static void not_asked(struct vm_device *dev)
{
	if (dev->ctl.asked)
		trace_end(&dev->vm->trace, TRACE_DEVICE(dev->index), TRACE_ARM);
	dev->ctl.asked = false;
	loop_timer_cancel(&dev->vm->loop, &dev->ctl.deadline);
}

static void on_deadline(struct loop_timer *timer)
{
	died(container_of(timer, struct vm_device, ctl.deadline),
	     "does not acknowledge its arming");
}

/* Little is on its way: one without room for it was not left as it was made. */
static void tell(struct vm_device *dev, const struct devctl_msg *msg)
{
	ssize_t n = fd_sendmsg(dev->ctl.fd, msg, sizeof(*msg), NULL, 0);

	if (n != (ssize_t)sizeof(*msg))
		died(dev, n == -EAGAIN ? "its control channel is full"
				       : "connection closed");
}

void vm_ctl_published(struct vm_device *dev)
{
	const struct devctl_msg msg = { .type = DEVCTL_CONFIG_PUBLISHED,
					.generation = dev->ctl.config_told };

	if (!dev->ctl.config_telling || dev->ctl.fd < 0)
		return;
	dev->ctl.config_telling = false;
	tell(dev, &msg);
}

static void send_arm(struct vm_device *dev)
{
	struct vm_ctl *ctl = &dev->ctl;
	const struct devctl_msg msg = { .type = DEVCTL_WAKE_ARM,
					.generation = ++ctl->generation,
					.arg = dev->wake.armed };

	ctl->asked = true;
	ctl->again = false;
	trace_begin(&dev->vm->trace, TRACE_DEVICE(dev->index), TRACE_ARM);
	loop_timer_set(&dev->vm->loop, &ctl->deadline, ARM_DEADLINE_NS,
		       on_deadline);
	tell(dev, &msg);
}

void vm_ctl_arm(struct vm_device *dev, struct mailbox_item *item)
{
	struct vm_ctl *ctl = &dev->ctl;

	if (item) {
		item->next = ctl->waiters;
		ctl->waiters = item;
	}
	if (ctl->fd < 0)
		nothing_owed(dev);
	else if (ctl->asked)
		ctl->again = true;
	else
		send_arm(dev);
}

bool vm_ctl_arming(const struct vm_device *dev)
{
	return dev->ctl.asked;
}

static bool acknowledged(struct vm_device *dev, const struct devctl_msg *msg)
{
	struct vm_ctl *ctl = &dev->ctl;

	if (!ctl->asked || msg->arg != DEVCTL_WAKE_ARM ||
	    msg->generation != ctl->generation)
		return false;
	not_asked(dev);
	if (ctl->again) {
		send_arm(dev);
		return true;
	}
	/* Whatever the arming has signalled it has signalled by now. */
	if (!dev->wake.armed)
		(void)fd_event_drain(dev->wake_fd);
	nothing_owed(dev);
	return true;
}

/* Return: whether it may say that. */
static bool take(struct vm_device *dev, const struct devctl_msg *msg)
{
	switch (msg->type) {
	case DEVCTL_ACK:
		return acknowledged(dev, msg);
	case DEVCTL_CONFIG_CHANGED:
		dev->ctl.config_told = msg->generation;
		dev->ctl.config_telling = true;
		virtio_mmio_config_changed(&dev->mmio);
		return true;
	default:
		return false;
	}
}

static void on_ctl(struct loop_source *src, uint32_t events)
{
	struct vm_device *dev = container_of(src, struct vm_device, ctl.src);
	/* One byte more than a message, to see longer packets. */
	struct {
		struct devctl_msg msg;
		uint8_t more;
	} buf;
	size_t n_fds;
	ssize_t n = fd_recvmsg(dev->ctl.fd, &buf, sizeof(buf.msg) + 1, NULL, 0,
			       &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET)
		died(dev, "connection closed");
	else if (n != (ssize_t)sizeof(buf.msg) || !take(dev, &buf.msg))
		died(dev, "sent a wrong control message");
}

int vm_ctl_open(struct vm_device *dev, int fd, void (*settled)(struct vm *vm))
{
	int r = loop_add(&dev->vm->loop, &dev->ctl.src, fd, EPOLLIN, on_ctl);

	if (r < 0)
		return r;
	loop_pace(&dev->ctl.src);
	dev->ctl.fd = fd;
	dev->ctl.settled = settled;
	return 0;
}

void vm_ctl_close(struct vm_device *dev)
{
	not_asked(dev);
	dev->ctl.config_telling = false;
	loop_remove(&dev->vm->loop, &dev->ctl.src);
	fd_close(&dev->ctl.fd);
	nothing_owed(dev);
}
