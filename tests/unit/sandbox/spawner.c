/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The spawner and what it makes, looked at from inside (tests/sandbox/
 * probe_device.c) and from outside (/proc). Each test runs as who started it
 * and, if that is root, again as an ordinary user.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/spawner_test.h"
#include "virtio/devctl.h"
#include "vmm/base/log.h"

/* ------------------------------------------------------------ its processes */

/* Text of /proc/@pid/@file. */
static const char *proc_text(pid_t pid, const char *file)
{
	static char text[8192];
	char path[64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0), "%s", path);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	return text;
}

static long long status_field(pid_t pid, const char *name, int base)
{
	const char *p = strstr(proc_text(pid, "status"), name);

	cr_assert(p != NULL, "%s", name);
	return (long long)strtoull(p + strlen(name), NULL, base);
}

static void ns_name(pid_t pid, const char *ns, char *name, size_t size)
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, ns);
	n = readlink(path, name, size - 1);
	cr_assert(gt(int, (int)n, 0), "%s: %s", path, strerror(errno));
	name[n] = '\0';
}

static bool same_ns(pid_t a, pid_t b, const char *ns)
{
	char name_a[64], name_b[64];

	ns_name(a, ns, name_a, sizeof(name_a));
	ns_name(b, ns, name_b, sizeof(name_b));
	return strcmp(name_a, name_b) == 0;
}

