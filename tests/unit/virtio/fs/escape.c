/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attempts to get out of the shared directory. Beside it lies a file of
 * which neither content nor inode number may ever reach the driver, and which
 * must be the same afterwards.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

static struct stat secret, outside_st;

static void setup(void)
{
	fs_setup();
	cr_assert(zero(int, stat(host("outside/secret"), &secret)));
	cr_assert(zero(int, stat(fs.outside, &outside_st)));
}

static void teardown(void)
{
	struct stat st;

	cr_assert(host_has(host("outside/secret"), "secret"));
	cr_assert(zero(int, stat(host("outside/secret"), &st)));
	cr_assert(eq(u64, st.st_ino, secret.st_ino));
	cr_assert(eq(uint, st.st_nlink, 1));
	cr_assert(eq(uint, st.st_mode, secret.st_mode));
	cr_assert(eq(long, st.st_mtim.tv_sec, secret.st_mtim.tv_sec));
	fs_teardown();
}

TestSuite(fs_escape, .init = setup, .fini = teardown, .timeout = 480);

static bool is_outside(uint64_t ino)
{
	return ino == secret.st_ino || ino == outside_st.st_ino;
}

/* ------------------------------------------------------------- bad names */

#define NAME(text)                 \
	{                          \
		text, sizeof(text) \
	}

static const struct {
	const char *text;
	size_t len;
} bad_names[] = {
	NAME(".."),
	NAME("."),
	NAME(""),
	NAME("/"),
	NAME("/etc/passwd"),
	NAME("../outside"),
	NAME("../outside/secret"),
	NAME("d/../../outside/secret"),
	NAME("./f"),
	NAME("d/f"),
	NAME("f/"),
	NAME("//"),
	NAME("../"),
	NAME("/proc/self/root"),
	NAME("link/secret"),
	{ "..", 2 }, /* not ended */
	{ "secret", 6 },
};

static void prepare(void)
{
	cr_assert(zero(int, mkdir(host("share/d"), 0755)));
	host_write(host("share/d/f"), "x");
	host_write(host("share/f"), "x");
	cr_assert(zero(int, symlink(fs.outside, host("share/link"))));
}

Test(fs_escape, no_operation_takes_a_path_for_a_name)
{
	static const struct {
		uint32_t op;
		size_t arg; /* bytes before the name */
	} ops_[] = {
		{ FUSE_LOOKUP, 0 },
		{ FUSE_MKNOD, sizeof(struct fuse_mknod_in) },
		{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in) },
		{ FUSE_CREATE, sizeof(struct fuse_create_in) },
		{ FUSE_UNLINK, 0 },
		{ FUSE_RMDIR, 0 },
		{ FUSE_SYMLINK, 0 },
		{ FUSE_LINK, sizeof(struct fuse_link_in) },
	};
	uint64_t file_id;

	prepare();
	file_id = node_of(1, "f");
	for (size_t o = 0; o < ARRAY_SIZE(ops_); o++) {
		for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
			uint8_t arg[64] = { 0 };

			if (ops_[o].op == FUSE_LINK)
				memcpy(arg, &file_id, sizeof(file_id));
			cr_assert(eq(int,
				     call(&(struct req){
					     .opcode = ops_[o].op,
					     .node = 1,
					     .arg = arg,
					     .arg_len = ops_[o].arg,
					     .more = bad_names[i].text,
					     .more_len = bad_names[i].len }),
				     -EINVAL),
				  "op %u name %zu", ops_[o].op, i);
		}
	}
}

Test(fs_escape, no_rename_takes_a_path_for_a_name)
{
	prepare();
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		for (int second = 0; second < 2; second++) {
			struct {
				struct fuse_rename2_in in;
				char names[64];
			} a = { .in.newdir = 1 };
			size_t n = 0;

			if (second)
				n = 2;
			memcpy(a.names, "f", 2);
			memcpy(a.names + n, bad_names[i].text,
			       bad_names[i].len);
			n += bad_names[i].len;
			if (!second) {
				memcpy(a.names + n, "g", 2);
				n += 2;
			}
			/* A name that does not end goes on into the next. */
			if (!second &&
			    !memchr(bad_names[i].text, 0, bad_names[i].len))
				continue;
			cr_assert(eq(int,
				     call(&(struct req){
					     .opcode = FUSE_RENAME2,
					     .node = 1,
					     .arg = &a,
					     .arg_len = sizeof(a.in) + n }),
				     -EINVAL),
				  "name %zu place %d", i, second);
		}
	}
}

