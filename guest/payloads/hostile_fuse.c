/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile FUSE driver on the first shared directory, which has to be
 * writable: requests that no driver makes, each of which wants its error, and
 * after each a good one its answer. Word: only=PREFIX.
 */
#include <linux/fuse.h>

#include "guest/payloads/virtio.h"

#define HIPRIO	 0
#define REQUESTS 1

#define E_BADF	      (-9)
#define E_PERM	      (-1)
#define E_NOTDIR      (-20)
#define E_INVAL	      (-22)
#define E_NAMETOOLONG (-36)
#define E_NOSYS	      (-38)
#define E_NOTCONN     (-107)
#define E_STALE	      (-116)
#define NO_ANSWER     1

#define ROOM	    8192U
#define BUF_BYTES   (4U << 20)
#define TABLE_MAX   1024U /* descriptors of one chain */
#define COPIES	    64U
#define NOWHERE	    0x123456789abcULL
#define NO_HANDLE   0x7777777777ULL
#define LONG_NAME   300U
#define S_DIRECTORY 0040000U
#define S_BLOCK	    0060000U

struct fuse_case {
	const char *name;
	const char *(*run)(struct vio_dev *dev);
};

static struct {
	struct fuse_in_header h;
	uint8_t arg[4096];
} request;

static struct {
	struct fuse_out_header h;
	uint8_t data[ROOM];
} answer;

static uint64_t unique;
static uint8_t *buf; /* BUF_BYTES */

/* ---------------------------------------------------------------- requests */

/* What is in request.arg, @len bytes. Return: the error, or NO_ANSWER. */
static int call_raw(struct vio_dev *dev, uint32_t opcode, uint64_t node,
		    uint32_t len, uint32_t said_len)
{
	const struct vio_buf bufs[] = { { &request,
					  (uint32_t)sizeof(request.h) + len },
					{ &answer, sizeof(answer) } };
	uint32_t used;

	unique++;
	request.h = (struct fuse_in_header){
		.len = said_len,
		.opcode = opcode,
		.unique = unique,
		.nodeid = node,
	};
	memset(&answer.h, 0xa5, sizeof(answer.h));
	if (!vio_request(dev, REQUESTS, bufs, 1, 1, &used) ||
	    used != answer.h.len || answer.h.unique != unique)
		return NO_ANSWER;
	return answer.h.error;
}

static int call(struct vio_dev *dev, uint32_t opcode, uint64_t node,
		const void *arg, uint32_t len)
{
	memcpy(request.arg, arg, len);
	return call_raw(dev, opcode, node, len,
			(uint32_t)sizeof(request.h) + len);
}

/* The operation's struct, of @len bytes, and a name with its NUL. */
static int call_name(struct vio_dev *dev, uint32_t opcode, uint64_t node,
		     const void *arg, uint32_t len, const char *name)
{
	uint32_t n = (uint32_t)strlen(name) + 1;

	if (len)
		memcpy(request.arg, arg, len);
	memcpy(request.arg + len, name, n);
	return call_raw(dev, opcode, node, len + n,
			(uint32_t)sizeof(request.h) + len + n);
}

/* Without a reply, by the queue of high priority. */
static bool tell(struct vio_dev *dev, uint32_t opcode, uint64_t node,
		 const void *arg, uint32_t len)
{
	const struct vio_buf b = { &request,
				   (uint32_t)sizeof(request.h) + len };

	memcpy(request.arg, arg, len);
	unique++;
	request.h = (struct fuse_in_header){
		.len = b.len, .opcode = opcode, .unique = unique, .nodeid = node
	};
	return vio_request(dev, HIPRIO, &b, 1, 0, NULL);
}

static int init(struct vio_dev *dev)
{
	static const struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
						.minor = 38 };

	return call(dev, FUSE_INIT, 0, &in, sizeof(in));
}

/* Return: the id, or 0. */
static uint64_t lookup(struct vio_dev *dev, uint64_t dir, const char *name)
{
	struct fuse_entry_out out;

	if (call_name(dev, FUSE_LOOKUP, dir, NULL, 0, name) != 0)
		return 0;
	memcpy(&out, answer.data, sizeof(out));
	return out.nodeid;
}

static uint64_t make_dir(struct vio_dev *dev, uint64_t dir, const char *name)
{
	static const struct fuse_mkdir_in in = { .mode = 0755 };

	(void)call_name(dev, FUSE_MKDIR, dir, &in, sizeof(in), name);
	return lookup(dev, dir, name);
}

