/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "vmm/base/fd.h"

/* Rings, eventfds and guest memory of the largest device, with room. */
#define DEVICE_MAX_FDS 256
/*
 * Threads of a block engine and workers of its io_uring. Counted per user
 * namespace (Linux 5.14), so the user's other processes do not matter.
 */
#define DEVICE_MAX_TASKS 64

#define HOST_NAME "torpor"

/* For a child's next step; a shared directory may be far away. */
#define STEP_TIMEOUT_S 15

/* Above every place, so that moving one fd cannot overwrite another. */
#define FD_PARKING 64

struct launch_note {
	int32_t step; /* enum launch_step; LAUNCH_OK: still alive */
	int32_t error;
};

const char *launch_step_name(enum launch_step step)
{
	static const char *const names[LAUNCH_STEPS] = {
		[LAUNCH_OK] = "nothing",
		[LAUNCH_SOCKETPAIR] = "create a socket pair",
		[LAUNCH_LOG] = "create a pipe for its log",
		[LAUNCH_CLONE] = "create a process with its namespaces",
		[LAUNCH_MAPS] = "write the user namespace's id maps",
		[LAUNCH_IDS] = "change user and group id",
		[LAUNCH_HOST_NAME] = "set the namespace's host name",
		[LAUNCH_SHARE] = "get at the shared directory",
		[LAUNCH_EMPTY_ROOT] = "enter an empty root file system",
		[LAUNCH_CAPABILITIES] = "drop capabilities",
		[LAUNCH_NO_NEW_PRIVS] = "set no_new_privs",
		[LAUNCH_RLIMITS] = "set resource limits",
		[LAUNCH_PDEATHSIG] = "bind its life to the spawner's",
		[LAUNCH_FDS] = "pass file descriptors",
		[LAUNCH_EXEC] = "execute torpor-device",
	};

	return step < LAUNCH_STEPS ? names[step] : "unknown";
}

int launch_place_fds(const int *fds, unsigned int n, int *const *keep,
		     unsigned int nr_keep)
{
	int parked[LAUNCH_MAX_FDS + 4];
	unsigned int total = n + nr_keep;

	if (total > ARRAY_SIZE(parked))
		return -EINVAL;
	for (unsigned int i = 0; i < total; i++) {
		int fd = i < n ? fds[i] : *keep[i - n];

		parked[i] = -1;
		if (fd < 0)
			continue;
		parked[i] = fcntl(fd, F_DUPFD_CLOEXEC, FD_PARKING);
		if (parked[i] < 0)
			return -errno;
	}
	for (unsigned int i = 0; i < total; i++) {
		if (parked[i] < 0)
			(void)close((int)i);
		else if (dup3(parked[i], (int)i, i < n ? 0 : O_CLOEXEC) < 0)
			return -errno;
		if (i >= n)
			*keep[i - n] = (int)i;
	}
	if (syscall(SYS_close_range, total, ~0U, 0) < 0)
		return -errno;
	return 0;
}

/* ---------------------------------------------------------------- child */

static int set_rlimits(const struct launch *l)
{
	static const struct rlimit none = { 0, 0 };
	static const struct rlimit fds = { DEVICE_MAX_FDS, DEVICE_MAX_FDS };
	static const struct rlimit tasks = { DEVICE_MAX_TASKS,
					     DEVICE_MAX_TASKS };

	if (setrlimit(RLIMIT_CORE, &none) < 0 ||
	    (!l->share && setrlimit(RLIMIT_NOFILE, &fds) < 0))
		return -errno;
	/*
	 * Without a user namespace the user's other processes would count.
	 */
	if (l->mode == SANDBOX_FULL && setrlimit(RLIMIT_NPROC, &tasks) < 0)
		return -errno;
	return 0;
}

/* glibc's wrappers would talk to threads it believes to exist. */
static int set_ids(uint32_t uid, uint32_t gid)
{
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 ||
	    syscall(SYS_setresuid, uid, uid, uid) < 0)
		return -errno;
	return 0;
}

static int change_ids(const struct launch *l)
{
	if (l->mode == SANDBOX_FULL)
		return set_ids(0, 0);
	if (!l->change_id)
		return 0;
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		return -errno;
	return set_ids(l->uid, l->gid);
}

static int detach_share(const struct launch *l, int *fds)
{
	int *dir = &fds[DEVFD_BACKEND];

	return ns_detach_share(l->share, *dir, dir, &fds[DEVFD_BACKEND + 1]);
}

/*
 * @fds: changed to what the device gets
 * Return: 0, or -errno and the step that failed.
 */
static int child_narrow(const struct launch *l, int *fds,
			enum launch_step *step)
{
	int r;

	if (l->mode == SANDBOX_OFF)
		return 0;
	/* The bounding set needs CAP_SETPCAP, which an id change may cost. */
	if (l->mode == SANDBOX_WEAK) {
		*step = LAUNCH_CAPABILITIES;
		r = caps_drop_bounding();
		if (r < 0)
			return r;
	}
	*step = LAUNCH_IDS;
	r = change_ids(l);
	if (r < 0)
		return r;
	if (l->mode == SANDBOX_FULL) {
		*step = LAUNCH_HOST_NAME;
		if (sethostname(HOST_NAME, sizeof(HOST_NAME) - 1) < 0)
			return -errno;
		*step = LAUNCH_SHARE;
		r = l->share ? detach_share(l, fds) : 0;
		if (r < 0)
			return r;
		*step = LAUNCH_EMPTY_ROOT;
		r = ns_enter_empty_root();
		if (r < 0)
			return r;
	}
	*step = LAUNCH_CAPABILITIES;
	r = caps_limit(l->mode == SANDBOX_FULL && l->files ? l->caps : 0);
	if (r < 0)
		return r;
	*step = LAUNCH_NO_NEW_PRIVS;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	*step = LAUNCH_RLIMITS;
	return set_rlimits(l);
}

