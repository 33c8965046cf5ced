/* SPDX-License-Identifier: BSD-3-Clause */
/* Chains of a split ring: set up, taken, used, given back, held, across the
 * wrap. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "tests/lib/virtq_rig.h"
#include "vmm/base/fd.h"

TestSuite(virtq, .init = virtq_test_setup, .fini = virtq_test_teardown,
	  .timeout = 120);

Test(virtq, setup_refuses_bad_sizes)
{
	static const uint16_t sizes[] = { 0, 3, 7, 1023, 2048, 32768, 65535 };
	struct virtq q;

	virtq_init(&q);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		cr_assert(
			eq(int,
			   virtq_setup(&q, &rig.g.gm, sizes[i], rig.r.desc_gpa,
				       rig.r.avail_gpa, rig.r.used_gpa),
			   -EINVAL),
			"size %u", sizes[i]);
	cr_assert(zero(u16, q.size));
}

Test(virtq, setup_refuses_misaligned_areas)
{
	struct virtq q;

	virtq_init(&q);
	cr_assert(eq(int,
		     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa + 8,
				 rig.r.avail_gpa, rig.r.used_gpa),
		     -EINVAL));
	cr_assert(eq(int,
		     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
				 rig.r.avail_gpa + 1, rig.r.used_gpa),
		     -EINVAL));
	cr_assert(eq(int,
		     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
				 rig.r.avail_gpa, rig.r.used_gpa + 2),
		     -EINVAL));
	cr_assert(
		eq(int,
		   virtq_setup_hva(&q, &rig.g.gm, SIZE, (char *)rig.r.desc + 2,
				   rig.r.avail, rig.r.used),
		   -EINVAL));
}

Test(virtq, setup_refuses_areas_outside_memory)
{
	static const uint64_t bad[] = { 0, RAM_END - 16, RAM_END,
					UINT64_MAX - 15 };
	struct virtq q;

	virtq_init(&q);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert(eq(int,
			     virtq_setup(&q, &rig.g.gm, SIZE, bad[i],
					 rig.r.avail_gpa, rig.r.used_gpa),
			     -EFAULT));
		cr_assert(eq(int,
			     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
					 bad[i], rig.r.used_gpa),
			     -EFAULT));
		cr_assert(eq(int,
			     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
					 rig.r.avail_gpa, bad[i]),
			     -EFAULT));
	}
}

Test(virtq, setup_counts_the_event_fields_behind_the_rings)
{
	struct virtq q;

	virtq_init(&q);
	/* 4 + 2 * 8 + 2 and 4 + 8 * 8 + 2 bytes must fit. */
	cr_assert(zero(int, virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
					RAM_END - 22, rig.r.used_gpa)));
	cr_assert(eq(int,
		     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
				 RAM_END - 20, rig.r.used_gpa),
		     -EFAULT));
	cr_assert(eq(int,
		     virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
				 rig.r.avail_gpa, RAM_END - 68),
		     -EFAULT));
}

Test(virtq, finish_closes_the_fds)
{
	int call = rig.vq.call_fd;

	virtq_finish(NULL);
	virtq_finish(&rig.vq);
	cr_assert(eq(int, rig.vq.call_fd, -1));
	cr_assert(zero(u16, rig.vq.size));
	cr_assert(lt(int, close(call), 0));
}

/* ------------------------------------------------------------------ chains */

Test(virtq, pop_returns_0_on_an_empty_ring)
{
	cr_assert(zero(int, pop()));
	cr_assert(not(virtq_has_work(&rig.vq)));
}

Test(virtq, pop_returns_0_when_stopped)
{
	(void)add_out(4);
	cr_assert(zero(u16, virtq_stop(&rig.vq)));
	cr_assert(zero(int, pop()));
	cr_assert(not(virtq_has_work(&rig.vq)));
}

Test(virtq, pop_takes_readable_then_writable_buffers)
{
	const struct guest_buf b[] = { { rig.buf, 16, false },
				       { rig.buf + 4096, 512, false },
				       { rig.buf + 8192, 1024, true },
				       { rig.buf + 16384, 1, true } };
	uint16_t head = guest_ring_add(&rig.r, b, 4);

	cr_assert(virtq_has_work(&rig.vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.head, head));
	cr_assert(eq(u16, rig.c.nr_out, 2));
	cr_assert(eq(u16, rig.c.nr_in, 2));
	cr_assert(eq(u64, rig.c.len_out, 528));
	cr_assert(eq(u64, rig.c.len_in, 1025));
	cr_assert(eq(ptr, rig.c.iov, rig.iov));
	cr_assert(
		eq(ptr, rig.iov[2].iov_base,
		   rig.g.gm.regions[0].hva + (rig.buf + 8192 - GUEST_RAM_GPA)));
	cr_assert(eq(sz, rig.iov[3].iov_len, 1));
	cr_assert(eq(u16, rig.vq.in_flight, 1));
	cr_assert(zero(int, pop()));
}