static size_t fd_count(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	cr_assert(d != NULL, "%s", dir);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* ---------------------------------------------------------- what is made */

AS_BOTH_USERS(spawner, full_device_sees_nothing_of_the_host)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "argv fds ids limits root comm");
	cr_assert(says(&d, "argv torpor-device,blk,probe0,full,2,argv,fds"),
		  "%s", d.text);
	cr_assert(says(&d, "fds 0 1 2 3 4 7\n"), "%s", d.text);
	cr_assert(says(&d, "ids pid 1 uid 0 gid 0 host torpor\n"), "%s",
		  d.text);
	cr_assert(says(&d, "limits core 0 files 256 tasks 64\n"), "%s", d.text);
	/* Two links: no directory in it. */
	cr_assert(says(&d, "root mode 555 links 2\n"), "%s", d.text);
	cr_assert(says(&d, "proc -1 ENOENT\n"), "%s", d.text);
	cr_assert(says(&d, "create -1 EROFS\n"), "%s", d.text);
	cr_assert(says(&d, "parent -1 ENOENT\n"), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, full_device_has_no_privilege)
{
	struct bench b;
	struct device d;
	uint32_t inner, outer, count;
	pid_t pid;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "rng", "comm jail touch");
	pid = d.res.pid;
	cr_assert(says(&d, "jail ok\n"), "%s", d.text);
	cr_assert(zero(llong, status_field(pid, "CapInh:", 16)));
	cr_assert(zero(llong, status_field(pid, "CapPrm:", 16)));
	cr_assert(zero(llong, status_field(pid, "CapEff:", 16)));
	cr_assert(zero(llong, status_field(pid, "CapBnd:", 16)));
	cr_assert(zero(llong, status_field(pid, "CapAmb:", 16)));
	cr_assert(eq(llong, status_field(pid, "NoNewPrivs:", 10), 1));
	cr_assert(eq(llong, status_field(pid, "Seccomp:", 10), 2));
	cr_assert(eq(int,
		     sscanf(proc_text(pid, "uid_map"), "%u %u %u", &inner,
			    &outer, &count),
		     3));
	cr_assert(zero(u32, inner));
	cr_assert(eq(u32, count, 1));
	cr_assert(ne(u32, outer, 0));
	if (geteuid() != 0)
		cr_assert(eq(u32, outer, geteuid()));
	cr_assert(eq(int,
		     sscanf(proc_text(pid, "gid_map"), "%u %u %u", &inner,
			    &outer, &count),
		     3));
	cr_assert(zero(u32, inner));
	cr_assert(ne(u32, outer, 0));
	cr_assert(zero(int, strcmp(proc_text(pid, "setgroups"), "deny\n")));
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, full_devices_share_only_net_and_ipc)
{
	static const char *const own[] = { "user", "mnt", "pid", "uts",
					   "cgroup" };
	static const char *const shared[] = { "net", "ipc" };
	struct bench b;
	struct device d[2];
	char path[64];

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d[0], "blk", "");
	device_start(&b, &d[1], "net", "");
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		cr_assert(not(same_ns(d[0].res.pid, d[1].res.pid, own[i])));
		cr_assert(not(same_ns(d[0].res.pid, getpid(), own[i])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		cr_assert(same_ns(d[0].res.pid, d[1].res.pid, shared[i]));
		cr_assert(not(same_ns(d[0].res.pid, getpid(), shared[i])));
	}
	/* Two lines of heading and lo: no other interface. */
	cr_assert(strstr(proc_text(d[0].res.pid, "net/dev"), "lo:") != NULL);
	cr_assert(
		eq(sz,
		   strcspn(strrchr(proc_text(d[0].res.pid, "net/dev"), ':') - 2,
			   ":"),
		   2));
	/* "." and "..": its root is empty. */
	(void)snprintf(path, sizeof(path), "/proc/%d/root", d[0].res.pid);
	cr_assert(eq(sz, fd_count(path), 2));
	device_finish(&d[0]);
	device_finish(&d[1]);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, weak_device_has_no_privilege_either)
{
	struct bench b;
	struct device d;
	pid_t pid;

	bench_start(&b, *who, SANDBOX_WEAK);
	device_start(&b, &d, "blk", "argv ids fds jail thread");
	pid = d.res.pid;
	cr_assert(says(&d, ",weak,"), "%s", d.text);
	cr_assert(says(&d, "fds 0 1 2 3 4 7\n"), "%s", d.text);
	cr_assert(says(&d, "thread 0\n"), "%s", d.text);
	cr_assert(zero(llong, status_field(pid, "CapPrm:", 16)));
	cr_assert(zero(llong, status_field(pid, "CapEff:", 16)));
	cr_assert(eq(llong, status_field(pid, "NoNewPrivs:", 10), 1));
	cr_assert(eq(llong, status_field(pid, "Seccomp:", 10), 2));
	cr_assert(not(says(&d, "uid 0 ")), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, off_means_off)
{
	struct bench b;
	struct device d;

	bench_init(&b, *who);
	log_init("torpor", b.log_wr, LOG_LEVEL_INFO);
	cr_assert(zero(int, bench_create(&b, SANDBOX_OFF)), "%s", b.err.msg);
	cr_assert(log_wait(&b, "UNCONFINED"));
	device_start(&b, &d, "blk", "argv jail open");
	cr_assert(says(&d, ",off,"), "%s", d.text);
	cr_assert(says(&d, " ok\nready"), "%s", d.text);
	cr_assert(zero(llong, status_field(d.res.pid, "Seccomp:", 10)));
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, spawner_narrows_itself)
{
	struct bench b;
	pid_t pid;

	bench_start(&b, *who, SANDBOX_FULL);
	pid = spawner_pid(b.sp);
	cr_assert(
		zero(int, strcmp(proc_text(pid, "comm"), "torpor-spawner\n")));
	cr_assert(eq(llong, status_field(pid, "NoNewPrivs:", 10), 1));
	cr_assert(eq(llong, status_field(pid, "Seccomp:", 10), 2));
	/* CAP_KILL, CAP_SETGID, CAP_SETUID, in its own user namespace. */
	cr_assert(eq(llong, status_field(pid, "CapEff:", 16), 0xe0));
	cr_assert(ne(llong, status_field(pid, "Uid:", 10), 0));
	if (geteuid() == 0)
		cr_assert(not(same_ns(pid, getpid(), "user")));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, role_can_do_its_work)
{
	static const char *const roles[] = { "blk", "net", "console", "rng",
					     "fs" };
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		device_start(&b, &d, roles[i], "jail touch clone3");
		cr_assert(says(&d, "touch ok\nclone3 -1 ENOSYS\nready"), "%s",
			  d.text);
		device_finish(&d);
	}
	device_start(&b, &d, "blk", "jail thread");
	cr_assert(says(&d, "thread 0\nready"), "%s", d.text);
	device_finish(&d);
	device_start(&b, &d, "net", "jail tap-ioctl tap-filter");
	cr_assert(says(&d, "tap-ioctl -1 ENOTTY\ntap-filter -1 ENOTTY\nready"),
		  "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

/* -------------------------------------------------------- shared directory */

static char shared_base[] = "/tmp/torpor-spawner-XXXXXX";

/* A directory with something beside it, for user @who. */
static void share_make(struct bench *b, size_t who)
{
	static char dir[64];
	char path[96];
	uid_t id = who && geteuid() == 0 ? ORDINARY_ID : geteuid();

	cr_assert(mkdtemp(shared_base) != NULL);
	(void)snprintf(dir, sizeof(dir), "%s/share", shared_base);
	cr_assert(zero(int, mkdir(dir, 0700)));
	(void)snprintf(path, sizeof(path), "%s/beside", shared_base);
	cr_assert(zero(int, mkdir(path, 0755)));
	(void)snprintf(path, sizeof(path), "%s/abs", dir);
	cr_assert(zero(int, symlink("/etc", path)));
	(void)snprintf(path, sizeof(path), "%s/null", dir);
	if (geteuid() == 0)
		cr_assert(
			zero(int, mknod(path, S_IFCHR | 0666, makedev(1, 3))));
	else
		cr_assert(zero(int, symlink("none", path)));
	(void)snprintf(path, sizeof(path), "%s/file", dir);
	(void)close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	cr_assert(zero(int, chown(path, id, id)));
	cr_assert(zero(int, chown(dir, id, id)));
	cr_assert(zero(int, chown(shared_base, id, id)));
	b->share = dir;
	b->share_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert(ge(int, b->share_fd, 0));
}

static void share_remove(struct bench *b)
{
	static const char *const names[] = { "share/abs",  "share/null",
					     "share/file", "share",
					     "beside",	   "" };
	char path[96];

	fd_close(&b->share_fd);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", shared_base,
			       names[i]);
		(void)remove(path);
	}
}

