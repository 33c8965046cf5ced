/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A FUSE file system with one file, "image", whose reads and writes reach the
 * file below only after a delay. For tests that kill a process while its I/O is
 * in the kernel.
 *
 *	slowfs BACKING-FILE MOUNTPOINT DELAY-MS
 *
 * Prints a line for each step: "mounted", "READ begun", "READ done", "WRITE
 * begun", "WRITE done". After SIGUSR1 an open of the image hangs, "OPEN hangs",
 * until SIGUSR2. Ends when it is unmounted. One thread: requests are parsed as
 * linux/fuse.h has them, what is delayed waits in a list.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_WRITE   (128U << 10)
#define MAX_REQUEST (MAX_WRITE + 4096U)
#define MAX_DELAYED 64
#define IMAGE_NODE  2U
#define MINOR	    31U /* of the protocol; older than any kernel we meet */

struct delayed {
	int64_t due_ms; /* 0 = free */
	char *request;
};

static int fuse_fd, image_fd;
static int64_t delay_ms;
static struct delayed list[MAX_DELAYED];
static volatile sig_atomic_t opens_hang;
static uint64_t hanging[MAX_DELAYED];
static unsigned int nr_hanging;

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void reply(uint64_t unique, int error, const void *body, size_t len)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len),
		.error = error,
		.unique = unique,
	};
	const struct iovec iov[2] = {
		{ &out, sizeof(out) },
		{ .iov_base = (void *)(uintptr_t)body, .iov_len = len },
	};

	/* ENOENT: nobody waits for it any more. */
	if (writev(fuse_fd, iov, len ? 2 : 1) < 0 && errno != ENOENT)
		perror("slowfs: reply");
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct stat st = { 0 };
	struct fuse_attr attr = { .ino = node, .nlink = 1, .blksize = 4096 };

	if (node == FUSE_ROOT_ID) {
		attr.mode = S_IFDIR | 0755;
		return attr;
	}
	(void)fstat(image_fd, &st);
	attr.mode = S_IFREG | 0666;
	attr.size = (uint64_t)st.st_size;
	attr.blocks = attr.size / 512;
	return attr;
}

static void do_init(const struct fuse_in_header *in)
{
	const struct fuse_init_in *init = (const void *)(in + 1);
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = MINOR,
		.max_readahead = init->max_readahead,
		.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO,
		.max_background = MAX_DELAYED,
		.congestion_threshold = MAX_DELAYED,
		.max_write = MAX_WRITE,
	};

	reply(in->unique, 0, &out, sizeof(out));
}

static void do_lookup(const struct fuse_in_header *in)
{
	struct fuse_entry_out out = { .nodeid = IMAGE_NODE,
				      .entry_valid = 3600,
				      .attr_valid = 3600,
				      .attr = attr_of(IMAGE_NODE) };

	if (strcmp((const char *)(in + 1), "image") != 0)
		reply(in->unique, -ENOENT, NULL, 0);
	else
		reply(in->unique, 0, &out, sizeof(out));
}

static void do_getattr(const struct fuse_in_header *in)
{
	struct fuse_attr_out out = { .attr_valid = 3600,
				     .attr = attr_of(in->nodeid) };

	reply(in->unique, 0, &out, sizeof(out));
}

static void on_signal(int signal)
{
	opens_hang = signal == SIGUSR1;
}

static void opened(uint64_t unique)
{
	struct fuse_open_out out = { .fh = 1 };

	reply(unique, 0, &out, sizeof(out));
}

static void do_open(const struct fuse_in_header *in)
{
	if (!opens_hang || in->nodeid != IMAGE_NODE ||
	    nr_hanging == MAX_DELAYED) {
		opened(in->unique);
		return;
	}
	hanging[nr_hanging++] = in->unique;
	printf("OPEN hangs\n");
}

/* Return: false if there is no more room. */
static bool delay(const struct fuse_in_header *in)
{
	for (int i = 0; i < MAX_DELAYED; i++) {
		if (list[i].due_ms)
			continue;
		list[i].request = malloc(in->len);
		if (!list[i].request)
			return false;
		memcpy(list[i].request, in, in->len);
		list[i].due_ms = now_ms() + delay_ms;
		printf("%s begun\n",
		       in->opcode == FUSE_READ ? "READ" : "WRITE");
		return true;
	}
	return false;
}

