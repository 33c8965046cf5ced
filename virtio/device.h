/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interface of a device type, inside its own process (torpor-device). The
 * vhost-user back end (virtio/vhost_user/backend.c) owns the rings and the
 * socket and calls these slots on the process's only loop thread. Spec: virtio
 * 1.x, chapters 2 and 5.
 *
 * Life of a device: create -> serve { start -> kick* -> stop_queue -> stop }*
 * -> destroy. The device starts again after every reset or quiesce, with the
 * same or other features.
 */
#ifndef TORPOR_VIRTIO_DEVICE_H
#define TORPOR_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/types.h"
#include "virtio/virtq.h"
#include "vmm/base/gmem.h"
#include "vmm/base/loop.h"

#define VIRTIO_DEV_MAX_QUEUES 8
#define VIRTIO_DEV_MAX_FDS    4 /* of its back end */

struct virtio_dev;

/*
 * All slots are mandatory unless marked optional. None may wait for the guest
 * or for a peer; stop_queue may wait for the host's own I/O.
 */
struct virtio_dev_ops {
	const struct virtio_type *type;
	const char *usage; /* of its words, for --help; NULL: it has none */
	bool in_thread;	   /* uses virtio_dev.end_thread */

	/*
	 * Makes the device from its command line words ("ro", "id=disk0" ...)
	 * and the VIRTIO_DEV_MAX_FDS fds of its back end, -1 for unused ones.
	 * On success the device owns the fds. Runs jailed, before seccomp.
	 * Return: 0 and *ret_dev, freed by destroy(); or -errno.
	 */
	int (*create)(struct loop *loop, char *const *args, const int *fds,
		      struct virtio_dev **ret_dev);
	/* @dev may be NULL. */
	void (*destroy)(struct virtio_dev *dev);
	/*
	 * First ring started since the last stop: open rings and threads.
	 * dev->features holds the negotiated features. Optional.
	 * Return: 0 or -errno, which breaks every ring (NEEDS_RESET).
	 */
	int (*start)(struct virtio_dev *dev);
	/* The driver kicked, or the ring has just been started. */
	void (*kick)(struct virtio_dev *dev, unsigned int queue);
	/*
	 * Stop queue: on return nothing is in flight on it, neither here nor
	 * in the kernel, every finished request is in the used ring, unused
	 * buffers were given back by virtq_unpop(). Idempotent.
	 */
	void (*stop_queue)(struct virtio_dev *dev, unsigned int queue);
	/*
	 * No ring runs any more: release resources that cost CPU time while
	 * idle (io_uring and its workers). Optional.
	 */
	void (*stop)(struct virtio_dev *dev);
	/*
	 * RESET_DEVICE, after the last ring has stopped: forget the state of
	 * the previous driver. Optional: most types keep no such state over a
	 * stop.
	 */
	void (*reset)(struct virtio_dev *dev);
	/*
	 * The driver wrote config space. dev->config has the old bytes; apply
	 * the writable ones. Optional: without it writes are ignored.
	 */
	void (*config_write)(struct virtio_dev *dev, uint32_t offset,
			     const void *data, uint32_t len);
	/*
	 * virtio_dev_config_published() is true again. Rings may or may not
	 * run. Optional.
	 */
	void (*config_published)(struct virtio_dev *dev);
	/*
	 * Watch, or stop watching, for data that should wake the guest. Call
	 * virtio_dev_wake() once per arming if there is some, also if it was
	 * there already. Rings may or may not run. Optional: a type without it
	 * never wakes the guest.
	 */
	void (*wake_arm)(struct virtio_dev *dev, bool armed);
};

/*
 * The device's requests to its host: the vhost-user back end, a test or a
 * fuzzer. Called on the loop, by virtio_dev_*() below.
 */
struct virtio_dev_host {
	void (*wake)(struct virtio_dev_host *host);
	void (*config_changed)(struct virtio_dev_host *host);
	bool (*config_published)(struct virtio_dev_host *host);
	void (*fail)(struct virtio_dev_host *host, const char *why);
};

/* Embedded first in each device's own struct. */
struct virtio_dev {
	const struct virtio_dev_ops *ops;
	struct virtio_dev_host *host; /* NULL: it has no host */
	struct loop *loop;
	uint64_t features_offered; /* device and ring bits, set by create */
	uint64_t features;	   /* negotiated; valid while started */
	unsigned int nr_queues;
	struct virtq queues[VIRTIO_DEV_MAX_QUEUES];
	struct gmem gmem;
	uint8_t config[256]; /* config space as the driver reads it */
	/*
	 * The device never lets a file grow beyond this; 0: the host's limit
	 * applies.
	 */
	uint64_t max_file_bytes;
	/*
	 * The device opens files only below this directory; NULL: it opens
	 * none.
	 */
	const int *files_dir;
	bool started;
	/*
	 * Set by ops->stop: the kernel keeps resources for the loop's thread
	 * until it ends (io_uring's workers, which wake up every 5 s). A
	 * process that can continues in another thread, which answers the stop;
	 * see backend_thread_change().
	 */
	bool end_thread;
};

#define VIRTIO_TYPE_OPS(NAME, name, ...) \
	extern const struct virtio_dev_ops virtio_##name##_ops;
VIRTIO_TYPES(VIRTIO_TYPE_OPS)

/* In the order of virtio_types[]. */
extern const struct virtio_dev_ops *const virtio_type_ops[VIRTIO_NR_TYPES];

/* For create(), if its words say what to open. */
extern const int virtio_no_fds[VIRTIO_DEV_MAX_FDS];

/* The first of create(): @dev, which is zeroed, offers what rings can do. */
void virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_ops *ops,
		     struct loop *loop);

static inline bool virtio_dev_has(const struct virtio_dev *dev,
				  unsigned int bit)
{
	return dev->features >> bit & 1;
}

/* Wakes the guest. Once per arming. */
static inline void virtio_dev_wake(struct virtio_dev *dev)
{
	if (dev->host)
		dev->host->wake(dev->host);
}

/* dev->config differs from what the driver has seen. */
static inline void virtio_dev_config_changed(struct virtio_dev *dev)
{
	if (dev->host)
		dev->host->config_changed(dev->host);
}

/*
 * Does the driver read the present dev->config? False from
 * virtio_dev_config_changed() until ops->config_published(); that may take
 * long, and a stop does not wait for it. Always true without a host.
 */
static inline bool virtio_dev_config_published(const struct virtio_dev *dev)
{
	return !dev->host || dev->host->config_published(dev->host);
}

/* A fault that no ring can report: breaks every ring (NEEDS_RESET). */
static inline void virtio_dev_fail(struct virtio_dev *dev, const char *why)
{
	if (dev->host)
		dev->host->fail(dev->host, why);
}

#endif
