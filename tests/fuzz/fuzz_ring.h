/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory of a fuzzer and the driver's side of a ring in it, made from
 * the input. Every region is a heap block of its own, so that the sanitizer
 * sees each access beyond its end. One thread.
 */
#ifndef TORPOR_TESTS_FUZZ_RING_H
#define TORPOR_TESTS_FUZZ_RING_H

#include <linux/virtio_ring.h>

#include "tests/fuzz/fuzz.h"
#include "virtio/device.h"
#include "vmm/base/gmem.h"

/*
 * Two regions that touch and one apart:
 *	0x10000 .. 0x30000, 0x30000 .. 0x38000, 0x80000 .. 0x82000
 */
#define FUZZ_RAM_GPA	0x10000ULL
#define FUZZ_RAM_BYTES	0x20000ULL
#define FUZZ_RAM2_BYTES 0x8000ULL
#define FUZZ_FAR_GPA	0x80000ULL
#define FUZZ_FAR_BYTES	0x2000ULL
/* Where chains have their buffers; the rings are before it. */
#define FUZZ_BUF_GPA 0x20000ULL

void fuzz_ram_create(struct gmem *gm);
void fuzz_ram_clear(struct gmem *gm);
/* All of an iovec is in one region. */
bool fuzz_ram_has(const struct gmem *gm, const struct iovec *iov);
/* Copies bytes of the input to an address of the input. */
void fuzz_ram_write(const struct gmem *gm, struct fuzz_in *in);

struct fuzz_ring {
	const struct gmem *gm;
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_desc, avail_idx;
};

/* The @index-th ring of @size entries, at most 256 but for one alone. */
void fuzz_ring_init(struct fuzz_ring *r, const struct gmem *gm,
		    unsigned int index, uint16_t size);
/* A chain that looks like one: some buffers, well or badly placed. */
void fuzz_ring_chain(struct fuzz_ring *r, struct fuzz_in *in);
/* Makes a chain with given buffers available. @lens: < 0 writable. */
void fuzz_ring_add(struct fuzz_ring *r, const uint64_t *gpas,
		   const int32_t *lens, unsigned int n);
/* Starts queue @q of @dev on the ring; @how: bits 0 and 1 features of rings. */
void fuzz_ring_start(const struct fuzz_ring *r, struct virtio_dev *dev,
		     unsigned int q, uint8_t how);
void fuzz_ring_stop(struct virtio_dev *dev, unsigned int q);
/* Anything: a descriptor, a head, an index. */
void fuzz_ring_mess(struct fuzz_ring *r, struct fuzz_in *in);

#endif
