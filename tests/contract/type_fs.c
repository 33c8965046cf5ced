/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File system: reads and writes through one handle of a file whose parts have
 * known content, while the handle holds a POSIX lock that the host can see.
 * The host writes to other parts of it and makes files.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "vmm/base/fd.h"

#define REQUESTS  1U
#define DEPTH	  48U
#define SLOTS	  64U /* requests at a time, parts of the file */
#define DATA_SIZE 1024U
#define SLOT_SIZE 4096U /* of which the second half is the reply's */
#define REPLY	  2048U
#define FLOOD	  32U /* files */
#define MAX_FILES 4096U
#define OWNER	  77U

struct request {
	bool pending, reads;
	unsigned int slot;
	uint64_t unique;
};

static char dir[] = "/tmp/torpor-contract-XXXXXX";
static pid_t cleaner;
static int cleaner_fd = -1;
static int dir_fd = -1, host_fd = -1;
static uint64_t bufs, unique, node, handle;
static struct request requests[FS_QUEUE_SIZE]; /* by head */
static unsigned int nr_pending, next_slot;
static uint32_t content[SLOTS + 1], writing[SLOTS], version;
static bool busy[SLOTS];
static unsigned int floods;

static uint8_t pattern(unsigned int slot, uint32_t v, unsigned int i)
{
	return (uint8_t)(slot * 5 + v * 11 + i + (i >> 8));
}

/* --- the host's side --- */

/* What flood() may have made, and the rest. */
static void remove_all(void)
{
	char file[32];

	for (unsigned int i = 0; i < MAX_FILES; i++) {
		(void)snprintf(file, sizeof(file), "f%u", i);
		(void)unlinkat(dir_fd, file, 0);
	}
	(void)unlinkat(dir_fd, "file", 0);
	(void)rmdir(dir);
}

/* Removes the directory when the test has ended, even if it was killed. */
static void cleaner_start(void)
{
	char byte;
	int ends[2];

	cr_assert(zero(int, pipe2(ends, O_CLOEXEC)));
	cleaner = fork();
	cr_assert(ge(int, cleaner, 0));
	cleaner_fd = ends[1];
	if (cleaner > 0) {
		(void)close(ends[0]);
		return;
	}
	/* Whoever waits for the end of the test's output shall not wait. */
	(void)dup2(ends[0], STDIN_FILENO);
	(void)dup2(dir_fd, STDOUT_FILENO);
	dir_fd = STDOUT_FILENO;
	(void)close_range(STDERR_FILENO, ~0U, 0);
	while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
	remove_all();
	_exit(0);
}

static void open_dir(struct spawn_request *req)
{
	static char tag[] = "tag=contract", locks[] = "locks", proc[] = "proc";
	uint8_t zeros[DATA_SIZE] = { 0 };
	_cleanup_fd_ int fd = -1;

	cr_assert(mkdtemp(dir) != NULL);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(ge(int, dir_fd, 0));
	cleaner_start();
	cr_assert(zero(int, fchmod(dir_fd, 0777)));
	fd = openat(dir_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	cr_assert(ge(int, fd, 0));
	cr_assert(zero(int, fchmod(fd, 0666)));
	for (unsigned int i = 0; i <= SLOTS; i++) {
		for (unsigned int k = 0; k < DATA_SIZE; k++)
			zeros[k] = pattern(i, 0, k);
		cr_assert(zero(int, fd_write_all(fd, zeros, DATA_SIZE)));
	}
	req->args[0] = tag;
	req->args[1] = locks;
	if (rig.subject && rig.mode == SANDBOX_FULL)
		req->args[2] = proc;
	req->backend_fds[req->nr_backend_fds++] =
		open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	req->share = dir;
}

/* FUSE_INIT, which any state takes. */
static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	struct {
		struct fuse_in_header h;
		struct fuse_init_in in;
	} m = { .h = { .len = sizeof(m), .opcode = FUSE_INIT, .unique = 1 },
		.in = { .major = 7, .minor = 31 } };

	memcpy(guest_ptr(g, gpa), &m, sizeof(m));
	b[0] = (struct guest_buf){ gpa, sizeof(m), false };
	b[1] = (struct guest_buf){ gpa + 512, 1024, true };
	return 2;
}

static void close_dir(void)
{
	fd_close(&dir_fd);
	fd_close(&host_fd);
	fd_close(&cleaner_fd);
	if (cleaner > 0)
		(void)waitpid(cleaner, NULL, 0);
	cleaner = 0;
}

