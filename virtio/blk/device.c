/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk: a raw image or block device as one queue. Loop thread only.
 * Spec: virtio 1.x, 5.2.
 *
 * The ring is served in batches: all chains that are there (and for which
 * there is a free request) are parsed and submitted, then the engine begins
 * them with one system call. What completes within that call is pushed in the
 * same turn, so a cached read at depth 1 costs one io_uring_enter() and one
 * write of the call eventfd.
 *
 * Words: ro, direct, id=STR, nodiscard, engine=auto|uring|threads, and
 * path=FILE and format=raw by hand. Without path the image is the fd
 * it is given, opened and locked by the VMM.
 */
#define _GNU_SOURCE
#include "virtio/blk/blk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blk/image.h"
#include "virtio/choices.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/words.h"

#define TURN_CHAINS 256U
#define TURN_BYTES  (4U << 20)
#define SEG_MAX	    (BLK_QUEUE_SIZE - 2) /* header and status */
#define PAGE_BYTES  4096U

_Static_assert(sizeof(struct virtio_blk_outhdr) == 16, "wire format");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "wire");
_Static_assert(sizeof(struct virtio_blk_config) <= 256, "fits config space");

static struct virtio_blk *to_blk(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_blk, dev);
}

static void signal_used(struct virtio_blk *blk)
{
	if (blk->pushed)
		(void)virtq_signal(&blk->dev.queues[0]);
	blk->pushed = false;
}

/*
 * Takes chains while there are free requests. An engine that finds the data in
 * the page cache copies it when they are committed, so their bytes count.
 * Return: how many.
 */
static unsigned int take_chains(struct virtio_blk *blk, struct turn *turn)
{
	struct virtq *vq = &blk->dev.queues[0];
	struct virtq_chain chain;
	unsigned int n = 0;

	while (blk->free && !turn_over(turn)) {
		int r = virtq_pop(vq, &chain, blk->iov, VIRTQ_MAX_CHAIN);

		if (r == -ENOBUFS) {
			/* Where its status byte is, is not known either. */
			virtq_push(vq, chain.head, 0);
			virtq_break(vq, "more buffers than a request may have");
			break;
		}
		if (r <= 0)
			break;
		blk_request_begin(blk, &chain);
		(void)turn_goes_on(turn, &chain);
		n++;
	}
	return n;
}

/* Signals what is done and takes more requests. */
static void blk_progress(struct virtio_blk *blk)
{
	struct virtq *vq = &blk->dev.queues[0];
	struct turn turn;

	if (blk->quiescing || !blk->serving) {
		signal_used(blk);
		return;
	}
	/* Those who wait for what is done come first. */
	signal_used(blk);
	turn = turn_begin(TURN_CHAINS, TURN_BYTES);
	virtq_disable_kick(vq);
	while (blk->free) {
		unsigned int n = take_chains(blk, &turn);

		blk->engine_ops->commit(blk->engine);
		if (turn_time_over(&turn)) {
			virtq_requeue_kick(vq);
			break;
		}
		if (!n && !virtq_enable_kick(vq))
			break;
	}
	/* No free request: a completion comes here again, no kick needed. */
	signal_used(blk);
}

/* The steps that follow those done, and then other requests. */
static void on_engine(struct virtio_blk *blk)
{
	blk->engine_ops->commit(blk->engine);
	blk_progress(blk);
}

static int blk_start(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);
	int r = blk->engine_ops->start(blk->engine);

	blk->serving = r == 0;
	return r;
}

static void blk_kick(struct virtio_dev *dev, unsigned int queue)
{
	blk_progress(to_blk(dev));
}

static void blk_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_blk *blk = to_blk(dev);

	if (!blk->serving)
		return;
	blk->quiescing = true;
	while (blk->in_flight)
		blk->engine_ops->wait(blk->engine);
	blk->quiescing = false;
	signal_used(blk);
}

static void blk_stop(struct virtio_dev *dev)
{
	struct virtio_blk *blk = to_blk(dev);

	if (!blk->serving)
		return;
	blk_stop_queue(dev, 0);
	blk->engine_ops->stop(blk->engine);
	blk->serving = false;
}

/* ------------------------------------------------------------ creation */

struct image_geometry {
	uint64_t size;	    /* bytes */
	uint32_t logical;   /* block size, bytes */
	uint32_t physical;  /* bytes */
	uint32_t mem_align; /* bytes */
};

/*
 * What O_DIRECT wants on this file, found out by reading: statx() tells only
 * since Linux 6.1 and not for every file system.
 */
static bool direct_read_works(int fd, uint8_t *buf, size_t buf_off, size_t len)
{
	/* At @len, since offset 0 is aligned to everything. */
	return pread(fd, buf + buf_off, len, (off_t)len) >= 0;
}

