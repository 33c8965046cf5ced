/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points of libFuzzer, and the reader of inputs. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define SEEDS_OPTION "--seeds="

static const char *seed_dir;
static unsigned int nr_seeds;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

void fuzz_fail(const char *file, int line, const char *cond)
{
	(void)fprintf(stderr, "==FUZZ== ERROR: %s:%d: not so: %s\n", file, line,
		      cond);
	abort();
}

size_t fuzz_bytes(struct fuzz_in *in, void *buf, size_t len)
{
	size_t n = MIN(len, in->len);

	if (n > 0)
		memcpy(buf, in->data, n);
	in->data += n;
	in->len -= n;
	return n;
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
	uint8_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof(v));
	return v;
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof(v));
	return v;
}

uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof(v));
	return v;
}

uint64_t fuzz_u64(struct fuzz_in *in)
{
	uint64_t v = 0;

	(void)fuzz_bytes(in, &v, sizeof(v));
	return v;
}

void fuzz_turn(struct loop *loop, unsigned int turns)
{
	struct pollfd p = { .fd = loop->epoll_fd, .events = POLLIN };

	while (turns-- > 0 && poll(&p, 1, 0) == 1)
		fuzz_check(loop_turn(loop, 0) == 0);
}

void fuzz_seed(const void *data, size_t len)
{
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/seed-%u", seed_dir, nr_seeds++);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || fd_write_all(fd, data, len) < 0) {
		perror(path);
		exit(1);
	}
	(void)close(fd);
}

/* The lowest number that is free: an fd left open takes it. */
static int free_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	(void)close(fd);
	return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	fuzz_check(null >= 0);
	/* The text of every message is made, and goes nowhere. */
	log_init("fuzz", null, LOG_LEVEL_DEBUG);
	(void)signal(SIGPIPE, SIG_IGN);
	fuzz_setup();
	if (*argc > 1 &&
	    !strncmp((*argv)[1], SEEDS_OPTION, strlen(SEEDS_OPTION))) {
		seed_dir = (*argv)[1] + strlen(SEEDS_OPTION);
		fuzz_seeds();
		exit(0);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { .data = data, .len = len };
	int lowest = free_fd();

	fuzz_one(&in);
	fuzz_check(free_fd() == lowest);
	return 0;
}