/* New files, and new content of the one part that the guest does not write. */
static void flood(void)
{
	_cleanup_fd_ int fd = openat(dir_fd, "file", O_WRONLY | O_CLOEXEC);
	uint8_t data[DATA_SIZE];
	char file[32];

	cr_assert(ge(int, fd, 0));
	cr_assert(le(uint, floods + FLOOD, MAX_FILES));
	for (unsigned int i = 0; i < FLOOD; i++) {
		_cleanup_fd_ int other = -1;

		(void)snprintf(file, sizeof(file), "f%u", floods++);
		other = openat(dir_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC,
			       0666);
		cr_assert(ge(int, other, 0));
	}
	content[SLOTS] = ++version;
	for (unsigned int i = 0; i < DATA_SIZE; i++)
		data[i] = pattern(SLOTS, content[SLOTS], i);
	cr_assert(eq(
		sz,
		(size_t)pwrite(fd, data, DATA_SIZE, (off_t)SLOTS * DATA_SIZE),
		DATA_SIZE));
}

/* --- requests --- */

static uint64_t at_slot(unsigned int slot)
{
	return bufs + (uint64_t)slot * SLOT_SIZE;
}

/* Makes a request available, in the buffers of @slot. */
static void post(unsigned int slot, uint32_t opcode, uint64_t nodeid,
		 const void *arg, size_t arg_len, const void *more,
		 size_t more_len)
{
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + arg_len + more_len),
		.opcode = opcode,
		.unique = ++unique,
		.nodeid = nodeid,
		.uid = geteuid(),
		.gid = getegid(),
	};
	struct guest_buf b[2] = { { at_slot(slot), h.len, false },
				  { at_slot(slot) + REPLY, SLOT_SIZE - REPLY,
				    true } };
	uint8_t *p = guest_ptr(&rig.g, at_slot(slot));
	uint16_t head;

	cr_assert(le(u32, h.len, REPLY));
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), arg, arg_len);
	if (more_len)
		memcpy(p + sizeof(h) + arg_len, more, more_len);
	memset(p + REPLY, 0xa5, SLOT_SIZE - REPLY);
	head = guest_ring_add(&rig.ring[REQUESTS], b, 2);
	cr_assert(not(requests[head].pending), "no descriptor is free");
	requests[head] = (struct request){ .pending = true,
					   .reads = opcode == FUSE_READ,
					   .slot = slot,
					   .unique = unique };
	busy[slot] = true;
	nr_pending++;
}

/* Takes the next reply. Return: NULL, or the request, no longer pending. */
static struct request *take(struct fuse_out_header *ret)
{
	struct request *r;
	uint16_t head;
	uint32_t len;

	if (!guest_ring_reap(&rig.ring[REQUESTS], &head, &len))
		return NULL;
	r = &requests[head];
	cr_assert(r->pending, "completed twice");
	memcpy(ret, guest_ptr(&rig.g, at_slot(r->slot) + REPLY), sizeof(*ret));
	cr_assert(eq(u32, ret->len, len));
	cr_assert(eq(u64, ret->unique, r->unique));
	r->pending = false;
	busy[r->slot] = false;
	nr_pending--;
	return r;
}

/* One request alone, with its answer. Return: what follows the header. */
static const void *call(uint32_t opcode, uint64_t nodeid, const void *arg,
			size_t arg_len, const void *more, size_t more_len)
{
	struct fuse_out_header h;

	cr_assert(zero(uint, nr_pending));
	post(0, opcode, nodeid, arg, arg_len, more, more_len);
	rig_kick(REQUESTS);
	while (!take(&h))
		rig_wait();
	cr_assert(zero(i32, h.error), "operation %u", opcode);
	return guest_ptr(&rig.g, at_slot(0) + REPLY + sizeof(h));
}

static void take_lock(void)
{
	const struct fuse_lk_in in = {
		.fh = handle,
		.owner = OWNER,
		.lk = { .start = 0, .end = 99, .type = F_WRLCK, .pid = 1 }
	};

	(void)call(FUSE_SETLK, node, &in, sizeof(in), NULL, 0);
}

/* After a reset as well: the session begins again. */
static void live(void)
{
	const struct fuse_init_in init = { .major = FUSE_KERNEL_VERSION,
					   .minor = 38,
					   .max_readahead = 1 << 20,
					   .flags = FUSE_POSIX_LOCKS };
	const struct fuse_open_in in = { .flags = O_RDWR };
	struct fuse_entry_out entry;
	struct fuse_open_out out;

	if (!bufs)
		bufs = guest_alloc(&rig.g, SLOTS * SLOT_SIZE, 4096);
	memset(requests, 0, sizeof(requests));
	/* A write that a reset has cut off may have been done or not. */
	for (unsigned int i = 0; i < SLOTS; i++) {
		if (busy[i])
			content[i] = UINT32_MAX;
		busy[i] = false;
	}
	nr_pending = 0;
	(void)call(FUSE_INIT, 0, &init, sizeof(init), NULL, 0);
	memcpy(&entry, call(FUSE_LOOKUP, FUSE_ROOT_ID, "file", 5, NULL, 0),
	       sizeof(entry));
	node = entry.nodeid;
	memcpy(&out, call(FUSE_OPEN, node, &in, sizeof(in), NULL, 0),
	       sizeof(out));
	handle = out.fh;
	take_lock();
}

