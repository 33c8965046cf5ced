/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets for the guest: buffers, headers, long frames, the MTU. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/lib/net_rig.h"
#include "virtio/net/tap.h"
#include "vmm/base/fd.h"

Test(net, a_packet_goes_into_one_buffer, .timeout = 120)
{
	struct virtio_net_hdr_v1 *hdr;
	struct nic t;
	uint64_t gpa;

	nic_open(&t, PLAIN);
	gpa = rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(rx_empty(&t));
	wire_send(&t, &no_hdr, 100);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 112));
	hdr = guest_ptr(&t.f.g, gpa);
	cr_assert(eq(u16, hdr->num_buffers, 1));
	cr_assert(zero(u8, hdr->flags));
	cr_assert(frame_ok((uint8_t *)(hdr + 1), 0, 100));
	cr_assert(gt(u64, fd_event_drain(t.f.ring[NET_RX].call_fd), 0));
	nic_close(&t);
}

Test(net, a_header_cut_at_every_byte_is_whole, .timeout = 120)
{
	struct virtio_net_hdr_v1 hdr;
	struct guest_buf bufs[13];
	uint64_t gpa;
	struct nic t;

	nic_open(&t, MERGE);
	gpa = guest_alloc(&t.f.g, 4096, 16);
	for (unsigned int i = 0; i < 13; i++)
		bufs[i] = (struct guest_buf){ gpa + i * 2, 1, true };
	bufs[12].len = 200;
	(void)guest_ring_add_indirect(&t.f.ring[NET_RX], bufs, 13);
	rx_kick(&t);
	wire_send(&t, &no_hdr, 60);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 72));
	for (unsigned int i = 0; i < 12; i++)
		((uint8_t *)&hdr)[i] =
			*(uint8_t *)guest_ptr(&t.f.g, gpa + i * 2);
	cr_assert(eq(u16, hdr.num_buffers, 1));
	cr_assert(frame_ok(guest_ptr(&t.f.g, gpa + 24), 0, 60));
	nic_close(&t);
}

Test(net, mergeable_fills_all_but_the_last_buffer, .timeout = 120)
{
	const uint32_t part = 1500, total = 12 + 20000;
	struct virtio_net_hdr_v1 *hdr;
	uint64_t gpa[32];
	struct nic t;

	nic_open(&t, MERGE);
	for (int round = 0; round < 3; round++) {
		uint32_t seen = 0, n = 0;

		for (int i = 0; i < 32; i++)
			gpa[i] = rx_add(&t, part);
		rx_kick(&t);
		wire_send(&t, &no_hdr, total - 12);
		front_settle(&t.f);
		hdr = guest_ptr(&t.f.g, gpa[0]);
		cr_assert(eq(u16, hdr->num_buffers, (total + part - 1) / part));
		for (; seen < total; n++) {
			uint32_t len = rx_len(&t), skip = n ? 0 : 12;

			cr_assert(eq(u32, len, MIN(part, total - seen)));
			cr_assert(
				frame_ok((uint8_t *)guest_ptr(&t.f.g, gpa[n]) +
						 skip,
					 seen + skip - 12, len - skip),
				"round %d buffer %u", round, n);
			seen += len;
		}
		cr_assert(rx_empty(&t));
		/* The others go back and come first in the next round. */
		(void)front_stop(&t.f, NET_RX);
		front_ring_reset(&t.f, NET_RX);
		front_start(&t.f, NET_RX);
	}
	nic_close(&t);
}

Test(net, a_packet_waits_in_the_tap_for_buffers, .timeout = 120)
{
	struct pollfd p;
	struct nic t;

	nic_open(&t, MERGE);
	wire_send(&t, &no_hdr, 100);
	front_settle(&t.f);
	p = (struct pollfd){ .fd = t.net->fd, .events = POLLIN };
	cr_assert(eq(int, poll(&p, 1, 0), 1), "not read without a buffer");
	cr_assert(lt(int, t.net->src.fd, 0), "and not polled");
	(void)rx_add(&t, 2048);
	rx_kick(&t);
	cr_assert(eq(u32, rx_len(&t), 112));
	nic_close(&t);
}

Test(net, a_packet_too_long_for_the_buffers_is_held_until_there_are_more,
     .timeout = 120)
{
	struct virtio_net_hdr_v1 *hdr;
	uint64_t gpa[4];
	struct nic t;

	nic_open(&t, MERGE);
	gpa[0] = rx_add(&t, 1000);
	gpa[1] = rx_add(&t, 1000);
	rx_kick(&t);
	wire_send(&t, &no_hdr, 3500);
	wire_send(&t, &no_hdr, 50);
	front_settle(&t.f);
	cr_assert(rx_empty(&t));
	gpa[2] = rx_add(&t, 1000);
	rx_kick(&t);
	cr_assert(rx_empty(&t), "3000 bytes are not enough");
	gpa[3] = rx_add(&t, 1000);
	(void)rx_add(&t, 1000);
	rx_kick(&t);
	hdr = guest_ptr(&t.f.g, gpa[0]);
	cr_assert(eq(u16, hdr->num_buffers, 4));
	cr_assert(frame_ok((uint8_t *)(hdr + 1), 0, 988));
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(eq(u32, rx_len(&t), 1000));
		if (i)
			cr_assert(frame_ok(guest_ptr(&t.f.g, gpa[i]),
					   i * 1000 - 12, 1000));
	}
	cr_assert(eq(u32, rx_len(&t), 512));
	cr_assert(frame_ok(guest_ptr(&t.f.g, gpa[3]), 2988, 512));
	cr_assert(eq(u32, rx_len(&t), 62), "the next one follows");
	nic_close(&t);
}