Test(fs_escape, a_name_that_is_too_long)
{
	static char name[5000];

	memset(name, 'a', sizeof(name) - 1);
	cr_assert(eq(int, call_text(FUSE_LOOKUP, 1, name, sizeof(name)),
		     -ENAMETOOLONG));
	name[256] = '\0';
	cr_assert(eq(int, call_text(FUSE_LOOKUP, 1, name, 257), -ENAMETOOLONG));
	name[255] = '\0';
	cr_assert(eq(int, call_text(FUSE_LOOKUP, 1, name, 256), -ENOENT));
}

/* --------------------------------------------------------------- symlinks */

static const char *const targets[] = {
	"../outside",
	"../outside/secret",
	"/etc/passwd",
	"/",
	"..",
	"../..",
	"/proc/self/root",
	"/proc/self/fd/0",
	"/proc/self/cwd",
	"/proc/self/exe",
};

/* Of each kind: it is a node of its own, and nothing opens what it names. */
Test(fs_escape, symlinks_lead_nowhere)
{
	const struct fuse_open_in open_in = { .flags = O_RDWR };
	const struct fuse_create_in create_in = { .flags = O_RDWR | O_TRUNC,
						  .mode = 0600 };
	const struct fuse_mkdir_in dir = { .mode = 0700 };
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0777 };

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct stat st;
		char name[8];
		uint64_t id;

		(void)snprintf(name, sizeof(name), "l%zu", i);
		cr_assert(
			zero(int, symlink(targets[i], host("share/%s", name))));
		cr_assert(zero(int, lstat(host("share/%s", name), &st)));
		id = node_of(1, name);
		cr_assert(eq(u64, entry().attr.ino, st.st_ino));
		cr_assert(eq(u32, entry().attr.mode & S_IFMT, S_IFLNK));
		cr_assert(eq(int, lookup(id, "secret"), -ENOTDIR));
		cr_assert(eq(int, CALL(FUSE_OPEN, id, open_in), -ELOOP));
		cr_assert(eq(int, CALL(FUSE_OPENDIR, id, open_in), -ENOTDIR));
		cr_assert(eq(int, CALL_NAME(FUSE_CREATE, 1, create_in, name),
			     -ELOOP));
		cr_assert(eq(int, CALL(FUSE_SETATTR, id, size), -EINVAL));
		cr_assert(eq(int, CALL(FUSE_SETATTR, id, mode), -EOPNOTSUPP));
		cr_assert(
			eq(int, CALL_NAME(FUSE_MKDIR, 1, dir, name), -EEXIST));
		cr_assert(zero(int, call_text(FUSE_READLINK, id, "", 0)));
		cr_assert(eq(sz, fs.reply_len, strlen(targets[i])));
	}
}

Test(fs_escape, removing_and_renaming_a_symlink_is_about_itself)
{
	struct {
		struct fuse_rename_in in;
		char names[8];
	} a = { .in.newdir = 1, .names = "l\0m" };

	cr_assert(zero(int, symlink(host("outside/secret"), host("share/l"))));
	cr_assert(zero(int, CALL(FUSE_RENAME, 1, a)));
	host_write(host("share/l"), "mine");
	/* Over a symlink: it is replaced, not what it points at. */
	cr_assert(zero(int, CALL(FUSE_RENAME, 1, a)));
	cr_assert(host_has(host("share/m"), "mine"));
	cr_assert(zero(int, symlink(host("outside/secret"), host("share/n"))));
	cr_assert(zero(int, CALL_TEXT(FUSE_UNLINK, 1, "n")));
	cr_assert(zero(int, symlink(fs.outside, host("share/o"))));
	cr_assert(eq(int, CALL_TEXT(FUSE_RMDIR, 1, "o"), -ENOTDIR));
}

Test(fs_escape, the_guests_own_symlinks_lead_nowhere_either)
{
	static const char text[] = "s\0../outside/secret";
	uint64_t id;

	cr_assert(zero(int, CALL_TEXT(FUSE_SYMLINK, 1, text)));
	id = entry().nodeid;
	cr_assert(eq(u32, entry().attr.mode & S_IFMT, S_IFLNK));
	cr_assert(ne(u64, entry().attr.ino, secret.st_ino));
	cr_assert(eq(int, lookup(id, "x"), -ENOTDIR));
}

/* xattr calls go by a name in /proc/self/fd, which is a symlink to look at. */
Test(fs_escape, attributes_of_a_symlink_are_not_those_of_its_target)
{
	struct {
		uint32_t size, flags;
		char text[12];
	} a = { .size = 1, .text = "user.a\0v" };
	const struct fuse_getxattr_in in = { .size = 100 };
	const struct fuse_access_in access_in = { .mask = 0 };

	cr_assert(zero(int, symlink(host("outside/secret"), host("share/l"))));
	cr_assert(lt(int, CALL(FUSE_SETXATTR, node_of(1, "l"), a), 0));
	cr_assert(zero(int, CALL(FUSE_LISTXATTR, node_of(1, "l"), in)));
	cr_assert(zero(sz, fs.reply_len));
	/* Of a dangling one as of any. */
	cr_assert(zero(int, symlink("nowhere", host("share/m"))));
	cr_assert(zero(int, CALL(FUSE_ACCESS, node_of(1, "m"), access_in)));
}

