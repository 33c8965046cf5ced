/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device over its back end: each line of the checklist for what it
 * offers (virtio 1.x, 5.1). A datagram socket stands in for the tap where its
 * ioctls do not matter; where they do, a real tap is used if there is one.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/net/net.h"
#include "virtio/net/tap.h"
#include "vmm/base/fd.h"

#define BIT(n)	(1ULL << (n))
#define TUN_ALL (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define PLAIN                                              \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) | \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define MERGE (PLAIN | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define WITH_CTRL                                                        \
	(MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define OFFLOADS                                                       \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |       \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |   \
	 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

static const uint8_t our_mac[ETH_ALEN] = { 0x52, 0x54, 0, 1, 2, 3 };

struct nic {
	struct front f;
	struct virtio_net *net;
	int peer; /* the far side of the wire */
	uint64_t ack;
};

/* The device on one end of a datagram socket; the test has the other. */
static void nic_create(struct nic *t, uint16_t mtu)
{
	struct net_params cfg = { .has_mac = true,
				  .tun_f = TUN_ALL,
				  .mtu = mtu };
	int pair[2], size = 4 << 20;

	memset(t, 0, sizeof(*t));
	front_init(&t->f);
	cr_assert(
		zero(int, socketpair(AF_UNIX,
				     SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				     0, pair)));
	for (int i = 0; i < 2; i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size,
				 sizeof(size));
	cfg.fd = pair[0];
	t->peer = pair[1];
	memcpy(cfg.mac, our_mac, sizeof(our_mac));
	cr_assert(zero(int, net_create(&t->f.loop, &cfg, &t->net)));
	front_connect(&t->f, &t->net->dev);
}

static void nic_open(struct nic *t, uint64_t features)
{
	nic_create(t, 0);
	front_negotiate(&t->f, features);
	t->ack = guest_alloc(&t->f.g, 16, 16);
	front_start_all(&t->f, features & BIT(VIRTIO_NET_F_CTRL_VQ) ? 3 : 2);
}

static void nic_close(struct nic *t)
{
	front_finish(&t->f);
	virtio_net_ops.destroy(&t->net->dev);
	(void)close(t->peer);
}

static void frame_fill(uint8_t *frame, size_t len)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
}

/* From the wire: header @hdr and @len bytes of frame, to @mac if there is one.
 */
static void wire_send_to(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
			 size_t len, const uint8_t *mac)
{
	static uint8_t buf[80 << 10];

	memcpy(buf, hdr, sizeof(*hdr));
	frame_fill(buf + sizeof(*hdr), len);
	if (mac)
		memcpy(buf + sizeof(*hdr), mac, ETH_ALEN);
	cr_assert(eq(sz, (size_t)send(t->peer, buf, sizeof(*hdr) + len, 0),
		     sizeof(*hdr) + len));
}

#define wire_send(t, hdr, len) wire_send_to(t, hdr, len, NULL)

static const struct virtio_net_hdr_v1 no_hdr;

#define wire_send_own(t, len) wire_send_to(t, &no_hdr, len, our_mac)

/* What has arrived on the wire. Return: bytes of frame, -1 if nothing. */
static ssize_t wire_recv(struct nic *t, struct virtio_net_hdr_v1 *hdr,
			 uint8_t *frame, size_t max)
{
	struct iovec iov[2] = { { hdr, sizeof(*hdr) }, { frame, max } };
	ssize_t n = readv(t->peer, iov, 2);

	return n < (ssize_t)sizeof(*hdr) ? -1 : n - (ssize_t)sizeof(*hdr);
}

static uint64_t rx_add(struct nic *t, uint32_t len)
{
	struct guest_buf b = { guest_alloc(&t->f.g, len, 16), len, true };

	(void)guest_ring_add(&t->f.ring[NET_RX], &b, 1);
	return b.gpa;
}

/* As a driver with EVENT_IDX would, and harmless without. */
static void rx_kick(struct nic *t)
{
	guest_ring_kick(&t->f.ring[NET_RX]);
	front_settle(&t->f);
}

static uint32_t rx_len(struct nic *t)
{
	uint16_t head;
	uint32_t len;

	cr_assert(guest_ring_reap(&t->f.ring[NET_RX], &head, &len),
		  "no packet was delivered");
	return len;
}

static bool rx_empty(struct nic *t)
{
	return t->f.ring[NET_RX].used->idx == t->f.ring[NET_RX].last_used;
}

static bool frame_ok(const uint8_t *p, size_t from, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != (uint8_t)((from + i) * 7 + (from + i) / 256))
			return false;
	}
	return true;
}

