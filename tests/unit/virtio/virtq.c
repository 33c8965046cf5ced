/* SPDX-License-Identifier: BSD-3-Clause */
/* Split ring against a simulated driver, well behaved and hostile. */
#define _GNU_SOURCE
#include "virtio/virtq.h"
#include "virtio/turn.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "vmm/base/fd.h"

#define SIZE	8
#define RAM	(4U << 20)
#define RAM_END (GUEST_RAM_GPA + RAM)

static struct guest g;
static struct guest_ring r;
static struct virtq vq;
static struct virtio_regpage page;
static struct iovec iov[VIRTQ_MAX_CHAIN];
static struct virtq_chain c;
static uint64_t buf; /* 64 KiB of guest memory */

static void begin(uint16_t size, bool event_idx, bool indirect)
{
	guest_init(&g, RAM);
	guest_ring_init(&r, &g, size);
	buf = guest_alloc(&g, 65536, 4096);
	virtq_init(&vq);
	cr_assert(zero(int, virtq_setup(&vq, &g.gm, size, r.desc_gpa,
					r.avail_gpa, r.used_gpa)));
	vq.call_fd = dup(r.call_fd);
	vq.err_fd = dup(r.err_fd);
	vq.page = &page;
	virtq_start(&vq, 0, event_idx, indirect);
}

static void setup(void)
{
	begin(SIZE, false, true);
}

static void setup_event_idx(void)
{
	begin(SIZE, true, true);
}

static void teardown(void)
{
	virtq_finish(&vq);
	guest_ring_finish(&r);
	guest_finish(&g);
}

TestSuite(virtq, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(virtq_event, .init = setup_event_idx, .fini = teardown,
	  .timeout = 120);

static int pop(void)
{
	return virtq_pop(&vq, &c, iov, VIRTQ_MAX_CHAIN);
}

/* The ring must be broken, say so once and stay so without harm. */
static void assert_broken(void)
{
	uint16_t used = r.used->idx;

	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(vq.broken);
	cr_assert(eq(u64, fd_event_drain(r.err_fd), 1));
	cr_assert(eq(int, pop(), -EPROTO));
	virtq_push(&vq, 0, 1);
	virtq_fill(&vq, 0, 1, 0);
	virtq_flush(&vq, 1);
	virtq_unpop(&vq, &used, 1);
	virtq_disable_kick(&vq);
	cr_assert(not(virtq_signal(&vq)));
	cr_assert(not(virtq_enable_kick(&vq)));
	cr_assert(not(virtq_has_work(&vq)));
	cr_assert(eq(u16, r.used->idx, used));
	cr_assert(zero(u16, r.used->flags));
	cr_assert(zero(u64, fd_event_drain(r.err_fd)));
	cr_assert(zero(u64, fd_event_drain(r.call_fd)));
}

static uint16_t add_out(uint32_t len)
{
	return guest_ring_add(&r, &(struct guest_buf){ buf, len, false }, 1);
}

/* ------------------------------------------------------------------ setup */

Test(virtq, setup_refuses_bad_sizes)
{
	static const uint16_t sizes[] = { 0, 3, 7, 1023, 2048, 32768, 65535 };
	struct virtq q;

	virtq_init(&q);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		cr_assert(eq(int,
			     virtq_setup(&q, &g.gm, sizes[i], r.desc_gpa,
					 r.avail_gpa, r.used_gpa),
			     -EINVAL),
			  "size %u", sizes[i]);
	cr_assert(zero(u16, q.size));
}

Test(virtq, setup_refuses_misaligned_areas)
{
	struct virtq q;

	virtq_init(&q);
	cr_assert(eq(int,
		     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa + 8, r.avail_gpa,
				 r.used_gpa),
		     -EINVAL));
	cr_assert(eq(int,
		     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, r.avail_gpa + 1,
				 r.used_gpa),
		     -EINVAL));
	cr_assert(eq(int,
		     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, r.avail_gpa,
				 r.used_gpa + 2),
		     -EINVAL));
	cr_assert(eq(int,
		     virtq_setup_hva(&q, &g.gm, SIZE, (char *)r.desc + 2,
				     r.avail, r.used),
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
			     virtq_setup(&q, &g.gm, SIZE, bad[i], r.avail_gpa,
					 r.used_gpa),
			     -EFAULT));
		cr_assert(eq(int,
			     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, bad[i],
					 r.used_gpa),
			     -EFAULT));
		cr_assert(eq(int,
			     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa,
					 r.avail_gpa, bad[i]),
			     -EFAULT));
	}
}

