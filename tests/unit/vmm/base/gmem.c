/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/gmem.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static int memfd(uint64_t size)
{
	int fd = fd_memfd_sealed("test", size, 0);

	cr_assert(ge(int, fd, 0));
	return fd;
}

static int add_fd(struct gmem *gm, uint64_t gpa, uint64_t size, uint64_t user,
		  int fd, uint64_t off)
{
	struct gmem_region r = { .gpa = gpa,
				 .size = size,
				 .user_addr = user,
				 .fd = fd,
				 .fd_offset = off };

	return gmem_add(gm, &r);
}

static int add(struct gmem *gm, uint64_t gpa, uint64_t size)
{
	int fd = memfd(size);
	int r = add_fd(gm, gpa, size, gpa + GIB, fd, 0);

	if (r < 0)
		fd_close(&fd);
	return r;
}

Test(gmem, finish_takes_null_and_zeroed, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };

	gmem_finish(NULL);
	gmem_finish(&gm);
	cr_assert(zero(uint, gm.nr));
}

Test(gmem, add_keeps_regions_sorted, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };

	cr_assert(zero(int, add(&gm, 4 * MIB, MIB)));
	cr_assert(zero(int, add(&gm, MIB, MIB)));
	cr_assert(zero(int, add(&gm, 2 * MIB, MIB)));
	cr_assert(eq(uint, gm.nr, 3));
	cr_assert(eq(u64, gm.regions[0].gpa, MIB));
	cr_assert(eq(u64, gm.regions[1].gpa, 2 * MIB));
	cr_assert(eq(u64, gm.regions[2].gpa, 4 * MIB));
	gmem_finish(&gm);
	cr_assert(zero(uint, gm.nr));
}

Test(gmem, add_refuses_empty_wrapping_and_overlapping, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	int fd = memfd(MIB);

	cr_assert(zero(int, add(&gm, 2 * MIB, 2 * MIB)));
	cr_assert(eq(int, add_fd(&gm, 0, 0, 0, fd, 0), -EINVAL));
	cr_assert(
		eq(int, add_fd(&gm, UINT64_MAX - 100, MIB, 0, fd, 0), -EINVAL));
	cr_assert(eq(int, add_fd(&gm, 3 * MIB, MIB, 0, fd, 0), -EINVAL));
	cr_assert(eq(int, add_fd(&gm, 2 * MIB - 4096, MIB, 0, fd, 0), -EINVAL));
	cr_assert(eq(int, add_fd(&gm, MIB, GIB, 0, fd, 0), -EINVAL));
	cr_assert(eq(uint, gm.nr, 1));
	/* Refused: still ours to close. */
	cr_assert(zero(int, close(fd)));
	gmem_finish(&gm);
}

Test(gmem, add_refuses_a_region_beyond_the_file, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	int fd = memfd(MIB);

	cr_assert(eq(int, add_fd(&gm, 0, 2 * MIB, 0, fd, 0), -EINVAL));
	cr_assert(eq(int, add_fd(&gm, 0, MIB, 0, fd, 4096), -EINVAL));
	cr_assert(eq(int, add_fd(&gm, 0, MIB, 0, fd, UINT64_MAX - 4095),
		     -EINVAL));
	cr_assert(zero(uint, gm.nr));
	cr_assert(zero(int, close(fd)));
	cr_assert(eq(int, add_fd(&gm, 0, MIB, 0, fd, 0), -EBADF));
	cr_assert(eq(int, add_fd(&gm, 0, MIB, 0, -1, 0), -EINVAL));
}

Test(gmem, add_takes_memory_mapped_elsewhere, .timeout = 120)
{
	static uint8_t ram[4096];
	struct gmem gm = { .nr = 0 };
	struct gmem_region r = {
		.gpa = MIB, .size = sizeof(ram), .hva = ram, .fd = -1
	};
	void *p;

	cr_assert(zero(int, gmem_add(&gm, &r)));
	cr_assert(zero(int, gmem_span(&gm, MIB + 8, 8, &p)));
	cr_assert(eq(ptr, p, ram + 8));
	gmem_finish(&gm);
	ram[0] = 1; /* not unmapped */
}

Test(gmem, add_refuses_one_region_too_many, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };

	for (unsigned int i = 0; i < GMEM_MAX_REGIONS; i++)
		cr_assert(zero(int, add(&gm, i * MIB, 4096)));
	cr_assert(eq(int, add(&gm, GIB, 4096), -ENOSPC));
	gmem_finish(&gm);
}

