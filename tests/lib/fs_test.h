/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A FUSE driver of few words for tests of the file system device: requests
 * over the ring, on a directory of their own in /tmp. One thread.
 */
#ifndef TORPOR_TESTS_FS_TEST_H
#define TORPOR_TESTS_FS_TEST_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/fs/fs.h"
#include "virtio/types.h"
#include "vmm/base/fd.h"

#define HIPRIO	  0
#define REQUESTS  1
#define OUT_BYTES (2U << 20)
#define IN_BYTES  (2U << 20)
#define ROOM	  (64U << 10) /* usual room for a reply */

static struct front f;
static struct virtio_dev *dev;
static uint64_t out_gpa, in_gpa;
static uint64_t unique;
static char base[] = "/tmp/torpor-fs-XXXXXX";
static char share[64], outside[64];
static uint8_t *reply; /* behind the header */
static size_t reply_len;

/* A path below base: in the share, or outside of it. */
static inline const char *host(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

static inline const char *host(const char *fmt, ...)
{
	static char path[4][PATH_MAX];
	static unsigned int next;
	char *p = path[next++ % 4];
	int n = snprintf(p, PATH_MAX, "%s/", base);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p + n, (size_t)(PATH_MAX - n), fmt, ap);
	va_end(ap);
	return p;
}

static inline void host_write(const char *path, const char *text)
{
	_cleanup_fd_ int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(ge(int, fd, 0), "%s", path);
	cr_assert(zero(int, fd_write_all(fd, text, strlen(text))));
}

/* The file's text is exactly this. */
static inline bool host_has(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[256];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

/* --- requests --- */

struct req {
	uint32_t opcode;
	uint64_t node;
	const void *arg; /* the operation's struct */
	size_t arg_len;
	const void *more; /* what follows it */
	size_t more_len;
	size_t room; /* for the reply; 0: ROOM */
	unsigned int queue_plus_1;
	uint32_t uid, gid;
};

/* Writes the request. Return: its length. */
static inline uint32_t req_write(const struct req *r)
{
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + r->arg_len + r->more_len),
		.opcode = r->opcode,
		.unique = ++unique,
		.nodeid = r->node,
		.uid = r->uid,
		.gid = r->gid,
	};
	uint8_t *p = guest_ptr(&f.g, out_gpa);

	memcpy(p, &h, sizeof(h));
	if (r->arg_len)
		memcpy(p + sizeof(h), r->arg, r->arg_len);
	if (r->more_len)
		memcpy(p + sizeof(h) + r->arg_len, r->more, r->more_len);
	return h.len;
}

/* Makes the request available. Return: its head. */
static inline uint16_t req_add(const struct req *r)
{
	size_t room = r->room ? r->room : ROOM;
	const struct guest_buf bufs[] = {
		{ out_gpa, req_write(r), false },
		{ in_gpa, (uint32_t)(sizeof(struct fuse_out_header) + room),
		  true },
	};

	memset(guest_ptr(&f.g, in_gpa), 0xa5, 4096);
	return guest_ring_add(&f.ring[REQUESTS], bufs, 2);
}

/* The answer that is in memory. Return: its error. */
static inline int reply_take(uint32_t used)
{
	struct fuse_out_header h;

	memcpy(&h, guest_ptr(&f.g, in_gpa), sizeof(h));
	cr_assert(eq(u32, h.len, used));
	cr_assert(eq(u64, h.unique, unique));
	cr_assert(h.error <= 0 && h.error > -512);
	cr_assert(h.error == 0 || h.len == sizeof(h));
	reply = (uint8_t *)guest_ptr(&f.g, in_gpa) + sizeof(h);
	reply_len = h.len - sizeof(h);
	return h.error;
}

static inline int call(const struct req *r)
{
	return reply_take(front_wait_used(&f, REQUESTS, req_add(r)));
}

/* Operations without a reply go to the queue of high priority. */
static inline void tell(const struct req *r)
{
	const struct guest_buf b = { out_gpa, req_write(r), false };

	cr_assert(zero(
		u32, front_wait_used(&f, HIPRIO,
				     guest_ring_add(&f.ring[HIPRIO], &b, 1))));
}

#define CALL(op, node_, arg_)                \
	call(&(struct req){ .opcode = (op),  \
			    .node = (node_), \
			    .arg = &(arg_),  \
			    .arg_len = sizeof(arg_) })

#define CALL_NAME(op, node_, arg_, name_)            \
	call(&(struct req){ .opcode = (op),          \
			    .node = (node_),         \
			    .arg = &(arg_),          \
			    .arg_len = sizeof(arg_), \
			    .more = (name_),         \
			    .more_len = strlen(name_) + 1 })

static inline int call_text(uint32_t op, uint64_t node, const char *text,
			    size_t len)
{
	return call(&(struct req){
		.opcode = op, .node = node, .more = text, .more_len = len });
}

/* Names of two NUL-terminated parts and the like. */
#define CALL_TEXT(op, node_, text_) call_text(op, node_, text_, sizeof(text_))

