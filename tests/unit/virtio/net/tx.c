/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of the guest, well formed and hostile. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/lib/net_rig.h"

/* One packet in @n pieces. Return: frame bytes on the wire, -1 if none. */
static ssize_t tx(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
		  uint32_t len, struct virtio_net_hdr_v1 *ret)
{
	static uint8_t frame[80 << 10];
	uint64_t gpa = guest_alloc(&t->f.g, 12 + len, 16);
	struct guest_buf bufs[2] = { { gpa, 5, false },
				     { gpa + 5, 7 + len, false } };
	uint8_t *p = guest_ptr(&t->f.g, gpa);
	ssize_t n;

	memcpy(p, hdr, sizeof(*hdr));
	frame_fill(p + sizeof(*hdr), len);
	cr_assert(zero(u32, front_wait_used(&t->f, NET_TX,
					    guest_ring_add(&t->f.ring[NET_TX],
							   bufs, 2))),
		  "used length is 0");
	n = wire_recv(t, ret, frame, sizeof(frame));
	if (n >= 0)
		cr_assert(frame_ok(frame, 0, (size_t)n));
	return n;
}

Test(net, a_packet_is_sent_with_a_clean_header, .timeout = 120)
{
	struct virtio_net_hdr_v1 hdr = { .flags = 0xfe,
					 .hdr_len = 0xffff,
					 .gso_size = 7,
					 .csum_start = 0xffff,
					 .csum_offset = 0xffff,
					 .num_buffers = 9 };
	struct virtio_net_hdr_v1 got;
	struct nic t;

	nic_open(&t, PLAIN);
	cr_assert(eq(long, tx(&t, &hdr, 60, &got), 60));
	cr_assert(zero(int, memcmp(&got, &no_hdr, sizeof(got))));
	cr_assert(eq(long, tx(&t, &no_hdr, 1514, &got), 1514));
	nic_close(&t);
}

static const struct {
	struct virtio_net_hdr_v1 hdr;
	uint32_t len;
	uint64_t features;
	bool sent;
} tx_headers[] = {
	{ { .flags = 1, .csum_start = 34, .csum_offset = 16 },
	  60,
	  PLAIN | OFFLOADS,
	  true },
	{ { .flags = 1, .csum_start = 34, .csum_offset = 16 },
	  60,
	  PLAIN,
	  false },
	{ { .flags = 1, .csum_start = 43, .csum_offset = 16 },
	  60,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
	  60,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1,
	    .csum_start = 34,
	    .csum_offset = 16,
	    .gso_type = 1,
	    .gso_size = 1448,
	    .hdr_len = 54 },
	  9000,
	  PLAIN | OFFLOADS,
	  true },
	{ { .flags = 1,
	    .csum_start = 34,
	    .csum_offset = 16,
	    .gso_type = 4,
	    .gso_size = 1448 },
	  65000,
	  PLAIN | OFFLOADS,
	  true },
	{ { .flags = 1, .gso_type = 1, .gso_size = 0 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 0, .gso_type = 1, .gso_size = 100 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .gso_type = 1, .gso_size = 100, .hdr_len = 9001 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .gso_type = 0x81, .gso_size = 100 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .gso_type = 3, .gso_size = 100 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .gso_type = 0x7f, .gso_size = 100 },
	  9000,
	  PLAIN | OFFLOADS,
	  false },
	{ { .flags = 1, .gso_type = 1, .gso_size = 100 },
	  9000,
	  PLAIN | BIT(VIRTIO_NET_F_CSUM),
	  false },
	{ { .flags = 0 }, 0, PLAIN, false },
	{ { .flags = 0 }, 13, PLAIN, false },
	{ { .flags = 0 }, 14, PLAIN, true },
	{ { .flags = 0 }, NET_FRAME_MAX, PLAIN, true },
	{ { .flags = 0 }, NET_FRAME_MAX + 1, PLAIN, false },
};

Test(net, hostile_headers_are_dropped, .timeout = 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(tx_headers); i++) {
		const struct virtio_net_hdr_v1 *h = &tx_headers[i].hdr;
		struct virtio_net_hdr_v1 got;
		struct nic t;
		ssize_t n;

		nic_open(&t, tx_headers[i].features);
		n = tx(&t, h, tx_headers[i].len, &got);
		cr_assert(eq(int, n >= 0, tx_headers[i].sent), "case %zu", i);
		if (n >= 0) {
			cr_assert(eq(u32, (uint32_t)n, tx_headers[i].len));
			cr_assert(eq(u8, got.flags, h->flags & 1));
			cr_assert(eq(u8, got.gso_type, h->gso_type));
			cr_assert(zero(u16, got.hdr_len));
		}
		/* And goes on after it. */
		cr_assert(eq(long, tx(&t, &no_hdr, 60, &got), 60));
		nic_close(&t);
	}
}

Test(net, a_packet_shorter_than_its_header_is_dropped, .timeout = 120)
{
	struct guest_buf b;
	struct nic t;

	nic_open(&t, PLAIN);
	b = (struct guest_buf){ guest_alloc(&t.f.g, 64, 16), 11, false };
	cr_assert(zero(u32, front_wait_used(
				    &t.f, NET_TX,
				    guest_ring_add(&t.f.ring[NET_TX], &b, 1))));
	nic_close(&t);
}

Test(net, a_full_wire_drops_and_does_not_block, .timeout = 120)
{
	uint64_t gpa;
	struct nic t;

	nic_open(&t, PLAIN);
	gpa = guest_alloc(&t.f.g, 2048, 16);
	for (int i = 0; i < 256; i++) {
		struct guest_buf b = { gpa, 1500, false };

		(void)guest_ring_add(&t.f.ring[NET_TX], &b, 1);
	}
	guest_ring_kick(&t.f.ring[NET_TX]);
	front_settle(&t.f);
	cr_assert(eq(u16, t.f.ring[NET_TX].used->idx, 256));
	nic_close(&t);
}
