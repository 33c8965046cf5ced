/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open files. Data goes between the host's page cache and the guest's buffers
 * without a copy in between. Loop thread only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "virtio/iov.h"
#include "vmm/base/fd.h"

/*
 * What of the guest's flags is the host's as well. Not O_APPEND: a write says
 * itself whether it appends (fs_op_write()). Not O_DIRECT: the guest's buffers
 * are aligned to what it sees, not to what the host's disk wants.
 */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC)

#define FALLOCATE_MODES \
	(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)
/* Of a FALLOCATE at a time: on a tmpfs each page is cleared. Bytes. */
#define FALLOCATE_STEP (64ULL << 20)

/* Of one COPY_FILE_RANGE, so that it does not take for ever. Bytes. */
#define COPY_MAX (16ULL << 20)

/* ----------------------------------------------------------------- opening */

/* With a write-back cache the guest also reads what it opens for writing. */
static int open_flags(const struct virtio_fs *fs, uint32_t flags)
{
	int f = (int)flags & OPEN_FLAGS;

	if (fs->flags & FUSE_WRITEBACK_CACHE && (f & O_ACCMODE) == O_WRONLY)
		f = (f & ~O_ACCMODE) | O_RDWR;
	return f;
}

static int open_once(const struct fs_request *req, const struct fs_node *node,
		     int flags, bool kill)
{
	int fd, r;

	if (!(flags & O_TRUNC))
		return fs_node_open(node, flags);
	r = fs_cred_data_enter(req, false, kill);
	if (r < 0)
		return r;
	fd = fs_node_open(node, flags);
	fs_cred_data_leave(req, false, kill);
	return fd;
}

/* @kill: truncating it clears set-id bits, says the guest */
static int open_node(const struct fs_request *req, struct fs_node *node,
		     uint32_t flags, bool kill)
{
	int f = open_flags(req->fs, flags);
	int fd = open_once(req, node, f, kill);

	/* The guest may write to it, and this process may not read it. */
	if (fd == -EACCES && (flags & O_ACCMODE) == O_WRONLY &&
	    (f & O_ACCMODE) != O_WRONLY)
		fd = open_once(req, node, (f & ~O_ACCMODE) | O_WRONLY, kill);
	if (f & O_TRUNC && fd >= 0)
		fs_dirty_add(req->fs, node);
	return fd;
}

/* Makes @fd a handle. Fills the reply. 0 or -errno. */
static int open_finish(struct virtio_fs *fs, int fd, const struct fs_node *node,
		       struct fuse_open_out *out)
{
	*out = (struct fuse_open_out){ 0 };
	if (fs->cache == FS_CACHE_NEVER)
		out->open_flags = FOPEN_DIRECT_IO;
	else if (fs->cache == FS_CACHE_ALWAYS)
		out->open_flags = FOPEN_KEEP_CACHE;
	return fs_handle_add(fs, fd, node, &out->fh);
}

int fs_op_open(struct fs_request *req)
{
	struct fuse_open_out out;
	struct fuse_open_in in;
	int fd, r;

	memcpy(&in, req->arg, sizeof(in));
	if (req->node->type == S_IFDIR)
		return -EISDIR;
	if (fs_reply_room(req) < sizeof(out))
		return -EINVAL;
	fd = open_node(req, req->node, in.flags,
		       in.open_flags & FUSE_OPEN_KILL_SUIDGID);
	if (fd < 0)
		return fd;
	r = open_finish(req->fs, fd, req->node, &out);
	return r < 0 ? r : fs_reply(req, &out, sizeof(out));
}

