/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest cannot do to the host's file system by a directory of it: set-id
 * files, root's reserved blocks, syncs of all there is, the kernel's own file
 * systems. As root and as an ordinary user, who has less to lose.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "vmm/base/fd.h"

TestSuite(fs_limits, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

#define NOT_ROOT 65534U
#define SYNCED	 64U

/* ------------------------------------------------- calls that are looked at */

static struct {
	uint32_t writer; /* file system uid of the last write */
	uint64_t longest;
	unsigned int fallocates, syncfs, fsyncs;
	uint64_t inos[SYNCED]; /* synced */
	bool slow;	       /* a sync takes longer than a turn */
	bool full;	       /* to all but root */
	bool endless;	       /* nothing is really allocated */
} seen;

ssize_t __real_pwritev(int fd, const struct iovec *iov, int nr, off_t off);
int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __real_fstatfs(int fd, struct statfs *ret);
int __real_fsync(int fd);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int nr, off_t off);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fstatfs(int fd, struct statfs *ret);
int __wrap_fsync(int fd);
int __wrap_syncfs(int fd);

static uint32_t fsuid(void)
{
	return (uint32_t)syscall(SYS_setfsuid, ~0U);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int nr, off_t off)
{
	seen.writer = fsuid();
	return __real_pwritev(fd, iov, nr, off);
}

int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	seen.writer = fsuid();
	seen.fallocates++;
	seen.longest = MAX(seen.longest, (uint64_t)len);
	return seen.endless ? 0 : __real_fallocate(fd, mode, off, len);
}

int __wrap_fstatfs(int fd, struct statfs *ret)
{
	int r = __real_fstatfs(fd, ret);

	if (r == 0 && seen.full) {
		ret->f_bfree = 10;
		ret->f_bavail = 0;
	}
	if (r == 0 && seen.endless)
		ret->f_bfree = ret->f_bavail = 1ULL << 40;
	return r;
}

int __wrap_fsync(int fd)
{
	const struct timespec longer = { .tv_nsec = (long)TURN_NS + 1 };
	struct stat st;

	cr_assert(zero(int, fstat(fd, &st)));
	cr_assert(lt(uint, seen.fsyncs, SYNCED));
	seen.inos[seen.fsyncs++] = st.st_ino;
	if (seen.slow)
		(void)nanosleep(&longer, NULL);
	return __real_fsync(fd);
}

int __wrap_syncfs(int fd)
{
	seen.syncfs++;
	return 0;
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	cr_assert(zero(int, lstat(host("share/%s", name), &st)));
	return st.st_mode & ALLPERMS;
}

/* A file of the host's with this mode. Return: its node. */
static uint64_t file_with(const char *name, mode_t mode)
{
	host_write(host("share/%s", name), "text");
	cr_assert(zero(int, chmod(host("share/%s", name), mode)));
	return node_of(1, name);
}

static int create(const char *name, uint32_t mode)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = mode };

	return CALL_NAME(FUSE_CREATE, 1, in, name);
}

static int setattr(uint64_t id, struct fuse_setattr_in in)
{
	return CALL(FUSE_SETATTR, id, in);
}

/* -------------------------------------------------------------- set-id bits */

static void make_with_bits(void)
{
	const struct fuse_mknod_in node = { .mode = S_IFREG | 06755 };
	const struct fuse_mkdir_in dir = { .mode = 0755 };

	cr_assert(zero(int, create("c", 06755)));
	cr_assert(zero(int, CALL_NAME(FUSE_MKNOD, 1, node, "n")));
	host_write(host("share/m"), "");
	cr_assert(zero(int, setattr(node_of(1, "m"),
				    (struct fuse_setattr_in){
					    .valid = FATTR_MODE,
					    .mode = S_IFREG | 06755 })));
	/* A mark, not a right; and a directory hands its group on. */
	cr_assert(zero(int, create("mark", 02644)));
	cr_assert(zero(int, CALL_NAME(FUSE_MKDIR, 1, dir, "d")));
	cr_assert(zero(int, setattr(node_of(1, "d"),
				    (struct fuse_setattr_in){
					    .valid = FATTR_MODE,
					    .mode = S_IFDIR | 02755 })));
	cr_assert(eq(uint, mode_of("mark"), 02644));
	cr_assert(eq(uint, mode_of("d"), 02755));
}