/* ------------------------------------------------------------- hard links */

/* What the host links into the share is in the share: no escape, one file. */
Test(fs_escape, a_hard_link_made_by_the_host_is_the_hosts_decision)
{
	host_write(host("outside/given"), "given");
	cr_assert(zero(int, link(host("outside/given"), host("share/given"))));
	cr_assert(reads(handle_of(node_of(1, "given"), O_RDONLY), 0, "given"));
}

Test(fs_escape, a_guest_links_only_what_it_has_looked_up)
{
	struct fuse_link_in in = { 0 };

	for (uint64_t id = 0; id < 100; id++) {
		in.oldnodeid = id << 20 | (id & 3);
		if (in.oldnodeid == 1)
			continue;
		cr_assert(eq(int, CALL_NAME(FUSE_LINK, 1, in, "h"), -ESTALE));
	}
	/* The root has no other name. */
	in.oldnodeid = 1;
	cr_assert(lt(int, CALL_NAME(FUSE_LINK, 1, in, "h"), 0));
}

/* ---------------------------------------------------------------- renames */

/* A directory that has left the share while the guest has it as a node. */
Test(fs_escape, a_directory_moved_out_does_not_lead_to_its_new_parent)
{
	uint64_t d;

	prepare();
	d = node_of(1, "d");
	cr_assert(zero(int, rename(host("share/d"), host("outside/d"))));
	/* It is the file it was; beside it is nothing to be seen. */
	cr_assert(zero(int, lookup(d, "f")));
	cr_assert(eq(int, lookup(d, "secret"), -ENOENT));
	cr_assert(eq(int, lookup(d, ".."), -EINVAL));
	cr_assert(eq(int, lookup(d, "../secret"), -EINVAL));
}

/* A directory becomes a symlink after it was looked up. */
Test(fs_escape, a_directory_swapped_for_a_symlink_stays_what_it_was)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	uint64_t d;

	prepare();
	d = node_of(1, "d");
	cr_assert(zero(int, rename(host("share/d"), host("share/old"))));
	cr_assert(zero(int, symlink(fs.outside, host("share/d"))));
	cr_assert(eq(int, lookup(d, "secret"), -ENOENT));
	cr_assert(zero(int, CALL_NAME(FUSE_CREATE, d, in, "new")));
	cr_assert(zero(int, access(host("share/old/new"), F_OK)));
	cr_assert(eq(int, access(host("outside/new"), F_OK), -1));
}

/* A file becomes a symlink between lookup and open, and before truncation. */
Test(fs_escape, a_file_swapped_for_a_symlink_stays_what_it_was)
{
	const struct fuse_setattr_in in = {
		.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME, .mode = 0777
	};
	uint64_t id;

	host_write(host("share/f"), "mine");
	id = node_of(1, "f");
	cr_assert(zero(int, rename(host("share/f"), host("share/g"))));
	cr_assert(zero(int, symlink(host("outside/secret"), host("share/f"))));
	cr_assert(reads(handle_of(id, O_RDWR), 0, "mine"));
	cr_assert(zero(int, CALL(FUSE_SETATTR, id, in)));
	cr_assert(host_has(host("share/g"), ""));
}

struct swapper {
	atomic_bool stop;
	unsigned int turns;
};

