/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session of a file system device: what FUSE_INIT agrees on, and the
 * tables of nodes and open handles. Everything a guest can make more of costs
 * an fd, and fds are counted: at the limit a lookup answers ENFILE. Loop
 * thread only.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define SLOT_BITS     20
#define SLOT_MASK     ((1U << SLOT_BITS) - 1)
#define CHUNK	      256U
#define ROOT_SLOT     1U
#define FIRST_BUCKETS 256U
/* Of an inode number, for the file system it is of. */
#define INO_DEV_BITS 16
/* About what a file that the guest knows costs the host. */
#define FD_BYTES 1024U

/* What a driver must have: 7.31 came with virtio-fs. */
#define MIN_MINOR  31U
#define OUR_MINOR  38U
#define PAGE_BYTES 4096U

_Static_assert(FUSE_ROOT_ID == ROOT_SLOT, "the first slot, serial number 0");

/* ------------------------------------------------------------------ tables */

static struct fs_entry *entry_at(const struct fs_table *t, uint32_t slot)
{
	uint8_t *chunk = t->chunks[slot / CHUNK];

	return (void *)(chunk + slot % CHUNK * t->entry_bytes);
}

static void table_init(struct fs_table *t, size_t entry_bytes)
{
	*t = (struct fs_table){ .entry_bytes = entry_bytes, .nr = 1 };
}

/* Entries are gone already. */
static void table_finish(struct fs_table *t)
{
	assert(!t->used);
	for (uint32_t i = 0; t->chunks && i <= (t->nr - 1) / CHUNK; i++)
		free(t->chunks[i]);
	free(t->chunks);
	table_init(t, t->entry_bytes);
}

/* Room for slot t->nr. */
static int table_grow(struct fs_table *t)
{
	uint32_t chunk = t->nr / CHUNK;
	void **chunks;

	if (t->nr > SLOT_MASK)
		return -ENFILE;
	if (t->nr > 1 && t->nr % CHUNK)
		return 0;
	chunks = reallocarray(t->chunks, chunk + 1, sizeof(*chunks));
	if (!chunks)
		return -ENOMEM;
	t->chunks = chunks;
	chunks[chunk] = calloc(CHUNK, t->entry_bytes);
	return chunks[chunk] ? 0 : -ENOMEM;
}

/* A zeroed entry with an id, or NULL and the reason. */
static struct fs_entry *table_add(struct fs_table *t, int *ret_error)
{
	uint32_t slot = t->first_free;
	struct fs_entry *e;

	if (slot) {
		e = entry_at(t, slot);
		t->first_free = e->next_free;
	} else {
		*ret_error = table_grow(t);
		if (*ret_error < 0)
			return NULL;
		slot = t->nr++;
		e = entry_at(t, slot);
	}
	memset(e, 0, t->entry_bytes);
	e->id = t->serial++ << SLOT_BITS | slot;
	t->used++;
	return e;
}

static struct fs_entry *table_find(const struct fs_table *t, uint64_t id)
{
	uint32_t slot = (uint32_t)id & SLOT_MASK;
	struct fs_entry *e;

	if (!slot || slot >= t->nr)
		return NULL;
	e = entry_at(t, slot);
	return e->id == id ? e : NULL;
}

static void table_remove(struct fs_table *t, struct fs_entry *e)
{
	uint32_t slot = (uint32_t)e->id & SLOT_MASK;

	e->id = 0;
	e->next_free = t->first_free;
	t->first_free = slot;
	t->used--;
}

/* Makes room for @n more descriptors. Return: 0 or -ENFILE. */
static int fds_room(struct virtio_fs *fs, uint32_t n)
{
	static struct log_limit limit;

	while (n > fs->fds_max - fs->fds && fs_orphan_free(fs))
		continue;
	if (n <= fs->fds_max - fs->fds)
		return 0;
	log_limited(&limit, "the guest has %u files, the maximum", fs->fds);
	return -ENFILE;
}

int fs_fd_room(struct virtio_fs *fs)
{
	return fds_room(fs, 1);
}

/* ------------------------------------------------------------------- nodes */

static uint32_t slot_of(const struct fs_node *node)
{
	return (uint32_t)node->e.id & SLOT_MASK;
}

