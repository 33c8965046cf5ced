/* SPDX-License-Identifier: BSD-3-Clause */
/* See fs_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/fs_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/fs/fs.h"
#include "virtio/types.h"
#include "vmm/base/fd.h"

struct fs_rig fs;

const char *host(const char *fmt, ...)
{
	static char path[4][PATH_MAX];
	static unsigned int next;
	char *p = path[next++ % 4];
	int n = snprintf(p, PATH_MAX, "%s/", fs.base);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p + n, (size_t)(PATH_MAX - n), fmt, ap);
	va_end(ap);
	return p;
}

void host_write(const char *path, const char *text)
{
	_cleanup_fd_ int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(ge(int, fd, 0), "%s", path);
	cr_assert(zero(int, fd_write_all(fd, text, strlen(text))));
}

bool host_has(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[256];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

/* --- requests --- */

uint32_t req_write(const struct req *r)
{
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + r->arg_len + r->more_len),
		.opcode = r->opcode,
		.unique = ++fs.unique,
		.nodeid = r->node,
		.uid = r->uid,
		.gid = r->gid,
	};
	uint8_t *p = guest_ptr(&fs.f.g, fs.out_gpa);

	memcpy(p, &h, sizeof(h));
	if (r->arg_len)
		memcpy(p + sizeof(h), r->arg, r->arg_len);
	if (r->more_len)
		memcpy(p + sizeof(h) + r->arg_len, r->more, r->more_len);
	return h.len;
}

uint16_t req_add(const struct req *r)
{
	size_t room = r->room ? r->room : ROOM;
	const struct guest_buf bufs[] = {
		{ fs.out_gpa, req_write(r), false },
		{ fs.in_gpa, (uint32_t)(sizeof(struct fuse_out_header) + room),
		  true },
	};

	memset(guest_ptr(&fs.f.g, fs.in_gpa), 0xa5, 4096);
	return guest_ring_add(&fs.f.ring[REQUESTS], bufs, 2);
}

int reply_take(uint32_t used)
{
	struct fuse_out_header h;

	memcpy(&h, guest_ptr(&fs.f.g, fs.in_gpa), sizeof(h));
	cr_assert(eq(u32, h.len, used));
	cr_assert(eq(u64, h.unique, fs.unique));
	cr_assert(h.error <= 0 && h.error > -512);
	cr_assert(h.error == 0 || h.len == sizeof(h));
	fs.reply = (uint8_t *)guest_ptr(&fs.f.g, fs.in_gpa) + sizeof(h);
	fs.reply_len = h.len - sizeof(h);
	return h.error;
}

int call(const struct req *r)
{
	return reply_take(front_wait_used(&fs.f, REQUESTS, req_add(r)));
}

void tell(const struct req *r)
{
	const struct guest_buf b = { fs.out_gpa, req_write(r), false };

	cr_assert(zero(u32, front_wait_used(&fs.f, HIPRIO,
					    guest_ring_add(&fs.f.ring[HIPRIO],
							   &b, 1))));
}

int call_text(uint32_t op, uint64_t node, const char *text, size_t len)
{
	return call(&(struct req){
		.opcode = op, .node = node, .more = text, .more_len = len });
}

int fuse_init(uint32_t flags)
{
	const struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
					 .minor = 38,
					 .max_readahead = 1 << 20,
					 .flags = flags };

	return CALL(FUSE_INIT, 0, in);
}

struct fuse_entry_out entry(void)
{
	struct fuse_entry_out out;

	cr_assert(ge(sz, fs.reply_len, sizeof(out)));
	memcpy(&out, fs.reply, sizeof(out));
	return out;
}

int lookup(uint64_t dir, const char *name)
{
	return call_text(FUSE_LOOKUP, dir, name, strlen(name) + 1);
}

uint64_t node_of(uint64_t dir, const char *name)
{
	cr_assert(zero(int, lookup(dir, name)), "lookup %s", name);
	return entry().nodeid;
}

int fuse_open(uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	int r = CALL(FUSE_OPEN, node, in);

	if (r == 0) {
		cr_assert(eq(sz, fs.reply_len, sizeof(out)));
		memcpy(&out, fs.reply, sizeof(out));
		*ret_fh = out.fh;
	}
	return r;
}