static int note_send(int sync, enum launch_step step, int error)
{
	struct launch_note note = { (int32_t)step, error };

	return send(sync, &note, sizeof(note), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Return: 0 when told to go on, or -errno when the spawner has gone. */
static int wait_for_maps(int sync)
{
	char go;
	ssize_t n;

	/* The maps in /proc belong to root unless the process is dumpable. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return -errno;
	if (note_send(sync, LAUNCH_OK, 0) < 0)
		return -EPIPE;
	do {
		n = recv(sync, &go, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -EPIPE;
}

static void __attribute__((noreturn))
child_main(const struct launch *l, int sync, int parent_sync)
{
	char *const envp[] = { NULL };
	enum launch_step step = LAUNCH_MAPS;
	int exe = l->exe_fd;
	int *const keep[] = { &exe, &sync };
	int fds[LAUNCH_MAX_FDS];
	int r;

	memcpy(fds, l->fds, sizeof(fds));
	(void)close(parent_sync);
	r = wait_for_maps(sync);
	if (r < 0)
		goto fail;
	r = child_narrow(l, fds, &step);
	if (r < 0)
		goto fail;

	/*
	 * After the last change of ids, which resets it. A spawner that died
	 * before this line is seen by its end of the socket: getppid() is 0
	 * in a pid namespace and tells nothing.
	 */
	step = LAUNCH_PDEATHSIG;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
		r = -errno;
		goto fail;
	}
	if (note_send(sync, LAUNCH_OK, 0) < 0)
		_exit(1);
	step = LAUNCH_FDS;
	r = launch_place_fds(fds, l->nr_fds, keep, ARRAY_SIZE(keep));
	if (r < 0)
		goto fail;
	if (l->trial)
		_exit(0);
	step = LAUNCH_EXEC;
	(void)syscall(SYS_execveat, exe, "", l->argv, envp, AT_EMPTY_PATH);
	r = -errno;
fail:
	(void)note_send(sync, step, r);
	_exit(1);
}

/* --------------------------------------------------------------- spawner */

void launch_kill(int *pidfd)
{
	siginfo_t info;

	if (*pidfd < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED) < 0 &&
	       errno == EINTR)
		continue;
	fd_close(pidfd);
}

static pid_t clone_device(enum sandbox_mode mode, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	pid_t pid;

	/* Network and IPC namespace are the spawner's: empty, one per VM. */
	if (mode == SANDBOX_FULL)
		args.flags |= CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			      CLONE_NEWUTS | CLONE_NEWCGROUP;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	*ret_pidfd = pidfd;
	return pid;
}

/* Return: 1 note received, 0 end of file, or -errno. */
static int note_recv(int sync, struct launch_note *note)
{
	ssize_t n;

	do {
		n = recv(sync, note, sizeof(*note), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -ETIMEDOUT;
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	return n == (ssize_t)sizeof(*note) ? 1 : -EPROTO;
}

static int write_device_maps(const struct launch *l, pid_t pid)
{
	const struct ns_map files = { 0, NS_FILES_BASE, l->files };
	const struct ns_map uid = { 0, l->uid, 1 };
	const struct ns_map gid = { 0, l->gid, 1 };

	if (l->mode != SANDBOX_FULL)
		return 0;
	if (l->files)
		return ns_write_maps(l->proc_fd, pid, &files, &files, 1, true);
	return ns_write_maps(l->proc_fd, pid, &uid, &gid, 1, true);
}

/* Follows the child until it has executed. 0 or -errno and the step. */
static int follow_child(const struct launch *l, int sync, pid_t pid,
			enum launch_step *step)
{
	struct launch_note note;
	int r;

	*step = LAUNCH_MAPS;
	r = note_recv(sync, &note);
	if (r <= 0)
		return r < 0 ? r : -ECHILD;
	if (note.error)
		return note.error;
	r = write_device_maps(l, pid);
	if (r < 0)
		return r;
	if (send(sync, "", 1, MSG_NOSIGNAL) < 0)
		return -errno;
	while ((r = note_recv(sync, &note)) > 0) {
		if (note.step == LAUNCH_OK)
			continue;
		*step = (enum launch_step)note.step;
		return note.error < 0 ? note.error : -EPROTO;
	}
	*step = LAUNCH_EXEC;
	return r;
}

int launch_device(const struct launch *l, struct launch_result *ret,
		  enum launch_step *ret_step)
{
	const struct timeval timeout = { .tv_sec = STEP_TIMEOUT_S };
	_cleanup_fd_ int parent_sync = -1;
	_cleanup_fd_ int child_sync = -1;
	int pair[2];
	int pidfd = -1;
	pid_t pid;
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		*ret_step = LAUNCH_SOCKETPAIR;
		return -errno;
	}
	parent_sync = pair[0];
	child_sync = pair[1];
	/* Other devices, and their violations, do not wait for this one. */
	if (setsockopt(parent_sync, SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof(timeout)) < 0) {
		*ret_step = LAUNCH_SOCKETPAIR;
		return -errno;
	}
	pid = clone_device(l->mode, &pidfd);
	if (pid < 0) {
		*ret_step = LAUNCH_CLONE;
		return pid;
	}
	if (pid == 0)
		child_main(l, child_sync, parent_sync);
	fd_close(&child_sync);
	r = follow_child(l, parent_sync, pid, ret_step);
	if (r < 0) {
		launch_kill(&pidfd);
		return r;
	}
	*ret = (struct launch_result){ pid, pidfd };
	return 0;
}
