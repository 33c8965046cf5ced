/* SPDX-License-Identifier: BSD-3-Clause */
/* Indirect tables of a split ring, well formed and hostile. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/lib/virtq_rig.h"
#include "vmm/base/fd.h"

TestSuite(virtq, .init = virtq_test_setup, .fini = virtq_test_teardown,
	  .timeout = 120);

Test(virtq, indirect_chain_may_exceed_the_ring_size)
{
	static struct guest_buf b[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		b[i] = (struct guest_buf){ rig.buf + 16 * i, 16, i >= 512 };
	(void)guest_ring_add_indirect(&rig.r, b, VIRTQ_MAX_CHAIN);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, 512));
	cr_assert(eq(u16, rig.c.nr_in, 512));
}

Test(virtq, direct_descriptors_may_precede_one_indirect)
{
	const struct guest_buf b[] = { { rig.buf, 8, false },
				       { rig.buf, 16, true } };
	uint16_t head = guest_ring_add_indirect(&rig.r, b, 2);

	/* Undo its availability; put two direct ones before it. */
	rig.r.avail_idx--;
	guest_ring_desc(&rig.r, 5, rig.buf, 4, VRING_DESC_F_NEXT, 6);
	guest_ring_desc(&rig.r, 6, rig.buf, 4, VRING_DESC_F_NEXT, head);
	rig.r.avail->ring[0] = 5;
	rig.r.avail->idx = 1;
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, 3));
	cr_assert(eq(u16, rig.c.nr_in, 1));
	cr_assert(eq(u64, rig.c.len_out, 16));
}

Test(virtq, write_flag_on_the_outer_indirect_descriptor_is_ignored)
{
	const struct guest_buf b[] = { { rig.buf, 8, false },
				       { rig.buf, 16, true } };
	uint16_t head = guest_ring_add_indirect(&rig.r, b, 2);

	rig.r.desc[head].flags |= VRING_DESC_F_WRITE;
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, 1));
	cr_assert(eq(u16, rig.c.nr_in, 1));
}

/* Makes an indirect chain of one buffer; the test then spoils it. */
static struct vring_desc *one_indirect(uint16_t *head)
{
	const struct guest_buf b = { rig.buf, 8, false };

	*head = guest_ring_add_indirect(&rig.r, &b, 1);
	return guest_ptr(&rig.g, rig.r.desc[*head].addr);
}

Test(virtq, indirect_table_may_span_adjacent_regions)
{
	struct gmem_region more = { .gpa = RAM_END,
				    .size = 4096,
				    .fd = fd_memfd_sealed("more", 4096, 0) };
	struct vring_desc d[2] = {
		{ rig.buf, 8, VRING_DESC_F_NEXT, 1 },
		{ rig.buf + 64, 8, VRING_DESC_F_WRITE, 0 },
	};

	cr_assert(zero(int, gmem_add(&rig.g.gm, &more)));
	/* The first descriptor straddles the border. */
	memcpy(rig.g.ram + RAM - 8, d, 8);
	memcpy(rig.g.gm.regions[1].hva, (uint8_t *)d + 8, sizeof(d) - 8);
	guest_ring_desc(&rig.r, 0, RAM_END - 8, sizeof(d),
			VRING_DESC_F_INDIRECT, 0);
	guest_ring_avail(&rig.r, 0);
	cr_assert(eq(int, pop(), 1));
	cr_assert(eq(u16, rig.c.nr_out, 1));
	cr_assert(eq(u16, rig.c.nr_in, 1));
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
	rig.r.desc[head].flags |= VRING_DESC_F_NEXT;
	assert_broken();
}

Test(virtq, indirect_without_the_feature)
{
	uint16_t head;

	(void)virtq_stop(&rig.vq);
	virtq_start(&rig.vq, 0, false, false);
	(void)one_indirect(&head);
	assert_broken();
}

Test(virtq, indirect_table_of_length_0)
{
	uint16_t head;

	(void)one_indirect(&head);
	rig.r.desc[head].len = 0;
	assert_broken();
}

Test(virtq, indirect_table_not_a_multiple_of_16)
{
	uint16_t head;

	(void)one_indirect(&head);
	rig.r.desc[head].len = 24;
	assert_broken();
}

Test(virtq, indirect_table_of_4_gib)
{
	uint16_t head;

	(void)one_indirect(&head);
	rig.r.desc[head].len = 0xfffffff0U;
	assert_broken();
}

Test(virtq, indirect_table_one_entry_too_long)
{
	uint16_t head;

	(void)one_indirect(&head);
	rig.r.desc[head].len = (VIRTQ_MAX_CHAIN + 1) * 16;
	assert_broken();
}

Test(virtq, indirect_table_partly_outside_memory)
{
	guest_ring_desc(&rig.r, 0, RAM_END - 16, 32, VRING_DESC_F_INDIRECT, 0);
	guest_ring_avail(&rig.r, 0);
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
		b[i] = (struct guest_buf){ rig.buf, 16, false };
	head = guest_ring_add_indirect(&rig.r, b, VIRTQ_MAX_CHAIN);
	guest_ring_desc(&rig.r, 5, rig.buf, 4, VRING_DESC_F_NEXT, head);
	rig.r.avail->ring[0] = 5;
	assert_broken();
}
