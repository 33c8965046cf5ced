/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The spawner process. Single-threaded, on its own event loop:
 *
 *	the VMM's socket	a request: launch.c, reply; end of file: the end
 *	a device's pidfd	it died: reap, log how
 *	a device's socket	its seccomp listener arrives, once
 *	a device's listener	violation.c
 *	a device's log		device_log.c
 *
 * It holds no guest memory, no KVM fd and, in SANDBOX_FULL, no right outside
 * its own user namespace. See spawner.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/device_log.h"
#include "sandbox/launch.h"
#include "sandbox/policy.h"
#include "sandbox/spawner_wire.h"
#include "sandbox/violation.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/loop.h"

#define CAP_MASK(cap) (1ULL << (cap))

/* ROLE, NAME, SANDBOX and LOGLEVEL before the role's own words. */
#define DEVICE_FIXED_ARGS 5

/* How long devices have to end by themselves. */
#define END_MS 2000U

const char *const sandbox_mode_words[] = {
	[SANDBOX_FULL] = "full",
	[SANDBOX_WEAK] = "weak",
	[SANDBOX_OFF] = "off",
	NULL,
};

/* What a device was asked for with, but for fds and values. */
struct known_device {
	struct known_device *next;
	size_t len;
	char words[];
};

struct server {
	struct known_device *known;
	bool sealed; /* only what is known can be had again */
	struct loop loop;
	struct loop_source vmm_src;
	struct device_child *children;
	const struct spawner_params *params;
	unsigned int nr_spawned;
	int proc_fd;
};

struct device_child {
	struct device_child *next;
	struct server *server;
	char role[WIRE_NAME_BYTES];
	char name[WIRE_NAME_BYTES];
	pid_t pid;
	int pidfd;
	int sock;     /* peer of the device's DEVFD_SPAWNER */
	int listener; /* of its seccomp filter */
	struct loop_source pid_src, sock_src, listener_src;
	struct device_log log;
};

/* -------------------------------------------------------------- children */

static void child_free(struct device_child *child)
{
	struct device_child **p = &child->server->children;

	while (*p && *p != child)
		p = &(*p)->next;
	if (*p)
		*p = child->next;
	loop_remove(&child->server->loop, &child->pid_src);
	loop_remove(&child->server->loop, &child->sock_src);
	loop_remove(&child->server->loop, &child->listener_src);
	launch_kill(&child->pidfd);
	/* Its last words. */
	device_log_finish(&child->log);
	fd_close(&child->sock);
	fd_close(&child->listener);
	free(child);
}

/* Ends it. The pidfd then tells the loop. */
static void child_kill(const struct device_child *child)
{
	(void)syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
}

static void on_child_exit(struct loop_source *src, uint32_t events)
{
	struct device_child *child =
		container_of(src, struct device_child, pid_src);
	char name[WIRE_NAME_BYTES];
	pid_t pid = child->pid;
	siginfo_t info = { 0 };
	int r;

	memcpy(name, child->name, sizeof(name));
	r = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOWAIT);
	child_free(child);
	if (r < 0)
		log_warn("%s (pid %d) has ended", name, pid);
	else if (info.si_code != CLD_EXITED)
		log_warn("%s (pid %d) was killed by signal %d (%s)", name, pid,
			 info.si_status, strsignal(info.si_status));
	else if (info.si_status != 0)
		log_warn("%s (pid %d) exited with status %d", name, pid,
			 info.si_status);
	else
		log_debug("%s (pid %d) has ended", name, pid);
}

/*
 * The thread left the call before the notification could be read: because of a
 * signal, or because the process dies. The call was tried, not executed.
 */
static void on_interrupted(const struct device_child *child)
{
	struct pollfd pfd = { .fd = child->pidfd, .events = POLLIN };

	if (poll(&pfd, 1, 0) == 1)
		return;
	log_err("%s killed: a signal interrupted a system call that role %s "
		"may not make, before it could be named",
		child->name, child->role);
	child_kill(child);
}

