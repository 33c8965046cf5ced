/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the spawner makes of a device process, looked at from inside
 * (tests/sandbox/probe_device.c) and from outside (/proc): namespaces,
 * privileges, files and a shared directory. Each test runs as who started it
 * and, if that is root, again as an ordinary user.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/lib/spawner_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

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
