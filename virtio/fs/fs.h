/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file system device (virtio 1.x, 5.11): FUSE requests out of a ring,
 * answered by system calls on one shared directory. Loop thread only. The
 * inside, shared by its parts; one calls those below it:
 *
 *	device.c	role, rings, the table of operations
 *	session.c	FUSE_INIT to FUSE_DESTROY
 *	attr.c dir.c file.c sync.c lock.c
 *			what the operations do
 *	handle.c	what the guest has open
 *	node.c		files that it knows, and the fds of all
 *	dirty.c		those that nobody has synced
 *	request.c	a request's arguments and its reply
 *	cred.c		in whose name
 *	stat.c table.c	a file of the host; entries with an id
 *
 * No path of a guest is ever walked. A node is an O_PATH fd, taken by a single
 * name that was checked to be one (no '/', no "." or "..") and without
 * following a symlink; what happens to it happens through that fd. Real I/O
 * opens it again as "N" in /proc/self/fd, which is the working directory. So a
 * rename or a symlink swapped in at any moment changes which file of the
 * shared tree is meant, never that it is one of it.
 *
 * A session is what FUSE_INIT begins: nodes, open handles, locks. It ends by
 * FUSE_DESTROY, by the next FUSE_INIT or with the process. A stopped ring, a
 * sleep and even a reset device leave it alone: the driver that comes back
 * without FUSE_INIT finds its files open.
 */
#ifndef TORPOR_VIRTIO_FS_FS_H
#define TORPOR_VIRTIO_FS_FS_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "virtio/choices.h"
#include "virtio/device.h"
#include "virtio/turn.h"

#define FS_TURN_BYTES (4U << 20) /* moved in one turn of the loop */
#define FS_TAG_MAX    36U
#define FS_TIMEOUT_S  5U /* default, of names and attributes in the guest */
#define FS_MAX_WRITE  (1U << 20) /* bytes of one READ or WRITE */
#define FS_NAME_MAX   255U

/* Of a whole request, as no driver makes a longer one. */
#define FS_REQUEST_MAX (FS_MAX_WRITE + (64U << 10))
/* Of a request that is copied before it is read: all but WRITE's data. */
#define FS_ARG_BYTES (66U << 10)
/* Of a reply that is made in private memory: all but READ's data. */
#define FS_OUT_BYTES (64U << 10)
/* Of the host's entries that an open directory keeps. */
#define FS_BATCH_BYTES 4096U

/* ------------------------------------------------------------------ tables */

/*
 * Entries that are named by an id to the guest: the slot in the low bits, a
 * serial number above, so that a slot used again has another id. Entries stay
 * where they are.
 */
#define FS_SLOT_BITS 20
#define FS_SLOT_MASK ((1U << FS_SLOT_BITS) - 1)

struct fs_entry {
	uint64_t id; /* 0: free */
	uint32_t next_free;
};

struct fs_table {
	void **chunks;
	size_t entry_bytes;
	uint32_t nr;	     /* slots there are, number 0 unused */
	uint32_t first_free; /* 0: none */
	uint32_t used;
	uint64_t serial;
};

struct fs_lock;

struct fs_node {
	struct fs_entry e;
	uint64_t nlookup; /* references the guest has; the root needs none */
	uint64_t dev, ino, mnt;
	/* In a list of dirty ones, see dirty.c; at: NULL if it is in none. */
	struct fs_node *dirty_next, **dirty_at;
	uint32_t hash_next; /* slot; 0: none */
	int fd;		    /* O_PATH */
	mode_t type;	    /* S_IFMT part */
	struct fs_lock *locks;
};

/*
 * What was last read of an open directory. A driver tells how far it got by
 * the offset of an entry, and often it got not as far as the reply reached. It
 * is answered from here: to seek would be wrong where an offset is a count of
 * entries (tmpfs before Linux 6.6) and some of those before it are gone.
 */
struct fs_batch {
	uint64_t start; /* offset of the first entry */
	uint64_t pos;	/* at which the fd stands: behind the last */
	size_t len;	/* bytes */
	_Alignas(8) uint8_t bytes[FS_BATCH_BYTES];
};

struct fs_handle {
	struct fs_entry e;
	uint64_t nodeid;
	int fd;
	struct fs_batch *batch; /* of a directory; NULL: a file */
};

/* The open file that carries one owner's locks on one node. */
struct fs_lock {
	struct fs_lock *next;
	uint64_t owner;
	int fd;
};

/* A FUSE_SETLKW that has to wait; its chain is in flight. */
struct fs_wait {
	struct fs_wait *next;
	unsigned int queue;
	uint16_t head;
	uint64_t unique, nodeid;
	struct fuse_lk_in lk;
	int error; /* the answer there is already; 0: none */
};

