/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A polled virtio-mmio driver (virtio 1.x, 4.2 and 2.7) for payloads. It does
 * what a good driver does, in steps that a payload can also take one by one
 * and wrongly: rings and registers are open.
 *
 * Devices are looked for at LAYOUT_VIRTIO_BASE; the command line words
 * virtio-base, virtio-stride and virtio-slots name another place, so that the
 * same payload runs under other VMMs.
 */
#ifndef TORPOR_GUEST_VIRTIO_H
#define TORPOR_GUEST_VIRTIO_H

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "guest/payloads/runtime.h"
#include "virtio/regpage.h"

#define VIO_MAX_DEVS	 16
#define VIO_MAX_QUEUES	 4
#define VIO_RING_ENTRIES 256U /* at most; what a queue has memory for */
#define VIO_WAIT_S	 10   /* given up after: far more than any needs */

#define VIO_BIT(n)	   (1ULL << (n))
#define VIO_STATUS_DRIVING 0x0bU /* ACKNOWLEDGE, DRIVER, FEATURES_OK */
#define VIO_STATUS_LIVE	   0x0fU
/* VIRTIO_F_SUSPEND (virtio 1.4, 6): its feature bit, and of Status (2.1) */
#define VIO_F_SUSPEND	     43
#define VIO_S_SUSPEND	     0x10U
#define VIO_STATUS_SUSPENDED 0x1bU

struct vio_queue {
	uint32_t index;
	uint16_t size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t avail_idx; /* free running, what was published */
	uint16_t last_used; /* free running, what was seen */
};

struct vio_dev {
	uint64_t base;
	uint32_t slot;
	uint32_t id;
	uint64_t features; /* negotiated */
	struct vio_queue queues[VIO_MAX_QUEUES];
};

struct vio_buf {
	const volatile void *addr;
	uint32_t len;
};

/* --- devices --- */

/* Finds the devices that are there. Return: their number. */
unsigned int vio_probe(void);
/* The @nth device of a type, or NULL. */
struct vio_dev *vio_find(uint32_t id, unsigned int nth);
struct vio_dev *vio_nth(unsigned int index);
/* Memory that is never given back, page aligned and zeroed. */
void *vio_alloc(size_t len);

static inline uint32_t vio_read(const struct vio_dev *dev, uint32_t reg)
{
	return mmio_read32(dev->base + reg);
}

static inline void vio_write(const struct vio_dev *dev, uint32_t reg,
			     uint32_t value)
{
	mmio_write32(dev->base + reg, value);
}

static inline uint32_t vio_status(const struct vio_dev *dev)
{
	return vio_read(dev, VIRTIO_MMIO_STATUS);
}

uint64_t vio_offered(const struct vio_dev *dev);
void vio_set_features(const struct vio_dev *dev, uint64_t features);
uint64_t vio_config64(const struct vio_dev *dev, uint32_t offset);
uint16_t vio_config16(const struct vio_dev *dev, uint32_t offset);

/* --- the handshake --- */

/* Writes Status 0. Return: true if it reads 0 at once. */
bool vio_reset(struct vio_dev *dev);
/*
 * Reset up to FEATURES_OK with what of @wanted is offered, and VERSION_1.
 * Return: false if the device refused.
 */
bool vio_begin(struct vio_dev *dev, uint64_t wanted);
/* Sets registers of a queue up; QueueReady is not touched. */
void vio_queue_program(struct vio_dev *dev, uint32_t index, uint16_t size);
/* Programs, with the largest size up to VIO_RING_ENTRIES, and enables. */
bool vio_queue_enable(struct vio_dev *dev, uint32_t index);
/* vio_begin(), queues 0 .. @nr_queues - 1, DRIVER_OK. */
bool vio_start(struct vio_dev *dev, uint64_t wanted, uint32_t nr_queues);
/* Of a live device that accepted VIO_F_SUSPEND, and back. Return: false if it
 * is not so afterwards. */
bool vio_suspend(struct vio_dev *dev);
bool vio_resume(struct vio_dev *dev);

/* --- rings --- */

void vio_desc_set(struct vio_queue *q, uint16_t i, const volatile void *addr,
		  uint32_t len, uint16_t flags, uint16_t next);
/* A chain of @n_out readable and @n_in writable buffers from descriptor @i. */
void vio_chain_set(struct vio_queue *q, uint16_t i, const struct vio_buf *bufs,
		   unsigned int n_out, unsigned int n_in);
/* Makes the chain at @head available. */
void vio_publish(struct vio_queue *q, uint16_t head);
void vio_kick(const struct vio_dev *dev, uint32_t queue);
/* Return: false if nothing was used in time, or the device needs reset. */
bool vio_wait_used(struct vio_dev *dev, struct vio_queue *q, uint32_t *ret_id,
		   uint32_t *ret_len);
/* Chain at descriptor 0, publish, kick, wait. */
bool vio_request(struct vio_dev *dev, uint32_t queue,
		 const struct vio_buf *bufs, unsigned int n_out,
		 unsigned int n_in, uint32_t *ret_len);
/* Polls for DEVICE_NEEDS_RESET. */
bool vio_wait_needs_reset(const struct vio_dev *dev);

/* --- block --- */

#define VIO_BLK_NO_ANSWER 0xff

/*
 * One request: header, @len bytes at @data (written by the device for IN and
 * GET_ID), status. Return: the status byte, or VIO_BLK_NO_ANSWER.
 */
uint8_t vio_blk_request(struct vio_dev *dev, uint32_t type, uint64_t sector,
			void *data, uint32_t len);

#endif
