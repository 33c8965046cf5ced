/* SPDX-License-Identifier: BSD-3-Clause */
/* See net_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/net_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/net/net.h"

const uint8_t own[ETH_ALEN] = { 0x52, 0x54, 0, 1, 2, 3 };
const struct virtio_net_hdr_v1 no_hdr;

void nic_create_with(struct nic *t, const struct net_params *params)
{
	struct net_params cfg = *params;
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
	memcpy(cfg.mac, own, sizeof(own));
	cr_assert(zero(int, net_create(&t->f.loop, &cfg, &t->net)));
	front_connect(&t->f, &t->net->dev);
}

void nic_create(struct nic *t, uint16_t mtu)
{
	const struct net_params params = { .has_mac = true,
					   .tun_f = TUN_ALL,
					   .mtu = mtu };

	nic_create_with(t, &params);
}

void nic_start(struct nic *t, uint64_t features)
{
	front_negotiate(&t->f, features);
	t->ack = guest_alloc(&t->f.g, 16, 16);
	front_start_all(&t->f, features & BIT(VIRTIO_NET_F_CTRL_VQ) ? 3 : 2);
	t->live = true;
}

void nic_open(struct nic *t, uint64_t features)
{
	nic_create(t, 0);
	nic_start(t, features);
}

void nic_open_unicast(struct nic *t, uint64_t features)
{
	const struct net_params params = { .has_mac = true,
					   .wake_unicast = true,
					   .tun_f = TUN_ALL };

	nic_create_with(t, &params);
	nic_start(t, features);
}

void nic_close(struct nic *t)
{
	front_finish(&t->f);
	virtio_net_ops.destroy(&t->net->dev);
	(void)close(t->peer);
}

void frame_fill(uint8_t *frame, size_t len)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
}

void wire_send_to(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
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

ssize_t wire_recv(struct nic *t, struct virtio_net_hdr_v1 *hdr, uint8_t *frame,
		  size_t max)
{
	struct iovec iov[2] = { { hdr, sizeof(*hdr) }, { frame, max } };
	ssize_t n = readv(t->peer, iov, 2);

	return n < (ssize_t)sizeof(*hdr) ? -1 : n - (ssize_t)sizeof(*hdr);
}

uint64_t rx_add(struct nic *t, uint32_t len)
{
	struct guest_buf b = { guest_alloc(&t->f.g, len, 16), len, true };

	(void)guest_ring_add(&t->f.ring[NET_RX], &b, 1);
	return b.gpa;
}

void rx_kick(struct nic *t)
{
	guest_ring_kick(&t->f.ring[NET_RX]);
	front_settle(&t->f);
}

uint32_t rx_len(struct nic *t)
{
	uint16_t head;
	uint32_t len;

	cr_assert(guest_ring_reap(&t->f.ring[NET_RX], &head, &len),
		  "no packet was delivered");
	return len;
}

bool rx_empty(struct nic *t)
{
	return t->f.ring[NET_RX].used->idx == t->f.ring[NET_RX].last_used;
}

bool frame_ok(const uint8_t *p, size_t from, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != (uint8_t)((from + i) * 7 + (from + i) / 256))
			return false;
	}
	return true;
}
