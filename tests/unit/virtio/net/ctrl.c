/* SPDX-License-Identifier: BSD-3-Clause */
/* Control queue of the network device (virtio 1.x, 5.1.9.5). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/net_wake_rig.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"

Test(net_ctrl, rx_modes_are_accepted_and_odd_ones_refused, .timeout = 120)
{
	static const uint8_t on[2] = { 1, 0 }, two = 2;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	cr_assert(eq(int, command(&t, 0, 0, on, 1), 0));
	cr_assert(eq(int, command(&t, 0, 1, on, 1), 0));
	cr_assert(eq(int, command(&t, 0, 0, on, 2), 1), "oversized");
	cr_assert(eq(int, command(&t, 0, 0, on, 0), 1), "short");
	cr_assert(eq(int, command(&t, 0, 0, &two, 1), 1));
	for (uint8_t cmd = 2; cmd < 6; cmd++)
		cr_assert(eq(int, command(&t, 0, cmd, on, 1), 1),
			  "RX_EXTRA was not offered");
	nic_close(&t);
}

Test(net_ctrl, unknown_commands_are_refused, .timeout = 120)
{
	static const uint8_t data[8];
	struct nic t;

	nic_open(&t, WITH_CTRL);
	for (unsigned int class = 0; class < 256; class += class < 8 ? 1 : 31)
		cr_assert(
			eq(int, command(&t, (uint8_t) class, 200, data, 2), 1),
			"class %u", class);
	cr_assert(eq(int, command(&t, 2, 0, data, 2), 1), "VLAN");
	cr_assert(eq(int, command(&t, 3, 0, data, 0), 1), "ANNOUNCE_ACK");
	cr_assert(eq(int, command(&t, 4, 0, data, 2), 1), "MQ");
	cr_assert(eq(int, command(&t, 5, 0, data, 8), 1), "not negotiated");
	nic_close(&t);
}

Test(net_ctrl, mac_tables_must_have_the_length_they_say, .timeout = 120)
{
	uint8_t data[64] = { 0 };
	struct nic t;

	nic_open(&t, WITH_CTRL);
	data[0] = 2;
	data[4 + 12] = 1;
	cr_assert(eq(int, command(&t, 1, 0, data, 4 + 12 + 4 + 6), 0));
	cr_assert(eq(int, command(&t, 1, 0, data, 4 + 12 + 4 + 5), 1));
	cr_assert(eq(int, command(&t, 1, 0, data, 4 + 12 + 4 + 7), 1));
	cr_assert(eq(int, command(&t, 1, 0, data, 4 + 12 + 3), 1));
	cr_assert(eq(int, command(&t, 1, 0, data, 3), 1));
	memset(data, 0xff, sizeof(data));
	cr_assert(eq(int, command(&t, 1, 0, data, sizeof(data)), 1));
	memset(data, 0, sizeof(data));
	cr_assert(eq(int, command(&t, 1, 0, data, 8), 0), "two empty ones");
	nic_close(&t);
}

Test(net_ctrl, the_mac_address_can_be_set, .timeout = 120)
{
	static const uint8_t mac[7] = { 2, 3, 4, 5, 6, 7 }, group[6] = { 1 };
	struct virtio_net_config config;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	set_mac(&t, mac);
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(zero(int, memcmp(config.mac, mac, 6)));
	cr_assert(eq(int, command(&t, 1, 1, mac, 6), 0), "no change");
	cr_assert(eq(int, command(&t, 1, 1, mac, 5), 1));
	cr_assert(eq(int, command(&t, 1, 1, mac, 7), 1));
	cr_assert(eq(int, command(&t, 1, 1, group, 6), 1));
	nic_close(&t);
}

Test(net_ctrl, guest_offloads_follow_the_command, .timeout = 120)
{
	const uint64_t csum = BIT(VIRTIO_NET_F_GUEST_CSUM),
		       tso = BIT(VIRTIO_NET_F_GUEST_TSO4),
		       ecn = BIT(VIRTIO_NET_F_GUEST_ECN),
		       ufo = BIT(VIRTIO_NET_F_GUEST_UFO), none = 0,
		       both = csum | tso, ufo_too = both | ufo,
		       ecn_too = both | ecn;
	struct nic t;

	nic_open(&t, WITH_CTRL | OFFLOADS);
	cr_assert(eq(u64, t.net->guest_offloads,
		     both | BIT(VIRTIO_NET_F_GUEST_TSO6)));
	cr_assert(eq(int, command(&t, 5, 0, &none, 8), 0));
	cr_assert(zero(u64, t.net->guest_offloads));
	cr_assert(eq(int, command(&t, 5, 0, &both, 8), 0));
	cr_assert(eq(u64, t.net->guest_offloads, both));
	cr_assert(eq(int, command(&t, 5, 0, &tso, 8), 1), "needs CSUM");
	cr_assert(eq(int, command(&t, 5, 0, &ufo_too, 8), 1));
	cr_assert(eq(int, command(&t, 5, 0, &ecn_too, 8), 1), "not acked");
	cr_assert(eq(int, command(&t, 5, 0, &both, 7), 1));
	cr_assert(eq(int, command(&t, 5, 1, &both, 8), 1));
	cr_assert(eq(u64, t.net->guest_offloads, both));
	for (unsigned int i = 0; i < 3; i++)
		(void)front_stop(&t.f, i);
	cr_assert(zero(u64, t.net->guest_offloads), "off when stopped");
	nic_close(&t);
}

Test(net_ctrl, a_command_without_room_for_an_answer_breaks_the_ring,
     .timeout = 120)
{
	struct guest_buf b;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	b = (struct guest_buf){ guest_alloc(&t.f.g, 16, 16), 3, false };
	(void)guest_ring_add(&t.f.ring[NET_CTRL], &b, 1);
	guest_ring_kick(&t.f.ring[NET_CTRL]);
	front_wait_fd(&t.f, t.f.ring[NET_CTRL].err_fd);
	nic_close(&t);
}

Test(net_ctrl, a_short_command_is_refused, .timeout = 120)
{
	struct guest_buf bufs[2];
	struct nic t;

	nic_open(&t, WITH_CTRL);
	bufs[0] = (struct guest_buf){ guest_alloc(&t.f.g, 16, 16), 1, false };
	bufs[1] = (struct guest_buf){ t.ack, 1, true };
	(void)front_wait_used(&t.f, NET_CTRL,
			      guest_ring_add(&t.f.ring[NET_CTRL], bufs, 2));
	cr_assert(eq(u8, *(uint8_t *)guest_ptr(&t.f.g, t.ack), 1));
	nic_close(&t);
}

/* --------------------------------------------------- config space and used */