Test(virtq, setup_counts_the_event_fields_behind_the_rings)
{
	struct virtq q;

	virtq_init(&q);
	/* 4 + 2 * 8 + 2 and 4 + 8 * 8 + 2 bytes must fit. */
	cr_assert(zero(int, virtq_setup(&q, &g.gm, SIZE, r.desc_gpa,
					RAM_END - 22, r.used_gpa)));
	cr_assert(eq(int,
		     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, RAM_END - 20,
				 r.used_gpa),
		     -EFAULT));
	cr_assert(eq(int,
		     virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, r.avail_gpa,
				 RAM_END - 68),
		     -EFAULT));
}

Test(virtq, finish_closes_the_fds)
{
	int call = vq.call_fd;

	virtq_finish(NULL);
	virtq_finish(&vq);
	cr_assert(eq(int, vq.call_fd, -1));
	cr_assert(zero(u16, vq.size));
	cr_assert(lt(int, close(call), 0));
}

/* ------------------------------------------------------------------ chains */

Test(virtq, pop_returns_0_on_an_empty_ring)
{
	cr_assert(zero(int, pop()));
	cr_assert(not(virtq_has_work(&vq)));
}

Test(virtq, pop_returns_0_when_stopped)
{
	(void)add_out(4);
	cr_assert(zero(u16, virtq_stop(&vq)));
	cr_assert(zero(int, pop()));
	cr_assert(not(virtq_has_work(&vq)));
}

Test(virtq, pop_takes_readable_then_writable_buffers)
{
	const struct guest_buf b[] = { { buf, 16, false },
				       { buf + 4096, 512, false },
				       { buf + 8192, 1024, true },
				       { buf + 16384, 1, true } };
	uint16_t head = guest_ring_add(&r, b, 4);

	cr_assert(virtq_has_work(&vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.head, head));
	cr_assert(eq(u16, c.nr_out, 2));
	cr_assert(eq(u16, c.nr_in, 2));
	cr_assert(eq(u64, c.len_out, 528));
	cr_assert(eq(u64, c.len_in, 1025));
	cr_assert(eq(ptr, c.iov, iov));
	cr_assert(eq(ptr, iov[2].iov_base,
		     g.gm.regions[0].hva + (buf + 8192 - GUEST_RAM_GPA)));
	cr_assert(eq(sz, iov[3].iov_len, 1));
	cr_assert(eq(u16, vq.in_flight, 1));
	cr_assert(zero(int, pop()));
}

Test(virtq, push_writes_the_used_entry)
{
	uint16_t head = add_out(4), got;
	uint32_t len;

	cr_assert(eq(int, pop(), 1));
	virtq_push(&vq, c.head, 77);
	cr_assert(guest_ring_reap(&r, &got, &len));
	cr_assert(eq(u16, got, head));
	cr_assert(eq(u32, len, 77));
	cr_assert(zero(u16, vq.in_flight));
}

Test(virtq, fill_is_invisible_until_flush)
{
	uint16_t heads[3], got;
	uint32_t len;

	for (int i = 0; i < 3; i++) {
		(void)add_out(4);
		cr_assert(eq(int, pop(), 1));
		heads[i] = c.head;
	}
	for (uint16_t i = 0; i < 3; i++)
		virtq_fill(&vq, heads[i], 100U + i, i);
	cr_assert(not(guest_ring_reap(&r, &got, &len)));
	virtq_flush(&vq, 3);
	for (uint16_t i = 0; i < 3; i++) {
		cr_assert(guest_ring_reap(&r, &got, &len));
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
		heads[i] = c.head;
	}
	virtq_unpop(&vq, heads + 1, 2);
	virtq_push(&vq, heads[0], 0);
	cr_assert(zero(u16, vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&vq), 1));
	cr_assert(eq(u16, r.used->idx, 1));
	virtq_start(&vq, 1, false, true);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.head, heads[1]));
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.head, heads[2]));
}

/* Takes three chains and answers the second and the third. */
static uint16_t hold_one(void)
{
	const struct guest_buf b = { buf, 64, true };
	uint16_t heads[3];

	for (int i = 0; i < 3; i++) {
		(void)guest_ring_add(&r, &b, 1);
		cr_assert(eq(int, pop(), 1));
		heads[i] = c.head;
	}
	virtq_push(&vq, heads[1], 1);
	virtq_push(&vq, heads[2], 1);
	virtq_hold(&vq, 1);
	return heads[0];
}