Test(net, a_held_packet_survives_stop_and_start, .timeout = 120)
{
	uint16_t base;
	struct nic t;

	nic_open(&t, MERGE);
	(void)rx_add(&t, 1000);
	rx_kick(&t);
	wire_send(&t, &no_hdr, 1500);
	front_settle(&t.f);
	base = front_stop(&t.f, NET_RX);
	cr_assert(zero(u16, base), "the unused buffer was given back");
	front_start(&t.f, NET_RX);
	front_settle(&t.f);
	cr_assert(rx_empty(&t));
	(void)rx_add(&t, 1000);
	rx_kick(&t);
	cr_assert(eq(u32, rx_len(&t), 1000));
	cr_assert(eq(u32, rx_len(&t), 512));
	nic_close(&t);
}

Test(net, stopping_gives_buffers_back_and_stops_polling, .timeout = 120)
{
	uint16_t base;
	struct nic t;

	nic_open(&t, MERGE);
	for (int i = 0; i < 8; i++)
		(void)rx_add(&t, 1526);
	rx_kick(&t);
	wire_send(&t, &no_hdr, 100);
	front_settle(&t.f);
	cr_assert(ge(int, t.net->src.fd, 0));
	base = front_stop(&t.f, NET_RX);
	cr_assert(eq(u16, base, 1));
	cr_assert(lt(int, t.net->src.fd, 0));
	wire_send(&t, &no_hdr, 200);
	front_settle(&t.f);
	cr_assert(eq(u16, t.f.ring[NET_RX].used->idx, 1));
	front_start(&t.f, NET_RX);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 112));
	cr_assert(eq(u32, rx_len(&t), 212));
	nic_close(&t);
}

Test(net, without_merging_a_long_packet_is_dropped, .timeout = 120)
{
	struct nic t;

	nic_open(&t, PLAIN);
	(void)rx_add(&t, 500);
	(void)rx_add(&t, 500);
	rx_kick(&t);
	wire_send(&t, &no_hdr, 489);
	wire_send(&t, &no_hdr, 488);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 500), "the one that fits");
	cr_assert(rx_empty(&t));
	nic_close(&t);
}

Test(net, many_packets_arrive_in_order, .timeout = 120)
{
	unsigned int got = 0, sent = 0;
	struct nic t;

	nic_open(&t, MERGE);
	for (int i = 0; i < 256; i++)
		(void)rx_add(&t, 256);
	rx_kick(&t);
	while (got < 200) {
		uint8_t buf[12 + 80] = { 0 };

		if (sent < 200 && send(t.peer, buf, 32 + sent % 60, 0) > 0) {
			sent++;
			continue;
		}
		front_settle(&t.f);
		while (!rx_empty(&t))
			cr_assert(eq(u32, rx_len(&t), 32 + got++ % 60));
	}
	nic_close(&t);
}

static const struct {
	struct virtio_net_hdr_v1 hdr;
	uint64_t features;
	bool taken;
	uint8_t flags;
} rx_headers[] = {
	{ { .flags = 2 }, MERGE, true, 0 },
	{ { .flags = 2 }, MERGE | OFFLOADS, true, 2 },
	{ { .flags = 4 }, MERGE | OFFLOADS, true, 0 },
	{ { .flags = 1, .csum_start = 34 }, MERGE, false, 0 },
	{ { .flags = 1, .csum_start = 34 }, MERGE | OFFLOADS, true, 1 },
	{ { .flags = 1, .gso_type = 1, .gso_size = 1000 }, MERGE, false, 0 },
	{ { .flags = 1, .gso_type = 1, .gso_size = 1000 },
	  MERGE | OFFLOADS,
	  true,
	  1 },
	{ { .flags = 1, .gso_type = 4, .gso_size = 1000 },
	  MERGE | OFFLOADS,
	  true,
	  1 },
	{ { .flags = 1, .gso_type = 0x81, .gso_size = 1000 },
	  MERGE | OFFLOADS,
	  false,
	  0 },
	{ { .flags = 1, .gso_type = 3, .gso_size = 1000 },
	  MERGE | OFFLOADS,
	  false,
	  0 },
	{ { .flags = 1, .gso_type = 1 }, MERGE | OFFLOADS, false, 0 },
	{ { .gso_type = 1, .gso_size = 9 }, MERGE | OFFLOADS, false, 0 },
};