static void finish_read(const struct fuse_in_header *in)
{
	const struct fuse_read_in *args = (const void *)(in + 1);
	static char buf[MAX_WRITE];
	size_t len = args->size < sizeof(buf) ? args->size : sizeof(buf);
	ssize_t n = pread(image_fd, buf, len, (off_t)args->offset);

	/* Before the reply: afterwards it is too late to have been first. */
	printf("READ done\n");
	reply(in->unique, n < 0 ? -errno : 0, buf, n < 0 ? 0 : (size_t)n);
}

static void finish_write(const struct fuse_in_header *in)
{
	const struct fuse_write_in *args = (const void *)(in + 1);
	ssize_t n = pwrite(image_fd, args + 1, args->size, (off_t)args->offset);
	struct fuse_write_out out = { .size = n < 0 ? 0 : (uint32_t)n };

	printf("WRITE done\n");
	if (n < 0)
		reply(in->unique, -errno, NULL, 0);
	else
		reply(in->unique, 0, &out, sizeof(out));
}

/* Return: ms until the next is due, -1 for none. */
static int finish_due(void)
{
	int64_t now = now_ms(), next = -1;

	for (int i = 0; i < MAX_DELAYED; i++) {
		const struct fuse_in_header *in = (void *)list[i].request;

		if (!list[i].due_ms)
			continue;
		if (list[i].due_ms > now) {
			if (next < 0 || list[i].due_ms - now < next)
				next = list[i].due_ms - now;
			continue;
		}
		if (in->opcode == FUSE_READ)
			finish_read(in);
		else
			finish_write(in);
		free(list[i].request);
		list[i] = (struct delayed){ 0 };
	}
	return (int)next;
}

static void handle(const struct fuse_in_header *in)
{
	switch (in->opcode) {
	case FUSE_INIT:
		do_init(in);
		break;
	case FUSE_LOOKUP:
		do_lookup(in);
		break;
	case FUSE_GETATTR:
		do_getattr(in);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		do_open(in);
		break;
	case FUSE_READ:
	case FUSE_WRITE:
		if (!delay(in))
			reply(in->unique, -EIO, NULL, 0);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
		reply(in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: /* what was begun is finished */
		break;
	default:
		reply(in->unique, -ENOSYS, NULL, 0);
	}
}

static int serve(void)
{
	static char buf[MAX_REQUEST] __attribute__((aligned(8)));

	for (;;) {
		struct pollfd p = { .fd = fuse_fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, finish_due()) < 0 && errno != EINTR)
			return 1;
		while (!opens_hang && nr_hanging > 0)
			opened(hanging[--nr_hanging]);
		if (!p.revents)
			continue;
		n = read(fuse_fd, buf, sizeof(buf));
		if (n < 0 && errno == ENODEV)
			return 0; /* unmounted */
		if (n < 0 && errno != EINTR && errno != EAGAIN &&
		    errno != ENOENT) {
			perror("slowfs: request");
			return 1;
		}
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			handle((const struct fuse_in_header *)buf);
	}
}

int main(int argc, char **argv)
{
	char options[128];

	if (argc != 4) {
		fprintf(stderr, "usage: slowfs FILE MOUNTPOINT DELAY-MS\n");
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	delay_ms = atoi(argv[3]);
	(void)signal(SIGUSR1, on_signal);
	(void)signal(SIGUSR2, on_signal);
	image_fd = open(argv[1], O_RDWR | O_CLOEXEC);
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (image_fd < 0 || fuse_fd < 0) {
		perror(image_fd < 0 ? argv[1] : "/dev/fuse");
		return 1;
	}
	(void)snprintf(options, sizeof(options),
		       "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		       fuse_fd);
	if (mount("slowfs", argv[2], "fuse", MS_NOSUID | MS_NODEV, options) <
	    0) {
		perror("slowfs: mount");
		return 1;
	}
	printf("mounted\n");
	return serve();
}
