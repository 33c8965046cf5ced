/* SPDX-License-Identifier: BSD-3-Clause */
/* What a driver may do wrong with one device type. See hostile.h. */
#include <linux/fuse.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#include "guest/payloads/hostile.h"

#define NET_HDR	    12U
#define NET_TX	    1
#define NET_CTRL    2
#define CONSOLE_TX  1
#define FS_REQUESTS 1
#define VSOCK_RX    0
#define VSOCK_TX    1
#define VSOCK_PORT  99 /* on which nobody listens */
#define BIG_PACKET  70000U
#define HAS_DISCARD VIO_BIT(VIRTIO_BLK_F_DISCARD)
#define HAS_ZEROES  VIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES)
#define HAS_OFFLOAD \
	(VIO_BIT(VIRTIO_NET_F_CSUM) | VIO_BIT(VIRTIO_NET_F_HOST_TSO4))

static const char *want_status(uint8_t got, uint8_t want)
{
	if (got == VIO_BLK_NO_ANSWER)
		return "no answer";
	return got == want ? NULL : "other status";
}

/* --- blk --- */

static const char *sector_overflow(struct vio_dev *dev)
{
	static const uint64_t sectors[] = { ~0ULL, 1ULL << 55, (1ULL << 55) - 1,
					    1ULL << 63 };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(sectors) && !why; i++)
		why = want_status(vio_blk_request(dev, VIRTIO_BLK_T_IN,
						  sectors[i], hostile_data,
						  SECTOR),
				  VIRTIO_BLK_S_IOERR);
	return why;
}

static const char *across_the_end(struct vio_dev *dev)
{
	return want_status(vio_blk_request(dev, VIRTIO_BLK_T_IN,
					   vio_config64(dev, 0) - 1,
					   hostile_data, 2 * SECTOR),
			   VIRTIO_BLK_S_IOERR);
}

static const char *part_of_a_sector(struct vio_dev *dev)
{
	return want_status(vio_blk_request(dev, VIRTIO_BLK_T_IN, 0,
					   hostile_data, SECTOR - 1),
			   VIRTIO_BLK_S_IOERR);
}

static const char *unknown_types(struct vio_dev *dev)
{
	static const uint32_t types[] = { 2, 3, 15, 24, 0xffffffff };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(types) && !why; i++)
		why = want_status(
			vio_blk_request(dev, types[i], 0, hostile_data, SECTOR),
			VIRTIO_BLK_S_UNSUPP);
	return why;
}

static const char *bad_range(struct vio_dev *dev, uint32_t type, uint64_t at,
			     uint32_t sectors, uint32_t len)
{
	struct virtio_blk_discard_write_zeroes *ranges = (void *)hostile_data;

	for (uint32_t i = 0; i * sizeof(*ranges) < len; i++) {
		ranges[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = at, .num_sectors = sectors
		};
	}
	return want_status(vio_blk_request(dev, type, 0, hostile_data, len),
			   VIRTIO_BLK_S_IOERR);
}

static const char *bad_ranges(struct vio_dev *dev, uint32_t type)
{
	uint64_t capacity = vio_config64(dev, 0);
	const char *why = bad_range(dev, type, capacity, 1, 16);

	if (!why)
		why = bad_range(dev, type, ~0ULL, 8, 16);
	if (!why)
		why = bad_range(dev, type, 0, 0xffffffff, 16);
	if (!why)
		why = bad_range(dev, type, 0, 1, 15);
	if (!why)
		why = bad_range(dev, type, 0, 1, 16 * 1024);
	return why;
}

static const char *bad_discards(struct vio_dev *dev)
{
	return bad_ranges(dev, VIRTIO_BLK_T_DISCARD);
}

static const char *bad_zeroes(struct vio_dev *dev)
{
	return bad_ranges(dev, VIRTIO_BLK_T_WRITE_ZEROES);
}

const struct hostile_case hostile_blk_cases[] = {
	{ "sector-overflow", 0, sector_overflow },
	{ "across-the-end", 0, across_the_end },
	{ "part-of-a-sector", 0, part_of_a_sector },
	{ "unknown-types", 0, unknown_types },
	{ "bad-discards", HAS_DISCARD, bad_discards },
	{ "bad-write-zeroes", HAS_ZEROES, bad_zeroes },
	{ 0 },
};

/* --- net --- */

/* Sends @len bytes at hostile_data; it must be used, with length 0. */
static const char *transmit(struct vio_dev *dev, uint32_t len)
{
	const struct vio_buf buf = { hostile_data, len };
	uint32_t used_len = 1;

	if (!vio_request(dev, NET_TX, &buf, 1, 0, &used_len))
		return "no answer";
	return used_len == 0 ? NULL : "used length is not 0";
}

static const char *transmit_hdr(struct vio_dev *dev,
				const struct virtio_net_hdr_v1 *hdr)
{
	memset(hostile_data, 0xff, NET_HDR + 60);
	memcpy(hostile_data, hdr, sizeof(*hdr));
	return transmit(dev, NET_HDR + 60);
}

