/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame of a request: its arguments, and how it is answered. Loop thread
 * only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "virtio/fs/fs.h"
#include "virtio/iov.h"

#define REPLY_HDR sizeof(struct fuse_out_header)

_Static_assert(sizeof(struct fuse_out_header) == 16, "wire format");

int fs_arg_text(const struct fs_request *req, size_t *off, const char **ret)
{
	const char *text = (const char *)req->arg + *off;
	size_t left = req->arg_len - MIN(*off, req->arg_len);
	size_t len = strnlen(text, left);

	if (len == left)
		return -EINVAL;
	*off += len + 1;
	*ret = text;
	return 0;
}

int fs_arg_name(const struct fs_request *req, size_t *off, const char **ret)
{
	const char *name;
	int r = fs_arg_text(req, off, &name);

	if (r < 0)
		return r;
	if (!*name || !strcmp(name, ".") || !strcmp(name, "..") ||
	    strchr(name, '/'))
		return -EINVAL;
	if (strlen(name) > FS_NAME_MAX)
		return -ENAMETOOLONG;
	*ret = name;
	return 0;
}

/* ------------------------------------------------------------------ replies */

size_t fs_reply_room(const struct fs_request *req)
{
	uint64_t room = req->chain->len_in;

	return room < REPLY_HDR ? 0 : room - REPLY_HDR;
}

int fs_reply(struct fs_request *req, const void *data, size_t len)
{
	const struct virtq_chain *c = req->chain;

	if (len > fs_reply_room(req))
		return -EINVAL;
	(void)iov_write(c->iov + c->nr_out, c->nr_in, REPLY_HDR, data, len);
	return (int)len;
}

/* errno as FUSE has it: those that mean this process are told as others. */
static int reply_error(int r)
{
	if (r >= 0)
		return 0;
	if (r == -EMFILE)
		return -ENFILE;
	return r > -512 ? r : -EIO;
}

void fs_answer(struct virtq *vq, const struct virtq_chain *c, uint64_t unique,
	       int r)
{
	struct fuse_out_header h = { .len = REPLY_HDR, .unique = unique };

	if (c->len_in < REPLY_HDR) {
		virtq_push(vq, c->head, 0);
		virtq_break(vq, "no room for a FUSE reply");
		return;
	}
	h.error = reply_error(r);
	if (r > 0)
		h.len += (uint32_t)r;
	(void)iov_write(c->iov + c->nr_out, c->nr_in, 0, &h, sizeof(h));
	virtq_push(vq, c->head, h.len);
}

void fs_answer_held(struct virtio_fs *fs, const struct fs_wait *w, int error)
{
	struct virtq *vq = &fs->dev.queues[w->queue];
	struct virtq_chain c;
	int r;

	/* May be called within a request: its own buffers are left alone. */
	r = virtq_refetch(vq, w->head, &c, fs->data, VIRTQ_MAX_CHAIN);
	if (r == -ENOBUFS)
		virtq_break(vq, "more buffers than a request may have");
	if (r != 1)
		return;
	fs_answer(vq, &c, w->unique, error);
	(void)virtq_signal(vq);
}
