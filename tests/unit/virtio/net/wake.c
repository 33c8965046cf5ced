/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device of a sleeping guest: which packets wake it, and what
 * becomes of all others. Arming and a real tap are in net_wake_arm.c.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/net_wake_rig.h"

#define STORM 100000

/* -------------------------------------------------------- which ones wake */

struct want {
	bool own, foreign, second, bcast, mcast, other_mcast;
};

static void check_wakes(struct nic *t, const struct want *w, const char *what)
{
	const struct {
		const uint8_t *dest;
		bool wakes;
		const char *name;
	} frames[] = {
		{ own, w->own, "own" },
		{ foreign, w->foreign, "foreign" },
		{ second, w->second, "second" },
		{ bcast, w->bcast, "broadcast" },
		{ mcast, w->mcast, "multicast" },
		{ other_mcast, w->other_mcast, "other multicast" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		/* Nothing of an earlier one is left to wake. */
		driver_resumes(t, 4);
		while (next_tag(t) >= 0)
			;
		sleep_armed(t);
		cr_assert(not(woken(t)), "%s: %s", what, frames[i].name);
		wire(t, frames[i].dest, 1);
		cr_assert(eq(int, woken(t), frames[i].wakes), "%s: %s", what,
			  frames[i].name);
		front_wake_arm(&t->f, false);
	}
	driver_resumes(t, 0);
}

Test(net_wake, what_the_guest_receives_wakes_it, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 1, 1 }, "told nothing");
	linux_opens(&t);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 1, 0 }, "opened");
	set_mode(&t, ALLMULTI, 1);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 1, 1 }, "allmulti");
	set_mode(&t, ALLMULTI, 0);
	set_tables(&t, second, 2, mcast, 0);
	check_wakes(&t, &(struct want){ 1, 0, 1, 1, 0, 0 }, "second address");
	set_mode(&t, PROMISC, 1);
	check_wakes(&t, &(struct want){ 1, 1, 1, 1, 1, 1 }, "promiscuous");
	set_mode(&t, PROMISC, 0);
	set_mac(&t, foreign);
	check_wakes(&t, &(struct want){ 0, 1, 1, 1, 0, 0 }, "another address");
	nic_close(&t);
}

Test(net_wake, large_tables_let_all_of_their_kind_in, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	set_tables(&t, second, 64, mcast, 64);
	check_wakes(&t, &(struct want){ 1, 0, 1, 1, 1, 0 }, "64 each");
	set_tables(&t, second, 65, mcast, 0);
	check_wakes(&t, &(struct want){ 1, 1, 1, 1, 0, 0 }, "65 unicast");
	set_tables(&t, second, 0, mcast, 65);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 1, 1 }, "65 multicast");
	/* Each table is for its own kind. */
	set_tables(&t, mcast, 1, second, 1);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 0, 0 }, "wrong kinds");
	nic_close(&t);
}

Test(net_wake, only_its_own_address_wakes_with_unicast, .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	check_wakes(&t, &(struct want){ 1, 0, 0, 0, 0, 0 }, "told nothing");
	set_mode(&t, PROMISC, 1);
	set_tables(&t, second, 1, mcast, 1);
	check_wakes(&t, &(struct want){ 1, 0, 0, 0, 0, 0 }, "promiscuous");
	nic_close(&t);
}

Test(net_wake, a_driver_that_cannot_tell_gets_the_default, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	linux_opens(&t);
	set_mode(&t, PROMISC, 1);
	driver_suspends(&t);
	/* Another driver, without a control queue. */
	nic_start(&t, MERGE);
	check_wakes(&t, &(struct want){ 1, 0, 0, 1, 1, 1 }, "no CTRL_RX");
	nic_close(&t);
}

Test(net_wake, an_address_that_is_not_known_may_be_any, .timeout = 480)
{
	struct nic t;

	nic_create_with(&t, &(struct net_params){ .wake_unicast = true,
						  .tun_f = TUN_ALL });
	nic_start(&t, WITH_CTRL & ~BIT(VIRTIO_NET_F_MAC));
	check_wakes(&t, &(struct want){ 1, 1, 1, 0, 0, 0 }, "made up");
	set_mac(&t, foreign);
	check_wakes(&t, &(struct want){ 0, 1, 0, 0, 0, 0 }, "told");
	nic_close(&t);
}

Test(net_wake, settings_survive_more_than_one_sleep, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	linux_opens(&t);
	for (int i = 0; i < 3; i++) {
		sleep_armed(&t);
		wire(&t, other_mcast, 1);
		wire(&t, foreign, 2);
		cr_assert(not(woken(&t)));
		wire(&t, mcast, 3);
		cr_assert(woken(&t));
		front_wake_arm(&t.f, false);
		driver_resumes(&t, 4);
		cr_assert(eq(int, next_tag(&t), 3));
		cr_assert(eq(int, next_tag(&t), -1));
	}
	nic_close(&t);
}

