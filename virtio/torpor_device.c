/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * torpor-device: one virtio device in a process of its own. Spawned by torpor
 * with the fds of virtio/devctl.h, or started by hand with --socket for
 * another vhost-user front end. One thread, one loop.
 *
 * Order: parse, open everything, jail, serve. Not a byte of guest or front end
 * is looked at before the jail is closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/device_log.h"
#include "sandbox/jail.h"
#include "virtio/backend.h"
#include "virtio/devctl.h"
#include "virtio/device.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/unix_socket.h"

#define THREAD_STACK_BYTES (256UL * 1024)

struct options {
	const char *role;
	const char *name;
	const char *socket; /* path, or NULL when spawned */
	bool seccomp;
	enum log_level level;
	char *const *words; /* the role's, NULL-terminated */
};

static const char usage[] =
	"usage: torpor-device ROLE --socket PATH [WORD...]\n"
	"       torpor-device ROLE NAME SANDBOX LOGLEVEL [WORD...]\n"
	"\n"
	"Serves one virtio device over vhost-user. The first form listens on\n"
	"PATH for any front end; the second is how torpor starts it.\n"
	"\n"
	"  ROLE      blk, net, console, fs, rng or vsock\n"
	"  NAME      tag of its log lines\n"
	"  SANDBOX   full, weak or off\n"
	"  LOGLEVEL  error, warning, info or debug\n"
	"\n"
	"WORDs with --socket:\n"
	"  blk       path=FILE [ro]\n"
	"  net       tap=NAME\n"
	"  fs        path=DIR tag=TAG [cache=auto|always|never] [timeout=N]\n"
	"            [writeback] [locks]\n"
	"  console   in=FILE out=FILE [cols=N rows=N]\n"
	"  vsock     cid=N path=PATH\n"
	"\n"
	"  --help, --version\n";

static int level_parse(const char *word, enum log_level *ret)
{
	static const char *const names[] = { "error", "warning", "info",
					     "debug" };

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		bool digit = word[0] == (char)('0' + i) && !word[1];

		if (digit || !strcmp(word, names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int options_parse(struct options *o, int argc, char *const *argv)
{
	*o = (struct options){ .seccomp = true, .level = LOG_LEVEL_INFO };
	if (argc < 4)
		return -EINVAL;
	o->role = argv[1];
	if (!strcmp(argv[2], "--socket")) {
		o->name = o->role;
		o->socket = argv[3];
		o->words = argv + 4;
		return 0;
	}
	if (argc < 5)
		return -EINVAL;
	o->name = argv[2];
	o->words = argv + 5;
	if (!strcmp(argv[3], "off"))
		o->seccomp = false;
	else if (strcmp(argv[3], "full") != 0 && strcmp(argv[3], "weak") != 0)
		return -EINVAL;
	return level_parse(argv[4], &o->level);
}

static int fd_if_open(int fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
}

static void *run_loop(void *arg)
{
	struct loop *loop = arg;

	return (void *)(intptr_t)loop_run(loop);
}

/*
 * Serves in a thread, and in another whenever the device asks for it. The main
 * thread only waits.
 */
static int serve_in_threads(struct loop *loop, struct backend *be)
{
	pthread_attr_t attr;
	void *result = NULL;
	pthread_t thread;
	int r;

	backend_thread_can_change(be);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	do {
		r = -pthread_create(&thread, &attr, run_loop, loop);
		if (r == 0)
			r = -pthread_join(thread, &result);
		if (r == 0)
			r = (int)(intptr_t)result;
	} while (r == 0 && backend_thread_change(be));
	(void)pthread_attr_destroy(&attr);
	return r;
}

/* What the user's shell gave is nothing for a jail. */
static int null_stdio(void)
{
	_cleanup_fd_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0 || dup2(fd, DEVFD_NULL_IN) < 0 ||
	    dup2(fd, DEVFD_NULL_OUT) < 0)
		return -errno;
	return 0;
}

/*
 * Makes the device, closes the jail, serves one connection to its end.
 * @cfg: owned from here on
 */
static int device_run(const struct options *o, const struct virtio_role *role,
		      const struct backend_config *cfg, int spawner_fd)
{
	struct virtio_dev *dev = NULL;
	struct backend *be = NULL;
	struct loop loop;
	int r;

	r = loop_init(&loop);
	if (r < 0)
		return log_errno(r, "create the event loop");
	r = role->create(&loop, o->words, &dev);
	if (r < 0) {
		(void)log_errno(r, "create the %s device", o->role);
		goto out;
	}
	r = backend_create(dev, &loop, cfg, &be);
	if (r < 0) {
		(void)log_errno(r, "create the vhost-user back end");
		goto out;
	}
	(void)prctl(PR_SET_NAME, o->name);
	/* Not before: /dev/stdin may have been one of its words. */
	r = o->socket ? null_stdio() : 0;
	if (r < 0) {
		(void)log_errno(r, "/dev/null");
		goto out;
	}
	jail_device(o->role, spawner_fd, o->seccomp);
	r = dev->ops->in_thread ? serve_in_threads(&loop, be) : loop_run(&loop);
	if (r < 0)
		(void)log_errno(r, "run the event loop");
out:
	backend_destroy(be);
	role->destroy(dev);
	loop_finish(&loop);
	return r;
}

static int serve_spawned(const struct options *o,
			 const struct virtio_role *role)
{
	const struct backend_config cfg = {
		.vhost_fd = DEVFD_VHOST,
		.ctl_fd = fd_if_open(DEVFD_CTL),
		.regpage_fd = fd_if_open(DEVFD_REGPAGE),
		.wake_fd = fd_if_open(DEVFD_WAKE),
	};

	return device_run(o, role, &cfg, fd_if_open(DEVFD_SPAWNER));
}

/* A bad word or file should fail at the start, not at the first front end. */
static int words_try(const struct options *o, const struct virtio_role *role)
{
	struct virtio_dev *dev = NULL;
	struct loop loop;
	int r;

	r = loop_init(&loop);
	if (r < 0)
		return log_errno(r, "create the event loop");
	r = role->create(&loop, o->words, &dev);
	if (r < 0)
		(void)log_errno(r, "create the %s device", o->role);
	role->destroy(dev);
	loop_finish(&loop);
	return r;
}

/* A front end's process, and what it says. */
struct front_end {
	struct loop loop;
	struct loop_source pid_src;
	struct device_log log;
};

static void on_process_end(struct loop_source *src, uint32_t events)
{
	struct front_end *fe = container_of(src, struct front_end, pid_src);

	loop_remove(&fe->loop, src);
	loop_stop(&fe->loop);
}

/* In the process that serves one front end. */
static int serve_front_end(const struct options *o,
			   const struct virtio_role *role,
			   const struct backend_config *cfg, int log_fd)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (dup2(log_fd, DEVFD_LOG) < 0)
		return -errno;
	(void)close(log_fd);
	log_init("", DEVFD_LOG, o->level);
	return device_run(o, role, cfg, -1);
}

/* Waits for its end and logs what it says until then. */
static int follow(struct front_end *fe, pid_t pid)
{
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	siginfo_t info = { 0 };
	int r = pidfd < 0 ? -errno : 0;

	if (r == 0)
		r = loop_add(&fe->loop, &fe->pid_src, pidfd, EPOLLIN,
			     on_process_end);
	if (r == 0)
		r = loop_run(&fe->loop);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR)
		continue;
	device_log_finish(&fe->log);
	if (r == 0 && info.si_code != CLD_EXITED)
		log_warn("its process (pid %d) was killed by signal %d (%s)",
			 (int)pid, info.si_status, strsignal(info.si_status));
	return r;
}