/* --------------------------------------------------------------- receive */

Test(net, offers_what_the_tap_can_do, .timeout = 120)
{
	struct virtio_net_config config;
	struct nic t;

	nic_open(&t, WITH_CTRL | OFFLOADS);
	cr_assert(eq(u64, t.f.features & (WITH_CTRL | OFFLOADS),
		     WITH_CTRL | OFFLOADS));
	cr_assert(zero(u64, t.f.features & (BIT(VIRTIO_NET_F_HOST_UFO) |
					    BIT(VIRTIO_NET_F_GUEST_UFO) |
					    BIT(VIRTIO_NET_F_MQ))));
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(zero(int, memcmp(config.mac, our_mac, ETH_ALEN)));
	cr_assert(eq(u16, config.status, VIRTIO_NET_S_LINK_UP));
	cr_assert(eq(u16, config.max_virtqueue_pairs, 1));
	nic_close(&t);
}

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

/* -------------------------------------------------------------- transmit */

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

/* ------------------------------------------------------------------- MTU */

#define JUMBO 9000U

static void nic_open_mtu(struct nic *t, uint16_t mtu, uint64_t features)
{
	nic_create(t, mtu);
	front_negotiate(&t->f, features);
	front_start_all(&t->f, 2);
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

/* ------------------------------------------------------------------ wake */

Test(net, armed_without_rings_it_wakes_once_and_keeps_the_packet,
     .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(lt(int, t.net->src.fd, 0), "not armed: not polled");
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1), "it was there");
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)), "once per arming");
	cr_assert(lt(int, t.net->src.fd, 0), "and not polled any more");
	front_wake_arm(&t.f, false);
	/* The guest comes back and gets both. */
	front_negotiate(&t.f, MERGE);
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(eq(u32, rx_len(&t), 72));
	cr_assert(eq(u32, rx_len(&t), 72));
	nic_close(&t);
}

Test(net, a_packet_after_arming_wakes, .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	front_wake_arm(&t.f, true);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	wire_send_own(&t, 60);
	front_wait_fd(&t.f, t.f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	front_settle(&t.f);
	/* Armed again it tells again: nobody has taken the packet. */
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	nic_close(&t);
}

Test(net, disarmed_it_does_not_wake, .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	front_wake_arm(&t.f, true);
	front_wake_arm(&t.f, false);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	cr_assert(lt(int, t.net->src.fd, 0));
	nic_close(&t);
}

Test(net, armed_while_live_it_wakes_and_delivers, .timeout = 120)
{
	struct nic t;

	nic_open(&t, MERGE);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	front_wake_arm(&t.f, true);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	cr_assert(eq(u32, rx_len(&t), 72));
	nic_close(&t);
}

Test(net, a_held_packet_wakes, .timeout = 120)
{
	struct nic t;

	nic_open(&t, MERGE);
	(void)rx_add(&t, 100);
	rx_kick(&t);
	wire_send_own(&t, 1500);
	front_settle(&t.f);
	(void)front_stop(&t.f, NET_RX);
	(void)front_stop(&t.f, NET_TX);
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	nic_close(&t);
}

/* ---------------------------------------------------------- a real tap */

struct tap {
	char name[IFNAMSIZ];
	int sock; /* packet socket on it */
};

static int tap_ioctl_make(const char *name, short flags, bool persist)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 ||
	    ioctl(fd, TUNSETPERSIST, (unsigned long)persist) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* A persistent tap that is up, without IPv6, or the test is skipped. */
static void tap_make(struct tap *tap)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
				   .sll_protocol = 0x0300 /* ETH_P_ALL */ };
	struct ifreq ifr = { 0 };
	char path[80];
	int fd;

	(void)snprintf(tap->name, sizeof(tap->name), "trp%d", (int)getpid());
	fd = tap_ioctl_make(tap->name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
			    true);
	if (fd < 0)
		cr_skip("no tap can be made here");
	(void)close(fd);
	(void)snprintf(path, sizeof(path),
		       "/proc/sys/net/ipv6/conf/%s/disable_ipv6", tap->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "1", 1);
		(void)close(fd);
	}
	tap->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert(ge(int, tap->sock, 0));
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFFLAGS, &ifr)));
	ifr.ifr_flags |= IFF_UP;
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFFLAGS, &ifr)));
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFINDEX, &ifr)));
	sll.sll_ifindex = ifr.ifr_ifindex;
	cr_assert(zero(int,
		       bind(tap->sock, (struct sockaddr *)&sll, sizeof(sll))));
}