Test(net, the_guest_gets_only_headers_it_agreed_to, .timeout = 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(rx_headers); i++) {
		struct virtio_net_hdr_v1 *hdr;
		struct nic t;
		uint64_t gpa;

		nic_open(&t, rx_headers[i].features);
		gpa = rx_add(&t, 2048);
		rx_kick(&t);
		wire_send(&t, &rx_headers[i].hdr, 1400);
		front_settle(&t.f);
		cr_assert(eq(int, !rx_empty(&t), rx_headers[i].taken),
			  "case %zu", i);
		hdr = guest_ptr(&t.f.g, gpa);
		cr_assert(eq(u8, hdr->flags, rx_headers[i].flags), "case %zu",
			  i);
		nic_close(&t);
	}
}

Test(net, a_useless_receive_buffer_breaks_the_ring, .timeout = 120)
{
	for (int i = 0; i < 2; i++) {
		struct guest_buf b;
		struct nic t;

		nic_open(&t, MERGE);
		b = (struct guest_buf){ guest_alloc(&t.f.g, 64, 16),
					i ? 64 : 11, !i };
		(void)guest_ring_add(&t.f.ring[NET_RX], &b, 1);
		guest_ring_kick(&t.f.ring[NET_RX]);
		wire_send(&t, &no_hdr, 64);
		front_wait_fd(&t.f, t.f.ring[NET_RX].err_fd);
		nic_close(&t);
	}
}

/* ------------------------------------------------------------------- MTU */

#define JUMBO 9000U

static void nic_open_mtu(struct nic *t, uint16_t mtu, uint64_t features)
{
	nic_create(t, mtu);
	front_negotiate(&t->f, features);
	front_start_all(&t->f, 2);
}

/* As Linux does it: one buffer of MTU and headers, or many of a page. */
Test(net, jumbo_frames_fit_with_and_without_merging, .timeout = 120)
{
	const uint32_t frame = ETH_HLEN + 4 + JUMBO;
	uint64_t gpa, features = PLAIN | BIT(VIRTIO_NET_F_MTU);
	uint32_t seen = 0;
	struct nic t;

	nic_open_mtu(&t, JUMBO, features);
	gpa = rx_add(&t, 12 + frame);
	rx_kick(&t);
	wire_send(&t, &no_hdr, frame);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 12 + frame));
	cr_assert(frame_ok(guest_ptr(&t.f.g, gpa + 12), 0, frame));
	nic_close(&t);

	nic_open_mtu(&t, JUMBO, features | BIT(VIRTIO_NET_F_MRG_RXBUF));
	for (unsigned int i = 0; i < 8; i++)
		(void)rx_add(&t, 1526);
	rx_kick(&t);
	wire_send(&t, &no_hdr, frame);
	front_settle(&t.f);
	while (seen < 12 + frame)
		seen += rx_len(&t);
	cr_assert(eq(u32, seen, 12 + frame));
	nic_close(&t);
}

/* The tap's was raised since; what will be segmented is as long as it likes. */
Test(net, a_frame_beyond_the_agreed_mtu_is_dropped, .timeout = 120)
{
	struct virtio_net_hdr_v1 gso = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1360,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct nic t;

	nic_open_mtu(&t, 1400, MERGE | OFFLOADS | BIT(VIRTIO_NET_F_MTU));
	for (unsigned int i = 0; i < 4; i++)
		(void)rx_add(&t, 4096);
	rx_kick(&t);
	wire_send(&t, &no_hdr, ETH_HLEN + 4 + 1401);
	wire_send(&t, &gso, 3000);
	wire_send(&t, &no_hdr, ETH_HLEN + 1400);
	front_settle(&t.f);
	cr_assert(eq(u32, rx_len(&t), 3012));
	cr_assert(eq(u32, rx_len(&t), 12 + ETH_HLEN + 1400));
	cr_assert(rx_empty(&t));
	nic_close(&t);
}

Test(net, the_mtu_is_told_where_it_is_not_that_of_ethernet, .timeout = 120)
{
	struct virtio_net_config config;
	struct nic t;

	cr_assert(eq(u16, net_tap_mtu_told(9000), 9000));
	cr_assert(eq(u16, net_tap_mtu_told(1400), 1400));
	cr_assert(zero(u16, net_tap_mtu_told(1500)));
	cr_assert(zero(u16, net_tap_mtu_told(-ENODEV)));
	cr_assert(zero(u16, net_tap_mtu_told(67)));
	cr_assert(zero(u16, net_tap_mtu_told(65536)));
	nic_open_mtu(&t, JUMBO, PLAIN | BIT(VIRTIO_NET_F_MTU));
	cr_assert(ne(u64, t.f.features & BIT(VIRTIO_NET_F_MTU), 0));
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(eq(u16, config.mtu, JUMBO));
	nic_close(&t);
	nic_open_mtu(&t, 0, PLAIN);
	cr_assert(zero(u64, t.f.features & BIT(VIRTIO_NET_F_MTU)));
	nic_close(&t);
}