Test(fs_limits, roots_share_gets_no_set_id_files)
{
	const mode_t wanted = is_root() ? 0755 : 06755;

	make_with_bits();
	cr_assert(eq(uint, mode_of("c"), wanted));
	cr_assert(eq(uint, mode_of("n"), wanted));
	cr_assert(eq(uint, mode_of("m"), wanted));
}

Test(fs_limits, set_id_files_where_they_are_asked_for)
{
	fs_again("suid", "");
	cr_assert(zero(int, fuse_init(~0U)));
	make_with_bits();
	cr_assert(eq(uint, mode_of("c"), 06755));
	cr_assert(eq(uint, mode_of("n"), 06755));
	cr_assert(eq(uint, mode_of("m"), 06755));
}

static void write_to(uint64_t id, uint32_t flags)
{
	struct fuse_write_in in = { .fh = handle_of(id, O_WRONLY),
				    .size = 1,
				    .write_flags = flags };

	cr_assert(zero(int, call(&(struct req){ .opcode = FUSE_WRITE,
						.arg = &in,
						.arg_len = sizeof(in),
						.more = "x",
						.more_len = 1,
						.gid = 1000 })));
}

static void truncate_by_open(uint64_t id, uint32_t flags)
{
	const struct fuse_open_in in = { .flags = O_WRONLY | O_TRUNC,
					 .open_flags = flags };

	cr_assert(zero(int, CALL(FUSE_OPEN, id, in)));
}

static void truncate_by_size(uint64_t id, uint32_t flags)
{
	cr_assert(zero(int, setattr(id, (struct fuse_setattr_in){
						.valid = FATTR_SIZE | flags,
						.size = 1 })));
}

/* @kept: by a guest's user that may keep the bits */
static void change_in_all_ways(mode_t kept)
{
	write_to(file_with("w", 06777), 0);
	cr_assert(eq(uint, mode_of("w"), kept));
	write_to(file_with("wk", 06777), FUSE_WRITE_KILL_SUIDGID);
	cr_assert(eq(uint, mode_of("wk"), 0777));
	truncate_by_open(file_with("o", 06777), 0);
	cr_assert(eq(uint, mode_of("o"), kept));
	truncate_by_open(file_with("ok", 06777), FUSE_OPEN_KILL_SUIDGID);
	cr_assert(eq(uint, mode_of("ok"), 0777));
	truncate_by_size(file_with("t", 06777), 0);
	cr_assert(eq(uint, mode_of("t"), kept));
	truncate_by_size(file_with("tk", 06777), FATTR_KILL_SUIDGID);
	cr_assert(eq(uint, mode_of("tk"), 0777));
	cr_assert(zero(int,
		       setattr(file_with("g", 06777),
			       (struct fuse_setattr_in){ .valid = FATTR_UID,
							 .uid = geteuid() })));
	cr_assert(eq(uint, mode_of("g"), 0777));
}

Test(fs_limits, writing_clears_set_id_bits)
{
	change_in_all_ways(0777);
}

Test(fs_limits, writing_clears_set_id_bits_if_the_guest_says_so)
{
	const uint32_t both = FUSE_HANDLE_KILLPRIV | FUSE_HANDLE_KILLPRIV_V2;
	struct fuse_init_out out;

	fs_again("suid", "");
	cr_assert(zero(int, fuse_init(~0U)));
	memcpy(&out, fs.reply, sizeof(out));
	/* Always, or when it is told to. */
	cr_assert(eq(u32, out.flags & both,
		     is_root() ? FUSE_HANDLE_KILLPRIV_V2 : both));
	change_in_all_ways(is_root() ? 06777 : 0777);
}

