/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory table. Lookups walk the few sorted regions; every range check
 * subtracts instead of adding, so that no guest value can wrap it. Used by the
 * thread that owns the table, which is changed only while no ring runs.
 */
#define _GNU_SOURCE
#include "vmm/base/gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static void region_release(struct gmem_region *r)
{
	if (r->map_base)
		(void)munmap(r->map_base, r->map_size);
	fd_close(&r->fd);
	r->map_base = NULL;
	r->hva = NULL;
}

void gmem_finish(struct gmem *gm)
{
	if (!gm)
		return;
	for (unsigned int i = 0; i < gm->nr; i++)
		region_release(&gm->regions[i]);
	gm->nr = 0;
}

/*
 * Maps the region's piece of its fd. A file shorter than the region would turn
 * guest addresses into SIGBUS, so the size is checked first. Huge pages want
 * offset and length in their own unit, which st_blksize tells.
 */
static int region_map(struct gmem_region *r)
{
	uint64_t start, end, unit;
	struct stat st;
	void *p;

	if (fstat(r->fd, &st) < 0)
		return -errno;
	if (r->fd_offset > UINT64_MAX - r->size ||
	    r->fd_offset + r->size > (uint64_t)st.st_size)
		return -EINVAL;
	unit = MAX((uint64_t)st.st_blksize, (uint64_t)getpagesize());
	if (unit & (unit - 1))
		return -EINVAL;
	start = r->fd_offset & ~(unit - 1);
	end = (r->fd_offset + r->size + unit - 1) & ~(unit - 1);
	/* Huge pages are reserved by this: too few of them fails here, not
	 * at an access. */
	p = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		 (off_t)start);
	if (p == MAP_FAILED)
		return -errno;
	/* Guest memory has no place in a core file; not vital if refused. */
	(void)madvise(p, end - start, MADV_DONTDUMP);
	r->map_base = p;
	r->map_size = end - start;
	r->hva = (uint8_t *)p + (r->fd_offset - start);
	return 0;
}

int gmem_add(struct gmem *gm, const struct gmem_region *region)
{
	struct gmem_region r = *region;
	unsigned int at = 0;
	int err;

	if (!r.size || r.size - 1 > UINT64_MAX - r.gpa)
		return -EINVAL;
	if (gm->nr == GMEM_MAX_REGIONS)
		return -ENOSPC;
	while (at < gm->nr && gm->regions[at].gpa < r.gpa)
		at++;
	if (at > 0 &&
	    r.gpa - gm->regions[at - 1].gpa < gm->regions[at - 1].size)
		return -EINVAL;
	if (at < gm->nr && gm->regions[at].gpa - r.gpa < r.size)
		return -EINVAL;

	r.map_base = NULL;
	r.map_size = 0;
	if (r.fd >= 0) {
		err = region_map(&r);
		if (err < 0)
			return err;
	} else if (!r.hva) {
		return -EINVAL;
	}
	memmove(&gm->regions[at + 1], &gm->regions[at],
		(gm->nr - at) * sizeof(gm->regions[0]));
	gm->regions[at] = r;
	gm->nr++;
	return 0;
}

int gmem_remove(struct gmem *gm, uint64_t gpa, uint64_t size)
{
	for (unsigned int i = 0; i < gm->nr; i++) {
		if (gm->regions[i].gpa != gpa || gm->regions[i].size != size)
			continue;
		region_release(&gm->regions[i]);
		gm->nr--;
		memmove(&gm->regions[i], &gm->regions[i + 1],
			(gm->nr - i) * sizeof(gm->regions[0]));
		return 0;
	}
	return -ENOENT;
}

static const struct gmem_region *region_of(const struct gmem *gm, uint64_t gpa)
{
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

int gmem_span(const struct gmem *gm, uint64_t gpa, uint64_t len, void **ret_hva)
{
	const struct gmem_region *r;

	if (!len)
		return -EINVAL;
	r = region_of(gm, gpa);
	if (!r || len > r->size - (gpa - r->gpa))
		return -EFAULT;
	*ret_hva = r->hva + (gpa - r->gpa);
	return 0;
}

int gmem_iov(const struct gmem *gm, uint64_t gpa, uint64_t len,
	     struct iovec *iov, unsigned int max)
{
	unsigned int n = 0;

	if (!len)
		return -EINVAL;
	if (len - 1 > UINT64_MAX - gpa)
		return -EFAULT;
	while (len > 0) {
		const struct gmem_region *r = region_of(gm, gpa);
		uint64_t part;

		if (!r)
			return -EFAULT;
		if (n == max)
			return -ENOBUFS;
		part = MIN(len, r->size - (gpa - r->gpa));
		iov[n].iov_base = r->hva + (gpa - r->gpa);
		iov[n].iov_len = part;
		n++;
		gpa += part;
		len -= part;
	}
	return (int)n;
}

int gmem_from_user(const struct gmem *gm, uint64_t user_addr, uint64_t len,
		   void **ret_hva)
{
	if (!len)
		return -EINVAL;
	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->regions[i];
		uint64_t off;

		if (user_addr < r->user_addr)
			continue;
		off = user_addr - r->user_addr;
		if (off >= r->size || len > r->size - off)
			continue;
		*ret_hva = r->hva + off;
		return 0;
	}
	return -EFAULT;
}