static const uint8_t new_mac[ETH_ALEN] = { 2, 3, 4, 5, 6, 7 };

static uint16_t mac_begin(struct nic *t)
{
	return command_begin(t, VIRTIO_NET_CTRL_MAC,
			     VIRTIO_NET_CTRL_MAC_ADDR_SET, new_mac, ETH_ALEN);
}

Test(net_ctrl, an_address_is_used_when_config_space_shows_it, .timeout = 120)
{
	static const uint8_t on = 1;
	struct nic t;
	uint16_t one, two;

	nic_open(&t, WITH_CTRL);
	one = mac_begin(&t);
	two = command_begin(&t, VIRTIO_NET_CTRL_RX, 0, &on, 1);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx), "in order");
	/* What others ask meanwhile is answered. */
	(void)front_get_u64(&t.f, VHOST_USER_GET_FEATURES);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	front_publish_config(&t.f);
	(void)front_wait_used(&t.f, NET_CTRL, one);
	(void)front_wait_used(&t.f, NET_CTRL, two);
	nic_close(&t);
}

Test(net_ctrl, a_stop_does_not_wait_for_config_space, .timeout = 120)
{
	uint16_t head, base;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	head = mac_begin(&t);
	base = front_stop(&t.f, NET_CTRL);
	cr_assert(zero(u16, base), "as if it had not been taken");
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	front_start_at(&t.f, NET_CTRL, base);
	front_settle(&t.f);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	front_publish_config(&t.f);
	(void)front_wait_used(&t.f, NET_CTRL, head);
	nic_close(&t);
}

Test(net_ctrl, what_is_published_while_stopped_counts, .timeout = 120)
{
	uint16_t head, base;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	head = mac_begin(&t);
	base = front_stop(&t.f, NET_CTRL);
	front_publish_config(&t.f);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	front_start_at(&t.f, NET_CTRL, base);
	(void)front_wait_used(&t.f, NET_CTRL, head);
	nic_close(&t);
}