/* A long FUSE_FALLOCATE that goes on in another turn of the loop. */
struct fs_resume {
	uint64_t unique, fh;
	uint64_t done; /* bytes; 0: there is none */
};

/* ------------------------------------------------------------------ device */

struct virtio_fs {
	struct virtio_dev dev;

	/* What it was made with. */
	int root_fd; /* O_PATH */
	int proc_fd; /* O_PATH, /proc/self/fd */
	char tag[FS_TAG_MAX + 1];
	enum fs_cache cache;
	uint64_t timeout_s; /* of names and attributes in the guest */
	bool writeback;	    /* wanted */
	bool locks;	    /* those of guest and host exclude each other */
	bool suid;	    /* files may have set-id bits, where root shares */
	bool reserved;	    /* and take blocks that are reserved for root */
	bool act_as_caller; /* files are made with the caller's ids */
	bool keeps_suid;    /* CAP_FSETID: a write does not clear set-id bits */
	bool spares;	    /* leaves the reserved blocks alone */

	/* The session. */
	bool live;	/* since FUSE_INIT */
	uint32_t flags; /* negotiated */
	uint32_t fds;	/* of nodes, handles and locks, and what costs alike */
	uint32_t fds_max;
	struct fs_table nodes;
	struct fs_table handles;
	uint32_t *buckets; /* slots of nodes by dev, ino, mnt */
	uint32_t nr_buckets;
	struct fs_node *root;
	/* Changed since the last sync; those, but the guest has forgotten them.
	 */
	struct fs_node *dirty, *orphans;
	int sync_error; /* of the sync that is not at its end */
	struct fs_resume resume;
	uint64_t
		*devs; /* file systems seen, for inode numbers; 0: the root's */
	uint32_t nr_devs;
	struct fs_wait *waits; /* oldest first */
	struct loop_timer wait_timer;
	uint64_t wait_ns;

	/* The request in hand. */
	struct iovec data[VIRTQ_MAX_CHAIN];
	_Alignas(8) uint8_t arg[FS_ARG_BYTES + 1]; /* ends in a zero byte */
	_Alignas(8) uint8_t out[FS_OUT_BYTES];
};

struct fs_request {
	struct virtio_fs *fs;
	const struct virtq_chain *chain;
	struct turn *turn;
	unsigned int queue;
	struct fuse_in_header h;
	struct fs_node *node; /* h.nodeid; NULL where none is needed */
	const uint8_t *arg;   /* behind the header */
	size_t arg_len;
};

/*
 * What a request's function returns: bytes of the reply behind its header,
 * which fs_reply() or the function itself has put there, or -errno, or one of
 * these.
 */
#define FS_NO_REPLY INT32_MAX
#define FS_HELD	    (INT32_MAX - 1)
/* Not done yet: the same request once more in the next turn. */
#define FS_AGAIN (INT32_MAX - 2)

struct fs_op {
	int (*fn)(struct fs_request *req);
	uint16_t arg_min; /* bytes */
	uint8_t flags;	  /* FS_OP_ */
};

#define FS_OP_NODE    1 /* h.nodeid must be a node */
#define FS_OP_DIR     2 /* and a directory */
#define FS_OP_ANYTIME 4 /* also before FUSE_INIT */

/* --- request.c --- */

/**
 * fs_arg_name() - one name out of the request
 * @off: where it starts; set to the byte behind its end
 *
 * Return: 0; -EINVAL it does not end, is empty, "." or "..", or has a '/';
 * -ENAMETOOLONG.
 */
int fs_arg_name(const struct fs_request *req, size_t *off,
		const char **ret) must_check;
/* The same without the checks of a name: of a symlink's target, an xattr. */
int fs_arg_text(const struct fs_request *req, size_t *off,
		const char **ret) must_check;

/* Copies @len bytes behind the reply's header. Return: @len or -EINVAL. */
int fs_reply(struct fs_request *req, const void *data, size_t len) must_check;
/* Room behind the reply's header, bytes. */
size_t fs_reply_room(const struct fs_request *req);
/* Writes the reply's header and uses the chain. @r: bytes behind it; -errno */
void fs_answer(struct virtq *vq, const struct virtq_chain *c, uint64_t unique,
	       int r);
/* Answers a chain that was held. */
void fs_answer_held(struct virtio_fs *fs, const struct fs_wait *w, int error);

/* --- stat.c: a file as the host has it, and as the guest is shown it --- */

/* "N" of /proc/self/fd, the working directory. */
struct fs_proc_path {
	char name[12];
};
struct fs_proc_path fs_proc_path(int fd);
/* Opens a node's file for I/O; only regular files and directories. */
int fs_node_open(const struct fs_node *node, int flags) must_check;