Test(gmem, file_offset_within_a_page_is_honoured, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	int fd = memfd(MIB);
	char got[4];
	void *p;

	cr_assert(eq(int, (int)pwrite(fd, "abcd", 4, 8192 + 512), 4));
	cr_assert(zero(int, add_fd(&gm, GIB, 4096, 0, fd, 8192 + 512)));
	cr_assert(zero(int, gmem_span(&gm, GIB, 4, &p)));
	memcpy(got, p, sizeof(got));
	cr_assert(zero(int, memcmp(got, "abcd", 4)));
	gmem_finish(&gm);
}

Test(gmem, remove_wants_exact_address_and_size, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	void *p;

	cr_assert(zero(int, add(&gm, MIB, MIB)));
	cr_assert(zero(int, add(&gm, 4 * MIB, MIB)));
	cr_assert(eq(int, gmem_remove(&gm, MIB, MIB - 1), -ENOENT));
	cr_assert(eq(int, gmem_remove(&gm, MIB + 1, MIB), -ENOENT));
	cr_assert(zero(int, gmem_remove(&gm, MIB, MIB)));
	cr_assert(eq(int, gmem_span(&gm, MIB, 1, &p), -EFAULT));
	cr_assert(zero(int, gmem_span(&gm, 4 * MIB, 1, &p)));
	gmem_finish(&gm);
}

Test(gmem, span_refuses_what_is_not_in_one_region, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	void *p = NULL;

	cr_assert(zero(int, add(&gm, MIB, MIB)));
	cr_assert(zero(int, add(&gm, 2 * MIB, MIB)));
	cr_assert(zero(int, gmem_span(&gm, MIB, MIB, &p)));
	cr_assert(eq(ptr, p, gm.regions[0].hva));
	p = NULL;
	cr_assert(eq(int, gmem_span(&gm, MIB, 0, &p), -EINVAL));
	cr_assert(eq(int, gmem_span(&gm, MIB - 1, 1, &p), -EFAULT));
	cr_assert(eq(int, gmem_span(&gm, MIB, MIB + 1, &p), -EFAULT));
	cr_assert(eq(int, gmem_span(&gm, 3 * MIB, 1, &p), -EFAULT));
	cr_assert(eq(int, gmem_span(&gm, MIB + 4, UINT64_MAX, &p), -EFAULT));
	cr_assert(eq(int, gmem_span(&gm, UINT64_MAX, 2, &p), -EFAULT));
	cr_assert(p == NULL);
	gmem_finish(&gm);
}

Test(gmem, iov_crosses_adjacent_regions_only, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	struct iovec iov[4];

	cr_assert(zero(int, add(&gm, MIB, MIB)));
	cr_assert(zero(int, add(&gm, 2 * MIB, MIB)));
	cr_assert(zero(int, add(&gm, 4 * MIB, MIB)));
	cr_assert(eq(int, gmem_iov(&gm, 2 * MIB - 16, 48, iov, 4), 2));
	cr_assert(eq(ptr, iov[0].iov_base, gm.regions[0].hva + MIB - 16));
	cr_assert(eq(sz, iov[0].iov_len, 16));
	cr_assert(eq(ptr, iov[1].iov_base, gm.regions[1].hva));
	cr_assert(eq(sz, iov[1].iov_len, 32));
	cr_assert(eq(int, gmem_iov(&gm, 2 * MIB - 16, 48, iov, 1), -ENOBUFS));
	cr_assert(eq(int, gmem_iov(&gm, 3 * MIB - 16, 48, iov, 4), -EFAULT));
	cr_assert(eq(int, gmem_iov(&gm, MIB, 0, iov, 4), -EINVAL));
	cr_assert(eq(int, gmem_iov(&gm, UINT64_MAX - 3, 8, iov, 4), -EFAULT));
	cr_assert(eq(int, gmem_iov(&gm, 0, 8, iov, 4), -EFAULT));
	gmem_finish(&gm);
}

Test(gmem, from_user_translates_the_peers_addresses, .timeout = 120)
{
	struct gmem gm = { .nr = 0 };
	void *p;

	cr_assert(zero(int, add(&gm, MIB, MIB)));
	cr_assert(zero(int, gmem_from_user(&gm, GIB + MIB + 4, 8, &p)));
	cr_assert(eq(ptr, p, gm.regions[0].hva + 4));
	cr_assert(eq(int, gmem_from_user(&gm, GIB + MIB, 0, &p), -EINVAL));
	cr_assert(eq(int, gmem_from_user(&gm, GIB + MIB - 1, 8, &p), -EFAULT));
	cr_assert(eq(int, gmem_from_user(&gm, GIB + 2 * MIB - 4, 8, &p),
		     -EFAULT));
	cr_assert(eq(int, gmem_from_user(&gm, GIB + 2 * MIB, 8, &p), -EFAULT));
	cr_assert(eq(int, gmem_from_user(&gm, UINT64_MAX, 8, &p), -EFAULT));
	gmem_finish(&gm);
}
