/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM's end of the spawner. Main thread, start-up; destroy at the end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/launch.h"
#include "sandbox/spawner.h"
#include "sandbox/spawner_wire.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* A machine under load creates a process in far less. */
#define REPLY_TIMEOUT_S 20
/* A killed device may first have to finish its I/O on a slow back end. */
#define END_TIMEOUT_MS 10000

struct spawner {
	int sock;
	pid_t pid;
	int pidfd;
	struct stat exe; /* for the message when it may not be executed */
};

int spawner_fd(const struct spawner *sp)
{
	return sp->sock;
}

pid_t spawner_pid(const struct spawner *sp)
{
	return sp->pid;
}

static int reap(int pidfd)
{
	siginfo_t info = { 0 };
	int r;

	do {
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

void spawner_destroy(struct spawner *sp)
{
	struct pollfd pfd;

	if (!sp)
		return;
	fd_close(&sp->sock);
	if (sp->pidfd >= 0) {
		pfd = (struct pollfd){ .fd = sp->pidfd, .events = POLLIN };
		if (poll(&pfd, 1, END_TIMEOUT_MS) <= 0) {
			log_warn("the spawner does not exit, killing it");
			(void)syscall(SYS_pidfd_send_signal, sp->pidfd, SIGKILL,
				      NULL, 0);
		}
		(void)reap(sp->pidfd);
	}
	fd_close(&sp->pidfd);
	free(sp);
}

static void destroyp(struct spawner **sp)
{
	spawner_destroy(*sp);
}

/* Return: 0 or -errno; a reply whose error is set is a reply. */
static int reply_recv(int sock, struct wire_reply *reply, int *ret_pidfd,
		      int flags)
{
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n =
		fd_recvmsg(sock, reply, sizeof(*reply), &fd, 1, &n_fds, flags);

	if (n == (ssize_t)sizeof(*reply)) {
		reply->step[sizeof(reply->step) - 1] = '\0';
		if (ret_pidfd)
			*ret_pidfd = TAKE_FD(fd);
	}
	if (n_fds > 0)
		fd_close(&fd);
	if (n == (ssize_t)sizeof(*reply))
		return 0;
	if (n == -EAGAIN)
		return flags & MSG_DONTWAIT ? -EAGAIN : -ETIMEDOUT;
	if (n == 0 || n == -ECONNRESET)
		return -EPIPE;
	return n < 0 ? (int)n : -EPROTO;
}

/* Maps the spawner's ids: only somebody outside its namespace can. */
static int map_spawner(pid_t pid, const struct ns_ids *ids)
{
	const struct ns_map uid[] = { { NS_SPAWNER_ID, ids->uid.base,
					ids->uid.count },
				      { NS_FILES_BASE, 0, ids->files } };
	const struct ns_map gid[] = { { NS_SPAWNER_ID, ids->gid.base,
					ids->gid.count },
				      { NS_FILES_BASE, 0, ids->files } };
	_cleanup_fd_ int proc_fd =
		open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc_fd < 0)
		return -errno;
	return ns_write_maps(proc_fd, pid, uid, gid, ids->files ? 2 : 1,
			     !ids->range);
}

/* The three steps of spawner_main() up to the first request. */
static int handshake(const struct spawner *sp, const struct ns_ids *ids,
		     enum sandbox_mode mode, struct err *err)
{
	struct wire_reply reply;
	int r = reply_recv(sp->sock, &reply, NULL, 0);

	if (r < 0)
		return err_set_errno(err, r, "sandbox: start the spawner");
	if (reply.error)
		return ns_explain(reply.error, reply.step, err);
	if (mode == SANDBOX_FULL) {
		r = map_spawner(sp->pid, ids);
		if (r < 0)
			return ns_explain(r, "write the spawner's id maps",
					  err);
	}
	r = (int)fd_sendmsg(sp->sock, "", 1, NULL, 0);
	if (r >= 0)
		r = reply_recv(sp->sock, &reply, NULL, 0);
	if (r < 0)
		return err_set_errno(err, r, "sandbox: start the spawner");
	if (!reply.error)
		return 0;
	if (mode == SANDBOX_FULL)
		return ns_explain(reply.error, reply.step, err);
	return err_set_errno(err, reply.error, "sandbox: %s", reply.step);
}

int spawner_create(const struct spawner_config *cfg, struct spawner **ret,
		   struct err *err)
{
	const struct timeval timeout = { .tv_sec = REPLY_TIMEOUT_S };
	_cleanup_(destroyp) struct spawner *sp = NULL;
	_cleanup_fd_ int child_sock = -1;
	struct spawner_params params = { .mode = cfg->mode,
					 .log_fd = cfg->log_fd,
					 .exe_fd = cfg->device_exe_fd };
	int pair[2];
	int r = ns_ids_choose(&params.ids);

	if (r == 0 && cfg->shares)
		r = ns_ids_add_files(&params.ids);
	if (r < 0)
		return err_set_errno(err, r, "sandbox: read own id maps");
	sp = calloc(1, sizeof(*sp));
	if (!sp)
		return err_set_errno(err, -ENOMEM, "sandbox");
	sp->sock = sp->pidfd = -1;
	if (fstat(cfg->device_exe_fd, &sp->exe) < 0)
		return err_set_errno(err, -errno, "sandbox: torpor-device");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set_errno(err, -errno, "sandbox: socketpair");
	sp->sock = pair[0];
	child_sock = params.vmm_fd = pair[1];
	if (setsockopt(sp->sock, SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof(timeout)) < 0)
		return err_set_errno(err, -errno, "sandbox: set time limit");
	sp->pid = fork();
	if (sp->pid < 0)
		return err_set_errno(err, -errno, "sandbox: fork");
	if (sp->pid == 0)
		spawner_main(&params);
	sp->pidfd = (int)syscall(SYS_pidfd_open, sp->pid, 0);
	if (sp->pidfd < 0) {
		r = -errno;
		(void)kill(sp->pid, SIGKILL);
		(void)waitpid(sp->pid, NULL, 0);
		return err_set_errno(err, r, "sandbox: pidfd_open");
	}
	fd_close(&child_sock);
	r = handshake(sp, &params.ids, cfg->mode, err);
	if (r < 0)
		return r;
	if (cfg->mode == SANDBOX_WEAK)
		log_warn("--sandbox=weak: devices run without namespaces");
	if (cfg->mode == SANDBOX_OFF)
		log_warn("--sandbox=off: DEVICES RUN UNCONFINED, with all "
			 "rights of this user; for debugging only");
	*ret = TAKE(sp);
	return 0;
}

/* --------------------------------------------------------------- request */

static int copy_word(char *to, size_t size, const char *from, const char *what,
		     struct err *err)
{
	size_t len = strlen(from);

	if (len == 0 || len >= size)
		return err_set(err, -EINVAL,
			       "%s '%.40s%s' has %zu bytes; 1 to %zu are "
			       "allowed",
			       what, from, len > 40 ? "..." : "", len,
			       size - 1);
	memcpy(to, from, len + 1);
	return 0;
}

static int copy_args(const struct spawn_request *req, struct wire_request *wire,
		     struct err *err)
{
	for (unsigned int i = 0; i < SPAWN_MAX_ARGS && req->args[i]; i++) {
		int r = copy_word(wire->args[i], sizeof(wire->args[i]),
				  req->args[i], "device argument", err);

		if (r < 0)
			return r;
		wire->nr_args++;
	}
	return 0;
}

/* Fills @wire and @fds. Return: number of fds or -errno with @err. */
static int request_build(const struct spawn_request *req,
			 struct wire_request *wire, int *fds, struct err *err)
{
	const int fixed[WIRE_FIXED_FDS] = {
		[WIRE_FD_VHOST] = req->vhost_fd,
		[WIRE_FD_CTL] = req->ctl_fd,
		[WIRE_FD_REGPAGE] = req->regpage_fd,
		[WIRE_FD_WAKE] = req->wake_fd,
	};
	int n = 0;
	int r;

	r = copy_word(wire->role, sizeof(wire->role), req->role, "role", err);
	if (r < 0)
		return r;
	r = copy_word(wire->name, sizeof(wire->name), req->name, "device name",
		      err);
	if (r < 0)
		return r;
	r = copy_args(req, wire, err);
	if (r < 0)
		return r;
	if (req->share)
		r = copy_word(wire->share, sizeof(wire->share), req->share,
			      "shared directory", err);
	if (r < 0)
		return r;
	if (req->nr_backend_fds > SPAWN_MAX_BACKEND_FDS)
		return err_set(err, -EINVAL, "%s: %u back-end fds, at most %d",
			       req->name, req->nr_backend_fds,
			       SPAWN_MAX_BACKEND_FDS);
	for (unsigned int i = 0; i < WIRE_FIXED_FDS; i++) {
		if (fixed[i] < 0)
			continue;
		wire->fixed_fds |= 1U << i;
		fds[n++] = fixed[i];
	}
	for (unsigned int i = 0; i < req->nr_backend_fds; i++)
		fds[n++] = req->backend_fds[i];
	wire->nr_backend_fds = req->nr_backend_fds;
	wire->log_level = log_get_level();
	return n;
}

/* The commonest mistake: a program in a tree only its owner can use. */
static const char *exec_hint(const struct spawner *sp, int error)
{
	if (error == -EACCES && !(sp->exe.st_mode & S_IXOTH))
		return " (its file mode must allow others to execute it)";
	return "";
}

int spawner_spawn_begin(struct spawner *sp, const struct spawn_request *req,
			struct err *err)
{
	_cleanup_free_ struct wire_request *wire = calloc(1, sizeof(*wire));
	int fds[WIRE_MAX_FDS];
	int n_fds;
	ssize_t n;

	if (!wire)
		return err_set_errno(err, -ENOMEM, "start device");
	n_fds = request_build(req, wire, fds, err);
	if (n_fds < 0)
		return n_fds;
	n = fd_sendmsg(sp->sock, wire, sizeof(*wire), fds, (size_t)n_fds);
	return n < 0 ? err_set_errno(err, (int)n,
				     "start device %s: the spawner", req->name)
		     : 0;
}

static int spawn_end(struct spawner *sp, const char *name, int flags,
		     struct spawn_result *ret, struct err *err)
{
	_cleanup_fd_ int pidfd = -1;
	struct wire_reply reply;
	int r = reply_recv(sp->sock, &reply, &pidfd, flags);

	/* No answer; -EAGAIN can be one: no more processes for this user. */
	if (r == -EAGAIN)
		return -EINPROGRESS;
	if (r < 0)
		return err_set_errno(err, r, "start device %s: the spawner",
				     name);
	if (reply.error)
		return err_set(err, reply.error, "start device %s: %s: %s%s",
			       name, reply.step, strerror(-reply.error),
			       exec_hint(sp, reply.error));
	if (pidfd < 0)
		return err_set(err, -EPROTO,
			       "start device %s: no pidfd came with the reply",
			       name);
	*ret = (struct spawn_result){ reply.pid, TAKE_FD(pidfd) };
	return 0;
}

int spawner_spawn_end(struct spawner *sp, const char *name,
		      struct spawn_result *ret, struct err *err)
{
	return spawn_end(sp, name, MSG_DONTWAIT, ret, err);
}

int spawner_spawn(struct spawner *sp, const struct spawn_request *req,
		  struct spawn_result *ret, struct err *err)
{
	int r = spawner_spawn_begin(sp, req, err);

	return r < 0 ? r : spawn_end(sp, req->name, 0, ret, err);
}

int spawner_seal(struct spawner *sp)
{
	ssize_t n = fd_sendmsg(sp->sock, "", WIRE_SEAL_BYTES, NULL, 0);

	return n < 0 ? (int)n : 0;
}