static int refetch(uint16_t head)
{
	return virtq_refetch(&vq, head, &c, iov, VIRTQ_MAX_CHAIN);
}

Test(virtq, chain_held_over_a_stop_is_answered_after_it)
{
	uint16_t head = hold_one();

	cr_assert(eq(u16, virtq_stop(&vq), 3));
	cr_assert(eq(int, refetch(head), -EPROTO));
	virtq_start(&vq, 3, false, true);
	cr_assert(eq(u16, vq.in_flight, 1));
	cr_assert(zero(int, pop()));
	cr_assert(eq(int, refetch(head), 1));
	cr_assert(eq(u64, c.len_in, 64));
	cr_assert(eq(ptr, c.iov[0].iov_base,
		     g.gm.regions[0].hva + (buf - GUEST_RAM_GPA)));
	virtq_push(&vq, head, 5);
	cr_assert(eq(u16, r.used->idx, 3));
	cr_assert(eq(u16, virtq_stop(&vq), 3));
}

Test(virtq, chain_held_is_forgotten_by_another_start)
{
	(void)hold_one();
	cr_assert(eq(u16, virtq_stop(&vq), 3));
	virtq_start(&vq, 2, false, true);
	cr_assert(zero(u16, vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&vq), 2));
}

/* A reset ring that starts at the same index by chance has used nothing. */
Test(virtq, chain_held_is_forgotten_when_the_used_index_is_another)
{
	(void)hold_one();
	cr_assert(eq(u16, virtq_stop(&vq), 3));
	r.used->idx = 3;
	virtq_start(&vq, 3, false, true);
	cr_assert(zero(u16, vq.in_flight));
	cr_assert(eq(u16, virtq_stop(&vq), 3));
}

Test(virtq, chain_held_is_forgotten_with_another_size)
{
	(void)hold_one();
	(void)virtq_stop(&vq);
	cr_assert(zero(int, virtq_setup(&vq, &g.gm, SIZE / 2, r.desc_gpa,
					r.avail_gpa, r.used_gpa)));
	virtq_start(&vq, 3, false, true);
	cr_assert(zero(u16, vq.in_flight));
}

Test(virtq, head_of_a_held_chain_is_still_in_flight)
{
	uint16_t head = hold_one();

	(void)virtq_stop(&vq);
	virtq_start(&vq, 3, false, true);
	guest_ring_avail(&r, head);
	assert_broken();
}

Test(virtq, held_chain_rewritten_meanwhile_is_checked_again)
{
	uint16_t head = hold_one();

	(void)virtq_stop(&vq);
	virtq_start(&vq, 3, false, true);
	guest_ring_desc(&r, head, RAM_END, 64, VRING_DESC_F_WRITE, 0);
	cr_assert(eq(int, refetch(head), -EPROTO));
	assert_broken();
}

Test(virtq, stop_with_chains_in_flight_is_our_bug, .signal = SIGABRT)
{
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	(void)virtq_stop(&vq);
}

Test(virtq, zero_length_descriptor_is_skipped)
{
	const struct guest_buf b[] = { { buf, 0, false },
				       { buf, 8, false },
				       { 0, 0, false },
				       { buf + 64, 8, true },
				       { UINT64_MAX, 0, true } };

	(void)guest_ring_add(&r, b, 5);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, 1));
	cr_assert(eq(u16, c.nr_in, 1));
}

Test(virtq, buffer_may_span_adjacent_regions)
{
	struct gmem_region more = { .gpa = RAM_END,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };

	cr_assert(zero(int, gmem_add(&g.gm, &more)));
	(void)guest_ring_add(
		&r, &(struct guest_buf){ RAM_END - 100, 300, true }, 1);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_in, 2));
	cr_assert(eq(u64, c.len_in, 300));
	cr_assert(eq(sz, iov[0].iov_len, 100));
	cr_assert(eq(ptr, iov[1].iov_base, g.gm.regions[1].hva));
}

Test(virtq, chain_beyond_the_callers_iov_is_taken_and_told)
{
	const struct guest_buf b[] = { { buf, 8, false },
				       { buf, 8, false },
				       { buf, 8, true } };
	uint16_t head = guest_ring_add(&r, b, 3), got;
	uint32_t len;

	cr_assert(eq(int, virtq_pop(&vq, &c, iov, 2), -ENOBUFS));
	cr_assert(eq(u16, c.head, head));
	cr_assert(eq(u16, vq.in_flight, 1));
	cr_assert(not(vq.broken));
	virtq_push(&vq, c.head, 0);
	cr_assert(guest_ring_reap(&r, &got, &len));
}

