/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of a sleeping guest's network device share: the device on one
 * end of a datagram socket, in place of the tap, and a driver's side of it. One
 * thread; failures end the test.
 */
#ifndef TORPOR_TESTS_NET_WAKE_TEST_H
#define TORPOR_TESTS_NET_WAKE_TEST_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/net/net.h"
#include "vmm/base/fd.h"

#define BIT(n) (1ULL << (n))
#define PLAIN                                              \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) | \
	 BIT(VIRTIO_NET_F_MRG_RXBUF))
#define FULL                                                             \
	(PLAIN | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

enum {
	PROMISC = 0,
	ALLMULTI = 1,
};

static const uint8_t own[] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t foreign[] = { 0x52, 0x54, 0, 1, 2, 4 };
static const uint8_t second[] = { 0x52, 0x54, 0, 9, 9, 9 };
static const uint8_t bcast[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t mcast[] = { 0x33, 0x33, 0xff, 1, 2, 3 };
static const uint8_t other_mcast[] = { 0x33, 0x33, 0, 0, 0, 0xfb };
static const struct virtio_net_hdr_v1 no_hdr;

struct nic {
	struct front f;
	struct virtio_net *net;
	int peer; /* the far side of the wire */
	uint64_t ack;
	bool live;
};

static inline void nic_create(struct nic *t, bool unicast, bool has_mac)
{
	struct net_params cfg = { .has_mac = has_mac,
				  .wake_unicast = unicast,
				  .tun_f = TUN_F_CSUM | TUN_F_TSO4 |
					   TUN_F_TSO6 };
	int pair[2], size = 4 << 20;

	memset(t, 0, sizeof(*t));
	front_init(&t->f);
	cr_assert(
		zero(int, socketpair(AF_UNIX,
				     SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				     0, pair)));
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	cfg.fd = pair[0];
	t->peer = pair[1];
	memcpy(cfg.mac, own, sizeof(own));
	cr_assert(zero(int, net_create(&t->f.loop, &cfg, &t->net)));
	front_connect(&t->f, &t->net->dev);
}

static inline void nic_start(struct nic *t, uint64_t features)
{
	front_negotiate(&t->f, features);
	t->ack = guest_alloc(&t->f.g, 16, 16);
	front_start_all(&t->f, features & BIT(VIRTIO_NET_F_CTRL_VQ) ? 3 : 2);
	t->live = true;
}

static inline void nic_open(struct nic *t, bool unicast, uint64_t features)
{
	nic_create(t, unicast, true);
	nic_start(t, features);
}

static inline void nic_close(struct nic *t)
{
	front_finish(&t->f);
	virtio_net_ops.destroy(&t->net->dev);
	fd_close(&t->peer);
}

/* As a stock driver does on its way to sleep, and when it is back. */
static inline void driver_suspends(struct nic *t)
{
	for (unsigned int i = 0; i < t->f.nr_rings; i++) {
		(void)front_stop(&t->f, i);
		front_ring_reset(&t->f, i);
	}
	t->live = false;
}

static inline void driver_resumes(struct nic *t, unsigned int buffers)
{
	if (!t->live)
		front_start_all(&t->f, t->f.nr_rings);
	t->live = true;
	for (unsigned int i = 0; i < buffers; i++) {
		struct guest_buf b = { guest_alloc(&t->f.g, 2048, 16), 2048,
				       true };

		(void)guest_ring_add(&t->f.ring[NET_RX], &b, 1);
	}
	guest_ring_kick(&t->f.ring[NET_RX]);
	front_settle(&t->f);
}

/* Falls asleep, armed. */
static inline void sleep_armed(struct nic *t)
{
	driver_suspends(t);
	front_wake_arm(&t->f, true);
}

static inline bool woken(struct nic *t)
{
	uint64_t n;

	front_settle(&t->f);
	n = fd_event_drain(t->f.wake_fd);
	cr_assert(le(u64, n, 1), "at most once per arming");
	return n;
}

/* Return: false if the wire is full. */
static inline bool wire_try(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
			    const uint8_t *dest, size_t len, uint8_t tag)
{
	static uint8_t buf[80 << 10];

	memcpy(buf, hdr, sizeof(*hdr));
	memset(buf + sizeof(*hdr), tag, len);
	memcpy(buf + sizeof(*hdr), dest, MIN(len, (size_t)ETH_ALEN));
	return send(t->peer, buf, sizeof(*hdr) + len, 0) > 0;
}

static inline void wire(struct nic *t, const uint8_t *dest, uint8_t tag)
{
	cr_assert(wire_try(t, &no_hdr, dest, 60, tag));
}

/* The next packet the guest has got. Return: its tag, -1 if there is none. */
static inline int next_tag(struct nic *t)
{
	struct guest_ring *r = &t->f.ring[NET_RX];
	uint16_t head;
	uint32_t len;

	if (!guest_ring_reap(r, &head, &len))
		return -1;
	cr_assert(ge(u32, len, NET_HDR_BYTES + 14));
	return *((uint8_t *)guest_ptr(&t->f.g, r->desc[head].addr) +
		 NET_HDR_BYTES + 13);
}

/* Return: the head of the command, which the device has looked at. */
static inline uint16_t command_begin(struct nic *t, uint8_t class, uint8_t cmd,
				     const void *data, uint32_t len)
{
	uint16_t head;

	uint64_t gpa = guest_alloc(&t->f.g, 2 + len, 1);
	struct guest_buf bufs[2] = { { gpa, 2 + len, false },
				     { t->ack, 1, true } };
	uint8_t *p = guest_ptr(&t->f.g, gpa);

	p[0] = class;
	p[1] = cmd;
	memcpy(p + 2, data, len);
	*(uint8_t *)guest_ptr(&t->f.g, t->ack) = 0xee;
	head = guest_ring_add(&t->f.ring[NET_CTRL], bufs, 2);
	guest_ring_kick(&t->f.ring[NET_CTRL]);
	front_settle(&t->f);
	return head;
}

static inline int command(struct nic *t, uint8_t class, uint8_t cmd,
			  const void *data, uint32_t len)
{
	uint16_t head = command_begin(t, class, cmd, data, len);

	(void)front_wait_used(&t->f, NET_CTRL, head);
	return *(uint8_t *)guest_ptr(&t->f.g, t->ack);
}

static inline void set_mode(struct nic *t, uint8_t cmd, uint8_t on)
{
	cr_assert(zero(int, command(t, VIRTIO_NET_CTRL_RX, cmd, &on, 1)));
}

static inline void set_mac(struct nic *t, const uint8_t *mac)
{
	uint16_t head =
		command_begin(t, VIRTIO_NET_CTRL_MAC,
			      VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, ETH_ALEN);

	front_publish_config(&t->f);
	(void)front_wait_used(&t->f, NET_CTRL, head);
	cr_assert(zero(u8, *(uint8_t *)guest_ptr(&t->f.g, t->ack)));
}

/* @n copies of an address, the last one as given, the others its like. */
static inline size_t put_table(uint8_t *p, const uint8_t *mac, uint32_t n)
{
	memcpy(p, &n, 4);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(p + 4 + (size_t)i * ETH_ALEN, mac, ETH_ALEN);
		if (i + 1 < n)
			p[4 + (size_t)i * ETH_ALEN + 3] ^= (uint8_t)(i + 1);
	}
	return 4 + (size_t)n * ETH_ALEN;
}

static inline void set_tables(struct nic *t, const uint8_t *uc, uint32_t nr_uc,
			      const uint8_t *mc, uint32_t nr_mc)
{
	uint8_t data[2048];
	size_t len = put_table(data, uc, nr_uc);

	len += put_table(data + len, mc, nr_mc);
	cr_assert(zero(int, command(t, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				    (uint32_t)len)));
}

/* What Linux sends when an interface is opened. */
static inline void linux_opens(struct nic *t)
{
	set_mode(t, PROMISC, 0);
	set_mode(t, ALLMULTI, 0);
	set_tables(t, second, 0, mcast, 1);
}

#endif