static void on_violation(struct loop_source *src, uint32_t events)
{
	struct device_child *child =
		container_of(src, struct device_child, listener_src);
	struct loop *loop = &child->server->loop;
	int r = 0;

	/* First the lines that led to the violation. */
	device_log_drain(&child->log);
	if (events & EPOLLIN)
		r = violation_handle(child->listener, child->name, child->role,
				     child->pidfd);
	if (r == -ENOENT) {
		on_interrupted(child);
	} else if (r < 0) {
		(void)log_errno(r, "%s: read its seccomp listener, killing it",
				child->name);
		child_kill(child);
	}
	/* The filter has no user any more, or its notifications no reader. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		loop_remove(loop, src);
		fd_close(&child->listener);
	}
}

static void on_listener(struct loop_source *src, uint32_t events)
{
	struct device_child *child =
		container_of(src, struct device_child, sock_src);
	struct loop *loop = &child->server->loop;
	size_t n_fds = 0;
	char byte;
	ssize_t n = fd_recvmsg(child->sock, &byte, 1, &child->listener, 1,
			       &n_fds, MSG_DONTWAIT);
	int r;

	loop_remove(loop, src);
	fd_close(&child->sock);
	/* End of file: the process died first, or runs without a filter. */
	if (n <= 0 || n_fds != 1)
		return;
	r = loop_add(loop, &child->listener_src, child->listener, EPOLLIN,
		     on_violation);
	if (r == 0)
		return;
	(void)log_errno(r, "%s: watch its seccomp listener, killing it",
			child->name);
	child_kill(child);
}

/* -------------------------------------------------------------- requests */

static bool terminated(const char *text, size_t size)
{
	return text[0] && memchr(text, '\0', size);
}

static int request_check(const struct wire_request *req, ssize_t n,
			 size_t n_fds)
{
	if (n != (ssize_t)sizeof(*req) || req->nr_args > SPAWN_MAX_ARGS ||
	    req->nr_backend_fds > SPAWN_MAX_BACKEND_FDS ||
	    req->fixed_fds >> WIRE_FIXED_FDS ||
	    (unsigned int)__builtin_popcount(req->fixed_fds) +
			    req->nr_backend_fds !=
		    n_fds ||
	    !terminated(req->role, sizeof(req->role)) ||
	    !terminated(req->name, sizeof(req->name)))
		return -EPROTO;
	if (req->share[0] && (!terminated(req->share, sizeof(req->share)) ||
			      req->share[0] != '/' || req->nr_backend_fds != 1))
		return -EPROTO;
	for (unsigned int i = 0; i < req->nr_args; i++) {
		if (!terminated(req->args[i], sizeof(req->args[i])))
			return -EPROTO;
	}
	return 0;
}

/*
 * Role, name, share and the words' names, one after the other: their values may
 * change, as a card's address does. Return: their length.
 */
static size_t request_words(const struct wire_request *req,
			    char words[sizeof(struct wire_request)])
{
	const char *from[SPAWN_MAX_ARGS + 3] = { req->role, req->name,
						 req->share };
	size_t len = 0;

	for (unsigned int i = 0; i < req->nr_args; i++)
		from[3 + i] = req->args[i];
	for (unsigned int i = 0; i < 3 + req->nr_args; i++) {
		size_t n = i < 3 ? strlen(from[i]) : strcspn(from[i], "=");

		memcpy(words + len, from[i], n);
		len += n;
		words[len++] = '\0';
	}
	return len;
}

/*
 * The VMM that has been taken over cannot have a device serve what its user
 * never gave: before it runs a guest it seals the list.
 */
static int request_know(struct server *srv, const struct wire_request *req)
{
	char words[sizeof(*req)];
	size_t len = request_words(req, words);
	struct known_device *known;

	for (known = srv->known; known; known = known->next) {
		if (known->len == len && !memcmp(known->words, words, len))
			return 0;
	}
	if (srv->sealed)
		return -EPERM;
	known = malloc(sizeof(*known) + len);
	if (!known)
		return -ENOMEM;
	known->len = len;
	memcpy(known->words, words, len);
	known->next = srv->known;
	srv->known = known;
	return 0;
}

/* Every device an id of its own, as far as there are any. */
static void choose_ids(struct server *srv, struct launch *l)
{
	const struct ns_ids *ids = &srv->params->ids;
	uint32_t n = 1 + srv->nr_spawned++ % (NS_IDS_PER_VM - 1);

	if (!ids->range)
		n = 0;
	if (l->mode == SANDBOX_FULL) {
		l->uid = l->gid = NS_SPAWNER_ID + n;
	} else {
		l->uid = ids->uid.base + n;
		l->gid = ids->gid.base + n;
		l->change_id = ids->range;
	}
}