static int probe_direct(int fd, struct image_geometry *geo)
{
	_cleanup_free_ uint8_t *buf =
		aligned_alloc(BLK_DIRECT_ALIGN, 2 * (size_t)BLK_DIRECT_ALIGN);

	if (!buf)
		return -ENOMEM;
	geo->mem_align = BLK_DIRECT_ALIGN;
	if (direct_read_works(fd, buf, BLK_SECTOR, geo->logical)) {
		geo->mem_align = BLK_SECTOR;
		return 0;
	}
	if (direct_read_works(fd, buf, 0, geo->logical))
		return 0;
	geo->logical = BLK_DIRECT_ALIGN;
	if (direct_read_works(fd, buf, BLK_SECTOR, geo->logical))
		geo->mem_align = BLK_SECTOR;
	else if (!direct_read_works(fd, buf, 0, geo->logical))
		return -EINVAL;
	return 0;
}

static int image_type(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

static int image_probe(int fd, bool direct, struct image_geometry *ret)
{
	struct image_geometry geo = { .logical = BLK_SECTOR, .mem_align = 1 };
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		geo.size = (uint64_t)st.st_size;
		geo.physical = (uint32_t)st.st_blksize;
	} else if (S_ISBLK(st.st_mode)) {
		int logical;

		if (ioctl(fd, BLKGETSIZE64, &geo.size) < 0 ||
		    ioctl(fd, BLKSSZGET, &logical) < 0 ||
		    ioctl(fd, BLKPBSZGET, &geo.physical) < 0)
			return -errno;
		geo.logical = (uint32_t)logical;
	} else {
		return -ENOTBLK;
	}
	if (direct)
		r = probe_direct(fd, &geo);
	if (r < 0)
		return r;
	*ret = geo;
	return 0;
}

/* log2(physical / logical), at most 4 KiB, 0 if they make no sense. */
static uint8_t physical_exp(const struct image_geometry *geo)
{
	uint8_t exp = 0;

	while ((geo->logical << exp) < geo->physical &&
	       (geo->logical << exp) < PAGE_BYTES)
		exp++;
	return exp;
}

static void config_fill(struct virtio_blk *blk,
			const struct image_geometry *geo)
{
	uint8_t exp = physical_exp(geo);
	struct virtio_blk_config config = {
		.capacity = blk->capacity / BLK_SECTOR,
		.seg_max = SEG_MAX,
		.blk_size = geo->logical,
		.physical_block_exp = exp,
		.min_io_size = (uint16_t)(1U << exp),
		.num_queues = 1,
	};

	if (blk->dev.features_offered >> VIRTIO_BLK_F_DISCARD & 1) {
		config.max_discard_sectors = BLK_DISCARD_SECTORS;
		config.max_discard_seg = BLK_DISCARD_SEGS;
		config.discard_sector_alignment =
			(geo->logical << exp) / BLK_SECTOR;
	}
	if (blk->dev.features_offered >> VIRTIO_BLK_F_WRITE_ZEROES & 1) {
		config.max_write_zeroes_sectors = BLK_ZEROES_SECTORS;
		config.max_write_zeroes_seg = BLK_ZEROES_SEGS;
		config.write_zeroes_may_unmap = blk->may_unmap;
	}
	memcpy(blk->dev.config, &config, sizeof(config));
}

static uint64_t features_of(const struct blk_config *cfg)
{
	uint64_t f = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
		     BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH);

	if (cfg->ro)
		return f | BIT(VIRTIO_BLK_F_RO);
	f |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (!cfg->nodiscard)
		f |= BIT(VIRTIO_BLK_F_DISCARD);
	return f;
}

/* Once and for all: what a host does not offer it will not offer later. */
static int engine_create(struct virtio_blk *blk,
			 const struct blk_engine_ops *const *engines)
{
	int r = -ENOSYS;

	for (unsigned int i = 0; engines[i]; i++) {
		r = engines[i]->create(blk, &blk->engine);
		if (r == 0) {
			blk->engine_ops = engines[i];
			log_debug("block engine %s", engines[i]->name);
			return 0;
		}
		log_info("block engine %s cannot be used: %s", engines[i]->name,
			 strerror(-r));
	}
	return r;
}

int blk_create(struct loop *loop, const struct blk_config *cfg,
	       struct virtio_blk **ret)
{
	size_t id_len = cfg->id ? strlen(cfg->id) : 0;
	struct image_geometry geo = { .logical = BLK_SECTOR };
	struct virtio_blk *blk;
	int r;

	assert(cfg->engines[0]);
	if (id_len > sizeof(blk->id))
		return -EINVAL;
	r = image_probe(cfg->fd, cfg->direct, &geo);
	if (r == 0 && geo.size < geo.logical)
		r = -ENOSPC;
	if (r < 0)
		return r;
	/* Non-blocking means EAGAIN for what is not in the page cache. */
	r = fd_set_nonblock(cfg->fd, 0);
	if (r < 0)
		return r;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	virtio_dev_init(&blk->dev, &virtio_blk_ops, loop);
	blk->dev.features_offered |= features_of(cfg);
	/* A disk does not grow, nor does its image. */
	blk->dev.max_file_bytes = geo.size;
	blk->progress = on_engine;
	blk->fd = cfg->fd;
	blk->ro = cfg->ro;
	blk->direct = cfg->direct;
	blk->may_unmap = !cfg->nodiscard;
	blk->capacity = geo.size - geo.size % geo.logical;
	if (geo.size > blk->capacity)
		log_warn("the last %llu bytes of the image are not a whole "
			 "block of %u and not part of the disk",
			 (unsigned long long)(geo.size - blk->capacity),
			 geo.logical);
	blk->mem_align = geo.mem_align;
	memcpy(blk->id, cfg->id ? cfg->id : "", id_len);
	for (unsigned int i = 0; i < BLK_DEPTH; i++) {
		blk->requests[i].next = blk->free;
		blk->free = &blk->requests[i];
	}
	config_fill(blk, &geo);
	r = engine_create(blk, cfg->engines);
	if (r < 0) {
		free(blk);
		return r;
	}
	*ret = blk;
	return 0;
}