static void share_bench(struct bench *b, size_t who, enum sandbox_mode mode)
{
	struct bench shared = { 0 };

	if (who && geteuid() != 0)
		cr_skip_test("is an ordinary user already");
	share_make(&shared, who);
	bench_init(b, who);
	b->share = shared.share;
	b->share_fd = shared.share_fd;
	cr_assert(zero(int, bench_create(b, mode)), "%s", b->err.msg);
}

AS_BOTH_USERS(spawner, a_share_is_all_there_is)
{
	static const char expected[] = "up -1 ENOENT\n"
				       "beside -1 ENOENT\n"
				       "status -1 ENOENT\n"
				       "up -1 ENOENT\n"
				       "beside -1 ENOENT\n"
				       "status -1 ENOENT\n"
				       "absolute -1 ENOENT\n"
				       "device -1 ";
	struct bench b;
	struct device d;

	share_bench(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "fs", "fds root jail share");
	cr_assert(says(&d, "proc -1 ENOENT\n"), "%s", d.text);
	cr_assert(says(&d, "fds 0 1 2 3 4 7 8 9\n"), "%s", d.text);
	cr_assert(not(says(&d, "list -1")), "%s", d.text);
	cr_assert(not(says(&d, "reopen -1")), "%s", d.text);
	cr_assert(says(&d, expected), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
	share_remove(&b);
}

AS_BOTH_USERS(spawner, a_share_of_roots_has_all_owners_and_rights_for_files)
{
	const uint64_t files = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE |
			       1ULL << CAP_FOWNER | 1ULL << CAP_FSETID |
			       1ULL << CAP_SETUID | 1ULL << CAP_SETGID;
	struct bench b;
	struct device d;
	uint64_t caps;
	bool root;

	share_bench(&b, *who, SANDBOX_FULL);
	root = geteuid() == 0;
	caps = root ? files : 0;
	device_start(&b, &d, "fs", "jail");
	for (size_t i = 0; i < 3; i++) {
		static const char *const sets[] = { "CapPrm:", "CapEff:",
						    "CapInh:" };

		cr_assert(eq(u64,
			     (uint64_t)status_field(d.res.pid, sets[i], 16),
			     i < 2 ? caps : 0),
			  "%s", sets[i]);
	}
	if (root)
		cr_assert(eq(u64,
			     (uint64_t)status_field(d.res.pid, "CapBnd:", 16),
			     files));
	cr_assert(eq(long, status_field(d.res.pid, "NoNewPrivs:", 10), 1));
	cr_assert(eq(long, status_field(d.res.pid, "Seccomp:", 10), 2));
	cr_assert(eq(long, status_field(d.res.pid, "Uid:", 10),
		     (long long)geteuid()));
	device_finish(&d);
	/* Other devices of the VM get nothing of that. */
	b.share = NULL;
	device_start(&b, &d, "blk", "jail");
	cr_assert(zero(long, status_field(d.res.pid, "CapPrm:", 16)));
	if (root)
		cr_assert(ne(long, status_field(d.res.pid, "Uid:", 10), 0));
	device_finish(&d);
	bench_finish(&b);
	share_remove(&b);
}

AS_BOTH_USERS(spawner, a_share_that_became_another_directory_is_refused)
{
	struct bench b;
	struct device d;

	share_bench(&b, *who, SANDBOX_FULL);
	b.share = shared_base;
	cr_assert(eq(int, device_spawn(&b, &d, "fs", "jail"), -ESTALE));
	cr_assert(strstr(b.err.msg, "shared directory") != NULL, "%s",
		  b.err.msg);
	(void)close(d.ctl);
	b.share = "relative";
	cr_assert(eq(int, device_spawn(&b, &d, "fs", "jail"), -EPROTO));
	(void)close(d.ctl);
	bench_finish(&b);
	share_remove(&b);
}

/* -------------------------------------------------------------- violations */

/* clang-format off */
static const struct violation {
	const char *role, *word, *call;
} violations[] = {
	{ "blk", "open", "openat" }, { "blk", "socket", "socket" },
	{ "blk", "ptrace", "ptrace" }, { "blk", "execve", "execve" },
	{ "blk", "fork", "clone" }, { "blk", "kill", "kill" },
	{ "blk", "tgkill", "tgkill" }, { "blk", "map-exec", "mmap" },
	{ "blk", "dumpable", "prctl" }, { "blk", "tap-ioctl", "ioctl" },
	{ "blk", "dupfd", "fcntl" }, { "blk", "sendto", "sendto" },
	{ "net", "bad-ioctl", "ioctl" }, { "net", "thread", "clone" },
	{ "console", "open", "openat" }, { "fs", "socket", "socket" },
	{ "fs", "execve", "execve" }, { "fs", "dupfd", "fcntl" },
	{ "rng", "setfl", "fcntl" }, { "vsock", "getfl", "fcntl" },
	{ "console", "seals", "fcntl" }, { "fs", "setfl", "fcntl" },
	{ "rng", "tap-ioctl", "ioctl" }, { "blk", "tap-filter", "ioctl" },
	{ "blk", "map-shared", "mmap" }, { "fs", "map-shared", "mmap" },
	{ "blk", "raise-limit", "prlimit64" },
	{ "blk", "uring-second", "io_uring_setup" },
	{ "blk", "uring-openat", "io_uring_setup" },
	{ "blk", "uring-socket", "io_uring_setup" },
	{ "blk", "uring-register", "io_uring_register" },
#ifdef __x86_64__
	{ "rng", "x32", "of the x32 ABI" },
#endif
};
/* clang-format on */

static const enum sandbox_mode violation_modes[] = { SANDBOX_FULL,
						     SANDBOX_WEAK };
#define VIOLATION_CASES (USERS * ARRAY_SIZE(violation_modes))

ParameterizedTestParameters(spawner, violation_is_named_and_fatal)
{
	static size_t index[VIOLATION_CASES * ARRAY_SIZE(violations)];

	for (size_t i = 0; i < ARRAY_SIZE(index); i++)
		index[i] = i;
	return cr_make_param_array(size_t, index, ARRAY_SIZE(index));
}

ParameterizedTest(size_t *index, spawner, violation_is_named_and_fatal,
		  .timeout = 240)
{
	const struct violation *v = &violations[*index / VIOLATION_CASES];
	char words[64], text[64];
	struct bench b;
	struct device d;

	bench_start(
		&b, *index % USERS,
		violation_modes[*index / USERS % ARRAY_SIZE(violation_modes)]);
	(void)snprintf(words, sizeof(words), "jail %s", v->word);
	device_start(&b, &d, v->role, words);
	cr_assert(says(&d, "jail ok\n"), "%s", d.text);
	cr_assert(not(says(&d, "ready")), "%s %s: %s", v->role, v->word,
		  d.text);
	cr_assert(died(d.res.pidfd), "%s %s", v->role, v->word);
	(void)snprintf(text, sizeof(text), "%s", v->call);
	cr_assert(log_wait(&b, "is not allowed for role"), "%s", v->word);
	cr_assert(log_wait(&b, text), "%s %s: %s", v->role, v->word, b.log);
	cr_assert(log_wait(&b, "was killed by signal 9"), "%s", b.log);
	fd_close(&d.res.pidfd);
	fd_close(&d.ctl);
	bench_finish(&b);
}

/* What no filter sees, the ring refuses itself, and goes on as a disk's. */
static void ring_is_a_disks(size_t who, enum sandbox_mode mode)
{
	struct bench b;
	struct device d;

	bench_start(&b, who, mode);
	device_start(&b, &d, "blk",
		     "uring jail uring-openat uring-socket uring-flag "
		     "uring-write gobble");
	if (says(&d, "uring -1 "))
		cr_skip("no io_uring on this host");
	cr_assert(says(&d, "uring-openat -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-socket -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-flag -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-write 0 ok\n"), "%s", d.text);
	/* Nor the host's memory. */
	cr_assert(says(&d, "gobble below 64 MiB\nready"), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

/*
 * A signal's handler would bring a thread out of a call before anybody has read
 * it. There can be none.
 */
AS_BOTH_USERS(spawner, device_cannot_catch_signals)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "jail handler");
	cr_assert(says(&d, "handler -1 ENOSYS\n"), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

/* And if there were one: who is seen in a violation is not let go for it. */
AS_BOTH_USERS(spawner, interrupted_violation_is_fatal)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "handler jail storm");
	cr_assert(not(says(&d, "escaped")), "%s", d.text);
	cr_assert(died(d.res.pidfd));
	cr_assert(log_wait(&b, "not allowed for role blk"), "%s", b.log);
	fd_close(&d.res.pidfd);
	fd_close(&d.ctl);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, ring_of_a_disk_does_only_what_a_disk_needs)
{
	ring_is_a_disks(*who, SANDBOX_FULL);
}

AS_BOTH_USERS(spawner, ring_of_a_weak_disk_does_no_more)
{
	ring_is_a_disks(*who, SANDBOX_WEAK);
}

/* --------------------------------------------------------- life and death */

AS_BOTH_USERS(spawner, its_death_ends_the_devices)
{
	struct bench b;
	struct device d[3];
	struct pollfd pfd;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d[0], "blk", "");
	device_start(&b, &d[1], "net", "jail");
	device_start(&b, &d[2], "rng", "jail");
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGKILL)));
	for (size_t i = 0; i < ARRAY_SIZE(d); i++)
		cr_assert(died(d[i].res.pidfd), "device %zu lives", i);
	pfd = (struct pollfd){ .fd = spawner_fd(b.sp), .events = POLLIN };
	cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1));
	cr_assert(eq(int, device_spawn(&b, &d[0], "blk", ""), -EPIPE));
	cr_assert(strstr(b.err.msg, "spawner") != NULL, "%s", b.err.msg);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, weak_devices_die_with_it_too)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_WEAK);
	device_start(&b, &d, "blk", "jail");
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGKILL)));
	cr_assert(died(d.res.pidfd));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, destroy_ends_everything)
{
	struct bench b;
	struct device d[2];
	pid_t pid;

	bench_start(&b, *who, SANDBOX_FULL);
	pid = spawner_pid(b.sp);
	device_start(&b, &d[0], "blk", "");
	device_start(&b, &d[1], "net", "jail");
	spawner_destroy(b.sp);
	b.sp = NULL;
	/* Reaped, not merely dead: the pid is gone. */
	cr_assert(eq(int, kill(d[0].res.pid, 0), -1));
	cr_assert(eq(int, kill(d[1].res.pid, 0), -1));
	cr_assert(eq(int, kill(pid, 0), -1));
	cr_assert(eq(int, errno, ESRCH));
	bench_finish(&b);
	spawner_destroy(NULL);
}