uint64_t handle_of(uint64_t node, uint32_t flags)
{
	uint64_t fh = 0;

	cr_assert(zero(int, fuse_open(node, flags, &fh)));
	return fh;
}

int fuse_read(uint64_t fh, uint64_t off, uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh,
					 .offset = off,
					 .size = size };

	return call(&(struct req){ .opcode = FUSE_READ,
				   .arg = &in,
				   .arg_len = sizeof(in),
				   .room = MAX(size, 1U) });
}

int fuse_write(uint64_t fh, uint64_t off, const void *data, uint32_t size,
	       uint32_t flags)
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
	memcpy(&out, fs.reply, sizeof(out));
	return (int)out.size;
}

bool reads(uint64_t fh, uint64_t off, const char *text)
{
	return fuse_read(fh, off, 4096) == 0 && fs.reply_len == strlen(text) &&
	       !memcmp(fs.reply, text, fs.reply_len);
}

int release(uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	return CALL(FUSE_RELEASE, 0, in);
}

void forget(uint64_t node, uint64_t n)
{
	const struct fuse_forget_in in = { .nlookup = n };

	tell(&(struct req){ .opcode = FUSE_FORGET,
			    .node = node,
			    .arg = &in,
			    .arg_len = sizeof(in) });
}

int fuse_create(uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
		uint64_t *ret_id, uint64_t *ret_fh)
{
	const struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	int r = CALL_NAME(FUSE_CREATE, dir, in, name);

	if (r < 0)
		return r;
	cr_assert(eq(sz, fs.reply_len, sizeof(out)));
	memcpy(&out, fs.reply, sizeof(out));
	*ret_id = out.e.nodeid;
	*ret_fh = out.o.fh;
	return 0;
}

uint64_t file(const char *name)
{
	uint64_t id, fh = 0;

	cr_assert(zero(int, fuse_create(1, name, O_RDWR, 0644, &id, &fh)));
	return fh;
}

struct virtio_fs *fs_of(void)
{
	return container_of(fs.dev, struct virtio_fs, dev);
}

/* --- the device --- */

void fs_start(const char *word1, const char *word2)
{
	char path[80], w1[64], w2[64];
	char tag[] = "tag=test";
	char *const args[] = { path, tag, *word1 ? w1 : NULL,
			       *word1 && *word2 ? w2 : NULL, NULL };

	(void)snprintf(path, sizeof(path), "path=%s", fs.share);
	(void)snprintf(w1, sizeof(w1), "%s", word1);
	(void)snprintf(w2, sizeof(w2), "%s", word2);
	front_init(&fs.f);
	cr_assert(zero(int, virtio_fs_ops.create(&fs.f.loop, args,
						 virtio_no_fds, &fs.dev)));
	front_connect(&fs.f, fs.dev);
	front_negotiate(&fs.f, 1ULL << VIRTIO_F_VERSION_1 |
				       1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	front_start_all(&fs.f, FS_NR_QUEUES);
	fs.out_gpa = guest_alloc(&fs.f.g, OUT_BYTES, 4096);
	fs.in_gpa = guest_alloc(&fs.f.g, IN_BYTES, 4096);
}

void fs_again(const char *word1, const char *word2)
{
	front_finish(&fs.f);
	virtio_fs_ops.destroy(fs.dev);
	fs_start(word1, word2);
}

void fs_setup(void)
{
	strcpy(fs.base, "/tmp/torpor-fs-XXXXXX");
	cr_assert(mkdtemp(fs.base) != NULL);
	(void)snprintf(fs.share, sizeof(fs.share), "%s/share", fs.base);
	(void)snprintf(fs.outside, sizeof(fs.outside), "%s/outside", fs.base);
	cr_assert(zero(int, mkdir(fs.share, 0755)));
	cr_assert(zero(int, mkdir(fs.outside, 0755)));
	host_write(host("outside/secret"), "secret");
	fs_start("", "");
	cr_assert(zero(int, fuse_init(~0U)));
}

void fs_teardown(void)
{
	char command[128];

	front_finish(&fs.f);
	virtio_fs_ops.destroy(fs.dev);
	cr_assert(zero(int, chdir("/")));
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", fs.base);
	/* A tree of any depth. NOLINTNEXTLINE(cert-env33-c) */
	cr_assert(zero(int, system(command)));
}