/* @ret_attr->flags is left 0. Return: 0 or -errno. */
int fs_stat(int fd, struct statx *ret) must_check;
void fs_attr_fill(const struct virtio_fs *fs, const struct statx *st,
		  struct fuse_attr *ret);
/* As st_dev. */
uint64_t fs_dev_of(const struct statx *st);
/* @dev has files that the guest knows. Return: 0 or -ENOMEM. */
int fs_dev_add(struct virtio_fs *fs, uint64_t dev) must_check;
/*
 * The number that the guest has for inode @ino of file system @dev. Those of
 * the root's are as they are; of others, which a file may be mounted from, the
 * upper 16 bits are mixed with a number of theirs.
 */
uint64_t fs_ino(const struct virtio_fs *fs, uint64_t dev, uint64_t ino);
/* Whether @fd's file system is the kernel's own words, as procfs. */
bool fs_is_pseudo(int fd);

/* --- table.c --- */

void fs_table_init(struct fs_table *t, size_t entry_bytes);
/* Entries are gone already. */
void fs_table_finish(struct fs_table *t);
/* A zeroed entry with an id, or NULL and the reason. */
struct fs_entry *fs_table_add(struct fs_table *t, int *ret_error);
void fs_table_remove(struct fs_table *t, struct fs_entry *e);
struct fs_entry *fs_table_find(const struct fs_table *t, uint64_t id);
struct fs_entry *fs_entry_at(const struct fs_table *t, uint32_t slot);

/* --- dirty.c: what the guest has changed and nobody has synced --- */

/* @node's data, names or attributes have changed. NULL: nothing has. */
void fs_dirty_add(struct virtio_fs *fs, struct fs_node *node);
/* They are on the disk, or nobody wants that any more. */
void fs_dirty_remove(struct fs_node *node);
/* The guest has forgotten, or looked up again, a dirty node. */
void fs_dirty_orphan(struct virtio_fs *fs, struct fs_node *node);
void fs_dirty_adopt(struct virtio_fs *fs, struct fs_node *node);
/* Writes it to the disk. It stays in its list. 0 or -errno. */
int fs_node_sync(const struct fs_node *node);

/* --- node.c: files that the guest knows --- */

/* @root_fd, @root: of the shared directory. Return: 0 or -errno. */
int fs_nodes_init(struct virtio_fs *fs, int root_fd,
		  const struct statx *root) must_check;
/* Forgets all but the root. */
void fs_nodes_end(struct virtio_fs *fs);
/* After fs_nodes_end(): the root as well. */
void fs_nodes_finish(struct virtio_fs *fs);

struct fs_node *fs_node_find(struct virtio_fs *fs, uint64_t id);
/**
 * fs_node_get() - the node of a file, one reference more
 * @fd: O_PATH; owned from here on, also on failure
 * @parent: to see where another file system begins; or NULL
 * @ret_entry: the reply to a lookup
 *
 * Return: 0 or -errno; -ENFILE when there is no fd left.
 */
int fs_node_get(struct virtio_fs *fs, int fd, const struct fs_node *parent,
		struct fuse_entry_out *ret_entry) must_check;
/* Takes @n references away, at most those there are. */
void fs_node_put(struct virtio_fs *fs, struct fs_node *node, uint64_t n);
/* Closes and forgets a node to which there is no reference. */
void fs_node_free(struct virtio_fs *fs, struct fs_node *node);
/* Takes the lock at @at out of its node's list and ends it. */
void fs_lock_remove(struct virtio_fs *fs, struct fs_lock **at);

/* Makes room for @n more fds; orphans give way. 0 or -ENFILE. */
int fs_fds_room(struct virtio_fs *fs, uint32_t n) must_check;
/* Whether there may be one more. 0 or -ENFILE. */
int fs_fd_room(struct virtio_fs *fs) must_check;

/* --- handle.c: files and directories that the guest has open --- */

void fs_handles_init(struct virtio_fs *fs);
/* Closes all. */
void fs_handles_end(struct virtio_fs *fs);
/* @fd is owned from here on, also on failure. -ENFILE, -ENOMEM. */
int fs_handle_add(struct virtio_fs *fs, int fd, const struct fs_node *node,
		  uint64_t *ret_id) must_check;
/* Return: NULL if there is none of this kind. */
struct fs_handle *fs_handle_find(struct virtio_fs *fs, uint64_t id, bool dir);
void fs_handle_remove(struct virtio_fs *fs, struct fs_handle *handle);
/* The directory or file behind a handle, or NULL. */
struct fs_node *fs_handle_node(struct virtio_fs *fs,
			       const struct fs_handle *handle);

/* --- session.c: FUSE_INIT, FUSE_DESTROY --- */

int fs_session_init(struct virtio_fs *fs) must_check;
/* Forgets all but the root. */
void fs_session_end(struct virtio_fs *fs);
void fs_session_finish(struct virtio_fs *fs);
int fs_op_init(struct fs_request *req);
int fs_op_destroy(struct fs_request *req);