/* -------------------------------------------------- from words and fds */

static int set_engine(struct blk_config *cfg, const char *word)
{
	static const struct blk_engine_ops *const engines[][3] = {
		[BLK_ENGINE_AUTO] = { &blk_uring_ops, &blk_threads_ops },
		[BLK_ENGINE_URING] = { &blk_uring_ops },
		[BLK_ENGINE_THREADS] = { &blk_threads_ops },
	};
	int i = words_find(blk_engine_words, word);
	char list[64];

	if (i < 0)
		return log_errno(
			i, "engine=%s: use one of %s", word,
			words_join(blk_engine_words, ", ", list, sizeof(list)));
	memcpy(cfg->engines, engines[i], sizeof(cfg->engines));
	return 0;
}

static int parse_words(char *const *args, struct blk_config *cfg,
		       const char **ret_path, bool *ret_raw)
{
	int r = set_engine(cfg, "auto");

	for (; r == 0 && *args; args++) {
		const char *word = *args;

		if (strcmp(word, "ro") == 0)
			cfg->ro = true;
		else if (strcmp(word, "direct") == 0)
			cfg->direct = true;
		else if (strcmp(word, "nodiscard") == 0)
			cfg->nodiscard = true;
		else if (strcmp(word, "format=raw") == 0)
			*ret_raw = true;
		else if (strncmp(word, "id=", 3) == 0)
			cfg->id = word + 3;
		else if (strncmp(word, "path=", 5) == 0)
			*ret_path = word + 5;
		else if (strncmp(word, "engine=", 7) == 0)
			r = set_engine(cfg, word + 7);
		else
			r = log_errno(-EINVAL, "blk: unknown word '%s'", word);
	}
	if (r == 0 && cfg->id && strlen(cfg->id) > VIRTIO_BLK_ID_BYTES)
		r = log_errno(-EINVAL, "id=%s: at most %d bytes", cfg->id,
			      VIRTIO_BLK_ID_BYTES);
	return r;
}

/* By hand only: the VMM opens, locks and checks what it passes. */
static int open_image(const char *path, bool raw, const struct blk_config *cfg)
{
	_cleanup_fd_ int fd = -1;
	char name[PATH_MAX + 8];
	struct err err;
	int r;

	fd = open(path, (cfg->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK |
				(cfg->direct ? O_DIRECT : 0));
	if (fd < 0)
		return log_errno(-errno, "open disk '%s'", path);
	r = image_type(fd);
	if (r < 0)
		return log_errno(r, "disk '%s'", path);
	r = blk_image_lock(fd, cfg->ro);
	if (r < 0)
		return log_errno(r, "disk '%s' is in use; lock it", path);
	(void)snprintf(name, sizeof(name), "disk '%s'", path);
	r = blk_image_check(fd, name, raw, cfg->ro, &err);
	if (r < 0) {
		log_err("%s", err.msg);
		return r;
	}
	return TAKE_FD(fd);
}

static int role_create(struct loop *loop, char *const *args, const int *fds,
		       struct virtio_dev **ret_dev)
{
	struct blk_config cfg = { .fd = fds[0] };
	struct virtio_blk *blk;
	const char *path = NULL;
	bool raw = false;
	int r;

	r = parse_words(args, &cfg, &path, &raw);
	if (r < 0)
		return r;
	if (path) {
		cfg.fd = r = open_image(path, raw, &cfg);
		if (r < 0)
			return r;
	}
	r = blk_create(loop, &cfg, &blk);
	if (r < 0) {
		if (path)
			fd_close(&cfg.fd);
		return log_errno(r, "use the image as a disk");
	}
	*ret_dev = &blk->dev;
	return 0;
}

static void role_destroy(struct virtio_dev *dev)
{
	struct virtio_blk *blk;

	if (!dev)
		return;
	blk = to_blk(dev);
	blk_stop(dev);
	blk->engine_ops->destroy(blk->engine);
	fd_close(&blk->fd);
	free(blk);
}

const struct virtio_dev_ops virtio_blk_ops = {
	.type = &virtio_types[VIRTIO_TYPE_BLK],
	.usage = "path=FILE [ro] [format=raw]",
	.in_thread = true,
	.create = role_create,
	.destroy = role_destroy,
	.start = blk_start,
	.kick = blk_kick,
	.stop_queue = blk_stop_queue,
	.stop = blk_stop,
};
