/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Low power by the kernel of the host (VFIO_DEVICE_FEATURE, Linux 6.1): only
 * while the guest has switched off the device's power resource, never by our
 * own decision, as the kernel cuts off a device that works.
 *
 * The eventfd is signalled when the device leaves low power, whoever made it:
 * our own EXIT too. @low is cleared before that, so that nobody takes it for a
 * wake-up.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "devices/vfio/device.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* Return: 0 or -errno. */
static int feature(struct vfio_device *dev, uint32_t flags, const void *data,
		   uint32_t len)
{
	union {
		struct vfio_device_feature feature;
		uint8_t bytes[sizeof(struct vfio_device_feature) +
			      sizeof(struct
				     vfio_device_low_power_entry_with_wakeup)];
	} u = { .feature = { .argsz = (uint32_t)sizeof(u.feature) + len,
			     .flags = flags } };

	if (len)
		memcpy(u.bytes + sizeof(u.feature), data, len);
	return ioctl(dev->fd, VFIO_DEVICE_FEATURE, &u.feature) < 0 ? -errno : 0;
}

static int enter(struct vfio_device *dev)
{
	const struct vfio_device_low_power_entry_with_wakeup wakeup = {
		.wakeup_eventfd = dev->wake_fd,
	};

	/* Without wakeup an access of the host's costs nothing and wakes
	 * nobody: the device goes down again by itself. */
	if (!dev->armed)
		return feature(dev,
			       VFIO_DEVICE_FEATURE_SET |
				       VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
			       NULL, 0);
	return feature(dev,
		       VFIO_DEVICE_FEATURE_SET |
			       VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
		       &wakeup, sizeof(wakeup));
}

void vfio_power_leave(struct vfio_device *dev)
{
	static struct log_limit limit;
	int r;

	atomic_store(&dev->low, false);
	r = feature(dev,
		    VFIO_DEVICE_FEATURE_SET |
			    VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
		    NULL, 0);
	if (r < 0)
		log_limited(&limit, "%s: does not leave low power: %s",
			    dev->bdf, strerror(-r));
	(void)fd_event_drain(dev->wake_fd);
}

void vfio_power_enter(struct vfio_device *dev)
{
	static struct log_limit limit;
	int r;

	/* Before the call: the device may be woken within it. */
	atomic_store(&dev->low, true);
	r = enter(dev);
	if (r == 0)
		return;
	atomic_store(&dev->low, false);
	log_limited(&limit, "%s: does not enter low power: %s", dev->bdf,
		    strerror(-r));
}

void vfio_power_arm(struct vfio_device *dev, bool armed)
{
	(void)pthread_mutex_lock(&dev->pci.lock);
	if (dev->pci.cold && armed != dev->armed) {
		vfio_power_leave(dev);
		dev->armed = armed;
		vfio_power_enter(dev);
	}
	dev->armed = armed;
	(void)pthread_mutex_unlock(&dev->pci.lock);
}

bool vfio_power_woken(struct vfio_device *dev)
{
	return fd_event_drain(dev->wake_fd) && atomic_load(&dev->low);
}

void vfio_power_again(struct vfio_device *dev)
{
	(void)pthread_mutex_lock(&dev->pci.lock);
	if (dev->pci.cold)
		vfio_power_enter(dev);
	(void)pthread_mutex_unlock(&dev->pci.lock);
}

static bool knows(struct vfio_device *dev, uint32_t what)
{
	return feature(dev,
		       VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET |
			       what,
		       NULL, 0) == 0;
}

int vfio_power_init(struct vfio_device *dev)
{
	if (dev->pm != PCI_DEPTH_DEEP)
		return 0;
	if (!knows(dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY) ||
	    !knows(dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP) ||
	    !knows(dev, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)) {
		log_warn("%s: the host's kernel has no low power for it (Linux "
			 "6.1 has): pm=shallow instead of pm=deep",
			 dev->bdf);
		dev->pm = PCI_DEPTH_SHALLOW;
		return 0;
	}
	dev->wake_fd = fd_event_create();
	return dev->wake_fd < 0 ? dev->wake_fd : 0;
}
