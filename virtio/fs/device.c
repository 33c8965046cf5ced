/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file system device: its rings, the table of operations, and the role.
 * Loop thread only. See fs.h.
 *
 * Every request but a lock that has to wait is answered before the next one is
 * taken: the host's page cache makes most of them short, and a process that
 * waits for a slow disk lets its ring wait, no more.
 *
 * Words: tag=TAG, cache=never|auto|always, timeout=SECONDS, writeback, locks,
 * suid, reserved, max_fds=N, and path=DIR by hand. Without path the directory
 * is the first fd it is given; with "proc" the one after it is /proc/self/fd,
 * which a jail with an empty root has no other way to.
 */
#define _GNU_SOURCE
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/iov.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/words.h"

/* Fewer nodes than a guest that walks a tree of sources has. */
#define FDS_FEW (1U << 16)
/* Of the process's fds, for what is none of the guest's. */
#define FDS_KEPT 128U
/* Slots of a table have 20 bits. */
#define FDS_MAX ((1U << 20) - 2)
/* An attribute is not valid for longer than this: a year. */
#define TIMEOUT_MAX (366ULL * 86400)

_Static_assert(sizeof(struct fuse_in_header) == 40, "wire format");
_Static_assert(sizeof(struct virtio_fs_config) == 40, "config space");

static struct virtio_fs *to_fs(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_fs, dev);
}

/* ------------------------------------------------------------- operations */

static const struct fs_op ops[] = {
	[FUSE_LOOKUP] = { fs_op_lookup, 1, FS_OP_DIR },
	[FUSE_FORGET] = { fs_op_forget, sizeof(struct fuse_forget_in), 0 },
	[FUSE_GETATTR] = { fs_op_getattr, sizeof(struct fuse_getattr_in),
			   FS_OP_NODE },
	[FUSE_SETATTR] = { fs_op_setattr, sizeof(struct fuse_setattr_in),
			   FS_OP_NODE },
	[FUSE_READLINK] = { fs_op_readlink, 0, FS_OP_NODE },
	[FUSE_SYMLINK] = { fs_op_symlink, 2, FS_OP_DIR },
	[FUSE_MKNOD] = { fs_op_mknod, sizeof(struct fuse_mknod_in) + 1,
			 FS_OP_DIR },
	[FUSE_MKDIR] = { fs_op_mkdir, sizeof(struct fuse_mkdir_in) + 1,
			 FS_OP_DIR },
	[FUSE_UNLINK] = { fs_op_unlink, 1, FS_OP_DIR },
	[FUSE_RMDIR] = { fs_op_rmdir, 1, FS_OP_DIR },
	[FUSE_RENAME] = { fs_op_rename, sizeof(struct fuse_rename_in) + 2,
			  FS_OP_DIR },
	[FUSE_RENAME2] = { fs_op_rename2, sizeof(struct fuse_rename2_in) + 2,
			   FS_OP_DIR },
	[FUSE_LINK] = { fs_op_link, sizeof(struct fuse_link_in) + 1,
			FS_OP_DIR },
	[FUSE_OPEN] = { fs_op_open, sizeof(struct fuse_open_in), FS_OP_NODE },
	[FUSE_READ] = { fs_op_read, sizeof(struct fuse_read_in), 0 },
	[FUSE_WRITE] = { fs_op_write, sizeof(struct fuse_write_in), 0 },
	[FUSE_STATFS] = { fs_op_statfs, 0, FS_OP_NODE },
	[FUSE_RELEASE] = { fs_op_release, sizeof(struct fuse_release_in), 0 },
	[FUSE_FSYNC] = { fs_op_fsync, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_SETXATTR] = { fs_op_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE + 2,
			    FS_OP_NODE },
	[FUSE_GETXATTR] = { fs_op_getxattr, sizeof(struct fuse_getxattr_in) + 1,
			    FS_OP_NODE },
	[FUSE_LISTXATTR] = { fs_op_listxattr, sizeof(struct fuse_getxattr_in),
			     FS_OP_NODE },
	[FUSE_REMOVEXATTR] = { fs_op_removexattr, 1, FS_OP_NODE },
	[FUSE_FLUSH] = { fs_op_flush, sizeof(struct fuse_flush_in),
			 FS_OP_NODE },
	[FUSE_INIT] = { fs_op_init, FUSE_COMPAT_INIT_OUT_SIZE, FS_OP_ANYTIME },
	[FUSE_OPENDIR] = { fs_op_opendir, sizeof(struct fuse_open_in),
			   FS_OP_DIR },
	[FUSE_READDIR] = { fs_op_readdir, sizeof(struct fuse_read_in),
			   FS_OP_DIR },
	[FUSE_READDIRPLUS] = { fs_op_readdirplus, sizeof(struct fuse_read_in),
			       FS_OP_DIR },
	[FUSE_RELEASEDIR] = { fs_op_releasedir, sizeof(struct fuse_release_in),
			      0 },
	[FUSE_FSYNCDIR] = { fs_op_fsyncdir, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_GETLK] = { fs_op_getlk, sizeof(struct fuse_lk_in), FS_OP_NODE },
	[FUSE_SETLK] = { fs_op_setlk, sizeof(struct fuse_lk_in), FS_OP_NODE },
	[FUSE_SETLKW] = { fs_op_setlkw, sizeof(struct fuse_lk_in), FS_OP_NODE },
	[FUSE_ACCESS] = { fs_op_access, sizeof(struct fuse_access_in),
			  FS_OP_NODE },
	[FUSE_CREATE] = { fs_op_create, sizeof(struct fuse_create_in) + 1,
			  FS_OP_DIR },
	[FUSE_INTERRUPT] = { fs_op_interrupt, sizeof(struct fuse_interrupt_in),
			     0 },
	[FUSE_DESTROY] = { fs_op_destroy, 0, 0 },
	[FUSE_BATCH_FORGET] = { fs_op_batch_forget,
				sizeof(struct fuse_batch_forget_in), 0 },
	[FUSE_FALLOCATE] = { fs_op_fallocate, sizeof(struct fuse_fallocate_in),
			     0 },
	[FUSE_LSEEK] = { fs_op_lseek, sizeof(struct fuse_lseek_in), 0 },
	[FUSE_COPY_FILE_RANGE] = { fs_op_copy_file_range,
				   sizeof(struct fuse_copy_file_range_in), 0 },
	[FUSE_SYNCFS] = { fs_op_syncfs, 0, FS_OP_NODE },
	[FUSE_TMPFILE] = { fs_op_tmpfile, sizeof(struct fuse_create_in),
			   FS_OP_DIR },
};