/* A new file, open. Return: its handle, or 0. */
static uint64_t make_file(struct vio_dev *dev, const char *name)
{
	static const struct fuse_create_in in = { .flags = 2, .mode = 0644 };
	struct fuse_open_out out;

	if (call_name(dev, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), name))
		return 0;
	memcpy(&out, answer.data + sizeof(struct fuse_entry_out), sizeof(out));
	return out.fh;
}

static const char *works(struct vio_dev *dev)
{
	static const struct fuse_getattr_in in;
	struct fuse_attr_out out;

	if (call(dev, FUSE_GETATTR, FUSE_ROOT_ID, &in, sizeof(in)) != 0)
		return "the root has no attributes";
	memcpy(&out, answer.data, sizeof(out));
	return (out.attr.mode & S_DIRECTORY) ? NULL
					     : "the root is something else";
}

static const char *want(int got, int error)
{
	if (got == NO_ANSWER)
		return "no answer";
	return got == error ? NULL : "other answer";
}

/* ------------------------------------------------------------------- cases */

static const char *lengths_that_lie(struct vio_dev *dev)
{
	static const uint32_t said[] = { 0, 1, 39, 40, 55, 57, 4096, ~0U };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(said) && !why; i++)
		why = want(
			call_raw(dev, FUSE_GETATTR, FUSE_ROOT_ID, 16, said[i]),
			E_INVAL);
	return why;
}

static const char *requests_cut_short(struct vio_dev *dev)
{
	static const uint32_t ops[] = { FUSE_GETATTR, FUSE_SETATTR,  FUSE_MKNOD,
					FUSE_RENAME2, FUSE_OPEN,     FUSE_READ,
					FUSE_WRITE,   FUSE_SETXATTR, FUSE_GETLK,
					FUSE_CREATE,  FUSE_FALLOCATE };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ops) && !why; i++)
		why = want(call(dev, ops[i], FUSE_ROOT_ID, "1234567", 7),
			   E_INVAL);
	return why;
}

static const char *unknown_operations(struct vio_dev *dev)
{
	static const uint32_t ops[] = {
		0, 7, 19, 39, 52, 4096, 0x80000000U, ~0U
	};
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ops) && !why; i++)
		why = want(call(dev, ops[i], FUSE_ROOT_ID, "", 1), E_NOSYS);
	return why;
}

static const char *unknown_nodes(struct vio_dev *dev)
{
	static const uint64_t ids[] = { 0,	    2,		NOWHERE,
					1ULL << 20, 1ULL << 63, ~0ULL };
	static const struct fuse_getattr_in in;
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ids) && !why; i++) {
		why = want(call(dev, FUSE_GETATTR, ids[i], &in, sizeof(in)),
			   E_STALE);
		if (!why)
			why = want(call_name(dev, FUSE_LOOKUP, ids[i], NULL, 0,
					     "x"),
				   E_STALE);
	}
	return why;
}

static const char *unknown_handles(struct vio_dev *dev)
{
	static const uint32_t ops[] = {
		FUSE_READ,    FUSE_READDIR,    FUSE_READDIRPLUS,
		FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_FSYNC,
		FUSE_LSEEK,   FUSE_FALLOCATE,  FUSE_COPY_FILE_RANGE,
		FUSE_FLUSH
	};
	static const struct fuse_copy_file_range_in in = { .fh_in = NO_HANDLE };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ops) && !why; i++)
		why = want(call(dev, ops[i], FUSE_ROOT_ID, &in, sizeof(in)),
			   E_BADF);
	return why;
}

static const char *names_that_are_paths(struct vio_dev *dev)
{
	static const char *const names[] = {
		"", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a/"
	};
	static const struct fuse_mkdir_in in = { .mode = 0755 };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !why; i++) {
		why = want(call_name(dev, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0,
				     names[i]),
			   E_INVAL);
		if (!why)
			why = want(call_name(dev, FUSE_MKDIR, FUSE_ROOT_ID, &in,
					     sizeof(in), names[i]),
				   E_INVAL);
		if (!why)
			why = want(call_name(dev, FUSE_UNLINK, FUSE_ROOT_ID,
					     NULL, 0, names[i]),
				   E_INVAL);
	}
	return why;
}

