/* SPDX-License-Identifier: BSD-3-Clause */
/* What a hostile driver puts into a split ring, and what breaks it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/virtq_rig.h"
#include "vmm/base/fd.h"

TestSuite(virtq, .init = virtq_test_setup, .fini = virtq_test_teardown,
	  .timeout = 120);

Test(virtq, descriptor_loop)
{
	guest_ring_desc(&rig.r, 0, rig.buf, 4, VRING_DESC_F_NEXT, 1);
	guest_ring_desc(&rig.r, 1, rig.buf, 4, VRING_DESC_F_NEXT, 0);
	guest_ring_avail(&rig.r, 0);
	assert_broken();
}

Test(virtq, chain_of_exactly_the_ring_size_is_legal)
{
	struct guest_buf b[SIZE];

	for (int i = 0; i < SIZE; i++)
		b[i] = (struct guest_buf){ rig.buf, 4, false };
	(void)guest_ring_add(&rig.r, b, SIZE);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, SIZE));
}

Test(virtq, head_beyond_the_table)
{
	guest_ring_avail(&rig.r, SIZE);
	assert_broken();
}

Test(virtq, head_of_all_ones)
{
	guest_ring_avail(&rig.r, 0xffff);
	assert_broken();
}

Test(virtq, next_beyond_the_table)
{
	guest_ring_desc(&rig.r, 0, rig.buf, 4, VRING_DESC_F_NEXT, SIZE);
	guest_ring_avail(&rig.r, 0);
	assert_broken();
}

Test(virtq, address_plus_length_wraps)
{
	guest_ring_desc(&rig.r, 0, UINT64_MAX - 7, 4096, 0, 0);
	guest_ring_avail(&rig.r, 0);
	assert_broken();
}

Test(virtq, buffer_outside_memory)
{
	guest_ring_desc(&rig.r, 0, RAM_END, 4, 0, 0);
	guest_ring_avail(&rig.r, 0);
	assert_broken();
}

Test(virtq, buffer_into_a_hole)
{
	struct gmem_region more = { .gpa = RAM_END + 4096,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };

	cr_assert(zero(int, gmem_add(&rig.g.gm, &more)));
	guest_ring_desc(&rig.r, 0, RAM_END - 4096, 3 * 4096, 0, 0);
	guest_ring_avail(&rig.r, 0);
	assert_broken();
}

Test(virtq, sum_of_lengths_beyond_32_bits)
{
	/* 1024 times the whole memory of 4 MiB is 4 GiB. */
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ GUEST_RAM_GPA, RAM, true };
	(void)guest_ring_add_indirect(&rig.r, b, VIRTQ_MAX_CHAIN);
	assert_broken();
}

Test(virtq, sum_of_lengths_just_below_32_bits_is_legal)
{
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ GUEST_RAM_GPA, RAM - (i == 0),
					   true };
	(void)guest_ring_add_indirect(&rig.r, b, VIRTQ_MAX_CHAIN);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u64, rig.c.len_in, UINT32_MAX));
}

Test(virtq, writable_before_readable)
{
	const struct guest_buf b[] = { { rig.buf, 8, true },
				       { rig.buf, 8, false } };

	(void)guest_ring_add(&rig.r, b, 2);
	assert_broken();
}

Test(virtq, available_index_too_far_ahead)
{
	(void)add_out(4);
	rig.r.avail->idx = SIZE + 1;
	assert_broken();
}

Test(virtq, available_index_decremented)
{
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	virtq_push(&rig.vq, rig.c.head, 0);
	rig.r.avail->idx = 0;
	/* Looks like 65535 ahead. */
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(rig.vq.broken);
}

Test(virtq, head_available_twice_while_in_flight)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	guest_ring_avail(&rig.r, head);
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(rig.vq.broken);
	cr_assert(eq(u64, fd_event_drain(rig.r.err_fd), 1));
	/* Still in flight with the owner: neither push nor stop may fail. */
	virtq_push(&rig.vq, head, 4);
	cr_assert(zero(u16, rig.r.used->idx));
	(void)virtq_stop(&rig.vq);
}

Test(virtq, head_is_free_again_after_push)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	virtq_push(&rig.vq, rig.c.head, 0);
	guest_ring_avail(&rig.r, head);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.head, head));
}

Test(virtq, descriptor_changed_after_fetch_changes_nothing)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	guest_ring_desc(&rig.r, head, UINT64_MAX, UINT32_MAX, 0xffff, 0xffff);
	cr_assert(eq(u64, rig.c.len_out, 4));
	cr_assert(eq(sz, rig.iov[0].iov_len, 4));
	virtq_push(&rig.vq, rig.c.head, 0);
	cr_assert(eq(u32, rig.r.used->ring[0].id, head));
}

Test(virtq, garbage_in_flags_is_at_most_an_interrupt)
{
	(void)add_out(4);
	rig.r.avail->flags = 0xfffe;
	cr_assert(eq(int, pop(), 1));
	virtq_push(&rig.vq, rig.c.head, 0);
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(not(rig.vq.broken));
}

Test(virtq, ring_areas_that_overlap_are_memory_safe)
{
	struct virtq q;

	virtq_init(&q);
	cr_assert(zero(int, virtq_setup(&q, &rig.g.gm, SIZE, rig.r.desc_gpa,
					rig.r.desc_gpa, rig.r.desc_gpa)));
	virtq_start(&q, 0, true, true);
	for (uint16_t i = 0; i < 1000 && !q.broken; i++) {
		int e;

		*(volatile uint16_t *)&((uint16_t *)(void *)rig.r.desc)[1] = i;
		e = virtq_pop(&q, &rig.c, rig.iov, VIRTQ_MAX_CHAIN);
		if (e == 1)
			virtq_push(&q, rig.c.head, i);
		(void)virtq_signal(&q);
		if (virtq_enable_kick(&q))
			virtq_disable_kick(&q);
	}
	virtq_finish(&q);
}

Test(virtq, ring_page_that_reads_as_zeros_is_not_fatal)
{
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	memset(rig.r.desc, 0, SIZE * 16);
	memset(rig.r.avail, 0, 4 + 2 * SIZE);
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(rig.vq.broken);
}

Test(virtq, break_reports_only_once)
{
	virtq_break(&rig.vq, "test");
	virtq_break(&rig.vq, "test");
	cr_assert(eq(u64, fd_event_drain(rig.r.err_fd), 1));
}

Test(virtq, break_without_an_err_fd_is_fine)
{
	fd_close(&rig.vq.err_fd);
	virtq_break(&rig.vq, "test");
	cr_assert(rig.vq.broken);
}

Test(virtq, start_mends_a_broken_ring)
{
	virtq_break(&rig.vq, "test");
	(void)virtq_stop(&rig.vq);
	virtq_start(&rig.vq, 0, false, true);
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
}
