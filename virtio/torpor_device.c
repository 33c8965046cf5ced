/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * torpor-device: one virtio device in a process of its own. Spawned by torpor
 * with the fds of sandbox/device_fds.h, or started by hand with --socket for
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
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/device_fds.h"
#include "sandbox/jail.h"
#include "virtio/device.h"
#include "virtio/socket_server.h"
#include "virtio/vhost_user/backend.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define THREAD_STACK_BYTES (256UL * 1024)
#define FIRST_MESSAGE_NS   5000000000ULL

struct options {
	const char *type;
	const char *name;
	const char *socket; /* path, or NULL when spawned */
	bool seccomp;
	bool own_root; /* an empty one, of its own mount namespace */
	enum log_level level;
	char *const *words;	     /* the type's, NULL-terminated */
	int fds[VIRTIO_DEV_MAX_FDS]; /* of the back end, or -1 */
};

static const char usage_head[] =
	"usage: torpor-device TYPE --socket PATH [WORD...]\n"
	"       torpor-device TYPE NAME SANDBOX LOGLEVEL [WORD...]\n"
	"\n"
	"Serves one virtio device over vhost-user. The first form listens on\n"
	"PATH for any front end; the second is how torpor starts it.\n"
	"\n"
	"  TYPE     ";
static const char usage_words[] = "\n"
				  "  NAME      tag of its log lines\n"
				  "  SANDBOX   full, weak or off\n"
				  "  LOGLEVEL  error, warning, info or debug\n"
				  "\n"
				  "WORDs with --socket:\n";
static const char usage_tail[] = "\n"
				 "  --help, --version\n";

static void usage(FILE *out)
{
	(void)fputs(usage_head, out);
	for (unsigned int i = 0; i < VIRTIO_NR_TYPES; i++)
		(void)fprintf(out, " %s%s", virtio_types[i].name,
			      i + 2 < VIRTIO_NR_TYPES	 ? ","
			      : i + 2 == VIRTIO_NR_TYPES ? " or"
							 : "");
	(void)fputs(usage_words, out);
	for (unsigned int i = 0; i < VIRTIO_NR_TYPES; i++) {
		if (virtio_type_ops[i]->usage)
			(void)fprintf(out, "  %-9s %s\n", virtio_types[i].name,
				      virtio_type_ops[i]->usage);
	}
	(void)fputs(usage_tail, out);
}

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
	memcpy(o->fds, virtio_no_fds, sizeof(o->fds));
	if (argc < 4)
		return -EINVAL;
	o->type = argv[1];
	if (!strcmp(argv[2], "--socket")) {
		o->name = o->type;
		o->socket = argv[3];
		o->words = argv + 4;
		return 0;
	}
	if (argc < 5)
		return -EINVAL;
	o->name = argv[2];
	o->words = argv + 5;
	o->own_root = !strcmp(argv[3], "full");
	o->seccomp = strcmp(argv[3], "off") != 0;
	if (o->seccomp && !o->own_root && strcmp(argv[3], "weak") != 0)
		return -EINVAL;
	return level_parse(argv[4], &o->level);
}

/* A disk image may be larger than the soft limit of a shell. */
static void raise_file_size(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_FSIZE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_FSIZE, &l);
}

static int fd_if_open(int fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
}

