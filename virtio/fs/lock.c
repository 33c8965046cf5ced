/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks of the guest as locks of the host, so that both sides and other guests
 * exclude each other. Loop thread only.
 *
 * A lock of fcntl() belongs to a process of the guest, its owner; here to an
 * open file of its own per owner and node (open file description locks). A
 * lock of flock() belongs to the handle.
 *
 * Nothing here blocks. Who has to wait (FUSE_SETLKW) keeps its chain in flight
 * and tries again when the guest unlocks something, and from time to time
 * because of the host. No one tries while the ring is stopped, the chain is
 * held over it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "virtio/fs/fs.h"
#include "vmm/base/fd.h"

#define RETRY_FIRST_NS 10000000ULL
#define RETRY_MAX_NS   500000000ULL

/* ------------------------------------------------------------------- owners */

static struct fs_lock *lock_find(const struct fs_node *node, uint64_t owner)
{
	struct fs_lock *lock = node->locks;

	while (lock && lock->owner != owner)
		lock = lock->next;
	return lock;
}

/* Return: NULL and the reason. */
static struct fs_lock *lock_get(struct virtio_fs *fs, struct fs_node *node,
				uint64_t owner, int *ret_error)
{
	struct fs_lock *lock = lock_find(node, owner);
	int fd;

	if (lock)
		return lock;
	*ret_error = fs_fd_room(fs);
	if (*ret_error < 0)
		return NULL;
	/* For both kinds of locks, where it may be. */
	fd = fs_node_open(node, O_RDWR);
	if (fd == -EACCES || fd == -EROFS || fd == -EISDIR)
		fd = fs_node_open(node, O_RDONLY);
	if (fd < 0) {
		*ret_error = fd;
		return NULL;
	}
	lock = calloc(1, sizeof(*lock));
	if (!lock) {
		fd_close(&fd);
		*ret_error = -ENOMEM;
		return NULL;
	}
	lock->owner = owner;
	lock->fd = fd;
	lock->next = node->locks;
	node->locks = lock;
	fs->fds++;
	return lock;
}

void fs_locks_drop(struct virtio_fs *fs, struct fs_node *node, uint64_t owner)
{
	struct fs_lock **at = &node->locks;

	while (*at && (*at)->owner != owner)
		at = &(*at)->next;
	if (*at) {
		fs_lock_remove(fs, at);
		fs_waits_retry(fs);
	}
}

/* -------------------------------------------------------------------- locks */

static int to_flock(const struct fuse_file_lock *lk, struct flock *ret)
{
	if (lk->start > INT64_MAX || lk->end > INT64_MAX ||
	    lk->end < lk->start ||
	    (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK))
		return -EINVAL;
	*ret = (struct flock){ .l_type = (short)lk->type,
			       .l_whence = SEEK_SET,
			       .l_start = (off_t)lk->start };
	/* The last offset there is means for ever. */
	if (lk->end != INT64_MAX)
		ret->l_len = (off_t)(lk->end - lk->start + 1);
	return 0;
}

int fs_op_getlk(struct fs_request *req)
{
	struct fuse_lk_out out = { 0 };
	const struct fs_lock *lock;
	struct fuse_lk_in in;
	struct flock fl;
	int r = 0;

	memcpy(&in, req->arg, sizeof(in));
	if (!req->fs->locks)
		return -ENOSYS;
	lock = lock_get(req->fs, req->node, in.owner, &r);
	if (!lock)
		return r;
	r = to_flock(&in.lk, &fl);
	if (r < 0)
		return r;
	if (fcntl(lock->fd, F_OFD_GETLK, &fl) < 0)
		return -errno;
	out.lk.type = (uint32_t)fl.l_type;
	/* Whose it is, nobody knows: pids of the host mean nothing here. */
	if (fl.l_type != F_UNLCK) {
		out.lk.start = (uint64_t)fl.l_start;
		out.lk.end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1)
				      : (uint64_t)INT64_MAX;
	}
	return fs_reply(req, &out, sizeof(out));
}

static int try_flock(struct virtio_fs *fs, const struct fuse_lk_in *in)
{
	const struct fs_handle *handle = fs_handle_find(fs, in->fh, false);
	int op;

	if (!handle)
		handle = fs_handle_find(fs, in->fh, true);
	if (!handle)
		return -EBADF;
	if (in->lk.type == F_RDLCK)
		op = LOCK_SH;
	else if (in->lk.type == F_WRLCK)
		op = LOCK_EX;
	else if (in->lk.type == F_UNLCK)
		op = LOCK_UN;
	else
		return -EINVAL;
	return flock(handle->fd, op | LOCK_NB) < 0 ? -errno : 0;
}