Test(virtq, chain_beyond_the_callers_iov_is_still_checked)
{
	const struct guest_buf b[] = { { buf, 8, false },
				       { buf, 8, false },
				       { 16, 8, true } };

	(void)guest_ring_add(&r, b, 3);
	cr_assert(eq(int, virtq_pop(&vq, &c, iov, 1), -EPROTO));
	cr_assert(vq.broken);
}

/* ---------------------------------------------------------------- indirect */

Test(virtq, indirect_chain_may_exceed_the_ring_size)
{
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ buf + 16 * i, 16, i >= 512 };
	(void)guest_ring_add_indirect(&r, b, VIRTQ_MAX_CHAIN);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, 512));
	cr_assert(eq(u16, c.nr_in, 512));
}

Test(virtq, direct_descriptors_may_precede_one_indirect)
{
	const struct guest_buf b[] = { { buf, 8, false }, { buf, 16, true } };
	uint16_t head = guest_ring_add_indirect(&r, b, 2);

	/* Undo its availability; put two direct ones before it. */
	r.avail_idx--;
	guest_ring_desc(&r, 5, buf, 4, VRING_DESC_F_NEXT, 6);
	guest_ring_desc(&r, 6, buf, 4, VRING_DESC_F_NEXT, head);
	r.avail->ring[0] = 5;
	r.avail->idx = 1;
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, 3));
	cr_assert(eq(u16, c.nr_in, 1));
	cr_assert(eq(u64, c.len_out, 16));
}

Test(virtq, write_flag_on_the_outer_indirect_descriptor_is_ignored)
{
	const struct guest_buf b[] = { { buf, 8, false }, { buf, 16, true } };
	uint16_t head = guest_ring_add_indirect(&r, b, 2);

	r.desc[head].flags |= VRING_DESC_F_WRITE;
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, 1));
	cr_assert(eq(u16, c.nr_in, 1));
}

/* Makes an indirect chain of one buffer; the test then spoils it. */
static struct vring_desc *one_indirect(uint16_t *head)
{
	const struct guest_buf b = { buf, 8, false };

	*head = guest_ring_add_indirect(&r, &b, 1);
	return guest_ptr(&g, r.desc[*head].addr);
}

Test(virtq, indirect_table_may_span_adjacent_regions)
{
	struct gmem_region more = { .gpa = RAM_END,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };
	struct vring_desc d[2] = {
		{ buf, 8, VRING_DESC_F_NEXT, 1 },
		{ buf + 64, 8, VRING_DESC_F_WRITE, 0 },
	};

	cr_assert(zero(int, gmem_add(&g.gm, &more)));
	/* The first descriptor straddles the border. */
	memcpy(g.ram + RAM - 8, d, 8);
	memcpy(g.gm.regions[1].hva, (uint8_t *)d + 8, sizeof(d) - 8);
	guest_ring_desc(&r, 0, RAM_END - 8, sizeof(d), VRING_DESC_F_INDIRECT,
			0);
	guest_ring_avail(&r, 0);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, 1));
	cr_assert(eq(u16, c.nr_in, 1));
}

Test(virtq, indirect_inside_an_indirect_table)
{
	uint16_t head;

	one_indirect(&head)->flags = VRING_DESC_F_INDIRECT;
	assert_broken();
}

Test(virtq, indirect_together_with_next)
{
	uint16_t head;

	(void)one_indirect(&head);
	r.desc[head].flags |= VRING_DESC_F_NEXT;
	assert_broken();
}

Test(virtq, indirect_without_the_feature)
{
	uint16_t head;

	(void)virtq_stop(&vq);
	virtq_start(&vq, 0, false, false);
	(void)one_indirect(&head);
	assert_broken();
}

Test(virtq, indirect_table_of_length_0)
{
	uint16_t head;

	(void)one_indirect(&head);
	r.desc[head].len = 0;
	assert_broken();
}

Test(virtq, indirect_table_not_a_multiple_of_16)
{
	uint16_t head;

	(void)one_indirect(&head);
	r.desc[head].len = 24;
	assert_broken();
}

Test(virtq, indirect_table_of_4_gib)
{
	uint16_t head;

	(void)one_indirect(&head);
	r.desc[head].len = 0xfffffff0U;
	assert_broken();
}

