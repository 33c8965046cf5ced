/* SPDX-License-Identifier: BSD-3-Clause */
/* The block device with O_DIRECT, where /tmp has it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/blk_rig.h"

static void disk_open_direct(struct disk *d, char *engine)
{
	static char word[] = "direct";
	char *args[] = { d->path_word, engine, word, NULL };
	int fd;

	memset(d, 0, sizeof(*d));
	front_init(&d->f);
	image_make(d, IMAGE_BYTES);
	fd = open(d->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		cr_skip("no O_DIRECT in /tmp");
	(void)close(fd);
	cr_assert(zero(int, virtio_blk_ops.create(&d->f.loop, args,
						  virtio_no_fds, &d->dev)));
	disk_attach(d, BASIC | RANGES);
}

BOTH_ENGINES(direct_bounces_unaligned_buffers)
{
	const uint32_t len = 192 << 10; /* three bounce buffers */
	struct guest_buf bufs[4];
	struct disk d;

	disk_open_direct(&d, engine_word(*engine));
	bufs[0] = (struct guest_buf){ d.hdr, 16, false };
	bufs[1] = (struct guest_buf){ d.data + 3, 1000, false };
	bufs[2] = (struct guest_buf){ d.data + 1111, len - 1000, false };
	bufs[3] = (struct guest_buf){ d.status, 1, true };
	for (uint32_t i = 0; i < 256 << 10; i++)
		at(&d, d.data)[i] = (uint8_t)(i >> 10);
	set_hdr(&d, d.hdr, VIRTIO_BLK_T_OUT, 64);
	cr_assert(eq(u32, wait_used(&d, guest_ring_add(&d.f.ring[0], bufs, 4)),
		     1));
	cr_assert(zero(u8, *at(&d, d.status)));
	for (uint32_t i = 0; i < len; i += 977) {
		uint32_t from = i < 1000 ? i + 3 : i - 1000 + 1111;

		cr_assert(eq(u8, image_byte(&d, 64 * 512 + i),
			     (uint8_t)(from >> 10)),
			  "byte %u", i);
	}
	/* And back, to another odd place. */
	memset(at(&d, d.data), 0, 256 << 10);
	bufs[1] = (struct guest_buf){ d.data + 1, 7, true };
	bufs[2] = (struct guest_buf){ d.data + 513, len - 7, true };
	set_hdr(&d, d.hdr, VIRTIO_BLK_T_IN, 64);
	cr_assert(eq(u32, wait_used(&d, guest_ring_add(&d.f.ring[0], bufs, 4)),
		     len + 1));
	for (uint32_t i = 7; i < len; i += 977)
		cr_assert(eq(u8, *at(&d, d.data + 513 + i - 7),
			     image_byte(&d, 64 * 512 + i)));
	cr_assert(zero(u8, *at(&d, d.data + 513 + len - 7)));
	disk_close(&d);
}

BOTH_ENGINES(direct_serves_aligned_buffers_and_zeroes)
{
	struct disk d;
	struct virtio_blk *blk;

	disk_open_direct(&d, engine_word(*engine));
	blk = container_of(d.dev, struct virtio_blk, dev);
	blk->no_punch = true;
	blk->no_zero_range = true;
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 8, 8192), 0));
	cr_assert(eq(u8, *at(&d, d.data), 9));
	cr_assert(eq(int,
		     range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 16, 64, 0),
		     0));
	cr_assert(image_is(&d, 16, 64, 0));
	disk_close(&d);
}
