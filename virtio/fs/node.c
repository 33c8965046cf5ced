/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes: the files that the guest knows. Everything a guest can make more of
 * costs an fd, and fds are counted: at the limit a lookup answers ENFILE. Loop
 * thread only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define ROOT_SLOT     1U
#define FIRST_BUCKETS 256U

_Static_assert(FUSE_ROOT_ID == ROOT_SLOT, "the first slot, serial number 0");

/* ----------------------------------------------------------------- by inode */

static uint32_t slot_of(const struct fs_node *node)
{
	return (uint32_t)node->e.id & FS_SLOT_MASK;
}

static struct fs_node *node_at(const struct virtio_fs *fs, uint32_t slot)
{
	return container_of(fs_entry_at(&fs->nodes, slot), struct fs_node, e);
}

static uint32_t bucket_of(const struct virtio_fs *fs, uint64_t dev,
			  uint64_t ino, uint64_t mnt)
{
	uint64_t h = ino * 0x9e3779b97f4a7c15ULL;

	h ^= (dev ^ mnt << 32) * 0xc2b2ae3d27d4eb4fULL;
	return (uint32_t)(h >> 32) & (fs->nr_buckets - 1);
}

static void hash_insert(struct virtio_fs *fs, struct fs_node *node)
{
	uint32_t *bucket =
		&fs->buckets[bucket_of(fs, node->dev, node->ino, node->mnt)];

	node->hash_next = *bucket;
	*bucket = slot_of(node);
}

static void hash_remove(struct virtio_fs *fs, const struct fs_node *node)
{
	uint32_t *at =
		&fs->buckets[bucket_of(fs, node->dev, node->ino, node->mnt)];

	while (*at != slot_of(node))
		at = &node_at(fs, *at)->hash_next;
	*at = node->hash_next;
}

/* Twice as many buckets. Without memory for that, longer chains. */
static void hash_grow(struct virtio_fs *fs)
{
	uint32_t *buckets = calloc(2UL * fs->nr_buckets, sizeof(*buckets));

	if (!buckets)
		return;
	free(fs->buckets);
	fs->buckets = buckets;
	fs->nr_buckets *= 2;
	for (uint32_t slot = 1; slot < fs->nodes.nr; slot++) {
		struct fs_node *node = node_at(fs, slot);

		if (node->e.id)
			hash_insert(fs, node);
	}
}

static struct fs_node *hash_find(const struct virtio_fs *fs, uint64_t dev,
				 uint64_t ino, uint64_t mnt)
{
	uint32_t slot = fs->buckets[bucket_of(fs, dev, ino, mnt)];

	while (slot) {
		struct fs_node *node = node_at(fs, slot);

		if (node->ino == ino && node->dev == dev && node->mnt == mnt)
			return node;
		slot = node->hash_next;
	}
	return NULL;
}

/* Takes over @fd. */
static struct fs_node *node_add(struct virtio_fs *fs, int fd,
				const struct statx *st, int *ret_error)
{
	struct fs_entry *e;
	struct fs_node *node;

	if (fs->nodes.used >= fs->nr_buckets)
		hash_grow(fs);
	*ret_error = fs_dev_add(fs, fs_dev_of(st));
	e = *ret_error < 0 ? NULL : fs_table_add(&fs->nodes, ret_error);
	if (!e) {
		fd_close(&fd);
		return NULL;
	}
	node = container_of(e, struct fs_node, e);
	node->fd = fd;
	node->dev = fs_dev_of(st);
	node->ino = st->stx_ino;
	node->mnt = st->stx_mnt_id;
	node->type = st->stx_mode & S_IFMT;
	fs->fds++;
	hash_insert(fs, node);
	return node;
}

/* ---------------------------------------------------------- the end of one */

void fs_lock_remove(struct virtio_fs *fs, struct fs_lock **at)
{
	struct fs_lock *lock = *at;

	*at = lock->next;
	fd_close(&lock->fd);
	fs->fds--;
	free(lock);
}

static void locks_drop(struct virtio_fs *fs, struct fs_node *node)
{
	while (node->locks)
		fs_lock_remove(fs, &node->locks);
}

void fs_node_free(struct virtio_fs *fs, struct fs_node *node)
{
	fs_dirty_remove(node);
	locks_drop(fs, node);
	hash_remove(fs, node);
	fd_close(&node->fd);
	fs->fds--;
	fs_table_remove(&fs->nodes, &node->e);
}

