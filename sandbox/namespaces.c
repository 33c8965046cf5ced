/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/*
 * 1879048192 and up is assigned to nobody by the ranges distributions and
 * systemd use (users, dynamic users, subordinate ids, containers). The VMM's
 * pid makes VMs differ: two VMs with one range are harmless, as neither sees
 * the other's processes, but there is no need for it.
 */
#define UNUSED_ID_BASE	1879048192U
#define UNUSED_ID_SLOTS 0x80000U

/* The only directory that is there on every machine we run on. */
#define ROOT_MOUNT_POINT "/proc"

/* Chooses NS_IDS_PER_VM ids out of the map in @path. 0 or -errno. */
static int range_choose(const char *path, struct ns_range *ret)
{
	uint32_t want = UNUSED_ID_BASE +
			((uint32_t)getpid() % UNUSED_ID_SLOTS) * NS_IDS_PER_VM;
	uint64_t best_end = 0;
	uint32_t inner, outer, count;
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	*ret = (struct ns_range){ 0 };
	/* The kernel wrote it. NOLINTNEXTLINE(cert-err34-c) */
	while (fscanf(f, "%" SCNu32 "%" SCNu32 "%" SCNu32, &inner, &outer,
		      &count) == 3) {
		uint64_t end = (uint64_t)inner + count;

		if (want >= inner && want + NS_IDS_PER_VM <= end) {
			*ret = (struct ns_range){ want, NS_IDS_PER_VM };
			break;
		}
		/* A container: its highest ids, nobody (65534) left out. */
		if (count >= 4 * NS_IDS_PER_VM && end > best_end) {
			best_end = end;
			*ret = (struct ns_range){
				(uint32_t)(end - 2ULL * NS_IDS_PER_VM),
				NS_IDS_PER_VM
			};
		}
	}
	(void)fclose(f);
	return 0;
}

int ns_ids_choose(struct ns_ids *ret)
{
	struct ns_ids ids = { 0 };
	int r;

	if (geteuid() == 0) {
		r = range_choose("/proc/self/uid_map", &ids.uid);
		if (r < 0)
			return r;
		r = range_choose("/proc/self/gid_map", &ids.gid);
		if (r < 0)
			return r;
		ids.range = ids.uid.count > 0 && ids.gid.count > 0;
	}
	/* Root of a namespace of one id is an ordinary user outside. */
	if (!ids.range) {
		ids.uid = (struct ns_range){ geteuid(), 1 };
		ids.gid = (struct ns_range){ getegid(), 1 };
	}
	*ret = ids;
	return 0;
}

/* Ids from 0 that the map in @path has without a gap, at most NS_FILES_MAX. */
static int files_count(const char *path, uint32_t *ret)
{
	uint32_t inner, outer, count;
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	*ret = 0;
	/* The kernel wrote it. NOLINTNEXTLINE(cert-err34-c) */
	while (fscanf(f, "%" SCNu32 "%" SCNu32 "%" SCNu32, &inner, &outer,
		      &count) == 3) {
		if (inner == 0)
			*ret = MIN(count, NS_FILES_MAX);
	}
	(void)fclose(f);
	return 0;
}

int ns_ids_add_files(struct ns_ids *ids)
{
	uint32_t uids = 0, gids = 0;
	int r;

	if (!ids->range)
		return 0;
	r = files_count("/proc/self/uid_map", &uids);
	if (r == 0)
		r = files_count("/proc/self/gid_map", &gids);
	if (r == 0)
		ids->files = MIN(uids, gids);
	return r;
}

static int write_proc(int proc_fd, pid_t pid, const char *file,
		      const char *text)
{
	_cleanup_fd_ int fd = -1;
	char path[48];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%d/%s", (int)pid, file);
	fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* The kernel takes a map in one write or not at all. */
	n = write(fd, text, strlen(text));
	return n < 0 ? -errno : 0;
}

static int write_map(int proc_fd, pid_t pid, const char *file,
		     const struct ns_map *map, unsigned int nr)
{
	char text[2 * 48] = "";
	size_t len = 0;

	for (unsigned int i = 0; i < nr && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
					map[i].inner, map[i].outer,
					map[i].count);
	return write_proc(proc_fd, pid, file, text);
}

