/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The block device over its back end: each line of the checklist for what it
 * offers (virtio 1.x, 5.2), with both engines. Parameter 0 is io_uring (where
 * the host has it), 1 the threads.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/blk/blk.h"
#include "virtio/blk/image.h"
#include "vmm/base/fd.h"

#define IMAGE_BYTES (1U << 20)
#define SECTORS	    (IMAGE_BYTES / BLK_SECTOR)
#define BIT(n)	    (1ULL << (n))
#define BASIC                                                     \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_BLK_F_FLUSH))
#define RANGES (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))

static char engine_uring[] = "engine=uring",
	    engine_threads[] = "engine=threads";

struct disk {
	struct front f;
	struct virtio_dev *dev;
	char path[64], path_word[80];
	int fd;			    /* the test's own view of the image */
	uint64_t hdr, data, status; /* gpa; data has 256 KiB */
	uint32_t used_len;
};

static bool have_uring(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

static char *engine_word(size_t engine)
{
	if (engine == 0 && !have_uring())
		cr_skip("no io_uring on this host");
	return engine == 0 ? engine_uring : engine_threads;
}

/* An image whose byte at i is a function of its sector. */
static void image_make(struct disk *d, uint32_t bytes)
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

static void disk_attach(struct disk *d, uint64_t features)
{
	front_connect(&d->f, d->dev);
	front_negotiate(&d->f, features);
	d->hdr = guest_alloc(&d->f.g, 16, 16);
	d->data = guest_alloc(&d->f.g, 256 << 10, 4096);
	d->status = guest_alloc(&d->f.g, 16, 16);
	front_start(&d->f, 0);
}

static void disk_open(struct disk *d, char *engine, char *word,
		      uint64_t features)
{
	char *args[] = { d->path_word, engine, word, NULL };

	memset(d, 0, sizeof(*d));
	front_init(&d->f);
	image_make(d, IMAGE_BYTES);
	cr_assert(zero(int, virtio_blk_ops.create(&d->f.loop, args,
						  virtio_no_fds, &d->dev)));
	disk_attach(d, features);
}

static void disk_close(struct disk *d)
{
	front_finish(&d->f);
	virtio_blk_ops.destroy(d->dev);
	(void)unlink(d->path);
	(void)close(d->fd);
}

static uint8_t *at(const struct disk *d, uint64_t gpa)
{
	return guest_ptr(&d->f.g, gpa);
}

static void set_hdr(struct disk *d, uint64_t gpa, uint32_t type,
		    uint64_t sector)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };

	memcpy(at(d, gpa), &hdr, sizeof(hdr));
}

/* As a driver with EVENT_IDX: an interrupt for the next used entry. */
static uint32_t wait_used(struct disk *d, uint16_t head)
{
	struct guest_ring *r = &d->f.ring[0];

	r->avail->ring[r->size] = r->last_used;
	return front_wait_used(&d->f, 0, head);
}

/* One request of header, @len bytes of data and status. Return: status. */
static int request(struct disk *d, uint32_t type, uint64_t sector, uint32_t len)
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

static int range_request(struct disk *d, uint32_t type, uint64_t sector,
			 uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes seg = { .sector = sector,
						       .num_sectors = sectors,
						       .flags = flags };

	memcpy(at(d, d->data), &seg, sizeof(seg));
	return request(d, type, 0, sizeof(seg));
}

static uint8_t image_byte(const struct disk *d, uint64_t off)
{
	uint8_t b = 0;

	cr_assert(eq(sz, (size_t)pread(d->fd, &b, 1, (off_t)off), 1));
	return b;
}

static bool image_is(const struct disk *d, uint64_t sector, uint32_t sectors,
		     int value)
{
	for (uint64_t o = 0; o < (uint64_t)sectors * BLK_SECTOR; o += 64) {
		if (image_byte(d, sector * BLK_SECTOR + o) != value)
			return false;
	}
	return true;
}

static size_t engines[] = { 0, 1 };

#define BOTH_ENGINES(name)                                      \
	ParameterizedTestParameters(blk, name)                  \
	{                                                       \
		return cr_make_param_array(size_t, engines, 2); \
	}                                                       \
	ParameterizedTest(size_t *engine, blk, name, .timeout = 120)