/* Another process of the host swaps a file and a directory for symlinks. */
static void *swap(void *arg)
{
	struct swapper *s = arg;
	char a[PATH_MAX], b[PATH_MAX], c[PATH_MAX], d[PATH_MAX];

	(void)snprintf(a, sizeof(a), "%s/f", fs.share);
	(void)snprintf(b, sizeof(b), "%s/f-link", fs.share);
	(void)snprintf(c, sizeof(c), "%s/d", fs.share);
	(void)snprintf(d, sizeof(d), "%s/d-link", fs.share);
	while (!atomic_load(&s->stop)) {
		(void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		(void)renameat2(AT_FDCWD, c, AT_FDCWD, d, RENAME_EXCHANGE);
		s->turns++;
	}
	return NULL;
}

/* One round of everything by name, whatever the name means right now. */
static void race(void)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	uint64_t fh, dir;
	int r;

	if (lookup(1, "f") == 0) {
		struct fuse_entry_out e = entry();

		cr_assert(not(is_outside(e.attr.ino)));
		if (fuse_open(e.nodeid, O_RDWR, &fh) == 0) {
			cr_assert(reads(fh, 0, "x"));
			cr_assert(zero(int, release(fh)));
		}
		forget(e.nodeid, 1);
	}
	if (lookup(1, "d") == 0) {
		cr_assert(not(is_outside(entry().attr.ino)));
		dir = entry().nodeid;
		r = lookup(dir, "secret");
		cr_assert(r == -ENOENT || r == -ENOTDIR);
		r = CALL_NAME(FUSE_CREATE, dir, in, "made");
		cr_assert(r == 0 || r == -ENOTDIR);
		if (r == 0) {
			uint64_t made = entry().nodeid;

			memcpy(&fh, fs.reply + sizeof(struct fuse_entry_out),
			       sizeof(fh));
			cr_assert(zero(int, release(fh)));
			forget(made, 1);
			(void)CALL_TEXT(FUSE_UNLINK, dir, "made");
		}
		forget(dir, 1);
	}
	r = CALL_NAME(FUSE_CREATE, 1, in, "f");
	cr_assert(r == 0 || r == -ELOOP || r == -ENOENT);
	if (r == 0) {
		cr_assert(not(is_outside(entry().attr.ino)));
		memcpy(&fh, fs.reply + sizeof(struct fuse_entry_out),
		       sizeof(fh));
		cr_assert(reads(fh, 0, "x"));
		cr_assert(zero(int, release(fh)));
	}
}

Test(fs_escape, names_swapped_at_every_moment)
{
	struct swapper s = { .turns = 0 };
	pthread_t thread;
	unsigned int rounds = 0;

	prepare();
	cr_assert(zero(int,
		       symlink(host("outside/secret"), host("share/f-link"))));
	cr_assert(zero(int, symlink(fs.outside, host("share/d-link"))));
	cr_assert(zero(int, pthread_create(&thread, NULL, swap, &s)));
	while (rounds++ < 2000)
		race();
	atomic_store(&s.stop, true);
	cr_assert(zero(int, pthread_join(thread, NULL)));
	cr_assert(gt(uint, s.turns, 10));
	cr_assert(eq(int, access(host("outside/made"), F_OK), -1));
}

/* ---------------------------------------------------------- what is above */

/* Inode numbers of what is above the share do not come by "..". */
Test(fs_escape, the_parent_of_the_root_is_not_told)
{
	const struct fuse_open_in in = { 0 };
	struct fuse_read_in rd = { .size = 4096 };
	struct stat parent;

	cr_assert(zero(int, stat(fs.base, &parent)));
	cr_assert(zero(int, CALL(FUSE_OPENDIR, 1, in)));
	memcpy(&rd.fh, fs.reply, sizeof(rd.fh));
	cr_assert(zero(int, CALL(FUSE_READDIR, 1, rd)));
	for (size_t at = 0; at < fs.reply_len;) {
		struct fuse_dirent d;

		memcpy(&d, fs.reply + at, sizeof(d));
		cr_assert(ne(u64, d.ino, parent.st_ino));
		at += FUSE_DIRENT_ALIGN(sizeof(d) + d.namelen);
	}
}

/* What is mounted in the share belongs to it, as a file system of its own. */
Test(fs_escape, a_bind_mount_is_a_submount)
{
	uint64_t id;

	if (geteuid() != 0) {
		/* An ordinary user mounts in a namespace of its own only. */
		cr_assert(eq(int,
			     mount(fs.outside, fs.share, NULL, MS_BIND, NULL),
			     -1));
		return;
	}
	cr_assert(zero(int, unshare(CLONE_NEWNS)));
	cr_assert(zero(int, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)));
	/* The device's root is of this namespace, too. */
	fs_again("", "");
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(zero(int, mkdir(host("share/m"), 0755)));
	cr_assert(zero(int, mkdir(host("outside/given"), 0755)));
	host_write(host("outside/given/f"), "given");
	cr_assert(zero(int, mount(host("outside/given"), host("share/m"), NULL,
				  MS_BIND, NULL)));
	id = node_of(1, "m");
	cr_assert(eq(u32, entry().attr.flags, FUSE_ATTR_SUBMOUNT));
	cr_assert(reads(handle_of(node_of(id, "f"), O_RDONLY), 0, "given"));
	cr_assert(eq(int, lookup(id, ".."), -EINVAL));
	cr_assert(eq(int, lookup(id, "secret"), -ENOENT));
	cr_assert(zero(int, fuse_init(0)));
	cr_assert(zero(int, umount2(host("share/m"), MNT_DETACH)));
}
