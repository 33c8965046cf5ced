/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system device: open files, directories, locks. */
#define _GNU_SOURCE
#include "tests/lib/fs_test.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/socket.h>

TestSuite(fs_file, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

#define GIB (1ULL << 30)

static int create(uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
		  uint64_t *ret_id, uint64_t *ret_fh)
{
	const struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	int r = CALL_NAME(FUSE_CREATE, dir, in, name);

	if (r < 0)
		return r;
	cr_assert(eq(sz, reply_len, sizeof(out)));
	memcpy(&out, reply, sizeof(out));
	*ret_id = out.e.nodeid;
	*ret_fh = out.o.fh;
	return 0;
}

/* A new file that is open. */
static uint64_t file(const char *name)
{
	uint64_t id, fh = 0;

	cr_assert(zero(int, create(1, name, O_RDWR, 0644, &id, &fh)));
	return fh;
}

/* ----------------------------------------------------------------- opening */

Test(fs_file, create_makes_opens_and_minds_o_excl)
{
	uint64_t id, again, fh = 0;
	struct stat st;

	cr_assert(zero(int, create(1, "f", O_RDWR | O_EXCL, 0640, &id, &fh)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(uint, st.st_mode, S_IFREG | 0640));
	cr_assert(eq(int, fuse_write(fh, 0, "text", 4, 0), 4));
	cr_assert(eq(int, create(1, "f", O_RDWR | O_EXCL, 0640, &again, &fh),
		     -EEXIST));
	cr_assert(zero(int, create(1, "f", O_RDWR, 0600, &again, &fh)));
	cr_assert(eq(u64, again, id));
	cr_assert(reads(fh, 0, "text"));
	cr_assert(
		zero(int, create(1, "f", O_RDWR | O_TRUNC, 0600, &again, &fh)));
	cr_assert(reads(fh, 0, ""));
}

/* To open a FIFO would wait for its other end, and stop the device. */
Test(fs_file, what_is_no_file_is_not_opened)
{
	uint64_t id, fh = 0;

	cr_assert(zero(int, mkfifo(host("share/p"), 0666)));
	cr_assert(zero(int, symlink("../outside/secret", host("share/l"))));
	cr_assert(zero(int, mkdir(host("share/d"), 0777)));
	cr_assert(eq(int, fuse_open(node_of(1, "p"), O_WRONLY, &fh), -ENXIO));
	cr_assert(eq(int, fuse_open(node_of(1, "p"), O_RDONLY, &fh), -ENXIO));
	cr_assert(eq(int, fuse_open(node_of(1, "l"), O_RDONLY, &fh), -ELOOP));
	cr_assert(eq(int, fuse_open(node_of(1, "d"), O_RDONLY, &fh), -EISDIR));
	cr_assert(eq(int, create(1, "p", O_RDWR, 0600, &id, &fh), -ENXIO));
	cr_assert(eq(int, create(1, "l", O_RDWR, 0600, &id, &fh), -ELOOP));
	cr_assert(eq(int, create(1, "d", O_RDWR, 0600, &id, &fh), -EISDIR));
	cr_assert(host_has(host("outside/secret"), "secret"));
}

Test(fs_file, rights_of_a_handle_are_those_it_was_opened_with)
{
	uint64_t id, r, w;

	host_write(host("share/f"), "text");
	id = node_of(1, "f");
	r = handle_of(id, O_RDONLY);
	w = handle_of(id, O_WRONLY);
	cr_assert(eq(int, fuse_write(r, 0, "x", 1, 0), -EBADF));
	cr_assert(eq(int, fuse_read(w, 0, 1), -EBADF));
	cr_assert(eq(int, fuse_write(w, 0, "x", 1, 0), 1));
	cr_assert(reads(r, 0, "xext"));
	cr_assert(reads(handle_of(id, O_RDWR | O_TRUNC), 0, ""));
}

Test(fs_file, writeback_reads_what_is_opened_for_writing)
{
	uint64_t fh;

	fs_again("writeback", "");
	cr_assert(zero(int, fuse_init(~0U)));
	host_write(host("share/f"), "text");
	fh = handle_of(node_of(1, "f"), O_WRONLY);
	cr_assert(reads(fh, 0, "text"));
}

static uint32_t open_flags_of(const char *word)
{
	const struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out out;

	fs_again(word, "");
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(zero(int, CALL(FUSE_OPEN, node_of(1, "f"), in)));
	memcpy(&out, reply, sizeof(out));
	return out.open_flags;
}

Test(fs_file, cache_option_is_told_at_each_open)
{
	host_write(host("share/f"), "text");
	cr_assert(eq(u32, open_flags_of("cache=never"), FOPEN_DIRECT_IO));
	cr_assert(zero(u32, open_flags_of("cache=auto")));
	cr_assert(eq(u32, open_flags_of("cache=always"), FOPEN_KEEP_CACHE));
}

Test(fs_file, tmpfile_gets_its_name_later)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	struct fuse_link_in link_in;
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;

	cr_assert(zero(int, CALL_NAME(FUSE_TMPFILE, 1, in, "#1")));
	memcpy(&out, reply, sizeof(out));
	cr_assert(zero(u32, out.e.attr.nlink));
	cr_assert(eq(int, fuse_write(out.o.fh, 0, "temp", 4, 0), 4));
	link_in.oldnodeid = out.e.nodeid;
	cr_assert(zero(int, CALL_NAME(FUSE_LINK, 1, link_in, "named")));
	cr_assert(host_has(host("share/named"), "temp"));
}

Test(fs_file, handles_are_of_one_kind_and_closed_once)
{
	const struct fuse_open_in in = { 0 };
	struct fuse_read_in rd = { .size = 100 };
	struct fuse_release_in rel;
	uint64_t fh = file("f");
	struct fuse_open_out out;

	cr_assert(zero(int, CALL(FUSE_OPENDIR, 1, in)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(eq(int, fuse_read(out.fh, 0, 100), -EBADF));
	rd.fh = fh;
	cr_assert(eq(int, CALL(FUSE_READDIR, 1, rd), -EBADF));
	rel.fh = fh;
	cr_assert(eq(int, CALL(FUSE_RELEASEDIR, 1, rel), -EBADF));
	cr_assert(zero(int, release(fh)));
	cr_assert(eq(int, release(fh), -EBADF));
	cr_assert(eq(int, fuse_read(fh, 0, 1), -EBADF));
	cr_assert(eq(int, release(~0ULL), -EBADF));
}

/* --------------------------------------------------------------------- I/O */

Test(fs_file, data_goes_both_ways_through_scattered_buffers)
{
	static uint8_t data[300000];
	uint64_t fh = file("f");
	struct fuse_read_in in = { .fh = fh, .offset = 5, .size = 200000 };
	const struct req r = { .opcode = FUSE_READ,
			       .arg = &in,
			       .arg_len = sizeof(in) };
	struct guest_buf bufs[40];
	unsigned int n = 0;
	uint8_t *p;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	cr_assert(eq(int, fuse_write(fh, 0, data, sizeof(data), 0),
		     sizeof(data)));
	/* The request in two, the reply in many of odd sizes. */
	(void)req_write(&r);
	bufs[n++] = (struct guest_buf){ out_gpa, 41, false };
	bufs[n++] = (struct guest_buf){ out_gpa + 41, 39, false };
	bufs[n++] = (struct guest_buf){ in_gpa, 7, true };
	bufs[n++] = (struct guest_buf){ in_gpa + 7, 16, true };
	p = guest_ptr(&f.g, in_gpa);
	for (uint32_t at = 23; at < 16 + 200000; n++) {
		uint32_t len = MIN(7001U, 16 + 200000 - at);

		bufs[n] = (struct guest_buf){ in_gpa + at, len, true };
		at += len;
	}
	cr_assert(zero(int, reply_take(front_wait_used(
				    &f, REQUESTS,
				    guest_ring_add_indirect(&f.ring[REQUESTS],
							    bufs, n)))));
	cr_assert(eq(sz, reply_len, 200000));
	cr_assert(zero(int, memcmp(p + 16, data + 5, 200000)));
}

Test(fs_file, offsets_beyond_4_gib_and_holes)
{
	const struct fuse_setattr_in in = { .valid = FATTR_SIZE,
					    .size = 10 * GIB };
	static const char zeroes[4096];
	uint64_t fh = file("f");
	struct fuse_lseek_in seek = { .fh = fh, .whence = SEEK_DATA };
	struct fuse_lseek_out out;
	struct stat st;

	cr_assert(eq(int, fuse_write(fh, 5 * GIB + 1, "far", 3, 0), 3));
	cr_assert(reads(fh, 5 * GIB + 1, "far"));
	cr_assert(zero(int, CALL(FUSE_SETATTR, node_of(1, "f"), in)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(u64, (uint64_t)st.st_size, 10 * GIB));
	cr_assert(lt(u64, (uint64_t)st.st_blocks, 1000));
	cr_assert(zero(int, fuse_read(fh, 4 * GIB, 4096)));
	cr_assert(eq(sz, reply_len, 4096));
	cr_assert(zero(int, memcmp(reply, zeroes, 4096)));
	cr_assert(zero(int, fuse_read(fh, 10 * GIB - 1, 4096)));
	cr_assert(eq(sz, reply_len, 1));
	cr_assert(zero(int, CALL(FUSE_LSEEK, 0, seek)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(eq(u64, out.offset, 5 * GIB));
	seek.offset = 5 * GIB;
	seek.whence = SEEK_HOLE;
	cr_assert(zero(int, CALL(FUSE_LSEEK, 0, seek)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(gt(u64, out.offset, 5 * GIB));
	seek.offset = 9 * GIB;
	seek.whence = SEEK_DATA;
	cr_assert(eq(int, CALL(FUSE_LSEEK, 0, seek), -ENXIO));
	seek.whence = SEEK_SET;
	cr_assert(eq(int, CALL(FUSE_LSEEK, 0, seek), -EINVAL));
}

Test(fs_file, sizes_that_lie_are_einval)
{
	uint64_t fh = file("f");
	struct fuse_write_in w = { .fh = fh, .size = 100 };
	struct fuse_read_in rd = { .fh = fh, .size = 5000 };
	static uint8_t big[FS_MAX_WRITE + 1];
	struct stat st;

	/* 100 bytes are said to follow, 0 do. */
	cr_assert(eq(int, CALL(FUSE_WRITE, 0, w), -EINVAL));
	w.size = UINT32_MAX;
	cr_assert(eq(int, CALL(FUSE_WRITE, 0, w), -EINVAL));
	cr_assert(eq(int, fuse_write(fh, 0, big, sizeof(big), 0), -EINVAL));
	cr_assert(eq(int, fuse_write(fh, ~0ULL, big, 1, 0), -EINVAL));
	cr_assert(eq(int, fuse_write(fh, INT64_MAX, big, 10, 0), -EINVAL));
	cr_assert(
		eq(int, fuse_write(fh, 0, big, FS_MAX_WRITE, 0), FS_MAX_WRITE));
	cr_assert(eq(int,
		     call(&(struct req){ .opcode = FUSE_READ,
					 .arg = &rd,
					 .arg_len = sizeof(rd),
					 .room = 4999 }),
		     -EINVAL));
	cr_assert(eq(int, fuse_read(fh, 0, FS_MAX_WRITE + 1), -EINVAL));
	cr_assert(zero(int, fuse_read(fh, 0, FS_MAX_WRITE)));
	cr_assert(eq(sz, reply_len, FS_MAX_WRITE));
	cr_assert(eq(int, fuse_read(fh, ~0ULL, 1), -EINVAL));
	cr_assert(zero(int, fuse_read(fh, 1, 0)));
	cr_assert(zero(sz, reply_len));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(long, st.st_size, FS_MAX_WRITE));
}

static void host_append(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	cr_assert(zero(int, fd_write_all(fd, text, strlen(text))));
}

/* What the guest takes for the end may have moved meanwhile. */
Test(fs_file, appending_is_at_the_end_writing_back_is_not)
{
	uint64_t fh = file("f");
	const struct fuse_write_in in = { .fh = fh,
					  .size = 1,
					  .flags = O_APPEND,
					  .write_flags = FUSE_WRITE_CACHE };

	cr_assert(eq(int, fuse_write(fh, 0, "aa", 2, O_APPEND), 2));
	host_append(host("share/f"), "HH");
	cr_assert(eq(int, fuse_write(fh, 2, "bb", 2, O_APPEND), 2));
	cr_assert(host_has(host("share/f"), "aaHHbb"));
	cr_assert(zero(int, call(&(struct req){ .opcode = FUSE_WRITE,
						.arg = &in,
						.arg_len = sizeof(in),
						.more = "c",
						.more_len = 1 })));
	cr_assert(host_has(host("share/f"), "caHHbb"));
}

Test(fs_file, fallocate_makes_room_and_holes)
{
	uint64_t fh = file("f");
	struct fuse_fallocate_in in = { .fh = fh, .length = 1 << 20 };
	struct stat st;

	cr_assert(zero(int, CALL(FUSE_FALLOCATE, 0, in)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(long, st.st_size, 1 << 20));
	cr_assert(ge(long, st.st_blocks, 2048));
	in.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	cr_assert(zero(int, CALL(FUSE_FALLOCATE, 0, in)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(lt(long, st.st_blocks, 2048));
	in.mode = FALLOC_FL_PUNCH_HOLE;
	cr_assert(lt(int, CALL(FUSE_FALLOCATE, 0, in), 0));
	in = (struct fuse_fallocate_in){ .fh = fh, .length = ~0ULL };
	cr_assert(eq(int, CALL(FUSE_FALLOCATE, 0, in), -EINVAL));
	in = (struct fuse_fallocate_in){ .fh = 77, .length = 1 };
	cr_assert(eq(int, CALL(FUSE_FALLOCATE, 0, in), -EBADF));
}

Test(fs_file, copy_file_range_copies_within_the_host)
{
	struct fuse_copy_file_range_in in = { .len = 4 };
	struct fuse_write_out out;

	host_write(host("share/a"), "0123456789");
	in.fh_in = handle_of(node_of(1, "a"), O_RDONLY);
	in.off_in = 2;
	in.fh_out = file("b");
	cr_assert(zero(int, CALL(FUSE_COPY_FILE_RANGE, 0, in)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(eq(u32, out.size, 4));
	cr_assert(host_has(host("share/b"), "2345"));
	in.flags = 1;
	cr_assert(eq(int, CALL(FUSE_COPY_FILE_RANGE, 0, in), -EINVAL));
	in.flags = 0;
	in.fh_out = 99;
	cr_assert(eq(int, CALL(FUSE_COPY_FILE_RANGE, 0, in), -EBADF));
}

Test(fs_file, sync_in_all_its_forms)
{
	struct fuse_fsync_in in = { .fh = file("f") };
	struct fuse_flush_in flush = { .fh = in.fh };
	const struct fuse_open_in dir = { 0 };
	const uint64_t nothing = 0;

	cr_assert(zero(int, CALL(FUSE_FSYNC, 0, in)));
	in.fsync_flags = FUSE_FSYNC_FDATASYNC;
	cr_assert(zero(int, CALL(FUSE_FSYNC, 0, in)));
	cr_assert(zero(int, CALL(FUSE_FLUSH, node_of(1, "f"), flush)));
	cr_assert(zero(int, CALL(FUSE_SYNCFS, 1, nothing)));
	cr_assert(eq(int, CALL(FUSE_FSYNCDIR, 1, in), -EBADF));
	cr_assert(zero(int, CALL(FUSE_OPENDIR, 1, dir)));
	memcpy(&in.fh, reply, sizeof(in.fh));
	cr_assert(zero(int, CALL(FUSE_FSYNCDIR, 1, in)));
	cr_assert(eq(int, CALL(FUSE_FSYNC, 1, in), -EBADF));
}

/* ------------------------------------------------------------- directories */

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
	memcpy(&out, reply, sizeof(out));
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
	for (size_t at = 0; at < reply_len;) {
		const uint8_t *p = reply + at;
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
		cr_assert(le(sz, at, reply_len));
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
		cr_assert(le(sz, reply_len, size));
		see(ret, op == FUSE_READDIRPLUS);
	} while (reply_len > 0);
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

Test(fs_file, a_directory_of_100000_is_listed_once_each)
{
	const uint64_t n = 100000;
	struct seen s;

	make_files("d", (unsigned int)n);
	list_all(FUSE_READDIR, node_of(1, "d"), 4096, &s);
	cr_assert(eq(uint, s.names, n));
	cr_assert(eq(u64, s.sum, n * (n - 1) / 2));
	cr_assert(eq(uint, s.dots, 2));
}

Test(fs_file, readdirplus_gives_nodes_that_count)
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

Test(fs_file, readdirplus_beyond_the_limit_is_names_only)
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

Test(fs_file, listing_with_odd_sizes_and_offsets)
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

/* ------------------------------------------------------------------- locks */

static void with_locks(void)
{
	fs_again("locks", "");
	cr_assert(zero(int, fuse_init(~0U)));
}

static struct fuse_lk_in lk_in(uint64_t fh, uint64_t owner, uint32_t type)
{
	return (struct fuse_lk_in){
		.fh = fh,
		.owner = owner,
		.lk = { .type = type, .start = 0, .end = INT64_MAX }
	};
}

static int setlk(uint64_t id, uint64_t fh, uint64_t owner, uint32_t type)
{
	const struct fuse_lk_in in = lk_in(fh, owner, type);

	return CALL(FUSE_SETLK, id, in);
}

static int flush(uint64_t id, uint64_t fh, uint64_t owner)
{
	const struct fuse_flush_in in = { .fh = fh, .lock_owner = owner };

	return CALL(FUSE_FLUSH, id, in);
}

/* Whether a process of the host could lock it now. */
static bool host_can_lock(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock fl = { .l_type = F_WRLCK };

	cr_assert(ge(int, fd, 0));
	return fcntl(fd, F_OFD_SETLK, &fl) == 0;
}

Test(fs_file, without_the_option_locks_stay_in_the_guest)
{
	uint64_t fh = file("f");

	cr_assert(eq(int, setlk(node_of(1, "f"), fh, 1, F_WRLCK), -ENOSYS));
}

Test(fs_file, owners_exclude_each_other_and_the_host)
{
	struct fuse_lk_in in;
	struct fuse_lk_out out;
	uint64_t id, fh;

	with_locks();
	fh = file("f");
	id = node_of(1, "f");
	cr_assert(zero(int, setlk(id, fh, 1, F_WRLCK)));
	cr_assert(zero(int, setlk(id, fh, 1, F_WRLCK)));
	cr_assert(eq(int, setlk(id, fh, 2, F_RDLCK), -EAGAIN));
	cr_assert(not(host_can_lock(host("share/f"))));
	in = lk_in(fh, 2, F_RDLCK);
	cr_assert(zero(int, CALL(FUSE_GETLK, id, in)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(eq(u32, out.lk.type, F_WRLCK));
	cr_assert(eq(u64, out.lk.end, INT64_MAX));
	cr_assert(zero(int, setlk(id, fh, 1, F_RDLCK)));
	cr_assert(zero(int, setlk(id, fh, 2, F_RDLCK)));
	cr_assert(zero(int, setlk(id, fh, 1, F_UNLCK)));
	/* The close of a file gives up all of its owner's locks on it. */
	cr_assert(zero(int, flush(id, fh, 2)));
	cr_assert(host_can_lock(host("share/f")));
	cr_assert(zero(int, CALL(FUSE_GETLK, id, in)));
	memcpy(&out, reply, sizeof(out));
	cr_assert(eq(u32, out.lk.type, F_UNLCK));
	cr_assert(zero(int, setlk(id, fh, 99, F_UNLCK)));
}

Test(fs_file, flock_is_the_handles)
{
	_cleanup_fd_ int fd = -1;
	struct fuse_lk_in in;
	uint64_t id, a, b;

	with_locks();
	a = file("f");
	id = node_of(1, "f");
	b = handle_of(id, O_RDWR);
	fd = open(host("share/f"), O_RDONLY | O_CLOEXEC);
	in = lk_in(a, 1, F_WRLCK);
	in.lk_flags = FUSE_LK_FLOCK;
	cr_assert(zero(int, CALL(FUSE_SETLK, id, in)));
	cr_assert(eq(int, flock(fd, LOCK_SH | LOCK_NB), -1));
	in.fh = b;
	cr_assert(eq(int, CALL(FUSE_SETLK, id, in), -EAGAIN));
	cr_assert(zero(int, release(a)));
	cr_assert(zero(int, CALL(FUSE_SETLK, id, in)));
	in.lk.type = F_UNLCK;
	cr_assert(zero(int, CALL(FUSE_SETLK, id, in)));
	cr_assert(zero(int, flock(fd, LOCK_EX | LOCK_NB)));
	in.fh = a;
	cr_assert(eq(int, CALL(FUSE_SETLK, id, in), -EBADF));
}

Test(fs_file, malformed_locks_are_einval)
{
	struct fuse_lk_in in;
	uint64_t id, fh;

	with_locks();
	fh = file("f");
	id = node_of(1, "f");
	in = lk_in(fh, 1, 7);
	cr_assert(eq(int, CALL(FUSE_SETLK, id, in), -EINVAL));
	in.lk_flags = FUSE_LK_FLOCK;
	cr_assert(eq(int, CALL(FUSE_SETLK, id, in), -EINVAL));
	in = lk_in(fh, 1, F_WRLCK);
	in.lk.end = ~0ULL;
	cr_assert(eq(int, CALL(FUSE_SETLK, id, in), -EINVAL));
	in.lk.start = 10;
	in.lk.end = 9;
	cr_assert(eq(int, CALL(FUSE_GETLK, id, in), -EINVAL));
	/* The root is a directory: nothing to lock by fcntl() for writing. */
	in = lk_in(fh, 1, F_WRLCK);
	cr_assert(eq(int, CALL(FUSE_SETLK, 1, in), -EBADF));
}

/* Sends a SETLKW that waits. Return: its head; @ret_unique: its name. */
static uint16_t wait_for_lock(uint64_t id, uint64_t fh, uint64_t owner,
			      uint64_t *ret_unique)
{
	const struct fuse_lk_in in = lk_in(fh, owner, F_WRLCK);
	uint16_t used = f.ring[REQUESTS].used->idx;
	uint64_t keep = in_gpa;
	uint16_t head;

	/* A reply buffer of its own, below the others'. */
	in_gpa = out_gpa + OUT_BYTES / 2;
	head = req_add(&(struct req){ .opcode = FUSE_SETLKW,
				      .node = id,
				      .arg = &in,
				      .arg_len = sizeof(in),
				      .room = 64 });
	in_gpa = keep;
	*ret_unique = unique;
	guest_ring_kick(&f.ring[REQUESTS]);
	front_settle(&f);
	cr_assert(eq(u16, f.ring[REQUESTS].used->idx, used));
	return head;
}

/* The answer to it. */
static int lock_answer(uint16_t head, uint64_t its_unique)
{
	struct guest_ring *r = &f.ring[REQUESTS];
	struct fuse_out_header h;
	uint16_t got;
	uint32_t len;

	while (!guest_ring_reap(r, &got, &len)) {
		front_wait_fd(&f, r->call_fd);
		(void)fd_event_drain(r->call_fd);
	}
	cr_assert(eq(u16, got, head));
	memcpy(&h, guest_ptr(&f.g, out_gpa + OUT_BYTES / 2), sizeof(h));
	cr_assert(eq(u64, h.unique, its_unique));
	cr_assert(eq(u32, h.len, len));
	return h.error;
}

static uint64_t lock_id, lock_fh, lock_unique;
static uint16_t lock_head;

/* Owner 1 has the lock and owner 2 waits for it. */
static void one_waits(void)
{
	with_locks();
	lock_fh = file("f");
	lock_id = node_of(1, "f");
	cr_assert(zero(int, setlk(lock_id, lock_fh, 1, F_WRLCK)));
	lock_head = wait_for_lock(lock_id, lock_fh, 2, &lock_unique);
}

Test(fs_file, who_waits_for_a_lock_holds_up_nobody)
{
	one_waits();
	/* Others are served. */
	for (int i = 0; i < 200; i++)
		cr_assert(zero(int, lookup(1, "f")));
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
}

/* Or the process would never sleep again. */
Test(fs_file, nobody_tries_for_who_waits_in_a_broken_ring)
{
	one_waits();
	guest_ring_avail(&f.ring[REQUESTS], 0xffff);
	guest_ring_kick(&f.ring[REQUESTS]);
	front_wait_fd(&f, f.ring[REQUESTS].err_fd);
	for (int i = 0; i < 3; i++) {
		fs_waits_retry(fs_of());
		cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	}
	(void)front_stop(&f, REQUESTS);
	front_ring_reset(&f, REQUESTS);
	front_start(&f, REQUESTS);
	cr_assert(zero(uint, fs_waits_count(fs_of(), REQUESTS)));
	cr_assert(zero(int, fuse_init(0)));
}

Test(fs_file, unlocking_lets_the_first_in)
{
	const struct fuse_lk_in in = lk_in(0, 1, F_UNLCK);
	struct guest_ring *r = &f.ring[REQUESTS];
	uint16_t heads[2], got;
	uint32_t len;

	one_waits();
	heads[1] = req_add(&(struct req){ .opcode = FUSE_SETLK,
					  .node = lock_id,
					  .arg = &in,
					  .arg_len = sizeof(in) });
	heads[0] = lock_head;
	guest_ring_kick(r);
	front_settle(&f);
	/* The one that waited, then the one that let it. */
	for (int i = 0; i < 2; i++) {
		cr_assert(guest_ring_reap(r, &got, &len));
		cr_assert(eq(u16, got, heads[i]));
	}
	cr_assert(not(host_can_lock(host("share/f"))));
}

Test(fs_file, the_host_unlocking_lets_it_in)
{
	_cleanup_fd_ int fd = -1;
	struct flock fl = { .l_type = F_WRLCK };

	with_locks();
	lock_fh = file("f");
	lock_id = node_of(1, "f");
	fd = open(host("share/f"), O_RDWR | O_CLOEXEC);
	cr_assert(zero(int, fcntl(fd, F_OFD_SETLK, &fl)));
	lock_head = wait_for_lock(lock_id, lock_fh, 2, &lock_unique);
	fd_close(&fd);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
}

Test(fs_file, who_waits_is_held_over_a_stop)
{
	uint16_t base_idx, used;

	one_waits();
	used = f.ring[REQUESTS].used->idx;
	base_idx = front_stop(&f, REQUESTS);
	/* One more than is used: it is still in flight. */
	cr_assert(eq(u16, base_idx, used + 1));
	cr_assert(eq(u16, front_stop(&f, REQUESTS), base_idx));
	(void)front_stop(&f, HIPRIO);
	/* While all is stopped nobody looks, also when it could be had. */
	cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	front_settle(&f);
	cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	cr_assert(eq(u16, f.ring[REQUESTS].used->idx, used));
	front_start_at(&f, REQUESTS, base_idx);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
	cr_assert(not(host_can_lock(host("share/f"))));
	/* The ring goes on where it was. */
	front_start(&f, HIPRIO);
	(void)node_of(1, "f");
	cr_assert(
		eq(u16, front_stop(&f, REQUESTS), f.ring[REQUESTS].used->idx));
}

Test(fs_file, who_waits_is_held_over_many_stops)
{
	one_waits();
	for (int i = 0; i < 10; i++) {
		front_start_at(&f, REQUESTS, front_stop(&f, REQUESTS));
		front_settle(&f);
		cr_assert(eq(uint, fs_waits_count(fs_of(), REQUESTS), 1));
		cr_assert(eq(uint, dev->queues[REQUESTS].in_flight, 1));
	}
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
}

Test(fs_file, a_reset_forgets_who_waits)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	one_waits();
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		front_ring_reset(&f, q);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&f, FS_NR_QUEUES);
	cr_assert(zero(uint, fs_waits_count(fs_of(), REQUESTS)));
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(host_can_lock(host("share/f")));
	cr_assert(eq(u16, f.ring[REQUESTS].used->idx, 1));
}

/* The buffers of who waits go away meanwhile: the driver's own fault. */
Test(fs_file, descriptors_rewritten_while_it_waits_break_the_ring)
{
	uint16_t base_idx;

	one_waits();
	base_idx = front_stop(&f, REQUESTS);
	guest_ring_desc(&f.ring[REQUESTS], lock_head, ~0ULL, 1 << 20,
			VRING_DESC_F_NEXT, lock_head);
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	front_start_at(&f, REQUESTS, base_idx);
	front_wait_fd(&f, f.ring[REQUESTS].err_fd);
	(void)front_stop(&f, REQUESTS);
	front_ring_reset(&f, REQUESTS);
	front_start(&f, REQUESTS);
	cr_assert(zero(int, fuse_init(~0U)));
}

/* Also one that came from the other queue, as no driver does it. */
Test(fs_file, init_by_the_other_queue_ends_who_waits_in_a_stopped_one)
{
	const struct fuse_init_in in = { .major = 7, .minor = 38 };
	const struct req r = { .opcode = FUSE_INIT,
			       .arg = &in,
			       .arg_len = sizeof(in) };
	const struct guest_buf bufs[] = { { out_gpa, 0, false },
					  { in_gpa, 1024, true } };
	struct guest_buf b[2] = { bufs[0], bufs[1] };
	uint16_t base_idx;

	one_waits();
	base_idx = front_stop(&f, REQUESTS);
	b[0].len = req_write(&r);
	cr_assert(gt(u32,
		     front_wait_used(&f, HIPRIO,
				     guest_ring_add(&f.ring[HIPRIO], b, 2)),
		     16));
	front_start_at(&f, REQUESTS, base_idx);
	cr_assert(eq(int, lock_answer(lock_head, lock_unique), -ENOTCONN));
	cr_assert(
		eq(u16, front_stop(&f, REQUESTS), f.ring[REQUESTS].used->idx));
}

Test(fs_file, interrupt_ends_a_wait)
{
	struct fuse_interrupt_in in = { .unique = 12345 };

	one_waits();
	tell(&(struct req){
		.opcode = FUSE_INTERRUPT, .arg = &in, .arg_len = sizeof(in) });
	cr_assert(eq(uint, fs_waits_count(fs_of(), REQUESTS), 1));
	in.unique = lock_unique;
	tell(&(struct req){
		.opcode = FUSE_INTERRUPT, .arg = &in, .arg_len = sizeof(in) });
	cr_assert(eq(int, lock_answer(lock_head, lock_unique), -EINTR));
}

Test(fs_file, forgetting_the_node_ends_a_wait)
{
	one_waits();
	(void)release(lock_fh);
	forget(lock_id, ~0ULL);
	cr_assert(eq(int, lock_answer(lock_head, lock_unique), -ESTALE));
}

Test(fs_file, locks_survive_a_stop)
{
	with_locks();
	lock_fh = file("f");
	lock_id = node_of(1, "f");
	cr_assert(zero(int, setlk(lock_id, lock_fh, 1, F_WRLCK)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		(void)front_stop(&f, q);
	cr_assert(not(host_can_lock(host("share/f"))));
	front_start_all(&f, FS_NR_QUEUES);
	cr_assert(eq(int, setlk(lock_id, lock_fh, 2, F_WRLCK), -EAGAIN));
}

Test(fs_file, the_end_of_the_front_end_with_who_waits)
{
	one_waits();
	(void)shutdown(f.sock, SHUT_RDWR);
	cr_assert(zero(int, loop_run(&f.loop)));
	cr_assert(not(dev->started));
}