int ns_write_maps(int proc_fd, pid_t pid, const struct ns_map *uid,
		  const struct ns_map *gid, unsigned int nr,
		  bool deny_setgroups)
{
	int r;

	if (deny_setgroups) {
		r = write_proc(proc_fd, pid, "setgroups", "deny");
		if (r < 0)
			return r;
	}
	r = write_map(proc_fd, pid, "gid_map", gid, nr);
	if (r < 0)
		return r;
	return write_map(proc_fd, pid, "uid_map", uid, nr);
}

/*
 * The root of a machine that runs from its initramfs cannot be moved away:
 * cover it and chroot. What is below the cover cannot be reached, as leaving
 * a chroot needs a directory fd or CAP_SYS_CHROOT and a device has neither.
 */
static int cover_root(void)
{
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return -errno;
	return 0;
}

int ns_enter_empty_root(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (mount("torpor", ROOT_MOUNT_POINT, "tmpfs",
		  MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=1,mode=555") < 0)
		return -errno;
	if (chdir(ROOT_MOUNT_POINT) < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return errno == EINVAL ? cover_root() : -errno;
	/* Old and new root are stacked in one place; the old one is on top. */
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* A mount of its own of what is at @path, in no namespace. */
static int detach(const char *path, unsigned int flags, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes,
				   .propagation = MS_PRIVATE };
	long fd = syscall(SYS_open_tree, AT_FDCWD, path,
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
	int r;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, (int)fd, "", AT_EMPTY_PATH | flags,
		    &attr, sizeof(attr)) == 0)
		return (int)fd;
	r = -errno;
	(void)close((int)fd);
	return r;
}

static int same_file(int a, int b)
{
	struct stat st_a, st_b;

	if (fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0)
		return -errno;
	return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino
		       ? 0
		       : -ESTALE;
}

int ns_detach_share(const char *path, int dir_fd, int *ret_dir, int *ret_proc)
{
	int dir, proc = -1;
	int r;

	dir = detach(path, AT_RECURSIVE,
		     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (dir < 0)
		return dir;
	r = same_file(dir, dir_fd);
	if (r == 0)
		r = proc = detach("/proc/self/fd", 0, 0);
	if (r < 0) {
		(void)close(dir);
		return r;
	}
	*ret_dir = dir;
	*ret_proc = proc;
	return 0;
}

/* Return: the number in a sysctl, or -1 if there is no such sysctl. */
static long sysctl_read(const char *name)
{
	_cleanup_fd_ int fd = -1;
	char path[128] = "/proc/sys/";
	char text[32] = "";
	size_t len = strlen(path);

	for (size_t i = 0; name[i] && len < sizeof(path) - 1; i++)
		path[len++] = name[i] == '.' ? '/' : name[i];
	path[len] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	return strtol(text, NULL, 10);
}

int ns_explain(int code, const char *step, struct err *err)
{
	static const struct {
		const char *name;
		long forbids; /* the value that forbids namespaces */
		const char *remedy;
	} sysctls[] = {
		{ "user.max_user_namespaces", 0, "10000" },
		{ "user.max_mnt_namespaces", 0, "10000" },
		{ "user.max_pid_namespaces", 0, "10000" },
		{ "user.max_net_namespaces", 0, "10000" },
		{ "user.max_ipc_namespaces", 0, "10000" },
		{ "user.max_uts_namespaces", 0, "10000" },
		{ "user.max_cgroup_namespaces", 0, "10000" },
		{ "kernel.unprivileged_userns_clone", 0, "1" },
		{ "kernel.apparmor_restrict_unprivileged_userns", 1, "0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sysctls); i++) {
		if (sysctl_read(sysctls[i].name) != sysctls[i].forbids)
			continue;
		return err_set(err, code,
			       "sandbox: %s: %s: sysctl %s is %ld and forbids "
			       "it; set it ('sysctl -w %s=%s') or run with "
			       "--sandbox=weak",
			       step, strerror(-code), sysctls[i].name,
			       sysctls[i].forbids, sysctls[i].name,
			       sysctls[i].remedy);
	}
	return err_set(err, code,
		       "sandbox: %s: %s: a container, a security module or "
		       "the kernel's configuration forbids it (sysctls "
		       "user.max_*_namespaces do not); allow it or run with "
		       "--sandbox=weak",
		       step, strerror(-code));
}