Test(virtq, indirect_table_one_entry_too_long)
{
	uint16_t head;

	(void)one_indirect(&head);
	r.desc[head].len = (VIRTQ_MAX_CHAIN + 1) * 16;
	assert_broken();
}

Test(virtq, indirect_table_partly_outside_memory)
{
	guest_ring_desc(&r, 0, RAM_END - 16, 32, VRING_DESC_F_INDIRECT, 0);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, indirect_next_beyond_its_table)
{
	uint16_t head;
	struct vring_desc *d = one_indirect(&head);

	d->flags = VRING_DESC_F_NEXT;
	d->next = 1;
	assert_broken();
}

Test(virtq, loop_in_an_indirect_table)
{
	uint16_t head;
	struct vring_desc *d = one_indirect(&head);

	d->flags = VRING_DESC_F_NEXT;
	d->next = 0;
	assert_broken();
}

Test(virtq, direct_and_indirect_beyond_the_cap)
{
	static struct guest_buf b[VIRTQ_MAX_CHAIN];
	uint16_t head;

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ buf, 16, false };
	head = guest_ring_add_indirect(&r, b, VIRTQ_MAX_CHAIN);
	guest_ring_desc(&r, 5, buf, 4, VRING_DESC_F_NEXT, head);
	r.avail->ring[0] = 5;
	assert_broken();
}

/* ------------------------------------------------------------ hostile, direct
 */

Test(virtq, descriptor_loop)
{
	guest_ring_desc(&r, 0, buf, 4, VRING_DESC_F_NEXT, 1);
	guest_ring_desc(&r, 1, buf, 4, VRING_DESC_F_NEXT, 0);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, chain_of_exactly_the_ring_size_is_legal)
{
	struct guest_buf b[SIZE];

	for (int i = 0; i < SIZE; i++)
		b[i] = (struct guest_buf){ buf, 4, false };
	(void)guest_ring_add(&r, b, SIZE);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.nr_out, SIZE));
}

Test(virtq, head_beyond_the_table)
{
	guest_ring_avail(&r, SIZE);
	assert_broken();
}

Test(virtq, head_of_all_ones)
{
	guest_ring_avail(&r, 0xffff);
	assert_broken();
}

Test(virtq, next_beyond_the_table)
{
	guest_ring_desc(&r, 0, buf, 4, VRING_DESC_F_NEXT, SIZE);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, address_plus_length_wraps)
{
	guest_ring_desc(&r, 0, UINT64_MAX - 7, 4096, 0, 0);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, buffer_outside_memory)
{
	guest_ring_desc(&r, 0, RAM_END, 4, 0, 0);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, buffer_into_a_hole)
{
	struct gmem_region more = { .gpa = RAM_END + 4096,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };

	cr_assert(zero(int, gmem_add(&g.gm, &more)));
	guest_ring_desc(&r, 0, RAM_END - 4096, 3 * 4096, 0, 0);
	guest_ring_avail(&r, 0);
	assert_broken();
}

Test(virtq, sum_of_lengths_beyond_32_bits)
{
	/* 1024 times the whole memory of 4 MiB is 4 GiB. */
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ GUEST_RAM_GPA, RAM, true };
	(void)guest_ring_add_indirect(&r, b, VIRTQ_MAX_CHAIN);
	assert_broken();
}

Test(virtq, sum_of_lengths_just_below_32_bits_is_legal)
{
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ GUEST_RAM_GPA, RAM - (i == 0),
					   true };
	(void)guest_ring_add_indirect(&r, b, VIRTQ_MAX_CHAIN);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u64, c.len_in, UINT32_MAX));
}

Test(virtq, writable_before_readable)
{
	const struct guest_buf b[] = { { buf, 8, true }, { buf, 8, false } };

	(void)guest_ring_add(&r, b, 2);
	assert_broken();
}

Test(virtq, available_index_too_far_ahead)
{
	(void)add_out(4);
	r.avail->idx = SIZE + 1;
	assert_broken();
}

Test(virtq, available_index_decremented)
{
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	virtq_push(&vq, c.head, 0);
	r.avail->idx = 0;
	/* Looks like 65535 ahead. */
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(vq.broken);
}

Test(virtq, head_available_twice_while_in_flight)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	guest_ring_avail(&r, head);
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(vq.broken);
	cr_assert(eq(u64, fd_event_drain(r.err_fd), 1));
	/* Still in flight with the owner: neither push nor stop may fail. */
	virtq_push(&vq, head, 4);
	cr_assert(zero(u16, r.used->idx));
	(void)virtq_stop(&vq);
}