static const char *short_headers(struct vio_dev *dev)
{
	const char *why = NULL;

	memset(hostile_data, 0, NET_HDR + 14);
	for (uint32_t len = 0; len < NET_HDR + 14 && !why; len += 5)
		why = transmit(dev, len);
	return why;
}

static const char *bad_checksum_offsets(struct vio_dev *dev)
{
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .csum_start = 0xffff,
					 .csum_offset = 0xffff };
	const char *why = transmit_hdr(dev, &hdr);

	hdr.csum_start = 59;
	return why ? why : transmit_hdr(dev, &hdr);
}

static const char *bad_segmentation(struct vio_dev *dev)
{
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					 .hdr_len = 0xffff,
					 .csum_start = 34,
					 .csum_offset = 16 };
	const char *why = transmit_hdr(dev, &hdr); /* gso_size 0 */

	hdr.gso_size = 1;
	why = why ? why : transmit_hdr(dev, &hdr);
	hdr.flags = 0;
	why = why ? why : transmit_hdr(dev, &hdr);
	hdr.gso_type = 0x7f;
	return why ? why : transmit_hdr(dev, &hdr);
}

static const char *unknown_flags(struct vio_dev *dev)
{
	struct virtio_net_hdr_v1 hdr = { .flags = 0xf8 };

	return transmit_hdr(dev, &hdr);
}

static const char *huge_packet(struct vio_dev *dev)
{
	memset(hostile_data, 0, NET_HDR);
	return transmit(dev, BIG_PACKET);
}

static const char *bad_commands(struct vio_dev *dev)
{
	static uint8_t cmd[16];
	static volatile uint8_t ack;
	const char *why = NULL;

	for (uint8_t class = 0x20; class < 0x24 && !why; class ++) {
		for (uint32_t len = 0; len < 4 && !why; len++) {
			const struct vio_buf bufs[2] = { { cmd, len },
							 { &ack, 1 } };

			cmd[0] = class;
			cmd[1] = 0xee;
			ack = 0xa5;
			if (!vio_request(dev, NET_CTRL, bufs, 1, 1, NULL))
				why = "no answer";
			else if (ack != VIRTIO_NET_ERR)
				why = "not refused";
		}
	}
	return why;
}

const struct hostile_case hostile_net_cases[] = {
	{ "short-headers", 0, short_headers },
	{ "bad-checksum-offsets", HAS_OFFLOAD, bad_checksum_offsets },
	{ "bad-segmentation", HAS_OFFLOAD, bad_segmentation },
	{ "offloads-not-negotiated", 0, bad_segmentation },
	{ "unknown-flags", 0, unknown_flags },
	{ "huge-packet", 0, huge_packet },
	{ "bad-commands", VIO_BIT(VIRTIO_NET_F_CTRL_VQ), bad_commands },
	{ 0 },
};

/* --- console, rng --- */

static const char *console_big_and_empty(struct vio_dev *dev)
{
	const struct vio_buf empty = { hostile_data, 0 };
	const struct vio_buf big = { hostile_data, 0x8000 };

	memset(hostile_data, '.', big.len);
	hostile_data[big.len - 1] = '\n';
	if (!vio_request(dev, CONSOLE_TX, &empty, 1, 0, NULL))
		return "no answer to an empty buffer";
	return vio_request(dev, CONSOLE_TX, &big, 1, 0, NULL) ? NULL
							      : "no answer";
}

static const char *console_control_queue(struct vio_dev *dev)
{
	for (uint32_t queue = 2; queue < 8; queue++)
		vio_kick(dev, queue);
	return vio_status(dev) == VIO_STATUS_LIVE ? NULL : "status changed";
}

const struct hostile_case hostile_console_cases[] = {
	{ "console-big-and-empty-buffers", 0, console_big_and_empty },
	{ "console-queues-that-are-not", 0, console_control_queue },
	{ 0 },
};

static const char *rng_read_only(struct vio_dev *dev)
{
	const struct vio_buf buf = { hostile_data, 64 };
	uint32_t len = 0;

	memset(hostile_data, 0x77, 64);
	if (vio_request(dev, 0, &buf, 1, 0, &len) && len != 0)
		return "claims to have written";
	for (uint32_t i = 0; i < 64; i++) {
		if (hostile_data[i] != 0x77)
			return "wrote into a readable buffer";
	}
	return NULL;
}

static const char *rng_big(struct vio_dev *dev)
{
	const struct vio_buf buf = { hostile_data, 0x10000 };
	uint32_t len = 0;

	if (!vio_request(dev, 0, &buf, 0, 1, &len))
		return "no answer";
	return len >= 1 && len <= buf.len ? NULL : "wrong length";
}

const struct hostile_case hostile_rng_cases[] = {
	{ "rng-readable-buffer", 0, rng_read_only },
	{ "rng-big-buffer", 0, rng_big },
	{ 0 },
};

