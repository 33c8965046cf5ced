/* SPDX-License-Identifier: BSD-3-Clause */
/* Broken rings and chains, on any queue. See hostile.h. */
#include "guest/payloads/hostile.h"

#define NEXT	  VRING_DESC_F_NEXT
#define WRITE	  VRING_DESC_F_WRITE
#define INDIRECT  VRING_DESC_F_INDIRECT
#define MAX_CHAIN 1024U

#define HAS_INDIRECT  VIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define HAS_EVENT_IDX VIO_BIT(VIRTIO_RING_F_EVENT_IDX)

static struct vring_desc *table; /* MAX_CHAIN + 64 entries */

/*
 * A good request as an indirect table; descriptor 0 points to it. Return: its
 * entries.
 */
static unsigned int indirect_chain(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	unsigned int n = hostile_good_chain(dev);

	if (!table)
		table = vio_alloc((MAX_CHAIN + 64) * sizeof(*table));
	memcpy(table, q->desc, n * sizeof(*table));
	vio_desc_set(q, 0, table, n * (uint32_t)sizeof(*table), INDIRECT, 0);
	return n;
}

static const char *loop_of_two(struct vio_dev *dev)
{
	struct vring_desc *desc = hostile_queue(dev)->desc;

	hostile_good_chain(dev);
	/* In one direction, so that nothing else is wrong. */
	desc[1].flags = (desc[0].flags & WRITE) | NEXT;
	desc[1].next = 0;
	return hostile_expect_reset(dev, 0);
}

static const char *loop_to_itself(struct vio_dev *dev)
{
	hostile_good_chain(dev);
	hostile_queue(dev)->desc[0].next = 0;
	return hostile_expect_reset(dev, 0);
}

static const char *loop_in_table(struct vio_dev *dev)
{
	unsigned int n = indirect_chain(dev);

	table[n - 1].flags |= NEXT;
	table[n - 1].next = (uint16_t)(n - 1);
	return hostile_expect_reset(dev, 0);
}

static const char *table_too_long(struct vio_dev *dev)
{
	uint16_t n = MAX_CHAIN + 32;

	uint16_t dir;

	indirect_chain(dev);
	dir = table[0].flags & WRITE;
	for (uint16_t i = 0; i < n; i++) {
		table[i] = (struct vring_desc){
			.addr = (uint64_t)hostile_data + i,
			.len = 1,
			.flags = i + 1 < n ? NEXT | dir : WRITE,
			.next = (uint16_t)(i + 1),
		};
	}
	hostile_queue(dev)->desc[0].len = n * (uint32_t)sizeof(*table);
	return hostile_expect_reset(dev, 0);
}

static const char *head_at_size(struct vio_dev *dev)
{
	hostile_good_chain(dev);
	return hostile_expect_reset(dev, hostile_queue(dev)->size);
}

static const char *head_huge(struct vio_dev *dev)
{
	hostile_good_chain(dev);
	return hostile_expect_reset(dev, 0xffff);
}

static const char *next_at_size(struct vio_dev *dev)
{
	hostile_good_chain(dev);
	hostile_queue(dev)->desc[0].next = hostile_queue(dev)->size;
	return hostile_expect_reset(dev, 0);
}

static const char *next_beyond_table(struct vio_dev *dev)
{
	unsigned int n = indirect_chain(dev);

	table[0].next = (uint16_t)n;
	return hostile_expect_reset(dev, 0);
}

static const char *nested_indirect(struct vio_dev *dev)
{
	indirect_chain(dev);
	table[1].flags |= INDIRECT;
	return hostile_expect_reset(dev, 0);
}

static const char *indirect_and_next(struct vio_dev *dev)
{
	indirect_chain(dev);
	hostile_queue(dev)->desc[0].flags |= NEXT;
	hostile_queue(dev)->desc[0].next = 1;
	return hostile_expect_reset(dev, 0);
}

static const char *indirect_not_negotiated(struct vio_dev *dev)
{
	indirect_chain(dev);
	return hostile_expect_reset(dev, 0);
}

static const char *indirect_of_len(struct vio_dev *dev, uint32_t len)
{
	indirect_chain(dev);
	hostile_queue(dev)->desc[0].len = len;
	return hostile_expect_reset(dev, 0);
}

static const char *indirect_len_0(struct vio_dev *dev)
{
	return indirect_of_len(dev, 0);
}

static const char *indirect_len_odd(struct vio_dev *dev)
{
	return indirect_of_len(dev, 2 * sizeof(*table) + 1);
}

static const char *indirect_len_4g(struct vio_dev *dev)
{
	return indirect_of_len(dev, 0xfffffff0);
}