Test(virtq, head_is_free_again_after_push)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	virtq_push(&vq, c.head, 0);
	guest_ring_avail(&r, head);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, c.head, head));
}

Test(virtq, descriptor_changed_after_fetch_changes_nothing)
{
	uint16_t head = add_out(4);

	cr_assert(eq(int, pop(), 1));
	guest_ring_desc(&r, head, UINT64_MAX, UINT32_MAX, 0xffff, 0xffff);
	cr_assert(eq(u64, c.len_out, 4));
	cr_assert(eq(sz, iov[0].iov_len, 4));
	virtq_push(&vq, c.head, 0);
	cr_assert(eq(u32, r.used->ring[0].id, head));
}

Test(virtq, garbage_in_flags_is_at_most_an_interrupt)
{
	(void)add_out(4);
	r.avail->flags = 0xfffe;
	cr_assert(eq(int, pop(), 1));
	virtq_push(&vq, c.head, 0);
	cr_assert(virtq_signal(&vq));
	cr_assert(not(vq.broken));
}

Test(virtq, ring_areas_that_overlap_are_memory_safe)
{
	struct virtq q;

	virtq_init(&q);
	cr_assert(zero(int, virtq_setup(&q, &g.gm, SIZE, r.desc_gpa, r.desc_gpa,
					r.desc_gpa)));
	virtq_start(&q, 0, true, true);
	for (uint16_t i = 0; i < 1000 && !q.broken; i++) {
		int e;

		*(volatile uint16_t *)&((uint16_t *)(void *)r.desc)[1] = i;
		e = virtq_pop(&q, &c, iov, VIRTQ_MAX_CHAIN);
		if (e == 1)
			virtq_push(&q, c.head, i);
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
	memset(r.desc, 0, SIZE * 16);
	memset(r.avail, 0, 4 + 2 * SIZE);
	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(vq.broken);
}

Test(virtq, break_reports_only_once)
{
	virtq_break(&vq, "test");
	virtq_break(&vq, "test");
	cr_assert(eq(u64, fd_event_drain(r.err_fd), 1));
}

Test(virtq, break_without_an_err_fd_is_fine)
{
	fd_close(&vq.err_fd);
	virtq_break(&vq, "test");
	cr_assert(vq.broken);
}

Test(virtq, start_mends_a_broken_ring)
{
	virtq_break(&vq, "test");
	(void)virtq_stop(&vq);
	virtq_start(&vq, 0, false, true);
	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
}

/* ----------------------------------------------------------------- wrapping */

/* Passes @n single-buffer chains through; driver and device in lock step. */
static void pump(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t head = add_out(4), got;
		uint32_t len;

		cr_assert(eq(int, pop(), 1));
		virtq_push(&vq, c.head, i);
		(void)virtq_signal(&vq);
		cr_assert(guest_ring_reap(&r, &got, &len));
		cr_assert(got == head && len == i);
	}
}

Test(virtq, indexes_wrap_at_65536)
{
	pump(65536 + 2 * SIZE + 3);
	cr_assert(eq(u16, r.used->idx, 2 * SIZE + 3));
	cr_assert(eq(u16, virtq_stop(&vq), 2 * SIZE + 3));
}

Test(virtq, full_ring_across_the_wrap_is_legal)
{
	uint16_t base = 65536 - SIZE / 2;

	(void)virtq_stop(&vq);
	r.avail_idx = base;
	r.last_used = base;
	r.avail->idx = base;
	r.used->idx = base;
	virtq_start(&vq, base, false, true);
	for (int i = 0; i < SIZE; i++)
		(void)add_out(4);
	for (int i = 0; i < SIZE; i++) {
		cr_assert(eq(int, pop(), 1));
		virtq_push(&vq, c.head, 0);
	}
	cr_assert(zero(int, pop()));
	cr_assert(eq(u16, r.used->idx, SIZE / 2));
}

Test(virtq_size_1, works, .fini = teardown, .timeout = 120)
{
	begin(1, false, true);
	pump(70000);
}

Test(virtq_size_max, works, .fini = teardown, .timeout = 120)
{
	begin(VIRTQ_MAX_SIZE, true, true);
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++)
		(void)add_out(4);
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		cr_assert(eq(int, pop(), 1));
		virtq_push(&vq, c.head, 0);
	}
	cr_assert(zero(int, pop()));
}

/* ---------------------------------------------------------------- interrupts
 */