/* As a card takes the filter off its tap. */
AS_BOTH_USERS(spawner, devices_may_tidy_up_at_the_end)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "net", "jail slow-end");
	fd_close(&d.ctl);
	spawner_destroy(b.sp);
	b.sp = NULL;
	cr_assert(log_wait(&b, "has tidied up"), "%s", b.log);
	cr_assert(died(d.res.pidfd));
	fd_close(&d.res.pidfd);
	bench_finish(&b);
}

/* A VMM of its own, to be killed; says the pids it made. */
static void vmm_child(struct bench *b, int out)
{
	struct device d;
	pid_t pids[2];

	if (bench_create(b, SANDBOX_FULL) < 0)
		_exit(1);
	if (device_spawn(b, &d, "blk", "jail") < 0)
		_exit(1);
	device_listen(&d);
	pids[0] = spawner_pid(b->sp);
	pids[1] = d.res.pid;
	if (fd_write_all(out, pids, sizeof(pids)) < 0)
		_exit(1);
	for (;;)
		(void)pause();
}

AS_BOTH_USERS(spawner, death_of_the_vmm_ends_everything)
{
	struct bench b;
	pid_t pids[2] = { 0 };
	int pidfds[2];
	int pipe_fds[2];
	pid_t vmm;

	bench_init(&b, *who);
	cr_assert(zero(int, pipe2(pipe_fds, O_CLOEXEC)));
	vmm = fork();
	if (vmm == 0)
		vmm_child(&b, pipe_fds[1]);
	(void)close(pipe_fds[1]);
	cr_assert(eq(int, (int)read(pipe_fds[0], pids, sizeof(pids)),
		     sizeof(pids)));
	for (size_t i = 0; i < 2; i++) {
		pidfds[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
		cr_assert(ge(int, pidfds[i], 0));
	}
	cr_assert(zero(int, kill(vmm, SIGKILL)));
	cr_assert(eq(int, waitpid(vmm, NULL, 0), vmm));
	cr_assert(died(pidfds[0]), "spawner lives");
	cr_assert(died(pidfds[1]), "device lives");
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, terminal_signals_do_not_end_it)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct bench b;
	struct device d[2];

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d[0], "blk", "jail");
	/* As root: it has no right to signal a process of another id. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		cr_assert(zero(int, kill(spawner_pid(b.sp), signals[i])));
		cr_assert(zero(int, kill(d[0].res.pid, signals[i])));
	}
	device_start(&b, &d[1], "blk", "jail");
	device_finish(&d[0]);
	device_finish(&d[1]);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, abnormal_exit_is_logged)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "jail exit3");
	cr_assert(died(d.res.pidfd));
	cr_assert(log_wait(&b, "exited with status 3"), "%s", b.log);
	fd_close(&d.ctl);
	device_start(&b, &d, "blk", "jail");
	cr_assert(zero(int, syscall(SYS_pidfd_send_signal, d.res.pidfd, SIGKILL,
				    NULL, 0)));
	cr_assert(log_wait(&b, "was killed by signal 9"), "%s", b.log);
	fd_close(&d.ctl);
	bench_finish(&b);
}

/* ------------------------------------------------------------ error paths */

