/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A FUSE driver of few words for tests of the file system device: requests over
 * the ring, on a directory of their own in /tmp. One thread; failures end the
 * test.
 */
#ifndef TORPOR_TESTS_LIB_FS_RIG_H
#define TORPOR_TESTS_LIB_FS_RIG_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tests/lib/guest_ring.h"
#include "virtio/fs/fs.h"

#define HIPRIO	  0
#define REQUESTS  1
#define OUT_BYTES (2U << 20)
#define IN_BYTES  (2U << 20)
#define ROOM	  (64U << 10) /* usual room for a reply */

struct fs_rig {
	struct front f;
	struct virtio_dev *dev;
	uint64_t out_gpa, in_gpa;
	uint64_t unique; /* of the last request */
	char base[32], share[64], outside[64];
	uint8_t *reply; /* behind the header */
	size_t reply_len;
};

extern struct fs_rig fs;

/* A path below base: in the share, or outside of it. */
const char *host(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void host_write(const char *path, const char *text);
/* The file's text is exactly this. */
bool host_has(const char *path, const char *text);

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
uint32_t req_write(const struct req *r);
/* Makes the request available. Return: its head. */
uint16_t req_add(const struct req *r);
/* The answer that is in memory. Return: its error. */
int reply_take(uint32_t used);
int call(const struct req *r);
/* Operations without a reply go to the queue of high priority. */
void tell(const struct req *r);

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

int call_text(uint32_t op, uint64_t node, const char *text, size_t len);

/* Names of two NUL-terminated parts and the like. */
#define CALL_TEXT(op, node_, text_) call_text(op, node_, text_, sizeof(text_))

int fuse_init(uint32_t flags);
struct fuse_entry_out entry(void);
int lookup(uint64_t dir, const char *name);
/* A node that has to be there. */
uint64_t node_of(uint64_t dir, const char *name);
int fuse_open(uint64_t node, uint32_t flags, uint64_t *ret_fh);
uint64_t handle_of(uint64_t node, uint32_t flags);
int fuse_read(uint64_t fh, uint64_t off, uint32_t size);
/* Return: bytes or an error. */
int fuse_write(uint64_t fh, uint64_t off, const void *data, uint32_t size,
	       uint32_t flags);
bool reads(uint64_t fh, uint64_t off, const char *text);
int release(uint64_t fh);
void forget(uint64_t node, uint64_t n);
int fuse_create(uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
		uint64_t *ret_id, uint64_t *ret_fh);
/* A new file that is open. */
uint64_t file(const char *name);
struct virtio_fs *fs_of(void);

/* --- the device --- */

void fs_start(const char *word1, const char *word2);
/* Other words than none: the device again. */
void fs_again(const char *word1, const char *word2);
void fs_setup(void);
void fs_teardown(void);

#endif
