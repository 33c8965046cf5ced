/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block device: writes, reads and flushes of sectors whose content is known,
 * on an image that has no name. One subject for each engine.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "vmm/base/fd.h"
#include "vmm/vm/disk_image.h"

#define DEPTH	  64U /* as many as the device takes */
#define SLOTS	  80U /* requests at a time, and parts of the image */
#define DATA_SIZE 1024U
#define SLOT_SIZE (DATA_SIZE + 512U) /* header, status, data */

struct request {
	bool pending;
	uint32_t type;
	unsigned int slot;
};

static struct disk_image image;
static bool has_image;
static uint64_t bufs;
static struct request requests[BLK_QUEUE_SIZE]; /* by head */
static unsigned int nr_pending, next_slot;
/* What each part of the image holds, and shall hold after its write. */
static uint32_t content[SLOTS], writing[SLOTS], version;
static bool busy[SLOTS];

static uint8_t pattern(unsigned int slot, uint32_t v, unsigned int i)
{
	return (uint8_t)(v ? slot * 7 + v * 13 + i + (i >> 8) : 0);
}

static void open_image(struct spawn_request *req)
{
	char dir[] = "/tmp/torpor-contract-XXXXXX", path[64];
	struct err err = { 0 };
	_cleanup_fd_ int fd = mkstemp(dir);

	cr_assert(ge(int, fd, 0));
	(void)unlink(dir);
	cr_assert(zero(int, ftruncate(fd, (off_t)SLOTS * DATA_SIZE)));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cr_assert(zero(int, disk_image_init(&image, path, false, false, &err)),
		  "%s", err.msg);
	has_image = true;
	req->backend_fds[0] = disk_image_open(&image, path, &err);
	cr_assert(ge(int, req->backend_fds[0], 0), "%s", err.msg);
	req->nr_backend_fds = 1;
}

static void open_engine(struct spawn_request *req, char *word)
{
	open_image(req);
	req->args[0] = word;
}

static void open_uring(struct spawn_request *req)
{
	static char word[] = "engine=uring";

	open_engine(req, word);
}

static void open_threads(struct spawn_request *req)
{
	static char word[] = "engine=threads";

	open_engine(req, word);
}

static void close_image(void)
{
	if (has_image)
		disk_image_finish(&image);
	has_image = false;
}

static bool fenced(void)
{
	int r = disk_image_fenced(&image);

	cr_assert(ge(int, r, 0));
	return r == 1;
}

/* Reads the first sectors. */
static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };

	memcpy(guest_ptr(g, gpa), &h, sizeof(h));
	b[0] = (struct guest_buf){ gpa, sizeof(h), false };
	b[1] = (struct guest_buf){ gpa + 512, 1024, true };
	b[2] = (struct guest_buf){ gpa + 4000, 1, true };
	return 3;
}

static void live(void)
{
	if (!bufs)
		bufs = guest_alloc(&rig.g, SLOTS * SLOT_SIZE, 4096);
	memset(requests, 0, sizeof(requests));
	/* A write that a reset has cut off may have been done or not. */
	for (unsigned int i = 0; i < SLOTS; i++) {
		if (busy[i])
			content[i] = UINT32_MAX;
		busy[i] = false;
	}
	nr_pending = 0;
}

static unsigned int free_slot(void)
{
	while (busy[next_slot])
		next_slot = (next_slot + 1) % SLOTS;
	busy[next_slot] = true;
	return next_slot;
}

/* Two writes, a read, now and then a flush, which no cache can answer. */
static uint32_t type_of(unsigned int slot, unsigned int n)
{
	if (n % 8 == 7)
		return VIRTIO_BLK_T_FLUSH;
	return n % 3 == 2 && content[slot] != UINT32_MAX ? VIRTIO_BLK_T_IN
							 : VIRTIO_BLK_T_OUT;
}

static void begin_one(unsigned int n)
{
	unsigned int slot = free_slot();
	uint64_t at = bufs + (uint64_t)slot * SLOT_SIZE;
	uint32_t type = type_of(slot, n), flush = VIRTIO_BLK_T_FLUSH;
	struct virtio_blk_outhdr h = {
		.type = type,
		.sector = type == flush ? 0 : slot * (DATA_SIZE / 512)
	};
	struct guest_buf b[3] = { { at, sizeof(h), false },
				  { at + 512, DATA_SIZE,
				    type == VIRTIO_BLK_T_IN },
				  { at + 64, 1, true } };
	uint8_t *data = guest_ptr(&rig.g, at + 512);
	uint16_t head;

	if (type == flush)
		b[1] = b[2];
	memcpy(guest_ptr(&rig.g, at), &h, sizeof(h));
	*(uint8_t *)guest_ptr(&rig.g, at + 64) = 0xff;
	if (type == VIRTIO_BLK_T_OUT)
		writing[slot] = ++version;
	for (unsigned int i = 0; i < DATA_SIZE; i++)
		data[i] = type == VIRTIO_BLK_T_OUT
				  ? pattern(slot, writing[slot], i)
				  : 0xee;
	head = guest_ring_add(&rig.ring[0], b, type == flush ? 2 : 3);
	cr_assert(not(requests[head].pending));
	requests[head] = (struct request){ true, type, slot };
	nr_pending++;
}

static void begin(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		begin_one(i);
	rig_kick(0);
}

static void flood(void)
{
}

static void check(const struct request *r)
{
	uint64_t at = bufs + (uint64_t)r->slot * SLOT_SIZE;
	const uint8_t *data = guest_ptr(&rig.g, at + 512);

	cr_assert(zero(u8, *(uint8_t *)guest_ptr(&rig.g, at + 64)), "status");
	if (r->type == VIRTIO_BLK_T_OUT)
		content[r->slot] = writing[r->slot];
	for (unsigned int i = 0; r->type == VIRTIO_BLK_T_IN && i < DATA_SIZE;
	     i++)
		cr_assert(data[i] == pattern(r->slot, content[r->slot], i),
			  "slot %u byte %u", r->slot, i);
}

static unsigned int collect(void)
{
	uint16_t head;
	uint32_t len;

	while (guest_ring_reap(&rig.ring[0], &head, &len)) {
		struct request *r = &requests[head];

		cr_assert(r->pending, "completed twice");
		check(r);
		r->pending = false;
		busy[r->slot] = false;
		nr_pending--;
	}
	return nr_pending;
}

/* Its config space is as it was, which is in the register dump. */
#define SUBJECT(engine)                                                       \
	{                                                                     \
		.name = "blk " #engine, .type = VIRTIO_TYPE_BLK,              \
		.open = open_##engine, .close = close_image,                  \
		.request = request,                                           \
		.features = 1ULL << VIRTIO_BLK_F_FLUSH |                      \
			    1ULL << VIRTIO_BLK_F_SEG_MAX,                     \
		.depth = DEPTH, .live = live, .begin = begin, .flood = flood, \
		.collect = collect, .fenced = fenced,                         \
	}

const struct contract_subject contract_blk[] = { SUBJECT(uring),
						 SUBJECT(threads),
						 { NULL } };
