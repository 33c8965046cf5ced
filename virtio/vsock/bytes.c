/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes and records that wait, see vsock.h. A record has its length before it:
 * one byte, or 255 and three more. So they take at most twice their bytes.
 */
#include <errno.h>
#include <string.h>

#include "virtio/iov.h"
#include "virtio/vsock/vsock.h"

#define LONG_RECORD	255U
#define RECORD_HEAD_MAX 4U
#define BYTES_MIN	4096U

uint32_t vsock_bytes_len(const struct vsock_bytes *b)
{
	return b->end - b->start;
}

void vsock_bytes_free(struct vsock_bytes *b)
{
	free(b->p);
	*b = (struct vsock_bytes){ 0 };
}

void vsock_bytes_skip(struct vsock_bytes *b, uint32_t n)
{
	b->start += n;
	if (b->start == b->end)
		vsock_bytes_free(b);
}

uint8_t *vsock_bytes_room(struct vsock_bytes *b, uint32_t n)
{
	uint32_t len = vsock_bytes_len(b), size = MAX(b->size, BYTES_MIN);
	uint8_t *p;

	if (b->p && b->size - b->end >= n)
		return b->p + b->end;
	while (size - len < n)
		size *= 2;
	if (b->p && len)
		memmove(b->p, b->p + b->start, len);
	b->start = 0;
	b->end = len;
	if (b->size < size) {
		p = realloc(b->p, size);
		if (!p)
			return NULL;
		b->p = p;
		b->size = size;
	}
	return b->p + len;
}

int vsock_bytes_add(struct vsock_bytes *b, const struct iovec *iov,
		    unsigned int nr, uint32_t off, uint32_t len)
{
	uint8_t *p;

	if (!len)
		return 0;
	p = vsock_bytes_room(b, len);
	if (!p)
		return -ENOMEM;
	b->end += (uint32_t)iov_read(iov, nr, off, p, len);
	return 0;
}

uint32_t vsock_record_front(const struct vsock_bytes *b, uint32_t *ret_head)
{
	const uint8_t *p = b->p + b->start;

	*ret_head = 1;
	if (p[0] < LONG_RECORD)
		return p[0];
	*ret_head = RECORD_HEAD_MAX;
	return p[1] | (uint32_t)p[2] << 8 | (uint32_t)p[3] << 16;
}

int vsock_record_add(struct vsock_bytes *b, const struct iovec *iov,
		     unsigned int nr, uint32_t len)
{
	uint8_t *p = vsock_bytes_room(b, RECORD_HEAD_MAX + len);

	if (!p)
		return -ENOMEM;
	if (len < LONG_RECORD) {
		p[0] = (uint8_t)len;
		b->end++;
	} else {
		p[0] = LONG_RECORD;
		p[1] = (uint8_t)len;
		p[2] = (uint8_t)(len >> 8);
		p[3] = (uint8_t)(len >> 16);
		b->end += RECORD_HEAD_MAX;
	}
	return vsock_bytes_add(b, iov, nr, 0, len);
}