static const char *table_at(struct vio_dev *dev, uint64_t gpa, uint32_t len)
{
	vio_desc_set(hostile_queue(dev), 0, (const void *)gpa, len, INDIRECT,
		     0);
	return hostile_expect_reset(dev, 0);
}

static const char *table_in_mmio(struct vio_dev *dev)
{
	return table_at(dev, dev->base, 48);
}

static const char *table_half_outside(struct vio_dev *dev)
{
	return table_at(dev, runtime_ram_end() - 16, 48);
}

static const char *table_wraps(struct vio_dev *dev)
{
	return table_at(dev, ~0ULL - 15, 48);
}

static const char *data_at(struct vio_dev *dev, uint64_t gpa, uint32_t len)
{
	hostile_good_chain(dev);
	hostile_queue(dev)->desc[1].addr = gpa;
	hostile_queue(dev)->desc[1].len = len;
	return hostile_expect_reset(dev, 0);
}

static const char *buffer_wraps(struct vio_dev *dev)
{
	return data_at(dev, ~0ULL - 255, SECTOR);
}

static const char *buffer_in_hole(struct vio_dev *dev)
{
	return data_at(dev, LAYOUT_VIRTIO_BASE - SECTOR, SECTOR);
}

static const char *buffer_in_mmio(struct vio_dev *dev)
{
	return data_at(dev, dev->base, SECTOR);
}

static const char *buffer_half_outside(struct vio_dev *dev)
{
	return data_at(dev, runtime_ram_end() - SECTOR / 2, SECTOR);
}

static const char *buffer_far_away(struct vio_dev *dev)
{
	return data_at(dev, 1ULL << 52, SECTOR);
}

/* Each buffer is in RAM, all of them together are more than 4 GiB. */
static const char *lengths_over_4g(struct vio_dev *dev)
{
	uint32_t len = (uint32_t)(runtime_ram_end() - LAYOUT_KERNEL);
	uint32_t n = (uint32_t)(0x100000000ULL / len) + 2;
	uint16_t dir;

	if (n > MAX_CHAIN - 2)
		return hostile_skip; /* a guest with so little RAM */
	indirect_chain(dev);
	dir = table[0].flags & WRITE;
	for (uint32_t i = 0; i <= n; i++) {
		table[i] = (struct vring_desc){ .addr = LAYOUT_KERNEL,
						.len = len,
						.flags = NEXT | dir,
						.next = (uint16_t)(i + 1) };
	}
	table[n].flags = dir;
	hostile_queue(dev)->desc[0].len = (n + 1) * (uint32_t)sizeof(*table);
	return hostile_expect_reset(dev, 0);
}

static const char *empty_buffer(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	uint32_t len;

	hostile_chain(dev, 1, 0);
	vio_desc_set(q, 0, hostile_data, 0, (q->desc[1].flags & WRITE) | NEXT,
		     1);
	vio_publish(q, 0);
	vio_kick(dev, target->queue);
	if (!vio_wait_used(dev, q, NULL, &len))
		return "no answer";
	return target->good(len) ? NULL : "not done";
}

static const char *writable_first(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);

	vio_desc_set(q, 0, hostile_data, SECTOR, WRITE | NEXT, 1);
	vio_desc_set(q, 1, hostile_data + SECTOR, SECTOR, 0, 0);
	return hostile_expect_reset(dev, 0);
}

/* Without the writable part. */
static const char *no_room_for_answer(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	unsigned int n = hostile_good_chain(dev), out = 0;
	const char *why;

	if (!(q->desc[n - 1].flags & WRITE))
		return hostile_skip;
	while (!(q->desc[out].flags & WRITE))
		out++;
	if (out == 0) /* all of it is: a readable buffer in its place */
		vio_desc_set(q, (uint16_t)out++, hostile_data, SECTOR, 0, 0);
	q->desc[out - 1].flags = 0;
	why = hostile_expect_reset(dev, 0);
	if (!why && q->used->idx != 0 && q->used->ring[0].len != 0)
		return "claims to have written into nothing";
	return why;
}

static const char *index_too_far(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);

	hostile_good_chain(dev);
	q->avail_idx += q->size;
	return hostile_expect_reset(dev, 0);
}

static const char *index_backwards(struct vio_dev *dev)
{
	const char *why = hostile_expect_works(dev);

	if (why)
		return why;
	hostile_queue(dev)->avail_idx -= 2;
	return hostile_expect_reset(dev, 0);
}

/*
 * In flight once, available twice. A device that is done with the first before
 * it takes the second may answer both.
 */
