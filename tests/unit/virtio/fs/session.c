/* SPDX-License-Identifier: BSD-3-Clause */
/* A FUSE session: INIT, the words of the device, what outlasts a stop. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"

TestSuite(fs, .init = fs_setup, .fini = fs_teardown, .timeout = 240);

static struct fuse_init_out init_reply(void)
{
	struct fuse_init_out out;

	cr_assert(eq(sz, fs.reply_len, sizeof(out)));
	memcpy(&out, fs.reply, sizeof(out));
	return out;
}

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
	cr_assert(eq(sz, fs.reply_len, 8));
	memcpy(&major, fs.reply, sizeof(major));
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

	cr_assert(front_get_config(&fs.f, 0, config, sizeof(config)));
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

	(void)snprintf(path, sizeof(path), "path=%s", fs.share);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char word[32];
		char *const args[] = { path, tag, word, NULL };
		struct virtio_dev *d = NULL;

		(void)snprintf(word, sizeof(word), "%s", wrong[i]);
		cr_assert(lt(int,
			     virtio_fs_ops.create(&fs.f.loop, args,
						  virtio_no_fds, &d),
			     0),
			  "%s", wrong[i]);
		cr_assert(d == NULL);
	}
	for (int i = 0; i < 2; i++) {
		char none[] = "path=/nonexistent";
		char file[96];
		char *const args[] = { i ? none : file, tag, NULL };
		struct virtio_dev *d = NULL;

		(void)snprintf(file, sizeof(file), "path=%s/secret",
			       fs.outside);
		cr_assert(lt(int,
			     virtio_fs_ops.create(&fs.f.loop, args,
						  virtio_no_fds, &d),
			     0));
	}
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
			cr_assert(eq(u16, front_stop(&fs.f, q),
				     fs.f.ring[q].used->idx));
		cr_assert(not(fs.dev->started));
		front_start_all(&fs.f, FS_NR_QUEUES);
		cr_assert(reads(fh, 0, "before"));
	}
	cr_assert(eq(int, fuse_write(fh, 6, "+after", 6, 0), 6));
	cr_assert(reads(fh, 0, "before+after"));
}

static void reset_device(void)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	cr_assert(zero(u64, front_request(&fs.f, &m, NULL, 0)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		front_ring_reset(&fs.f, q);
	front_negotiate(&fs.f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&fs.f, FS_NR_QUEUES);
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
	const struct guest_buf bufs[] = { { fs.out_gpa, req_write(&r), false },
					  { fs.in_gpa, 65536, true } };
	unsigned int done = 0;
	uint16_t head;
	uint32_t len;

	for (int i = 0; i < 200; i++)
		(void)guest_ring_add(&fs.f.ring[REQUESTS], bufs, 2);
	guest_ring_kick(&fs.f.ring[REQUESTS]);
	cr_assert(zero(int, loop_turn(&fs.f.loop, 0)));
	cr_assert(lt(u16, fs.f.ring[REQUESTS].used->idx, 200));
	front_settle(&fs.f);
	while (guest_ring_reap(&fs.f.ring[REQUESTS], &head, &len)) {
		cr_assert(eq(u32, len, 16 + sizeof(struct fuse_statfs_out)));
		done++;
	}
	cr_assert(eq(uint, done, 200));
}
