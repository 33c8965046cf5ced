/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of the host as it is, and as the guest is shown it. A node's fd is
 * O_PATH, which few system calls take; the others go by "N" in /proc/self/fd,
 * which is that very file, a symlink included, and follows nothing further.
 * Loop thread only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "virtio/fs/fs.h"

/* Of an inode number, for the file system it is of. */
#define INO_DEV_BITS 16

/* Not in linux/magic.h. */
#define CONFIGFS_MAGIC_ 0x62656570U
#define FUSECTL_MAGIC_	0x65735543U

struct fs_proc_path fs_proc_path(int fd)
{
	struct fs_proc_path p;

	(void)snprintf(p.name, sizeof(p.name), "%d", fd);
	return p;
}

int fs_node_open(const struct fs_node *node, int flags)
{
	int fd;

	/* It is this file itself, and nothing else has the fd "." in it. */
	if (node->type == S_IFDIR)
		fd = openat(node->fd, ".", flags | O_DIRECTORY | O_CLOEXEC);
	/* To open a FIFO waits, a device does whatever it does. */
	else if (node->type != S_IFREG)
		return node->type == S_IFLNK ? -ELOOP : -ENXIO;
	else
		fd = open(fs_proc_path(node->fd).name,
			  flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int fs_stat(int fd, struct statx *ret)
{
	int r = statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
		      STATX_BASIC_STATS | STATX_MNT_ID, ret);

	return r < 0 ? -errno : 0;
}

uint64_t fs_dev_of(const struct statx *st)
{
	return (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;
}

/*
 * Such a file system holds no data, it is the kernel: what is written to it,
 * and by whom, is none of a guest's business.
 */
bool fs_is_pseudo(int fd)
{
	static const uint32_t types[] = {
		PROC_SUPER_MAGIC,     SYSFS_MAGIC,	    DEBUGFS_MAGIC,
		TRACEFS_MAGIC,	      SECURITYFS_MAGIC,	    SELINUX_MAGIC,
		SMACK_MAGIC,	      CGROUP_SUPER_MAGIC,   CGROUP2_SUPER_MAGIC,
		BPF_FS_MAGIC,	      PSTOREFS_MAGIC,	    EFIVARFS_MAGIC,
		NSFS_MAGIC,	      BINFMTFS_MAGIC,	    DEVPTS_SUPER_MAGIC,
		BINDERFS_SUPER_MAGIC, RDTGROUP_SUPER_MAGIC, CONFIGFS_MAGIC_,
		FUSECTL_MAGIC_,
	};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if ((uint32_t)st.f_type == types[i])
			return true;
	}
	return false;
}

/* ------------------------------------------------------ for the guest */

/* 0: the root's, or there was no memory for another. */
static uint32_t dev_number(const struct virtio_fs *fs, uint64_t dev)
{
	for (uint32_t i = 0; i < fs->nr_devs; i++) {
		if (fs->devs[i] == dev)
			return i;
	}
	return 0;
}

int fs_dev_add(struct virtio_fs *fs, uint64_t dev)
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

/* As the kernel packs it for user space into 32 bits. */
static uint32_t pack_rdev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

void fs_attr_fill(const struct virtio_fs *fs, const struct statx *st,
		  struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = fs_ino(fs, fs_dev_of(st), st->stx_ino),
		.size = st->stx_size,
		.blocks = st->stx_blocks,
		.atime = (uint64_t)st->stx_atime.tv_sec,
		.mtime = (uint64_t)st->stx_mtime.tv_sec,
		.ctime = (uint64_t)st->stx_ctime.tv_sec,
		.atimensec = st->stx_atime.tv_nsec,
		.mtimensec = st->stx_mtime.tv_nsec,
		.ctimensec = st->stx_ctime.tv_nsec,
		.mode = st->stx_mode,
		.nlink = st->stx_nlink,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.rdev = pack_rdev(st->stx_rdev_major, st->stx_rdev_minor),
		.blksize = st->stx_blksize,
	};
}