/* Syncs and frees one that is forgotten. Return: false: there is none. */
static bool orphan_free(struct virtio_fs *fs)
{
	struct fs_node *node = fs->orphans;

	if (!node)
		return false;
	(void)fs_node_sync(node);
	fs_node_free(fs, node);
	return true;
}

int fs_fds_room(struct virtio_fs *fs, uint32_t n)
{
	static struct log_limit limit;

	while (n > fs->fds_max - fs->fds && orphan_free(fs))
		continue;
	if (n <= fs->fds_max - fs->fds)
		return 0;
	log_limited(&limit, "the guest has %u files, the maximum", fs->fds);
	return -ENFILE;
}

int fs_fd_room(struct virtio_fs *fs)
{
	return fs_fds_room(fs, 1);
}

/* -------------------------------------------------------------- references */

struct fs_node *fs_node_find(struct virtio_fs *fs, uint64_t id)
{
	struct fs_entry *e = fs_table_find(&fs->nodes, id);
	struct fs_node *node;

	if (!e)
		return NULL;
	node = container_of(e, struct fs_node, e);
	/* One that is kept to be synced, but the guest has forgotten it. */
	return node->nlookup || node == fs->root ? node : NULL;
}

void fs_node_put(struct virtio_fs *fs, struct fs_node *node, uint64_t n)
{
	if (node == fs->root)
		return;
	node->nlookup -= MIN(n, node->nlookup);
	if (node->nlookup)
		return;
	locks_drop(fs, node);
	if (node->dirty_at)
		fs_dirty_orphan(fs, node);
	else
		fs_node_free(fs, node);
}

static void entry_fill(const struct virtio_fs *fs, const struct fs_node *node,
		       const struct fs_node *parent, const struct statx *st,
		       struct fuse_entry_out *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->nodeid = node->e.id;
	ret->entry_valid = fs->timeout_s;
	ret->attr_valid = fs->timeout_s;
	fs_attr_fill(fs, st, &ret->attr);
	/* Inode numbers begin again there: a device of its own in the guest. */
	if (parent && node->type == S_IFDIR && fs->flags & FUSE_SUBMOUNTS &&
	    (node->dev != parent->dev || node->mnt != parent->mnt))
		ret->attr.flags = FUSE_ATTR_SUBMOUNT;
}

int fs_node_get(struct virtio_fs *fs, int fd, const struct fs_node *parent,
		struct fuse_entry_out *ret_entry)
{
	struct fs_node *node;
	struct statx st;
	int r = fs_stat(fd, &st);

	if (r == 0 && parent && fs_dev_of(&st) != parent->dev &&
	    fs_is_pseudo(fd))
		r = -EACCES;
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	node = hash_find(fs, fs_dev_of(&st), st.stx_ino, st.stx_mnt_id);
	if (node) {
		fd_close(&fd);
		if (!node->nlookup && node->dirty_at && node != fs->root)
			fs_dirty_adopt(fs, node);
	} else {
		r = fs_fd_room(fs);
		if (r < 0) {
			fd_close(&fd);
			return r;
		}
		node = node_add(fs, fd, &st, &r);
		if (!node)
			return r;
	}
	if (node != fs->root)
		node->nlookup++;
	entry_fill(fs, node, parent, &st, ret_entry);
	return 0;
}

/* ------------------------------------------------------------------- table */

int fs_nodes_init(struct virtio_fs *fs, int root_fd, const struct statx *root)
{
	int fd = dup(root_fd);
	int r;

	if (fd < 0)
		return -errno;
	fs_table_init(&fs->nodes, sizeof(struct fs_node));
	fs->nr_buckets = FIRST_BUCKETS;
	fs->buckets = calloc(fs->nr_buckets, sizeof(*fs->buckets));
	if (!fs->buckets) {
		fd_close(&fd);
		return -ENOMEM;
	}
	fs->root = node_add(fs, fd, root, &r);
	return fs->root ? 0 : r;
}

void fs_nodes_end(struct virtio_fs *fs)
{
	for (uint32_t slot = 1; slot < fs->nodes.nr; slot++) {
		struct fs_node *node = node_at(fs, slot);

		if (node->e.id && node != fs->root)
			fs_node_free(fs, node);
	}
	if (fs->root) {
		locks_drop(fs, fs->root);
		fs_dirty_remove(fs->root);
	}
}

void fs_nodes_finish(struct virtio_fs *fs)
{
	if (fs->root)
		fs_node_free(fs, TAKE(fs->root));
	fs_table_finish(&fs->nodes);
	free(TAKE(fs->buckets));
	free(TAKE(fs->devs));
	fs->nr_devs = 0;
}
