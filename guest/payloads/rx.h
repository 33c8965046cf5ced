/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive queue of a network card, a console or a socket device: buffers
 * that are given back when they have been looked at, in order. With more than
 * one queue, the second one transmits.
 */
#ifndef TORPOR_GUEST_RX_H
#define TORPOR_GUEST_RX_H

#include "guest/payloads/virtio.h"

#define RX_QUEUE     0
#define TX_QUEUE     1
#define RX_BUFFERS   32U
#define RX_BUF_BYTES 2048U

#define NET_HDR_BYTES 12U /* with num_buffers, always in modern mode */
#define ETH_HDR_BYTES 14U
#define ETH_MIN_BYTES 60U
#define ETH_TYPE_TEST 0x88b5U /* IEEE: local experiments */

struct rx {
	struct vio_dev *dev;
	uint8_t *mem;
	uint64_t wanted; /* features; the caller's, as is nr_queues */
	uint32_t nr_queues;
	uint16_t held[RX_BUFFERS]; /* taken while it was not live */
	uint32_t nr_held;
};

/* Memory for it, once. @dev may be NULL: then nothing is ever received. */
void rx_init(struct rx *rx, struct vio_dev *dev);
/* Starts the device, gives it all buffers. Return: false if it refuses. */
bool rx_start(struct rx *rx);
/* After vio_resume(): gives back what was taken meanwhile. */
void rx_resumed(struct rx *rx);
/*
 * Return: what was received next, until rx_done(), or NULL. It reads memory
 * only, so that it also tells what a device had received before its reset.
 */
const uint8_t *rx_next(struct rx *rx, uint32_t *ret_len);
void rx_done(struct rx *rx);
/* As rx_next(), but waits. Return: NULL if nothing came in time. */
const uint8_t *rx_wait(struct rx *rx, uint32_t *ret_len);

/*
 * A frame of a test: 32 bits behind the Ethernet header, big endian. Return:
 * false if it is any other frame.
 */
bool frame_get(const uint8_t *buf, uint32_t len, uint32_t *ret_seq);
/* Makes one, broadcast, of NET_HDR_BYTES + ETH_MIN_BYTES. */
void frame_make(uint8_t *buf, uint32_t seq);

#endif
