/* SPDX-License-Identifier: BSD-3-Clause */
/* File locks: owners, waiting, and what ends a wait. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "tests/lib/fs_rig.h"
#include "virtio/device.h"
#include "virtio/types.h"
#include "vmm/base/fd.h"

TestSuite(fs_lock, .init = fs_setup, .fini = fs_teardown, .timeout = 480);

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

Test(fs_lock, without_the_option_locks_stay_in_the_guest)
{
	uint64_t fh = file("f");

	cr_assert(eq(int, setlk(node_of(1, "f"), fh, 1, F_WRLCK), -ENOSYS));
}

Test(fs_lock, owners_exclude_each_other_and_the_host)
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
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(eq(u32, out.lk.type, F_WRLCK));
	cr_assert(eq(u64, out.lk.end, INT64_MAX));
	cr_assert(zero(int, setlk(id, fh, 1, F_RDLCK)));
	cr_assert(zero(int, setlk(id, fh, 2, F_RDLCK)));
	cr_assert(zero(int, setlk(id, fh, 1, F_UNLCK)));
	/* The close of a file gives up all of its owner's locks on it. */
	cr_assert(zero(int, flush(id, fh, 2)));
	cr_assert(host_can_lock(host("share/f")));
	cr_assert(zero(int, CALL(FUSE_GETLK, id, in)));
	memcpy(&out, fs.reply, sizeof(out));
	cr_assert(eq(u32, out.lk.type, F_UNLCK));
	cr_assert(zero(int, setlk(id, fh, 99, F_UNLCK)));
}

Test(fs_lock, flock_is_the_handles)
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

Test(fs_lock, malformed_locks_are_einval)
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
	uint16_t used = fs.f.ring[REQUESTS].used->idx;
	uint64_t keep = fs.in_gpa;
	uint16_t head;

	/* A reply buffer of its own, below the others'. */
	fs.in_gpa = fs.out_gpa + OUT_BYTES / 2;
	head = req_add(&(struct req){ .opcode = FUSE_SETLKW,
				      .node = id,
				      .arg = &in,
				      .arg_len = sizeof(in),
				      .room = 64 });
	fs.in_gpa = keep;
	*ret_unique = fs.unique;
	guest_ring_kick(&fs.f.ring[REQUESTS]);
	front_settle(&fs.f);
	cr_assert(eq(u16, fs.f.ring[REQUESTS].used->idx, used));
	return head;
}