struct create_out {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

/* Gives the guest @fd, a file just made or opened, as node and as handle. */
static int create_finish(struct fs_request *req, int fd)
{
	struct virtio_fs *fs = req->fs;
	struct create_out out;
	struct fs_node *node;
	int r;
	int path_fd = open(fs_proc_path(fd).name, O_PATH | O_CLOEXEC);

	if (path_fd < 0) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	r = fs_node_get(fs, path_fd, req->node, &out.entry);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	node = fs_node_find(fs, out.entry.nodeid);
	r = open_finish(fs, fd, node, &out.open);
	if (r < 0) {
		fs_node_put(fs, node, 1);
		return r;
	}
	fs_dirty_add(fs, node);
	fs_dirty_add(fs, req->node);
	return fs_reply(req, &out, sizeof(out));
}

/* A file the guest did not know of has the name already. Return: fd, -errno. */
static int open_existing(const struct fs_request *req, const char *name,
			 const struct fuse_create_in *in)
{
	struct virtio_fs *fs = req->fs;
	struct fuse_entry_out entry;
	struct fs_node *node;
	int fd;
	int r = fs_lookup(fs, req->node, name, &entry);

	if (r < 0)
		return r;
	node = fs_node_find(fs, entry.nodeid);
	fd = node->type == S_IFDIR
		     ? -EISDIR
		     : open_node(req, node, in->flags,
				 in->open_flags & FUSE_OPEN_KILL_SUIDGID);
	fs_node_put(fs, node, 1);
	return fd;
}

int fs_op_create(struct fs_request *req)
{
	size_t off = sizeof(struct fuse_create_in);
	struct virtio_fs *fs = req->fs;
	struct fuse_create_in in;
	const char *name;
	int fd;
	int r = fs_arg_name(req, &off, &name);

	if (r < 0)
		return r;
	memcpy(&in, req->arg, sizeof(in));
	if (fs_reply_room(req) < sizeof(struct create_out))
		return -EINVAL;
	r = fs_fd_room(fs);
	if (r == 0)
		r = fs_cred_enter(req);
	if (r < 0)
		return r;
	/* O_EXCL: what is there already, a FIFO maybe, is not opened so. */
	fd = openat(req->node->fd, name,
		    open_flags(fs, in.flags) | O_CREAT | O_EXCL | O_NOFOLLOW |
			    O_CLOEXEC | O_NOCTTY,
		    fs_cred_mode(fs, in.mode));
	r = fd < 0 ? -errno : 0;
	fs_cred_leave(req);
	if (r == -EEXIST && !(in.flags & O_EXCL))
		r = fd = open_existing(req, name, &in);
	return r < 0 ? r : create_finish(req, fd);
}

/* A file without a name, which FUSE_LINK may give it. */
int fs_op_tmpfile(struct fs_request *req)
{
	struct fuse_create_in in;
	int fd, flags, r;

	memcpy(&in, req->arg, sizeof(in));
	flags = open_flags(req->fs, in.flags) & ~O_TRUNC;
	if ((flags & O_ACCMODE) == O_RDONLY ||
	    fs_reply_room(req) < sizeof(struct create_out))
		return -EINVAL;
	r = fs_fd_room(req->fs);
	if (r == 0)
		r = fs_cred_enter(req);
	if (r < 0)
		return r;
	fd = openat(req->node->fd, ".",
		    flags | O_TMPFILE | O_CLOEXEC |
			    (in.flags & O_EXCL ? O_EXCL : 0),
		    fs_cred_mode(req->fs, in.mode));
	r = fd < 0 ? -errno : 0;
	fs_cred_leave(req);
	return r < 0 ? r : create_finish(req, fd);
}

/* --------------------------------------------------------------------- I/O */

static int data_iov(const struct iovec *iov, unsigned int nr, size_t off,
		    size_t len, struct virtio_fs *fs)
{
	if (len > FS_MAX_WRITE)
		return -EINVAL;
	if (!len)
		return 0;
	return iov_slice(iov, nr, off, len, fs->data, VIRTQ_MAX_CHAIN);
}

int fs_op_read(struct fs_request *req)
{
	const struct virtq_chain *c = req->chain;
	struct virtio_fs *fs = req->fs;
	const struct fs_handle *handle;
	struct fuse_read_in in;
	ssize_t n;
	int nr;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(fs, in.fh, false);
	if (!handle)
		return -EBADF;
	if (in.offset > INT64_MAX || in.size > fs_reply_room(req))
		return -EINVAL;
	nr = data_iov(c->iov + c->nr_out, c->nr_in,
		      sizeof(struct fuse_out_header), in.size, fs);
	if (nr <= 0)
		return nr;
	n = preadv(handle->fd, fs->data, nr, (off_t)in.offset);
	return n < 0 ? -errno : (int)n;
}

/*
 * O_APPEND is told by each write, since it must not hold for those that write
 * back the guest's page cache by the same handle.
 */
static bool appends(const struct virtio_fs *fs, const struct fuse_write_in *in)
{
	return in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE) &&
	       !(fs->flags & FUSE_WRITEBACK_CACHE);
}

