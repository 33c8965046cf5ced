/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/iov.h"

#include <errno.h>
#include <string.h>

size_t iov_read(const struct iovec *iov, unsigned int nr, size_t off, void *buf,
		size_t len)
{
	uint8_t *to = buf;
	size_t done = 0;

	for (unsigned int i = 0; i < nr && done < len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = MIN(len - done, iov[i].iov_len - off);
		memcpy(to + done, (const uint8_t *)iov[i].iov_base + off, part);
		done += part;
		off = 0;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, unsigned int nr, size_t off,
		 const void *buf, size_t len)
{
	const uint8_t *from = buf;
	size_t done = 0;

	for (unsigned int i = 0; i < nr && done < len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = MIN(len - done, iov[i].iov_len - off);
		memcpy((uint8_t *)iov[i].iov_base + off, from + done, part);
		done += part;
		off = 0;
	}
	return done;
}

int iov_slice(const struct iovec *src, unsigned int nr, size_t off, size_t len,
	      struct iovec *dst, unsigned int max)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr && (len > 0 || off > 0); i++) {
		size_t part;

		if (off >= src[i].iov_len) {
			off -= src[i].iov_len;
			continue;
		}
		part = MIN(len, src[i].iov_len - off);
		if (!part)
			return 0;
		if (n == max)
			return -ENOBUFS;
		dst[n].iov_base = (uint8_t *)src[i].iov_base + off;
		dst[n].iov_len = part;
		n++;
		len -= part;
		off = 0;
	}
	return len > 0 || off > 0 ? -EINVAL : (int)n;
}
