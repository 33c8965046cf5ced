/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the block device: each line of the checklist for what it offers
 * (virtio 1.x, 5.2), with both engines.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/blk_rig.h"

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