static ssize_t write_data(const struct fs_request *req,
			  const struct fs_handle *handle,
			  const struct fuse_write_in *in, int nr)
{
	const bool kill = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	struct virtio_fs *fs = req->fs;
	ssize_t n = fs_cred_data_enter(req, true, kill);

	if (n < 0)
		return n;
	if (appends(fs, in))
		n = pwritev2(handle->fd, fs->data, nr, (off_t)in->offset,
			     RWF_APPEND);
	else
		n = pwritev(handle->fd, fs->data, nr, (off_t)in->offset);
	n = n < 0 ? -errno : n;
	fs_cred_data_leave(req, true, kill);
	fs_dirty_add(fs, fs_handle_node(fs, handle));
	return n;
}

int fs_op_write(struct fs_request *req)
{
	const struct virtq_chain *c = req->chain;
	struct virtio_fs *fs = req->fs;
	const struct fs_handle *handle;
	struct fuse_write_out out = { 0 };
	struct fuse_write_in in;
	ssize_t n;
	int nr;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(fs, in.fh, false);
	if (!handle)
		return -EBADF;
	if (in.offset > INT64_MAX || fs_reply_room(req) < sizeof(out))
		return -EINVAL;
	nr = data_iov(c->iov, c->nr_out, sizeof(req->h) + sizeof(in), in.size,
		      fs);
	if (nr < 0)
		return nr;
	n = write_data(req, handle, &in, nr);
	if (n < 0)
		return (int)n;
	out.size = (uint32_t)n;
	return fs_reply(req, &out, sizeof(out));
}

/* ------------------------------------------------------- the end of a file */

/* Each close of a guest's file descriptor. */
int fs_op_flush(struct fs_request *req)
{
	const struct fs_handle *handle;
	struct fuse_flush_in in;
	int fd, r;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	fs_locks_drop(req->fs, req->node, in.lock_owner);
	/* Some file systems tell only in close() that a write has failed. */
	fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = close(fd) < 0 ? -errno : 0;
	return r == -EINTR ? 0 : r;
}

int fs_op_release(struct fs_request *req)
{
	struct fuse_release_in in;
	struct fs_handle *handle;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	fs_handle_remove(req->fs, handle);
	/* Its flock() is gone with it. */
	fs_waits_retry(req->fs);
	return 0;
}

int fs_op_fsync(struct fs_request *req)
{
	const struct fs_handle *handle;
	struct fuse_fsync_in in;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	return fs_handle_sync(req->fs, handle, in.fsync_flags);
}

/* -------------------------------------------------------------------- rest */

int fs_op_lseek(struct fs_request *req)
{
	struct fuse_lseek_out out = { 0 };
	const struct fs_handle *handle;
	struct fuse_lseek_in in;
	off_t at;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	/* The others need no host, which answers for any offset. */
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	at = lseek(handle->fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	out.offset = (uint64_t)at;
	return fs_reply(req, &out, sizeof(out));
}

static int fallocate_check(const struct fuse_fallocate_in *in)
{
	if (in->mode & ~(uint32_t)FALLOCATE_MODES)
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX || !in->length)
		return -EINVAL;
	return in->offset + in->length > INT64_MAX ? -EFBIG : 0;
}