Test(virtq, push_writes_the_used_entry)
{
	uint16_t head = add_out(4), got;
	uint32_t len;

	cr_assert(eq(int, pop(), 1));
	virtq_push(&rig.vq, rig.c.head, 77);
	cr_assert(guest_ring_reap(&rig.r, &got, &len));
	cr_assert(eq(u16, got, head));
	cr_assert(eq(u32, len, 77));
	cr_assert(zero(u16, rig.vq.in_flight));
}

Test(virtq, fill_is_invisible_until_flush)
{
	uint16_t heads[3], got;
	uint32_t len;

	for (int i = 0; i < 3; i++) {
		(void)add_out(4);
		cr_assert(eq(int, pop(), 1));
		heads[i] = rig.c.head;
	}
	for (uint16_t i = 0; i < 3; i++)
		virtq_fill(&rig.vq, heads[i], 100U + i, i);
	cr_assert(not(guest_ring_reap(&rig.r, &got, &len)));
	virtq_flush(&rig.vq, 3);
	for (uint16_t i = 0; i < 3; i++) {
		cr_assert(guest_ring_reap(&rig.r, &got, &len));
		cr_assert(eq(u16, got, heads[i]));
		cr_assert(eq(u32, len, 100U + i));
	}
}

Test(virtq, unpop_gives_chains_back_in_order)
{
	uint16_t heads[3];

	for (int i = 0; i < 3; i++) {
		(void)add_out(4);
		cr_assert(eq(int, pop(), 1));
		heads[i] = rig.c.head;
	}
	virtq_unpop(&rig.vq, heads + 1, 2);
	virtq_push(&rig.vq, heads[0], 0);
	cr_assert(zero(u16, rig.vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 1));
	cr_assert(eq(u16, rig.r.used->idx, 1));
	virtq_start(&rig.vq, 1, false, true);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.head, heads[1]));
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.head, heads[2]));
}

/* Takes three chains and answers the second and the third. */
static uint16_t hold_one(void)
{
	const struct guest_buf b = { rig.buf, 64, true };
	uint16_t heads[3];

	for (int i = 0; i < 3; i++) {
		(void)guest_ring_add(&rig.r, &b, 1);
		cr_assert(eq(int, pop(), 1));
		heads[i] = rig.c.head;
	}
	virtq_push(&rig.vq, heads[1], 1);
	virtq_push(&rig.vq, heads[2], 1);
	virtq_hold(&rig.vq, 1);
	return heads[0];
}

static int refetch(uint16_t head)
{
	return virtq_refetch(&rig.vq, head, &rig.c, rig.iov, VIRTQ_MAX_CHAIN);
}

Test(virtq, chain_held_over_a_stop_is_answered_after_it)
{
	uint16_t head = hold_one();

	cr_assert(eq(u16, virtq_stop(&rig.vq), 3));
	cr_assert(eq(int, refetch(head), -EPROTO));
	virtq_start(&rig.vq, 3, false, true);
	cr_assert(eq(u16, rig.vq.in_flight, 1));
	cr_assert(zero(int, pop()));
	cr_assert(eq(int, refetch(head), 1));
	cr_assert(eq(u64, rig.c.len_in, 64));
	cr_assert(eq(ptr, rig.c.iov[0].iov_base,
		     rig.g.gm.regions[0].hva + (rig.buf - GUEST_RAM_GPA)));
	virtq_push(&rig.vq, head, 5);
	cr_assert(eq(u16, rig.r.used->idx, 3));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 3));
}

Test(virtq, chain_held_is_forgotten_by_another_start)
{
	(void)hold_one();
	cr_assert(eq(u16, virtq_stop(&rig.vq), 3));
	virtq_start(&rig.vq, 2, false, true);
	cr_assert(zero(u16, rig.vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 2));
}

/* A reset ring that starts at the same index by chance has used nothing. */
Test(virtq, chain_held_is_forgotten_when_the_used_index_is_another)
{
	(void)hold_one();
	cr_assert(eq(u16, virtq_stop(&rig.vq), 3));
	rig.r.used->idx = 3;
	virtq_start(&rig.vq, 3, false, true);
	cr_assert(zero(u16, rig.vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 3));
}

Test(virtq, chain_held_is_forgotten_with_another_size)
{
	(void)hold_one();
	(void)virtq_stop(&rig.vq);
	cr_assert(zero(int,
		       virtq_setup(&rig.vq, &rig.g.gm, SIZE / 2, rig.r.desc_gpa,
				   rig.r.avail_gpa, rig.r.used_gpa)));
	virtq_start(&rig.vq, 3, false, true);
	cr_assert(zero(u16, rig.vq.in_flight));
}

Test(virtq, head_of_a_held_chain_is_still_in_flight)
{
	uint16_t head = hold_one();

	(void)virtq_stop(&rig.vq);
	virtq_start(&rig.vq, 3, false, true);
	guest_ring_avail(&rig.r, head);
	assert_broken();
}