static struct spawn_request plain_request(void)
{
	return (struct spawn_request){ .role = "blk",
				       .name = "blk0",
				       .vhost_fd = -1,
				       .ctl_fd = -1,
				       .regpage_fd = -1,
				       .wake_fd = -1 };
}

static void refused(struct bench *b, const struct spawn_request *req, int error,
		    const char *text)
{
	struct spawn_result res = { .pid = -7, .pidfd = -7 };

	cr_assert(eq(int, spawner_spawn(b->sp, req, &res, &b->err), error),
		  "%s", text);
	cr_assert(strstr(b->err.msg, text) != NULL, "'%s' misses '%s'",
		  b->err.msg, text);
	cr_assert(eq(int, res.pidfd, -7));
}

static int answer(struct bench *b, struct spawn_result *res)
{
	struct pollfd pfd = { .fd = spawner_fd(b->sp), .events = POLLIN };

	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	return spawner_spawn_end(b->sp, "device", res, &b->err);
}

/* Whoever asks does not wait: not for a spawner that is stopped either. */
AS_BOTH_USERS(spawner, answers_come_in_the_order_of_the_requests)
{
	struct spawn_request good = plain_request(), bad = plain_request();
	struct spawn_result res[2] = { { .pidfd = -1 }, { .pidfd = -1 } };
	struct bench b;

	bench_start(&b, *who, SANDBOX_FULL);
	bad.share = "/share"; /* but no fd of it */
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGSTOP)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &good, &b.err)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &bad, &b.err)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &good, &b.err)));
	cr_assert(eq(int, spawner_spawn_end(b.sp, "device", &res[0], &b.err),
		     -EINPROGRESS));
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGCONT)));
	cr_assert(zero(int, answer(&b, &res[0])), "%s", b.err.msg);
	cr_assert(lt(int, answer(&b, &res[1]), 0));
	cr_assert(zero(int, answer(&b, &res[1])), "%s", b.err.msg);
	cr_assert(eq(int, spawner_spawn_end(b.sp, "device", &res[1], &b.err),
		     -EINPROGRESS));
	cr_assert(ne(int, res[0].pid, res[1].pid));
	fd_close(&res[0].pidfd);
	fd_close(&res[1].pidfd);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, bad_request_is_refused_and_leaves_nothing)
{
	char long_word[SPAWN_MAX_ARG_BYTES + 1];
	char empty[] = "";
	struct spawn_request req = plain_request();
	struct bench b;
	struct device d;
	char path[64];
	size_t fds = 0;
	bool look;

	bench_start(&b, *who, SANDBOX_FULL);
	look = geteuid() == 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", spawner_pid(b.sp));
	if (look)
		fds = fd_count(path);
	memset(long_word, 'x', sizeof(long_word));
	long_word[SPAWN_MAX_ARG_BYTES] = '\0';
	req.args[0] = long_word;
	refused(&b, &req, -EINVAL, "device argument 'xxx");
	req.args[0] = empty;
	refused(&b, &req, -EINVAL, "device argument ''");
	req = plain_request();
	req.name = "blk4567890123456";
	refused(&b, &req, -EINVAL, "device name 'blk4567890123456'");
	req = plain_request();
	req.role = "";
	refused(&b, &req, -EINVAL, "role ''");
	req = plain_request();
	req.nr_backend_fds = SPAWN_MAX_BACKEND_FDS + 1;
	refused(&b, &req, -EINVAL, "back-end fds");
	req = plain_request();
	req.ctl_fd = 1000;
	refused(&b, &req, -EBADF, "start device blk0");
	/* It goes on after all that. */
	device_start(&b, &d, "blk", "jail");
	device_finish(&d);
	cr_assert(zero(int, device_spawn(&b, &d, "blk", "jail exit3")));
	cr_assert(log_wait(&b, "exited with status 3"));
	fd_close(&d.ctl);
	if (look)
		cr_assert(eq(sz, fd_count(path), fds), "fds are left");
	(void)snprintf(path, sizeof(path), "task/%d/children",
		       spawner_pid(b.sp));
	cr_assert(zero(sz, strlen(proc_text(spawner_pid(b.sp), path))));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, all_places_are_filled)
{
	struct spawn_request req = plain_request();
	char word[] = "fds";
	struct bench b;
	struct device d = { 0 };
	int pair[2];

	bench_start(&b, *who, SANDBOX_FULL);
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	req.ctl_fd = req.vhost_fd = req.regpage_fd = req.wake_fd = pair[1];
	for (unsigned int i = 0; i < SPAWN_MAX_BACKEND_FDS; i++)
		req.backend_fds[i] = pair[1];
	req.nr_backend_fds = SPAWN_MAX_BACKEND_FDS;
	req.args[0] = word;
	cr_assert(zero(int, spawner_spawn(b.sp, &req, &d.res, &b.err)), "%s",
		  b.err.msg);
	(void)close(pair[1]);
	d.ctl = pair[0];
	device_listen(&d);
	cr_assert(says(&d, "fds 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"), "%s",
		  d.text);
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, program_that_cannot_be_executed_is_named)
{
	struct spawn_request req = plain_request();
	struct bench b;
	char path[64];

	bench_init(&b, 0);
	fd_close(&b.exe_fd);
	b.exe_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	become(*who);
	cr_assert(zero(int, bench_create(&b, SANDBOX_FULL)), "%s", b.err.msg);
	refused(&b, &req, -EACCES, "execute torpor-device: Permission denied");
	refused(&b, &req, -EACCES, "must allow others to execute");
	(void)snprintf(path, sizeof(path), "task/%d/children",
		       spawner_pid(b.sp));
	cr_assert(zero(sz, strlen(proc_text(spawner_pid(b.sp), path))));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, missing_program_is_refused)
{
	struct bench b;

	bench_init(&b, *who);
	fd_close(&b.exe_fd);
	cr_assert(eq(int, bench_create(&b, SANDBOX_FULL), -EBADF));
	cr_assert(strstr(b.err.msg, "torpor-device") != NULL, "%s", b.err.msg);
	bench_finish(&b);
}

