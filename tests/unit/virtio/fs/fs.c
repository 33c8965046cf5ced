/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system device: session, nodes, names, attributes. */
#define _GNU_SOURCE
#include "tests/lib/fs_test.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

static struct fuse_init_out init_reply(void)
{
	struct fuse_init_out out;

	cr_assert(eq(sz, reply_len, sizeof(out)));
	memcpy(&out, reply, sizeof(out));
	return out;
}

/* ----------------------------------------------------------------- session */

Test(fs, init_agrees_on_what_both_have)
{
	const uint32_t always = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC |
				FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
				FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS |
				FUSE_MAX_PAGES | FUSE_SUBMOUNTS;
	const uint32_t never =
		FUSE_EXPORT_SUPPORT | FUSE_POSIX_ACL | FUSE_DONT_MASK |
		FUSE_NO_OPEN_SUPPORT | FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS |
		FUSE_FLOCK_LOCKS | FUSE_SETXATTR_EXT | FUSE_INIT_EXT;
	struct fuse_init_out out;

	cr_assert(zero(int, fuse_init(~0U)));
	out = init_reply();
	cr_assert(eq(u32, out.major, 7));
	cr_assert(ge(u32, out.minor, 31));
	cr_assert(eq(u32, out.flags & always, always));
	cr_assert(zero(u32, out.flags & never));
	cr_assert(eq(u32, out.max_write, FS_MAX_WRITE));
	cr_assert(eq(u32, out.max_pages * 4096U, FS_MAX_WRITE));
	cr_assert(eq(u32, out.time_gran, 1));
	cr_assert(eq(u32, out.max_readahead, 1 << 20));

	cr_assert(zero(int, fuse_init(FUSE_ASYNC_READ)));
	cr_assert(eq(u32, init_reply().flags, FUSE_ASYNC_READ));
}

Test(fs, words_add_what_is_optional)
{
	const uint32_t more =
		FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;

	fs_again("writeback", "locks");
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(eq(u32, init_reply().flags & more, more));
}

Test(fs, set_id_bits_are_killed_by_the_host)
{
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(ne(u32, init_reply().flags & FUSE_HANDLE_KILLPRIV_V2, 0));
	cr_assert(ne(u32, init_reply().flags & FUSE_HANDLE_KILLPRIV, 0));
	cr_assert(eq(int, fs_of()->keeps_suid, geteuid() == 0));
}

Test(fs, init_of_other_versions)
{
	struct fuse_init_in in = { .major = 8, .minor = 0 };
	uint32_t major;

	/* Newer: told what we speak; it tries again. */
	cr_assert(zero(int, CALL(FUSE_INIT, 0, in)));
	cr_assert(eq(sz, reply_len, 8));
	memcpy(&major, reply, sizeof(major));
	cr_assert(eq(u32, major, 7));
	in.major = 6;
	cr_assert(eq(int, CALL(FUSE_INIT, 0, in), -EPROTO));
	in = (struct fuse_init_in){ .major = 7, .minor = 30 };
	cr_assert(eq(int, CALL(FUSE_INIT, 0, in), -EPROTO));
}

Test(fs, nothing_works_before_init_and_after_destroy)
{
	const struct fuse_getattr_in in = { 0 };

	cr_assert(zero(int, CALL(FUSE_GETATTR, 1, in)));
	cr_assert(zero(int, call_text(FUSE_DESTROY, 0, "", 0)));
	cr_assert(eq(int, CALL(FUSE_GETATTR, 1, in), -ENOTCONN));
	cr_assert(eq(int, lookup(1, "x"), -ENOTCONN));
	cr_assert(zero(int, fuse_init(0)));
	cr_assert(zero(int, CALL(FUSE_GETATTR, 1, in)));
}

Test(fs, config_space_has_the_tag)
{
	uint8_t config[40];
	const uint32_t one = 1;

	cr_assert(front_get_config(&f, 0, config, sizeof(config)));
	cr_assert(zero(int, memcmp(config, "test\0\0\0\0", 8)));
	cr_assert(zero(int, memcmp(config + 36, &one, 4)));
}