Test(virtq, held_chain_rewritten_meanwhile_is_checked_again)
{
	uint16_t head = hold_one();

	(void)virtq_stop(&rig.vq);
	virtq_start(&rig.vq, 3, false, true);
	guest_ring_desc(&rig.r, head, RAM_END, 64, VRING_DESC_F_WRITE, 0);
	cr_assert(eq(int, refetch(head), -EPROTO));
	assert_broken();
}

Test(virtq, stop_with_chains_in_flight_is_our_bug, .signal = SIGABRT)
{
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	(void)virtq_stop(&rig.vq);
}

Test(virtq, zero_length_descriptor_is_skipped)
{
	const struct guest_buf b[] = { { rig.buf, 0, false },
				       { rig.buf, 8, false },
				       { 0, 0, false },
				       { rig.buf + 64, 8, true },
				       { UINT64_MAX, 0, true } };

	(void)guest_ring_add(&rig.r, b, 5);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, 1));
	cr_assert(eq(u16, rig.c.nr_in, 1));
}

Test(virtq, buffer_may_span_adjacent_regions)
{
	struct gmem_region more = { .gpa = RAM_END,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };

	cr_assert(zero(int, gmem_add(&rig.g.gm, &more)));
	(void)guest_ring_add(
		&rig.r, &(struct guest_buf){ RAM_END - 100, 300, true }, 1);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_in, 2));
	cr_assert(eq(u64, rig.c.len_in, 300));
	cr_assert(eq(sz, rig.iov[0].iov_len, 100));
	cr_assert(eq(ptr, rig.iov[1].iov_base, rig.g.gm.regions[1].hva));
}

Test(virtq, chain_beyond_the_callers_iov_is_taken_and_told)
{
	const struct guest_buf b[] = { { rig.buf, 8, false },
				       { rig.buf, 8, false },
				       { rig.buf, 8, true } };
	uint16_t head = guest_ring_add(&rig.r, b, 3), got;
	uint32_t len;

	cr_assert(eq(int, virtq_pop(&rig.vq, &rig.c, rig.iov, 2), -ENOBUFS));
	cr_assert(eq(u16, rig.c.head, head));
	cr_assert(eq(u16, rig.vq.in_flight, 1));
	cr_assert(not(rig.vq.broken));
	virtq_push(&rig.vq, rig.c.head, 0);
	cr_assert(guest_ring_reap(&rig.r, &got, &len));
}

Test(virtq, chain_beyond_the_callers_iov_is_still_checked)
{
	const struct guest_buf b[] = { { rig.buf, 8, false },
				       { rig.buf, 8, false },
				       { 16, 8, true } };

	(void)guest_ring_add(&rig.r, b, 3);
	cr_assert(eq(int, virtq_pop(&rig.vq, &rig.c, rig.iov, 1), -EPROTO));
	cr_assert(rig.vq.broken);
}

/* ----------------------------------------------------------------- wrapping */

/* Passes @n single-buffer chains through; driver and device in lock step. */
static void pump(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t head = add_out(4), got;
		uint32_t len;

		cr_assert(eq(int, pop(), 1));
		virtq_push(&rig.vq, rig.c.head, i);
		(void)virtq_signal(&rig.vq);
		cr_assert(guest_ring_reap(&rig.r, &got, &len));
		cr_assert(got == head && len == i);
	}
}

Test(virtq, indexes_wrap_at_65536)
{
	pump(65536 + 2 * SIZE + 3);
	cr_assert(eq(u16, rig.r.used->idx, 2 * SIZE + 3));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 2 * SIZE + 3));
}

Test(virtq, full_ring_across_the_wrap_is_legal)
{
	uint16_t base = 65536 - SIZE / 2;

	(void)virtq_stop(&rig.vq);
	rig.r.avail_idx = base;
	rig.r.last_used = base;
	rig.r.avail->idx = base;
	rig.r.used->idx = base;
	virtq_start(&rig.vq, base, false, true);
	for (int i = 0; i < SIZE; i++)
		(void)add_out(4);
	for (int i = 0; i < SIZE; i++) {
		cr_assert(eq(int, pop(), 1));
		virtq_push(&rig.vq, rig.c.head, 0);
	}
	cr_assert(zero(int, pop()));
	cr_assert(eq(u16, rig.r.used->idx, SIZE / 2));
}

Test(virtq_size_1, works, .fini = virtq_test_teardown, .timeout = 120)
{
	virtq_test_begin(1, false, true);
	pump(70000);
}

Test(virtq_size_max, works, .fini = virtq_test_teardown, .timeout = 120)
{
	virtq_test_begin(VIRTQ_MAX_SIZE, true, true);
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++)
		(void)add_out(4);
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		cr_assert(eq(int, pop(), 1));
		virtq_push(&rig.vq, rig.c.head, 0);
	}
	cr_assert(zero(int, pop()));
}
