/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring of a disk's process: made and restricted before the jail
 * closes, since no filter sees what is put into a ring. Loop thread only, but
 * for blk_ring_open(). Spec: io_uring_register(2),
 * IORING_REGISTER_RESTRICTIONS.
 */
#ifndef TORPOR_VIRTIO_BLK_RING_H
#define TORPOR_VIRTIO_BLK_RING_H

#include <liburing.h>

#include "vmm/base/util.h"

/**
 * blk_ring_open() - a ring that does nothing but READV, WRITEV, FSYNC and
 *		     FALLOCATE, without flags, on the process's own fds
 * @entries: requests in flight
 *
 * So it offers no more than the system calls of the same names do. Nothing can
 * be registered with it any more. Any thread of the process may use it, and
 * whichever does gets the workers, at most BLK_RING_WORKERS of a kind.
 *
 * Return: 0 and @ring (io_uring_queue_exit()), -ENOSYS or -EPERM where the
 * host does not offer io_uring, or another -errno.
 */
int blk_ring_open(struct io_uring *ring, unsigned int entries) must_check;

#define BLK_RING_WORKERS 4U

#endif
