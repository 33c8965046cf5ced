/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A control socket with its commands, and a client of it; the server's loop is
 * turned by hand, so that every step is in a known order. One thread; failures
 * end the test.
 */
#ifndef TORPOR_TESTS_LIB_CONTROL_RIG_H
#define TORPOR_TESTS_LIB_CONTROL_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/loop.h"
#include "vmm/control/control.h"

#define MAX_HELD    128
#define NR_COMMANDS 6

struct test_server {
	char dir[64], path[108];
	struct loop loop;
	struct control *ctl;
	struct control_request *held[MAX_HELD]; /* by "later" */
	unsigned int nr_held;
	unsigned int nr_slow; /* "slow" requests served */
};

extern struct test_server server;
extern const struct control_command commands[NR_COMMANDS + 1];

void control_setup(void);
void control_teardown(void);

/* --- a client --- */

int dial_at(const char *at);
void send_bytes(int fd, const char *data, size_t len);
void say(int fd, const char *text);
/* One byte; turns the loop while there is none. -1 at the end of file. */
int get_byte(int fd);
/* The next line as JSON; NULL at the end of file. */
json_t *hear(int fd);
const char *reply_code(json_t *reply);
const char *reply_message(json_t *reply);
bool is_ok(json_t *reply);
/* Connects and takes the greeting. */
int dial(void);
/* The server still serves @fd. */
void check_alive(int fd);
void check_error(int fd, const char *code);
bool is_closed(int fd);
void subscribe(int fd);

#endif
