/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of every kind: made, linked, renamed, removed. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

Test(fs, files_of_every_kind_are_made)
{
	struct fuse_mknod_in in = { .mode = S_IFREG | 0604 };
	const struct fuse_mkdir_in dir = { .mode = 01770 };
	struct stat st;

	cr_assert(zero(int, CALL_NAME(FUSE_MKNOD, 1, in, "f")));
	cr_assert(eq(u32, entry().attr.mode, S_IFREG | 0604));
	in.mode = S_IFIFO | 0666;
	cr_assert(zero(int, CALL_NAME(FUSE_MKNOD, 1, in, "p")));
	cr_assert(eq(u32, entry().attr.mode, S_IFIFO | 0666));
	in.mode = S_IFSOCK | 0600;
	cr_assert(zero(int, CALL_NAME(FUSE_MKNOD, 1, in, "s")));
	in.mode = S_IFCHR | 0600;
	in.rdev = 0x103;
	cr_assert(eq(int, CALL_NAME(FUSE_MKNOD, 1, in, "null"), -EPERM));
	in.mode = S_IFBLK | 0600;
	cr_assert(eq(int, CALL_NAME(FUSE_MKNOD, 1, in, "disk"), -EPERM));
	cr_assert(eq(int, lstat(host("share/null"), &st), -1));
	cr_assert(zero(int, CALL_NAME(FUSE_MKDIR, 1, dir, "d")));
	cr_assert(eq(u32, entry().attr.mode, S_IFDIR | 01770));
	cr_assert(eq(int, CALL_NAME(FUSE_MKDIR, 1, dir, "d"), -EEXIST));
	cr_assert(zero(int, CALL_TEXT(FUSE_SYMLINK, 1, "l\0/any/where")));
	cr_assert(eq(u32, entry().attr.mode, S_IFLNK | 0777));
	cr_assert(zero(int, call_text(FUSE_READLINK, entry().nodeid, "", 0)));
	cr_assert(eq(sz, fs.reply_len, 10));
	cr_assert(zero(int, memcmp(fs.reply, "/any/where", 10)));
	cr_assert(eq(int, call_text(FUSE_READLINK, 1, "", 0), -EINVAL));
}

Test(fs, links_and_names_are_made_and_removed)
{
	struct fuse_link_in in;
	const char *dead = "gone";

	host_write(host("share/f"), "hello");
	cr_assert(zero(int, mkdir(host("share/d"), 0700)));
	in.oldnodeid = node_of(1, "f");
	cr_assert(zero(int, CALL_NAME(FUSE_LINK, 1, in, "g")));
	cr_assert(eq(u64, entry().nodeid, in.oldnodeid));
	cr_assert(eq(u32, entry().attr.nlink, 2));
	cr_assert(eq(int, CALL_NAME(FUSE_LINK, 1, in, "g"), -EEXIST));
	cr_assert(zero(int, CALL_TEXT(FUSE_UNLINK, 1, "f")));
	cr_assert(host_has(host("share/g"), "hello"));
	cr_assert(eq(int, call_text(FUSE_UNLINK, 1, dead, 5), -ENOENT));
	cr_assert(eq(int, CALL_TEXT(FUSE_UNLINK, 1, "d"), -EISDIR));
	cr_assert(eq(int, CALL_TEXT(FUSE_RMDIR, 1, "g"), -ENOTDIR));
	cr_assert(zero(int, CALL_TEXT(FUSE_RMDIR, 1, "d")));
	in.oldnodeid = 999;
	cr_assert(eq(int, CALL_NAME(FUSE_LINK, 1, in, "h"), -ESTALE));
}

/* A symlink itself gets another name, not what it points at. */
Test(fs, link_to_a_symlink_is_one_to_it)
{
	struct fuse_link_in in;
	struct stat st;

	cr_assert(zero(int, symlink("../outside/secret", host("share/l"))));
	in.oldnodeid = node_of(1, "l");
	cr_assert(zero(int, CALL_NAME(FUSE_LINK, 1, in, "m")));
	cr_assert(zero(int, lstat(host("share/m"), &st)));
	cr_assert(eq(uint, st.st_mode & S_IFMT, S_IFLNK));
	cr_assert(zero(int, stat(host("outside/secret"), &st)));
	cr_assert(eq(uint, st.st_nlink, 1));
}

static int rename2_(uint64_t from, uint64_t to, uint32_t flags,
		    const char *names, size_t len)
{
	const struct fuse_rename2_in in = { .newdir = to, .flags = flags };

	return call(&(struct req){ .opcode = FUSE_RENAME2,
				   .node = from,
				   .arg = &in,
				   .arg_len = sizeof(in),
				   .more = names,
				   .more_len = len });
}

Test(fs, rename_in_all_its_forms)
{
	struct {
		struct fuse_rename_in in;
		char names[8];
	} old = { .in.newdir = 1, .names = "a\0b" };
	uint64_t d;

	host_write(host("share/a"), "A");
	cr_assert(zero(int, mkdir(host("share/d"), 0700)));
	d = node_of(1, "d");
	cr_assert(zero(int, CALL(FUSE_RENAME, 1, old)));
	cr_assert(host_has(host("share/b"), "A"));
	cr_assert(zero(int, rename2_(1, d, 0, "b\0c", 4)));
	cr_assert(host_has(host("share/d/c"), "A"));
	host_write(host("share/x"), "X");
	cr_assert(
		eq(int, rename2_(1, d, RENAME_NOREPLACE, "x\0c", 4), -EEXIST));
	cr_assert(zero(int, rename2_(1, d, RENAME_EXCHANGE, "x\0c", 4)));
	cr_assert(host_has(host("share/d/c"), "X"));
	cr_assert(host_has(host("share/x"), "A"));
	cr_assert(eq(int, rename2_(1, d, 8, "x\0c", 4), -EINVAL));
	cr_assert(eq(int, rename2_(1, 77, 0, "x\0c", 4), -ESTALE));
	cr_assert(
		eq(int, rename2_(1, node_of(1, "x"), 0, "x\0c", 4), -ENOTDIR));
	/* The second name does not end, or is missing. */
	cr_assert(eq(int, rename2_(1, d, 0, "x\0c", 3), -EINVAL));
	cr_assert(eq(int, rename2_(1, d, 0, "x\0", 2), -EINVAL));
}

/* As root each file is made by and for its caller. */
Test(fs, new_files_belong_to_the_caller_where_that_can_be)
{
	const struct fuse_mkdir_in in = { .mode = 0700 };
	const uint32_t uid = geteuid() ? geteuid() : 12345;
	const uint32_t gid = geteuid() ? getegid() : 23456;
	struct stat st;

	cr_assert(eq(int, fs_of()->act_as_caller, geteuid() == 0));
	/* The share is ours alone: the caller has no right to it by itself. */
	cr_assert(zero(int, chmod(fs.share, 0700)));
	cr_assert(zero(int, call(&(struct req){ .opcode = FUSE_MKDIR,
						.node = 1,
						.arg = &in,
						.arg_len = sizeof(in),
						.more = "d",
						.more_len = 2,
						.uid = uid,
						.gid = gid })));
	cr_assert(eq(u32, entry().attr.uid, uid));
	cr_assert(eq(u32, entry().attr.gid, gid));
	cr_assert(zero(int, stat(host("share/d"), &st)));
	cr_assert(eq(uint, st.st_uid, uid));
	/* And this process is itself again. */
	host_write(host("share/d/mine"), "");
	cr_assert(zero(int, stat(host("share/d/mine"), &st)));
	cr_assert(eq(uint, st.st_uid, geteuid()));
}
