/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One block request: parse, check, then a series of steps for the engine until
 * it is finished. Loop thread only. Spec: virtio 1.x, 5.2.6.
 *
 *	begin --> refused: status now
 *	   |
 *	   v            more to do, short transfer, next segment, fallback
 *	 step() --> engine --> blk_request_done() --+
 *	   ^                        |               |
 *	   +------------------------|---------------+
 *	                            v
 *	                       finish(): status byte, used ring
 *
 * The header and the segments are copied once and never read again. All of a
 * request is checked before any of it is done.
 */
#define _GNU_SOURCE
#include "virtio/blk/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/iov.h"
#include "vmm/base/log.h"

/* Step() in one piece: a status to finish with, or this. */
#define BLK_PENDING (-1)

#define ZERO_PAGE 4096U
#define ZERO_IOVS 256U /* 1 MiB a step */

/* Writes of zeroes; aligned for O_DIRECT. Never written to. */
static const uint8_t zero_page[ZERO_PAGE]
	__attribute__((aligned(BLK_DIRECT_ALIGN)));

static bool must_be_stable(const struct blk_request *req)
{
	/* Without FLUSH the driver cannot ask for it: write through. */
	return (req->type == VIRTIO_BLK_T_OUT ||
		req->type == VIRTIO_BLK_T_WRITE_ZEROES) &&
	       !virtio_dev_has(&req->blk->dev, VIRTIO_BLK_F_FLUSH);
}

static void release(struct blk_request *req)
{
	struct virtio_blk *blk = req->blk;

	if (req->data != req->inline_iov)
		free(req->data);
	free(req->bounce);
	free(req->segs);
	req->data = NULL;
	req->bounce = NULL;
	req->segs = NULL;
	req->next = blk->free;
	blk->free = req;
	blk->in_flight--;
}

/*
 * @written: bytes of the driver's buffers that were written before the status
 * byte. The used length counts what is written without a gap from the start,
 * so it includes the status byte only if all before it is.
 */
static void finish(struct blk_request *req, int status, uint64_t written)
{
	struct virtq *vq = &req->blk->dev.queues[0];

	if (written == req->room)
		written++;
	/* Ordered before the used entry by the release store in virtq. */
	shared_store(req->status, (uint8_t)status);
	virtq_push(vq, req->head, (uint32_t)written);
	req->blk->pushed = true;
	release(req);
}

static void finish_steps(struct blk_request *req, int status)
{
	finish(req, status, req->type == VIRTIO_BLK_T_IN ? req->done : 0);
}

static bool aligned(const struct iovec *iov, unsigned int nr, size_t align)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & (align - 1))
			return false;
	}
	return true;
}

/* Drops @len bytes from the front of the guest's buffers. */
static void data_advance(struct blk_request *req, size_t len)
{
	while (len > 0) {
		size_t part = MIN(len, req->data->iov_len);

		req->data->iov_base = (uint8_t *)req->data->iov_base + part;
		req->data->iov_len -= part;
		len -= part;
		if (req->data->iov_len > 0)
			break;
		/* The array stays where it is: it may be freed later. */
		req->nr_data--;
		memmove(req->data, req->data + 1,
			req->nr_data * sizeof(*req->data));
	}
}

static void step_transfer(struct blk_request *req)
{
	bool out = req->type == VIRTIO_BLK_T_OUT;

	req->op = out ? BLK_OP_WRITE : BLK_OP_READ;
	req->offset = req->start + req->done;
	req->iov = req->data;
	req->nr_iov = req->nr_data;
	if (!req->bounce)
		return;
	req->bounce_iov.iov_base = req->bounce;
	req->bounce_iov.iov_len =
		MIN(req->total - req->done, (uint64_t)BLK_BOUNCE_BYTES);
	if (out)
		(void)iov_read(req->data, req->nr_data, 0, req->bounce,
			       req->bounce_iov.iov_len);
	req->iov = &req->bounce_iov;
	req->nr_iov = 1;
}

/* Return: false if the request is out of memory. */
static bool step_write_zero_page(struct blk_request *req, uint64_t left)
{
	size_t room = ZERO_IOVS * sizeof(*req->iov);
	unsigned int n = 0;

	if (!req->data)
		req->data = malloc(room);
	if (!req->data)
		return false;
	req->op = BLK_OP_WRITE;
	req->iov = req->data;
	for (; n < ZERO_IOVS && left > 0; n++) {
		size_t part = MIN(left, (uint64_t)ZERO_PAGE);

		req->iov[n].iov_base = (void *)(uintptr_t)zero_page;
		req->iov[n].iov_len = part;
		left -= part;
	}
	req->nr_iov = n;
	return true;
}

/*
 * Sets up the next step of a discard or write-zeroes request. Hosts differ in
 * what they can do, so this goes down a ladder: unmap or zero a range, the
 * other way to zero it, plain writes. What a file cannot do is remembered.
 */
