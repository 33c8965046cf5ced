/* SPDX-License-Identifier: BSD-3-Clause */
/* How the block device drives its engine: depth, turns, stop, restart. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/blk_rig.h"
#include "vmm/base/fd.h"

BOTH_ENGINES(serves_more_requests_than_it_has_slots)
{
	uint64_t hdrs, stats;
	unsigned int done = 0;
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, 256, 4096, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	while (done < 256) {
		uint16_t head;
		uint32_t len;

		if (!guest_ring_reap(&d.f.ring[0], &head, &len)) {
			cr_assert(zero(int, loop_turn(&d.f.loop, 10000)));
			continue;
		}
		cr_assert(eq(u32, len, 4097));
		done++;
	}
	for (unsigned int i = 0; i < 256; i++)
		cr_assert(zero(u8, *at(&d, stats + i * 16)));
	disk_close(&d);
}

/*
 * The ring starts with chains in it and is stopped in the next message: what
 * was taken must be in the used ring, what was not must be left available.
 */
BOTH_ENGINES(stopping_a_ring_drains_it)
{
	struct guest_ring *r;
	uint64_t hdrs, stats;
	uint16_t base, head;
	unsigned int n = 0;
	struct disk d;
	uint32_t len;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	r = &d.f.ring[0];
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	base = front_stop(&d.f, 0);
	cr_assert(zero(u16, base));
	add_reads(&d, 200, 64 << 10, hdrs, stats);
	front_start(&d.f, 0);
	base = front_stop(&d.f, 0);
	cr_assert(eq(u16, base, r->used->idx));
	while (guest_ring_reap(r, &head, &len)) {
		cr_assert(eq(u32, len, (64 << 10) + 1));
		n++;
	}
	cr_assert(eq(uint, n, base));
	/* And goes on where it stopped. */
	front_start(&d.f, 0);
	while (n < 200) {
		if (guest_ring_reap(r, &head, &len))
			n++;
		else
			cr_assert(zero(int, loop_turn(&d.f.loop, 10000)));
	}
	disk_close(&d);
}

/* An engine whose steps finish only when wait() or the test says so. */
struct blk_engine {
	struct virtio_blk *blk;
	struct blk_request *held[BLK_DEPTH];
	unsigned int nr, waits;
};

static struct blk_engine slow;
static int slow_creates, slow_starts, slow_stops, refusals;

static int slow_create(struct virtio_blk *blk, struct blk_engine **ret)
{
	slow.blk = blk;
	slow_creates++;
	*ret = &slow;
	return 0;
}

static int slow_start(struct blk_engine *e)
{
	slow_starts++;
	return 0;
}

static void slow_submit(struct blk_engine *e, struct blk_request *req)
{
	cr_assert(lt(uint, e->nr, BLK_DEPTH));
	e->held[e->nr++] = req;
}

static void slow_commit(struct blk_engine *e)
{
}

static void slow_wait(struct blk_engine *e)
{
	struct blk_request *req;

	cr_assert(gt(uint, e->nr, 0), "waiting for nothing");
	req = e->held[--e->nr];
	e->waits++;
	/* Half a transfer at a time, to see that the rest is waited for. */
	if (req->op == BLK_OP_READ && req->iov[0].iov_len > BLK_SECTOR)
		blk_request_done(req, (int64_t)req->iov[0].iov_len / 2);
	else
		blk_request_done(req, req->op == BLK_OP_READ ? BLK_SECTOR : 0);
}

static void slow_stop(struct blk_engine *e)
{
	cr_assert(zero(uint, e->nr));
	slow_stops++;
}

static void slow_destroy(struct blk_engine *e)
{
}

static const struct blk_engine_ops slow_ops = {
	.name = "slow",
	.create = slow_create,
	.destroy = slow_destroy,
	.start = slow_start,
	.submit = slow_submit,
	.commit = slow_commit,
	.wait = slow_wait,
	.stop = slow_stop,
};

static int refuse(struct virtio_blk *blk, struct blk_engine **ret)
{
	refusals++;
	return -EPERM;
}

static const struct blk_engine_ops refusing_ops = { .name = "refusing",
						    .create = refuse };

static void disk_open_slow(struct disk *d)
{
	struct blk_config cfg = { .engines = { &refusing_ops, &slow_ops } };
	struct virtio_blk *blk;

	memset(d, 0, sizeof(*d));
	front_init(&d->f);
	image_make(d, IMAGE_BYTES);
	cfg.fd = dup(d->fd);
	cr_assert(zero(int, blk_create(&d->f.loop, &cfg, &blk)));
	d->dev = &blk->dev;
	disk_attach(d, BASIC);
}

Test(blk, stop_waits_for_a_slow_back_end_and_holds_no_engine, .timeout = 120)
{
	uint64_t hdrs, stats;
	struct disk d;
	uint16_t base;

	disk_open_slow(&d);
	cr_assert(eq(int, slow_starts, 1), "the first engine refused");
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, 100, 4096, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	front_settle(&d.f);
	cr_assert(eq(uint, slow.nr, BLK_DEPTH), "in flight is bounded");
	cr_assert(zero(u16, d.f.ring[0].used->idx));
	(void)fd_event_drain(d.f.ring[0].call_fd);
	base = front_stop(&d.f, 0);
	cr_assert(eq(u16, base, BLK_DEPTH));
	cr_assert(eq(u16, d.f.ring[0].used->idx, BLK_DEPTH));
	cr_assert(eq(uint, slow.waits, BLK_DEPTH * 4), "4096 halved thrice");
	cr_assert(gt(u64, fd_event_drain(d.f.ring[0].call_fd), 0));
	cr_assert(eq(int, slow_stops, 1));
	for (unsigned int i = 0; i < BLK_DEPTH; i++)
		cr_assert(zero(u8, *at(&d, stats + i * 16)));
	cr_assert(eq(u8, *at(&d, stats + BLK_DEPTH * 16), 0xee));
	front_start(&d.f, 0);
	cr_assert(eq(int, slow_starts, 2));
	cr_assert(eq(uint, slow.nr, 100 - BLK_DEPTH));
	disk_close(&d);
	cr_assert(eq(int, slow_stops, 2));
	/* Not asked, nor told of, at each start: a guest paces those. */
	cr_assert(eq(int, refusals, 1));
	cr_assert(eq(int, slow_creates, 1));
}

/* An engine may copy all of it at once: the loop is not to wait for that. */
Test(blk, a_turn_begins_so_many_bytes, .timeout = 120)
{
	uint64_t hdrs, stats;
	struct disk d;

	disk_open_slow(&d);
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, BLK_DEPTH, 128 << 10, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	cr_assert(zero(int, loop_turn(&d.f.loop, 0)));
	cr_assert(gt(uint, slow.nr, 0));
	cr_assert(le(uint, slow.nr, BLK_DEPTH / 2), "%u", slow.nr);
	front_settle(&d.f);
	cr_assert(eq(uint, slow.nr, BLK_DEPTH));
	(void)front_stop(&d.f, 0);
	disk_close(&d);
}

BOTH_ENGINES(stop_and_start_many_times_leaks_nothing)
{
	struct disk d;
	int fd, first;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	(void)front_stop(&d.f, 0);
	front_start(&d.f, 0);
	first = dup(0);
	(void)close(first);
	for (int i = 0; i < 50; i++) {
		cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 1, 512), 0));
		(void)front_stop(&d.f, 0);
		front_start(&d.f, 0);
	}
	fd = dup(0);
	cr_assert(eq(int, fd, first));
	(void)close(fd);
	disk_close(&d);
}
