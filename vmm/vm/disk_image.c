/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blk/image.h"
#include "vmm/base/fd.h"

/* Byte-range locks far beyond the end of any image. */
#define TOKEN_BASE (1ULL << 61)
#define TOKEN_MASK ((1ULL << 60) - 1)

static int open_error(struct err *err, int r, const char *path, bool ro)
{
	switch (-r) {
	case ENOENT:
		return err_usage(err, r,
				 "--block '%s': no such file; create it with "
				 "truncate -s SIZE or correct the path",
				 path);
	case EACCES:
	case EPERM:
		return err_usage(err, r,
				 "--block '%s': permission denied to %s it; "
				 "change its mode or owner%s",
				 path, ro ? "read" : "write",
				 ro ? "" : ", or add ,ro");
	case EROFS:
		return err_usage(err, r,
				 "--block '%s': on a read-only file system; "
				 "add ,ro",
				 path);
	case EINVAL:
		return err_usage(err, r,
				 "--block '%s': its file system has no direct "
				 "I/O; leave out o_direct",
				 path);
	default:
		return err_usage_errno(err, r, "--block '%s'", path);
	}
}

static int reopen(const struct disk_image *img, int flags)
{
	char self[64];
	int fd;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", img->path_fd);
	fd = open(self, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int disk_image_init(struct disk_image *img, const char *path, bool ro,
		    bool direct, struct err *err)
{
	struct stat st;

	*img = (struct disk_image){ .path_fd = -1, .ro = ro, .direct = direct };
	/* Following links: /proc/self/fd/N names an open file. */
	img->path_fd = open(path, O_PATH | O_CLOEXEC);
	if (img->path_fd < 0)
		return open_error(err, -errno, path, ro);
	if (fstat(img->path_fd, &st) < 0) {
		disk_image_finish(img);
		return open_error(err, -errno, path, ro);
	}
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	disk_image_finish(img);
	return err_usage(err, -ENOTBLK,
			 "--block '%s': neither a regular file nor a block "
			 "device",
			 path);
}

void disk_image_finish(struct disk_image *img)
{
	fd_close(&img->path_fd);
}

static struct flock token_lock(const struct disk_image *img, short type)
{
	return (struct flock){ .l_type = type,
			       .l_whence = SEEK_SET,
			       .l_start = (off_t)img->token,
			       .l_len = 1 };
}

static int lock_token(struct disk_image *img, int fd)
{
	struct flock fl;

	if (getrandom(&img->token, sizeof(img->token), 0) < 0)
		return -errno;
	img->token = TOKEN_BASE | (img->token & TOKEN_MASK);
	fl = token_lock(img, F_RDLCK);
	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

int disk_image_open(struct disk_image *img, const char *path, struct err *err)
{
	int flags =
		(img->ro ? O_RDONLY : O_RDWR) | (img->direct ? O_DIRECT : 0);
	_cleanup_fd_ int fd = reopen(img, flags);
	int r;

	if (fd < 0)
		return open_error(err, fd, path, img->ro);
	r = blk_image_lock(fd, img->ro);
	if (r == -EWOULDBLOCK)
		return err_usage(
			err, r,
			"--block '%s': in use by another process; stop "
			"that, or share the image read-only (,ro) in "
			"both",
			path);
	if (r == 0 && img->ro)
		r = lock_token(img, fd);
	if (r < 0)
		return err_set_errno(err, r, "--block '%s': cannot lock it",
				     path);
	return TAKE_FD(fd);
}

bool disk_image_same(const struct disk_image *a, const struct disk_image *b)
{
	struct stat sa, sb;

	if (fstat(a->path_fd, &sa) < 0 || fstat(b->path_fd, &sb) < 0)
		return false;
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int disk_image_fenced(struct disk_image *img)
{
	_cleanup_fd_ int fd = reopen(img, img->ro ? O_RDONLY : O_RDWR);
	struct flock fl;

	if (fd < 0)
		return fd;
	if (!img->ro) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 1;
		return errno == EWOULDBLOCK ? 0 : -errno;
	}
	fl = token_lock(img, F_WRLCK);
	if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
		return -errno;
	return fl.l_type == F_UNLCK;
}
