/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FUSE requests to the file system device, in the shape of real ones and of
 * none, on a small directory. Whatever comes, nothing outside of it may be
 * reached or changed, every chain is used or held, and no fd is left.
 */
#define _GNU_SOURCE
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_ring.h"
#include "virtio/device.h"
#include "vmm/base/fd.h"

#define MAX_OPS	 60
#define MAX_FDS	 24
#define ARG_MAX_ 512U
/* Of a request and of its reply. */
#define OUT_GPA	 FUZZ_BUF_GPA
#define IN_GPA	 (FUZZ_BUF_GPA + 0x8000)
#define IN_BYTES 8192

static struct gmem gm;
static struct fuzz_ring rings[FS_NR_QUEUES];
static struct loop loop;
static char base[64];
static struct stat secret;
static int cwd = -1; /* libFuzzer's, which the device leaves */

/* ------------------------------------------------------------- directory */

static int make(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);

	if (fd < 0 || fd_write_all(fd, text, strlen(text)) < 0)
		return -1;
	return close(fd);
}

/* A tree in a tmpfs where there is one: thousands are made. */
void fuzz_setup(void)
{
	char path[96];
	int dir;

	cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fuzz_check(cwd >= 0);
	fuzz_ram_create(&gm);
	fuzz_check(loop_init(&loop) == 0);
	(void)snprintf(base, sizeof(base), "%s/torpor-fuzz-fs-%d",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
		       (int)getpid());
	fuzz_check(mkdir(base, 0700) == 0);
	dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_check(dir >= 0 && mkdirat(dir, "share", 0700) == 0);
	fuzz_check(make(dir, "secret", "secret") == 0);
	(void)close(dir);
	(void)snprintf(path, sizeof(path), "%s/secret", base);
	fuzz_check(stat(path, &secret) == 0);
}

static void share_empty(void)
{
	char command[256];

	/* Any depth and any name. NOLINTNEXTLINE(cert-env33-c) */
	(void)snprintf(command, sizeof(command),
		       "chmod -R u+rwx %s/share; rm -rf %s/share; mkdir "
		       "%s/share",
		       base, base, base);
	fuzz_check(system(command) == 0);
}

__attribute__((destructor)) static void remove_all(void)
{
	char command[256];

	if (!base[0])
		return;
	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
	(void)!system(command);
}

static void share_make(void)
{
	char path[96];
	int dir;

	(void)snprintf(path, sizeof(path), "%s/share", base);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_check(dir >= 0);
	(void)make(dir, "f", "text");
	(void)mkdirat(dir, "d", 0700);
	(void)make(dir, "d/g", "more");
	(void)symlinkat("../secret", dir, "l");
	(void)mknodat(dir, "p", S_IFIFO | 0600, 0);
	(void)close(dir);
}

/* What lies beside the share is as it was. */
static void check_outside(void)
{
	struct stat st;
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/secret", base);
	fuzz_check(stat(path, &st) == 0 && st.st_ino == secret.st_ino &&
		   st.st_size == secret.st_size && st.st_nlink == 1 &&
		   st.st_mode == secret.st_mode &&
		   st.st_mtim.tv_nsec == secret.st_mtim.tv_nsec);
}

/* ---------------------------------------------------------------- requests */

/* A node or a handle the device may have given: they count up from 1. */
static uint64_t id_from(struct fuzz_in *in)
{
	uint8_t v = fuzz_u8(in);

	if (v >= 0xf0)
		return fuzz_u64(in);
	return (uint64_t)(v >> 4) << 20 | (v & 15);
}

static const char *name_from(struct fuzz_in *in)
{
	static const char *const names[] = { "f", "d",	 "g", "l",
					     "p", "new", ".", "..",
					     "",  "a/b", "x", "../secret" };

	return names[fuzz_u8(in) % ARRAY_SIZE(names)];
}

static size_t put(uint8_t *p, size_t at, const void *data, size_t len)
{
	memcpy(p + at, data, len);
	return at + len;
}

static size_t put_name(uint8_t *p, size_t at, struct fuzz_in *in)
{
	const char *name = name_from(in);

	return put(p, at, name, strlen(name) + 1);
}