/*
 * The device has attached: waits until the kernel has noticed the carrier,
 * from a work item of its own; what is sent before is lost.
 */
static void tap_wait_running(struct tap *tap)
{
	struct ifreq ifr = { 0 };
	char path[64], state[8] = "";

	/* Not IFF_RUNNING, which a state not known yet sets too. */
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/operstate",
		       tap->name);
	while (strncmp(state, "up", 2) != 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		cr_assert(ge(int, fd, 0));
		cr_assert(gt(long, read(fd, state, sizeof(state)), 0));
		(void)close(fd);
		(void)poll(NULL, 0, 1);
	}
	/* No change; but it takes the lock that work item holds. */
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFFLAGS, &ifr)));
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFFLAGS, &ifr)));
}

static void tap_delete(struct tap *tap)
{
	int fd = tap_ioctl_make(tap->name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
				false);

	if (fd >= 0)
		(void)close(fd);
	(void)close(tap->sock);
}

static ssize_t tap_recv(struct nic *t, struct tap *tap, uint8_t *buf,
			size_t len)
{
	front_wait_fd(&t->f, tap->sock);
	return recv(tap->sock, buf, len, MSG_DONTWAIT);
}

Test(net, a_real_tap_carries_packets_both_ways, .timeout = 120)
{
	static const char mac[] = "mac=52:54:00:AB:cd:ef";
	static uint8_t frame[2048], got[2048];
	struct virtio_net_hdr_v1 ret;
	char tap_word[32], mac_word[32];
	char *args[] = { tap_word, mac_word, NULL };
	struct virtio_dev *dev = NULL;
	struct nic t = { 0 };
	struct tap tap;
	uint64_t gpa;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	(void)snprintf(mac_word, sizeof(mac_word), "%s", mac);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	front_negotiate(&t.f, WITH_CTRL | OFFLOADS);
	cr_assert(eq(u64, t.f.features & OFFLOADS, OFFLOADS));
	cr_assert(eq(u8, dev->config[5], 0xef));
	front_start_all(&t.f, 3);
	/* Out: type 0x88b5, for experiments; nobody answers. */
	frame_fill(frame, sizeof(frame));
	memset(frame, 0xff, 6);
	frame[6] = 0x52;
	frame[12] = 0x88;
	frame[13] = 0xb5;
	gpa = guest_alloc(&t.f.g, 2048, 16);
	memset(guest_ptr(&t.f.g, gpa), 0, 12);
	memcpy((uint8_t *)guest_ptr(&t.f.g, gpa) + 12, frame, 200);
	(void)front_wait_used(
		&t.f, NET_TX,
		guest_ring_add(&t.f.ring[NET_TX],
			       &(struct guest_buf){ gpa, 212, false }, 1));
	cr_assert(eq(long, tap_recv(&t, &tap, got, sizeof(got)), 200));
	cr_assert(zero(int, memcmp(got, frame, 200)));
	/* In. */
	gpa = rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(eq(long, send(tap.sock, frame, 300, 0), 300));
	front_wait_fd(&t.f, t.f.ring[NET_RX].call_fd);
	cr_assert(eq(u32, rx_len(&t), 312));
	memcpy(&ret, guest_ptr(&t.f.g, gpa), sizeof(ret));
	cr_assert(eq(u16, ret.num_buffers, 1));
	cr_assert(zero(int, memcmp((uint8_t *)guest_ptr(&t.f.g, gpa) + 12,
				   frame, 300)));
	nic_close(&t);
	tap_delete(&tap);
}

Test(net, a_real_tap_wakes_and_keeps_the_packet, .timeout = 120)
{
	static uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	char tap_word[32];
	char *args[] = { tap_word, NULL };
	struct virtio_dev *dev = NULL;
	struct nic t = { 0 };
	struct tap tap;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	cr_assert(zero(u64, dev->features_offered & BIT(VIRTIO_NET_F_MAC)));
	front_wake_arm(&t.f, true);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	cr_assert(eq(long, send(tap.sock, frame, sizeof(frame), 0), 64));
	front_wait_fd(&t.f, t.f.wake_fd);
	front_negotiate(&t.f, MERGE & ~BIT(VIRTIO_NET_F_MAC));
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	front_wait_fd(&t.f, t.f.ring[NET_RX].call_fd);
	cr_assert(eq(u32, rx_len(&t), 76));
	nic_close(&t);
	tap_delete(&tap);
}