/* Return: 0; -EAGAIN somebody else has it; -errno. */
static int try_lock(struct virtio_fs *fs, struct fs_node *node,
		    const struct fuse_lk_in *in)
{
	const struct fs_lock *lock;
	struct flock fl;
	int r;

	if (!fs->locks)
		return -ENOSYS;
	if (in->lk_flags & FUSE_LK_FLOCK)
		return try_flock(fs, in);
	r = to_flock(&in->lk, &fl);
	if (r < 0)
		return r;
	/* Who has locked nothing has nothing to unlock. */
	if (fl.l_type == F_UNLCK && !lock_find(node, in->owner))
		return 0;
	lock = lock_get(fs, node, in->owner, &r);
	if (!lock)
		return r;
	if (fcntl(lock->fd, F_OFD_SETLK, &fl) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

int fs_op_setlk(struct fs_request *req)
{
	struct fuse_lk_in in;
	int r;

	memcpy(&in, req->arg, sizeof(in));
	r = try_lock(req->fs, req->node, &in);
	if (r == 0)
		fs_waits_retry(req->fs);
	return r;
}

/* ------------------------------------------------------------------ waiting */

static void on_wait_timer(struct loop_timer *timer);

/* Whether there is a ring to answer @w in. */
static bool can_answer(const struct virtio_fs *fs, const struct fs_wait *w)
{
	const struct virtq *vq = &fs->dev.queues[w->queue];

	return vq->running && !vq->broken;
}

/* Tries again in @delay_ns, if there is a ring that could take the answer. */
static void waits_arm(struct virtio_fs *fs, uint64_t delay_ns)
{
	const struct fs_wait *w = fs->waits;

	while (w && !can_answer(fs, w))
		w = w->next;
	fs->wait_ns = delay_ns;
	if (w)
		loop_timer_set(fs->dev.loop, &fs->wait_timer, delay_ns,
			       on_wait_timer);
	else
		loop_timer_cancel(fs->dev.loop, &fs->wait_timer);
}

/*
 * The end of a wait. If its ring is stopped, once it runs again. Moves @at to
 * the next one.
 */
static struct fs_wait **wait_finish(struct virtio_fs *fs, struct fs_wait **at,
				    int error)
{
	struct fs_wait *w = *at;

	if (!can_answer(fs, w)) {
		w->error = error;
		return &w->next;
	}
	*at = w->next;
	fs_answer_held(fs, w, error);
	free(w);
	return at;
}

/* Return: -EAGAIN: it waits on. */
static int wait_try(struct virtio_fs *fs, const struct fs_wait *w)
{
	struct fs_node *node;

	if (!can_answer(fs, w))
		return -EAGAIN;
	if (w->error)
		return w->error;
	node = fs_node_find(fs, w->nodeid);
	return node ? try_lock(fs, node, &w->lk) : -ESTALE;
}

static void waits_try(struct virtio_fs *fs)
{
	struct fs_wait **at = &fs->waits;

	while (*at) {
		int r = wait_try(fs, *at);

		at = r == -EAGAIN ? &(*at)->next : wait_finish(fs, at, r);
	}
}

static void on_wait_timer(struct loop_timer *timer)
{
	struct virtio_fs *fs =
		container_of(timer, struct virtio_fs, wait_timer);

	waits_try(fs);
	waits_arm(fs, MIN(fs->wait_ns * 2, RETRY_MAX_NS));
}

void fs_waits_retry(struct virtio_fs *fs)
{
	if (!fs->waits)
		return;
	waits_try(fs);
	waits_arm(fs, RETRY_FIRST_NS);
}

int fs_op_setlkw(struct fs_request *req)
{
	struct virtio_fs *fs = req->fs;
	struct fs_wait **at = &fs->waits;
	struct fuse_lk_in in;
	struct fs_wait *w;
	int r;

	memcpy(&in, req->arg, sizeof(in));
	r = try_lock(fs, req->node, &in);
	if (r == 0)
		fs_waits_retry(fs);
	if (r != -EAGAIN)
		return r;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct fs_wait){ .queue = req->queue,
			       .head = req->chain->head,
			       .unique = req->h.unique,
			       .nodeid = req->h.nodeid,
			       .lk = in };
	while (*at)
		at = &(*at)->next;
	*at = w;
	waits_arm(fs, RETRY_FIRST_NS);
	return FS_HELD;
}

unsigned int fs_waits_count(const struct virtio_fs *fs, unsigned int queue)
{
	unsigned int n = 0;

	for (const struct fs_wait *w = fs->waits; w; w = w->next)
		n += w->queue == queue;
	return n;
}

void fs_waits_forget(struct virtio_fs *fs, unsigned int queue)
{
	struct fs_wait **at = &fs->waits;

	while (*at) {
		struct fs_wait *w = *at;

		if (w->queue != queue) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

void fs_waits_abort(struct virtio_fs *fs)
{
	struct fs_wait **at = &fs->waits;

	while (*at)
		at = wait_finish(fs, at, -ENOTCONN);
}

int fs_op_interrupt(struct fs_request *req)
{
	struct fs_wait **at = &req->fs->waits;
	struct fuse_interrupt_in in;

	memcpy(&in, req->arg, sizeof(in));
	while (*at && (*at)->unique != in.unique)
		at = &(*at)->next;
	/* All else is answered already. */
	if (*at)
		(void)wait_finish(req->fs, at, -EINTR);
	return FS_NO_REPLY;
}