/* --- attr.c: attributes, extended attributes, symlink targets --- */

int fs_op_getattr(struct fs_request *req);
int fs_op_setattr(struct fs_request *req);
int fs_op_readlink(struct fs_request *req);
int fs_op_access(struct fs_request *req);
int fs_op_statfs(struct fs_request *req);
int fs_op_setxattr(struct fs_request *req);
int fs_op_getxattr(struct fs_request *req);
int fs_op_listxattr(struct fs_request *req);
int fs_op_removexattr(struct fs_request *req);

/* --- dir.c: what has to do with names --- */

/* One name in a directory. Return: 0 and a reference, or -errno. */
int fs_lookup(struct virtio_fs *fs, struct fs_node *dir, const char *name,
	      struct fuse_entry_out *ret) must_check;
int fs_op_lookup(struct fs_request *req);
int fs_op_forget(struct fs_request *req);
int fs_op_batch_forget(struct fs_request *req);
int fs_op_mknod(struct fs_request *req);
int fs_op_mkdir(struct fs_request *req);
int fs_op_symlink(struct fs_request *req);
int fs_op_link(struct fs_request *req);
int fs_op_unlink(struct fs_request *req);
int fs_op_rmdir(struct fs_request *req);
int fs_op_rename(struct fs_request *req);
int fs_op_rename2(struct fs_request *req);
int fs_op_opendir(struct fs_request *req);
int fs_op_readdir(struct fs_request *req);
int fs_op_readdirplus(struct fs_request *req);
int fs_op_releasedir(struct fs_request *req);
int fs_op_fsyncdir(struct fs_request *req);

/* --- file.c: open files --- */

int fs_op_open(struct fs_request *req);
int fs_op_create(struct fs_request *req);
int fs_op_tmpfile(struct fs_request *req);
int fs_op_read(struct fs_request *req);
int fs_op_write(struct fs_request *req);
int fs_op_flush(struct fs_request *req);
int fs_op_release(struct fs_request *req);
int fs_op_fsync(struct fs_request *req);
int fs_op_lseek(struct fs_request *req);
int fs_op_fallocate(struct fs_request *req);
int fs_op_copy_file_range(struct fs_request *req);

/* --- sync.c --- */

/* @flags: FUSE_FSYNC_FDATASYNC. 0 or -errno. */
int fs_handle_sync(struct virtio_fs *fs, const struct fs_handle *handle,
		   uint32_t flags) must_check;
int fs_op_syncfs(struct fs_request *req);

/* --- lock.c --- */

int fs_op_getlk(struct fs_request *req);
int fs_op_setlk(struct fs_request *req);
int fs_op_setlkw(struct fs_request *req);
int fs_op_interrupt(struct fs_request *req);
/* The last close of @owner: its locks on @node go. */
void fs_locks_drop(struct virtio_fs *fs, struct fs_node *node, uint64_t owner);
/* Something was unlocked, or the ring runs again: who waits tries. */
void fs_waits_retry(struct virtio_fs *fs);
/* All of @queue are forgotten: the driver has forgotten them as well. */
void fs_waits_forget(struct virtio_fs *fs, unsigned int queue);
/* How many have their chains in flight on @queue. */
unsigned int fs_waits_count(const struct virtio_fs *fs, unsigned int queue);
/* All are answered: the session is over. */
void fs_waits_abort(struct virtio_fs *fs);

/* --- cred.c --- */

/*
 * Whether this process may act for others. Sets act_as_caller, keeps_suid,
 * spares.
 */
void fs_cred_init(struct virtio_fs *fs);
/* @mode as a file may have it that is not a directory. */
uint32_t fs_cred_mode(const struct virtio_fs *fs, uint32_t mode);
/*
 * Whether a name or an attribute may be added to the file system of @fd, which
 * the guest's root does as the host's. 0 or -ENOSPC.
 */
int fs_cred_room(const struct virtio_fs *fs, int fd) must_check;
/*
 * Around what changes a file's data: set-id bits go, if the guest says that
 * they have to (@kill) or none are wanted.
 * @grows: it may take blocks of the disk
 * Return: 0 or -errno, with nothing to leave.
 */
int fs_cred_data_enter(const struct fs_request *req, bool grows,
		       bool kill) must_check;
void fs_cred_data_leave(const struct fs_request *req, bool grows, bool kill);
/*
 * Files made between these two belong to the caller of the request. May the
 * caller make it? The guest's kernel has decided that; it knows all groups.
 * Return: 0 or -errno, with nothing to leave.
 */
int fs_cred_enter(const struct fs_request *req) must_check;
void fs_cred_leave(const struct fs_request *req);

#endif