/* Byte 12 on; the guest has no VLAN filter, so all of them are for it. */
Test(net_wake, a_vlan_tag_changes_nothing, .timeout = 480)
{
	uint8_t frame[NET_HDR_BYTES + 64] = { 0 };
	struct nic t;

	nic_open(&t, WITH_CTRL);
	linux_opens(&t);
	sleep_armed(&t);
	frame[NET_HDR_BYTES + 12] = 0x81;
	frame[NET_HDR_BYTES + 15] = 42;
	memcpy(frame + NET_HDR_BYTES, foreign, ETH_ALEN);
	cr_assert(gt(long, send(t.peer, frame, sizeof(frame), 0), 0));
	cr_assert(not(woken(&t)));
	memcpy(frame + NET_HDR_BYTES, own, ETH_ALEN);
	cr_assert(gt(long, send(t.peer, frame, sizeof(frame), 0), 0));
	cr_assert(woken(&t));
	nic_close(&t);
}

Test(net_wake, what_is_no_frame_does_not_wake, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	sleep_armed(&t);
	for (size_t len = 0; len < 14; len++)
		cr_assert(wire_try(&t, &no_hdr, own, len, 0), "%zu", len);
	cr_assert(gt(long, send(t.peer, own, 1, 0), 0), "half a header");
	cr_assert(wire_try(&t, &no_hdr, own, NET_FRAME_MAX + 1, 0));
	cr_assert(not(woken(&t)));
	cr_assert(zero(uint, t.net->wake.nr));
	cr_assert(wire_try(&t, &no_hdr, own, NET_FRAME_MAX, 0));
	cr_assert(woken(&t));
	nic_close(&t);
}

static const struct {
	struct virtio_net_hdr_v1 hdr;
	bool offloads, wakes;
} headers[] = {
	{ { .flags = 1, .csum_start = 34 }, false, false },
	{ { .flags = 1, .csum_start = 34 }, true, true },
	{ { .flags = 1, .gso_type = 1, .gso_size = 1000 }, false, false },
	{ { .flags = 1, .gso_type = 1, .gso_size = 1000 }, true, true },
	{ { .flags = 1, .gso_type = 1 }, true, false },
	{ { .flags = 1, .gso_type = 0x7f, .gso_size = 9 }, true, false },
	{ { .flags = 0xfe, .hdr_len = 9, .num_buffers = 9 }, false, true },
};

/* A header is judged by what the driver took, and may take again. */
Test(net_wake, headers_that_the_guest_does_not_take_do_not_wake, .timeout = 480)
{
	const uint64_t off =
		BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct nic t;

		nic_open(&t, WITH_CTRL | (headers[i].offloads ? off : 0));
		sleep_armed(&t);
		cr_assert(wire_try(&t, &headers[i].hdr, own, 1400, 7));
		cr_assert(eq(int, woken(&t), headers[i].wakes), "case %zu", i);
		front_wake_arm(&t.f, false);
		driver_resumes(&t, 2);
		cr_assert(eq(int, next_tag(&t), headers[i].wakes ? 7 : -1),
			  "case %zu", i);
		nic_close(&t);
	}
}

/* ------------------------------------------------- order, once, and bounds */

Test(net_wake, packets_come_in_order_and_once, .timeout = 480)
{
	static const uint8_t *const dests[] = {
		bcast, foreign, mcast, bcast, own, bcast, own, foreign
	};
	static const int want[] = { 0, 2, 3, 4, 5, 6, 7, -1 };
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	sleep_armed(&t);
	for (size_t i = 0; i < ARRAY_SIZE(dests); i++)
		wire(&t, dests[i], (uint8_t)i);
	cr_assert(woken(&t));
	cr_assert(eq(uint, t.net->wake.nr, 4), "0, 2, 3 and the one that woke");
	cr_assert(lt(int, t.net->src.fd, 0), "the rest stays in the tap");
	front_wake_arm(&t.f, false);
	/* Too few buffers, then enough. */
	driver_resumes(&t, 2);
	for (int i = 0; i < 2; i++)
		cr_assert(eq(int, next_tag(&t), want[i]));
	cr_assert(eq(int, next_tag(&t), -1));
	driver_suspends(&t);
	driver_resumes(&t, 16);
	for (size_t i = 2; i < ARRAY_SIZE(want); i++)
		cr_assert(eq(int, next_tag(&t), want[i]), "%zu", i);
	cr_assert(zero(uint, t.net->wake.nr));
	cr_assert(zero(u32, t.net->wake.tail));
	nic_close(&t);
}