Test(fs_words, wrong_ones_are_refused, .init = fs_setup, .fini = fs_teardown,
     .timeout = 240)
{
	static const char *const wrong[] = {
		"cache=some",	    "timeout=",	   "timeout=1x", "timeout=-1",
		"max_fds=99999999", "writeback=1", "tag=",	 "ro"
	};
	char path[80], tag[] = "tag=x";

	(void)snprintf(path, sizeof(path), "path=%s", share);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char word[32];
		char *const args[] = { path, tag, word, NULL };
		struct virtio_dev *d = NULL;

		(void)snprintf(word, sizeof(word), "%s", wrong[i]);
		cr_assert(lt(int,
			     virtio_fs_ops.create(&f.loop, args, virtio_no_fds,
						  &d),
			     0),
			  "%s", wrong[i]);
		cr_assert(d == NULL);
	}
	for (int i = 0; i < 2; i++) {
		char none[] = "path=/nonexistent";
		char file[96];
		char *const args[] = { i ? none : file, tag, NULL };
		struct virtio_dev *d = NULL;

		(void)snprintf(file, sizeof(file), "path=%s/secret", outside);
		cr_assert(lt(
			int,
			virtio_fs_ops.create(&f.loop, args, virtio_no_fds, &d),
			0));
	}
}

/* --------------------------------------------------------------- malformed */

Test(fs, unknown_operations_are_enosys)
{
	static const uint32_t unknown[] = {
		0,	    7,	       FUSE_BMAP,
		FUSE_IOCTL, FUSE_POLL, FUSE_SETUPMAPPING,
		52,	    4096,      FUSE_INIT_BSWAP_RESERVED,
		UINT32_MAX
	};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		cr_assert(eq(int, call_text(unknown[i], 1, "", 0), -ENOSYS),
			  "%u", unknown[i]);
}

static bool has_reply(uint32_t op)
{
	return op != FUSE_FORGET && op != FUSE_BATCH_FORGET &&
	       op != FUSE_INTERRUPT;
}

/* Every operation, with nothing, zeroes and ones behind the header. */
Test(fs, garbage_is_answered_by_an_error)
{
	static uint8_t bytes[8192];

	for (int fill = 0; fill < 3; fill++) {
		memset(bytes, fill == 2 ? 0xff : 0, sizeof(bytes));
		for (uint32_t op = 1; op < 64; op++) {
			const struct req r = { .opcode = op,
					       .node = fill == 1 ? 1 : ~0ULL,
					       .arg = bytes,
					       .arg_len = fill ? 8192 : 0 };
			int error = 0;

			if (has_reply(op) && op != FUSE_DESTROY)
				error = call(&r);
			else if (op != FUSE_DESTROY)
				tell(&r);
			cr_assert(le(int, error, 0));
		}
	}
	cr_assert(zero(int, fuse_init(0)));
	host_write(host("share/still"), "here");
	(void)node_of(1, "still");
}

Test(fs, requests_cut_short_are_einval_or_worse)
{
	static uint8_t bytes[256];

	for (uint32_t op = 1; op < 52; op++) {
		if (!has_reply(op) || op == FUSE_DESTROY)
			continue;
		for (size_t len = 0; len < 8; len++) {
			int r = call(&(struct req){ .opcode = op,
						    .node = 1,
						    .arg = bytes,
						    .arg_len = len });

			/* These want no argument. */
			if (op == FUSE_STATFS || op == FUSE_SYNCFS)
				cr_assert(zero(int, r));
			else
				cr_assert(lt(int, r, 0), "op %u len %zu", op,
					  len);
		}
	}
}

Test(fs, length_in_the_header_has_to_be_true)
{
	const struct guest_buf bufs[] = { { out_gpa, 80, false },
					  { in_gpa, 512, true } };
	struct fuse_in_header h = { .opcode = FUSE_LOOKUP, .nodeid = 1 };
	static const uint32_t lens[] = { 0, 39, 40, 79, 81, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		h.unique = ++unique;
		h.len = lens[i];
		memcpy(guest_ptr(&f.g, out_gpa), &h, sizeof(h));
		cr_assert(
			eq(int,
			   reply_take(front_wait_used(
				   &f, REQUESTS,
				   guest_ring_add(&f.ring[REQUESTS], bufs, 2))),
			   -EINVAL));
	}
}

