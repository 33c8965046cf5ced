/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stage 1: a device process from clone3 to exec, run by the spawner.
 *
 *	spawner				child
 *	clone3 ------------------------> dumpable, "ready"
 *	uid_map, gid_map <--------------
 *	"go" --------------------------> ids, host name, empty root, no
 *					 capabilities, no_new_privs, rlimits,
 *					 PDEATHSIG, fds to their places
 *	end of file = executed <-------- execveat
 *	or struct launch_note
 *
 * The child is between fork and exec: async-signal-safe calls only, all its
 * data is prepared before.
 */
#ifndef TORPOR_SANDBOX_LAUNCH_H
#define TORPOR_SANDBOX_LAUNCH_H

#include <stdint.h>

#include "sandbox/device_fds.h"
#include "sandbox/namespaces.h"
#include "sandbox/spawner.h"

#define LAUNCH_MAX_FDS (DEVFD_BACKEND + SPAWN_MAX_BACKEND_FDS)

enum launch_step {
	LAUNCH_OK,
	LAUNCH_SOCKETPAIR,
	LAUNCH_LOG,
	LAUNCH_CLONE,
	LAUNCH_MAPS,
	LAUNCH_IDS,
	LAUNCH_HOST_NAME,
	LAUNCH_SHARE,
	LAUNCH_EMPTY_ROOT,
	LAUNCH_CAPABILITIES,
	LAUNCH_NO_NEW_PRIVS,
	LAUNCH_RLIMITS,
	LAUNCH_PDEATHSIG,
	LAUNCH_FDS,
	LAUNCH_EXEC,
	LAUNCH_STEPS
};

struct launch {
	enum sandbox_mode mode;
	bool trial;	   /* do all of it but the exec, then exit 0 */
	bool change_id;	   /* SANDBOX_WEAK as root: become uid and gid */
	uint32_t uid, gid; /* in the spawner's user namespace */
	/*
	 * The directory that the device shares, an absolute path, with the fd
	 * of it at DEVFD_BACKEND and the place after it for /proc/self/fd;
	 * NULL: none. Its fds are not limited but by what the VMM has.
	 */
	const char *share;
	/* Of a share: see struct ns_ids. 0: the device is one id. */
	uint32_t files;
	uint64_t caps; /* kept where files are not those of one id */
	int proc_fd;
	int exe_fd;
	char *const *argv;
	int fds[LAUNCH_MAX_FDS]; /* by place; -1 leaves the place empty */
	unsigned int nr_fds;
};

struct launch_result {
	pid_t pid;
	int pidfd; /* owned by the caller */
};

/**
 * launch_device() - create one process
 * @ret_step: set on failure, for launch_step_name()
 *
 * Return: 0, or -errno with nothing left behind.
 */
int launch_device(const struct launch *l, struct launch_result *ret,
		  enum launch_step *ret_step) must_check;

/* SIGKILL and reap. Closes *pidfd. */
void launch_kill(int *pidfd);

/* "user namespace", for messages. */
const char *launch_step_name(enum launch_step step);

/*
 * Moves @fds to the places 0 to @n - 1, keeps @keep (moved to @n and up,
 * close-on-exec, their values updated) and closes all others.
 * Async-signal-safe. Return: 0 or -errno.
 */
int launch_place_fds(const int *fds, unsigned int n, int *const *keep,
		     unsigned int nr_keep) must_check;

#endif