BOTH_ENGINES(reads_what_the_image_holds)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 7, 1024), 0));
	cr_assert(eq(u32, d.used_len, 1025));
	cr_assert(eq(u8, at(&d, d.data)[0], 8));
	cr_assert(eq(u8, at(&d, d.data)[511], 8));
	cr_assert(eq(u8, at(&d, d.data)[512], 9));
	cr_assert(eq(u8, at(&d, d.data)[1024], 0), "nothing beyond");
	disk_close(&d);
}

BOTH_ENGINES(writes_reach_the_image_and_flush_succeeds)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	memset(at(&d, d.data), 0xa5, 4096);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, 16, 4096), 0));
	cr_assert(eq(u32, d.used_len, 1));
	cr_assert(image_is(&d, 16, 8, 0xa5));
	cr_assert(eq(u8, image_byte(&d, 15 * 512 + 511), 16));
	cr_assert(eq(u8, image_byte(&d, 24 * 512), 25));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_FLUSH, 0, 0), 0));
	cr_assert(eq(u32, d.used_len, 1));
	disk_close(&d);
}

BOTH_ENGINES(without_flush_a_write_is_synced_before_it_completes)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BIT(VIRTIO_F_VERSION_1));
	memset(at(&d, d.data), 0x77, 512);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, 3, 512), 0));
	cr_assert(image_is(&d, 3, 1, 0x77));
	disk_close(&d);
}

BOTH_ENGINES(takes_buffers_cut_at_any_byte_and_a_shared_status_buffer)
{
	struct guest_buf bufs[6];
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	set_hdr(&d, d.hdr, VIRTIO_BLK_T_IN, 2);
	/* Status is the last byte of the buffer that also holds data. */
	bufs[0] = (struct guest_buf){ d.hdr, 5, false };
	bufs[1] = (struct guest_buf){ d.hdr + 5, 11, false };
	bufs[2] = (struct guest_buf){ d.data + 1, 3, true };
	bufs[3] = (struct guest_buf){ d.data + 100, 509 + 200, true };
	bufs[4] = (struct guest_buf){ d.data + 2000, 312 + 1, true };
	*at(&d, d.data + 2000 + 312) = 0xee;
	cr_assert(eq(
		u32,
		wait_used(&d, guest_ring_add_indirect(&d.f.ring[0], bufs, 5)),
		1025));
	cr_assert(eq(u8, *at(&d, d.data + 2000 + 312), 0));
	cr_assert(eq(u8, *at(&d, d.data + 1), 3));
	cr_assert(eq(u8, *at(&d, d.data + 100 + 508), 3));
	cr_assert(eq(u8, *at(&d, d.data + 100 + 509), 4));
	cr_assert(eq(u8, *at(&d, d.data + 2000 + 311), 4));
	disk_close(&d);
}

BOTH_ENGINES(many_small_buffers_are_one_transfer)
{
	struct guest_buf bufs[258];
	struct disk d;
	unsigned int n = 0;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	set_hdr(&d, d.hdr, VIRTIO_BLK_T_IN, 0);
	bufs[n++] = (struct guest_buf){ d.hdr, 16, false };
	for (unsigned int i = 0; i < 256; i++)
		bufs[n++] = (struct guest_buf){ d.data + i * 1024, 512, true };
	bufs[n++] = (struct guest_buf){ d.status, 1, true };
	*at(&d, d.status) = 0xee;
	cr_assert(eq(
		u32,
		wait_used(&d, guest_ring_add_indirect(&d.f.ring[0], bufs, n)),
		256 * 512 + 1));
	cr_assert(eq(u8, *at(&d, d.status), 0));
	for (unsigned int i = 0; i < 256; i++) {
		cr_assert(eq(u8, *at(&d, d.data + i * 1024), i % 251 + 1));
		cr_assert(eq(u8, *at(&d, d.data + i * 1024 + 512), 0));
	}
	disk_close(&d);
}