static struct fs_node *node_at(const struct virtio_fs *fs, uint32_t slot)
{
	return container_of(entry_at(&fs->nodes, slot), struct fs_node, e);
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

/* 0: the root's, or there was no memory for another. */
static uint32_t dev_number(const struct virtio_fs *fs, uint64_t dev)
{
	for (uint32_t i = 0; i < fs->nr_devs; i++) {
		if (fs->devs[i] == dev)
			return i;
	}
	return 0;
}

static int dev_add(struct virtio_fs *fs, uint64_t dev)
{
	uint64_t *devs;

	if (fs->nr_devs && (fs->devs[0] == dev || dev_number(fs, dev)))
		return 0;
	if (fs->nr_devs == 1U << INO_DEV_BITS)
		return -ENOMEM;
	devs = reallocarray(fs->devs, fs->nr_devs + 1, sizeof(*devs));
	if (!devs)
		return -ENOMEM;
	devs[fs->nr_devs++] = dev;
	fs->devs = devs;
	return 0;
}

uint64_t fs_ino(const struct virtio_fs *fs, uint64_t dev, uint64_t ino)
{
	return ino ^ (uint64_t)dev_number(fs, dev) << (64 - INO_DEV_BITS);
}

/* Takes over @fd. */
static struct fs_node *node_add(struct virtio_fs *fs, int fd,
				const struct statx *st, int *ret_error)
{
	struct fs_entry *e;
	struct fs_node *node;

	if (fs->nodes.used >= fs->nr_buckets)
		hash_grow(fs);
	*ret_error = dev_add(fs, fs_dev_of(st));
	e = *ret_error < 0 ? NULL : table_add(&fs->nodes, ret_error);
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

void fs_node_free(struct virtio_fs *fs, struct fs_node *node)
{
	fs_dirty_remove(node);
	fs_locks_drop_all(fs, node);
	hash_remove(fs, node);
	fd_close(&node->fd);
	fs->fds--;
	table_remove(&fs->nodes, &node->e);
}

struct fs_node *fs_node_find(struct virtio_fs *fs, uint64_t id)
{
	struct fs_entry *e = table_find(&fs->nodes, id);
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
	fs_locks_drop_all(fs, node);
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
	/* Inode numbers begin anew there: a device of its own in the guest. */
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

/* ----------------------------------------------------------------- handles */

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
	int r = fds_room(fs, handle_fds(dir));

	if (r == 0 && dir) {
		batch = calloc(1, sizeof(*batch));
		r = batch ? 0 : -ENOMEM;
	}
	if (r == 0)
		e = table_add(&fs->handles, &r);
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
	struct fs_entry *e = table_find(&fs->handles, id);
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
	table_remove(&fs->handles, &handle->e);
}

/* ----------------------------------------------------------------- session */

int fs_session_init(struct virtio_fs *fs)
{
	struct statx st;
	int r = fs_stat(fs->root_fd, &st);
	int fd;

	if (r < 0)
		return r;
	if ((st.stx_mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	if (fs_is_pseudo(fs->root_fd))
		return log_errno(-EINVAL, "the directory is in one of the "
					  "kernel's own file systems (proc, "
					  "sys ...)");
	table_init(&fs->nodes, sizeof(struct fs_node));
	table_init(&fs->handles, sizeof(struct fs_handle));
	fs->nr_buckets = FIRST_BUCKETS;
	fs->buckets = calloc(fs->nr_buckets, sizeof(*fs->buckets));
	if (!fs->buckets)
		return -ENOMEM;
	fd = dup(fs->root_fd);
	if (fd < 0)
		return -errno;
	fs->root = node_add(fs, fd, &st, &r);
	return fs->root ? 0 : r;
}

void fs_session_end(struct virtio_fs *fs)
{
	fs_waits_abort(fs);
	for (uint32_t slot = 1; slot < fs->handles.nr; slot++) {
		struct fs_entry *e = entry_at(&fs->handles, slot);

		if (e->id)
			fs_handle_remove(fs,
					 container_of(e, struct fs_handle, e));
	}
	for (uint32_t slot = 1; slot < fs->nodes.nr; slot++) {
		struct fs_node *node = node_at(fs, slot);

		if (node->e.id && node != fs->root)
			fs_node_free(fs, node);
	}
	if (fs->root) {
		fs_locks_drop_all(fs, fs->root);
		fs_dirty_remove(fs->root);
	}
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
	if (fs->root)
		fs_node_free(fs, TAKE(fs->root));
	table_finish(&fs->handles);
	table_finish(&fs->nodes);
	free(TAKE(fs->buckets));
	free(TAKE(fs->devs));
	fs->nr_devs = 0;
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
