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
 * Host 0 is never mapped, and no id 0 exists between host and device, so that
 * no map needs CAP_SETFCAP. Spec: user_namespaces(7), pivot_root(2).
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

struct ns_ids {
	struct ns_range uid, gid;
	bool range; /* false: one id, the VMM's own */
};

/* inner id, outer id, count: one line of a uid_map. */
struct ns_map {
	uint32_t inner, outer, count;
};

/* Chooses the ids of this VM. Reads /proc/self/{uid,gid}_map. 0 or -errno. */
int ns_ids_choose(struct ns_ids *ret) must_check;

/**
 * ns_write_maps() - map ids of process @pid, which has just got its namespace
 * @proc_fd: directory /proc
 * @deny_setgroups: necessary where the writer has no CAP_SETGID
 *
 * Return: 0 or -errno.
 */
int ns_write_maps(int proc_fd, pid_t pid, const struct ns_map *uid,
		  const struct ns_map *gid, bool deny_setgroups) must_check;

/*
 * Replaces the root of the caller's mount namespace by an empty read-only
 * tmpfs and forgets everything else. Async-signal-safe.
 * Return: 0 or -errno.
 */
int ns_enter_empty_root(void) must_check;

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
