/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose files a guest's new files are. A device of an ordinary user is that
 * user and makes files for nobody else. One that root has started and that
 * kept the capabilities for it takes the caller's ids while it makes a file.
 *
 * The ids are the file system ones of the calling thread only, by system calls
 * of their own: glibc's setresuid() changes those of all threads. Loop thread
 * only. Spec: setfsuid(2), capabilities(7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/fs.h"

#define CAP_WORD(cap) ((cap) / 32)
#define CAP_BIT(cap)  (1U << ((cap) % 32))

#define NOBODY (~0U)

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
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &h, data) < 0)
		return -errno;
	data[CAP_WORD(CAP_DAC_OVERRIDE)].effective |= CAP_BIT(CAP_DAC_OVERRIDE);
	return syscall(SYS_capset, &h, data) < 0 ? -errno : 0;
}

int fs_cred_enter(const struct fs_request *req)
{
	int r;

	if (!req->fs->act_as_caller)
		return 0;
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