Test(net_wake, a_packet_held_for_buffers_comes_before_those_kept,
     .timeout = 480)
{
	struct guest_buf b;
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	b = (struct guest_buf){ guest_alloc(&t.f.g, 64, 16), 64, true };
	(void)guest_ring_add(&t.f.ring[NET_RX], &b, 1);
	guest_ring_kick(&t.f.ring[NET_RX]);
	cr_assert(wire_try(&t, &no_hdr, bcast, 1400, 1));
	front_settle(&t.f);
	cr_assert(gt(u32, t.net->rx.held, 0));
	sleep_armed(&t);
	cr_assert(not(woken(&t)));
	wire(&t, bcast, 2);
	wire(&t, own, 3);
	cr_assert(woken(&t));
	driver_resumes(&t, 8);
	for (int i = 1; i <= 3; i++)
		cr_assert(eq(int, next_tag(&t), i));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

/* Sends @n, as fast as the device takes them. */
static void storm(struct nic *t, const uint8_t *dest, unsigned int n)
{
	for (unsigned int i = 0; i < n;) {
		if (wire_try(t, &no_hdr, dest, 60, (uint8_t)i)) {
			i++;
			continue;
		}
		cr_assert(eq(int, errno, EAGAIN));
		cr_assert(zero(int, loop_turn(&t->f.loop, 10000)));
	}
}

/* Turns the loop until the wire is empty; it may make pauses. */
static void wire_drain(struct nic *t)
{
	struct pollfd p = { .fd = t->net->fd, .events = POLLIN };

	while (poll(&p, 1, 0) == 1)
		cr_assert(zero(int, loop_turn(&t->f.loop, 10000)));
	front_settle(&t->f);
}

Test(net_wake, a_storm_of_foreign_packets_leaves_nothing_behind, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	sleep_armed(&t);
	storm(&t, foreign, STORM);
	wire_drain(&t);
	cr_assert(not(woken(&t)));
	cr_assert(eq(u64, t.net->wake.not_ours, STORM));
	cr_assert(zero(uint, t.net->wake.nr));
	wire(&t, own, 9);
	front_wait_fd(&t.f, t.f.wake_fd);
	cr_assert(woken(&t));
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 9));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

Test(net_wake, a_storm_that_is_kept_has_its_bounds, .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	sleep_armed(&t);
	storm(&t, bcast, STORM);
	wire_drain(&t);
	cr_assert(not(woken(&t)));
	cr_assert(eq(uint, t.net->wake.nr, NET_KEPT_PACKETS));
	cr_assert(eq(u64, t.net->wake.no_place, STORM - NET_KEPT_PACKETS));
	/* One that wakes has its place all the same. */
	wire(&t, own, 200);
	front_wait_fd(&t.f, t.f.wake_fd);
	cr_assert(woken(&t));
	front_wake_arm(&t.f, false);
	driver_resumes(&t, 128);
	for (int i = 0; i < (int)NET_KEPT_PACKETS; i++)
		cr_assert(eq(int, next_tag(&t), i), "the oldest");
	cr_assert(eq(int, next_tag(&t), 200));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

Test(net_wake, large_packets_are_bounded_by_their_bytes, .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	for (int round = 0; round < 3; round++) {
		int got = 0;

		sleep_armed(&t);
		for (uint8_t i = 0; i < 10; i++) {
			cr_assert(
				wire_try(&t, &no_hdr, bcast, NET_FRAME_MAX, i));
			front_settle(&t.f);
		}
		cr_assert(eq(uint, t.net->wake.nr, 3));
		cr_assert(wire_try(&t, &no_hdr, own, NET_FRAME_MAX, 10));
		cr_assert(woken(&t));
		cr_assert(le(u32, t.net->wake.tail, NET_STORE_BYTES));
		front_wake_arm(&t.f, false);
		/* 33 buffers a packet: it stops in the middle, once. */
		driver_resumes(&t, 40);
		driver_suspends(&t);
		driver_resumes(&t, 200);
		while (t.f.ring[NET_RX].last_used !=
		       t.f.ring[NET_RX].used->idx) {
			uint16_t head;
			uint32_t len;

			(void)guest_ring_reap(&t.f.ring[NET_RX], &head, &len);
			got++;
		}
		cr_assert(eq(int, got, 3 * 33), "three more after the first");
		cr_assert(zero(uint, t.net->wake.nr));
	}
	nic_close(&t);
}
