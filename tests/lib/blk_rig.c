/* SPDX-License-Identifier: BSD-3-Clause */
/* See blk_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/blk_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"

char engine_uring[] = "engine=uring", engine_threads[] = "engine=threads";

static bool have_uring(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

char *engine_word(size_t engine)
{
	if (engine == 0 && !have_uring())
		cr_skip("no io_uring on this host");
	return engine == 0 ? engine_uring : engine_threads;
}

void image_make(struct disk *d, uint32_t bytes)
{
	uint8_t buf[BLK_SECTOR];

	(void)snprintf(d->path, sizeof(d->path), "/tmp/torpor-blk-XXXXXX");
	d->fd = mkostemp(d->path, O_CLOEXEC);
	cr_assert(ge(int, d->fd, 0));
	for (uint32_t i = 0; i < bytes / BLK_SECTOR; i++) {
		memset(buf, (int)(i % 251 + 1), sizeof(buf));
		cr_assert(zero(int, fd_write_all(d->fd, buf, sizeof(buf))));
	}
	cr_assert(zero(int, ftruncate(d->fd, bytes)));
	(void)snprintf(d->path_word, sizeof(d->path_word), "path=%s", d->path);
}

void disk_attach(struct disk *d, uint64_t features)
{
	front_connect(&d->f, d->dev);
	front_negotiate(&d->f, features);
	d->hdr = guest_alloc(&d->f.g, 16, 16);
	d->data = guest_alloc(&d->f.g, 256 << 10, 4096);
	d->status = guest_alloc(&d->f.g, 16, 16);
	front_start(&d->f, 0);
}

void disk_open(struct disk *d, char *engine, char *word, uint64_t features)
{
	char *args[] = { d->path_word, engine, word, NULL };

	memset(d, 0, sizeof(*d));
	front_init(&d->f);
	image_make(d, IMAGE_BYTES);
	cr_assert(zero(int, virtio_blk_ops.create(&d->f.loop, args,
						  virtio_no_fds, &d->dev)));
	disk_attach(d, features);
}

void disk_close(struct disk *d)
{
	front_finish(&d->f);
	virtio_blk_ops.destroy(d->dev);
	(void)unlink(d->path);
	(void)close(d->fd);
}

uint8_t *at(const struct disk *d, uint64_t gpa)
{
	return guest_ptr(&d->f.g, gpa);
}

void set_hdr(struct disk *d, uint64_t gpa, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };

	memcpy(at(d, gpa), &hdr, sizeof(hdr));
}

uint32_t wait_used(struct disk *d, uint16_t head)
{
	struct guest_ring *r = &d->f.ring[0];

	r->avail->ring[r->size] = r->last_used;
	return front_wait_used(&d->f, 0, head);
}

int request(struct disk *d, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct guest_buf bufs[3] = { { d->hdr, 16, false },
				     { d->data, len, in },
				     { d->status, 1, true } };

	set_hdr(d, d->hdr, type, sector);
	*at(d, d->status) = 0xee;
	if (!len)
		bufs[1] = bufs[2];
	d->used_len =
		wait_used(d, guest_ring_add(&d->f.ring[0], bufs, len ? 3 : 2));
	return *at(d, d->status);
}

int range_request(struct disk *d, uint32_t type, uint64_t sector,
		  uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes seg = { .sector = sector,
						       .num_sectors = sectors,
						       .flags = flags };

	memcpy(at(d, d->data), &seg, sizeof(seg));
	return request(d, type, 0, sizeof(seg));
}

uint8_t image_byte(const struct disk *d, uint64_t off)
{
	uint8_t b = 0;

	cr_assert(eq(sz, (size_t)pread(d->fd, &b, 1, (off_t)off), 1));
	return b;
}

bool image_is(const struct disk *d, uint64_t sector, uint32_t sectors,
	      int value)
{
	for (uint64_t o = 0; o < (uint64_t)sectors * BLK_SECTOR; o += 64) {
		if (image_byte(d, sector * BLK_SECTOR + o) != value)
			return false;
	}
	return true;
}

void add_reads(struct disk *d, unsigned int n, uint32_t len, uint64_t hdrs,
	       uint64_t stats)
{
	for (unsigned int i = 0; i < n; i++) {
		struct guest_buf bufs[3] = {
			{ hdrs + i * 16, 16, false },
			{ d->data + (i * len) % (128 << 10), len, true },
			{ stats + i * 16, 1, true }
		};

		set_hdr(d, hdrs + i * 16, VIRTIO_BLK_T_IN, (i * 3) % 512);
		*at(d, stats + i * 16) = 0xee;
		(void)guest_ring_add_indirect(&d->f.ring[0], bufs, 3);
	}
}
