/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the block device, with an engine whose I/O ends when and as the
 * input says: late, out of order, short, failed.
 */
#define _GNU_SOURCE
#include "virtio/blk/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_ring.h"
#include "vmm/base/fd.h"

#define MAX_OPS	    200
#define IMAGE_BYTES (64U << 10)

static struct gmem gm;
static struct fuzz_ring ring;
static struct loop loop;
static struct fuzz_in *script;
static int image = -1;

/* ---------------------------------------------------------------- engine */

struct blk_engine {
	struct virtio_blk *blk;
	struct blk_request *pending[BLK_DEPTH];
	unsigned int nr;
	bool lazy; /* nothing ends within commit() */
};

static int engine_create(struct virtio_blk *blk, struct blk_engine **ret)
{
	static struct blk_engine engine;

	engine = (struct blk_engine){ .blk = blk };
	*ret = &engine;
	return 0;
}

static void engine_destroy(struct blk_engine *e)
{
	fuzz_check(!e->nr);
}

static int engine_start(struct blk_engine *e)
{
	fuzz_check(!e->nr);
	return 0;
}

static void engine_submit(struct blk_engine *e, struct blk_request *req)
{
	fuzz_check(e->nr < BLK_DEPTH);
	e->pending[e->nr++] = req;
}

static void check_step(const struct blk_request *req)
{
	uint64_t bytes = 0;

	if (req->op == BLK_OP_SYNC)
		return;
	fuzz_check(req->nr_iov <= IOV_MAX || req->op == BLK_OP_FALLOCATE);
	for (unsigned int i = 0; i < req->nr_iov; i++)
		bytes += req->iov[i].iov_len;
	if (req->op == BLK_OP_FALLOCATE)
		bytes = req->len;
	fuzz_check(req->offset <= IMAGE_BYTES &&
		   bytes <= IMAGE_BYTES - req->offset);
	fuzz_check(req->op == BLK_OP_READ || !req->blk->ro);
}

static ssize_t perform(const struct blk_request *req)
{
	int fd = req->blk->fd;
	ssize_t n = 0;

	switch (req->op) {
	case BLK_OP_READ:
		n = preadv(fd, req->iov, (int)req->nr_iov, (off_t)req->offset);
		break;
	case BLK_OP_WRITE:
		n = pwritev(fd, req->iov, (int)req->nr_iov, (off_t)req->offset);
		break;
	case BLK_OP_SYNC:
		break;
	case BLK_OP_FALLOCATE:
		n = fallocate(fd, req->mode, (off_t)req->offset,
			      (off_t)req->len);
		break;
	}
	return n < 0 ? -errno : n;
}

static void engine_complete(struct blk_engine *e, uint8_t how)
{
	struct blk_request *req;
	unsigned int i;
	ssize_t n;

	if (!e->nr)
		return;
	i = how % e->nr;
	req = e->pending[i];
	e->pending[i] = e->pending[--e->nr];
	check_step(req);
	n = perform(req);
	if (how >= 0xf0)
		n = how & 1 ? -EIO : -EOPNOTSUPP;
	else if (how >= 0xc0 && n > 0)
		n = n * (how & 7) / 8;
	blk_request_done(req, n);
}

static void engine_commit(struct blk_engine *e)
{
	while (e->nr && !e->lazy)
		engine_complete(e, fuzz_u8(script));
}

static void engine_wait(struct blk_engine *e)
{
	fuzz_check(e->nr > 0);
	engine_complete(e, fuzz_u8(script));
}

static void engine_stop(struct blk_engine *e)
{
	fuzz_check(!e->nr);
}

static const struct blk_engine_ops engine_ops = {
	.name = "fuzz",
	.create = engine_create,
	.destroy = engine_destroy,
	.start = engine_start,
	.submit = engine_submit,
	.commit = engine_commit,
	.wait = engine_wait,
	.stop = engine_stop,
};

/* ---------------------------------------------------------------- driver */

void fuzz_setup(void)
{
	fuzz_ram_create(&gm);
	fuzz_check(loop_init(&loop) == 0);
	image = fd_memfd_sealed("disk", IMAGE_BYTES, 0);
	fuzz_check(image >= 0);
}