/* The operation's struct, from the input; ids at their places. */
static size_t put_struct(uint8_t *p, size_t at, uint32_t op, struct fuzz_in *in)
{
	/* Bytes of the struct; whether it begins with a handle or node. */
	static const struct {
		uint8_t size, id;
	} shape[FUSE_TMPFILE + 1] = {
		[FUSE_GETATTR] = { 16, 0 },
		[FUSE_SETATTR] = { 88, 0 },
		[FUSE_MKNOD] = { 16, 0 },
		[FUSE_MKDIR] = { 8, 0 },
		[FUSE_RENAME] = { 8, 1 },
		[FUSE_LINK] = { 8, 1 },
		[FUSE_OPEN] = { 8, 0 },
		[FUSE_READ] = { 40, 1 },
		[FUSE_WRITE] = { 40, 1 },
		[FUSE_RELEASE] = { 24, 1 },
		[FUSE_FSYNC] = { 16, 1 },
		[FUSE_SETXATTR] = { 8, 0 },
		[FUSE_GETXATTR] = { 8, 0 },
		[FUSE_LISTXATTR] = { 8, 0 },
		[FUSE_FLUSH] = { 24, 1 },
		[FUSE_INIT] = { 64, 0 },
		[FUSE_OPENDIR] = { 8, 0 },
		[FUSE_READDIR] = { 40, 1 },
		[FUSE_GETLK] = { 48, 1 },
		[FUSE_SETLK] = { 48, 1 },
		[FUSE_SETLKW] = { 48, 1 },
		[FUSE_ACCESS] = { 8, 0 },
		[FUSE_CREATE] = { 16, 0 },
		[FUSE_FORGET] = { 8, 0 },
		[FUSE_FALLOCATE] = { 32, 1 },
		[FUSE_READDIRPLUS] = { 40, 1 },
		[FUSE_RENAME2] = { 16, 1 },
		[FUSE_LSEEK] = { 24, 1 },
		[FUSE_COPY_FILE_RANGE] = { 56, 1 },
		[FUSE_RELEASEDIR] = { 24, 1 },
		[FUSE_FSYNCDIR] = { 16, 1 },
		[FUSE_TMPFILE] = { 16, 0 },
		[FUSE_BATCH_FORGET] = { 40, 0 },
		[FUSE_INTERRUPT] = { 8, 0 },
	};
	uint8_t bytes[96] = { 0 };
	size_t size = op < ARRAY_SIZE(shape) ? shape[op].size : 0;
	uint64_t id;

	if (!size)
		return at;
	(void)fuzz_bytes(in, bytes, fuzz_u8(in) % (size + 1));
	if (shape[op].id) {
		id = id_from(in);
		memcpy(bytes, &id, sizeof(id));
	}
	return put(p, at, bytes, size);
}

/* Numbers that would take long, or much of the host's disk. */
static void tame(uint8_t *p, uint32_t op)
{
	uint64_t v;

	if (op == FUSE_FALLOCATE) {
		memcpy(&v, p + 16, sizeof(v));
		v &= 0xfffff;
		memcpy(p + 16, &v, sizeof(v));
		memcpy(p + 8, &v, sizeof(v));
	} else if (op == FUSE_SETATTR) {
		memcpy(&v, p + 16, sizeof(v));
		v &= 0x80000000000fffffULL;
		memcpy(p + 16, &v, sizeof(v));
	}
}

static size_t write_request(struct fuzz_in *in)
{
	struct fuse_in_header h = { .opcode = fuzz_u8(in) % 56 };
	size_t at = sizeof(h);
	uint8_t names;
	void *p;

	fuzz_check(gmem_span(&gm, OUT_GPA, ARG_MAX_, &p) == 0);
	h.nodeid = id_from(in);
	h.unique = fuzz_u8(in);
	h.uid = h.gid = geteuid();
	at = put_struct(p, at, h.opcode, in);
	tame((uint8_t *)p + sizeof(h), h.opcode);
	for (names = fuzz_u8(in) % 3; names > 0; names--)
		at = put_name(p, at, in);
	h.len = (uint32_t)at;
	if (fuzz_u8(in) == 0xff)
		h.len = fuzz_u32(in);
	(void)put(p, 0, &h, sizeof(h));
	return at;
}

/* In pieces, as the input says. */
static void add_request(struct fuzz_in *in)
{
	size_t len = write_request(in);
	uint8_t how = fuzz_u8(in);
	size_t cut = 1 + how % len;
	uint64_t gpas[4] = { OUT_GPA, OUT_GPA + cut, IN_GPA, IN_GPA + 4096 };
	int32_t lens[4] = { (int32_t)cut, (int32_t)(len - cut),
			    -(int32_t)(16 + how * 16), -IN_BYTES / 2 };

	fuzz_ring_add(&rings[how >> 6 == 3 ? 0 : 1], gpas, lens,
		      how & 32 ? 4 : 3);
}

static void add_init(void)
{
	struct {
		struct fuse_in_header h;
		struct fuse_init_in in;
	} m = { .h = { .len = sizeof(m), .opcode = FUSE_INIT },
		.in = { .major = 7, .minor = 38, .flags = ~0U } };
	const uint64_t gpas[2] = { OUT_GPA, IN_GPA };
	const int32_t lens[2] = { sizeof(m), -IN_BYTES };
	void *p;

	fuzz_check(gmem_span(&gm, OUT_GPA, sizeof(m), &p) == 0);
	memcpy(p, &m, sizeof(m));
	fuzz_ring_add(&rings[1], gpas, lens, 2);
}