static inline int fuse_init(uint32_t flags)
{
	const struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
					 .minor = 38,
					 .max_readahead = 1 << 20,
					 .flags = flags };

	return CALL(FUSE_INIT, 0, in);
}

static inline struct fuse_entry_out entry(void)
{
	struct fuse_entry_out out;

	cr_assert(ge(sz, reply_len, sizeof(out)));
	memcpy(&out, reply, sizeof(out));
	return out;
}

static inline int lookup(uint64_t dir, const char *name)
{
	return call_text(FUSE_LOOKUP, dir, name, strlen(name) + 1);
}

/* A node that has to be there. */
static inline uint64_t node_of(uint64_t dir, const char *name)
{
	cr_assert(zero(int, lookup(dir, name)), "lookup %s", name);
	return entry().nodeid;
}

static inline int fuse_open(uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	int r = CALL(FUSE_OPEN, node, in);

	if (r == 0) {
		cr_assert(eq(sz, reply_len, sizeof(out)));
		memcpy(&out, reply, sizeof(out));
		*ret_fh = out.fh;
	}
	return r;
}

static inline uint64_t handle_of(uint64_t node, uint32_t flags)
{
	uint64_t fh = 0;

	cr_assert(zero(int, fuse_open(node, flags, &fh)));
	return fh;
}

static inline int fuse_read(uint64_t fh, uint64_t off, uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh,
					 .offset = off,
					 .size = size };

	return call(&(struct req){ .opcode = FUSE_READ,
				   .arg = &in,
				   .arg_len = sizeof(in),
				   .room = MAX(size, 1U) });
}

/* Return: bytes or an error. */
static inline int fuse_write(uint64_t fh, uint64_t off, const void *data,
			     uint32_t size, uint32_t flags)
{
	const struct fuse_write_in in = {
		.fh = fh, .offset = off, .size = size, .flags = flags
	};
	struct fuse_write_out out;
	int r = call(&(struct req){ .opcode = FUSE_WRITE,
				    .arg = &in,
				    .arg_len = sizeof(in),
				    .more = data,
				    .more_len = size });

	if (r < 0)
		return r;
	memcpy(&out, reply, sizeof(out));
	return (int)out.size;
}

static inline bool reads(uint64_t fh, uint64_t off, const char *text)
{
	return fuse_read(fh, off, 4096) == 0 && reply_len == strlen(text) &&
	       !memcmp(reply, text, reply_len);
}

static inline int release(uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	return CALL(FUSE_RELEASE, 0, in);
}

static inline void forget(uint64_t node, uint64_t n)
{
	const struct fuse_forget_in in = { .nlookup = n };

	tell(&(struct req){ .opcode = FUSE_FORGET,
			    .node = node,
			    .arg = &in,
			    .arg_len = sizeof(in) });
}

static inline struct virtio_fs *fs_of(void)
{
	return container_of(dev, struct virtio_fs, dev);
}

/* --- the device --- */

static inline void fs_start(const char *word1, const char *word2)
{
	char path[80], w1[64], w2[64];
	char tag[] = "tag=test";
	char *const args[] = { path, tag, *word1 ? w1 : NULL,
			       *word1 && *word2 ? w2 : NULL, NULL };

	(void)snprintf(path, sizeof(path), "path=%s", share);
	(void)snprintf(w1, sizeof(w1), "%s", word1);
	(void)snprintf(w2, sizeof(w2), "%s", word2);
	front_init(&f);
	cr_assert(zero(
		int, virtio_fs_ops.create(&f.loop, args, virtio_no_fds, &dev)));
	front_connect(&f, dev);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1 |
				    1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	front_start_all(&f, FS_NR_QUEUES);
	out_gpa = guest_alloc(&f.g, OUT_BYTES, 4096);
	in_gpa = guest_alloc(&f.g, IN_BYTES, 4096);
}

/* Other words than none: the device anew. */
static inline void fs_again(const char *word1, const char *word2)
{
	front_finish(&f);
	virtio_fs_ops.destroy(dev);
	fs_start(word1, word2);
}

static inline void fs_setup(void)
{
	cr_assert(mkdtemp(base) != NULL);
	(void)snprintf(share, sizeof(share), "%s/share", base);
	(void)snprintf(outside, sizeof(outside), "%s/outside", base);
	cr_assert(zero(int, mkdir(share, 0755)));
	cr_assert(zero(int, mkdir(outside, 0755)));
	host_write(host("outside/secret"), "secret");
	fs_start("", "");
	cr_assert(zero(int, fuse_init(~0U)));
}

static inline void fs_teardown(void)
{
	char command[128];

	front_finish(&f);
	virtio_fs_ops.destroy(dev);
	cr_assert(zero(int, chdir("/")));
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", base);
	/* A tree of any depth. NOLINTNEXTLINE(cert-env33-c) */
	cr_assert(zero(int, system(command)));
}

#endif