static int fork_front_end(const struct options *o,
			  const struct virtio_role *role,
			  const struct backend_config *cfg, int listener)
{
	struct front_end fe = { .pid_src.fd = -1,
				.log = { .fd = -1, .src.fd = -1 } };
	_cleanup_fd_ int log_fd = -1;
	int r = loop_init(&fe.loop);
	pid_t pid;

	if (r == 0)
		r = log_fd = device_log_open(&fe.log, &fe.loop, o->name);
	if (r < 0) {
		loop_finish(&fe.loop);
		return log_errno(r, "its log");
	}
	pid = fork();
	if (pid == 0) {
		(void)close(listener);
		fd_close(&fe.log.fd);
		loop_finish(&fe.loop);
		exit(serve_front_end(o, role, cfg, TAKE_FD(log_fd)) < 0);
	}
	r = pid < 0 ? -errno : 0;
	fd_close(&log_fd);
	if (r == 0)
		r = follow(&fe, pid);
	else
		device_log_finish(&fe.log);
	loop_finish(&fe.loop);
	return r < 0 ? log_errno(r, "serve a front end") : 0;
}

/*
 * One front end after another, until killed, each in a process of its own: so
 * the jail has no way to take a connection and nothing is left from the last.
 */
static int serve_socket(const struct options *o, const struct virtio_role *role)
{
	_cleanup_fd_ int listener = -1;
	int r = words_try(o, role);

	if (r < 0)
		return r;
	listener = unix_listen(o->socket, SOCK_STREAM, SOMAXCONN);
	if (listener < 0)
		return log_errno(listener, "listen on '%s'", o->socket);
	for (;;) {
		struct backend_config cfg = { .ctl_fd = -1,
					      .regpage_fd = -1,
					      .wake_fd = -1 };

		cfg.vhost_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (cfg.vhost_fd < 0 &&
		    (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (cfg.vhost_fd < 0)
			return log_errno(-errno, "accept on '%s'", o->socket);
		r = fork_front_end(o, role, &cfg, listener);
		fd_close(&cfg.vhost_fd);
		if (r < 0)
			return r;
	}
}

int main(int argc, char **argv)
{
	const struct virtio_role *role;
	struct options o;
	int r;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		(void)puts("torpor-device " TORPOR_VERSION);
		return 0;
	}
	if (options_parse(&o, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	/* Who has made it says which one it is. */
	log_init(o.socket ? o.name : "", DEVFD_LOG, o.level);
	/* A console's reader may go away at any time. */
	(void)signal(SIGPIPE, SIG_IGN);
	role = virtio_role_find(o.role);
	if (!role) {
		log_err("no device type '%s'; see torpor-device --help",
			o.role);
		return 2;
	}
	if (o.socket) {
		r = log_open(DEVFD_LOG);
		if (r >= 0)
			log_init(o.name, r, o.level);
		r = serve_socket(&o, role);
	} else {
		r = serve_spawned(&o, role);
	}
	return r < 0 ? 1 : 0;
}