BOTH_ENGINES(out_of_range_or_odd_requests_fail_and_do_nothing)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	memset(at(&d, d.data), 0x5a, 4096);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, SECTORS - 1, 1024), 1));
	cr_assert(eq(u8, image_byte(&d, IMAGE_BYTES - 1),
		     (SECTORS - 1) % 251 + 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, SECTORS, 512), 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 1ULL << 55, 512), 1));
	cr_assert(eq(u32, d.used_len, 0), "no data was written");
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, UINT64_MAX, 512), 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, 0, 513), 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 0, 100), 1));
	cr_assert(eq(u8, image_byte(&d, 0), 1));
	cr_assert(eq(u8, *at(&d, d.data), 0x5a));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, SECTORS - 1, 512), 0));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, SECTORS, 0), 0));
	disk_close(&d);
}

BOTH_ENGINES(a_file_that_shrank_gives_an_error)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	cr_assert(zero(int, ftruncate(d.fd, IMAGE_BYTES / 2)));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, SECTORS - 8, 4096), 1));
	/* Half there: what was read counts, and the status is an error. */
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, SECTORS / 2 - 1, 1024),
		     1));
	cr_assert(eq(u32, d.used_len, 512));
	disk_close(&d);
}

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

Test(blk, get_id_pads_and_truncates, .timeout = 120)
{
	static char word[] = "id=disk0";
	static const uint8_t want[VIRTIO_BLK_ID_BYTES] = "disk0";
	struct disk d;

	disk_open(&d, engine_threads, word, BASIC);
	memset(at(&d, d.data), 0xff, 64);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_GET_ID, 0, 20), 0));
	cr_assert(eq(u32, d.used_len, 21));
	cr_assert(zero(int, memcmp(at(&d, d.data), want, sizeof(want))));
	memset(at(&d, d.data), 0xff, 64);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_GET_ID, 0, 3), 0));
	cr_assert(eq(u32, d.used_len, 4));
	cr_assert(zero(int, memcmp(at(&d, d.data), "dis\xff", 4)));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_GET_ID, 0, 40), 0));
	cr_assert(eq(u32, d.used_len, 20), "the rest was not written");
	disk_close(&d);
}

Test(blk, unknown_types_are_unsupported, .timeout = 120)
{
	static const uint32_t types[] = {
		2,	   3, 5, 10, 14, 15, 24, 26, 99, VIRTIO_BLK_T_BARRIER,
		UINT32_MAX
	};
	struct disk d;

	disk_open(&d, engine_threads, NULL, BASIC | RANGES);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		cr_assert(eq(int, request(&d, types[i], 0, 512), 2), "type %u",
			  types[i]);
	disk_close(&d);
}

Test(blk, a_read_only_disk_refuses_to_be_changed, .timeout = 120)
{
	static char word[] = "ro";
	struct disk d;

	disk_open(&d, engine_threads, word, BASIC | BIT(VIRTIO_BLK_F_RO));
	cr_assert(ne(u64, d.f.features & BIT(VIRTIO_BLK_F_RO), 0));
	cr_assert(zero(u64, d.f.features & RANGES));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_OUT, 0, 512), 1));
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_DISCARD, 0, 8, 0), 1));
	cr_assert(eq(int, range_request(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0),
		     1));
	cr_assert(eq(u8, image_byte(&d, 0), 1));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_FLUSH, 0, 0), 0));
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 5, 512), 0));
	cr_assert(eq(u8, *at(&d, d.data), 6));
	disk_close(&d);
}

Test(blk, a_short_header_is_an_error, .timeout = 120)
{
	struct guest_buf bufs[2];
	struct disk d;

	disk_open(&d, engine_threads, NULL, BASIC);
	bufs[0] = (struct guest_buf){ d.hdr, 15, false };
	bufs[1] = (struct guest_buf){ d.status, 1, true };
	set_hdr(&d, d.hdr, VIRTIO_BLK_T_FLUSH, 0);
	cr_assert(eq(u32, wait_used(&d, guest_ring_add(&d.f.ring[0], bufs, 2)),
		     1));
	cr_assert(eq(u8, *at(&d, d.status), VIRTIO_BLK_S_IOERR));
	disk_close(&d);
}