Test(fs, less_than_a_header_is_einval)
{
	const struct guest_buf bufs[] = { { out_gpa, 39, false },
					  { in_gpa, 16, true } };
	struct fuse_out_header h;

	cr_assert(
		eq(u32,
		   front_wait_used(&f, REQUESTS,
				   guest_ring_add(&f.ring[REQUESTS], bufs, 2)),
		   16));
	memcpy(&h, guest_ptr(&f.g, in_gpa), sizeof(h));
	cr_assert(eq(int, h.error, -EINVAL));
}

Test(fs, no_room_for_a_reply_breaks_the_ring)
{
	const struct req r = { .opcode = FUSE_STATFS, .node = 1 };
	const struct guest_buf bufs[] = { { out_gpa, req_write(&r), false },
					  { in_gpa, 15, true } };

	(void)guest_ring_add(&f.ring[REQUESTS], bufs, 2);
	guest_ring_kick(&f.ring[REQUESTS]);
	front_wait_fd(&f, f.ring[REQUESTS].err_fd);
	/* After that of the fixture. */
	cr_assert(eq(u16, f.ring[REQUESTS].used->idx, 2));
	cr_assert(zero(u32, f.ring[REQUESTS].used->ring[1].len));
}

/* Nothing is left behind that nobody could give back. */
Test(fs, a_reply_that_does_not_fit_is_einval_and_has_no_effect)
{
	static const uint32_t ops_[] = { FUSE_LOOKUP, FUSE_OPEN, FUSE_OPENDIR,
					 FUSE_GETATTR, FUSE_STATFS };
	static uint8_t bytes[64] = "f";
	uint64_t nodes[] = { 1, 0, 1, 1, 1 };

	host_write(host("share/f"), "x");
	nodes[1] = node_of(1, "f");
	for (size_t i = 0; i < ARRAY_SIZE(ops_); i++) {
		uint32_t fds = fs_of()->fds;
		uint8_t zero[64] = { 0 };
		int r = call(&(struct req){
			.opcode = ops_[i],
			.node = nodes[i],
			.arg = ops_[i] == FUSE_LOOKUP ? bytes : zero,
			.arg_len = 64,
			.room = 1 });

		cr_assert(eq(int, r, -EINVAL), "%u", ops_[i]);
		cr_assert(eq(u32, fs_of()->fds, fds));
	}
	forget(nodes[1], 1);
	cr_assert(fs_node_find(fs_of(), nodes[1]) == NULL);
}

/* ------------------------------------------------------------------ lookup */

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

/* A request longer than any driver's, whatever it asks for. */
Test(fs, a_request_without_end_is_einval)
{
	const struct fuse_write_in in = { .fh = 1, .size = 16 };

	cr_assert(eq(int,
		     call(&(struct req){ .opcode = FUSE_WRITE,
					 .arg = &in,
					 .arg_len = sizeof(in),
					 .more = guest_ptr(&f.g, in_gpa),
					 .more_len = FS_REQUEST_MAX }),
		     -EINVAL));
	cr_assert(eq(int,
		     call(&(struct req){ .opcode = FUSE_WRITE,
					 .arg = &in,
					 .arg_len = sizeof(in),
					 .more = "0123456789abcdef",
					 .more_len = 16 }),
		     -EBADF));
}

