/* SPDX-License-Identifier: BSD-3-Clause */
/* See net_wake_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/net_wake_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/guest_ring.h"
#include "virtio/net/net.h"
#include "vmm/base/fd.h"

const uint8_t foreign[ETH_ALEN] = { 0x52, 0x54, 0, 1, 2, 4 };
const uint8_t second[ETH_ALEN] = { 0x52, 0x54, 0, 9, 9, 9 };
const uint8_t bcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
const uint8_t mcast[ETH_ALEN] = { 0x33, 0x33, 0xff, 1, 2, 3 };
const uint8_t other_mcast[ETH_ALEN] = { 0x33, 0x33, 0, 0, 0, 0xfb };

void driver_suspends(struct nic *t)
{
	for (unsigned int i = 0; i < t->f.nr_rings; i++) {
		(void)front_stop(&t->f, i);
		front_ring_reset(&t->f, i);
	}
	t->live = false;
}

void driver_resumes(struct nic *t, unsigned int buffers)
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

void sleep_armed(struct nic *t)
{
	driver_suspends(t);
	front_wake_arm(&t->f, true);
}

bool woken(struct nic *t)
{
	uint64_t n;

	front_settle(&t->f);
	n = fd_event_drain(t->f.wake_fd);
	cr_assert(le(u64, n, 1), "at most once per arming");
	return n;
}

bool wire_try(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
	      const uint8_t *dest, size_t len, uint8_t tag)
{
	static uint8_t buf[80 << 10];

	memcpy(buf, hdr, sizeof(*hdr));
	memset(buf + sizeof(*hdr), tag, len);
	memcpy(buf + sizeof(*hdr), dest, MIN(len, (size_t)ETH_ALEN));
	return send(t->peer, buf, sizeof(*hdr) + len, 0) > 0;
}

void wire(struct nic *t, const uint8_t *dest, uint8_t tag)
{
	cr_assert(wire_try(t, &no_hdr, dest, 60, tag));
}

int next_tag(struct nic *t)
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

uint16_t command_begin(struct nic *t, uint8_t class, uint8_t cmd,
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

int command(struct nic *t, uint8_t class, uint8_t cmd, const void *data,
	    uint32_t len)
{
	uint16_t head = command_begin(t, class, cmd, data, len);

	(void)front_wait_used(&t->f, NET_CTRL, head);
	return *(uint8_t *)guest_ptr(&t->f.g, t->ack);
}

void set_mode(struct nic *t, uint8_t cmd, uint8_t on)
{
	cr_assert(zero(int, command(t, VIRTIO_NET_CTRL_RX, cmd, &on, 1)));
}

void set_mac(struct nic *t, const uint8_t *mac)
{
	uint16_t head =
		command_begin(t, VIRTIO_NET_CTRL_MAC,
			      VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, ETH_ALEN);

	front_publish_config(&t->f);
	(void)front_wait_used(&t->f, NET_CTRL, head);
	cr_assert(zero(u8, *(uint8_t *)guest_ptr(&t->f.g, t->ack)));
}

/* @n copies of an address, the last one as given, the others its like. */
static size_t put_table(uint8_t *p, const uint8_t *mac, uint32_t n)
{
	memcpy(p, &n, 4);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(p + 4 + (size_t)i * ETH_ALEN, mac, ETH_ALEN);
		if (i + 1 < n)
			p[4 + (size_t)i * ETH_ALEN + 3] ^= (uint8_t)(i + 1);
	}
	return 4 + (size_t)n * ETH_ALEN;
}

void set_tables(struct nic *t, const uint8_t *uc, uint32_t nr_uc,
		const uint8_t *mc, uint32_t nr_mc)
{
	uint8_t data[2048];
	size_t len = put_table(data, uc, nr_uc);

	len += put_table(data + len, mc, nr_mc);
	cr_assert(zero(int, command(t, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				    (uint32_t)len)));
}

void linux_opens(struct nic *t)
{
	set_mode(t, PROMISC, 0);
	set_mode(t, ALLMULTI, 0);
	set_tables(t, second, 0, mcast, 1);
}