static void place_request_fds(const struct wire_request *req, const int *fds,
			      int device_sock, int device_log, struct launch *l)
{
	unsigned int next = 0;

	for (unsigned int i = 0; i < LAUNCH_MAX_FDS; i++)
		l->fds[i] = -1;
	l->fds[DEVFD_NULL_IN] = SPAWNER_FD_NULL_IN;
	l->fds[DEVFD_NULL_OUT] = SPAWNER_FD_NULL_OUT;
	l->fds[DEVFD_LOG] = device_log;
	l->fds[DEVFD_SPAWNER] = device_sock;
	for (unsigned int i = 0; i < WIRE_FIXED_FDS; i++) {
		if (req->fixed_fds & 1U << i)
			l->fds[DEVFD_VHOST + i] = fds[next++];
	}
	for (unsigned int i = 0; i < req->nr_backend_fds; i++)
		l->fds[DEVFD_BACKEND + i] = fds[next++];
	l->nr_fds = DEVFD_BACKEND + req->nr_backend_fds;
	if (!req->share[0])
		return;
	l->share = req->share;
	/* A place for /proc/self/fd, which the child opens. */
	l->nr_fds++;
}

_Static_assert(DEVFD_CTL == DEVFD_VHOST + (int)WIRE_FD_CTL &&
		       DEVFD_REGPAGE == DEVFD_VHOST + (int)WIRE_FD_REGPAGE &&
		       DEVFD_WAKE == DEVFD_VHOST + (int)WIRE_FD_WAKE,
	       "fixed fds follow each other in the same order");

/* Launches and watches the process of @child. 0 or -errno and the step. */
static int child_start(struct device_child *child, struct wire_request *req,
		       const int *fds, enum launch_step *step)
{
	struct server *srv = child->server;
	struct launch l = { .mode = srv->params->mode,
			    .proc_fd = srv->proc_fd,
			    .exe_fd = SPAWNER_FD_EXE };
	char program[] = "torpor-device";
	char sandbox[8], level[12];
	char *argv[DEVICE_FIXED_ARGS + SPAWN_MAX_ARGS + 1] = {
		program, req->role, req->name, sandbox, level,
	};
	_cleanup_fd_ int device_sock = -1, device_log = -1;
	struct launch_result res;
	int pair[2];
	int r;

	*step = LAUNCH_SOCKETPAIR;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	child->sock = pair[0];
	device_sock = pair[1];
	*step = LAUNCH_LOG;
	device_log = device_log_open(&child->log, &srv->loop, child->name);
	if (device_log < 0)
		return device_log;
	(void)snprintf(sandbox, sizeof(sandbox), "%s",
		       sandbox_mode_words[l.mode]);
	(void)snprintf(level, sizeof(level), "%u", req->log_level);
	for (unsigned int i = 0; i < req->nr_args; i++)
		argv[DEVICE_FIXED_ARGS + i] = req->args[i];
	l.argv = argv;
	choose_ids(srv, &l);
	place_request_fds(req, fds, device_sock, device_log, &l);
	if (l.share && policy_find(req->role)) {
		l.files = srv->params->ids.files;
		l.caps = policy_find(req->role)->caps;
	}
	r = launch_device(&l, &res, step);
	if (r < 0)
		return r;
	child->pid = res.pid;
	child->pidfd = res.pidfd;
	*step = LAUNCH_OK;
	r = loop_add(&srv->loop, &child->sock_src, child->sock, EPOLLIN,
		     on_listener);
	if (r < 0)
		return r;
	return loop_add(&srv->loop, &child->pid_src, child->pidfd, EPOLLIN,
			on_child_exit);
}

static int child_create(struct server *srv, struct wire_request *req,
			const int *fds, struct device_child **ret,
			enum launch_step *step)
{
	struct device_child *child;
	unsigned int nr = 0;
	int r;

	for (child = srv->children; child; child = child->next)
		nr++;
	if (nr >= SPAWN_MAX_DEVICES)
		return -EUSERS;
	child = calloc(1, sizeof(*child));
	if (!child)
		return -ENOMEM;
	child->server = srv;
	child->pidfd = child->sock = child->listener = -1;
	child->pid_src.fd = child->sock_src.fd = child->listener_src.fd = -1;
	child->log.fd = child->log.src.fd = -1;
	memcpy(child->role, req->role, sizeof(child->role));
	memcpy(child->name, req->name, sizeof(child->name));
	child->next = srv->children;
	srv->children = child;
	r = child_start(child, req, fds, step);
	if (r < 0) {
		child_free(child);
		return r;
	}
	*ret = child;
	return 0;
}

