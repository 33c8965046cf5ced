/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session of a file system device: from what FUSE_INIT agrees on to what
 * ends it. Loop thread only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "virtio/fs/fs.h"
#include "vmm/base/log.h"

/* What a driver must have: 7.31 came with virtio-fs. */
#define MIN_MINOR  31U
#define OUR_MINOR  38U
#define PAGE_BYTES 4096U

int fs_session_init(struct virtio_fs *fs)
{
	struct statx st;
	int r = fs_stat(fs->root_fd, &st);

	if (r < 0)
		return r;
	if ((st.stx_mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	if (fs_is_pseudo(fs->root_fd))
		return log_errno(-EINVAL, "the directory is in one of the "
					  "kernel's own file systems (proc, "
					  "sys ...)");
	fs_handles_init(fs);
	return fs_nodes_init(fs, fs->root_fd, &st);
}

void fs_session_end(struct virtio_fs *fs)
{
	fs_waits_abort(fs);
	fs_handles_end(fs);
	fs_nodes_end(fs);
	fs->resume = (struct fs_resume){ 0 };
	fs->sync_error = 0;
	fs->live = false;
	fs->flags = 0;
}

void fs_session_finish(struct virtio_fs *fs)
{
	if (!fs->nodes.entry_bytes)
		return;
	for (unsigned int i = 0; i < fs->dev.nr_queues; i++)
		fs_waits_forget(fs, i);
	fs_session_end(fs);
	fs_table_finish(&fs->handles);
	fs_nodes_finish(fs);
}

static uint32_t flags_wanted(const struct virtio_fs *fs)
{
	uint32_t flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC |
			 FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
			 FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
			 FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_SUBMOUNTS;

	if (fs->locks)
		flags |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
	/* Else others than the guest may write to it. */
	if (fs->cache != FS_CACHE_ALWAYS)
		flags |= FUSE_AUTO_INVAL_DATA;
	/* A symlink's target never changes. */
	if (fs->cache != FS_CACHE_NEVER)
		flags |= FUSE_CACHE_SYMLINKS;
	if (fs->writeback)
		flags |= FUSE_WRITEBACK_CACHE;
	/* The host's kernel does it, with each write or when it is told to. */
	flags |= FUSE_HANDLE_KILLPRIV_V2;
	if (!fs->keeps_suid || !fs->suid)
		flags |= FUSE_HANDLE_KILLPRIV;
	return flags;
}

int fs_op_init(struct fs_request *req)
{
	struct virtio_fs *fs = req->fs;
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION,
				     .minor = OUR_MINOR };
	struct fuse_init_in in = { 0 };

	memcpy(&in, req->arg, MIN(sizeof(in), req->arg_len));
	/* A newer driver tries again with what we speak. */
	if (in.major > FUSE_KERNEL_VERSION)
		return fs_reply(req, &out, FUSE_COMPAT_INIT_OUT_SIZE);
	if (in.major < FUSE_KERNEL_VERSION || in.minor < MIN_MINOR ||
	    req->arg_len < offsetof(struct fuse_init_in, flags2))
		return -EPROTO;
	fs_session_end(fs);
	fs->flags = in.flags & flags_wanted(fs);
	fs->live = true;
	out.flags = fs->flags;
	out.max_readahead = in.max_readahead;
	out.max_background = FS_QUEUE_SIZE / 4;
	out.congestion_threshold = FS_QUEUE_SIZE / 4 * 3 / 4;
	out.max_write = FS_MAX_WRITE;
	out.max_pages = FS_MAX_WRITE / PAGE_BYTES;
	out.time_gran = 1;
	return fs_reply(req, &out, sizeof(out));
}

int fs_op_destroy(struct fs_request *req)
{
	fs_session_end(req->fs);
	return 0;
}
