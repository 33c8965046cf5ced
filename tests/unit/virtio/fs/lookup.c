/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes of the file system device: looked up, counted, forgotten. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

Test(fs, lookup_finds_what_is_there)
{
	struct fuse_entry_out e;
	struct stat st;

	host_write(host("share/f"), "hello");
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(zero(int, lookup(1, "f")));
	e = entry();
	cr_assert(gt(u64, e.nodeid, 1));
	cr_assert(eq(u64, e.attr.ino, st.st_ino));
	cr_assert(eq(u64, e.attr.size, 5));
	cr_assert(eq(u32, e.attr.mode, S_IFREG | 0644));
	cr_assert(eq(u32, e.attr.nlink, 1));
	cr_assert(eq(u32, e.attr.uid, geteuid()));
	cr_assert(eq(u64, e.attr.mtime, st.st_mtim.tv_sec));
	cr_assert(eq(u32, e.attr.mtimensec, st.st_mtim.tv_nsec));
	cr_assert(eq(u64, e.entry_valid, FS_TIMEOUT_S));
	cr_assert(eq(u64, e.attr_valid, FS_TIMEOUT_S));
	/* The same file is the same node, by whatever name. */
	cr_assert(zero(int, link(host("share/f"), host("share/g"))));
	cr_assert(eq(u64, node_of(1, "g"), e.nodeid));
	cr_assert(eq(int, lookup(1, "none"), -ENOENT));
	cr_assert(eq(int, lookup(e.nodeid, "x"), -ENOTDIR));
	cr_assert(eq(int, lookup(0, "f"), -ESTALE));
	cr_assert(eq(int, lookup(e.nodeid + 1, "f"), -ESTALE));
	cr_assert(eq(int, lookup(~0ULL, "f"), -ESTALE));
}

Test(fs, cache_never_lets_nothing_be_kept)
{
	fs_again("cache=never", "");
	cr_assert(zero(int, fuse_init(0)));
	host_write(host("share/f"), "hello");
	cr_assert(zero(int, lookup(1, "f")));
	cr_assert(zero(u64, entry().entry_valid));
	cr_assert(zero(u64, entry().attr_valid));
}

Test(fs, forgotten_nodes_are_gone_and_their_ids_not_used_again)
{
	uint64_t id, other;
	uint32_t fds;

	host_write(host("share/f"), "x");
	host_write(host("share/g"), "x");
	fds = fs_of()->fds;
	id = node_of(1, "f");
	(void)node_of(1, "f");
	forget(id, 1);
	cr_assert(fs_node_find(fs_of(), id) != NULL);
	forget(id, 1);
	cr_assert(fs_node_find(fs_of(), id) == NULL);
	cr_assert(eq(u32, fs_of()->fds, fds));
	other = node_of(1, "g");
	cr_assert(ne(u64, other, id));
	cr_assert(eq(int, lookup(id, "x"), -ESTALE));
	/* More than there are; of nothing; of the root. */
	forget(other, ~0ULL);
	forget(other, 1);
	forget(1, ~0ULL);
	(void)node_of(1, "g");
}

Test(fs, forgets_come_by_the_hundred)
{
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[200];
	} b = { .in.count = 1000 };
	uint32_t fds = fs_of()->fds;

	for (int i = 0; i < 200; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		host_write(host("share/%s", name), "");
		b.one[i] = (struct fuse_forget_one){ node_of(1, name), 1 };
	}
	cr_assert(eq(u32, fs_of()->fds, fds + 200));
	/* It says 1000 and has 200. */
	tell(&(struct req){
		.opcode = FUSE_BATCH_FORGET, .arg = &b, .arg_len = sizeof(b) });
	cr_assert(eq(u32, fs_of()->fds, fds));
}

/* No driver's is longer than a page. */
Test(fs, a_forget_without_end_is_not_done)
{
	const uint32_t n = 100000;
	struct fuse_batch_forget_in in = { .count = n };
	struct fuse_forget_one *one = calloc(n, sizeof(*one));
	uint64_t id = (host_write(host("share/f"), ""), node_of(1, "f"));

	cr_assert(one != NULL);
	one[0] = one[n - 1] = (struct fuse_forget_one){ id, 1 };
	tell(&(struct req){ .opcode = FUSE_BATCH_FORGET,
			    .arg = &in,
			    .arg_len = sizeof(in),
			    .more = one,
			    .more_len = n * sizeof(*one) });
	free(one);
	cr_assert(ne(ptr, fs_node_find(fs_of(), id), NULL));
	in.count = 1;
	tell(&(struct req){ .opcode = FUSE_BATCH_FORGET,
			    .arg = &in,
			    .arg_len = sizeof(in),
			    .more = &(struct fuse_forget_one){ id, 1 },
			    .more_len = sizeof(struct fuse_forget_one) });
	cr_assert(eq(ptr, fs_node_find(fs_of(), id), NULL));
}

Test(fs, thousands_of_nodes_are_found_again)
{
	static uint64_t ids[3000];

	for (int i = 0; i < 3000; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		host_write(host("share/%s", name), "");
		ids[i] = node_of(1, name);
	}
	for (int i = 0; i < 3000; i += 7)
		forget(ids[i], 1);
	for (int i = 0; i < 3000; i++) {
		char name[16];
		uint64_t id;

		(void)snprintf(name, sizeof(name), "f%d", i);
		id = node_of(1, name);
		cr_assert(eq(int, id == ids[i], i % 7 != 0));
	}
}

Test(fs, a_guest_that_takes_more_than_there_is_gets_enfile)
{
	const struct fuse_open_in in = { 0 };
	uint64_t first = 0, fh;
	int i, r = 0;

	fs_again("max_fds=20", "");
	cr_assert(zero(int, fuse_init(0)));
	for (i = 0; i < 40; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		host_write(host("share/%s", name), "");
		r = lookup(1, name);
		if (r < 0)
			break;
		first = i ? first : entry().nodeid;
	}
	/* One of them is the root's. */
	cr_assert(eq(int, i, 19));
	cr_assert(eq(int, r, -ENFILE));
	cr_assert(eq(int, fuse_open(first, O_RDONLY, &fh), -ENFILE));
	cr_assert(eq(int, CALL(FUSE_OPENDIR, 1, in), -ENFILE));
	/* What it has works on, and what it gives back it can have again. */
	(void)node_of(1, "f0");
	forget(node_of(1, "f1"), 2);
	cr_assert(zero(int, fuse_open(first, O_RDONLY, &fh)));
}