/* ------------------------------------------------------------------- device */

static void ring_start(struct virtio_dev *dev, unsigned int i, uint16_t at,
		       uint8_t how)
{
	struct virtq *vq = &dev->queues[i];

	fuzz_check(virtq_setup(vq, &gm, rings[i].size, rings[i].desc_gpa,
			       rings[i].avail_gpa, rings[i].used_gpa) == 0);
	virtq_start(vq, at, how & 1, how & 2);
	dev->ops->kick(dev, i);
}

static void restart(struct virtio_dev *dev, uint8_t how)
{
	uint16_t at[FS_NR_QUEUES];

	for (unsigned int i = 0; i < FS_NR_QUEUES; i++) {
		dev->ops->stop_queue(dev, i);
		at[i] = virtq_stop(&dev->queues[i]);
	}
	dev->ops->stop(dev);
	for (unsigned int i = 0; i < FS_NR_QUEUES; i++)
		ring_start(dev, i, how & 4 ? rings[i].used->idx : at[i], how);
}

static void step(struct virtio_dev *dev, struct fuzz_in *in, uint8_t op)
{
	struct virtio_fs *fs = container_of(dev, struct virtio_fs, dev);

	switch (op % 16) {
	case 0:
		fuzz_ring_mess(&rings[1], in);
		break;
	case 1:
		fuzz_ram_write(&gm, in);
		break;
	case 2:
		fuzz_ring_chain(&rings[op >> 7], in);
		break;
	case 3:
		add_init();
		break;
	case 4:
		restart(dev, op >> 4);
		break;
	case 5:
		fs_waits_retry(fs);
		break;
	default:
		add_request(in);
		break;
	}
	for (unsigned int i = 0; i < FS_NR_QUEUES; i++)
		dev->ops->kick(dev, i);
	fuzz_check(fs->fds <= fs->fds_max);
	fuzz_check(dev->queues[1].broken ||
		   dev->queues[1].in_flight == fs_waits_count(fs, 1));
}

static struct virtio_dev *device(uint8_t how)
{
	char path[96], tag[] = "tag=fuzz", fds[] = "max_fds=24";
	char locks[] = "locks", writeback[] = "writeback";
	char *args[] = {
		path, tag, fds, locks, how & 8 ? writeback : NULL, NULL
	};
	struct virtio_dev *dev = NULL;

	(void)snprintf(path, sizeof(path), "path=%s/share", base);
	fuzz_check(virtio_fs_ops.create(&loop, args, virtio_no_fds, &dev) == 0);
	return dev;
}

void fuzz_one(struct fuzz_in *in)
{
	static unsigned int runs;
	uint8_t how = fuzz_u8(in);
	struct virtio_dev *dev;

	/* Now and then: a process for it is dear. */
	if (runs++ % 64 == 0)
		share_empty();
	share_make();
	fuzz_ram_clear(&gm);
	dev = device(how);
	for (unsigned int i = 0; i < FS_NR_QUEUES; i++) {
		fuzz_ring_init(&rings[i], &gm, i, 64);
		ring_start(dev, i, 0, how);
	}
	add_init();
	dev->ops->kick(dev, 1);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++)
		step(dev, in, fuzz_u8(in));
	for (unsigned int i = 0; i < FS_NR_QUEUES; i++) {
		dev->ops->stop_queue(dev, i);
		(void)virtq_stop(&dev->queues[i]);
	}
	dev->ops->stop(dev);
	virtio_fs_ops.destroy(dev);
	fuzz_check(fchdir(cwd) == 0);
	check_outside();
}

void fuzz_seeds(void)
{
	/* Look up "f", open it, read it, list the root. */
	static const uint8_t files[] = {
		0,  6, 1,  1, 1, 1,  0,	  0, 0x40, 6, 14, 2, 2, 0,  0, 0,
		40, 6, 15, 2, 3, 40, 0,	  0, 0,	   0, 0,  0, 0, 0,  0, 0,
		0,  0, 0,  0, 0, 0,  100, 0, 0,	   0, 1,  0, 0, 60,
	};
	/* A lock, and somebody who waits for it. */
	static const uint8_t locks[] = {
		0, 6, 35, 1, 1, 4, 2, 0, 0, 0, 1, 5, 0,	 60, 6, 32, 2,	1,
		8, 0, 0,  0, 0, 0, 0, 0, 0, 1, 0, 0, 60, 4,  5, 6,  33, 2,
	};

	fuzz_seed(files, sizeof(files));
	fuzz_seed(locks, sizeof(locks));
}
