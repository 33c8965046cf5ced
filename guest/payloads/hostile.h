/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hostile driver: cases, each of which does one thing no driver may do.
 * hostile.c runs them; hostile_ring.c breaks the ring, hostile_regs.c the
 * registers, hostile_dev.c what is special to a device type.
 */
#ifndef TORPOR_GUEST_HOSTILE_H
#define TORPOR_GUEST_HOSTILE_H

#include "guest/payloads/virtio.h"

#define SECTOR 512U

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

/* A block request in pieces, for cases to arrange as they like. */
struct hostile_blk {
	struct virtio_blk_outhdr hdr;
	uint8_t *data; /* 128 KiB */
	volatile uint8_t status;
};

extern struct hostile_blk blk;
extern const struct hostile_case hostile_ring_cases[];
extern const struct hostile_case hostile_reg_cases[];
extern const struct hostile_case hostile_blk_cases[];
extern const struct hostile_case hostile_net_cases[];
extern const struct hostile_case hostile_console_cases[];
extern const struct hostile_case hostile_rng_cases[];

/* Header, one sector to read into blk.data, status: at descriptors 0 to 2. */
void hostile_good_chain(struct vio_dev *dev);
/* Publishes @head, kicks, wants DEVICE_NEEDS_RESET and its interrupt. */
const char *hostile_expect_reset(struct vio_dev *dev, uint16_t head);
/* The device is live and answers hostile_good_chain(). */
const char *hostile_expect_works(struct vio_dev *dev);

#endif