/*
 * What a VMM sees that is root of a user namespace of one id. A process of its
 * own: Criterion's has threads, and those cannot unshare.
 */
struct outcome {
	int full, weak, device; /* results; 1 = not reached */
	struct err err;
	char text[4096]; /* of the device */
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

	fd_close(&fd);
	return r;
}

static int enter_single_id(void)
{
	unsigned int uid = geteuid();
	unsigned int gid = getegid();
	char map[32];
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	r = write_file("/proc/self/setgroups", "deny");
	if (r < 0)
		return r;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	r = write_file("/proc/self/uid_map", map);
	if (r < 0)
		return r;
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static void inner_vmm(struct bench *b, const char *forbidden,
		      struct outcome *out)
{
	struct device d;

	if (enter_single_id() < 0)
		return;
	if (forbidden && write_file(forbidden, "0") < 0)
		return;
	out->full = bench_create(b, SANDBOX_FULL);
	out->err = b->err;
	if (out->full == 0) {
		out->device = device_spawn(b, &d, "blk", "ids jail");
		if (out->device == 0)
			device_listen(&d);
		(void)snprintf(out->text, sizeof(out->text), "%s", d.text);
		spawner_destroy(b->sp);
	}
	out->weak = bench_create(b, SANDBOX_WEAK);
	if (out->weak == 0)
		spawner_destroy(b->sp);
}

static void run_inner_vmm(size_t who, const char *forbidden,
			  struct outcome *ret)
{
	struct outcome *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct bench b;
	pid_t pid;

	cr_assert(shared != MAP_FAILED);
	*shared = (struct outcome){ .full = 1, .weak = 1, .device = 1 };
	bench_init(&b, who);
	pid = fork();
	if (pid == 0) {
		inner_vmm(&b, forbidden, shared);
		_exit(0);
	}
	cr_assert(eq(int, waitpid(pid, NULL, 0), pid));
	*ret = *shared;
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, forbidden_user_namespaces_are_explained)
{
	struct outcome out;

	run_inner_vmm(*who, "/proc/sys/user/max_user_namespaces", &out);
	cr_assert(eq(int, out.full, -ENOSPC), "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "user.max_user_namespaces is 0") != NULL,
		  "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "--sandbox=weak") != NULL, "%s",
		  out.err.msg);
	/* And that remedy is one. */
	cr_assert(zero(int, out.weak));
}

/* Found by the trial launch: the spawner itself needs none. */
AS_BOTH_USERS(spawner, forbidden_pid_namespaces_are_explained)
{
	struct outcome out;

	run_inner_vmm(*who, "/proc/sys/user/max_pid_namespaces", &out);
	cr_assert(eq(int, out.full, -ENOSPC), "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "user.max_pid_namespaces is 0") != NULL,
		  "%s", out.err.msg);
	cr_assert(zero(int, out.weak));
}

AS_BOTH_USERS(spawner, root_of_one_id_is_an_ordinary_user)
{
	struct outcome out;

	run_inner_vmm(*who, NULL, &out);
	cr_assert(zero(int, out.full), "%s", out.err.msg);
	cr_assert(zero(int, out.device));
	cr_assert(strstr(out.text, "pid 1 uid 0 gid 0") != NULL, "%s",
		  out.text);
	cr_assert(zero(int, out.weak));
}