/* Data of a direction that the type does not have. */
static int wrong_way(struct disk *d, uint32_t type, bool readable,
		     bool writable)
{
	struct guest_buf bufs[4] = { { d->hdr, 16, false } };
	unsigned int n = 1;

	set_hdr(d, d->hdr, type, 3);
	*at(d, d->status) = 0xee;
	if (readable)
		bufs[n++] = (struct guest_buf){ d->data, 512, false };
	if (writable)
		bufs[n++] = (struct guest_buf){ d->data + 4096, 512, true };
	bufs[n++] = (struct guest_buf){ d->status, 1, true };
	(void)wait_used(d, guest_ring_add(&d->f.ring[0], bufs, n));
	return *at(d, d->status);
}

BOTH_ENGINES(data_the_wrong_way_round_is_an_error)
{
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC | RANGES);
	memset(at(&d, d.data), 0x99, 8192);
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_IN, true, false),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_IN, true, true),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_OUT, false, true),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_OUT, true, true),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_DISCARD, true, true),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(int, wrong_way(&d, VIRTIO_BLK_T_WRITE_ZEROES, false, true),
		     VIRTIO_BLK_S_IOERR));
	cr_assert(eq(u8, at(&d, d.data + 4096)[0], 0x99), "nothing is read");
	cr_assert(image_is(&d, 3, 1, 4), "nothing is written");
	disk_close(&d);
}

Test(blk, a_chain_without_status_breaks_the_ring, .timeout = 120)
{
	struct guest_buf buf;
	struct disk d;
	uint16_t head;
	uint32_t len;

	disk_open(&d, engine_threads, NULL, BASIC);
	buf = (struct guest_buf){ d.hdr, 16, false };
	(void)guest_ring_add(&d.f.ring[0], &buf, 1);
	guest_ring_kick(&d.f.ring[0]);
	front_wait_fd(&d.f, d.f.ring[0].err_fd);
	cr_assert(guest_ring_reap(&d.f.ring[0], &head, &len));
	cr_assert(zero(u32, len));
	disk_close(&d);
}

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

/* --------------------------------------------------- depth, stop, restart */

/* Adds @n reads of @len bytes without kicking; status bytes 16 apart. */
static void add_reads(struct disk *d, unsigned int n, uint32_t len,
		      uint64_t hdrs, uint64_t stats)
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

BOTH_ENGINES(serves_more_requests_than_it_has_slots)
{
	uint64_t hdrs, stats;
	unsigned int done = 0;
	struct disk d;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, 256, 4096, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	while (done < 256) {
		uint16_t head;
		uint32_t len;

		if (!guest_ring_reap(&d.f.ring[0], &head, &len)) {
			cr_assert(zero(int, loop_turn(&d.f.loop, 10000)));
			continue;
		}
		cr_assert(eq(u32, len, 4097));
		done++;
	}
	for (unsigned int i = 0; i < 256; i++)
		cr_assert(zero(u8, *at(&d, stats + i * 16)));
	disk_close(&d);
}

/*
 * The ring starts with chains in it and is stopped in the next message: what
 * was taken must be in the used ring, what was not must be left available.
 */
BOTH_ENGINES(stopping_a_ring_drains_it)
{
	struct guest_ring *r;
	uint64_t hdrs, stats;
	uint16_t base, head;
	unsigned int n = 0;
	struct disk d;
	uint32_t len;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	r = &d.f.ring[0];
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	base = front_stop(&d.f, 0);
	cr_assert(zero(u16, base));
	add_reads(&d, 200, 64 << 10, hdrs, stats);
	front_start(&d.f, 0);
	base = front_stop(&d.f, 0);
	cr_assert(eq(u16, base, r->used->idx));
	while (guest_ring_reap(r, &head, &len)) {
		cr_assert(eq(u32, len, (64 << 10) + 1));
		n++;
	}
	cr_assert(eq(uint, n, base));
	/* And goes on where it stopped. */
	front_start(&d.f, 0);
	while (n < 200) {
		if (guest_ring_reap(r, &head, &len))
			n++;
		else
			cr_assert(zero(int, loop_turn(&d.f.loop, 10000)));
	}
	disk_close(&d);
}

