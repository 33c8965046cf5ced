/* SPDX-License-Identifier: BSD-3-Clause */
/* Attributes and extended attributes of files. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

/* -------------------------------------------------------------- attributes */

static int setattr(uint64_t node, struct fuse_setattr_in in)
{
	return CALL(FUSE_SETATTR, node, in);
}

Test(fs, setattr_sets_what_it_is_told)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 0640 };
	struct fuse_attr_out out;
	struct stat st;
	uint64_t id;

	host_write(host("share/f"), "hello");
	id = node_of(1, "f");
	cr_assert(zero(int, setattr(id, in)));
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(eq(u32, out.attr.mode, S_IFREG | 0640));
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 3 };
	cr_assert(zero(int, setattr(id, in)));
	cr_assert(host_has(host("share/f"), "hel"));
	in = (struct fuse_setattr_in){ .valid = FATTR_ATIME | FATTR_MTIME,
				       .atime = 1000,
				       .atimensec = 7,
				       .mtime = 2000 };
	cr_assert(zero(int, setattr(id, in)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(long, st.st_atim.tv_sec, 1000));
	cr_assert(eq(long, st.st_atim.tv_nsec, 7));
	cr_assert(eq(long, st.st_mtim.tv_sec, 2000));
	in = (struct fuse_setattr_in){ .valid = FATTR_MTIME_NOW };
	cr_assert(zero(int, setattr(id, in)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(long, st.st_atim.tv_sec, 1000));
	cr_assert(gt(long, st.st_mtim.tv_sec, 1000000));
	in = (struct fuse_setattr_in){ .valid = FATTR_UID | FATTR_GID,
				       .uid = geteuid(),
				       .gid = getegid() };
	cr_assert(zero(int, setattr(id, in)));
}

Test(fs, setattr_refuses_what_makes_no_sense)
{
	struct fuse_setattr_in in = { .valid = FATTR_SIZE };

	cr_assert(eq(int, setattr(1, in), -EISDIR));
	host_write(host("share/f"), "hello");
	cr_assert(zero(int, mkfifo(host("share/p"), 0600)));
	cr_assert(zero(int, symlink("f", host("share/l"))));
	cr_assert(eq(int, setattr(node_of(1, "p"), in), -EINVAL));
	cr_assert(eq(int, setattr(node_of(1, "l"), in), -EINVAL));
	cr_assert(host_has(host("share/f"), "hello"));
	in.size = 1ULL << 63;
	cr_assert(eq(int, setattr(node_of(1, "f"), in), -EINVAL));
	in = (struct fuse_setattr_in){ .valid = FATTR_MTIME,
				       .mtimensec = UTIME_NOW };
	cr_assert(eq(int, setattr(node_of(1, "f"), in), -EINVAL));
	in = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 0600 };
	cr_assert(eq(int, setattr(node_of(1, "l"), in), -EOPNOTSUPP));
}

Test(fs, times_of_a_symlink_are_its_own)
{
	const struct fuse_setattr_in in = { .valid = FATTR_MTIME,
					    .mtime = 1234 };
	struct stat st;

	cr_assert(zero(int, symlink("../outside/secret", host("share/l"))));
	cr_assert(zero(int, setattr(node_of(1, "l"), in)));
	cr_assert(zero(int, lstat(host("share/l"), &st)));
	cr_assert(eq(long, st.st_mtim.tv_sec, 1234));
	cr_assert(zero(int, stat(host("outside/secret"), &st)));
	cr_assert(ne(long, st.st_mtim.tv_sec, 1234));
}

Test(fs, getattr_by_handle_also_of_a_removed_file)
{
	struct fuse_getattr_in in = { .getattr_flags = FUSE_GETATTR_FH };
	struct fuse_attr_out out;
	uint64_t id;

	host_write(host("share/f"), "hello");
	id = node_of(1, "f");
	in.fh = handle_of(id, O_RDONLY);
	cr_assert(zero(int, unlink(host("share/f"))));
	cr_assert(zero(int, CALL(FUSE_GETATTR, id, in)));
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(zero(u32, out.attr.nlink));
	cr_assert(eq(u64, out.attr.size, 5));
	cr_assert(reads(in.fh, 0, "hello"));
	in = (struct fuse_getattr_in){ 0 };
	cr_assert(zero(int, CALL(FUSE_GETATTR, id, in)));
}

Test(fs, statfs_is_the_hosts)
{
	struct fuse_statfs_out out;
	struct statvfs st;

	cr_assert(zero(int, statvfs(fs.share, &st)));
	cr_assert(zero(int, call_text(FUSE_STATFS, 1, "", 0)));
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(eq(u64, out.st.blocks, st.f_blocks));
	cr_assert(eq(u64, out.st.frsize, st.f_frsize));
	cr_assert(eq(u32, out.st.namelen, 255));
}

