/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls: io_uring_setup, io_uring_register, mmap, madvise; they are the
 * last of the first two, which the role's filter has not.
 *
 * No file is registered: taken down, the ring would keep it, with the lock on
 * the image, until a work queue of the kernel has time.
 */
#define _GNU_SOURCE
#include "virtio/blk/ring.h"

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = { IORING_OP_READV, IORING_OP_WRITEV,
				       IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction res[ARRAY_SIZE(ops)];

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		res[i] = (struct io_uring_restriction){
			.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i]
		};
	return io_uring_register_restrictions(ring, res, ARRAY_SIZE(res));
}

int blk_ring_open(struct io_uring *ring, unsigned int entries)
{
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	unsigned int workers[2] = { BLK_RING_WORKERS, BLK_RING_WORKERS };
	int r;

	r = io_uring_queue_init_params(entries, ring, &params);
	if (r < 0)
		return r;
	/* Only a bound: kernels before 5.15 do not know it. */
	(void)io_uring_register_iowq_max_workers(ring, workers);
	r = restrict_ring(ring);
	if (r == 0)
		r = io_uring_enable_rings(ring);
	if (r < 0)
		io_uring_queue_exit(ring);
	return r < 0 ? r : 0;
}