Test(net_ctrl, a_published_change_that_was_not_told_is_not_believed,
     .timeout = 120)
{
	struct devctl_msg m = { .type = DEVCTL_CONFIG_PUBLISHED,
				.generation = 7 };
	uint16_t head;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	cr_assert(eq(sz, (size_t)send(t.f.ctl, &m, sizeof(m), 0), sizeof(m)));
	front_settle(&t.f);
	head = mac_begin(&t);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	front_publish_config(&t.f);
	(void)front_wait_used(&t.f, NET_CTRL, head);
	nic_close(&t);
}

/* The VMM has ended, or never had a control channel. */
Test(net_ctrl, without_anybody_who_publishes_nobody_waits, .timeout = 120)
{
	uint16_t head;
	struct nic t;

	nic_open(&t, WITH_CTRL);
	head = mac_begin(&t);
	cr_assert(zero(u16, t.f.ring[NET_CTRL].used->idx));
	fd_close(&t.f.ctl);
	(void)front_wait_used(&t.f, NET_CTRL, head);
	nic_close(&t);
}

/* ---------------------------------------------------------- bounded work */

size_t __real_iov_read(const struct iovec *iov, unsigned int nr, size_t off,
		       void *buf, size_t len);
size_t __wrap_iov_read(const struct iovec *iov, unsigned int nr, size_t off,
		       void *buf, size_t len);

static unsigned int nr_reads;

size_t __wrap_iov_read(const struct iovec *iov, unsigned int nr, size_t off,
		       void *buf, size_t len)
{
	nr_reads++;
	return __real_iov_read(iov, nr, off, buf, len);
}

#define TABLE_BYTES (2U + 2 * (4 + NET_FILTER_MACS * ETH_ALEN))

/* Two full tables, a byte in a buffer; and room for the answer. */
static uint16_t byte_by_byte(struct nic *t)
{
	static struct guest_buf bufs[TABLE_BYTES + 1];
	uint64_t gpa = guest_alloc(&t->f.g, TABLE_BYTES, 1);
	uint8_t *p = guest_ptr(&t->f.g, gpa);

	p[0] = VIRTIO_NET_CTRL_MAC;
	p[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	p[2] = NET_FILTER_MACS;
	p[2 + 4 + NET_FILTER_MACS * ETH_ALEN] = NET_FILTER_MACS;
	for (unsigned int i = 0; i < TABLE_BYTES; i++)
		bufs[i] = (struct guest_buf){ gpa + i, 1, false };
	bufs[TABLE_BYTES] = (struct guest_buf){ t->ack, 1, true };
	return guest_ring_add_indirect(&t->f.ring[NET_CTRL], bufs,
				       TABLE_BYTES + 1);
}

Test(net_ctrl, address_tables_are_read_in_one_pass, .timeout = 120)
{
	struct nic t;
	uint16_t head;

	nic_open(&t, WITH_CTRL);
	head = byte_by_byte(&t);
	nr_reads = 0;
	(void)front_wait_used(&t.f, NET_CTRL, head);
	cr_assert(zero(u8, *(uint8_t *)guest_ptr(&t.f.g, t.ack)));
	/* Header, two counts and two tables. */
	cr_assert(le(uint, nr_reads, 5));
	cr_assert(eq(uint, t.net->filter.multicast.all, 0));
	nic_close(&t);
}

Test(net_ctrl, a_turn_ends_by_the_number_of_buffers, .timeout = 120)
{
	const uint16_t commands = 32;
	struct nic t;
	uint16_t used;

	nic_open(&t, WITH_CTRL);
	for (uint16_t i = 0; i < commands; i++)
		(void)byte_by_byte(&t);
	guest_ring_kick(&t.f.ring[NET_CTRL]);
	cr_assert(zero(int, loop_turn(&t.f.loop, 1000)));
	used = t.f.ring[NET_CTRL].used->idx;
	cr_assert(gt(u16, used, 0));
	cr_assert(le(u16, used, TURN_DESCRIPTORS / TABLE_BYTES + 1));
	front_settle(&t.f);
	cr_assert(eq(u16, t.f.ring[NET_CTRL].used->idx, commands));
	nic_close(&t);
}