/* A turn is bounded by what is moved, not by the number of requests. */
Test(fs, a_turn_moves_so_many_bytes)
{
	const struct req r = { .opcode = FUSE_STATFS, .node = 1 };
	const struct guest_buf bufs[] = { { out_gpa, req_write(&r), false },
					  { in_gpa, 1 << 20, true } };
	struct guest_ring *ring = &f.ring[REQUESTS];
	const uint16_t before = ring->used->idx;
	const unsigned int n = 20;
	unsigned int done = 0;
	uint16_t head;
	uint32_t len;

	for (unsigned int i = 0; i < n; i++)
		(void)guest_ring_add(ring, bufs, 2);
	guest_ring_kick(ring);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(le(int, ring->used->idx - before, FS_TURN_BYTES >> 20));
	front_settle(&f);
	while (guest_ring_reap(ring, &head, &len))
		done++;
	cr_assert(eq(uint, done, n));
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
	memcpy(&out, reply, sizeof(out));
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
	memcpy(&out, reply, sizeof(out));
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

	cr_assert(zero(int, statvfs(share, &st)));
	cr_assert(zero(int, call_text(FUSE_STATFS, 1, "", 0)));
	memcpy(&out, reply, sizeof(out));
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
	cr_assert(eq(sz, reply_len, 3));
	cr_assert(zero(int, memcmp(reply, "one", 3)));
	cr_assert(zero(int, getxattr_(id, "user.a", 0)));
	memcpy(&size, reply, sizeof(size));
	cr_assert(eq(u32, size, 3));
	cr_assert(eq(int, getxattr_(id, "user.a", 2), -ERANGE));
	cr_assert(eq(int, getxattr_(id, "user.b", 2), -ENODATA));
	cr_assert(zero(int, CALL(FUSE_LISTXATTR, id, in)));
	cr_assert(eq(sz, reply_len, 7));
	cr_assert(zero(int, memcmp(reply, "user.a", 7)));
	cr_assert(zero(int, CALL_TEXT(FUSE_REMOVEXATTR, id, "user.a")));
	cr_assert(zero(int, CALL(FUSE_LISTXATTR, id, in)));
	cr_assert(zero(sz, reply_len));
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

/* ------------------------------------------------------------------- names */

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
	cr_assert(eq(sz, reply_len, 10));
	cr_assert(zero(int, memcmp(reply, "/any/where", 10)));
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
	cr_assert(zero(int, chmod(share, 0700)));
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

/* ------------------------------------------------- what outlasts what */

Test(fs, handles_and_nodes_survive_a_stop)
{
	uint64_t id, fh;

	host_write(host("share/f"), "before");
	id = node_of(1, "f");
	fh = handle_of(id, O_RDWR);
	cr_assert(zero(int, unlink(host("share/f"))));
	for (int i = 0; i < 5; i++) {
		for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
			cr_assert(eq(u16, front_stop(&f, q),
				     f.ring[q].used->idx));
		cr_assert(not(dev->started));
		front_start_all(&f, FS_NR_QUEUES);
		cr_assert(reads(fh, 0, "before"));
	}
	cr_assert(eq(int, fuse_write(fh, 6, "+after", 6, 0), 6));
	cr_assert(reads(fh, 0, "before+after"));
}

static void reset_device(void)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		front_ring_reset(&f, q);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&f, FS_NR_QUEUES);
}

Test(fs, the_next_init_ends_the_session)
{
	uint64_t id, fh;
	uint32_t fds = fs_of()->fds;

	host_write(host("share/f"), "text");
	id = node_of(1, "f");
	fh = handle_of(id, O_RDONLY);
	reset_device();
	cr_assert(reads(fh, 0, "text"));
	cr_assert(zero(int, fuse_init(0)));
	cr_assert(eq(u32, fs_of()->fds, fds));
	cr_assert(eq(int, fuse_read(fh, 0, 10), -EBADF));
	cr_assert(eq(int, lookup(id, "x"), -ESTALE));
	cr_assert(ne(u64, node_of(1, "f"), id));
}

Test(fs, destroy_closes_everything)
{
	uint32_t fds = fs_of()->fds;
	uint64_t id;

	host_write(host("share/f"), "text");
	id = node_of(1, "f");
	for (int i = 0; i < 300; i++)
		(void)handle_of(id, O_RDONLY);
	cr_assert(eq(u32, fs_of()->fds, fds + 301));
	cr_assert(zero(int, call_text(FUSE_DESTROY, 0, "", 0)));
	cr_assert(eq(u32, fs_of()->fds, fds));
}

Test(fs, many_requests_at_once_are_all_answered_over_several_turns)
{
	const struct req r = { .opcode = FUSE_STATFS, .node = 1 };
	const struct guest_buf bufs[] = { { out_gpa, req_write(&r), false },
					  { in_gpa, 65536, true } };
	unsigned int done = 0;
	uint16_t head;
	uint32_t len;

	for (int i = 0; i < 200; i++)
		(void)guest_ring_add(&f.ring[REQUESTS], bufs, 2);
	guest_ring_kick(&f.ring[REQUESTS]);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(lt(u16, f.ring[REQUESTS].used->idx, 200));
	front_settle(&f);
	while (guest_ring_reap(&f.ring[REQUESTS], &head, &len)) {
		cr_assert(eq(u32, len, 16 + sizeof(struct fuse_statfs_out)));
		done++;
	}
	cr_assert(eq(uint, done, 200));
}