static int reply_send(int error, const char *step, pid_t pid, int pidfd)
{
	struct wire_reply reply = { .error = error, .pid = pid };
	ssize_t n;

	(void)snprintf(reply.step, sizeof(reply.step), "%s", step);
	n = fd_sendmsg(SPAWNER_FD_VMM, &reply, sizeof(reply), &pidfd,
		       pidfd >= 0 ? 1 : 0);
	return n < 0 ? (int)n : 0;
}

static void on_request(struct loop_source *src, uint32_t events)
{
	struct server *srv = container_of(src, struct server, vmm_src);
	struct device_child *child = NULL;
	enum launch_step step = LAUNCH_OK;
	struct wire_request req;
	int fds[WIRE_MAX_FDS];
	size_t n_fds = 0;
	ssize_t n = fd_recvmsg(SPAWNER_FD_VMM, &req, sizeof(req), fds,
			       WIRE_MAX_FDS, &n_fds, MSG_DONTWAIT);
	int r;

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_stop(&srv->loop);
		return;
	}
	if (n == WIRE_SEAL_BYTES && n_fds == 0) {
		srv->sealed = true;
		return;
	}
	r = request_check(&req, n, n_fds);
	if (r == 0)
		r = request_know(srv, &req);
	if (r == 0)
		r = child_create(srv, &req, fds, &child, &step);
	while (n_fds > 0)
		fd_close(&fds[--n_fds]);
	if (child)
		r = reply_send(0, "", child->pid, child->pidfd);
	else
		r = reply_send(r, launch_step_name(step), 0, -1);
	if (r < 0)
		loop_stop(&srv->loop);
}

/* -------------------------------------------------------------- start-up */

/* Return: 0, or -errno and what was attempted. */
static int become_single(const struct spawner_params *params, const char **what)
{
	/* What must move to a place is moved out of the way first. */
	const int fds[SPAWNER_NR_FDS] = {
		[SPAWNER_FD_NULL_IN] =
			open("/dev/null", O_RDONLY | O_CLOEXEC | O_NOCTTY),
		[SPAWNER_FD_NULL_OUT] =
			open("/dev/null", O_WRONLY | O_CLOEXEC | O_NOCTTY),
		[SPAWNER_FD_LOG] = params->log_fd,
		[SPAWNER_FD_VMM] = params->vmm_fd,
		[SPAWNER_FD_EXE] = params->exe_fd,
	};
	static const int ignored[] = { SIGINT,	SIGTERM, SIGHUP,
				       SIGQUIT, SIGPIPE, SIGXFSZ };
	sigset_t none;
	int r;

	*what = "open /dev/null";
	if (fds[SPAWNER_FD_NULL_IN] < 0 || fds[SPAWNER_FD_NULL_OUT] < 0)
		return -ENOENT;
	*what = "move file descriptors";
	r = launch_place_fds(fds, SPAWNER_NR_FDS, NULL, 0);
	if (r < 0)
		return r;
	for (int fd = 0; fd < SPAWNER_NR_FDS; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	/*
	 * The VMM decides when this ends, by closing its socket; neither the
	 * terminal (a session of its own) nor a signal to the group does.
	 * Devices inherit both.
	 */
	(void)setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_NAME, "torpor-spawner", 0, 0, 0);
	log_init("spawner", SPAWNER_FD_LOG, log_get_level());
	return 0;
}

