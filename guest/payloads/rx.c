/* SPDX-License-Identifier: BSD-3-Clause */
/* See rx.h. */
#include "guest/payloads/rx.h"

#define SOURCE_MAC 0x02 /* locally administered */

void rx_init(struct rx *rx, struct vio_dev *dev)
{
	rx->dev = dev;
	rx->mem = dev ? vio_alloc((size_t)RX_BUFFERS * RX_BUF_BYTES) : NULL;
	rx->wanted = 0;
	rx->nr_queues = 2;
}

static void give(struct rx *rx, uint16_t i)
{
	struct vio_queue *q = &rx->dev->queues[RX_QUEUE];

	vio_desc_set(q, i, rx->mem + (size_t)i * RX_BUF_BYTES, RX_BUF_BYTES,
		     VRING_DESC_F_WRITE, 0);
	vio_publish(q, i);
}

bool rx_start(struct rx *rx)
{
	if (!rx->dev)
		return true;
	if (!vio_start(rx->dev, rx->wanted, rx->nr_queues))
		return false;
	rx->nr_held = 0;
	for (uint16_t i = 0; i < RX_BUFFERS; i++)
		give(rx, i);
	vio_kick(rx->dev, RX_QUEUE);
	return true;
}

static const struct vring_used_elem *next_used(const struct vio_queue *q)
{
	return &q->used->ring[q->last_used & (q->size - 1)];
}

const uint8_t *rx_next(struct rx *rx, uint32_t *ret_len)
{
	const struct vring_used_elem *elem;
	const struct vio_queue *q;

	if (!rx->dev)
		return NULL;
	q = &rx->dev->queues[RX_QUEUE];
	if (*(const volatile uint16_t *)&q->used->idx == q->last_used)
		return NULL;
	barrier();
	elem = next_used(q);
	*ret_len = elem->len;
	return rx->mem + (size_t)(elem->id % RX_BUFFERS) * RX_BUF_BYTES;
}

/* Event index is not negotiated: the device says when it wants none. */
static void kick(const struct rx *rx)
{
	const struct vio_queue *q = &rx->dev->queues[RX_QUEUE];

	if (!(*(volatile uint16_t *)&q->used->flags & VRING_USED_F_NO_NOTIFY))
		vio_kick(rx->dev, RX_QUEUE);
}

void rx_done(struct rx *rx)
{
	struct vio_queue *q = &rx->dev->queues[RX_QUEUE];
	uint16_t id = (uint16_t)(next_used(q)->id % RX_BUFFERS);

	q->last_used++;
	if (vio_status(rx->dev) != VIO_STATUS_LIVE) {
		rx->held[rx->nr_held++] = id;
		return;
	}
	give(rx, id);
	kick(rx);
}

void rx_resumed(struct rx *rx)
{
	while (rx->nr_held)
		give(rx, rx->held[--rx->nr_held]);
	kick(rx);
}

const uint8_t *rx_wait(struct rx *rx, uint32_t *ret_len)
{
	struct deadline d = deadline_in(VIO_WAIT_S);
	const uint8_t *buf;

	do
		buf = rx_next(rx, ret_len);
	while (!buf && !deadline_over(&d));
	return buf;
}

bool frame_get(const uint8_t *buf, uint32_t len, uint32_t *ret_seq)
{
	const uint8_t *eth = buf + NET_HDR_BYTES;
	const uint8_t *data = eth + ETH_HDR_BYTES;

	if (len < NET_HDR_BYTES + ETH_MIN_BYTES ||
	    (uint32_t)(eth[12] << 8 | eth[13]) != ETH_TYPE_TEST)
		return false;
	*ret_seq = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
		   (uint32_t)data[2] << 8 | data[3];
	return true;
}

void frame_make(uint8_t *buf, uint32_t seq)
{
	uint8_t *eth = buf + NET_HDR_BYTES;
	uint8_t *data = eth + ETH_HDR_BYTES;

	memset(buf, 0, NET_HDR_BYTES + ETH_MIN_BYTES);
	memset(eth, 0xff, 6);
	eth[6] = SOURCE_MAC;
	eth[12] = ETH_TYPE_TEST >> 8;
	eth[13] = ETH_TYPE_TEST & 0xff;
	for (int i = 0; i < 4; i++)
		data[i] = (uint8_t)(seq >> (24 - 8 * i));
}
