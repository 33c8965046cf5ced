/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attributes, extended attributes and symlink targets of nodes. Loop thread
 * only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"

/* The one kind of extended attribute that is nothing but data. */
#define XATTR_USER "user."

/* -------------------------------------------------------------- attributes */

static int reply_attr(struct fs_request *req, int fd)
{
	struct fuse_attr_out out = { .attr_valid = req->fs->timeout_s };
	struct statx st;
	int r = fs_stat(fd, &st);

	if (r < 0)
		return r;
	fs_attr_fill(req->fs, &st, &out.attr);
	return fs_reply(req, &out, sizeof(out));
}

int fs_op_getattr(struct fs_request *req)
{
	struct fuse_getattr_in in;
	const struct fs_handle *handle = NULL;

	memcpy(&in, req->arg, sizeof(in));
	if (in.getattr_flags & FUSE_GETATTR_FH)
		handle = fs_handle_find(req->fs, in.fh, false);
	return reply_attr(req, handle ? handle->fd : req->node->fd);
}

static int set_mode(const struct fs_request *req,
		    const struct fs_handle *handle, uint32_t mode)
{
	const struct fs_node *node = req->node;
	int r;

	mode &= ALLPERMS;
	if (node->type != S_IFDIR)
		mode = fs_cred_mode(req->fs, mode);
	if (handle)
		r = fchmod(handle->fd, mode);
	else if (node->type == S_IFLNK)
		return -EOPNOTSUPP;
	else
		r = fchmodat(AT_FDCWD, fs_proc_path(node->fd).name, mode, 0);
	return r < 0 ? -errno : 0;
}