/* The mark stays or goes as the host's kernel says. */
Test(fs_limits, a_set_gid_bit_that_is_a_mark_is_the_hosts_business)
{
	_cleanup_fd_ int fd = -1;
	mode_t wanted;

	file_with("host", 02666);
	fd = open(host("share/host"), O_WRONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	/* Written by a user of another group, as the guest's is. */
	if (is_root()) {
		(void)syscall(SYS_setfsgid, 1000);
		(void)syscall(SYS_setfsuid, 1000);
	}
	cr_assert(eq(sz, write(fd, "x", 1), 1));
	if (is_root()) {
		(void)syscall(SYS_setfsuid, 0);
		(void)syscall(SYS_setfsgid, 0);
	}
	wanted = mode_of("host");
	write_to(file_with("guest", 02666), FUSE_WRITE_KILL_SUIDGID);
	cr_assert(eq(uint, mode_of("guest"), wanted));
}

/* ---------------------------------------------------------- reserved blocks */

static void write_and_allocate(uint32_t writer)
{
	const uint64_t fh = handle_of(file_with("f", 0644), O_RDWR);
	const struct fuse_fallocate_in in = { .fh = fh, .length = 8192 };

	cr_assert(eq(int, fuse_write(fh, 0, "data", 4, 0), 4));
	cr_assert(eq(u32, seen.writer, writer));
	cr_assert(zero(int, CALL(FUSE_FALLOCATE, 1, in)));
	cr_assert(eq(u32, seen.writer, writer));
	cr_assert(eq(u32, fsuid(), geteuid()));
}

Test(fs_limits, data_is_not_written_as_root)
{
	write_and_allocate(is_root() ? NOT_ROOT : geteuid());
}

Test(fs_limits, data_is_written_as_root_where_that_is_asked_for)
{
	fs_again("reserved", "");
	cr_assert(zero(int, fuse_init(~0U)));
	write_and_allocate(geteuid());
}

static int mkdir_by(const char *name, uint32_t uid)
{
	const struct fuse_mkdir_in in = { .mode = 0755 };

	return call(&(struct req){ .opcode = FUSE_MKDIR,
				   .node = 1,
				   .arg = &in,
				   .arg_len = sizeof(in),
				   .more = name,
				   .more_len = strlen(name) + 1,
				   .uid = uid });
}

static void add_names(int error)
{
	const struct fuse_link_in in = { .oldnodeid = file_with("f", 0644) };
	struct {
		uint8_t in[FUSE_COMPAT_SETXATTR_IN_SIZE];
		char name[8];
	} x = { .name = "user.a" };

	seen.full = true;
	cr_assert(eq(int, mkdir_by("root's", 0), error));
	cr_assert(eq(int, CALL_TEXT(FUSE_SYMLINK, 1, "s\0target"), error));
	cr_assert(eq(int, CALL_NAME(FUSE_LINK, 1, in, "l"), error));
	cr_assert(eq(int, create("c", 0644), error));
	cr_assert(eq(int, CALL(FUSE_SETXATTR, in.oldnodeid, x), error));
	/* For others the file system itself says no; here it has room. */
	cr_assert(zero(int, mkdir_by("user's", 1000)));
	/* And what takes nothing is not a question. */
	cr_assert(zero(int, CALL_TEXT(FUSE_UNLINK, 1, "f")));
	seen.full = false;
}

Test(fs_limits, the_guests_root_adds_no_name_to_a_full_file_system)
{
	add_names(is_root() ? -ENOSPC : 0);
}

Test(fs_limits, the_guests_root_adds_names_where_that_is_asked_for)
{
	fs_again("reserved", "");
	cr_assert(zero(int, fuse_init(~0U)));
	add_names(0);
}

Test(fs_limits, fallocate_goes_step_by_step)
{
	struct fuse_fallocate_in in = { .fh = handle_of(file_with("f", 0644),
							O_RDWR),
					.length = (1ULL << 40) + 1,
					.mode = FALLOC_FL_KEEP_SIZE };

	seen.endless = true;
	cr_assert(zero(int, CALL(FUSE_FALLOCATE, 1, in)));
	cr_assert(eq(u64, seen.longest, 64U << 20));
	cr_assert(eq(uint, seen.fallocates, (1U << 14) + 1));
	seen.endless = false;
	/* A hole of any length is made at once. */
	seen.fallocates = 0;
	in.mode |= FALLOC_FL_PUNCH_HOLE;
	in.length = 1ULL << 42;
	cr_assert(zero(int, CALL(FUSE_FALLOCATE, 1, in)));
	cr_assert(eq(uint, seen.fallocates, 1));
	/* More than there is takes nothing. */
	seen.fallocates = 0;
	in.mode = 0;
	in.length = 1ULL << 60;
	cr_assert(eq(int, CALL(FUSE_FALLOCATE, 1, in), -ENOSPC));
	in.offset = in.length = INT64_MAX;
	cr_assert(eq(int, CALL(FUSE_FALLOCATE, 1, in), -EFBIG));
	in.mode = FALLOC_FL_COLLAPSE_RANGE;
	cr_assert(eq(int, CALL(FUSE_FALLOCATE, 1, in), -EOPNOTSUPP));
	cr_assert(eq(uint, seen.fallocates, 0));
}

/* ------------------------------------------------------------------- syncing
 */

static bool synced(uint64_t ino)
{
	for (unsigned int i = 0; i < seen.fsyncs; i++) {
		if (seen.inos[i] == ino)
			return true;
	}
	return false;
}

static int syncfs_(void)
{
	const struct fuse_syncfs_in in = { 0 };

	return CALL(FUSE_SYNCFS, 1, in);
}

Test(fs_limits, sync_is_of_what_the_guest_has_changed)
{
	uint64_t ids[3], inos[4];
	struct stat st;

	cr_assert(zero(int, stat(fs.share, &st)));
	inos[3] = st.st_ino;
	host_write(host("share/other"), "the host's");
	(void)node_of(1, "other");
	for (int i = 0; i < 3; i++) {
		char name[] = { 'a', (char)('0' + i), 0 };

		cr_assert(zero(int, create(name, 0644)));
		ids[i] = entry().nodeid;
		inos[i] = entry().attr.ino;
	}
	/* One is forgotten, one is gone. */
	forget(ids[1], 1);
	cr_assert(eq(ptr, fs_node_find(fs_of(), ids[1]), NULL));
	cr_assert(zero(int, CALL_TEXT(FUSE_UNLINK, 1, "a2")));
	cr_assert(zero(int, syncfs_()));
	cr_assert(eq(uint, seen.syncfs, 0));
	cr_assert(eq(uint, seen.fsyncs, 3));
	cr_assert(synced(inos[0]) && synced(inos[1]) && synced(inos[3]));
	cr_assert(not(synced(inos[2])));
	/* Nothing has changed since. */
	cr_assert(zero(int, syncfs_()));
	cr_assert(eq(uint, seen.fsyncs, 3));
	cr_assert(eq(int, fuse_write(handle_of(ids[0], O_WRONLY), 0, "x", 1, 0),
		     1));
	cr_assert(zero(int, syncfs_()));
	cr_assert(eq(uint, seen.fsyncs, 4));
}

/* It is another's, or may not be opened any more: no failure of a sync. */
Test(fs_limits, sync_leaves_out_what_cannot_be_opened)
{
	const struct fuse_mkdir_in dir = { .mode = 0 };

	cr_assert(zero(int, create("closed", 0)));
	cr_assert(zero(int, CALL_NAME(FUSE_MKDIR, 1, dir, "shut")));
	cr_assert(zero(int, create("open", 0644)));
	cr_assert(zero(int, syncfs_()));
	cr_assert(eq(uint, seen.fsyncs, is_root() ? 4 : 2));
}

/* A long sync holds up its ring, and no message. */
Test(fs_limits, a_sync_is_as_long_as_a_turn)
{
	const struct fuse_syncfs_in in = { 0 };
	const struct req r = { .opcode = FUSE_SYNCFS,
			       .node = 1,
			       .arg = &in,
			       .arg_len = sizeof(in) };
	uint16_t head;

	for (char name[] = "a"; name[0] < 'k'; name[0]++)
		cr_assert(zero(int, create(name, 0644)));
	seen.slow = true;
	head = req_add(&r);
	guest_ring_kick(&fs.f.ring[REQUESTS]);
	cr_assert(zero(int, loop_turn(&fs.f.loop, 0)));
	cr_assert(eq(uint, seen.fsyncs, 1));
	/* Stopped and started meanwhile. */
	front_start_at(&fs.f, REQUESTS, front_stop(&fs.f, REQUESTS));
	cr_assert(
		zero(int, reply_take(front_wait_used(&fs.f, REQUESTS, head))));
	cr_assert(eq(uint, seen.fsyncs, 11));
}

/* What is forgotten and not synced counts, until there is need of it. */
Test(fs_limits, forgotten_files_are_synced_when_fds_are_short)
{
	fs_again("max_fds=20", "");
	cr_assert(zero(int, fuse_init(0)));
	for (int i = 0; i < 40; i++) {
		char name[16];
		struct fuse_open_out open_out;

		(void)snprintf(name, sizeof(name), "f%d", i);
		cr_assert(zero(int, create(name, 0644)), "%s", name);
		memcpy(&open_out, fs.reply + sizeof(struct fuse_entry_out),
		       sizeof(open_out));
		forget(entry().nodeid, 1);
		cr_assert(zero(int, release(open_out.fh)));
	}
	cr_assert(gt(uint, seen.fsyncs, 0));
	cr_assert(le(u32, fs_of()->fds, 20));
}

/* ------------------------------------------------- file systems in the share
 */

static void own_mounts(void)
{
	cr_assert(zero(int, unshare(CLONE_NEWNS)));
	cr_assert(zero(int, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)));
	fs_again("", "");
	cr_assert(zero(int, fuse_init(~0U)));
}

