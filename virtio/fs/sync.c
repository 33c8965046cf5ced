/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync() in the guest (FUSE_SYNCFS). syncfs() would write out the host's whole
 * file system, with what others have changed there; so the nodes that the guest
 * has changed are known, and each is synced. One that the guest forgets is kept
 * until then, and counts as a file of its, or until there is need of its fd.
 * Loop thread only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "virtio/fs/fs.h"

int fs_handle_sync(struct virtio_fs *fs, const struct fs_handle *handle,
		   uint32_t flags)
{
	struct fs_node *node = fs_handle_node(fs, handle);

	if (flags & FUSE_FSYNC_FDATASYNC)
		return fdatasync(handle->fd) < 0 ? -errno : 0;
	if (fsync(handle->fd) < 0)
		return -errno;
	if (node)
		fs_dirty_remove(node);
	return 0;
}

/* As many as a turn has time for; what is synced is in no list any more. */
int fs_op_syncfs(struct fs_request *req)
{
	struct virtio_fs *fs = req->fs;
	int r;

	while (fs->dirty || fs->orphans) {
		struct fs_node *node = fs->dirty ? fs->dirty : fs->orphans;
		bool orphan = !fs->dirty;
		int error = fs_node_sync(node);

		fs_dirty_remove(node);
		if (orphan)
			fs_node_free(fs, node);
		if (error < 0)
			fs->sync_error = error;
		if (turn_time_over(req->turn) && (fs->dirty || fs->orphans))
			return FS_AGAIN;
	}
	r = fs->sync_error;
	fs->sync_error = 0;
	return r;
}
