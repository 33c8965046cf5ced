/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hostile driver: cases, each of which does one thing no driver may do.
 * hostile.c runs them, against each queue of each device type that
 * hostile_targets.c knows how to use well; hostile_ring.c breaks the ring,
 * hostile_regs.c the registers, hostile_suspend.c VIRTIO_F_SUSPEND,
 * hostile_dev.c what is special to a device type.
 */
#ifndef TORPOR_GUEST_HOSTILE_H
#define TORPOR_GUEST_HOSTILE_H

#include "guest/payloads/virtio.h"

#define SECTOR		512U
#define HOSTILE_SCRATCH (128U << 10)
#define HOSTILE_SLOTS	16U /* good requests that can be in flight */
#define HOSTILE_BUFS	4U  /* of one, at most */

struct hostile_case {
	const char *name;
	/* Negotiated, no others; skipped if one is not offered. */
	uint64_t features;
	/*
	 * The device is live, its ring empty. Return: NULL if it answered as
	 * it should, else what it did.
	 */
	const char *(*run)(struct vio_dev *dev);
};

/* A queue, and how a good driver uses it. */
struct hostile_target {
	const char *name; /* "net-tx" */
	uint32_t id;	  /* device type */
	uint32_t queue;
	uint32_t nr_queues; /* that the device has with these features */
	uint64_t features;  /* without which the queue does not exist */
	/* Answered when the host has something to say, not at once. */
	bool host_driven;
	/*
	 * A good request in at least two buffers, readable ones first, for
	 * slot 0 .. HOSTILE_SLOTS - 1; what it gets goes to the slot's 4 KiB of
	 * hostile_data. Return: their number.
	 */
	unsigned int (*request)(unsigned int slot, struct vio_buf *bufs,
				unsigned int *ret_out);
	/* Of slot 0, answered with @len. NULL: any answer will do. */
	bool (*good)(uint32_t len);
	/* What is special to the type, at its first queue here; or NULL. */
	const struct hostile_case *cases;
};

extern const struct hostile_target hostile_targets[];
/* The one that the case at hand is run against. */
extern const struct hostile_target *target;
extern uint8_t *hostile_data; /* HOSTILE_SCRATCH bytes */
/* What a case returns that has nothing to do to the target. */
extern const char hostile_skip[];

extern const struct hostile_case hostile_ring_cases[];
extern const struct hostile_case hostile_reg_cases[];
extern const struct hostile_case hostile_suspend_cases[];
extern const struct hostile_case hostile_smp_cases[]; /* two vCPUs */
extern const struct hostile_case hostile_blk_cases[];
extern const struct hostile_case hostile_net_cases[];
extern const struct hostile_case hostile_console_cases[];
extern const struct hostile_case hostile_rng_cases[];
extern const struct hostile_case hostile_fs_cases[];
extern const struct hostile_case hostile_vsock_cases[];

/* The target's queue. */
static inline struct vio_queue *hostile_queue(struct vio_dev *dev)
{
	return &dev->queues[target->queue];
}

/* Live, with the target's features and @features. */
bool hostile_start(struct vio_dev *dev, uint64_t features);
/*
 * A good request for @slot in the table from descriptor @at on. Return: the
 * number of its descriptors.
 */
unsigned int hostile_chain(struct vio_dev *dev, uint16_t at, unsigned int slot);
/* Slot 0 at descriptor 0. Return: the number of its descriptors. */
unsigned int hostile_good_chain(struct vio_dev *dev);
/* A good request in every slot, made available and kicked. */
void hostile_fly(struct vio_dev *dev);
/* Publishes @head, kicks, wants DEVICE_NEEDS_RESET and its interrupt. */
const char *hostile_expect_reset(struct vio_dev *dev, uint16_t head);
/* The device is live and answers hostile_good_chain(). */
const char *hostile_expect_works(struct vio_dev *dev);
/* Another device answers a good request. */
const char *hostile_witness(void);
/* 10^6 kicks of the target, while another device is used. */
void hostile_flood(struct vio_dev *dev);

#endif