/* What is more than there is takes nothing, instead of all. 0 or -ENOSPC. */
static int fallocate_room(const struct virtio_fs *fs,
			  const struct fs_handle *handle,
			  const struct fuse_fallocate_in *in)
{
	struct statfs sf;
	struct statx st;
	uint64_t has;

	if (in->mode & FALLOC_FL_PUNCH_HOLE || fs_stat(handle->fd, &st) < 0 ||
	    fstatfs(handle->fd, &sf) < 0 || !sf.f_blocks)
		return 0;
	has = fs->spares ? sf.f_bavail : sf.f_bfree;
	has = has * (uint64_t)sf.f_bsize + st.stx_blocks * 512;
	return in->length > has ? -ENOSPC : 0;
}

/* One part, at most FALLOCATE_STEP bytes. Adds to @done. */
static int fallocate_step(const struct fs_request *req,
			  const struct fs_handle *handle,
			  const struct fuse_fallocate_in *in, uint64_t *done)
{
	/* A hole is as much work as there are blocks in it. */
	uint64_t len =
		in->mode & FALLOC_FL_PUNCH_HOLE
			? in->length
			: MIN(in->length - *done, (uint64_t)FALLOCATE_STEP);
	/* The request does not say; root may keep the bits. */
	const bool kill = req->h.uid != 0;
	int r = fs_cred_data_enter(req, true, kill);

	if (r < 0)
		return r;
	r = fallocate(handle->fd, (int)in->mode, (off_t)(in->offset + *done),
		      (off_t)len);
	r = r < 0 ? -errno : 0;
	fs_cred_data_leave(req, true, kill);
	if (r == 0)
		*done += len;
	return r;
}

/* A long one goes on in later turns of the loop. */
int fs_op_fallocate(struct fs_request *req)
{
	struct fs_resume *resume = &req->fs->resume;
	const struct fs_handle *handle;
	struct fuse_fallocate_in in;
	uint64_t done = 0;
	int r;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	r = fallocate_check(&in);
	if (r < 0)
		return r;
	if (resume->unique == req->h.unique && resume->fh == in.fh &&
	    resume->done < in.length)
		done = resume->done;
	resume->done = 0;
	r = done ? 0 : fallocate_room(req->fs, handle, &in);
	if (r < 0)
		return r;
	fs_dirty_add(req->fs, fs_handle_node(req->fs, handle));
	do {
		r = fallocate_step(req, handle, &in, &done);
	} while (r == 0 && done < in.length && !turn_time_over(req->turn));
	if (r < 0 || done == in.length)
		return r;
	*resume = (struct fs_resume){ req->h.unique, in.fh, done };
	return FS_AGAIN;
}

int fs_op_copy_file_range(struct fs_request *req)
{
	const struct fs_handle *from, *to;
	struct fuse_copy_file_range_in in;
	struct fuse_write_out out = { 0 };
	off_t off_in, off_out;
	ssize_t n;

	memcpy(&in, req->arg, sizeof(in));
	from = fs_handle_find(req->fs, in.fh_in, false);
	to = fs_handle_find(req->fs, in.fh_out, false);
	if (!from || !to)
		return -EBADF;
	if (in.off_in > INT64_MAX || in.off_out > INT64_MAX || in.flags ||
	    fs_reply_room(req) < sizeof(out))
		return -EINVAL;
	off_in = (off_t)in.off_in;
	off_out = (off_t)in.off_out;
	n = fs_cred_data_enter(req, true, req->h.uid != 0);
	if (n < 0)
		return (int)n;
	n = copy_file_range(from->fd, &off_in, to->fd, &off_out,
			    MIN((size_t)in.len, (size_t)COPY_MAX), 0);
	n = n < 0 ? -errno : n;
	fs_cred_data_leave(req, true, req->h.uid != 0);
	fs_dirty_add(req->fs, fs_handle_node(req->fs, to));
	if (n < 0)
		return (int)n;
	out.size = (uint32_t)n;
	return fs_reply(req, &out, sizeof(out));
}
