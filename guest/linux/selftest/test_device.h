/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio device in memory with its transport, which the tests of
 * virtio_device_suspend() and _resume() look at.
 */
#ifndef VIRTIO_SUSPEND_TEST_DEVICE_H
#define VIRTIO_SUSPEND_TEST_DEVICE_H

#include <linux/virtio.h>
#include <linux/virtio_config.h>

#define TEST_ID		0x3f	/* A device type that nobody has. */
#define RING_SIZE	8
#define MAX_BUFS	1024

#define LIVE		0x0f
#ifdef CONFIG_VIRTIO_SUSPEND_DRAFT
#define SUSPENDED	0x1f
#define WRITE_RESUME	0x0f
#else
#define SUSPENDED	0x1b
#define WRITE_RESUME	0x1f
#endif
#define WRITE_SUSPEND	0x1f

extern int test_passed, test_failed;

#define check(cond) do {						\
	if (cond) {							\
		test_passed++;						\
	} else {							\
		test_failed++;						\
		pr_err("not ok - %s:%d: %s\n", __func__, __LINE__, #cond); \
	}								\
} while (0)

enum answer { ACK, NEVER, NEEDS_RESET, VANISH };

/* The device, and what it has seen. */
struct test_dev {
	struct virtio_device vdev;
	u64 offered;
	u8 status;
	enum answer suspend, resume;
	int reads_to_ack;		/* Of the status, until it answers. */
	int reads_left;
	u8 target;			/* What the status will be, or 0. */
	u8 written[8];			/* Status, since the last clear. */
	int num_written;
	int notified[2];
	int resets;
	struct virtqueue *vq[2];
	u16 next[2];			/* Of the available ring. */
	u16 next_used[2];
	bool wrap[2];			/* Packed: of the next descriptor. */
};

extern struct test_dev tdev;
extern const struct virtio_config_ops test_ops;

/* As the transport's reset. */
void test_reset(struct virtio_device *vdev);

/* How many buffers the device could take from the queue now. */
int device_available(int q);

/* Takes the next buffer, gives it back; what it says at its start. */
u32 device_use(int q);

#endif