/* The answer to it. */
static int lock_answer(uint16_t head, uint64_t its_unique)
{
	struct guest_ring *r = &fs.f.ring[REQUESTS];
	struct fuse_out_header h;
	uint16_t got;
	uint32_t len;

	while (!guest_ring_reap(r, &got, &len)) {
		front_wait_fd(&fs.f, r->call_fd);
		(void)fd_event_drain(r->call_fd);
	}
	cr_assert(eq(u16, got, head));
	memcpy(&h, guest_ptr(&fs.f.g, fs.out_gpa + OUT_BYTES / 2), sizeof(h));
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

Test(fs_lock, who_waits_for_a_lock_holds_up_nobody)
{
	one_waits();
	/* Others are served. */
	for (int i = 0; i < 200; i++)
		cr_assert(zero(int, lookup(1, "f")));
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
}

/* Or the process would never sleep again. */
Test(fs_lock, nobody_tries_for_who_waits_in_a_broken_ring)
{
	one_waits();
	guest_ring_avail(&fs.f.ring[REQUESTS], 0xffff);
	guest_ring_kick(&fs.f.ring[REQUESTS]);
	front_wait_fd(&fs.f, fs.f.ring[REQUESTS].err_fd);
	for (int i = 0; i < 3; i++) {
		fs_waits_retry(fs_of());
		cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	}
	(void)front_stop(&fs.f, REQUESTS);
	front_ring_reset(&fs.f, REQUESTS);
	front_start(&fs.f, REQUESTS);
	cr_assert(zero(uint, fs_waits_count(fs_of(), REQUESTS)));
	cr_assert(zero(int, fuse_init(0)));
}

Test(fs_lock, unlocking_lets_the_first_in)
{
	const struct fuse_lk_in in = lk_in(0, 1, F_UNLCK);
	struct guest_ring *r = &fs.f.ring[REQUESTS];
	uint16_t heads[2], got;
	uint32_t len;

	one_waits();
	heads[1] = req_add(&(struct req){ .opcode = FUSE_SETLK,
					  .node = lock_id,
					  .arg = &in,
					  .arg_len = sizeof(in) });
	heads[0] = lock_head;
	guest_ring_kick(r);
	front_settle(&fs.f);
	/* The one that waited, then the one that let it. */
	for (int i = 0; i < 2; i++) {
		cr_assert(guest_ring_reap(r, &got, &len));
		cr_assert(eq(u16, got, heads[i]));
	}
	cr_assert(not(host_can_lock(host("share/f"))));
}

Test(fs_lock, the_host_unlocking_lets_it_in)
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

Test(fs_lock, who_waits_is_held_over_a_stop)
{
	uint16_t base_idx, used;

	one_waits();
	used = fs.f.ring[REQUESTS].used->idx;
	base_idx = front_stop(&fs.f, REQUESTS);
	/* One more than is used: it is still in flight. */
	cr_assert(eq(u16, base_idx, used + 1));
	cr_assert(eq(u16, front_stop(&fs.f, REQUESTS), base_idx));
	(void)front_stop(&fs.f, HIPRIO);
	/* While all is stopped nobody looks, also when it could be had. */
	cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	front_settle(&fs.f);
	cr_assert(zero(u64, fs_of()->wait_timer.deadline_ns));
	cr_assert(eq(u16, fs.f.ring[REQUESTS].used->idx, used));
	front_start_at(&fs.f, REQUESTS, base_idx);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
	cr_assert(not(host_can_lock(host("share/f"))));
	/* The ring goes on where it was. */
	front_start(&fs.f, HIPRIO);
	(void)node_of(1, "f");
	cr_assert(eq(u16, front_stop(&fs.f, REQUESTS),
		     fs.f.ring[REQUESTS].used->idx));
}

Test(fs_lock, who_waits_is_held_over_many_stops)
{
	one_waits();
	for (int i = 0; i < 10; i++) {
		front_start_at(&fs.f, REQUESTS, front_stop(&fs.f, REQUESTS));
		front_settle(&fs.f);
		cr_assert(eq(uint, fs_waits_count(fs_of(), REQUESTS), 1));
		cr_assert(eq(uint, fs.dev->queues[REQUESTS].in_flight, 1));
	}
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	cr_assert(zero(int, lock_answer(lock_head, lock_unique)));
}

Test(fs_lock, a_reset_forgets_who_waits)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	one_waits();
	cr_assert(zero(u64, front_request(&fs.f, &m, NULL, 0)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		front_ring_reset(&fs.f, q);
	front_negotiate(&fs.f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&fs.f, FS_NR_QUEUES);
	cr_assert(zero(uint, fs_waits_count(fs_of(), REQUESTS)));
	cr_assert(zero(int, fuse_init(~0U)));
	cr_assert(host_can_lock(host("share/f")));
	cr_assert(eq(u16, fs.f.ring[REQUESTS].used->idx, 1));
}

/* The buffers of who waits go away meanwhile: the driver's own fault. */
Test(fs_lock, descriptors_rewritten_while_it_waits_break_the_ring)
{
	uint16_t base_idx;

	one_waits();
	base_idx = front_stop(&fs.f, REQUESTS);
	guest_ring_desc(&fs.f.ring[REQUESTS], lock_head, ~0ULL, 1 << 20,
			VRING_DESC_F_NEXT, lock_head);
	fs_locks_drop(fs_of(), fs_node_find(fs_of(), lock_id), 1);
	front_start_at(&fs.f, REQUESTS, base_idx);
	front_wait_fd(&fs.f, fs.f.ring[REQUESTS].err_fd);
	(void)front_stop(&fs.f, REQUESTS);
	front_ring_reset(&fs.f, REQUESTS);
	front_start(&fs.f, REQUESTS);
	cr_assert(zero(int, fuse_init(~0U)));
}

/* Also one that came from the other queue, as no driver does it. */
Test(fs_lock, init_by_the_other_queue_ends_who_waits_in_a_stopped_one)
{
	const struct fuse_init_in in = { .major = 7, .minor = 38 };
	const struct req r = { .opcode = FUSE_INIT,
			       .arg = &in,
			       .arg_len = sizeof(in) };
	const struct guest_buf bufs[] = { { fs.out_gpa, 0, false },
					  { fs.in_gpa, 1024, true } };
	struct guest_buf b[2] = { bufs[0], bufs[1] };
	uint16_t base_idx;

	one_waits();
	base_idx = front_stop(&fs.f, REQUESTS);
	b[0].len = req_write(&r);
	cr_assert(gt(u32,
		     front_wait_used(&fs.f, HIPRIO,
				     guest_ring_add(&fs.f.ring[HIPRIO], b, 2)),
		     16));
	front_start_at(&fs.f, REQUESTS, base_idx);
	cr_assert(eq(int, lock_answer(lock_head, lock_unique), -ENOTCONN));
	cr_assert(eq(u16, front_stop(&fs.f, REQUESTS),
		     fs.f.ring[REQUESTS].used->idx));
}

Test(fs_lock, interrupt_ends_a_wait)
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

Test(fs_lock, forgetting_the_node_ends_a_wait)
{
	one_waits();
	(void)release(lock_fh);
	forget(lock_id, ~0ULL);
	cr_assert(eq(int, lock_answer(lock_head, lock_unique), -ESTALE));
}

Test(fs_lock, locks_survive_a_stop)
{
	with_locks();
	lock_fh = file("f");
	lock_id = node_of(1, "f");
	cr_assert(zero(int, setlk(lock_id, lock_fh, 1, F_WRLCK)));
	for (unsigned int q = 0; q < FS_NR_QUEUES; q++)
		(void)front_stop(&fs.f, q);
	cr_assert(not(host_can_lock(host("share/f"))));
	front_start_all(&fs.f, FS_NR_QUEUES);
	cr_assert(eq(int, setlk(lock_id, lock_fh, 2, F_WRLCK), -EAGAIN));
}

Test(fs_lock, the_end_of_the_front_end_with_who_waits)
{
	one_waits();
	(void)shutdown(fs.f.sock, SHUT_RDWR);
	cr_assert(zero(int, loop_run(&fs.f.loop)));
	cr_assert(not(fs.dev->started));
}
