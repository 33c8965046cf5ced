/* SPDX-License-Identifier: BSD-3-Clause */
/* See sock.h. */
#include <linux/virtio_vsock.h>

#include "guest/payloads/sock.h"

#define NR_QUEUES 3
#define BUF_ALLOC (1U << 20)

static struct rx rx;
static struct virtio_vsock_hdr owed; /* op 0: nothing */
static uint32_t fwd_cnt;

void sock_init(struct vio_dev *dev)
{
	rx_init(&rx, dev);
	rx.nr_queues = NR_QUEUES;
}

struct rx *sock_rx(void)
{
	return &rx;
}

static bool live(void)
{
	return vio_status(rx.dev) == VIO_STATUS_LIVE;
}

static void send(const struct virtio_vsock_hdr *hdr)
{
	static struct virtio_vsock_hdr out;
	const struct vio_buf buf = { &out, sizeof(out) };

	out = *hdr;
	if (!vio_request(rx.dev, TX_QUEUE, &buf, 1, 0, NULL))
		print("FAIL vsock: a packet is not taken\n");
}

static void owe(const struct virtio_vsock_hdr *in, uint16_t op)
{
	owed = (struct virtio_vsock_hdr){ .src_cid = in->dst_cid,
					  .dst_cid = in->src_cid,
					  .src_port = in->dst_port,
					  .dst_port = in->src_port,
					  .type = in->type,
					  .op = op,
					  .buf_alloc = BUF_ALLOC,
					  .fwd_cnt = fwd_cnt };
}

void sock_answer(void)
{
	if (!rx.dev || !owed.op || !live())
		return;
	send(&owed);
	owed.op = 0;
}

bool sock_forget(void)
{
	bool again = owed.op == VIRTIO_VSOCK_OP_RST;

	owed.op = 0;
	return again;
}

static void got_request(const struct virtio_vsock_hdr *h)
{
	bool kept = h->dst_port == SOCK_KEPT_PORT;

	if (kept)
		fwd_cnt = 0;
	owe(h, kept ? VIRTIO_VSOCK_OP_RESPONSE : VIRTIO_VSOCK_OP_RST);
	/* A device that was reset asks again. */
	if (vio_status(rx.dev) != 0)
		print("GOT vsock %u\n", h->dst_port);
}

void sock_got(const uint8_t *buf, uint32_t len)
{
	struct virtio_vsock_hdr h;

	memcpy(&h, buf, sizeof(h));
	switch (len < sizeof(h) ? 0 : h.op) {
	case VIRTIO_VSOCK_OP_REQUEST:
		got_request(&h);
		break;
	case VIRTIO_VSOCK_OP_RW:
		fwd_cnt += h.len;
		for (uint32_t i = 0; i < h.len && sizeof(h) + i < len; i++)
			print("GOT vsock %u\n", buf[sizeof(h) + i]);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		owe(&h, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		break;
	default:
		print("NOISE vsock op=%u len=%u\n", (unsigned int)h.op, len);
		break;
	}
	rx_done(&rx);
	sock_answer();
}