/* --- fs --- */

/* A header of which only @len bytes come, that says @said. */
static const char *fs_lies(struct vio_dev *dev, uint32_t len, uint32_t said)
{
	struct fuse_in_header *h = (void *)hostile_data;
	const volatile struct fuse_out_header *out =
		(void *)(hostile_data + 4096);
	const struct vio_buf bufs[2] = { { h, len }, { out, 256 } };
	uint32_t used = 0;

	memset(hostile_data, 0, 8192);
	h->len = said;
	h->opcode = FUSE_GETATTR;
	h->unique = 9;
	h->nodeid = 1;
	if (!vio_request(dev, FS_REQUESTS, bufs, 1, 1, &used))
		return vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET
			       ? NULL
			       : "no answer";
	if (used == 0)
		return NULL;
	return used >= sizeof(*out) && out->error < 0 ? NULL : "not refused";
}

static const char *fs_lengths(struct vio_dev *dev)
{
	static const uint32_t said[] = {
		0, 39, 41, 4096, 0x7fffffff, 0xffffffff
	};
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(said) && !why; i++)
		why = fs_lies(dev, sizeof(struct fuse_in_header), said[i]);
	return why;
}

static const char *fs_short(struct vio_dev *dev)
{
	return fs_lies(dev, 39, 39);
}

const struct hostile_case hostile_fs_cases[] = {
	{ "lengths-that-lie", 0, fs_lengths },
	{ "short-header", 0, fs_short },
	{ 0 },
};

/* --- vsock --- */

static uint64_t guest_cid(const struct vio_dev *dev)
{
	return vio_config64(dev, 0);
}

/* Makes a header for slot @i available, and says that @len bytes follow. */
static void vsock_put(struct vio_dev *dev, uint16_t i, uint64_t src,
		      uint16_t op, uint32_t len)
{
	struct virtio_vsock_hdr *h =
		(void *)(hostile_data + (size_t)i * sizeof(*h));
	struct vio_queue *q = &dev->queues[VSOCK_TX];

	*h = (struct virtio_vsock_hdr){ .src_cid = src,
					.dst_cid = 2,
					.src_port = 1000U + i,
					.dst_port = VSOCK_PORT,
					.len = len,
					.type = VIRTIO_VSOCK_TYPE_STREAM,
					.op = op,
					.buf_alloc = 0xffffffff,
					.fwd_cnt = 0x12345678 };
	vio_desc_set(q, i, h, sizeof(*h), 0, 0);
	vio_publish(q, i);
}

static const char *vsock_send(struct vio_dev *dev, uint64_t src, uint16_t op,
			      uint32_t len)
{
	vsock_put(dev, 0, src, op, len);
	vio_kick(dev, VSOCK_TX);
	return vio_wait_used(dev, &dev->queues[VSOCK_TX], NULL, NULL)
		       ? NULL
		       : "no answer";
}

static const char *vsock_headers(struct vio_dev *dev)
{
	static const uint16_t ops[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xffff };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ops) && !why; i++) {
		why = vsock_send(dev, guest_cid(dev), ops[i], 0xffffffff);
		why = why ? why
			  : vsock_send(dev, guest_cid(dev) + 1, ops[i], 0);
		why = why ? why : vsock_send(dev, 2, ops[i], 1);
	}
	return why;
}

/*
 * More requests than the device owes answers at a time, and no buffer for one:
 * it stops taking them. With buffers each is refused.
 */
static const char *vsock_requests(struct vio_dev *dev)
{
	struct vio_queue *rx = &dev->queues[VSOCK_RX];
	struct vio_queue *tx = &dev->queues[VSOCK_TX];
	uint32_t len;

	for (uint16_t i = 0; i < tx->size; i++)
		vsock_put(dev, i, guest_cid(dev), VIRTIO_VSOCK_OP_REQUEST, 0);
	vio_kick(dev, VSOCK_TX);
	for (uint16_t i = 0; i < rx->size; i++) {
		uint8_t *to = hostile_data + 65536 + i * 64;
		const struct virtio_vsock_hdr *h = (const void *)to;

		vio_desc_set(rx, i, to, 64, VRING_DESC_F_WRITE, 0);
		vio_publish(rx, i);
		vio_kick(dev, VSOCK_RX);
		if (!vio_wait_used(dev, rx, NULL, &len))
			return "a request was not answered";
		if (len != sizeof(*h) || h->op != VIRTIO_VSOCK_OP_RST)
			return "a request was not refused";
	}
	for (uint16_t i = 0; i < tx->size; i++) {
		if (!vio_wait_used(dev, tx, NULL, NULL))
			return "a request was not used";
	}
	return NULL;
}

const struct hostile_case hostile_vsock_cases[] = {
	{ "headers-that-lie", 0, vsock_headers },
	{ "requests-without-end", 0, vsock_requests },
	{ 0 },
};
