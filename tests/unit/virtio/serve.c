/* SPDX-License-Identifier: BSD-3-Clause */
/* virtq_serve(): a ring's part of a turn of the loop. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/virtq_rig.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"

struct served {
	struct virtio_dev dev;
	unsigned int chains, entries;
	unsigned int stop_at; /* 0: never */
};

static struct served s;

static bool serve(struct virtio_dev *dev, struct virtq *vq,
		  const struct virtq_chain *chain, struct turn *turn)
{
	struct served *served = container_of(dev, struct served, dev);

	served->chains++;
	served->entries = (unsigned int)chain->nr_out + chain->nr_in;
	virtq_push(vq, chain->head, 0);
	return served->chains != served->stop_at;
}

static void serve_turn(unsigned int requests)
{
	struct turn turn = turn_begin(requests, UINT64_MAX);

	turn.end_ns = UINT64_MAX;
	virtq_serve(&s.dev, &rig.vq, &turn, serve);
}

static void setup(void)
{
	s = (struct served){ 0 };
	virtq_test_setup();
	rig.vq.kick_fd = dup(rig.r.kick_fd);
}

TestSuite(serve, .init = setup, .fini = virtq_test_teardown, .timeout = 120);

Test(serve, all_that_is_there_is_served_signalled_once_and_kicks_are_wanted)
{
	for (int i = 0; i < 3; i++)
		(void)add_out(4);
	serve_turn(100);
	cr_assert(eq(uint, s.chains, 3));
	cr_assert(eq(u16, rig.r.used->idx, 3));
	cr_assert(zero(u16, rig.r.used->flags));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
	cr_assert(zero(u64, fd_event_drain(rig.r.kick_fd)));
}

Test(serve, what_a_turn_has_no_time_for_is_a_kick)
{
	for (int i = 0; i < 3; i++)
		(void)add_out(4);
	serve_turn(2);
	cr_assert(eq(uint, s.chains, 2));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
	cr_assert(eq(u64, fd_event_drain(rig.r.kick_fd), 1));
	serve_turn(2);
	cr_assert(eq(uint, s.chains, 3));
	cr_assert(zero(u64, fd_event_drain(rig.r.kick_fd)));
}

Test(serve, a_device_that_stops_is_not_kicked_and_what_it_did_is_signalled)
{
	s.stop_at = 1;
	for (int i = 0; i < 3; i++)
		(void)add_out(4);
	serve_turn(100);
	cr_assert(eq(uint, s.chains, 1));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
	cr_assert(zero(u64, fd_event_drain(rig.r.kick_fd)));
}

Test(serve, a_broken_ring_is_left_alone)
{
	virtq_break(&rig.vq, "test");
	(void)add_out(4);
	serve_turn(100);
	cr_assert(zero(uint, s.chains));
	cr_assert(zero(u64, fd_event_drain(rig.r.kick_fd)));
}

Test(serve, a_chain_of_too_many_buffers_comes_with_none)
{
	static struct vring_desc table[VIRTQ_MAX_CHAIN];
	struct gmem_region more = { .gpa = RAM_END,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };
	uint64_t gpa = guest_alloc(&rig.g, sizeof(table), 16);

	cr_assert(zero(int, gmem_add(&rig.g.gm, &more)));
	/* Each is two buffers: it lies in two regions. */
	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		table[i] =
			(struct vring_desc){ RAM_END - 4, 8, VRING_DESC_F_NEXT,
					     (uint16_t)(i + 1) };
	table[VIRTQ_MAX_CHAIN - 1].flags = 0;
	memcpy(guest_ptr(&rig.g, gpa), table, sizeof(table));
	guest_ring_desc(&rig.r, 0, gpa, sizeof(table), VRING_DESC_F_INDIRECT,
			0);
	guest_ring_avail(&rig.r, 0);
	serve_turn(100);
	cr_assert(eq(uint, s.chains, 1));
	cr_assert(zero(uint, s.entries));
	cr_assert(eq(u16, rig.r.used->idx, 1));
	cr_assert(not(rig.vq.broken));
}
