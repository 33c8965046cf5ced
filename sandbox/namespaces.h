/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * User and mount namespaces of the spawner and of its devices.
 *
 * Ids, outer to inner. As root a VM gets a range of ids nobody uses; as an
 * ordinary user (or as the only id of a container) there is just one id:
 *
 *	host			spawner's namespace	device's namespace
 *	base (or own id)	1 (the spawner)
 *	base + 1 + n % 255	2 + n % 255		0	(as root)
 *	own id			1			0	(ordinary user)
 *
 *	0 ... (to root, with	2^30 ...		0 ... (only a device
 *	a shared directory)				that shares it)
 *
 * Host 0 is not mapped but for a shared directory of root's. No id 0 exists
 * between host and device, so that only that map needs CAP_SETFCAP. Spec:
 *user_namespaces(7), pivot_root(2).
 */
#ifndef TORPOR_SANDBOX_NAMESPACES_H
#define TORPOR_SANDBOX_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

#define NS_IDS_PER_VM 256U
#define NS_SPAWNER_ID 1U

struct ns_range {
	uint32_t base; /* as seen by the VMM */
	uint32_t count;
};

/* Ids of files the VM may be given beyond those of its processes. */
#define NS_FILES_BASE (1U << 30)
#define NS_FILES_MAX  (1U << 30)

struct ns_ids {
	struct ns_range uid, gid;
	bool range; /* false: one id, the VMM's own */
	/*
	 * As root, with a shared directory: how many of the host's ids, from
	 * 0, are NS_FILES_BASE and up in the spawner's namespace; else 0.
	 */
	uint32_t files;
};

/* inner id, outer id, count: one line of a uid_map. */
struct ns_map {
	uint32_t inner, outer, count;
};

/* Chooses the ids of this VM. Reads /proc/self/{uid,gid}_map. 0 or -errno. */
int ns_ids_choose(struct ns_ids *ret) must_check;
/* Adds the ids of files, if there are any to be had. 0 or -errno. */
int ns_ids_add_files(struct ns_ids *ids) must_check;

/**
 * ns_write_maps() - map ids of process @pid, which has just got its namespace
 * @proc_fd: directory /proc
 * @uid, @gid: @nr lines each, 1 or 2
 * @deny_setgroups: necessary where the writer has no CAP_SETGID
 *
 * Return: 0 or -errno.
 */
int ns_write_maps(int proc_fd, pid_t pid, const struct ns_map *uid,
		  const struct ns_map *gid, unsigned int nr,
		  bool deny_setgroups) must_check;

/*
 * Replaces the root of the caller's mount namespace by an empty read-only
 * tmpfs and forgets everything else. Async-signal-safe.
 * Return: 0 or -errno.
 */
int ns_enter_empty_root(void) must_check;

/**
 * ns_detach_share() - what a device that shares a directory is left with
 * @path: of the directory, absolute
 * @dir_fd: the same directory as the VMM has opened it, to compare
 * @ret_dir, @ret_proc: the directory with what is mounted below it, and
 *	/proc/self/fd, as mounts that are nowhere and end at themselves: ".."
 *	from them leads nowhere. Set-id bits, device nodes and programs do not
 *	count in the first.
 *
 * Before ns_enter_empty_root(), which makes them the only files there are.
 * Async-signal-safe. Return: 0; -ESTALE @path is another directory; -errno.
 */
int ns_detach_share(const char *path, int dir_fd, int *ret_dir,
		    int *ret_proc) must_check;

/**
 * ns_explain() - why namespaces could not be had, for a person
 * @code: -errno of the step
 * @step: what was attempted
 *
 * Names the sysctl that forbids it, if one does, and --sandbox=weak.
 * Return: @code.
 */
int ns_explain(int code, const char *step, struct err *err);

#endif
