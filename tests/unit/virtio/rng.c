/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"

static struct front f;
static struct virtio_dev *dev;
static uint64_t buf; /* 1 MiB */

static void setup(void)
{
	char *const args[] = { NULL };

	front_init(&f);
	cr_assert(zero(int, virtio_rng_ops.create(&f.loop, args, virtio_no_fds,
						  &dev)));
	front_connect(&f, dev);
	buf = guest_alloc(&f.g, 1 << 20, 4096);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1 |
				    1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	front_start(&f, 0);
}

static void teardown(void)
{
	front_finish(&f);
	virtio_rng_ops.destroy(dev);
}

TestSuite(rng, .init = setup, .fini = teardown, .timeout = 120);

static uint32_t ask(const struct guest_buf *b, unsigned int n)
{
	return front_wait_used(&f, 0, guest_ring_add(&f.ring[0], b, n));
}

/* Bytes that are not 0: all but 1 in 256 of random ones. */
static size_t nonzero(uint64_t gpa, size_t len)
{
	const uint8_t *p = guest_ptr(&f.g, gpa);
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += p[i] != 0;
	return n;
}

Test(rng, fills_the_buffer)
{
	const struct guest_buf b = { buf, 4096, true };

	cr_assert(eq(u32, ask(&b, 1), 4096));
	cr_assert(gt(sz, nonzero(buf, 4096), 3900));
	cr_assert(zero(sz, nonzero(buf + 4096, 4096)));
}

Test(rng, fills_a_single_byte)
{
	const struct guest_buf b = { buf, 1, true };

	cr_assert(eq(u32, ask(&b, 1), 1));
}

Test(rng, fills_scattered_buffers_and_skips_readable_ones)
{
	const struct guest_buf b[] = { { buf, 100, false },
				       { buf + 4096, 700, true },
				       { buf + 8192, 300, true } };

	cr_assert(eq(u32, ask(b, 3), 1000));
	cr_assert(zero(sz, nonzero(buf, 4096)));
	cr_assert(gt(sz, nonzero(buf + 4096, 700), 600));
	cr_assert(gt(sz, nonzero(buf + 8192, 300), 200));
	cr_assert(zero(sz, nonzero(buf + 8192 + 300, 100)));
}

Test(rng, large_request_is_filled_in_part)
{
	const struct guest_buf b = { buf, 1 << 20, true };

	cr_assert(eq(u32, ask(&b, 1), 64 << 10));
	cr_assert(zero(sz, nonzero(buf + (64 << 10), 4096)));
}

Test(rng, many_requests_are_all_answered_over_several_turns)
{
	const struct guest_buf b = { buf, 64 << 10, true };
	unsigned int done = 0;
	uint16_t head;
	uint32_t len;

	for (int i = 0; i < 64; i++)
		(void)guest_ring_add(&f.ring[0], &b, 1);
	guest_ring_kick(&f.ring[0]);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(lt(u16, f.ring[0].used->idx, 64), "no limit of a turn");
	front_settle(&f);
	while (guest_ring_reap(&f.ring[0], &head, &len)) {
		cr_assert(eq(u32, len, 64 << 10));
		done++;
	}
	cr_assert(eq(uint, done, 64));
}

Test(rng, stops_between_turns_with_the_rest_untouched)
{
	const struct guest_buf b = { buf, 64 << 10, true };
	uint16_t used;

	for (int i = 0; i < 64; i++)
		(void)guest_ring_add(&f.ring[0], &b, 1);
	guest_ring_kick(&f.ring[0]);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	used = front_stop(&f, 0);
	cr_assert(eq(u16, used, f.ring[0].used->idx));
	front_settle(&f);
	cr_assert(eq(u16, used, f.ring[0].used->idx));
}

Test(rng, request_without_room_breaks_the_ring)
{
	const struct guest_buf b = { buf, 100, false };

	(void)guest_ring_add(&f.ring[0], &b, 1);
	guest_ring_kick(&f.ring[0]);
	front_wait_fd(&f, f.ring[0].err_fd);
	cr_assert(eq(u16, f.ring[0].used->idx, 1));
	cr_assert(zero(u32, f.ring[0].used->ring[0].len));
}

Test(rng, works_with_indirect_descriptors)
{
	const struct guest_buf b[] = { { buf, 10, true },
				       { buf + 64, 20, true } };

	cr_assert(eq(u32,
		     front_wait_used(&f, 0,
				     guest_ring_add_indirect(&f.ring[0], b, 2)),
		     30));
}

/* A system call for each byte: a turn is over long before its bytes are. */
Test(rng, a_turn_ends_by_the_number_of_buffers)
{
	static struct guest_buf bytes[VIRTQ_MAX_CHAIN];

	for (unsigned int i = 0; i < VIRTQ_MAX_CHAIN; i++)
		bytes[i] = (struct guest_buf){ buf + i, 1, true };
	for (unsigned int i = 0; i < 32; i++)
		(void)guest_ring_add_indirect(&f.ring[0], bytes,
					      VIRTQ_MAX_CHAIN);
	guest_ring_kick(&f.ring[0]);
	cr_assert(zero(int, loop_turn(&f.loop, 1000)));
	cr_assert(gt(u16, f.ring[0].used->idx, 0));
	cr_assert(le(u16, f.ring[0].used->idx,
		     TURN_DESCRIPTORS / VIRTQ_MAX_CHAIN));
	front_settle(&f);
	cr_assert(eq(u16, f.ring[0].used->idx, 32));
}

Test(rng_create, refuses_words, .timeout = 120)
{
	char word[] = "ro";
	char *const args[] = { word, NULL };
	struct virtio_dev *d = NULL;

	cr_assert(eq(int, virtio_rng_ops.create(NULL, args, virtio_no_fds, &d),
		     -EINVAL));
	cr_assert(d == NULL);
	virtio_rng_ops.destroy(NULL);
}
