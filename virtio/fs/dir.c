/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has to do with names: looking them up, making, renaming and removing
 * them, listing directories. A name was checked to be a single one by
 * fs_arg_name(); no call here follows a symlink. Loop thread only.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"

#define RENAME_FLAGS (RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)

/* The kernel's own, which has no struct in the headers of user space. */
struct dirent_raw {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* ------------------------------------------------------------------ lookup */

/*
 * The name was checked; that no bug in that leads out of the directory is seen
 * to by the kernel.
 */
static int open_path(int dir_fd, const char *name)
{
	const struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int fs_lookup(struct virtio_fs *fs, struct fs_node *dir, const char *name,
	      struct fuse_entry_out *ret)
{
	int fd = open_path(dir->fd, name);

	return fd < 0 ? fd : fs_node_get(fs, fd, dir, ret);
}

static int reply_lookup(struct fs_request *req, const char *name,
			struct fuse_entry_out *out)
{
	int r;

	/* Before there is a reference that nobody would give back. */
	if (fs_reply_room(req) < sizeof(*out))
		return -EINVAL;
	r = fs_lookup(req->fs, req->node, name, out);
	return r < 0 ? r : fs_reply(req, out, sizeof(*out));
}

/* The same for a name that was made just now. */
static int reply_made(struct fs_request *req, const char *name)
{
	struct fuse_entry_out out;
	int r = reply_lookup(req, name, &out);

	fs_dirty_add(req->fs, req->node);
	if (r >= 0)
		fs_dirty_add(req->fs, fs_node_find(req->fs, out.nodeid));
	return r;
}

int fs_op_lookup(struct fs_request *req)
{
	struct fuse_entry_out out;
	const char *name;
	size_t off = 0;
	int r = fs_arg_name(req, &off, &name);

	return r < 0 ? r : reply_lookup(req, name, &out);
}

static void forget(struct virtio_fs *fs, uint64_t id, uint64_t n)
{
	struct fs_node *node = fs_node_find(fs, id);

	if (node)
		fs_node_put(fs, node, n);
}

int fs_op_forget(struct fs_request *req)
{
	struct fuse_forget_in in;

	memcpy(&in, req->arg, sizeof(in));
	forget(req->fs, req->h.nodeid, in.nlookup);
	return FS_NO_REPLY;
}

int fs_op_batch_forget(struct fs_request *req)
{
	const uint8_t *at = req->arg + sizeof(struct fuse_batch_forget_in);
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;
	size_t n;

	memcpy(&in, req->arg, sizeof(in));
	/* It may say more than there are. */
	n = (req->arg_len - sizeof(in)) / sizeof(one);
	n = MIN(n, (size_t)in.count);
	for (; n > 0; n--, at += sizeof(one)) {
		memcpy(&one, at, sizeof(one));
		forget(req->fs, one.nodeid, one.nlookup);
	}
	return FS_NO_REPLY;
}

/* ------------------------------------------------------------------ making */

int fs_op_mknod(struct fs_request *req)
{
	size_t off = sizeof(struct fuse_mknod_in);
	struct fuse_mknod_in in;
	const char *name;
	int r = fs_arg_name(req, &off, &name);

	if (r < 0)
		return r;
	memcpy(&in, req->arg, sizeof(in));
	/* Devices would be the host's. Number 0,0 is none but a whiteout. */
	if ((S_ISBLK(in.mode) || S_ISCHR(in.mode)) && in.rdev)
		return -EPERM;
	r = fs_cred_enter(req);
	if (r < 0)
		return r;
	in.mode = (in.mode & S_IFMT) | fs_cred_mode(req->fs, in.mode);
	r = mknodat(req->node->fd, name, in.mode, 0) < 0 ? -errno : 0;
	fs_cred_leave(req);
	return r < 0 ? r : reply_made(req, name);
}

int fs_op_mkdir(struct fs_request *req)
{
	size_t off = sizeof(struct fuse_mkdir_in);
	struct fuse_mkdir_in in;
	const char *name;
	int r = fs_arg_name(req, &off, &name);

	if (r < 0)
		return r;
	memcpy(&in, req->arg, sizeof(in));
	r = fs_cred_enter(req);
	if (r < 0)
		return r;
	r = mkdirat(req->node->fd, name, in.mode) < 0 ? -errno : 0;
	fs_cred_leave(req);
	return r < 0 ? r : reply_made(req, name);
}

int fs_op_symlink(struct fs_request *req)
{
	const char *name, *target;
	size_t off = 0;
	int r = fs_arg_name(req, &off, &name);

	if (r == 0)
		r = fs_arg_text(req, &off, &target);
	if (r != 0)
		return r;
	r = fs_cred_enter(req);
	if (r < 0)
		return r;
	/* Any target will do: it is the guest's kernel that follows it. */
	r = symlinkat(target, req->node->fd, name) < 0 ? -errno : 0;
	fs_cred_leave(req);
	return r < 0 ? r : reply_made(req, name);
}

int fs_op_link(struct fs_request *req)
{
	size_t off = sizeof(struct fuse_link_in);
	const struct fs_node *old;
	struct fuse_link_in in;
	const char *name;
	int r = fs_arg_name(req, &off, &name);

	if (r < 0)
		return r;
	memcpy(&in, req->arg, sizeof(in));
	old = fs_node_find(req->fs, in.oldnodeid);
	if (!old)
		return -ESTALE;
	r = fs_cred_room(req->fs, req->node->fd);
	if (r < 0)
		return r;
	/* AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH. */
	if (linkat(AT_FDCWD, fs_proc_path(old->fd).name, req->node->fd, name,
		   AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return reply_made(req, name);
}

/* ---------------------------------------------------- removing and renaming */

static int unlink_name(struct fs_request *req, int flags)
{
	const char *name;
	size_t off = 0;
	int r = fs_arg_name(req, &off, &name);

	if (r < 0)
		return r;
	if (unlinkat(req->node->fd, name, flags) < 0)
		return -errno;
	fs_dirty_add(req->fs, req->node);
	return 0;
}

int fs_op_unlink(struct fs_request *req)
{
	return unlink_name(req, 0);
}

int fs_op_rmdir(struct fs_request *req)
{
	return unlink_name(req, AT_REMOVEDIR);
}

/* @off: where the two names are */
static int rename_to(struct fs_request *req, uint64_t new_dir_id,
		     uint32_t flags, size_t off)
{
	struct fs_node *to = fs_node_find(req->fs, new_dir_id);
	const char *old_name, *new_name;
	int r = fs_arg_name(req, &off, &old_name);

	if (r == 0)
		r = fs_arg_name(req, &off, &new_name);
	if (r != 0)
		return r;
	if (flags & ~(uint32_t)RENAME_FLAGS)
		return -EINVAL;
	if (!to)
		return -ESTALE;
	if (to->type != S_IFDIR)
		return -ENOTDIR;
	/* glibc's would be another system call if there is no flag. */
	if (syscall(SYS_renameat2, req->node->fd, old_name, to->fd, new_name,
		    flags) < 0)
		return -errno;
	fs_dirty_add(req->fs, req->node);
	fs_dirty_add(req->fs, to);
	return 0;
}

int fs_op_rename(struct fs_request *req)
{
	struct fuse_rename_in in;

	memcpy(&in, req->arg, sizeof(in));
	return rename_to(req, in.newdir, 0, sizeof(in));
}

int fs_op_rename2(struct fs_request *req)
{
	struct fuse_rename2_in in;

	memcpy(&in, req->arg, sizeof(in));
	return rename_to(req, in.newdir, in.flags, sizeof(in));
}

/* ----------------------------------------------------------------- listing */

int fs_op_opendir(struct fs_request *req)
{
	struct fuse_open_out out = { 0 };
	int fd;
	int r;

	if (fs_reply_room(req) < sizeof(out))
		return -EINVAL;
	fd = fs_node_open(req->node, O_RDONLY);
	if (fd < 0)
		return fd;
	r = fs_handle_add(req->fs, fd, req->node, &out.fh);
	if (r < 0)
		return r;
	if (req->fs->cache == FS_CACHE_ALWAYS)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	return fs_reply(req, &out, sizeof(out));
}

int fs_op_releasedir(struct fs_request *req)
{
	struct fuse_release_in in;
	struct fs_handle *handle;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, true);
	if (!handle)
		return -EBADF;
	fs_handle_remove(req->fs, handle);
	return 0;
}

int fs_op_fsyncdir(struct fs_request *req)
{
	const struct fs_handle *handle;
	struct fuse_fsync_in in;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, true);
	if (!handle)
		return -EBADF;
	return fs_handle_sync(req->fs, handle, in.fsync_flags);
}

static bool is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* A listing in the making. */
struct listing {
	struct fs_request *req;
	bool plus;
	size_t size; /* bytes there may be */
	size_t len;  /* bytes there are */
};

/*
 * Adds one entry, with its node if the driver wants that.
 * Return: false if there is no room.
 */
static bool list_entry(struct listing *l, const struct dirent_raw *d)
{
	struct fs_request *req = l->req;
	size_t name_len = strlen(d->name);
	struct fuse_direntplus e = {
		.dirent = { .ino = fs_ino(req->fs, req->node->dev, d->ino),
			    .off = (uint64_t)d->off,
			    .namelen = (uint32_t)name_len,
			    .type = d->type },
	};
	size_t skip = l->plus ? 0 : sizeof(e.entry_out);
	size_t head = sizeof(e) - skip;
	size_t len = FUSE_DIRENT_ALIGN(head + name_len);
	uint8_t *at = req->fs->out + l->len;

	if (len > l->size - l->len)
		return false;
	/* What is above the shared directory is none of a guest's business. */
	if (req->node == req->fs->root && is_dot(d->name))
		e.dirent.ino = req->node->ino;
	/* Without a node it is a plain entry; "." and ".." have to be. */
	if (l->plus && !is_dot(d->name) &&
	    fs_lookup(req->fs, req->node, d->name, &e.entry_out) < 0)
		memset(&e.entry_out, 0, sizeof(e.entry_out));
	memcpy(at, (const uint8_t *)&e + skip, head);
	memcpy(at + head, d->name, name_len);
	memset(at + head + name_len, 0, len - head - name_len);
	l->len += len;
	return true;
}

static const struct dirent_raw *batch_entry(const struct fs_batch *b, size_t at)
{
	return (const void *)(b->bytes + at);
}

/* Where in @b the entry behind offset @off is; b->len: not in it. */
static size_t batch_find(const struct fs_batch *b, uint64_t off)
{
	uint64_t before = b->start;
	size_t at = 0;

	while (at < b->len && before != off) {
		before = (uint64_t)batch_entry(b, at)->off;
		at += batch_entry(b, at)->reclen;
	}
	return at;
}

/* The kernel's entries from offset @off on. Return: 0 or -errno. */
static int batch_read(const struct fs_handle *handle, uint64_t off)
{
	struct fs_batch *b = handle->batch;
	ssize_t n;

	if (off > INT64_MAX)
		return -EINVAL;
	b->len = 0;
	if (b->pos != off && lseek(handle->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	b->start = b->pos = off;
	n = getdents64(handle->fd, b->bytes, sizeof(b->bytes));
	if (n < 0)
		return -errno;
	b->len = (size_t)n;
	for (size_t at = 0; at < b->len; at += batch_entry(b, at)->reclen)
		b->pos = (uint64_t)batch_entry(b, at)->off;
	return 0;
}

/*
 * Entries of one batch, so that the driver may go back to any of them. From
 * the beginning it is always read again: rewinddir() has to see what is there.
 */
static int list(struct fs_request *req, bool plus)
{
	struct listing l = { .req = req, .plus = plus };
	const struct fs_handle *handle;
	struct fuse_read_in in;
	struct fs_batch *b;
	size_t at;

	memcpy(&in, req->arg, sizeof(in));
	handle = fs_handle_find(req->fs, in.fh, true);
	if (!handle)
		return -EBADF;
	l.size = MIN((size_t)in.size, fs_reply_room(req));
	l.size = MIN(l.size, (size_t)FS_OUT_BYTES);
	b = handle->batch;
	at = in.offset ? batch_find(b, in.offset) : b->len;
	if (at == b->len) {
		int r = batch_read(handle, in.offset);

		if (r < 0)
			return r;
		at = 0;
	}
	while (at < b->len && list_entry(&l, batch_entry(b, at)))
		at += batch_entry(b, at)->reclen;
	/* Not even one fits: an empty reply would be the end of the list. */
	if (b->len && !l.len)
		return -EINVAL;
	return fs_reply(req, req->fs->out, l.len);
}

int fs_op_readdir(struct fs_request *req)
{
	return list(req, false);
}

int fs_op_readdirplus(struct fs_request *req)
{
	return list(req, true);
}
