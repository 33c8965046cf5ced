/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies between private memory and the scattered buffers of a chain. The
 * buffers are guest memory: each byte is touched once, by one memcpy.
 */
#ifndef TORPOR_VIRTIO_IOV_H
#define TORPOR_VIRTIO_IOV_H

#include <sys/uio.h>

#include "vmm/base/util.h"

/* Copies up to @len bytes at @off of an iov array. Return: bytes copied. */
size_t iov_read(const struct iovec *iov, unsigned int nr, size_t off, void *buf,
		size_t len);
size_t iov_write(const struct iovec *iov, unsigned int nr, size_t off,
		 const void *buf, size_t len);
/*
 * The part [off, off + len) of @src as a new array. Return: entries, or
 * -ENOBUFS if @max is too small, -EINVAL if the range is not inside.
 */
int iov_slice(const struct iovec *src, unsigned int nr, size_t off, size_t len,
	      struct iovec *dst, unsigned int max) must_check;

#endif