Test(fs_limits, the_kernels_own_file_systems_are_not_shared)
{
	static const char *const paths[] = { "path=/proc", "path=/sys" };
	struct virtio_dev *other;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char path[16], tag[] = "tag=t";
		char *const args[] = { path, tag, NULL };

		(void)snprintf(path, sizeof(path), "%s", paths[i]);
		cr_assert(eq(int,
			     virtio_fs_ops.create(&fs.f.loop, args,
						  virtio_no_fds, &other),
			     -EINVAL));
	}
	/* An ordinary user cannot mount one in it either. */
	if (!is_root())
		return;
	own_mounts();
	cr_assert(zero(int, mkdir(host("share/proc"), 0755)));
	cr_assert(zero(
		int, mount("/proc", host("share/proc"), NULL, MS_BIND, NULL)));
	cr_assert(eq(int, lookup(1, "proc"), -EACCES));
	cr_assert(zero(int, umount2(host("share/proc"), MNT_DETACH)));
	(void)node_of(1, "proc");
}

/* A file system's first file has the number that the other's first has. */
static uint64_t file_of_another(const char *name)
{
	cr_assert(zero(int, mkdir(host("outside/%s", name), 0755)));
	cr_assert(zero(int, mount("torpor", host("outside/%s", name), "tmpfs",
				  0, "size=1m")));
	host_write(host("outside/%s/file", name), name);
	host_write(host("share/%s", name), "");
	cr_assert(
		zero(int, mount(host("outside/%s/file", name),
				host("share/%s", name), NULL, MS_BIND, NULL)));
	(void)node_of(1, name);
	return entry().attr.ino;
}