static void use_one(void)
{
	uint16_t got;
	uint32_t len;

	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	virtq_push(&vq, c.head, 0);
	cr_assert(guest_ring_reap(&r, &got, &len));
}

static uint32_t isr(void)
{
	uint32_t v;

	memcpy(&v, page.bytes + VIRTIO_MMIO_INTERRUPT_STATUS, sizeof(v));
	return v;
}

Test(virtq, signal_raises_the_status_bit_and_the_call_eventfd)
{
	regpage_ack(&page, ~0U);
	use_one();
	cr_assert(virtq_signal(&vq));
	cr_assert(eq(u32, isr(), VIRTIO_MMIO_INT_VRING));
	cr_assert(eq(u64, fd_event_drain(r.call_fd), 1));
	/* Also when the bit is set already. */
	use_one();
	cr_assert(virtq_signal(&vq));
	cr_assert(eq(u64, fd_event_drain(r.call_fd), 1));
}

Test(virtq, signal_of_a_relayed_ring_writes_the_call_eventfd_only)
{
	regpage_ack(&page, ~0U);
	vq.page = NULL;
	use_one();
	cr_assert(virtq_signal(&vq));
	cr_assert(zero(u32, isr()));
	cr_assert(eq(u64, fd_event_drain(r.call_fd), 1));
}

Test(virtq, signal_without_anything_used_is_silent)
{
	cr_assert(not(virtq_signal(&vq)));
	use_one();
	cr_assert(virtq_signal(&vq));
	cr_assert(not(virtq_signal(&vq)));
	cr_assert(eq(u64, fd_event_drain(r.call_fd), 1));
}

Test(virtq, signal_without_a_call_fd_is_fine)
{
	fd_close(&vq.call_fd);
	use_one();
	cr_assert(virtq_signal(&vq));
}

Test(virtq, signal_honours_no_interrupt_and_ignores_used_event)
{
	r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	r.avail->ring[SIZE] = 0;
	use_one();
	cr_assert(not(virtq_signal(&vq)));
	r.avail->flags = 0;
	r.avail->ring[SIZE] = 1000;
	use_one();
	cr_assert(virtq_signal(&vq));
}

Test(virtq_event, signal_honours_used_event_and_ignores_flags)
{
	r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	r.avail->ring[SIZE] = 0;
	use_one();
	cr_assert(virtq_signal(&vq));
	/* The driver wants to hear of the fourth. */
	r.avail->ring[SIZE] = 3;
	use_one();
	cr_assert(not(virtq_signal(&vq)));
	use_one();
	cr_assert(not(virtq_signal(&vq)));
	use_one();
	cr_assert(virtq_signal(&vq));
	use_one();
	cr_assert(not(virtq_signal(&vq)));
}

Test(virtq_event, signal_counts_the_whole_batch)
{
	use_one();
	(void)virtq_signal(&vq);
	r.avail->ring[SIZE] = 2;
	for (int i = 0; i < 4; i++)
		use_one();
	cr_assert(virtq_signal(&vq));
}

Test(virtq_event, signal_is_right_across_the_wrap)
{
	unsigned int raised = 0;

	/* The driver asks for every one. */
	for (unsigned int i = 0; i < 65536 + 100; i++) {
		r.avail->ring[SIZE] = r.last_used;
		use_one();
		raised += virtq_signal(&vq);
	}
	cr_assert(eq(uint, raised, 65536 + 100));
	/* One, 50 ahead. */
	raised = 0;
	r.avail->ring[SIZE] = (uint16_t)(r.last_used + 49);
	for (unsigned int i = 0; i < 65536; i++) {
		use_one();
		raised += virtq_signal(&vq);
	}
	cr_assert(eq(uint, raised, 1));
}

/* As another process would go on with the ring. */
static void begin_anew(uint16_t base, bool event_idx)
{
	virtq_finish(&vq);
	cr_assert(zero(int, virtq_setup(&vq, &g.gm, SIZE, r.desc_gpa,
					r.avail_gpa, r.used_gpa)));
	vq.call_fd = dup(r.call_fd);
	vq.page = &page;
	virtq_start(&vq, base, event_idx, true);
}

Test(virtq_event, a_used_event_far_ahead_is_silent_on_a_ring_just_started)
{
	r.avail->ring[SIZE] = 500;
	use_one();
	cr_assert(not(virtq_signal(&vq)), "never used before");
	cr_assert(eq(u16, virtq_stop(&vq), 1));
	virtq_start(&vq, 1, true, true);
	use_one();
	cr_assert(not(virtq_signal(&vq)), "stopped and started");
	cr_assert(eq(u16, virtq_stop(&vq), 2));
	begin_anew(2, true);
	use_one();
	cr_assert(not(virtq_signal(&vq)), "another process");
	r.avail->ring[SIZE] = 3;
	use_one();
	cr_assert(virtq_signal(&vq));
}