/* An engine whose steps finish only when wait() or the test says so. */
struct blk_engine {
	struct virtio_blk *blk;
	struct blk_request *held[BLK_DEPTH];
	unsigned int nr, waits;
};

static struct blk_engine slow;
static int slow_creates, slow_starts, slow_stops, refusals;

static int slow_create(struct virtio_blk *blk, struct blk_engine **ret)
{
	slow.blk = blk;
	slow_creates++;
	*ret = &slow;
	return 0;
}

static int slow_start(struct blk_engine *e)
{
	slow_starts++;
	return 0;
}

static void slow_submit(struct blk_engine *e, struct blk_request *req)
{
	cr_assert(lt(uint, e->nr, BLK_DEPTH));
	e->held[e->nr++] = req;
}

static void slow_commit(struct blk_engine *e)
{
}

static void slow_wait(struct blk_engine *e)
{
	struct blk_request *req;

	cr_assert(gt(uint, e->nr, 0), "waiting for nothing");
	req = e->held[--e->nr];
	e->waits++;
	/* Half a transfer at a time, to see that the rest is waited for. */
	if (req->op == BLK_OP_READ && req->iov[0].iov_len > BLK_SECTOR)
		blk_request_done(req, (int64_t)req->iov[0].iov_len / 2);
	else
		blk_request_done(req, req->op == BLK_OP_READ ? BLK_SECTOR : 0);
}

static void slow_stop(struct blk_engine *e)
{
	cr_assert(zero(uint, e->nr));
	slow_stops++;
}

static void slow_destroy(struct blk_engine *e)
{
}

static const struct blk_engine_ops slow_ops = {
	.name = "slow",
	.create = slow_create,
	.destroy = slow_destroy,
	.start = slow_start,
	.submit = slow_submit,
	.commit = slow_commit,
	.wait = slow_wait,
	.stop = slow_stop,
};

static int refuse(struct virtio_blk *blk, struct blk_engine **ret)
{
	refusals++;
	return -EPERM;
}

static const struct blk_engine_ops refusing_ops = { .name = "refusing",
						    .create = refuse };

static void disk_open_slow(struct disk *d)
{
	struct blk_config cfg = { .engines = { &refusing_ops, &slow_ops } };
	struct virtio_blk *blk;

	memset(d, 0, sizeof(*d));
	front_init(&d->f);
	image_make(d, IMAGE_BYTES);
	cfg.fd = dup(d->fd);
	cr_assert(zero(int, blk_create(&d->f.loop, &cfg, &blk)));
	d->dev = &blk->dev;
	disk_attach(d, BASIC);
}

Test(blk, stop_waits_for_a_slow_back_end_and_holds_no_engine, .timeout = 120)
{
	uint64_t hdrs, stats;
	struct disk d;
	uint16_t base;

	disk_open_slow(&d);
	cr_assert(eq(int, slow_starts, 1), "the first engine refused");
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, 100, 4096, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	front_settle(&d.f);
	cr_assert(eq(uint, slow.nr, BLK_DEPTH), "in flight is bounded");
	cr_assert(zero(u16, d.f.ring[0].used->idx));
	(void)fd_event_drain(d.f.ring[0].call_fd);
	base = front_stop(&d.f, 0);
	cr_assert(eq(u16, base, BLK_DEPTH));
	cr_assert(eq(u16, d.f.ring[0].used->idx, BLK_DEPTH));
	cr_assert(eq(uint, slow.waits, BLK_DEPTH * 4), "4096 halved thrice");
	cr_assert(gt(u64, fd_event_drain(d.f.ring[0].call_fd), 0));
	cr_assert(eq(int, slow_stops, 1));
	for (unsigned int i = 0; i < BLK_DEPTH; i++)
		cr_assert(zero(u8, *at(&d, stats + i * 16)));
	cr_assert(eq(u8, *at(&d, stats + BLK_DEPTH * 16), 0xee));
	front_start(&d.f, 0);
	cr_assert(eq(int, slow_starts, 2));
	cr_assert(eq(uint, slow.nr, 100 - BLK_DEPTH));
	disk_close(&d);
	cr_assert(eq(int, slow_stops, 2));
	/* Not asked, nor told of, at each start: a guest paces those. */
	cr_assert(eq(int, refusals, 1));
	cr_assert(eq(int, slow_creates, 1));
}