Test(net, a_deleted_tap_is_not_polled_for_ever, .timeout = 120)
{
	char tap_word[32], delete_it[64];
	char *args[] = { tap_word, NULL };
	struct virtio_net_config config;
	struct virtio_dev *dev = NULL;
	struct devctl_msg told;
	struct nic t = { 0 };
	struct tap tap;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	(void)snprintf(delete_it, sizeof(delete_it), "ip link del %s",
		       tap.name);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	front_negotiate(&t.f, MERGE & ~BIT(VIRTIO_NET_F_MAC));
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(ge(int, t.net->src.fd, 0));
	cr_assert(zero(int, system(delete_it)));
	for (int i = 0; i < 10 && !t.net->gone; i++)
		cr_assert(zero(int, loop_turn(&t.f.loop, 1000)));
	cr_assert(t.net->gone);
	cr_assert(lt(int, t.net->src.fd, 0));
	/* The driver is told that the link is down, once. */
	front_wait_fd(&t.f, t.f.ctl);
	cr_assert(eq(sz, (size_t)recv(t.f.ctl, &told, sizeof(told), 0),
		     sizeof(told)));
	cr_assert(eq(u32, told.type, DEVCTL_CONFIG_CHANGED));
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(zero(u16, config.status));
	/* Arming is answered, and nothing wakes. */
	front_wake_arm(&t.f, true);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	nic_close(&t);
	(void)close(tap.sock);
}

static void tap_set_mtu(struct tap *tap, int mtu)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFMTU, &ifr)));
}

Test(net, tap_errors_name_the_tap_and_the_remedy, .timeout = 120)
{
	struct err err = { 0 };
	struct tap tap;
	int fd;

	cr_assert(eq(int, net_tap_open("torpor-none", &err), -ENODEV));
	cr_assert(strstr(err.msg, "'torpor-none' does not exist") != NULL);
	cr_assert(strstr(err.msg, "ip tuntap add dev torpor-none") != NULL);
	cr_assert(eq(int, net_tap_open("", &err), -EINVAL));
	cr_assert(eq(int, net_tap_open("a-name-that-is-long", &err), -EINVAL));
	tap_make(&tap);
	fd = net_tap_open(tap.name, &err);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, net_tap_open(tap.name, &err), -EBUSY));
	cr_assert(strstr(err.msg, "in use") != NULL);
	cr_assert(zero(int, net_tap_check(fd, &err)));
	cr_assert(ne(uint, net_tap_offloads(fd), 0));
	cr_assert(eq(int, net_tap_mtu(fd), 1500));
	tap_set_mtu(&tap, 9000);
	cr_assert(eq(int, net_tap_mtu(fd), 9000));
	(void)close(fd);
	cr_assert(eq(int, net_tap_open("lo", &err), -EINVAL));
	cr_assert(strstr(err.msg, "'lo' is not a tap") != NULL);
	tap_delete(&tap);
}

Test(net, an_fd_that_is_no_fit_tap_is_refused, .timeout = 120)
{
	struct err err = { 0 };
	int fd;

	cr_assert(eq(int, net_tap_check(-1, &err), -EBADF));
	fd = fd_event_create();
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	(void)close(fd);
	fd = tap_ioctl_make("trpx%d", IFF_TUN | IFF_NO_PI, false);
	if (fd < 0)
		cr_skip("no tap can be made here");
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	cr_assert(strstr(err.msg, "tun, not a tap") != NULL);
	(void)close(fd);
	fd = tap_ioctl_make("trpx%d", IFF_TAP | IFF_NO_PI, false);
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	cr_assert(strstr(err.msg, "IFF_VNET_HDR") != NULL);
	(void)close(fd);
}

/* ------------------------------------------------------------- the words */

static char bad_words[][40] = { "frob",
				"wake=",
				"wake=any",
				"mac=",
				"mac=52:54:00:12:34",
				"mac=52:54:00:12:34:5",
				"mac=52:54:00:12:34:56:78",
				"mac=52-54-00-12-34-56",
				"mac=52:54:00:12:34:5g",
				"mac=01:54:00:12:34:56",
				"mac=52:54:00:12:34:\x15\x16" };

Test(net, bad_words_are_refused, .timeout = 120)
{
	struct virtio_dev *dev = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (size_t i = 0; i < ARRAY_SIZE(bad_words); i++) {
		char *args[] = { bad_words[i], NULL };

		cr_assert(eq(int,
			     virtio_net_ops.create(&loop, args, virtio_no_fds,
						   &dev),
			     -EINVAL),
			  "%s", bad_words[i]);
	}
	cr_assert(dev == NULL);
	loop_finish(&loop);
}

Test(net, destroy_takes_null)
{
	virtio_net_ops.destroy(NULL);
}