static void begin_one(unsigned int n)
{
	struct fuse_read_in read_in = { .fh = handle, .size = DATA_SIZE };
	struct fuse_write_in write_in = { .fh = handle, .size = DATA_SIZE };
	uint8_t data[DATA_SIZE];
	unsigned int slot;

	while (busy[next_slot])
		next_slot = (next_slot + 1) % SLOTS;
	slot = next_slot;
	if (n % 2 && content[slot] != UINT32_MAX) {
		read_in.offset = (uint64_t)slot * DATA_SIZE;
		writing[slot] = content[slot];
		post(slot, FUSE_READ, node, &read_in, sizeof(read_in), NULL, 0);
		return;
	}
	writing[slot] = ++version;
	write_in.offset = (uint64_t)slot * DATA_SIZE;
	for (unsigned int i = 0; i < DATA_SIZE; i++)
		data[i] = pattern(slot, writing[slot], i);
	post(slot, FUSE_WRITE, node, &write_in, sizeof(write_in), data,
	     DATA_SIZE);
}

static void begin(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		begin_one(i);
	rig_kick(REQUESTS);
}

static void check_data(unsigned int slot, const uint8_t *data)
{
	for (unsigned int i = 0; i < DATA_SIZE; i++)
		cr_assert(data[i] == pattern(slot, content[slot], i),
			  "part %u byte %u", slot, i);
}

static unsigned int collect(void)
{
	struct fuse_out_header h;
	const struct request *r;

	while ((r = take(&h))) {
		cr_assert(zero(i32, h.error));
		content[r->slot] = writing[r->slot];
		if (!r->reads)
			continue;
		cr_assert(eq(u32, h.len, sizeof(h) + DATA_SIZE));
		check_data(r->slot, guest_ptr(&rig.g, at_slot(r->slot) + REPLY +
							      sizeof(h)));
	}
	return nr_pending;
}

static int host_lock(short type)
{
	struct flock fl = { .l_type = type,
			    .l_whence = SEEK_SET,
			    .l_start = 1000,
			    .l_len = 1 };

	return fcntl(host_fd, F_OFD_SETLK, &fl);
}

/* For a lock that the host has. Nobody else may touch the file's end then. */
static void hold(void)
{
	const struct fuse_lk_in in = {
		.fh = handle,
		.owner = OWNER,
		.lk = { .start = 1000, .end = 1000, .type = F_WRLCK, .pid = 1 }
	};
	unsigned int slot = next_slot;

	host_fd = openat(dir_fd, "file", O_RDWR | O_CLOEXEC);
	cr_assert(ge(int, host_fd, 0));
	cr_assert(zero(int, host_lock(F_WRLCK)));
	writing[slot] = content[slot];
	post(slot, FUSE_SETLKW, node, &in, sizeof(in), NULL, 0);
	rig_kick(REQUESTS);
}

static void release(void)
{
	cr_assert(zero(int, host_lock(F_UNLCK)));
}

/* The lock holds against the host; the handle reads what the host wrote. */
static void kept(void)
{
	struct fuse_read_in in = { .fh = handle,
				   .offset = (uint64_t)SLOTS * DATA_SIZE,
				   .size = DATA_SIZE };
	struct flock fl = { .l_type = F_WRLCK,
			    .l_whence = SEEK_SET,
			    .l_len = 100 };
	_cleanup_fd_ int fd = openat(dir_fd, "file", O_RDWR | O_CLOEXEC);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, fcntl(fd, F_OFD_SETLK, &fl), -1));
	cr_assert(eq(int, errno, EAGAIN));
	fl.l_start = 100;
	cr_assert(zero(int, fcntl(fd, F_OFD_SETLK, &fl)));
	check_data(SLOTS, call(FUSE_READ, node, &in, sizeof(in), NULL, 0));
}

const struct contract_subject contract_fs[] = {
	{
		.name = "fs",
		.type = VIRTIO_TYPE_FS,
		.open = open_dir,
		.close = close_dir,
		.queue = REQUESTS,
		.request = request,
		.depth = DEPTH,
		.live = live,
		.begin = begin,
		.flood = flood,
		.collect = collect,
		.hold = hold,
		.release = release,
		.kept = kept,
	},
	{ NULL },
};