/* An engine may copy all of it at once: the loop is not to wait for that. */
Test(blk, a_turn_begins_so_many_bytes, .timeout = 120)
{
	uint64_t hdrs, stats;
	struct disk d;

	disk_open_slow(&d);
	hdrs = guest_alloc(&d.f.g, 256 * 16, 16);
	stats = guest_alloc(&d.f.g, 256 * 16, 16);
	add_reads(&d, BLK_DEPTH, 128 << 10, hdrs, stats);
	guest_ring_kick(&d.f.ring[0]);
	cr_assert(zero(int, loop_turn(&d.f.loop, 0)));
	cr_assert(gt(uint, slow.nr, 0));
	cr_assert(le(uint, slow.nr, BLK_DEPTH / 2), "%u", slow.nr);
	front_settle(&d.f);
	cr_assert(eq(uint, slow.nr, BLK_DEPTH));
	(void)front_stop(&d.f, 0);
	disk_close(&d);
}

BOTH_ENGINES(stop_and_start_many_times_leaks_nothing)
{
	struct disk d;
	int fd, first;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	(void)front_stop(&d.f, 0);
	front_start(&d.f, 0);
	first = dup(0);
	(void)close(first);
	for (int i = 0; i < 50; i++) {
		cr_assert(eq(int, request(&d, VIRTIO_BLK_T_IN, 1, 512), 0));
		(void)front_stop(&d.f, 0);
		front_start(&d.f, 0);
	}
	fd = dup(0);
	cr_assert(eq(int, fd, first));
	(void)close(fd);
	disk_close(&d);
}

BOTH_ENGINES(the_lock_of_the_image_goes_with_the_device)
{
	struct disk d;
	int fd;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_FLUSH, 0, 0), 0));
	fd = open(d.path, O_RDWR | O_CLOEXEC);
	cr_assert(lt(int, flock(fd, LOCK_EX | LOCK_NB), 0), "it is locked");
	front_finish(&d.f);
	virtio_blk_ops.destroy(d.dev);
	/* Not eventually: at once. A stale ring would keep it. */
	cr_assert(zero(int, flock(fd, LOCK_EX | LOCK_NB)));
	(void)close(fd);
	(void)unlink(d.path);
	(void)close(d.fd);
}

/* -------------------------------------------------------------- O_DIRECT */

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

/* ------------------------------------------------------------- the words */

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

Test(blk, an_image_in_use_is_refused, .timeout = 120)
{
	struct virtio_dev *dev = NULL;
	struct disk d = { 0 };
	struct loop loop;
	char *args[] = { d.path_word, NULL };

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 4096);
	cr_assert(zero(int, flock(d.fd, LOCK_EX)));
	cr_assert(eq(int,
		     virtio_blk_ops.create(&loop, args, virtio_no_fds, &dev),
		     -EWOULDBLOCK));
	(void)unlink(d.path);
	loop_finish(&loop);
}

/* Creates a disk by hand from an image of @len bytes. Return: the result. */
static int by_hand(const void *bytes, size_t len, bool raw, uint64_t *sectors)
{
	static char word[] = "format=raw";
	struct virtio_blk_config config;
	struct virtio_dev *dev = NULL;
	struct disk d = { 0 };
	char *args[] = { d.path_word, raw ? word : NULL, NULL };
	struct loop loop;
	int r;

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 0);
	cr_assert(zero(int, fd_write_all(d.fd, bytes, len)));
	r = virtio_blk_ops.create(&loop, args, virtio_no_fds, &dev);
	if (r == 0) {
		memcpy(&config, dev->config, sizeof(config));
		*sectors = config.capacity;
	}
	virtio_blk_ops.destroy(dev);
	(void)unlink(d.path);
	(void)close(d.fd);
	loop_finish(&loop);
	return r;
}

