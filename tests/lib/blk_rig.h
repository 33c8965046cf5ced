/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block device on an image of its own in /tmp, over its back end, with either
 * engine. One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_BLK_RIG_H
#define TORPOR_TESTS_LIB_BLK_RIG_H

#include <criterion/parameterized.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/guest_ring.h"
#include "virtio/blk/blk.h"

#define IMAGE_BYTES (1U << 20)
#define SECTORS	    (IMAGE_BYTES / BLK_SECTOR)
#define BASIC                                                     \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_BLK_F_FLUSH))
#define RANGES (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))

extern char engine_uring[], engine_threads[]; /* words */

struct disk {
	struct front f;
	struct virtio_dev *dev;
	char path[64], path_word[80];
	int fd;			    /* the test's own view of the image */
	uint64_t hdr, data, status; /* gpa; data has 256 KiB */
	uint32_t used_len;
};

char *engine_word(size_t engine);
/* An image whose byte at i is a function of its sector. */
void image_make(struct disk *d, uint32_t bytes);
void disk_attach(struct disk *d, uint64_t features);
void disk_open(struct disk *d, char *engine, char *word, uint64_t features);
void disk_close(struct disk *d);
uint8_t *at(const struct disk *d, uint64_t gpa);
void set_hdr(struct disk *d, uint64_t gpa, uint32_t type, uint64_t sector);
/* As a driver with EVENT_IDX: an interrupt for the next used entry. */
uint32_t wait_used(struct disk *d, uint16_t head);
/* One request of header, @len bytes of data and status. Return: status. */
int request(struct disk *d, uint32_t type, uint64_t sector, uint32_t len);
int range_request(struct disk *d, uint32_t type, uint64_t sector,
		  uint32_t sectors, uint32_t flags);
uint8_t image_byte(const struct disk *d, uint64_t off);
bool image_is(const struct disk *d, uint64_t sector, uint32_t sectors,
	      int value);
/* Adds @n reads of @len bytes without kicking; status bytes 16 apart. */
void add_reads(struct disk *d, unsigned int n, uint32_t len, uint64_t hdrs,
	       uint64_t stats);

/* Parameter 0 is io_uring (where the host has it), 1 the threads. */
#define BOTH_ENGINES(name)                                      \
	ParameterizedTestParameters(blk, name)                  \
	{                                                       \
		static size_t engines[] = { 0, 1 };             \
		return cr_make_param_array(size_t, engines, 2); \
	}                                                       \
	ParameterizedTest(size_t *engine, blk, name, .timeout = 120)

#endif
