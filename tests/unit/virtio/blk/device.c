/* SPDX-License-Identifier: BSD-3-Clause */
/* The config space of the block device and the words it takes. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#include "tests/lib/blk_rig.h"

Test(blk, config_space_is_valid, .timeout = 120)
{
	struct virtio_blk_config config;
	struct disk d;

	disk_open(&d, engine_threads, NULL, BASIC);
	cr_assert(front_get_config(&d.f, 0, &config, sizeof(config)));
	cr_assert(eq(u64, config.capacity, SECTORS));
	cr_assert(eq(u32, config.seg_max, 254));
	cr_assert(eq(u32, config.blk_size, 512));
	cr_assert(eq(u8, config.physical_block_exp, 3));
	cr_assert(eq(u16, config.min_io_size, 8));
	cr_assert(eq(u16, config.num_queues, 1));
	cr_assert(eq(u32, config.max_discard_seg, BLK_DISCARD_SEGS));
	cr_assert(eq(u32, config.max_discard_sectors, BLK_DISCARD_SECTORS));
	cr_assert(eq(u32, config.discard_sector_alignment, 8));
	cr_assert(eq(u32, config.max_write_zeroes_seg, 1));
	cr_assert(eq(u32, config.max_write_zeroes_sectors, BLK_ZEROES_SECTORS));
	cr_assert(eq(u8, config.write_zeroes_may_unmap, 1));
	cr_assert(zero(u8, config.unused | config.unused1[0]));
	disk_close(&d);
}

static char w_unknown[] = "frob", w_engine[] = "engine=magic",
	    w_id[] = "id=123456789012345678901", w_nofile[] = "path=/nonexist",
	    w_dir[] = "path=/tmp", w_ro[] = "ro", w_full[] = "path=/dev/full";
static char *const bad_words[][3] = {
	{ w_unknown }, { w_engine },	{ w_id },
	{ w_nofile },  { w_dir, w_ro }, { w_full }
};
static const int bad_results[] = { -EINVAL, -EINVAL,  -EINVAL,
				   -ENOENT, -ENOTBLK, -ENOTBLK };

Test(blk, bad_words_are_refused, .timeout = 120)
{
	struct virtio_dev *dev = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (size_t i = 0; i < ARRAY_SIZE(bad_words); i++)
		cr_assert(eq(int,
			     virtio_blk_ops.create(&loop, bad_words[i],
						   virtio_no_fds, &dev),
			     bad_results[i]),
			  "case %zu", i);
	cr_assert(dev == NULL);
	loop_finish(&loop);
}

Test(blk, destroy_takes_null)
{
	virtio_blk_ops.destroy(NULL);
}