Test(virtq_event, a_start_says_nothing_again_of_what_was_told)
{
	use_one();
	cr_assert(virtq_signal(&vq));
	cr_assert(eq(u16, virtq_stop(&vq), 1));
	virtq_start(&vq, 1, true, true);
	use_one();
	/* used_event is still 0. */
	cr_assert(not(virtq_signal(&vq)));
}

/* The process that used the entry did not live to say so. */
Test(virtq_event, what_nobody_may_have_been_told_of_is_told_after_a_start)
{
	use_one();
	begin_anew(1, true);
	cr_assert(virtq_signal(&vq));
	cr_assert(not(virtq_signal(&vq)), "once");
}

Test(virtq, what_nobody_may_have_been_told_of_is_told_after_a_start)
{
	use_one();
	begin_anew(1, false);
	cr_assert(virtq_signal(&vq));
	cr_assert(not(virtq_signal(&vq)), "once");
}

/* --------------------------------------------------------------------- kicks
 */

Test(virtq, kicks_are_turned_off_and_on_by_flags)
{
	virtq_disable_kick(&vq);
	cr_assert(eq(u16, r.used->flags, VRING_USED_F_NO_NOTIFY));
	cr_assert(not(virtq_enable_kick(&vq)));
	cr_assert(zero(u16, r.used->flags));
}

Test(virtq_event, kicks_are_asked_for_by_avail_event_and_flags_stay_0)
{
	uint16_t *avail_event = (uint16_t *)(void *)&r.used->ring[SIZE];

	use_one();
	use_one();
	virtq_disable_kick(&vq);
	cr_assert(zero(u16, r.used->flags));
	cr_assert(not(virtq_enable_kick(&vq)));
	cr_assert(zero(u16, r.used->flags));
	cr_assert(eq(u16, *avail_event, 2));
}

/*
 * A driver that adds while kicks are off does not kick. Whoever turns them on
 * again must see that buffer.
 */
Test(virtq, lost_kick_is_caught_by_enable_kick)
{
	virtq_disable_kick(&vq);
	cr_assert(zero(int, pop()));
	(void)add_out(4);
	cr_assert(virtq_enable_kick(&vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(not(virtq_enable_kick(&vq)));
}

Test(virtq_event, lost_kick_is_caught_by_enable_kick)
{
	use_one();
	(void)add_out(4);
	cr_assert(virtq_enable_kick(&vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(not(virtq_enable_kick(&vq)));
}

Test(virtq, start_asks_for_kicks)
{
	virtq_disable_kick(&vq);
	(void)virtq_stop(&vq);
	/* Nothing is written while it is stopped. */
	cr_assert(eq(u16, r.used->flags, VRING_USED_F_NO_NOTIFY));
	cr_assert(not(virtq_enable_kick(&vq)));
	virtq_disable_kick(&vq);
	cr_assert(not(virtq_signal(&vq)));
	cr_assert(eq(u16, r.used->flags, VRING_USED_F_NO_NOTIFY));
	virtq_start(&vq, 0, false, true);
	cr_assert(zero(u16, r.used->flags));
}

Test(virtq, a_turn_is_so_many_bytes_and_so_much_time)
{
	const struct timespec longer = { .tv_nsec = (long)TURN_NS + 1 };
	const struct virtq_chain quarter = { .nr_in = 1, .len_in = 1024 };
	struct turn turn = turn_begin(100, 4096);

	/* Whatever the clock says. */
	turn.end_ns = UINT64_MAX;
	for (unsigned int i = 1; i < 4; i++)
		cr_assert(turn_goes_on(&turn, &quarter));
	cr_assert(not(turn_goes_on(&turn, &quarter)));
	turn = turn_begin(100, 4096);
	cr_assert(not(turn_time_over(&turn)));
	cr_assert(zero(int, nanosleep(&longer, NULL)));
	cr_assert(turn_time_over(&turn));
	cr_assert(turn_over(&turn));
	/* The clock is looked at now and then even if nobody asks. */
	turn = turn_begin(TURN_CLOCK_PERIOD + 1, UINT64_MAX);
	turn.end_ns = 0;
	cr_assert(not(turn_goes_on(&turn, &quarter)));
}