/* ----------------------------------------------------------------- requests */

/* What of the request is copied: all but the data of a WRITE. */
static int arg_copy(struct fs_request *req)
{
	const struct virtq_chain *c = req->chain;
	struct virtio_fs *fs = req->fs;
	size_t len = c->len_out - sizeof(req->h);

	if (req->h.opcode == FUSE_WRITE)
		len = MIN(len, sizeof(struct fuse_write_in));
	if (len > FS_ARG_BYTES)
		return -EINVAL;
	req->arg_len =
		iov_read(c->iov, c->nr_out, sizeof(req->h), fs->arg, len);
	fs->arg[req->arg_len] = '\0';
	req->arg = fs->arg;
	return 0;
}

/* Return: as a function of the table. */
static int dispatch(struct fs_request *req)
{
	const struct fs_op *op;
	int r;

	if (req->h.opcode >= ARRAY_SIZE(ops) || !ops[req->h.opcode].fn)
		return -ENOSYS;
	op = &ops[req->h.opcode];
	if (!req->fs->live && !(op->flags & FS_OP_ANYTIME))
		return -ENOTCONN;
	r = arg_copy(req);
	if (r < 0)
		return r;
	if (req->arg_len < op->arg_min)
		return -EINVAL;
	req->node = fs_node_find(req->fs, req->h.nodeid);
	if (op->flags & (FS_OP_NODE | FS_OP_DIR) && !req->node)
		return -ESTALE;
	if (op->flags & FS_OP_DIR && req->node->type != S_IFDIR)
		return -ENOTDIR;
	return op->fn(req);
}

static bool wants_no_reply(uint32_t opcode)
{
	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET ||
	       opcode == FUSE_INTERRUPT;
}

