/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "virtio/iov.h"
#include "virtio/virtq.h"

static char a[] = "abc";
static char b[] = "";
static char c[] = "defgh";

static struct iovec *pieces(void)
{
	static struct iovec iov[3];

	iov[0] = (struct iovec){ a, 3 };
	iov[1] = (struct iovec){ b, 0 };
	iov[2] = (struct iovec){ c, 5 };
	return iov;
}

Test(iov, read_crosses_pieces_and_stops_at_the_end, .timeout = 120)
{
	char buf[16] = "";

	cr_assert(eq(sz, iov_read(pieces(), 3, 1, buf, 4), 4));
	cr_assert(zero(int, strcmp(buf, "bcde")));
	memset(buf, 0, sizeof(buf));
	cr_assert(eq(sz, iov_read(pieces(), 3, 6, buf, 10), 2));
	cr_assert(zero(int, strcmp(buf, "gh")));
	cr_assert(zero(sz, iov_read(pieces(), 3, 8, buf, 1)));
	cr_assert(zero(sz, iov_read(pieces(), 3, SIZE_MAX, buf, 1)));
	cr_assert(zero(sz, iov_read(NULL, 0, 0, buf, 1)));
}

Test(iov, write_crosses_pieces_and_stops_at_the_end, .timeout = 120)
{
	cr_assert(eq(sz, iov_write(pieces(), 3, 2, "XYZ", 3), 3));
	cr_assert(zero(int, strcmp(a, "abX")));
	cr_assert(zero(int, strcmp(c, "YZfgh")));
	cr_assert(eq(sz, iov_write(pieces(), 3, 7, "1234", 4), 1));
	cr_assert(zero(int, strcmp(c, "YZfg1")));
}

Test(iov, slice_is_the_part_asked_for, .timeout = 120)
{
	struct iovec out[3];

	cr_assert(eq(int, iov_slice(pieces(), 3, 2, 3, out, 3), 2));
	cr_assert(eq(ptr, out[0].iov_base, a + 2));
	cr_assert(eq(sz, out[0].iov_len, 1));
	cr_assert(eq(ptr, out[1].iov_base, c));
	cr_assert(eq(sz, out[1].iov_len, 2));
	cr_assert(eq(int, iov_slice(pieces(), 3, 0, 8, out, 3), 2));
	cr_assert(zero(int, iov_slice(pieces(), 3, 2, 0, out, 3)));
	cr_assert(zero(int, iov_slice(pieces(), 3, 8, 0, out, 3)));
}

Test(iov, slice_refuses_a_range_outside_or_too_many_pieces, .timeout = 120)
{
	struct iovec out[3];

	cr_assert(eq(int, iov_slice(pieces(), 3, 2, 7, out, 3), -EINVAL));
	cr_assert(eq(int, iov_slice(pieces(), 3, 9, 0, out, 3), -EINVAL));
	cr_assert(eq(int, iov_slice(pieces(), 3, 2, 3, out, 1), -ENOBUFS));
}