Test(fs_limits, files_of_two_file_systems_have_two_numbers)
{
	const struct fuse_getattr_in in = { 0 };
	struct stat a, b;
	uint64_t ino;

	/* As many as there are of another, whoever runs this. */
	host_write(host("share/plain"), "");
	cr_assert(zero(int, stat(host("share/plain"), &a)));
	(void)node_of(1, "plain");
	cr_assert(eq(u64, entry().attr.ino, a.st_ino));
	if (!is_root())
		return;
	own_mounts();
	ino = file_of_another("a");
	cr_assert(ne(u64, file_of_another("b"), ino));
	cr_assert(zero(int, stat(host("share/a"), &a)));
	cr_assert(zero(int, stat(host("share/b"), &b)));
	cr_assert(eq(u64, a.st_ino, b.st_ino));
	/* The same by all ways. */
	cr_assert(zero(int, CALL(FUSE_GETATTR, node_of(1, "a"), in)));
	cr_assert(eq(u64, ((struct fuse_attr_out *)fs.reply)->attr.ino, ino));
	cr_assert(reads(handle_of(node_of(1, "b"), O_RDONLY), 0, "b"));
	cr_assert(zero(int, umount2(host("share/a"), MNT_DETACH)));
	cr_assert(zero(int, umount2(host("share/b"), MNT_DETACH)));
	cr_assert(zero(int, umount2(host("outside/a"), MNT_DETACH)));
	cr_assert(zero(int, umount2(host("outside/b"), MNT_DETACH)));
}

Test(fs_limits, seeking_before_the_beginning_is_enxio_as_on_the_host)
{
	struct fuse_lseek_in in = { .fh = handle_of(file_with("f", 0644),
						    O_RDONLY),
				    .offset = ~0ULL,
				    .whence = SEEK_DATA };

	cr_assert(eq(int, CALL(FUSE_LSEEK, 1, in), -ENXIO));
	in.whence = SEEK_HOLE;
	cr_assert(eq(int, CALL(FUSE_LSEEK, 1, in), -ENXIO));
	in.whence = SEEK_SET;
	cr_assert(eq(int, CALL(FUSE_LSEEK, 1, in), -EINVAL));
}
