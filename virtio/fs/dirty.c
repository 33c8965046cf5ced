/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest has changed and nobody has synced, as lists of nodes. Loop
 * thread only. See sync.c.
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

int fs_node_sync(const struct fs_node *node)
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
