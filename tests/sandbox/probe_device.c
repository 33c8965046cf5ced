/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that does what a test asks for, to be looked at inside its jail:
 *
 *	probe-device ROLE NAME SANDBOX LOGLEVEL WORD...
 *
 * Words are done in order. On DEVFD_CTL it writes a line of text per word, and
 * at the end it waits there for end of file. "try=NAME" is one of attempts.h.
 *"jail" is stage 3; words before it run in stage 2.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sandbox/device_fds.h"
#include "sandbox/jail.h"
#include "tests/sandbox/attempts.h"
#include "virtio/blk/ring.h"
#include "vmm/base/log.h"

#define TRY "try="

static char *const *probe_argv;
static bool slow_end;
static struct io_uring ring;
static bool ring_made;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	(void)!write(DEVFD_CTL, line, strlen(line));
}

static void say_result(const char *what, long r)
{
	say("%s %ld %s", what, r, r < 0 ? strerrorname_np(errno) : "ok");
}

static void do_jail(void)
{
	if (strcmp(probe_argv[3], "weak") == 0)
		jail_limit_files(-1);
	jail_device(probe_argv[1], DEVFD_SPAWNER,
		    strcmp(probe_argv[3], "off") != 0);
	say("jail ok");
}

static void do_argv(void)
{
	char text[400] = "";
	size_t len = 0;

	for (int i = 0; probe_argv[i]; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s,",
					probe_argv[i]);
	say("argv %s", text);
}

static void do_fds(void)
{
	char text[400] = "";
	size_t len = 0;

	for (int fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						" %d", fd);
	}
	say("fds%s", text);
}

static void do_ids(void)
{
	struct utsname un;

	(void)uname(&un);
	say("ids pid %d uid %u gid %u host %s", getpid(), getuid(), getgid(),
	    un.nodename);
}

static void do_limits(void)
{
	struct rlimit core, files, tasks;

	(void)getrlimit(RLIMIT_CORE, &core);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	(void)getrlimit(RLIMIT_NPROC, &tasks);
	say("limits core %ld files %ld tasks %ld", (long)core.rlim_max,
	    (long)files.rlim_max, (long)tasks.rlim_max);
}

static void do_root(void)
{
	struct stat st = { 0 };
	int fd = open("/", O_RDONLY | O_DIRECTORY);
	int proc;

	(void)fstat(fd, &st);
	say("root mode %o links %u", st.st_mode & 07777,
	    (unsigned int)st.st_nlink);
	proc = openat(fd, "proc", O_RDONLY);
	say_result("proc", proc);
	say_result("create", openat(fd, "new", O_CREAT | O_WRONLY, 0600));
	say_result("parent", openat(fd, "../etc/passwd", O_RDONLY));
}

/* Where ".." leads from the shared directory and from /proc/self/fd. */
static void do_share(void)
{
	char own[16], far[64];
	int fd;

	say_result("list", openat(DEVFD_BACKEND, ".", O_RDONLY | O_DIRECTORY));
	fd = openat(DEVFD_BACKEND, "file", O_PATH | O_CLOEXEC);
	(void)snprintf(own, sizeof(own), "%d", fd);
	say_result("reopen", openat(DEVFD_BACKEND + 1, own, O_RDWR));
	for (int dir = DEVFD_BACKEND; dir <= DEVFD_BACKEND + 1; dir++) {
		(void)snprintf(far, sizeof(far), "../../../../../etc");
		say_result("up", openat(dir, far, O_PATH));
		say_result("beside", openat(dir, "../beside", O_PATH));
		say_result("status", openat(dir, "../status", O_PATH));
	}
	say_result("absolute", openat(DEVFD_BACKEND, "abs/passwd", O_PATH));
	say_result("device", openat(DEVFD_BACKEND, "null", O_RDWR));
}

static void *thread_main(void *arg)
{
	free(malloc(100000));
	return arg;
}

static void do_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	/* As a device's: the default of 8 MiB is more than it may have. */
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 256 << 10);
	r = pthread_create(&thread, &attr, thread_main, NULL);
	if (r == 0)
		r = pthread_join(thread, NULL);
	say("thread %d", r);
}

static void do_tap_ioctl(void)
{
	/* TUNSETOFFLOAD on what is not a tap: allowed, and refused below. */
	say_result("tap-ioctl", ioctl(DEVFD_NULL_IN, 0x400454d0UL, 0));
}

static void do_tap_filter(void)
{
	/* TUNSETTXFILTER, the same. */
	say_result("tap-filter", ioctl(DEVFD_NULL_IN, 0x400454d1UL, 0));
}

static void do_slow_end(void)
{
	slow_end = true;
}

static void do_touch(void)
{
	volatile char *p = malloc(64 << 10);

	for (size_t i = 0; p && i < 64 << 10; i += 4096)
		p[i] = 1;
	say("touch ok");
}

/* Each ends the process unless the policy has a hole. */
static void do_open(void)
{
	say_result("open", open("/", O_RDONLY));
}

static void do_socket(void)
{
	say_result("socket", socket(AF_INET, SOCK_STREAM, 0));
}

