/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "virtio/socket_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/device_fds.h"
#include "sandbox/device_log.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/loop.h"
#include "vmm/base/unix_socket.h"

struct server {
	struct loop loop;
	const char *name;
	int (*serve)(const void *arg, int fd);
	const void *arg;
	int listener;
	struct loop_source listen_src;
	struct waiter *waiters; /* oldest first */
	unsigned int nr_waiters;
	/* The process that serves a front end, if pidfd is not -1. */
	int pidfd;
	struct loop_source pid_src;
	struct device_log log;
	int failed; /* -errno: it cannot go on */
};

struct waiter {
	struct waiter *next;
	struct server *server;
	int fd;
	bool speaking;
	struct loop_source src;	    /* until it says something */
	struct loop_timer patience; /* from then on */
};

static void waiter_free(struct waiter *w)
{
	struct server *s = w->server;
	struct waiter **p = &s->waiters;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	s->nr_waiters--;
	loop_remove(&s->loop, &w->src);
	loop_timer_cancel(&s->loop, &w->patience);
	fd_close(&w->fd);
	free(w);
}

static pid_t peer_pid(int fd)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.pid;
}

/* ------------------------------------------------------- the one served */

/* In the child: of its parent's it keeps the connection and its own log. */
static void __attribute__((noreturn))
child_main(const struct server *s, int conn, int log_fd)
{
	enum {
		CONN = DEVFD_LOG + 1,
		PARKED = 64
	};
	int moved = fcntl(conn, F_DUPFD_CLOEXEC, PARKED);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (moved < 0 || dup2(log_fd, DEVFD_LOG) < 0 ||
	    dup3(moved, CONN, O_CLOEXEC) < 0 ||
	    close_range(CONN + 1, ~0U, 0) < 0)
		_exit(1);
	log_init("", DEVFD_LOG, log_get_level());
	exit(s->serve(s->arg, CONN));
}

static int process_start(struct server *s, int conn);

/* The device is free: for the one that has waited longest. */
static void serve_next(struct server *s)
{
	struct waiter *w = s->waiters;
	int r;

	while (w && !w->speaking)
		w = w->next;
	if (!w || s->pidfd >= 0)
		return;
	r = process_start(s, w->fd);
	waiter_free(w);
	if (r < 0) {
		s->failed = log_errno(r, "serve a front end");
		loop_stop(&s->loop);
	}
}

static void on_process_end(struct loop_source *src, uint32_t events)
{
	struct server *s = container_of(src, struct server, pid_src);
	siginfo_t info = { 0 };
	int r;

	do {
		r = waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED);
	} while (r < 0 && errno == EINTR);
	loop_remove(&s->loop, src);
	fd_close(&s->pidfd);
	device_log_finish(&s->log);
	if (r == 0 && info.si_code != CLD_EXITED)
		log_warn("the device process (pid %d) was killed by signal %d "
			 "(%s)",
			 info.si_pid, info.si_status,
			 strsignal(info.si_status));
	serve_next(s);
}

static int process_start(struct server *s, int conn)
{
	_cleanup_fd_ int log_fd = device_log_open(&s->log, &s->loop, s->name);
	pid_t pid;
	int r;

	if (log_fd < 0)
		return log_fd;
	pid = fork();
	if (pid == 0)
		child_main(s, conn, log_fd);
	r = pid < 0 ? -errno : 0;
	if (r == 0) {
		s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		r = s->pidfd < 0 ? -errno : 0;
	}
	if (r == 0)
		r = loop_add(&s->loop, &s->pid_src, s->pidfd, EPOLLIN,
			     on_process_end);
	/* An unwatched child ends with this process. */
	if (r < 0)
		device_log_finish(&s->log);
	return r;
}

/* ------------------------------------------------- waiting connections */

static void on_patience(struct loop_timer *timer)
{
	struct waiter *w = container_of(timer, struct waiter, patience);

	log_warn("the device is in use; rejecting the front end of pid %d",
		 peer_pid(w->fd));
	waiter_free(w);
}

/* The front end speaks, or is gone: its process will see which. */
static void on_waiter(struct loop_source *src, uint32_t events)
{
	struct waiter *w = container_of(src, struct waiter, src);
	struct server *s = w->server;

	loop_remove(&s->loop, src);
	w->speaking = true;
	loop_timer_set(&s->loop, &w->patience,
		       SOCKET_SERVER_WAIT_MS * 1000000ULL, on_patience);
	serve_next(s);
}

static int waiter_add(struct server *s, int fd)
{
	struct waiter **last = &s->waiters;
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct waiter){ .server = s, .fd = fd, .src.fd = -1 };
	while (*last)
		last = &(*last)->next;
	*last = w;
	s->nr_waiters++;
	return loop_add(&s->loop, &w->src, fd, EPOLLIN, on_waiter);
}

static void on_listener(struct loop_source *src, uint32_t events)
{
	static struct log_limit limit, many;
	struct server *s = container_of(src, struct server, listen_src);
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	int r = fd < 0 ? -errno : 0;

	if (r == -EINTR || r == -EAGAIN || r == -ECONNABORTED)
		return;
	if (r == 0 && s->nr_waiters == SOCKET_SERVER_WAITERS) {
		log_limited(&many,
			    "too many connections; closing one of pid %d",
			    peer_pid(s->waiters->fd));
		waiter_free(s->waiters);
	}
	if (r == 0)
		r = waiter_add(s, fd);
	/* Out of memory or fds: epoll reports it again, or it is lost. */
	if (r < 0)
		log_limited(&limit, "accept: %s", strerror(-r));
}

int socket_server_run(const char *path, const char *name,
		      int (*serve)(const void *arg, int fd), const void *arg)
{
	struct server s = { .name = name,
			    .serve = serve,
			    .arg = arg,
			    .listen_src.fd = -1,
			    .pidfd = -1,
			    .pid_src.fd = -1,
			    .log = { .fd = -1, .src.fd = -1 } };
	int r = loop_init(&s.loop);

	if (r < 0)
		return log_errno(r, "create the event loop");
	s.listener = r =
		unix_listen(path, SOCK_STREAM | SOCK_NONBLOCK, SOMAXCONN);
	if (r >= 0)
		r = loop_add(&s.loop, &s.listen_src, s.listener, EPOLLIN,
			     on_listener);
	if (r < 0)
		(void)log_errno(r, "listen on '%s'", path);
	else
		r = loop_run(&s.loop);
	while (s.waiters)
		waiter_free(s.waiters);
	loop_remove(&s.loop, &s.listen_src);
	fd_close(&s.listener);
	loop_finish(&s.loop);
	return r < 0 ? r : s.failed;
}
