/* SPDX-License-Identifier: BSD-3-Clause */
/* Listing directories. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs_dir, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

struct seen {
	unsigned int names, dots, with_node;
	uint64_t last_off;
	uint64_t sum; /* of the numbers in the names */
};

static uint64_t opendir_(uint64_t node)
{
	const struct fuse_open_in in = { 0 };
	struct fuse_open_out out;

	cr_assert(zero(int, CALL(FUSE_OPENDIR, node, in)));
	memcpy(&out, fs.reply, sizeof(out));
	return out.fh;
}

static int readdir_(uint32_t op, uint64_t node, uint64_t fh, uint64_t off,
		    uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh,
					 .offset = off,
					 .size = size };

	return call(&(struct req){ .opcode = op,
				   .node = node,
				   .arg = &in,
				   .arg_len = sizeof(in),
				   .room = size });
}

/* Takes the entries of one reply apart. */
static void see(struct seen *s, bool plus)
{
	for (size_t at = 0; at < fs.reply_len;) {
		const uint8_t *p = fs.reply + at;
		struct fuse_entry_out e = { 0 };
		struct fuse_dirent d;
		const char *name;

		if (plus) {
			memcpy(&e, p, sizeof(e));
			p += sizeof(e);
		}
		memcpy(&d, p, sizeof(d));
		name = (const char *)p + sizeof(d);
		at += FUSE_DIRENT_ALIGN((plus ? sizeof(e) : 0) + sizeof(d) +
					d.namelen);
		cr_assert(le(sz, at, fs.reply_len));
		s->last_off = d.off;
		if (name[0] == '.') {
			cr_assert(zero(u64, e.nodeid));
			s->dots++;
			continue;
		}
		s->names++;
		s->sum += (uint64_t)strtoull(name + 1, NULL, 10);
		cr_assert(eq(uint, d.type, DT_REG));
		if (e.nodeid) {
			s->with_node++;
			cr_assert(eq(u64, e.attr.ino, d.ino));
		}
	}
}

static void list_all(uint32_t op, uint64_t node, uint32_t size,
		     struct seen *ret)
{
	uint64_t fh = opendir_(node);
	struct fuse_release_in rel = { .fh = fh };

	*ret = (struct seen){ 0 };
	do {
		cr_assert(
			zero(int, readdir_(op, node, fh, ret->last_off, size)));
		cr_assert(le(sz, fs.reply_len, size));
		see(ret, op == FUSE_READDIRPLUS);
	} while (fs.reply_len > 0);
	cr_assert(zero(int, CALL(FUSE_RELEASEDIR, node, rel)));
}

static void make_files(const char *dir, unsigned int n)
{
	cr_assert(zero(int, mkdir(host("share/%s", dir), 0755)));
	for (unsigned int i = 0; i < n; i++) {
		int fd = open(host("share/%s/f%u", dir, i),
			      O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		cr_assert(ge(int, fd, 0));
		(void)close(fd);
	}
}

Test(fs_dir, a_directory_of_100000_is_listed_once_each)
{
	const uint64_t n = 100000;
	struct seen s;

	make_files("d", (unsigned int)n);
	list_all(FUSE_READDIR, node_of(1, "d"), 4096, &s);
	cr_assert(eq(uint, s.names, n));
	cr_assert(eq(u64, s.sum, n * (n - 1) / 2));
	cr_assert(eq(uint, s.dots, 2));
}

Test(fs_dir, readdirplus_gives_nodes_that_count)
{
	uint32_t fds;
	struct seen s;
	uint64_t dir;

	make_files("d", 500);
	dir = node_of(1, "d");
	fds = fs_of()->fds;
	list_all(FUSE_READDIRPLUS, dir, 4096, &s);
	cr_assert(eq(uint, s.names, 500));
	cr_assert(eq(uint, s.with_node, 500));
	cr_assert(eq(uint, s.dots, 2));
	cr_assert(eq(u64, s.sum, 500 * 499 / 2));
	cr_assert(eq(u32, fs_of()->fds, fds + 500));
	/* Each entry was a lookup: one reference. */
	forget(node_of(dir, "f7"), 1);
	cr_assert(eq(u32, fs_of()->fds, fds + 500));
	forget(node_of(dir, "f7"), 2);
	cr_assert(eq(u32, fs_of()->fds, fds + 499));
}

Test(fs_dir, readdirplus_beyond_the_limit_is_names_only)
{
	struct seen s;

	fs_again("max_fds=10", "");
	cr_assert(zero(int, fuse_init(0)));
	make_files("d", 50);
	list_all(FUSE_READDIRPLUS, node_of(1, "d"), 8192, &s);
	cr_assert(eq(uint, s.names, 50));
	cr_assert(eq(u64, s.sum, 50 * 49 / 2));
	cr_assert(eq(uint, s.with_node, 3));
}

Test(fs_dir, listing_with_odd_sizes_and_offsets)
{
	uint64_t dir, fh;
	struct seen s;

	make_files("d", 100);
	dir = node_of(1, "d");
	/* Room for one entry at a time. */
	list_all(FUSE_READDIR, dir, 40, &s);
	cr_assert(eq(uint, s.names, 100));
	list_all(FUSE_READDIRPLUS, dir, 200, &s);
	cr_assert(eq(uint, s.names, 100));
	fh = opendir_(dir);
	/* Not even one: an error, as nothing would be the end. */
	cr_assert(eq(int, readdir_(FUSE_READDIR, dir, fh, 0, 16), -EINVAL));
	cr_assert(
		eq(int, readdir_(FUSE_READDIR, dir, fh, ~0ULL, 4096), -EINVAL));
	cr_assert(le(int, readdir_(FUSE_READDIR, dir, fh, 0x123456, 4096), 0));
	cr_assert(le(int, readdir_(FUSE_READDIR, dir, fh, INT64_MAX, 4096), 0));
	cr_assert(zero(int, readdir_(FUSE_READDIR, dir, fh, 0, 4096)));
	cr_assert(eq(int, readdir_(FUSE_READDIR, 1, 0, 0, 4096), -EBADF));
}