static void do_ptrace(void)
{
	say_result("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
}

static void do_execve(void)
{
	say_result("execve", execve("/bin/sh", probe_argv, NULL));
}

static void do_fork(void)
{
	say_result("fork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static void do_clone3(void)
{
	say_result("clone3", syscall(SYS_clone3, NULL, 0));
}

static void do_kill(void)
{
	say_result("kill", kill(-1, SIGKILL));
}

static void do_signal_other(void)
{
	say_result("tgkill", syscall(SYS_tgkill, 2, 2, SIGKILL));
}

static void do_map_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say_result("mmap", p == MAP_FAILED ? -1 : 0);
}

static void do_dumpable(void)
{
	say_result("prctl", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static void do_bad_ioctl(void)
{
	/* TUNSETIFF */
	say_result("ioctl", ioctl(DEVFD_NULL_IN, 0x400454caUL, 0));
}

static void do_dupfd(void)
{
	say_result("fcntl", fcntl(0, F_DUPFD, 20));
}

/* The VMM shares the descriptions of most fds, and their flags. */
static void do_setfl(void)
{
	say_result("fcntl", fcntl(DEVFD_WAKE, F_SETFL, 0));
}

static void do_getfl(void)
{
	say_result("fcntl", fcntl(DEVFD_WAKE, F_GETFL));
}

static void do_seals(void)
{
	say_result("fcntl", fcntl(DEVFD_WAKE, F_GET_SEALS));
}

static void do_send_to(void)
{
	struct sockaddr sa = { .sa_family = AF_UNIX };

	say_result("sendto", sendto(DEVFD_CTL, "x", 1, 0, &sa, sizeof(sa)));
}

static void do_x32(void)
{
	say_result("x32", syscall(0x40000000 | 39));
}

/* What a captured process would do to the log. */
static void do_log_read(void)
{
	char text[64] = "";

	say_result("log-read", read(DEVFD_LOG, text, sizeof(text) - 1));
}

static void do_log_raw(void)
{
	static const char text[] = "\033]0;title\007 \xc2\x9b"
				   "2J raw\nspawner: error: forged\n";

	say_result("log-raw", write(DEVFD_LOG, text, sizeof(text) - 1));
}

/* By what its own fds name, as role fs may. */
static void do_log_reopen(void)
{
	char text[64] = "";
	int fd = openat(DEVFD_BACKEND + 1, "2", O_RDWR | O_TRUNC | O_NONBLOCK);

	say_result("log-reopen", fd < 0 ? fd : read(fd, text, sizeof(text)));
}

static void do_log_flood(void)
{
	for (int i = 0; i < 100000; i++)
		log_info("flood %d", i);
	say("flood over");
}

/* No newline, and an end at once. */
static void do_log_last_words(void)
{
	log_info("the last line but one");
	(void)!write(DEVFD_LOG, "last words", 10);
	_exit(3);
}

static void on_storm(int sig)
{
	(void)sig;
}

/* As if stage 2 had left a handler. */
static void do_handler(void)
{
	const struct sigaction sa = { .sa_handler = on_storm };

	say_result("handler", sigaction(SIGUSR1, &sa, NULL));
}

static void *storm_main(void *arg)
{
	pid_t pid = getpid();

	for (;;)
		(void)syscall(SYS_tgkill, pid, (pid_t)(intptr_t)arg, SIGUSR1);
	return NULL;
}

/* Violations out of which signals bring the thread at once. */
static void do_storm(void)
{
	pthread_t thread;
	int escapes = 0;

	if (pthread_create(&thread, NULL, storm_main,
			   (void *)(intptr_t)gettid()))
		return;
	while (escapes < 100000 && socket(AF_INET, SOCK_STREAM, 0) < 0)
		escapes++;
	say("escaped %d", escapes);
}

/* Memory of its own, as much as there is, up to 1 GiB. */
static void do_gobble(void)
{
	unsigned int mib = 0;
	char *p;

	while (mib < 1024) {
		p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			break;
		memset(p, 1, 1 << 20);
		mib++;
	}
	say("gobble %s", mib == 0    ? "nothing"
			 : mib < 64  ? "below 64 MiB"
			 : mib < 600 ? "below 600 MiB"
				     : "all");
}

/* Memory that no limit counts. */
static void do_map_shared(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	say_result("mmap", p == MAP_FAILED ? -1 : 0);
}

static void do_raise_limit(void)
{
	struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY };

	say_result("setrlimit", setrlimit(RLIMIT_DATA, &l));
}

/* As a disk's process does in stage 2. */
static void do_uring(void)
{
	errno = -blk_ring_open(&ring, 8);
	ring_made = errno == 0;
	say_result("uring", ring_made ? 0 : -1);
}

/* As a captured process would, with nothing restricted. */
static void do_uring_second(void)
{
	struct io_uring_params params = { 0 };

	say_result("uring-second", syscall(SYS_io_uring_setup, 8, &params));
}

static void do_uring_register(void)
{
	int fd = DEVFD_LOG;

	say_result("uring-register",
		   syscall(SYS_io_uring_register, ring.ring_fd,
			   IORING_REGISTER_FILES, &fd, 1));
}

/* One request on the ring, of the process's own making if there is none. */
static void uring_try(const char *what, const struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe;
	int r;

	if (!ring_made) {
		errno = -io_uring_queue_init(8, &ring, 0);
		if (errno) {
			say_result(what, -1);
			return;
		}
	}
	*io_uring_get_sqe(&ring) = *sqe;
	r = io_uring_submit(&ring);
	if (r == 1)
		r = io_uring_wait_cqe(&ring, &cqe);
	if (r == 0) {
		r = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
	errno = r < 0 ? -r : 0;
	say_result(what, r < 0 ? -1 : 0);
}

static void do_uring_openat(void)
{
	struct io_uring_sqe sqe;

	io_uring_prep_openat(&sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	uring_try("uring-openat", &sqe);
}

static void do_uring_socket(void)
{
	struct io_uring_sqe sqe;

	/* IORING_OP_SOCKET, Linux 5.19 */
	io_uring_prep_rw(45, &sqe, AF_UNIX, NULL, 0, SOCK_STREAM);
	uring_try("uring-socket", &sqe);
}

/* A flag that a disk has no use for, here to let a kernel thread do it. */
static void do_uring_flag(void)
{
	struct io_uring_sqe sqe;

	io_uring_prep_fsync(&sqe, DEVFD_NULL_IN, 0);
	sqe.flags = IOSQE_ASYNC;
	uring_try("uring-flag", &sqe);
}

static void do_uring_write(void)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct io_uring_sqe sqe;

	io_uring_prep_writev(&sqe, DEVFD_NULL_OUT, &iov, 1, 0);
	uring_try("uring-write", &sqe);
}

static void do_exit3(void)
{
	_exit(3);
}

static void do_comm(void)
{
	say_result("comm", prctl(PR_SET_NAME, probe_argv[2], 0, 0, 0));
}

static const struct {
	const char *word;
	void (*fn)(void);
} words[] = {
	{ "jail", do_jail },
	{ "argv", do_argv },
	{ "fds", do_fds },
	{ "ids", do_ids },
	{ "limits", do_limits },
	{ "root", do_root },
	{ "share", do_share },
	{ "thread", do_thread },
	{ "tap-ioctl", do_tap_ioctl },
	{ "tap-filter", do_tap_filter },
	{ "slow-end", do_slow_end },
	{ "touch", do_touch },
	{ "open", do_open },
	{ "socket", do_socket },
	{ "ptrace", do_ptrace },
	{ "execve", do_execve },
	{ "fork", do_fork },
	{ "clone3", do_clone3 },
	{ "kill", do_kill },
	{ "tgkill", do_signal_other },
	{ "map-exec", do_map_exec },
	{ "dumpable", do_dumpable },
	{ "bad-ioctl", do_bad_ioctl },
	{ "dupfd", do_dupfd },
	{ "setfl", do_setfl },
	{ "getfl", do_getfl },
	{ "seals", do_seals },
	{ "sendto", do_send_to },
	{ "x32", do_x32 },
	{ "log-read", do_log_read },
	{ "log-raw", do_log_raw },
	{ "log-reopen", do_log_reopen },
	{ "log-flood", do_log_flood },
	{ "log-last-words", do_log_last_words },
	{ "handler", do_handler },
	{ "storm", do_storm },
	{ "gobble", do_gobble },
	{ "map-shared", do_map_shared },
	{ "raise-limit", do_raise_limit },
	{ "uring", do_uring },
	{ "uring-second", do_uring_second },
	{ "uring-register", do_uring_register },
	{ "uring-openat", do_uring_openat },
	{ "uring-socket", do_uring_socket },
	{ "uring-flag", do_uring_flag },
	{ "uring-write", do_uring_write },
	{ "exit3", do_exit3 },
	{ "comm", do_comm },
};

/* A word "try=NAME". Return: false if it is none. */
static bool do_attempt(const char *word)
{
	const struct attempt *a = NULL;

	if (strncmp(word, TRY, strlen(TRY)) == 0)
		a = attempt_find(word + strlen(TRY));
	if (a)
		say_result(a->name, attempt_make(a));
	return a != NULL;
}

int main(int argc, char **argv)
{
	char byte;

	if (argc < 5)
		return 2;
	probe_argv = argv;
	log_init("", DEVFD_LOG, LOG_LEVEL_INFO);
	for (int i = 5; i < argc; i++) {
		size_t w = 0;

		if (do_attempt(argv[i]))
			continue;
		while (w < ARRAY_SIZE(words) &&
		       strcmp(words[w].word, argv[i]) != 0)
			w++;
		if (w == ARRAY_SIZE(words))
			return 2;
		words[w].fn();
	}
	say("ready");
	(void)!read(DEVFD_CTL, &byte, 1);
	if (slow_end) {
		(void)poll(NULL, 0, 50);
		log_info("has tidied up");
	}
	_exit(0);
}