/* Return: false: not done yet, and given back. */
static bool answer(struct fs_request *req, struct virtq *vq)
{
	const struct virtq_chain *c = req->chain;
	int r;

	if (iov_read(c->iov, c->nr_out, 0, &req->h, sizeof(req->h)) <
	    sizeof(req->h)) {
		fs_answer(vq, c, 0, -EINVAL);
		return true;
	}
	r = req->h.len == c->len_out && req->h.len <= FS_REQUEST_MAX
		    ? dispatch(req)
		    : -EINVAL;
	if (r == FS_HELD)
		return true;
	if (r == FS_AGAIN) {
		virtq_unpop(vq, &c->head, 1);
		return false;
	}
	/* Even where something was wrong with it. */
	if (wants_no_reply(req->h.opcode))
		virtq_push(vq, c->head, 0);
	else
		fs_answer(vq, c, req->h.unique, r);
	return true;
}

static bool serve(struct virtio_dev *dev, struct virtq *vq,
		  const struct virtq_chain *chain, struct turn *turn)
{
	struct fs_request req = {
		.fs = to_fs(dev),
		.chain = chain,
		.turn = turn,
		.queue = (unsigned int)(vq - dev->queues),
	};

	if (!answer(&req, vq)) {
		virtq_requeue_kick(vq);
		return false;
	}
	/* Who waits for it shall not wait for the next. */
	(void)virtq_signal(vq);
	/* Each may have taken long. */
	(void)turn_time_over(turn);
	return true;
}

static void fs_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct turn turn = turn_begin(FS_QUEUE_SIZE, FS_TURN_BYTES);
	struct virtq *vq = &dev->queues[queue];
	struct virtio_fs *fs = to_fs(dev);

	/* A ring that was reset has forgotten what was in flight. */
	if (vq->in_flight != fs_waits_count(fs, queue))
		fs_waits_forget(fs, queue);
	if (fs->waits && !fs->wait_timer.deadline_ns)
		fs_waits_retry(fs);
	virtq_serve(dev, vq, &turn, serve);
}

static void fs_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_fs *fs = to_fs(dev);

	/* What waits for a lock goes on waiting, in the driver's eyes. */
	virtq_hold(&dev->queues[queue], fs_waits_count(fs, queue));
}

static void fs_stop(struct virtio_dev *dev)
{
	/* Nobody tries for a lock until a ring runs again. */
	loop_timer_cancel(dev->loop, &to_fs(dev)->wait_timer);
}

/* ------------------------------------------------------ from words and fds */

struct fs_words {
	const char *path;
	uint64_t timeout_s;
	uint64_t max_fds;
	bool timeout_set;
	bool proc;
};

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_tag(const char *text, struct virtio_fs *fs)
{
	size_t len = strlen(text);

	if (!len || len > FS_TAG_MAX)
		return -EINVAL;
	memcpy(fs->tag, text, len + 1);
	return 0;
}

static int parse_cache(const char *text, enum fs_cache *ret)
{
	int i = words_find(fs_cache_words, text);

	if (i < 0)
		return i;
	*ret = (enum fs_cache)i;
	return 0;
}

static int parse_word(const char *word, struct virtio_fs *fs,
		      struct fs_words *w)
{
	if (!strncmp(word, "tag=", 4))
		return parse_tag(word + 4, fs);
	if (!strncmp(word, "path=", 5)) {
		w->path = word + 5;
		return 0;
	}
	if (!strncmp(word, "cache=", 6))
		return parse_cache(word + 6, &fs->cache);
	if (!strncmp(word, "timeout=", 8)) {
		w->timeout_set = true;
		return parse_number(word + 8, TIMEOUT_MAX, &w->timeout_s);
	}
	if (!strncmp(word, "max_fds=", 8))
		return parse_number(word + 8, FDS_MAX, &w->max_fds);
	if (!strcmp(word, "writeback"))
		fs->writeback = true;
	else if (!strcmp(word, "locks"))
		fs->locks = true;
	else if (!strcmp(word, "suid"))
		fs->suid = true;
	else if (!strcmp(word, "reserved"))
		fs->reserved = true;
	else if (!strcmp(word, "proc"))
		w->proc = true;
	else
		return -EINVAL;
	return 0;
}