static int enter_namespaces(const struct spawner_params *params,
			    const char **what)
{
	if (params->mode != SANDBOX_FULL)
		return 0;
	*what = "create a user namespace";
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	/* Empty, and every device of this VM stays in them. */
	*what = "create a network and an IPC namespace";
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
		return -errno;
	/* The VMM writes the maps, which belong to root otherwise. */
	*what = "become dumpable";
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int become_mapped_id(const struct spawner_params *params)
{
	if (params->mode != SANDBOX_FULL || !params->ids.range)
		return 0;
	if (setgroups(0, NULL) < 0 ||
	    setresgid(NS_SPAWNER_ID, NS_SPAWNER_ID, NS_SPAWNER_ID) < 0 ||
	    setresuid(NS_SPAWNER_ID, NS_SPAWNER_ID, NS_SPAWNER_ID) < 0)
		return -errno;
	return 0;
}

/* Children get their capabilities with their own user namespace. */
static uint64_t wanted_caps(const struct spawner_params *params)
{
	uint64_t caps = CAP_MASK(CAP_SETUID) | CAP_MASK(CAP_SETGID) |
			CAP_MASK(CAP_KILL);

	if (params->mode == SANDBOX_WEAK)
		caps |= CAP_MASK(CAP_SETPCAP);
	return caps;
}

static int load_filter(void)
{
	scmp_filter_ctx ctx = NULL;
	int r = policy_begin(SCMP_ACT_TRACE(0), &ctx);

	if (r < 0)
		return r;
	r = policy_add(ctx, &policy_spawner, true);
	if (r == 0)
		r = policy_add(ctx, &policy_common, true);
	for (unsigned int i = 0; r == 0 && i < policy_nr_roles; i++)
		r = policy_add(ctx, &policy_roles[i].table, true);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	/* The filter was built in a heap that nobody needs any more. */
	(void)malloc_trim(0);
	return r;
}

static int narrow(const struct spawner_params *params, const char **what)
{
	int r;

	if (params->mode == SANDBOX_OFF)
		return 0;
	*what = "change the spawner's user and group id";
	r = become_mapped_id(params);
	if (r < 0)
		return r;
	*what = "drop the spawner's capabilities";
	r = caps_keep(wanted_caps(params));
	if (r < 0)
		return r;
	*what = "set no_new_privs and not dumpable";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	*what = "load the spawner's seccomp filter";
	return load_filter();
}

/* A device that ends before its exec tells whether the rest can be had. */
static int try_launch(struct server *srv, const char **what)
{
	struct launch l = { .mode = srv->params->mode,
			    .trial = true,
			    .proc_fd = srv->proc_fd,
			    .exe_fd = SPAWNER_FD_EXE };
	enum launch_step step = LAUNCH_OK;
	struct launch_result res;
	int r;

	choose_ids(srv, &l);
	r = launch_device(&l, &res, &step);
	*what = launch_step_name(step);
	if (r < 0)
		return r;
	launch_kill(&res.pidfd);
	return 0;
}

/*
 * The VMM is gone, and each device has seen the end of its socket. It tidies up
 * what outlives it, as the filter of a tap, and ends by itself. Who has not
 * after END_MS together is killed.
 */
static void children_end(struct server *srv)
{
	uint64_t now = time_boot_ns(), end = now + END_MS * 1000000ULL;

	for (struct device_child *c = srv->children, *next; c; c = next) {
		struct pollfd p = { .fd = c->pidfd, .events = POLLIN };

		next = c->next;
		now = time_boot_ns();
		(void)poll(&p, 1, now < end ? (int)((end - now) / 1000000) : 0);
		child_free(c);
	}
}

static int server_start(struct server *srv, const char **what)
{
	int r = narrow(srv->params, what);

	if (r < 0)
		return r;
	*what = "watch the VMM's socket";
	r = loop_init(&srv->loop);
	if (r < 0)
		return r;
	r = loop_add(&srv->loop, &srv->vmm_src, SPAWNER_FD_VMM, EPOLLIN,
		     on_request);
	if (r < 0)
		return r;
	return try_launch(srv, what);
}

void spawner_main(const struct spawner_params *params)
{
	struct server srv = { .params = params,
			      .proc_fd = -1,
			      .vmm_src.fd = -1 };
	const char *what = "";
	int r = become_single(params, &what);
	char go;

	if (r < 0)
		_exit(1);
	r = enter_namespaces(params, &what);
	if (r == 0) {
		what = "open /proc";
		srv.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = srv.proc_fd < 0 ? -errno : 0;
	}
	if (reply_send(r, what, 0, -1) < 0 || r < 0)
		_exit(1);
	if (recv(SPAWNER_FD_VMM, &go, 1, 0) != 1)
		_exit(1);
	r = server_start(&srv, &what);
	if (reply_send(r, what, 0, -1) < 0 || r < 0)
		_exit(1);
	r = loop_run(&srv.loop);
	children_end(&srv);
	_exit(r < 0 ? 1 : 0);
}