static const char *head_twice(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	unsigned int answers = 0;

	hostile_good_chain(dev);
	vio_publish(q, 0);
	vio_publish(q, 0);
	vio_kick(dev, target->queue);
	while (answers < 2 && vio_wait_used(dev, q, NULL, NULL))
		answers++;
	if (answers == 2)
		return NULL;
	return vio_wait_needs_reset(dev) ? NULL : "neither answer nor reset";
}

/* Everything changes right after the kick: any result, and it lives. */
static const char *changed_after_kick(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);

	unsigned int n = indirect_chain(dev);

	vio_publish(q, 0);
	vio_kick(dev, target->queue);
	for (unsigned int i = 0; i < n; i++) {
		table[i].addr = ~0ULL - i;
		table[i].len = 0xffffffff;
		table[i].next = 0xffff;
	}
	q->desc[0].len = 0xffffffff;
	memset(hostile_data, 0xff, SECTOR);
	(void)vio_wait_used(dev, q, NULL, NULL);
	return NULL;
}

static const char *events_garbage(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	const char *why = NULL;

	for (uint16_t i = 0; i < 4 && !why; i++) {
		q->avail->flags = (uint16_t)(0xffff - i);
		/* used_event */
		q->avail->ring[q->size] = (uint16_t)(0x7ffe + i);
		why = hostile_expect_works(dev);
	}
	return why;
}

/* What it writes goes into the ring itself: any result, and it lives. */
static const char *written_over(struct vio_dev *dev, void *what)
{
	struct vio_queue *q = hostile_queue(dev);
	unsigned int n = hostile_good_chain(dev);

	for (unsigned int i = 0; i < n; i++) {
		if (!(q->desc[i].flags & WRITE))
			continue;
		q->desc[i].addr = (uint64_t)what;
		vio_publish(q, 0);
		vio_kick(dev, target->queue);
		(void)vio_wait_used(dev, q, NULL, NULL);
		return NULL;
	}
	return hostile_skip; /* it writes nothing */
}

static const char *data_over_ring(struct vio_dev *dev)
{
	return written_over(dev, hostile_queue(dev)->desc);
}

static const char *data_over_used(struct vio_dev *dev)
{
	return written_over(dev, hostile_queue(dev)->used);
}

const struct hostile_case hostile_ring_cases[] = {
	{ "descriptor-loop", 0, loop_of_two },
	{ "descriptor-to-itself", 0, loop_to_itself },
	{ "loop-in-indirect-table", HAS_INDIRECT, loop_in_table },
	{ "indirect-table-too-long", HAS_INDIRECT, table_too_long },
	{ "head-at-queue-size", 0, head_at_size },
	{ "head-65535", 0, head_huge },
	{ "next-at-queue-size", 0, next_at_size },
	{ "next-beyond-indirect-table", HAS_INDIRECT, next_beyond_table },
	{ "indirect-in-indirect", HAS_INDIRECT, nested_indirect },
	{ "indirect-and-next", HAS_INDIRECT, indirect_and_next },
	{ "indirect-not-negotiated", 0, indirect_not_negotiated },
	{ "indirect-of-0-bytes", HAS_INDIRECT, indirect_len_0 },
	{ "indirect-of-33-bytes", HAS_INDIRECT, indirect_len_odd },
	{ "indirect-of-4-gib", HAS_INDIRECT, indirect_len_4g },
	{ "indirect-table-in-mmio", HAS_INDIRECT, table_in_mmio },
	{ "indirect-table-half-outside", HAS_INDIRECT, table_half_outside },
	{ "indirect-table-wraps", HAS_INDIRECT, table_wraps },
	{ "buffer-wraps", 0, buffer_wraps },
	{ "buffer-in-a-hole", 0, buffer_in_hole },
	{ "buffer-in-mmio", 0, buffer_in_mmio },
	{ "buffer-half-outside", 0, buffer_half_outside },
	{ "buffer-far-away", 0, buffer_far_away },
	{ "lengths-over-4-gib", HAS_INDIRECT, lengths_over_4g },
	{ "empty-buffer-is-legal", 0, empty_buffer },
	{ "writable-before-readable", 0, writable_first },
	{ "no-room-for-the-answer", 0, no_room_for_answer },
	{ "index-too-far-ahead", 0, index_too_far },
	{ "index-backwards", 0, index_backwards },
	{ "head-available-twice", 0, head_twice },
	{ "changed-after-the-kick", HAS_INDIRECT, changed_after_kick },
	{ "event-fields-garbage", 0, events_garbage },
	{ "event-index-garbage", HAS_EVENT_IDX, events_garbage },
	{ "data-over-descriptors", 0, data_over_ring },
	{ "data-over-used-ring", 0, data_over_used },
	{ 0 },
};