Test(blk, an_image_of_no_whole_sectors_loses_its_tail_or_is_refused,
     .timeout = 120)
{
	static const uint8_t zeroes[2000];
	uint64_t sectors = 0;

	cr_assert(eq(int, by_hand(zeroes, 0, false, &sectors), -EINVAL));
	cr_assert(eq(int, by_hand(zeroes, 511, false, &sectors), -EINVAL));
	cr_assert(eq(int, by_hand(zeroes, 511, true, &sectors), -EINVAL));
	cr_assert(zero(int, by_hand(zeroes, 512, false, &sectors)));
	cr_assert(eq(u64, sectors, 1));
	cr_assert(zero(int, by_hand(zeroes, 2000, false, &sectors)));
	cr_assert(eq(u64, sectors, 3));
}

Test(blk, formats_that_are_not_raw_are_known, .timeout = 120)
{
	static const struct {
		const char *name, *bytes;
		size_t offset, len;
	} heads[] = {
		{ "qcow2", "QFI\xfb", 0, 4 },
		{ "qed", "QED\0", 0, 4 },
		{ "vmdk", "KDMV", 0, 4 },
		{ "vmdk", "# Disk DescriptorFile", 0, 21 },
		{ "vdi", "\x7f\x10\xda\xbe", 64, 4 },
		{ "vhdx", "vhdxfile", 0, 8 },
		{ "vpc", "conectix", 0, 8 },
		{ "parallels", "WithoutFreeSpace", 0, 16 },
		{ "gzip", "\x1f\x8b\x08", 0, 3 },
		{ "xz", "\xfd\x37zXZ\0", 0, 6 },
		{ "zstd", "\x28\xb5\x2f\xfd", 0, 4 },
	};
	uint64_t sectors = 0;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		uint8_t buf[1024] = { 0 };
		const char *name;

		memcpy(buf + heads[i].offset, heads[i].bytes, heads[i].len);
		name = blk_image_format(buf, sizeof(buf));
		cr_assert(name != NULL, "%s", heads[i].name);
		cr_assert(zero(int, strcmp(name, heads[i].name)), "%s", name);
		/* Not from less than all of it. */
		name = blk_image_format(buf,
					heads[i].offset + heads[i].len - 1);
		cr_assert(name == NULL, "%s", heads[i].name);
		cr_assert(eq(int, by_hand(buf, sizeof(buf), false, &sectors),
			     -EINVAL),
			  "%s", heads[i].name);
		cr_assert(zero(int, by_hand(buf, sizeof(buf), true, &sectors)));
		cr_assert(eq(u64, sectors, 2));
	}
}

Test(blk, raw_disks_are_taken_for_what_they_are, .timeout = 120)
{
	uint8_t buf[BLK_IMAGE_HEAD] = { 0 };

	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memcpy(buf + 510, "\x55\xaa", 2);
	memcpy(buf + 512, "EFI PART", 8);
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memcpy(buf, "LUKS\xba\xbe", 6);
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memset(buf, 'Q', sizeof(buf));
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	cr_assert(blk_image_format(buf, 0) == NULL);
}

/* As under the VMM: vmm/vm/disk_image.h. */
Test(blk, a_read_only_image_is_shared_by_readers, .timeout = 120)
{
	static char word[] = "ro";
	struct virtio_dev *a = NULL, *b = NULL, *c = NULL;
	struct disk d = { 0 };
	char *args[] = { d.path_word, word, NULL };
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 4096);
	cr_assert(zero(int,
		       virtio_blk_ops.create(&loop, args, virtio_no_fds, &a)));
	cr_assert(zero(int,
		       virtio_blk_ops.create(&loop, args, virtio_no_fds, &b)));
	args[1] = NULL;
	cr_assert(eq(int, virtio_blk_ops.create(&loop, args, virtio_no_fds, &c),
		     -EWOULDBLOCK));
	virtio_blk_ops.destroy(a);
	virtio_blk_ops.destroy(b);
	(void)unlink(d.path);
	(void)close(d.fd);
	loop_finish(&loop);
}

Test(blk, destroy_takes_null)
{
	virtio_blk_ops.destroy(NULL);
}
