/* SPDX-License-Identifier: BSD-3-Clause */
/* Discard and write zeroes: ranges of sectors, good and bad. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/blk_rig.h"

BOTH_ENGINES(discard_punches_a_hole)
{
	struct disk d;
	struct stat before, after;

	disk_open(&d, engine_word(*engine), NULL, BASIC | RANGES);
	cr_assert(zero(int, fsync(d.fd)));
	cr_assert(zero(int, fstat(d.fd, &before)));
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_DISCARD, 256, 512, 0),
		     0));
	cr_assert(zero(int, fstat(d.fd, &after)));
	cr_assert(lt(long, after.st_blocks, before.st_blocks));
	cr_assert(eq(long, after.st_size, before.st_size));
	cr_assert(image_is(&d, 256, 512, 0));
	cr_assert(eq(u8, image_byte(&d, 256 * 512 - 1), 255 % 251 + 1));
	disk_close(&d);
}

BOTH_ENGINES(discard_takes_several_segments)
{
	struct virtio_blk_discard_write_zeroes segs[3] = {
		{ .sector = 8, .num_sectors = 8 },
		{ .sector = 100, .num_sectors = 0 },
		{ .sector = 32, .num_sectors = 16 }
	};
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC | RANGES);
	memcpy(at(&d, d.data), segs, sizeof(segs));
	cr_assert(
		eq(int, request(&d, VIRTIO_BLK_T_DISCARD, 0, sizeof(segs)), 0));
	cr_assert(image_is(&d, 8, 8, 0));
	cr_assert(image_is(&d, 32, 16, 0));
	cr_assert(eq(u8, image_byte(&d, 100 * 512), 101));
	/* One bad segment: none is done. */
	segs[0].sector = 64;
	segs[2].sector = SECTORS;
	memcpy(at(&d, d.data), segs, sizeof(segs));
	cr_assert(
		eq(int, request(&d, VIRTIO_BLK_T_DISCARD, 0, sizeof(segs)), 1));
	cr_assert(eq(u8, image_byte(&d, 64 * 512), 65));
	disk_close(&d);
}

BOTH_ENGINES(write_zeroes_reads_back_zero_whatever_unmap_says)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC | RANGES);
	cr_assert(eq(int,
		     range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 3, 13, 0),
		     0));
	cr_assert(image_is(&d, 3, 13, 0));
	cr_assert(eq(int,
		     range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 65, 77,
				   VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
		     0));
	cr_assert(image_is(&d, 65, 77, 0));
	cr_assert(eq(u8, image_byte(&d, 2 * 512 + 511), 3));
	cr_assert(eq(u8, image_byte(&d, 16 * 512), 17));
	disk_close(&d);
}

BOTH_ENGINES(write_zeroes_falls_back_to_writing)
{
	struct disk d;
	struct virtio_blk *blk;

	disk_open(&d, engine_word(*engine), NULL, BASIC | RANGES);
	blk = container_of(d.dev, struct virtio_blk, dev);
	blk->no_punch = true;
	blk->no_zero_range = true;
	/* More than one step of 1 MiB would be, were the image larger. */
	cr_assert(eq(
		int,
		range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 1, SECTORS - 2, 0),
		0));
	cr_assert(image_is(&d, 1, SECTORS - 2, 0));
	cr_assert(eq(u8, image_byte(&d, 511), 1));
	cr_assert(eq(u8, image_byte(&d, IMAGE_BYTES - 1),
		     (SECTORS - 1) % 251 + 1));
	/* A discard is a hint then: it succeeds and keeps the data. */
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_DISCARD, 0, 1, 0), 0));
	cr_assert(eq(u8, image_byte(&d, 0), 1));
	disk_close(&d);
}

static const struct {
	uint32_t type;
	uint64_t sector;
	uint32_t sectors, flags;
	int status;
} bad_ranges[] = {
	{ VIRTIO_BLK_T_DISCARD, 0, 8, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_DISCARD, 0, 8, 1U << 31, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_DISCARD, SECTORS - 4, 8, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, UINT64_MAX, 8, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 3, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, SECTORS, 1, 1, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, BLK_ZEROES_SECTORS + 1, 0,
	  VIRTIO_BLK_S_IOERR },
};

Test(blk, refuses_bad_ranges, .timeout = 120)
{
	struct disk d;

	disk_open(&d, engine_threads, NULL, BASIC | RANGES);
	for (size_t i = 0; i < ARRAY_SIZE(bad_ranges); i++) {
		cr_assert(eq(int,
			     range_request(&d, bad_ranges[i].type,
					   bad_ranges[i].sector,
					   bad_ranges[i].sectors,
					   bad_ranges[i].flags),
			     bad_ranges[i].status),
			  "case %zu", i);
		cr_assert(eq(u32, d.used_len, 1));
	}
	/* Sizes: none, not a multiple of 16, too many segments. */
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_DISCARD, 0, 0), 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_DISCARD, 0, 24), 1));
	memset(at(&d, d.data), 0, 4096);
	cr_assert(eq(int,
		     request(&d, VIRTIO_BLK_T_DISCARD, 0,
			     (BLK_DISCARD_SEGS + 1) * 16),
		     1));
	cr_assert(eq(int,
		     request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0,
			     (BLK_ZEROES_SEGS + 1) * 16),
		     1));
	cr_assert(eq(u8, image_byte(&d, 0), 1));
	disk_close(&d);
}

Test(blk, ranges_not_negotiated_are_unsupported, .timeout = 120)
{
	struct disk d;

	disk_open(&d, engine_threads, NULL, BASIC);
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_DISCARD, 0, 8, 0), 2));
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0),
		     2));
	cr_assert(eq(u8, image_byte(&d, 0), 1));
	disk_close(&d);
}

Test(blk, nodiscard_does_not_offer_discard_and_never_unmaps, .timeout = 120)
{
	static char word[] = "nodiscard";
	struct virtio_blk_config config;
	struct disk d;

	disk_open(&d, engine_threads, word,
		  BASIC | BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	cr_assert(zero(u64, d.f.features & BIT(VIRTIO_BLK_F_DISCARD)));
	cr_assert(front_get_config(&d.f, 0, &config, sizeof(config)));
	cr_assert(zero(u8, config.write_zeroes_may_unmap));
	cr_assert(zero(u32, config.max_discard_seg));
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 1),
		     0));
	cr_assert(image_is(&d, 8, 8, 0));
	disk_close(&d);
}