static int parse_words(char *const *args, struct virtio_fs *fs,
		       struct fs_words *w)
{
	for (; *args; args++) {
		int r = parse_word(*args, fs, w);

		if (r < 0)
			return log_errno(r, "fs: word '%s'", *args);
	}
	if (!fs->tag[0])
		return log_errno(-EINVAL, "fs: tag=TAG is missing");
	fs->timeout_s = w->timeout_set		      ? w->timeout_s
			: fs->cache == FS_CACHE_NEVER ? 0
						      : FS_TIMEOUT_S;
	return 0;
}

/* Raises the limit to the maximum; each node of the guest costs one. */
static int fds_raise(struct virtio_fs *fs, uint64_t wanted)
{
	struct rlimit lim;
	rlim_t max;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return -errno;
	if (lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
			return -errno;
	}
	max = MIN(lim.rlim_cur, (rlim_t)FDS_MAX + FDS_KEPT);
	if (max <= 2 * (rlim_t)FDS_KEPT)
		return log_errno(-ENFILE,
				 "%llu file descriptors are too few (ulimit "
				 "-Hn)",
				 (unsigned long long)max);
	fs->fds_max = (uint32_t)(max - FDS_KEPT);
	if (max < FDS_FEW)
		log_warn("the guest can have at most %u files at a time: "
			 "'ulimit -Hn' allows no more",
			 fs->fds_max);
	if (wanted)
		fs->fds_max = (uint32_t)MIN(wanted, (uint64_t)fs->fds_max);
	return 0;
}

static int open_dirs(struct virtio_fs *fs, const struct fs_words *w,
		     const int *fds)
{
	fs->root_fd = fds[0];
	if (w->path) {
		fs->root_fd = open(w->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fs->root_fd < 0)
			return log_errno(-errno, "open directory '%s'",
					 w->path);
	}
	if (w->proc) {
		fs->proc_fd = fds[1];
		return 0;
	}
	fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc_fd < 0)
		return log_errno(-errno, "open /proc/self/fd");
	return 0;
}

static void role_destroy(struct virtio_dev *dev)
{
	struct virtio_fs *fs;

	if (!dev)
		return;
	fs = to_fs(dev);
	loop_timer_cancel(dev->loop, &fs->wait_timer);
	fs_session_finish(fs);
	fd_close(&fs->root_fd);
	fd_close(&fs->proc_fd);
	free(fs);
}

static int prepare(struct virtio_fs *fs, char *const *args, const int *fds)
{
	struct virtio_fs_config config = { .num_request_queues = 1 };
	struct fs_words words = { 0 };
	int r = parse_words(args, fs, &words);

	if (r == 0)
		r = fds_raise(fs, words.max_fds);
	if (r == 0)
		r = open_dirs(fs, &words, fds);
	if (r < 0)
		return r;
	if (fchdir(fs->proc_fd) < 0)
		return log_errno(-errno, "enter /proc/self/fd");
	/* The guest's kernel has applied that of the caller. */
	(void)umask(0);
	fs_cred_init(fs);
	memcpy(config.tag, fs->tag, strlen(fs->tag));
	memcpy(fs->dev.config, &config, sizeof(config));
	r = fs_session_init(fs);
	return r < 0 ? log_errno(r, "use the shared directory") : 0;
}

static int role_create(struct loop *loop, char *const *args, const int *fds,
		       struct virtio_dev **ret_dev)
{
	struct virtio_fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return -ENOMEM;
	fs->root_fd = fs->proc_fd = -1;
	fs->cache = FS_CACHE_AUTO;
	virtio_dev_init(&fs->dev, &virtio_fs_ops, loop);
	fs->dev.files_dir = &fs->root_fd;
	r = prepare(fs, args, fds);
	if (r < 0) {
		role_destroy(&fs->dev);
		return r;
	}
	*ret_dev = &fs->dev;
	return 0;
}

const struct virtio_dev_ops virtio_fs_ops = {
	.type = &virtio_types[VIRTIO_TYPE_FS],
	.usage = "path=DIR tag=TAG [cache=auto|always|never] [timeout=N]\n"
		 "            [writeback] [locks]",
	.create = role_create,
	.destroy = role_destroy,
	.kick = fs_kick,
	.stop_queue = fs_stop_queue,
	.stop = fs_stop,
};