static int set_owner(const struct fs_node *node,
		     const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (fchownat(node->fd, "", uid, gid,
		     AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int set_size(const struct fs_request *req,
		    const struct fs_handle *handle,
		    const struct fuse_setattr_in *in)
{
	const struct fs_node *node = req->node;
	const bool kill = in->valid & FATTR_KILL_SUIDGID;
	_cleanup_fd_ int opened = -1;
	int fd = handle ? handle->fd : -1;
	uint64_t size = in->size;
	int r;

	if (size > INT64_MAX)
		return -EINVAL;
	if (node->type != S_IFREG)
		return node->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (fd < 0) {
		opened = fs_node_open(node, O_WRONLY);
		if (opened < 0)
			return opened;
		fd = opened;
	}
	r = fs_cred_data_enter(req, false, kill);
	if (r < 0)
		return r;
	r = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	fs_cred_data_leave(req, false, kill);
	return r;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now,
			       uint64_t sec, uint32_t nsec)
{
	struct timespec ts = { .tv_nsec = UTIME_OMIT };

	if (valid & now) {
		ts.tv_nsec = UTIME_NOW;
	} else if (valid & set) {
		ts.tv_sec = (time_t)sec;
		ts.tv_nsec = nsec;
	}
	return ts;
}

static int set_times(const struct fs_node *node,
		     const struct fuse_setattr_in *in)
{
	const struct timespec ts[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime,
			in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime,
			in->mtimensec),
	};

	/* UTIME_NOW and UTIME_OMIT are numbers of nanoseconds as well. */
	if (in->atimensec >= NS_PER_S || in->mtimensec >= NS_PER_S)
		return -EINVAL;
	if (utimensat(AT_FDCWD, fs_proc_path(node->fd).name, ts, 0) == 0)
		return 0;
	/*
	 * FATTR_CTIME is of times that the guest's kernel has kept, and writes
	 * back as nobody's wish: of a file that is another's on the host those
	 * that the host has made stay. An error would be its next syncfs()'s.
	 */
	return errno == EPERM && in->valid & FATTR_CTIME ? 0 : -errno;
}

int fs_op_setattr(struct fs_request *req)
{
	const struct fs_handle *handle = NULL;
	struct fuse_setattr_in in;
	int r = 0;

	memcpy(&in, req->arg, sizeof(in));
	if (in.valid & FATTR_FH)
		handle = fs_handle_find(req->fs, in.fh, false);
	if (in.valid & FATTR_MODE)
		r = set_mode(req, handle, in.mode);
	if (r == 0 && in.valid & (FATTR_UID | FATTR_GID))
		r = set_owner(req->node, &in);
	if (r == 0 && in.valid & FATTR_SIZE)
		r = set_size(req, handle, &in);
	fs_dirty_add(req->fs, req->node);
	if (r == 0 && in.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW |
				  FATTR_MTIME_NOW))
		r = set_times(req->node, &in);
	return r < 0 ? r : reply_attr(req, req->node->fd);
}

int fs_op_readlink(struct fs_request *req)
{
	char target[PATH_MAX];
	ssize_t n;

	/* Of a file that is none, the kernel says ENOENT. */
	if (req->node->type != S_IFLNK)
		return -EINVAL;
	n = readlinkat(req->node->fd, "", target, sizeof(target));
	return n < 0 ? -errno : fs_reply(req, target, (size_t)n);
}

int fs_op_access(struct fs_request *req)
{
	struct fuse_access_in in;

	memcpy(&in, req->arg, sizeof(in));
	if (in.mask & ~(uint32_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	/* Not glibc's, which answers from the mode bits where it can. */
	if (syscall(SYS_faccessat2, AT_FDCWD, fs_proc_path(req->node->fd).name,
		    in.mask, AT_EACCESS) < 0)
		return -errno;
	return 0;
}

int fs_op_statfs(struct fs_request *req)
{
	struct fuse_statfs_out out = { 0 };
	struct statfs st;

	if (fstatfs(req->node->fd, &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = FS_NAME_MAX,
		.frsize = (uint32_t)st.f_frsize,
	};
	return fs_reply(req, &out, sizeof(out));
}

/* ----------------------------------------------------- extended attributes */

/*
 * "user." only. The others have a meaning to the host's kernel (labels of a
 * security module, file capabilities, access lists by the host's ids), which a
 * guest shall neither set nor take for its own.
 */
static int xattr_name(const struct fs_request *req, size_t *off,
		      const char **ret)
{
	int r = fs_arg_text(req, off, ret);

	if (r < 0)
		return r;
	if (strlen(*ret) > XATTR_NAME_MAX)
		return -ERANGE;
	return strncmp(*ret, XATTR_USER, strlen(XATTR_USER)) ? -EOPNOTSUPP : 0;
}

int fs_op_setxattr(struct fs_request *req)
{
	size_t off = FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct fuse_setxattr_in in = { 0 };
	const char *name;
	int r;

	memcpy(&in, req->arg, FUSE_COMPAT_SETXATTR_IN_SIZE);
	r = xattr_name(req, &off, &name);
	if (r < 0)
		return r;
	if (in.size > req->arg_len - off ||
	    in.flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	r = fs_cred_room(req->fs, req->node->fd);
	if (r < 0)
		return r;
	fs_dirty_add(req->fs, req->node);
	if (setxattr(fs_proc_path(req->node->fd).name, name, req->arg + off,
		     in.size, (int)in.flags) < 0)
		return -errno;
	return 0;
}

/* The value, or only its size if the driver has asked for that. */
static int reply_xattr(struct fs_request *req, uint32_t wanted, ssize_t n)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)n };

	if (!wanted)
		return fs_reply(req, &out, sizeof(out));
	if ((size_t)n > wanted)
		return -ERANGE;
	return fs_reply(req, req->fs->out, (size_t)n);
}

int fs_op_getxattr(struct fs_request *req)
{
	size_t off = sizeof(struct fuse_getxattr_in);
	struct fuse_getxattr_in in;
	const char *name;
	ssize_t n;
	int r;

	memcpy(&in, req->arg, sizeof(in));
	r = xattr_name(req, &off, &name);
	if (r < 0)
		return r;
	n = getxattr(fs_proc_path(req->node->fd).name, name, req->fs->out,
		     FS_OUT_BYTES);
	return n < 0 ? -errno : reply_xattr(req, in.size, n);
}

/* Leaves those names in @list that a guest may see. Return: bytes. */
static size_t xattr_filter(char *list, size_t len)
{
	size_t kept = 0, off = 0;

	while (off < len) {
		size_t n = strnlen(list + off, len - off) + 1;

		if (n > len - off)
			break;
		if (!strncmp(list + off, XATTR_USER, strlen(XATTR_USER))) {
			memmove(list + kept, list + off, n);
			kept += n;
		}
		off += n;
	}
	return kept;
}

int fs_op_listxattr(struct fs_request *req)
{
	char *list = (char *)req->fs->out;
	struct fuse_getxattr_in in;
	ssize_t n;

	memcpy(&in, req->arg, sizeof(in));
	n = listxattr(fs_proc_path(req->node->fd).name, list, FS_OUT_BYTES);
	if (n < 0)
		return -errno;
	return reply_xattr(req, in.size,
			   (ssize_t)xattr_filter(list, (size_t)n));
}

int fs_op_removexattr(struct fs_request *req)
{
	const char *name;
	size_t off = 0;
	int r = xattr_name(req, &off, &name);

	if (r < 0)
		return r;
	fs_dirty_add(req->fs, req->node);
	if (removexattr(fs_proc_path(req->node->fd).name, name) < 0)
		return -errno;
	return 0;
}