static int step_range(struct blk_request *req)
{
	struct virtio_blk *blk = req->blk;
	const struct virtio_blk_discard_write_zeroes *seg;
	bool unmap;

	while (req->seg < req->nr_segs && !req->segs[req->seg].num_sectors)
		req->seg++;
	if (req->seg == req->nr_segs)
		return VIRTIO_BLK_S_OK;
	seg = &req->segs[req->seg];
	req->total = (uint64_t)seg->num_sectors * BLK_SECTOR;
	req->offset = seg->sector * BLK_SECTOR + req->done;
	req->len = req->total - req->done;
	req->op = BLK_OP_FALLOCATE;

	unmap = req->type == VIRTIO_BLK_T_DISCARD ||
		(seg->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	if (unmap && blk->may_unmap && !blk->no_punch) {
		req->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		return BLK_PENDING;
	}
	/* A discard is a hint: a file that has no holes keeps its data. */
	if (req->type == VIRTIO_BLK_T_DISCARD)
		return VIRTIO_BLK_S_OK;
	if (!blk->no_zero_range) {
		req->mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		return BLK_PENDING;
	}
	if (blk->may_unmap && !blk->no_punch) {
		req->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		return BLK_PENDING;
	}
	return step_write_zero_page(req, req->len) ? BLK_PENDING
						   : VIRTIO_BLK_S_IOERR;
}

/* Hands the next step to the engine or finishes the request. */
static void step(struct blk_request *req)
{
	struct virtio_blk *blk = req->blk;
	int status = VIRTIO_BLK_S_OK;

	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (req->done < req->total) {
			step_transfer(req);
			status = BLK_PENDING;
		}
		break;
	case VIRTIO_BLK_T_FLUSH:
		req->op = BLK_OP_SYNC;
		status = BLK_PENDING;
		break;
	default:
		status = step_range(req);
		break;
	}
	if (status == VIRTIO_BLK_S_OK && must_be_stable(req)) {
		req->syncing = true;
		req->op = BLK_OP_SYNC;
		status = BLK_PENDING;
	}
	if (status == BLK_PENDING)
		blk->engine_ops->submit(blk->engine, req);
	else
		finish_steps(req, status);
}

static bool unsupported(int64_t result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENODEV;
}

/* Return: false if there is no other way to do it. */
static bool range_fall_back(struct blk_request *req, int64_t result)
{
	struct virtio_blk *blk = req->blk;

	if (req->op != BLK_OP_FALLOCATE || !unsupported(result))
		return false;
	if (req->mode & FALLOC_FL_PUNCH_HOLE)
		blk->no_punch = true;
	else
		blk->no_zero_range = true;
	log_debug("image does not support fallocate mode %#x", req->mode);
	return true;
}

