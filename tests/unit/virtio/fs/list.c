/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listing directories while they change: the offsets that a driver goes on
 * from, on a tmpfs, and on a double of one as it was before Linux 6.6, where
 * an offset is a count of the entries there are.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "vmm/base/fd.h"

TestSuite(fs_list, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

#define MAX_FILES 3000U

/* ------------------------------------------------------- a driver's listing */

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

struct seen {
	unsigned int nr;
	uint64_t off; /* of the last one */
	char names[MAX_FILES][16];
};

/* Takes at most @max names out of the reply. */
static void see(struct seen *s, bool plus, unsigned int max)
{
	for (size_t at = 0; at < fs.reply_len && max > 0;) {
		size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
		struct fuse_dirent d;

		memcpy(&d, fs.reply + at + head, sizeof(d));
		s->off = d.off;
		if (fs.reply[at + head + sizeof(d)] != '.') {
			cr_assert(lt(uint, s->nr, MAX_FILES));
			(void)snprintf(s->names[s->nr++], sizeof(s->names[0]),
				       "%.*s", (int)d.namelen,
				       (char *)fs.reply + at + head +
					       sizeof(d));
			max--;
		}
		at += FUSE_DIRENT_ALIGN(head + sizeof(d) + d.namelen);
	}
}

static void make_files(unsigned int n)
{
	cr_assert(zero(int, mkdir(host("share/d"), 0755)));
	for (unsigned int i = 0; i < n; i++)
		host_write(host("share/d/f%u", i), "");
}

static unsigned int files_left(void)
{
	DIR *dir = opendir(host("share/d"));
	const struct dirent *d;
	unsigned int n = 0;

	cr_assert(dir != NULL);
	while ((d = readdir(dir)))
		n += d->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

/*
 * As rm -r does it: some names are taken out of a reply of @size bytes, these
 * files are removed, and the list goes on from there.
 */
static void remove_all(uint32_t op, uint32_t size, unsigned int max)
{
	static struct seen s;
	uint64_t dir = node_of(1, "d");
	uint64_t fh = opendir_(dir);
	const struct fuse_release_in rel = { .fh = fh };

	s.off = 0;
	for (;;) {
		s.nr = 0;
		cr_assert(zero(int, readdir_(op, dir, fh, s.off, size)));
		if (!fs.reply_len)
			break;
		see(&s, op == FUSE_READDIRPLUS, max);
		for (unsigned int i = 0; i < s.nr; i++)
			cr_assert(zero(int,
				       call_text(FUSE_UNLINK, dir, s.names[i],
						 strlen(s.names[i]) + 1)));
	}
	cr_assert(zero(int, CALL(FUSE_RELEASEDIR, dir, rel)));
}

/* --------------------------------------- libfs as it was before Linux 6.6 */

/*
 * Entries of one directory in a fixed order, and a cursor among them. An
 * entry's offset is a count; to seek counts those that are left.
 */
static struct {
	bool on;
	int fd;
	unsigned int nr, cursor;
	int64_t pos;
	char names[MAX_FILES + 2][16];
} old;

struct old_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

ssize_t __real_getdents64(int fd, void *buf, size_t len);
off_t __real_lseek(int fd, off_t off, int whence);
ssize_t __wrap_getdents64(int fd, void *buf, size_t len);
off_t __wrap_lseek(int fd, off_t off, int whence);

static bool is_left(unsigned int i)
{
	struct stat st;

	return fstatat(old.fd, old.names[i], &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The names as the kernel lists them, when the directory is first read. */
static void old_open(int fd)
{
	uint8_t buf[4096];
	ssize_t n;

	old.fd = fd;
	old.nr = old.cursor = 0;
	old.pos = 0;
	while ((n = __real_getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			uint16_t reclen;

			memcpy(&reclen,
			       buf + at + offsetof(struct old_dirent, reclen),
			       sizeof(reclen));
			(void)snprintf(
				old.names[old.nr++], sizeof(old.names[0]), "%s",
				(char *)buf + at +
					offsetof(struct old_dirent, name));
			at += reclen;
		}
	}
}

ssize_t __wrap_getdents64(int fd, void *buf, size_t len)
{
	size_t done = 0;

	if (!old.on)
		return __real_getdents64(fd, buf, len);
	if (old.fd != fd)
		old_open(fd);
	for (; old.cursor < old.nr; old.cursor++) {
		const char *name = old.names[old.cursor];
		struct old_dirent d = { .ino = 2 + old.cursor,
					.off = old.pos + 1,
					.type = DT_REG };
		size_t head = offsetof(struct old_dirent, name);
		size_t n = strlen(name) + 1;

		if (!is_left(old.cursor))
			continue;
		d.reclen = (uint16_t)((head + n + 7) & ~7UL);
		if (d.reclen > len - done)
			break;
		memcpy((uint8_t *)buf + done, &d, head);
		memcpy((uint8_t *)buf + done + head, name, n);
		done += d.reclen;
		old.pos++;
	}
	return (ssize_t)done;
}

off_t __wrap_lseek(int fd, off_t off, int whence)
{
	if (!old.on || whence != SEEK_SET)
		return __real_lseek(fd, off, whence);
	old.cursor = 0;
	for (off_t n = 0; old.fd == fd && old.cursor < old.nr; old.cursor++) {
		if (is_left(old.cursor) && n++ == off)
			break;
	}
	old.pos = off;
	return off;
}

/* An fd's number comes again: it is another directory. */
static void old_again(void)
{
	old.fd = -1;
}

/* ------------------------------------------------------------------- tests */

static void remove_in_all_ways(void)
{
	static const unsigned int files[] = { 40, 400 };
	static const uint32_t sizes[] = { 200, 700, 4096, 65536 };
	static const uint32_t ops[] = { FUSE_READDIR, FUSE_READDIRPLUS };

	for (size_t i = 0;
	     i < ARRAY_SIZE(files) * ARRAY_SIZE(sizes) * ARRAY_SIZE(ops) * 2;
	     i++) {
		unsigned int n = files[i % ARRAY_SIZE(files)];
		uint32_t size = sizes[i / 2 % ARRAY_SIZE(sizes)];
		uint32_t op = ops[i / 8 % ARRAY_SIZE(ops)];
		/* All of a reply, or as much as some buffer has room for. */
		unsigned int max = i / 16 ? 7 : MAX_FILES;

		make_files(n);
		old_again();
		remove_all(op, size, max);
		old_again();
		cr_assert(eq(uint, files_left(), 0),
			  "%u files, operation %u of %u bytes, %u at a time", n,
			  op, size, max);
		cr_assert(zero(int, CALL_TEXT(FUSE_RMDIR, 1, "d")));
	}
}

Test(fs_list, nothing_is_left_where_an_offset_is_a_count)
{
	old.on = true;
	remove_in_all_ways();
}

Test(fs_list, nothing_is_left_of_a_tmpfs)
{
	if (geteuid() != 0) {
		/* In this file system instead; the double is for all. */
		remove_in_all_ways();
		return;
	}
	cr_assert(zero(int, unshare(CLONE_NEWNS)));
	cr_assert(zero(int, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)));
	cr_assert(zero(int, mount("torpor", fs.share, "tmpfs", 0, "size=16m")));
	fs_again("", "");
	cr_assert(zero(int, fuse_init(~0U)));
	remove_in_all_ways();
	cr_assert(zero(int, umount2(fs.share, MNT_DETACH)));
}

static void expect_next(uint64_t dir, uint64_t fh, uint64_t off,
			const char *name)
{
	static struct seen s;

	s.nr = 0;
	cr_assert(zero(int, readdir_(FUSE_READDIR, dir, fh, off, 4096)));
	see(&s, false, MAX_FILES);
	cr_assert(gt(uint, s.nr, 0));
	cr_assert(zero(int, strcmp(s.names[0], name)), "%s", s.names[0]);
}

/* telldir() and seekdir() within what was told, rewinddir() beyond. */
Test(fs_list, a_driver_goes_back_and_begins_again)
{
	static struct seen s;
	uint64_t dir, fh, mark;

	make_files(300);
	dir = node_of(1, "d");
	fh = opendir_(dir);
	cr_assert(zero(int, readdir_(FUSE_READDIR, dir, fh, 0, 1000)));
	see(&s, false, 10);
	mark = s.off;
	s.nr = 0;
	cr_assert(zero(int, readdir_(FUSE_READDIR, dir, fh, mark, 1000)));
	see(&s, false, MAX_FILES);
	/* The same place again, also when the file there is gone. */
	cr_assert(zero(int, unlink(host("share/d/%s", s.names[5]))));
	expect_next(dir, fh, mark, s.names[0]);
	/* Far beyond, and back to where another batch was. */
	while (readdir_(FUSE_READDIR, dir, fh, s.off, 4096) == 0 &&
	       fs.reply_len)
		see(&s, false, 1);
	expect_next(dir, fh, mark, s.names[0]);
	/* What came since is seen from the beginning. */
	host_write(host("share/d/new"), "");
	s.nr = 0;
	s.off = 0;
	while (readdir_(FUSE_READDIR, dir, fh, s.off, 4096) == 0 &&
	       fs.reply_len)
		see(&s, false, MAX_FILES);
	cr_assert(eq(uint, s.nr, 300));
}

/* A directory's batch is memory: it counts as the files it could be. */
Test(fs_list, open_directories_are_bounded_as_files_are)
{
	const struct fuse_open_in in = { 0 };
	unsigned int n = 0;
	uint64_t fh = 0;

	fs_again("max_fds=100", "");
	cr_assert(zero(int, fuse_init(0)));
	while (CALL(FUSE_OPENDIR, 1, in) == 0) {
		memcpy(&fh, fs.reply, sizeof(fh));
		n++;
	}
	cr_assert(eq(uint, n, 99 / 5));
	cr_assert(zero(int, CALL(FUSE_RELEASEDIR, 1,
				 ((struct fuse_release_in){ .fh = fh }))));
	cr_assert(zero(int, CALL(FUSE_OPENDIR, 1, in)));
}
