/* SPDX-License-Identifier: BSD-3-Clause */
/* Open files: how they are opened, data both ways. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"
#include "vmm/base/fd.h"

TestSuite(fs_file, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

#define GIB (1ULL << 30)

/* ----------------------------------------------------------------- opening */

Test(fs_file, create_makes_opens_and_minds_o_excl)
{
	uint64_t id, again, fh = 0;
	struct stat st;

	cr_assert(zero(int,
		       fuse_create(1, "f", O_RDWR | O_EXCL, 0640, &id, &fh)));
	cr_assert(zero(int, stat(host("share/f"), &st)));
	cr_assert(eq(uint, st.st_mode, S_IFREG | 0640));
	cr_assert(eq(int, fuse_write(fh, 0, "text", 4, 0), 4));
	cr_assert(eq(int,
		     fuse_create(1, "f", O_RDWR | O_EXCL, 0640, &again, &fh),
		     -EEXIST));
	cr_assert(zero(int, fuse_create(1, "f", O_RDWR, 0600, &again, &fh)));
	cr_assert(eq(u64, again, id));
	cr_assert(reads(fh, 0, "text"));
	cr_assert(zero(
		int, fuse_create(1, "f", O_RDWR | O_TRUNC, 0600, &again, &fh)));
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
	cr_assert(eq(int, fuse_create(1, "p", O_RDWR, 0600, &id, &fh), -ENXIO));
	cr_assert(eq(int, fuse_create(1, "l", O_RDWR, 0600, &id, &fh), -ELOOP));
	cr_assert(
		eq(int, fuse_create(1, "d", O_RDWR, 0600, &id, &fh), -EISDIR));
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
	memcpy(&out, fs.reply, sizeof(out));
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
	memcpy(&out, fs.reply, sizeof(out));
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
	memcpy(&out, fs.reply, sizeof(out));
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
	bufs[n++] = (struct guest_buf){ fs.out_gpa, 41, false };
	bufs[n++] = (struct guest_buf){ fs.out_gpa + 41, 39, false };
	bufs[n++] = (struct guest_buf){ fs.in_gpa, 7, true };
	bufs[n++] = (struct guest_buf){ fs.in_gpa + 7, 16, true };
	p = guest_ptr(&fs.f.g, fs.in_gpa);
	for (uint32_t at = 23; at < 16 + 200000; n++) {
		uint32_t len = MIN(7001U, 16 + 200000 - at);

		bufs[n] = (struct guest_buf){ fs.in_gpa + at, len, true };
		at += len;
	}
	cr_assert(zero(int, reply_take(front_wait_used(
				    &fs.f, REQUESTS,
				    guest_ring_add_indirect(
					    &fs.f.ring[REQUESTS], bufs, n)))));
	cr_assert(eq(sz, fs.reply_len, 200000));
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
	cr_assert(eq(sz, fs.reply_len, 4096));
	cr_assert(zero(int, memcmp(fs.reply, zeroes, 4096)));
	cr_assert(zero(int, fuse_read(fh, 10 * GIB - 1, 4096)));
	cr_assert(eq(sz, fs.reply_len, 1));
	cr_assert(zero(int, CALL(FUSE_LSEEK, 0, seek)));
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(eq(u64, out.offset, 5 * GIB));
	seek.offset = 5 * GIB;
	seek.whence = SEEK_HOLE;
	cr_assert(zero(int, CALL(FUSE_LSEEK, 0, seek)));
	memcpy(&out, fs.reply, sizeof(out));
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
	cr_assert(eq(sz, fs.reply_len, FS_MAX_WRITE));
	cr_assert(eq(int, fuse_read(fh, ~0ULL, 1), -EINVAL));
	cr_assert(zero(int, fuse_read(fh, 1, 0)));
	cr_assert(zero(sz, fs.reply_len));
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
	memcpy(&out, fs.reply, sizeof(out));
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
	memcpy(&in.fh, fs.reply, sizeof(in.fh));
	cr_assert(zero(int, CALL(FUSE_FSYNCDIR, 1, in)));
	cr_assert(eq(int, CALL(FUSE_FSYNC, 1, in), -EBADF));
}