static const char *names_without_an_end(struct vio_dev *dev)
{
	static const uint32_t lens[] = { 1, 8, 255, 4096 };
	const char *why = NULL;

	memset(request.arg, 'n', sizeof(request.arg));
	for (size_t i = 0; i < ARRAY_SIZE(lens) && !why; i++)
		why = want(call_raw(dev, FUSE_LOOKUP, FUSE_ROOT_ID, lens[i],
				    (uint32_t)sizeof(request.h) + lens[i]),
			   E_INVAL);
	if (why)
		return why;
	request.arg[LONG_NAME] = 0;
	return want(call_raw(dev, FUSE_LOOKUP, FUSE_ROOT_ID, LONG_NAME + 1,
			     (uint32_t)sizeof(request.h) + LONG_NAME + 1),
		    E_NAMETOOLONG);
}

static const char *a_directory_into_itself(struct vio_dev *dev)
{
	uint64_t a = make_dir(dev, FUSE_ROOT_ID, "a");
	uint64_t b = a ? make_dir(dev, a, "b") : 0;
	struct fuse_rename2_in in = { .newdir = b };

	if (!b)
		return "no directories";
	memcpy(request.arg, &in, sizeof(in));
	memcpy(request.arg + sizeof(in), "a\0a", 4);
	return want(call_raw(dev, FUSE_RENAME2, FUSE_ROOT_ID, sizeof(in) + 4,
			     (uint32_t)(sizeof(request.h) + sizeof(in)) + 4),
		    E_INVAL);
}

static const char *sizes_without_end(struct vio_dev *dev)
{
	struct fuse_read_in in = { .fh = make_file(dev, "f"), .size = ~0U };
	struct fuse_write_in wr = { .fh = in.fh, .size = ~0U };
	const char *why = NULL;

	if (!in.fh)
		return "no file";
	why = want(call(dev, FUSE_READ, 0, &in, sizeof(in)), E_INVAL);
	if (!why)
		why = want(call(dev, FUSE_WRITE, 0, &wr, sizeof(wr)), E_INVAL);
	in.size = 16;
	in.offset = ~0ULL;
	if (!why)
		why = want(call(dev, FUSE_READ, 0, &in, sizeof(in)), E_INVAL);
	return why;
}

static const char *room_without_end(struct vio_dev *dev)
{
	struct fuse_fallocate_in in = { .fh = make_file(dev, "f"),
					.offset = 1,
					.length = INT64_MAX };
	int r;

	if (!in.fh)
		return "no file";
	r = call(dev, FUSE_FALLOCATE, FUSE_ROOT_ID, &in, sizeof(in));
	if (r == NO_ANSWER)
		return "no answer";
	if (r == 0)
		return "there is room without end";
	in.length = 0;
	return want(call(dev, FUSE_FALLOCATE, FUSE_ROOT_ID, &in, sizeof(in)),
		    E_INVAL);
}

static const char *device_nodes(struct vio_dev *dev)
{
	static const struct fuse_mknod_in in = { .mode = S_BLOCK | 0666,
						 .rdev = 0x800 };

	return want(call_name(dev, FUSE_MKNOD, FUSE_ROOT_ID, &in, sizeof(in),
			      "sda"),
		    E_PERM);
}

static const char *a_file_taken_for_a_directory(struct vio_dev *dev)
{
	uint64_t id;

	if (!make_file(dev, "f"))
		return "no file";
	id = lookup(dev, FUSE_ROOT_ID, "f");
	return want(call_name(dev, FUSE_LOOKUP, id, NULL, 0, "x"), E_NOTDIR);
}

static const char *forgetting_more_than_there_is(struct vio_dev *dev)
{
	static const struct fuse_forget_in in = { .nlookup = ~0ULL };
	static const struct fuse_interrupt_in intr = { .unique = ~0ULL };

	if (!tell(dev, FUSE_FORGET, FUSE_ROOT_ID, &in, sizeof(in)) ||
	    !tell(dev, FUSE_FORGET, NOWHERE, &in, sizeof(in)) ||
	    !tell(dev, FUSE_INTERRUPT, 0, &intr, sizeof(intr)))
		return "not used";
	return works(dev);
}

static const char *nothing_before_init(struct vio_dev *dev)
{
	static const struct fuse_init_in old = { .major = 7, .minor = 8 };
	const char *why = want(call(dev, FUSE_DESTROY, 0, "", 0), 0);

	if (!why)
		why = want(
			call_name(dev, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "f"),
			E_NOTCONN);
	/* Older than any driver of this device. */
	if (!why && call(dev, FUSE_INIT, 0, &old, sizeof(old)) == 0)
		why = "speaks with the past";
	return why;
}

