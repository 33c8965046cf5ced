/* SPDX-License-Identifier: BSD-3-Clause */
/* Malformed FUSE requests, and requests without end. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

Test(fs, unknown_operations_are_enosys)
{
	static const uint32_t unknown[] = {
		0,	    7,	       FUSE_BMAP,
		FUSE_IOCTL, FUSE_POLL, FUSE_SETUPMAPPING,
		52,	    4096,      FUSE_INIT_BSWAP_RESERVED,
		UINT32_MAX
	};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		cr_assert(eq(int, call_text(unknown[i], 1, "", 0), -ENOSYS),
			  "%u", unknown[i]);
}

static bool has_reply(uint32_t op)
{
	return op != FUSE_FORGET && op != FUSE_BATCH_FORGET &&
	       op != FUSE_INTERRUPT;
}

/* Every operation, with nothing, zeroes and ones behind the header. */
Test(fs, garbage_is_answered_by_an_error)
{
	static uint8_t bytes[8192];

	for (int fill = 0; fill < 3; fill++) {
		memset(bytes, fill == 2 ? 0xff : 0, sizeof(bytes));
		for (uint32_t op = 1; op < 64; op++) {
			const struct req r = { .opcode = op,
					       .node = fill == 1 ? 1 : ~0ULL,
					       .arg = bytes,
					       .arg_len = fill ? 8192 : 0 };
			int error = 0;

			if (has_reply(op) && op != FUSE_DESTROY)
				error = call(&r);
			else if (op != FUSE_DESTROY)
				tell(&r);
			cr_assert(le(int, error, 0));
		}
	}
	cr_assert(zero(int, fuse_init(0)));
	host_write(host("share/still"), "here");
	(void)node_of(1, "still");
}

Test(fs, requests_cut_short_are_einval_or_worse)
{
	static uint8_t bytes[256];

	for (uint32_t op = 1; op < 52; op++) {
		if (!has_reply(op) || op == FUSE_DESTROY)
			continue;
		for (size_t len = 0; len < 8; len++) {
			int r = call(&(struct req){ .opcode = op,
						    .node = 1,
						    .arg = bytes,
						    .arg_len = len });

			/* These want no argument. */
			if (op == FUSE_STATFS || op == FUSE_SYNCFS)
				cr_assert(zero(int, r));
			else
				cr_assert(lt(int, r, 0), "op %u len %zu", op,
					  len);
		}
	}
}

Test(fs, length_in_the_header_has_to_be_true)
{
	const struct guest_buf bufs[] = { { fs.out_gpa, 80, false },
					  { fs.in_gpa, 512, true } };
	struct fuse_in_header h = { .opcode = FUSE_LOOKUP, .nodeid = 1 };
	static const uint32_t lens[] = { 0, 39, 40, 79, 81, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		h.unique = ++fs.unique;
		h.len = lens[i];
		memcpy(guest_ptr(&fs.f.g, fs.out_gpa), &h, sizeof(h));
		cr_assert(eq(
			int,
			reply_take(front_wait_used(
				&fs.f, REQUESTS,
				guest_ring_add(&fs.f.ring[REQUESTS], bufs, 2))),
			-EINVAL));
	}
}

Test(fs, less_than_a_header_is_einval)
{
	const struct guest_buf bufs[] = { { fs.out_gpa, 39, false },
					  { fs.in_gpa, 16, true } };
	struct fuse_out_header h;

	cr_assert(eq(
		u32,
		front_wait_used(&fs.f, REQUESTS,
				guest_ring_add(&fs.f.ring[REQUESTS], bufs, 2)),
		16));
	memcpy(&h, guest_ptr(&fs.f.g, fs.in_gpa), sizeof(h));
	cr_assert(eq(int, h.error, -EINVAL));
}

Test(fs, no_room_for_a_reply_breaks_the_ring)
{
	const struct req r = { .opcode = FUSE_STATFS, .node = 1 };
	const struct guest_buf bufs[] = { { fs.out_gpa, req_write(&r), false },
					  { fs.in_gpa, 15, true } };

	(void)guest_ring_add(&fs.f.ring[REQUESTS], bufs, 2);
	guest_ring_kick(&fs.f.ring[REQUESTS]);
	front_wait_fd(&fs.f, fs.f.ring[REQUESTS].err_fd);
	/* After that of the fixture. */
	cr_assert(eq(u16, fs.f.ring[REQUESTS].used->idx, 2));
	cr_assert(zero(u32, fs.f.ring[REQUESTS].used->ring[1].len));
}

/* Nothing is left behind that nobody could give back. */
Test(fs, a_reply_that_does_not_fit_is_einval_and_has_no_effect)
{
	static const uint32_t ops_[] = { FUSE_LOOKUP, FUSE_OPEN, FUSE_OPENDIR,
					 FUSE_GETATTR, FUSE_STATFS };
	static uint8_t bytes[64] = "f";
	uint64_t nodes[] = { 1, 0, 1, 1, 1 };

	host_write(host("share/f"), "x");
	nodes[1] = node_of(1, "f");
	for (size_t i = 0; i < ARRAY_SIZE(ops_); i++) {
		uint32_t fds = fs_of()->fds;
		uint8_t zero[64] = { 0 };
		int r = call(&(struct req){
			.opcode = ops_[i],
			.node = nodes[i],
			.arg = ops_[i] == FUSE_LOOKUP ? bytes : zero,
			.arg_len = 64,
			.room = 1 });

		cr_assert(eq(int, r, -EINVAL), "%u", ops_[i]);
		cr_assert(eq(u32, fs_of()->fds, fds));
	}
	forget(nodes[1], 1);
	cr_assert(fs_node_find(fs_of(), nodes[1]) == NULL);
}

/* A request longer than any driver's, whatever it asks for. */
Test(fs, a_request_without_end_is_einval)
{
	const struct fuse_write_in in = { .fh = 1, .size = 16 };

	cr_assert(eq(int,
		     call(&(struct req){ .opcode = FUSE_WRITE,
					 .arg = &in,
					 .arg_len = sizeof(in),
					 .more = guest_ptr(&fs.f.g, fs.in_gpa),
					 .more_len = FS_REQUEST_MAX }),
		     -EINVAL));
	cr_assert(eq(int,
		     call(&(struct req){ .opcode = FUSE_WRITE,
					 .arg = &in,
					 .arg_len = sizeof(in),
					 .more = "0123456789abcdef",
					 .more_len = 16 }),
		     -EBADF));
}

/* A turn is bounded by what is moved, not by the number of requests. */
Test(fs, a_turn_moves_so_many_bytes)
{
	const struct req r = { .opcode = FUSE_STATFS, .node = 1 };
	const struct guest_buf bufs[] = { { fs.out_gpa, req_write(&r), false },
					  { fs.in_gpa, 1 << 20, true } };
	struct guest_ring *ring = &fs.f.ring[REQUESTS];
	const uint16_t before = ring->used->idx;
	const unsigned int n = 20;
	unsigned int done = 0;
	uint16_t head;
	uint32_t len;

	for (unsigned int i = 0; i < n; i++)
		(void)guest_ring_add(ring, bufs, 2);
	guest_ring_kick(ring);
	cr_assert(zero(int, loop_turn(&fs.f.loop, 0)));
	cr_assert(le(int, ring->used->idx - before, FS_TURN_BYTES >> 20));
	front_settle(&fs.f);
	while (guest_ring_reap(ring, &head, &len))
		done++;
	cr_assert(eq(uint, done, n));
}
