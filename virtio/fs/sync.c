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
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"

static void list_add(struct fs_node **list, struct fs_node *node)
{
	node->dirty_next = *list;
	if (node->dirty_next)
		node->dirty_next->dirty_at = &node->dirty_next;
	node->dirty_at = list;
	*list = node;
}

void fs_dirty_remove(struct fs_node *node)
{
	if (!node->dirty_at)
		return;
	*node->dirty_at = node->dirty_next;
	if (node->dirty_next)
		node->dirty_next->dirty_at = node->dirty_at;
	node->dirty_at = NULL;
}

void fs_dirty_add(struct virtio_fs *fs, struct fs_node *node)
{
	/* Of the others all there is is a name, which is their directory's. */
	if (node && !node->dirty_at &&
	    (node->type == S_IFREG || node->type == S_IFDIR))
		list_add(&fs->dirty, node);
}

void fs_dirty_orphan(struct virtio_fs *fs, struct fs_node *node)
{
	fs_dirty_remove(node);
	list_add(&fs->orphans, node);
}

void fs_dirty_adopt(struct virtio_fs *fs, struct fs_node *node)
{
	fs_dirty_remove(node);
	list_add(&fs->dirty, node);
}

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

static int sync_node(const struct fs_node *node)
{
	_cleanup_fd_ int fd = -1;
	struct statx st;

	/* Nobody finds it again. */
	if (fs_stat(node->fd, &st) == 0 && !st.stx_nlink)
		return 0;
	fd = fs_node_open(node, O_RDONLY);
	if (fd == -EACCES && node->type == S_IFREG)
		fd = fs_node_open(node, O_WRONLY);
	/* An ordinary user's own, closed to itself since: no error of others.
	 */
	if (fd == -EACCES || fd == -EPERM)
		return 0;
	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}

bool fs_orphan_free(struct virtio_fs *fs)
{
	struct fs_node *node = fs->orphans;

	if (!node)
		return false;
	(void)sync_node(node);
	fs_node_free(fs, node);
	return true;
}

/* As many as a turn has time for; what is synced is in no list any more. */
int fs_op_syncfs(struct fs_request *req)
{
	struct virtio_fs *fs = req->fs;
	int r;

	while (fs->dirty || fs->orphans) {
		struct fs_node *node = fs->dirty ? fs->dirty : fs->orphans;
		bool orphan = !fs->dirty;
		int error = sync_node(node);

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