static const char *no_room_for_an_answer(struct vio_dev *dev)
{
	const struct vio_buf bufs[] = { { &request, sizeof(request.h) },
					{ &answer, 8 } };
	struct vio_queue *q = &dev->queues[REQUESTS];

	request.h = (struct fuse_in_header){ .len = sizeof(request.h),
					     .opcode = FUSE_STATFS,
					     .nodeid = FUSE_ROOT_ID };
	vio_chain_set(q, 0, bufs, 1, 1);
	vio_publish(q, 0);
	vio_kick(dev, REQUESTS);
	return vio_wait_needs_reset(dev) ? NULL : "no DEVICE_NEEDS_RESET";
}

/*
 * One request to forget 268 million nodes, whose entries are one buffer over
 * and over; and as many of it at once as a ring is good for.
 */
static const char *forgetting_for_ever(struct vio_dev *dev)
{
	static struct vring_desc table[TABLE_MAX];
	static struct {
		struct fuse_in_header h;
		struct fuse_batch_forget_in in;
	} head = { .h.opcode = FUSE_BATCH_FORGET, .in.count = ~0U };
	struct vio_queue *q = &dev->queues[HIPRIO];
	uint32_t n = TABLE_MAX - 2;

	head.h.len = (uint32_t)sizeof(head) + n * BUF_BYTES;
	table[0] = (struct vring_desc){ (uint64_t)&head, sizeof(head),
					VRING_DESC_F_NEXT, 1 };
	for (uint32_t i = 1; i <= n; i++)
		table[i] = (struct vring_desc){ (uint64_t)buf, BUF_BYTES,
						i < n ? VRING_DESC_F_NEXT : 0,
						(uint16_t)(i + 1) };
	for (uint16_t i = 0; i < COPIES; i++) {
		vio_desc_set(q, i, table,
			     (uint32_t)((n + 1) * sizeof(table[0])),
			     VRING_DESC_F_INDIRECT, 0);
		vio_publish(q, i);
	}
	vio_kick(dev, HIPRIO);
	for (uint16_t i = 0; i < COPIES; i++) {
		if (!vio_wait_used(dev, q, NULL, NULL))
			return "not used in time";
	}
	return works(dev);
}

static const struct fuse_case cases[] = {
	{ "fuse lengths that lie", lengths_that_lie },
	{ "fuse requests cut short", requests_cut_short },
	{ "fuse unknown operations", unknown_operations },
	{ "fuse unknown nodes", unknown_nodes },
	{ "fuse unknown handles", unknown_handles },
	{ "fuse names that are paths", names_that_are_paths },
	{ "fuse names without an end", names_without_an_end },
	{ "fuse a directory into itself", a_directory_into_itself },
	{ "fuse sizes without end", sizes_without_end },
	{ "fuse room without end", room_without_end },
	{ "fuse device nodes", device_nodes },
	{ "fuse a file taken for a directory", a_file_taken_for_a_directory },
	{ "fuse forgetting more than there is", forgetting_more_than_there_is },
	{ "fuse nothing before init", nothing_before_init },
	{ "fuse no room for an answer", no_room_for_an_answer },
	{ "fuse forgetting for ever", forgetting_for_ever },
};

static bool start(struct vio_dev *dev)
{
	return vio_start(dev, VIO_BIT(VIRTIO_RING_F_INDIRECT_DESC), 2) &&
	       init(dev) == 0;
}

static void run_case(struct vio_dev *dev, const struct fuse_case *c)
{
	const char *why, *after;
	char only[48];

	if (param_get("only", only, sizeof(only)) &&
	    memcmp(c->name, only, strlen(only)) != 0)
		return;
	if (!start(dev)) {
		result(c->name, "does not start");
		return;
	}
	why = c->run(dev);
	after = start(dev) ? works(dev) : "does not start again";
	result(c->name, why ? why : after);
}

void payload_main(void)
{
	struct vio_dev *dev;

	buf = vio_alloc(BUF_BYTES);
	print("DEVICES found=%u\n", vio_probe());
	dev = vio_find(VIRTIO_ID_FS, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (dev)
			run_case(dev, &cases[i]);
		else
			result(cases[i].name, "no shared directory");
	}
	done();
}
