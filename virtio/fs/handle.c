/* SPDX-License-Identifier: BSD-3-Clause */
/* Open files and directories of the guest. Loop thread only. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"

/* About what a file that the guest knows costs the host. */
#define FD_BYTES 1024U

/* What a handle counts as: a directory's batch is memory of the host's. */
static uint32_t handle_fds(bool dir)
{
	return dir ? 1 + FS_BATCH_BYTES / FD_BYTES : 1;
}

int fs_handle_add(struct virtio_fs *fs, int fd, const struct fs_node *node,
		  uint64_t *ret_id)
{
	const bool dir = node->type == S_IFDIR;
	struct fs_batch *batch = NULL;
	struct fs_entry *e = NULL;
	struct fs_handle *handle;
	int r = fs_fds_room(fs, handle_fds(dir));

	if (r == 0 && dir) {
		batch = calloc(1, sizeof(*batch));
		r = batch ? 0 : -ENOMEM;
	}
	if (r == 0)
		e = fs_table_add(&fs->handles, &r);
	if (!e) {
		free(batch);
		fd_close(&fd);
		return r;
	}
	handle = container_of(e, struct fs_handle, e);
	handle->fd = fd;
	handle->batch = batch;
	handle->nodeid = node->e.id;
	fs->fds += handle_fds(dir);
	*ret_id = e->id;
	return 0;
}

struct fs_handle *fs_handle_find(struct virtio_fs *fs, uint64_t id, bool dir)
{
	struct fs_entry *e = fs_table_find(&fs->handles, id);
	struct fs_handle *handle;

	if (!e)
		return NULL;
	handle = container_of(e, struct fs_handle, e);
	return !handle->batch == !dir ? handle : NULL;
}

struct fs_node *fs_handle_node(struct virtio_fs *fs,
			       const struct fs_handle *handle)
{
	return fs_node_find(fs, handle->nodeid);
}

void fs_handle_remove(struct virtio_fs *fs, struct fs_handle *handle)
{
	fd_close(&handle->fd);
	fs->fds -= handle_fds(handle->batch);
	free(TAKE(handle->batch));
	fs_table_remove(&fs->handles, &handle->e);
}

void fs_handles_init(struct virtio_fs *fs)
{
	fs_table_init(&fs->handles, sizeof(struct fs_handle));
}

void fs_handles_end(struct virtio_fs *fs)
{
	for (uint32_t slot = 1; slot < fs->handles.nr; slot++) {
		struct fs_entry *e = fs_entry_at(&fs->handles, slot);

		if (e->id)
			fs_handle_remove(fs,
					 container_of(e, struct fs_handle, e));
	}
}