/* NULL if there is no such type. */
static const struct virtio_dev_ops *ops_find(const char *type)
{
	for (unsigned int i = 0; i < VIRTIO_NR_TYPES; i++) {
		if (!strcmp(virtio_types[i].name, type))
			return virtio_type_ops[i];
	}
	return NULL;
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

/* By hand: who begins a message and does not end it has no device. */
struct silence {
	struct loop_timer timer;
	struct loop *loop;
	const struct backend *be;
};

static void on_silence(struct loop_timer *timer)
{
	struct silence *s = container_of(timer, struct silence, timer);

	if (backend_spoken_to(s->be))
		return;
	log_warn("the front end has not completed a message; disconnecting it");
	loop_stop(s->loop);
}

/*
 * Makes the device, closes the jail, serves one connection to its end.
 * @cfg: owned from here on
 */
static int device_run(const struct options *o, const struct virtio_dev_ops *ops,
		      const struct backend_config *cfg, int spawner_fd)
{
	struct virtio_dev *dev = NULL;
	struct backend *be = NULL;
	struct silence silence = { 0 };
	struct loop loop;
	int r;

	r = loop_init(&loop);
	if (r < 0)
		return log_errno(r, "create the event loop");
	r = ops->create(&loop, o->words, o->fds, &dev);
	if (r < 0) {
		(void)log_errno(r, "create the %s device", o->type);
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
	silence.loop = &loop;
	silence.be = be;
	if (o->socket)
		loop_timer_set(&loop, &silence.timer, FIRST_MESSAGE_NS,
			       on_silence);
	if (o->seccomp && dev->max_file_bytes)
		jail_limit_file_size(dev->max_file_bytes);
	if (o->seccomp && !o->own_root)
		jail_limit_files(dev->files_dir ? *dev->files_dir : -1);
	jail_device(o->type, spawner_fd, o->seccomp);
	r = dev->ops->in_thread ? serve_in_threads(&loop, be) : loop_run(&loop);
	if (r < 0)
		(void)log_errno(r, "run the event loop");
	loop_timer_cancel(&loop, &silence.timer);
out:
	backend_destroy(be);
	ops->destroy(dev);
	loop_finish(&loop);
	return r;
}

static int serve_spawned(const struct options *o,
			 const struct virtio_dev_ops *ops)
{
	const struct backend_config cfg = {
		.vhost_fd = DEVFD_VHOST,
		.ctl_fd = fd_if_open(DEVFD_CTL),
		.regpage_fd = fd_if_open(DEVFD_REGPAGE),
		.wake_fd = fd_if_open(DEVFD_WAKE),
	};

	return device_run(o, ops, &cfg, fd_if_open(DEVFD_SPAWNER));
}

/* A bad word or file should fail at the start, not at the first front end. */
static int words_try(const struct options *o, const struct virtio_dev_ops *ops)
{
	struct virtio_dev *dev = NULL;
	struct loop loop;
	int r;

	r = loop_init(&loop);
	if (r < 0)
		return log_errno(r, "create the event loop");
	r = ops->create(&loop, o->words, o->fds, &dev);
	if (r < 0)
		(void)log_errno(r, "create the %s device", o->type);
	ops->destroy(dev);
	loop_finish(&loop);
	return r;
}

struct by_hand {
	const struct options *o;
	const struct virtio_dev_ops *ops;
};

static int serve_front_end(const void *arg, int fd)
{
	const struct by_hand *h = arg;
	const struct backend_config cfg = {
		.vhost_fd = fd, .ctl_fd = -1, .regpage_fd = -1, .wake_fd = -1
	};

	return device_run(h->o, h->ops, &cfg, -1) < 0 ? 1 : 0;
}

static int serve_socket(const struct options *o,
			const struct virtio_dev_ops *ops)
{
	const struct by_hand h = { o, ops };
	int r = words_try(o, ops);

	return r < 0 ? r
		     : socket_server_run(o->socket, o->name, serve_front_end,
					 &h);
}

int main(int argc, char **argv)
{
	const struct virtio_dev_ops *ops;
	struct options o;
	int r;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		usage(stdout);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		(void)puts("torpor-device " TORPOR_VERSION);
		return 0;
	}
	if (options_parse(&o, argc, argv) < 0) {
		usage(stderr);
		return 2;
	}
	/* Who has made it says which one it is. */
	log_init(o.socket ? o.name : "", DEVFD_LOG, o.level);
	/* A console's reader may go away at any time. */
	(void)signal(SIGPIPE, SIG_IGN);
	/* A file that may not grow is an error of the write. */
	(void)signal(SIGXFSZ, SIG_IGN);
	raise_file_size();
	ops = ops_find(o.type);
	if (!ops) {
		log_err("unknown device type '%s'; see torpor-device --help",
			o.type);
		return 2;
	}
	if (o.socket) {
		r = log_open(DEVFD_LOG);
		if (r >= 0)
			log_init(o.name, r, o.level);
		r = serve_socket(&o, ops);
	} else {
		for (int i = 0; i < VIRTIO_DEV_MAX_FDS; i++)
			o.fds[i] = fd_if_open(DEVFD_BACKEND + i);
		r = serve_spawned(&o, ops);
	}
	return r < 0 ? 1 : 0;
}