static void done_range(struct blk_request *req, int64_t result)
{
	bool stuck = result == 0 && req->op == BLK_OP_WRITE;

	if (stuck || (result < 0 && !range_fall_back(req, result))) {
		finish_steps(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (result >= 0)
		req->done += req->op == BLK_OP_FALLOCATE ? req->len
							 : (uint64_t)result;
	if (req->done >= req->total) {
		req->seg++;
		req->done = 0;
	}
	step(req);
}

static void done_transfer(struct blk_request *req, int64_t result)
{
	/* Nothing at all: the file has become shorter than its capacity. */
	if (result <= 0 || (uint64_t)result > req->total - req->done) {
		finish_steps(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (req->bounce && req->type == VIRTIO_BLK_T_IN)
		(void)iov_write(req->data, req->nr_data, 0, req->bounce,
				(size_t)result);
	req->done += (uint64_t)result;
	if (req->done < req->total)
		data_advance(req, (size_t)result);
	step(req);
}

void blk_request_done(struct blk_request *req, int64_t result)
{
	static struct log_limit limit;

	if (result < 0 && !unsupported(result))
		log_limited(&limit, "request type %u at byte %llu: %s",
			    req->type, (unsigned long long)req->offset,
			    strerror((int)-result));
	if (req->syncing || req->type == VIRTIO_BLK_T_FLUSH)
		finish_steps(req,
			     result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	else if (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT)
		done_transfer(req, result);
	else
		done_range(req, result);
}

/* Whether [sector, sector + bytes) lies in the image; no overflow. */
static bool in_range(const struct virtio_blk *blk, uint64_t sector,
		     uint64_t bytes)
{
	uint64_t sectors = blk->capacity / BLK_SECTOR;

	return sector <= sectors && bytes / BLK_SECTOR <= sectors - sector;
}

/* Data the other way round than the type has it: none of it could be moved. */
static bool wrong_way(const struct blk_request *req,
		      const struct virtq_chain *chain)
{
	if (req->type == VIRTIO_BLK_T_IN)
		return chain->len_out > sizeof(struct virtio_blk_outhdr);
	return req->room > 0;
}

static int begin_transfer(struct blk_request *req,
			  const struct virtq_chain *chain, uint64_t sector)
{
	struct virtio_blk *blk = req->blk;
	bool out = req->type == VIRTIO_BLK_T_OUT;
	const struct iovec *src = out ? chain->iov : chain->iov + chain->nr_out;
	unsigned int nr = out ? chain->nr_out : chain->nr_in;
	size_t skip = out ? sizeof(struct virtio_blk_outhdr) : 0;
	int n;

	req->total = out ? chain->len_out - skip : chain->len_in - 1;
	if ((out && blk->ro) || wrong_way(req, chain))
		return VIRTIO_BLK_S_IOERR;
	if (req->total % BLK_SECTOR || !in_range(blk, sector, req->total))
		return VIRTIO_BLK_S_IOERR;
	req->start = sector * BLK_SECTOR;
	if (!req->total)
		return BLK_PENDING;
	req->data = nr <= BLK_INLINE_IOV ? req->inline_iov
					 : malloc(nr * sizeof(*req->data));
	if (!req->data)
		return VIRTIO_BLK_S_IOERR;
	n = iov_slice(src, nr, skip, req->total, req->data, nr);
	if (n < 0)
		return VIRTIO_BLK_S_IOERR;
	req->nr_data = (unsigned int)n;
	if (!aligned(req->data, req->nr_data, blk->mem_align)) {
		req->bounce = aligned_alloc(BLK_DIRECT_ALIGN, BLK_BOUNCE_BYTES);
		if (!req->bounce)
			return VIRTIO_BLK_S_IOERR;
	}
	return BLK_PENDING;
}

static int check_segment(const struct blk_request *req,
			 const struct virtio_blk_discard_write_zeroes *seg)
{
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;
	uint32_t max = discard ? BLK_DISCARD_SECTORS : BLK_ZEROES_SECTORS;
	uint32_t known = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	if (seg->flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (seg->num_sectors > max ||
	    !in_range(req->blk, seg->sector,
		      (uint64_t)seg->num_sectors * BLK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return BLK_PENDING;
}

static int begin_range(struct blk_request *req, const struct virtq_chain *chain)
{
	struct virtio_blk *blk = req->blk;
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;
	unsigned int max = discard ? BLK_DISCARD_SEGS : BLK_ZEROES_SEGS;
	uint64_t bytes = chain->len_out - sizeof(struct virtio_blk_outhdr);

	if (blk->ro || wrong_way(req, chain))
		return VIRTIO_BLK_S_IOERR;
	if (!virtio_dev_has(&blk->dev, discard ? VIRTIO_BLK_F_DISCARD
					       : VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_S_UNSUPP;
	if (!bytes || bytes % sizeof(*req->segs) ||
	    bytes > max * sizeof(*req->segs))
		return VIRTIO_BLK_S_IOERR;
	req->segs = malloc(bytes);
	if (!req->segs)
		return VIRTIO_BLK_S_IOERR;
	(void)iov_read(chain->iov, chain->nr_out,
		       sizeof(struct virtio_blk_outhdr), req->segs, bytes);
	req->nr_segs = (unsigned int)(bytes / sizeof(*req->segs));
	for (unsigned int i = 0; i < req->nr_segs; i++) {
		int r = check_segment(req, &req->segs[i]);

		if (r != BLK_PENDING)
			return r;
	}
	return BLK_PENDING;
}

static void finish_get_id(struct blk_request *req,
			  const struct virtq_chain *chain)
{
	size_t room = req->room;
	size_t n = iov_write(chain->iov + chain->nr_out, chain->nr_in, 0,
			     req->blk->id, MIN(room, sizeof(req->blk->id)));

	finish(req, VIRTIO_BLK_S_OK, n);
}

/* The last writable byte, wherever the driver cut its buffers. */
static uint8_t *status_byte(const struct virtq_chain *chain)
{
	for (unsigned int i = chain->nr_in; i-- > 0;) {
		const struct iovec *v = &chain->iov[chain->nr_out + i];

		if (v->iov_len > 0)
			return (uint8_t *)v->iov_base + v->iov_len - 1;
	}
	return NULL;
}

static struct blk_request *
take(struct virtio_blk *blk, const struct virtq_chain *chain, uint8_t *status)
{
	struct blk_request *req = blk->free;

	blk->free = req->next;
	blk->in_flight++;
	*req = (struct blk_request){ .blk = blk,
				     .head = chain->head,
				     .room = chain->len_in - 1,
				     .status = status };
	return req;
}

void blk_request_begin(struct virtio_blk *blk, const struct virtq_chain *chain)
{
	struct virtio_blk_outhdr hdr = { 0 };
	uint8_t *status = status_byte(chain);
	struct blk_request *req;
	int r;

	if (!status) {
		/* No place for an answer: the ring is of no use any more. */
		virtq_push(&blk->dev.queues[0], chain->head, 0);
		virtq_break(&blk->dev.queues[0], "request without status byte");
		return;
	}
	req = take(blk, chain, status);
	if (iov_read(chain->iov, chain->nr_out, 0, &hdr, sizeof(hdr)) <
	    sizeof(hdr)) {
		finish(req, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	req->type = hdr.type;
	switch (hdr.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		r = begin_transfer(req, chain, hdr.sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		r = BLK_PENDING;
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		r = begin_range(req, chain);
		break;
	case VIRTIO_BLK_T_GET_ID:
		finish_get_id(req, chain);
		return;
	default:
		r = VIRTIO_BLK_S_UNSUPP;
		break;
	}
	if (r == BLK_PENDING)
		step(req);
	else
		finish(req, r, 0);
}
