/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose files a guest's new files are. A device of an ordinary user is that
 * user and makes files for nobody else. One that root has started and that
 * kept the capabilities for it takes the caller's ids while it makes a file.
 *
 * The ids are the file system ones of the calling thread only, by system calls
 * of their own: glibc's setresuid() changes those of all threads. Loop thread
 * only. Spec: setfsuid(2), capabilities(7).
 *
 * Root's files may have set-id bits, which the host would honour, and root may
 * take the blocks a file system keeps for it (ext4 looks at the file system
 * uid and at CAP_SYS_RESOURCE). A guest's root gets neither unless that is
 * asked for: data is written with another file system uid, which has no
 * CAP_FSETID either; names, whose owner the uid is, are not made in a full
 * file system.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/fs/fs.h"

#define CAP_WORD(cap) ((cap) / 32)
#define CAP_BIT(cap)  (1U << ((cap) % 32))

#define NOBODY (~0U)
/* Who writes data for the guest: any but root. */
#define NOT_ROOT 65534U

static struct __user_cap_header_struct cap_header(void)
{
	return (struct __user_cap_header_struct){ _LINUX_CAPABILITY_VERSION_3,
						  0 };
}

static bool cap_held(const struct __user_cap_data_struct data[2],
		     unsigned int cap)
{
	return data[CAP_WORD(cap)].effective & CAP_BIT(cap);
}

/* Takes an effective capability away or back. 0 or -errno. */
static int cap_set(unsigned int cap, bool held)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &h, data) < 0)
		return -errno;
	if (held)
		data[CAP_WORD(cap)].effective |= CAP_BIT(cap);
	else
		data[CAP_WORD(cap)].effective &= ~CAP_BIT(cap);
	return syscall(SYS_capset, &h, data) < 0 ? -errno : 0;
}

void fs_cred_init(struct virtio_fs *fs)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &h, data) < 0)
		return;
	fs->act_as_caller = geteuid() == 0 && cap_held(data, CAP_SETUID) &&
			    cap_held(data, CAP_SETGID) &&
			    cap_held(data, CAP_DAC_OVERRIDE);
	fs->keeps_suid = cap_held(data, CAP_FSETID);
	fs->spares = fs->act_as_caller && !fs->reserved &&
		     cap_set(CAP_SYS_RESOURCE, false) == 0;
}

uint32_t fs_cred_mode(const struct virtio_fs *fs, uint32_t mode)
{
	mode &= ALLPERMS;
	if (!fs->act_as_caller || fs->suid)
		return mode;
	mode &= ~(uint32_t)S_ISUID;
	/* Without a right to execute it is a mark, and means nothing. */
	return mode & S_IXGRP ? mode & ~(uint32_t)S_ISGID : mode;
}

int fs_cred_room(const struct virtio_fs *fs, int fd)
{
	struct statfs st;

	if (!fs->spares || fstatfs(fd, &st) < 0)
		return 0;
	return st.f_bfree && !st.f_bavail ? -ENOSPC : 0;
}

/* Returns what it was; the kernel tells no failure, so it is looked at. */
static int set_fsid(long nr, uint32_t id)
{
	(void)syscall(nr, id);
	return (uint32_t)syscall(nr, NOBODY) == id ? 0 : -EPERM;
}

/*
 * Another file system uid than 0 has cost CAP_DAC_OVERRIDE. It is taken back:
 * supplementary groups of the caller, which may be what gives it the right to
 * the directory, are known to the guest's kernel only.
 */
static int override_again(void)
{
	return cap_set(CAP_DAC_OVERRIDE, true);
}

int fs_cred_enter(const struct fs_request *req)
{
	int r;

	if (!req->fs->act_as_caller)
		return 0;
	r = req->h.uid ? 0 : fs_cred_room(req->fs, req->node->fd);
	if (r == 0)
		r = set_fsid(SYS_setfsgid, req->h.gid);
	if (r == 0)
		r = set_fsid(SYS_setfsuid, req->h.uid);
	if (r == 0 && req->h.uid)
		r = override_again();
	if (r < 0)
		fs_cred_leave(req);
	return r;
}

void fs_cred_leave(const struct fs_request *req)
{
	if (!req->fs->act_as_caller)
		return;
	/* Of uid 0 the kernel gives the capabilities back. */
	(void)syscall(SYS_setfsuid, 0);
	(void)syscall(SYS_setfsgid, 0);
}

/* Whether a set-id bit goes that this process could let be. */
static bool kills(const struct virtio_fs *fs, bool kill)
{
	return fs->keeps_suid && (kill || !fs->suid);
}

int fs_cred_data_enter(const struct fs_request *req, bool grows, bool kill)
{
	const struct virtio_fs *fs = req->fs;
	int r = 0;

	/* Whether a set-gid bit that is a mark stays depends on the group. */
	if (fs->act_as_caller && kill)
		r = set_fsid(SYS_setfsgid, req->h.gid);
	if (r == 0 && fs->spares && grows) {
		r = set_fsid(SYS_setfsuid, NOT_ROOT);
		if (r == 0 && fs->keeps_suid && !kills(fs, kill))
			r = cap_set(CAP_FSETID, true);
	} else if (r == 0 && kills(fs, kill)) {
		r = cap_set(CAP_FSETID, false);
	}
	if (r < 0)
		fs_cred_data_leave(req, grows, kill);
	return r;
}

void fs_cred_data_leave(const struct fs_request *req, bool grows, bool kill)
{
	const struct virtio_fs *fs = req->fs;

	/* Of uid 0 the kernel gives the capabilities back. */
	if (fs->spares && grows)
		(void)syscall(SYS_setfsuid, 0);
	else if (kills(fs, kill))
		(void)cap_set(CAP_FSETID, true);
	if (fs->act_as_caller && kill)
		(void)syscall(SYS_setfsgid, 0);
}