Test(fs, access_is_this_processes)
{
	struct fuse_access_in in = { .mask = R_OK | W_OK | X_OK };

	cr_assert(zero(int, CALL(FUSE_ACCESS, 1, in)));
	host_write(host("share/f"), "");
	cr_assert(eq(int, CALL(FUSE_ACCESS, node_of(1, "f"), in), -EACCES));
	in.mask = 8;
	cr_assert(eq(int, CALL(FUSE_ACCESS, 1, in), -EINVAL));
}

/* ------------------------------------------------------------------- xattr */

static int setxattr_(uint64_t node, const char *name, const char *value,
		     uint32_t flags)
{
	struct {
		uint32_t size, flags;
		char text[256];
	} a = { .size = (uint32_t)strlen(value), .flags = flags };
	int n = snprintf(a.text, sizeof(a.text), "%s", name) + 1;

	memcpy(a.text + n, value, a.size);
	return call(&(struct req){ .opcode = FUSE_SETXATTR,
				   .node = node,
				   .arg = &a,
				   .arg_len = 8 + (size_t)n + a.size });
}

static int getxattr_(uint64_t node, const char *name, uint32_t size)
{
	const struct fuse_getxattr_in in = { .size = size };

	return CALL_NAME(FUSE_GETXATTR, node, in, name);
}

Test(fs, user_xattrs_are_set_listed_and_removed)
{
	struct fuse_getxattr_in in = { .size = 4096 };
	uint64_t id;
	uint32_t size;

	host_write(host("share/f"), "");
	id = node_of(1, "f");
	cr_assert(zero(int, setxattr_(id, "user.a", "one", 0)));
	cr_assert(
		eq(int, setxattr_(id, "user.a", "two", XATTR_CREATE), -EEXIST));
	cr_assert(
		eq(int, setxattr_(id, "user.b", "x", XATTR_REPLACE), -ENODATA));
	cr_assert(zero(int, getxattr_(id, "user.a", 4096)));
	cr_assert(eq(sz, fs.reply_len, 3));
	cr_assert(zero(int, memcmp(fs.reply, "one", 3)));
	cr_assert(zero(int, getxattr_(id, "user.a", 0)));
	memcpy(&size, fs.reply, sizeof(size));
	cr_assert(eq(u32, size, 3));
	cr_assert(eq(int, getxattr_(id, "user.a", 2), -ERANGE));
	cr_assert(eq(int, getxattr_(id, "user.b", 2), -ENODATA));
	cr_assert(zero(int, CALL(FUSE_LISTXATTR, id, in)));
	cr_assert(eq(sz, fs.reply_len, 7));
	cr_assert(zero(int, memcmp(fs.reply, "user.a", 7)));
	cr_assert(zero(int, CALL_TEXT(FUSE_REMOVEXATTR, id, "user.a")));
	cr_assert(zero(int, CALL(FUSE_LISTXATTR, id, in)));
	cr_assert(zero(sz, fs.reply_len));
}

Test(fs, other_xattrs_are_no_business_of_a_guest)
{
	static const char *const names[] = { "security.capability",
					     "security.selinux",
					     "trusted.overlay.opaque",
					     "system.posix_acl_access",
					     "system.posix_acl_default",
					     "user",
					     "" };
	uint64_t id;

	host_write(host("share/f"), "");
	id = node_of(1, "f");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_assert(
			eq(int, setxattr_(id, names[i], "x", 0), -EOPNOTSUPP));
		cr_assert(eq(int, getxattr_(id, names[i], 100), -EOPNOTSUPP));
		cr_assert(eq(int,
			     call_text(FUSE_REMOVEXATTR, id, names[i],
				       strlen(names[i]) + 1),
			     -EOPNOTSUPP));
	}
}

Test(fs, malformed_xattrs_are_refused)
{
	struct {
		uint32_t size, flags;
		char text[16];
	} a = { .size = 100, .text = "user.a\0value" };
	uint64_t id;

	host_write(host("share/f"), "");
	id = node_of(1, "f");
	cr_assert(eq(int, CALL(FUSE_SETXATTR, id, a), -EINVAL));
	a.size = UINT32_MAX;
	cr_assert(eq(int, CALL(FUSE_SETXATTR, id, a), -EINVAL));
	a.size = 5;
	a.flags = 4;
	cr_assert(eq(int, CALL(FUSE_SETXATTR, id, a), -EINVAL));
	memset(a.text, 'x', sizeof(a.text));
	cr_assert(eq(int, CALL(FUSE_SETXATTR, id, a), -EINVAL));
	cr_assert(eq(int, CALL(FUSE_GETXATTR, id, a), -EINVAL));
}
