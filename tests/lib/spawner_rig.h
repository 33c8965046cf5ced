/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A spawner and probe devices (tests/sandbox/probe_device.c) for tests, as who
 * started the test and, if that is root, again as an ordinary user. One thread;
 * failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_SPAWNER_RIG_H
#define TORPOR_TESTS_LIB_SPAWNER_RIG_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sandbox/spawner.h"

#define ORDINARY_ID 60123
#define USERS	    2
#define WAIT_MS	    20000

struct bench {
	int exe_fd;
	int log_rd, log_wr; /* a pipe */
	char log[16384];
	size_t log_len;
	struct spawner *sp;
	struct err err;
	const char *share; /* what devices share, NULL: nothing */
	int share_fd;
};

struct device {
	struct spawn_result res;
	int ctl;
	char text[4096]; /* what the probe said, a line a packet */
};

int probe_open(void);
/* Becomes user @who: 0 = who we are, 1 = an ordinary user. */
void become(size_t who);
void bench_init(struct bench *b, size_t who);
int bench_create(struct bench *b, enum sandbox_mode mode);
void bench_start(struct bench *b, size_t who, enum sandbox_mode mode);
void bench_finish(struct bench *b);
/* Waits until the log holds @text. */
bool log_wait(struct bench *b, const char *text);
bool died(int pidfd);
/* Starts a probe of @role with space-separated @words. */
int device_spawn(struct bench *b, struct device *d, const char *role,
		 const char *words);
/* Reads what the probe says until it is ready or dead. */
void device_listen(struct device *d);
void device_start(struct bench *b, struct device *d, const char *role,
		  const char *words);
void device_finish(struct device *d);
bool says(const struct device *d, const char *line);
/* Text of /proc/@pid/@file. */
const char *proc_text(pid_t pid, const char *file);
long long status_field(pid_t pid, const char *name, int base);
size_t fd_count(const char *dir);

#define AS_BOTH_USERS(suite, name)                                \
	ParameterizedTestParameters(suite, name)                  \
	{                                                         \
		static size_t users[USERS] = { 0, 1 };            \
		return cr_make_param_array(size_t, users, USERS); \
	}                                                         \
	ParameterizedTest(size_t *who, suite, name, .timeout = 240)

#endif
