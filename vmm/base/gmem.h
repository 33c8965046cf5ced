/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest memory of a process: a sorted table of regions, each a mapping of a
 * part of a sealed memfd. Used by the VMM (its own mapping of all RAM) and by
 * every device process (SET_MEM_TABLE). The table changes only while no ring
 * runs, so lookups take no lock.
 *
 * Every guest address goes through gmem_span() or gmem_iov(). The memory is
 * shared with the guest: fields are read once, with shared_load().
 */
#ifndef TORPOR_VMM_BASE_GMEM_H
#define TORPOR_VMM_BASE_GMEM_H

#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/util.h"

#define GMEM_MAX_REGIONS 32

struct gmem_region {
	uint64_t gpa;	    /* guest physical address, bytes */
	uint64_t size;	    /* bytes */
	uint8_t *hva;	    /* where it is mapped in this process */
	uint64_t user_addr; /* vhost-user: the front end's address of it */
	int fd;		    /* owned; -1 if none */
	uint64_t fd_offset; /* of the first byte of the region, bytes */
	void *map_base;	    /* the mmap, NULL if the region does not own it */
	uint64_t map_size;  /* bytes */
};

struct gmem {
	struct gmem_region regions[GMEM_MAX_REGIONS]; /* by gpa, disjoint */
	unsigned int nr;
};

/* Unmaps and closes everything that the table owns; the table may be zeroed. */
void gmem_finish(struct gmem *gm);

/**
 * gmem_add() - map and add a region
 * @region: gpa, size, fd, fd_offset, user_addr set. On success fd is owned by
 *	    the table, on failure still by the caller.
 *
 * Return: 0; -EINVAL empty, wrapping or overlapping; -ENOSPC table full;
 * -errno of mmap.
 */
int gmem_add(struct gmem *gm, const struct gmem_region *region) must_check;
/* Removes the region with exactly this gpa and size. -ENOENT if none. */
int gmem_remove(struct gmem *gm, uint64_t gpa, uint64_t size) must_check;

/**
 * gmem_span() - translate a guest range that lies in one region
 * @gpa: bytes
 * @len: bytes, > 0
 * @ret_hva: borrowed, valid until the table changes
 *
 * Return: 0; -EFAULT outside RAM, wrapping or crossing a region's end;
 * -EINVAL for @len == 0.
 */
int gmem_span(const struct gmem *gm, uint64_t gpa, uint64_t len,
	      void **ret_hva) must_check;

/**
 * gmem_iov() - translate a range that may cross adjacent regions
 * @iov: room for @max entries
 *
 * Return: entries used (1 .. @max); -EFAULT outside RAM or wrapping; -ENOBUFS
 * if @max is too small; -EINVAL for @len == 0.
 */
int gmem_iov(const struct gmem *gm, uint64_t gpa, uint64_t len,
	     struct iovec *iov, unsigned int max) must_check;

/* vhost-user ring addresses are the front end's: -EFAULT if not in RAM. */
int gmem_from_user(const struct gmem *gm, uint64_t user_addr, uint64_t len,
		   void **ret_hva) must_check;

#endif