/* A request with up to four data buffers. */
static void add_request(struct fuzz_in *in)
{
	static const uint8_t types[] = {
		VIRTIO_BLK_T_IN,	   VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_FLUSH,	   VIRTIO_BLK_T_DISCARD,
		VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID
	};
	uint8_t how = fuzz_u8(in);
	uint64_t at = FUZZ_BUF_GPA + fuzz_u8(in) * 256ULL;
	struct virtio_blk_outhdr hdr = { .type = types[how % 6],
					 .sector = fuzz_u8(in) };
	bool out = hdr.type == VIRTIO_BLK_T_OUT ||
		   hdr.type >= VIRTIO_BLK_T_DISCARD;
	uint64_t gpas[6] = { at };
	int32_t lens[6] = { sizeof(hdr) };
	unsigned int n = 1, nr_data = (how >> 3) & 3;
	void *hva;

	for (; n <= nr_data; n++) {
		uint8_t len = fuzz_u8(in);
		int32_t bytes = len & 0x80 ? len & 0x7f : 512 * len;

		gpas[n] = FUZZ_BUF_GPA + fuzz_u8(in) * 300ULL;
		lens[n] = out ? bytes : -bytes;
	}
	gpas[n] = at + 17;
	lens[n] = -1;
	if (gmem_span(&gm, at, sizeof(hdr), &hva) == 0)
		memcpy(hva, &hdr, sizeof(hdr));
	fuzz_ring_add(&ring, gpas, lens, n + 1);
}

static void ring_start(struct virtio_blk *blk, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t off = (how & 4 ? 1ULL << VIRTIO_BLK_F_FLUSH : 0) |
		       (how & 8 ? 1ULL << VIRTIO_BLK_F_DISCARD : 0) |
		       (how & 16 ? 1ULL << VIRTIO_BLK_F_WRITE_ZEROES : 0);
	struct virtio_dev *dev = &blk->dev;
	struct virtq *vq = &dev->queues[0];

	dev->features = dev->features_offered & ~off;
	fuzz_check(dev->ops->start(dev) == 0);
	blk->engine->lazy = how & 32;
	fuzz_check(virtq_setup(vq, &gm, ring.size, ring.desc_gpa,
			       ring.avail_gpa, ring.used_gpa) == 0);
	virtq_start(vq, ring.used->idx, how & 1, how & 2);
	dev->ops->kick(dev, 0);
}

static void ring_stop(struct virtio_blk *blk)
{
	blk->dev.ops->stop_queue(&blk->dev, 0);
	fuzz_check(!blk->in_flight);
	(void)virtq_stop(&blk->dev.queues[0]);
	blk->dev.ops->stop(&blk->dev);
}

static void step(struct virtio_blk *blk, struct fuzz_in *in, uint8_t op)
{
	switch (op % 8) {
	case 0:
	case 1:
		add_request(in);
		break;
	case 2:
		fuzz_ring_chain(&ring, in);
		break;
	case 3:
		fuzz_ring_mess(&ring, in);
		break;
	case 4:
		fuzz_ram_write(&gm, in);
		break;
	case 5:
		if (!blk->engine->nr)
			break;
		engine_complete(blk->engine, fuzz_u8(in));
		blk->progress(blk);
		break;
	case 6:
		fuzz_turn(&loop, 4);
		break;
	default:
		blk->dev.ops->kick(&blk->dev, 0);
		if (op < 0x10) {
			ring_stop(blk);
			ring_start(blk, in);
		}
		break;
	}
}

void fuzz_one(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct blk_config cfg = { .ro = (how & 7) == 7,
				  .nodiscard = how & 8,
				  .id = how & 16 ? "fuzz" : NULL,
				  .engines = { &engine_ops } };
	struct virtio_blk *blk;

	script = in;
	fuzz_ram_clear(&gm);
	fuzz_ring_init(&ring, &gm, 0, (uint16_t)(1U << (how >> 5) << 1));
	cfg.fd = fcntl(image, F_DUPFD_CLOEXEC, 0);
	fuzz_check(blk_create(&loop, &cfg, &blk) == 0);
	/* As with O_DIRECT: what is not aligned is copied. */
	if (how & 32)
		blk->mem_align = 64;
	ring_start(blk, in);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++)
		step(blk, in, fuzz_u8(in));
	ring_stop(blk);
	virtio_blk_ops.destroy(&blk->dev);
}

void fuzz_seeds(void)
{
	static const uint8_t read_write[] = {
		0xa0, 3,   0, 0x0, 0, 0, 0, 0x9, 1, 1, 2, 16, 1, 0x11, 2, 2,
		1,    100, 2, 40,  7, 0, 2, 4,	 0, 7, 0, 5,  5, 0,    7, 0xff,
	};
	static const uint8_t ranges[] = {
		0xa0, 35,  4, 0x40, 0x10, 8, 1, 0,   0, 0, 0,	 0, 0, 0, 4, 0,
		0,    0,   1, 0,    0,	  0, 0, 0xb, 0, 0, 0x90, 1, 7, 5, 0, 5,
		1,    0xc, 0, 0,    0x90, 1, 7, 5,   0, 5, 0,	 5, 0, 7, 0, 0,
	};

	fuzz_seed(read_write, sizeof(read_write));
	fuzz_seed(ranges, sizeof(ranges));
}
