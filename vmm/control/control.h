/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: a UNIX stream socket with newline-separated JSON, one
 * object a line. Protocol in docs/control.md. Main loop only; never blocks on
 * a client, and serves each for a few milliseconds a turn: the requests of one
 * that does not read wait, its events are left out and counted. A line longer
 *than CONTROL_MAX_LINE or malformed JSON gets an error reply and the connection
 *lives.
 *
 *	-> {"id": 1, "command": "suspend", "timeout_ms": 5000}
 *	<- {"id": 1, "ok": true, "result": {...}}
 *	<- {"id": 1, "ok": false, "error": {"code": "timeout", "message": ...}}
 *	<- {"event": "SUSPENDED", "time_ns": ..., "data": {...}}
 * The first line a client gets is a greeting:
 *	<- {"torpor": "0.1.0", "protocol": 1}
 */
#ifndef TORPOR_VMM_CONTROL_CONTROL_H
#define TORPOR_VMM_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

#include "vmm/base/err.h"
#include "vmm/base/loop.h"

#define CONTROL_PROTOCOL    1
#define CONTROL_MAX_CLIENTS 32
#define CONTROL_MAX_LINE    65536      /* bytes of one request */
#define CONTROL_MAX_BACKLOG (1U << 20) /* bytes of output not yet taken */

struct control;
/*
 * One request being worked on. It outlives its client: replying to a client
 * that has gone is a no-op. Exactly one of the control_reply*() calls ends it.
 */
struct control_request;

struct control_command {
	const char *name;
	/*
	 * @args: the whole request object, borrowed. Validates its own keys
	 * with control_check_keys(). Replies now or later, never blocks.
	 */
	void (*fn)(struct control_request *req, json_t *args, void *ctx);
};

/**
 * control_create() - listen on @path
 * @commands: NULL-name terminated table, borrowed
 *
 * A stale socket (nobody answers) is replaced; a live one is -EADDRINUSE.
 * Mode 0600. Return: 0 and *ret, or -errno with @err naming the path.
 */
int control_create(struct loop *loop, const char *path,
		   const struct control_command *commands, void *ctx,
		   struct control **ret, struct err *err) must_check;
/* Flushes what can be sent without waiting, closes, removes the socket. */
void control_destroy(struct control *ctl);

/* @result: stolen, may be NULL for {}. */
void control_reply(struct control_request *req, json_t *result);
/* @code: a short fixed word ("timeout", "refused", "invalid"). */
void control_reply_error(struct control_request *req, const char *code,
			 const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with details: @data stolen, put into error.data. */
void control_reply_error_data(struct control_request *req, const char *code,
			      json_t *data, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * True if @args has no key beyond "id", "command" and the NULL-terminated
 * @keys; else it has replied with an error naming the key.
 */
bool control_check_keys(struct control_request *req, json_t *args,
			const char *const *keys) must_check;

/*
 * Sends an event to every client that asked for events (command "events",
 * handled by control itself); at most 2000 a second, see docs/control.md.
 * @name: a literal. @data: stolen, may be NULL.
 */
void control_event(struct control *ctl, const char *name, json_t *data);

#endif
