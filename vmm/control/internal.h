/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the control socket's server share; see
 * vmm/control/control.h. Main loop only.
 *
 * Lifetimes: a command's handler, or an event sent from it, may end any
 * client, its own included. So a client that ends is marked dead (socket
 * closed, out of the loop) and freed by control_reap() when no client's code is
 * on the stack. A request outlives its client; then its client is NULL.
 */
#ifndef TORPOR_VMM_CONTROL_INTERNAL_H
#define TORPOR_VMM_CONTROL_INTERNAL_H

#include <stdarg.h>

#include "vmm/base/log.h"
#include "vmm/base/socket_file.h"
#include "vmm/control/control.h"

/*
 * Bytes of output not taken, beyond which a client's requests wait, and events
 * are left out. A reply has at most 512 KiB: CONTROL_MAX_BACKLOG holds it.
 */
#define CONTROL_REQUESTS_WAIT (128U << 10)
#define CONTROL_EVENTS_LOST   (256U << 10)

struct control_held;

struct client {
	struct control *ctl;
	struct client *next;
	struct loop_source src;
	int fd;
	char *in; /* a request's beginning */
	size_t in_len, in_cap;
	char *rest; /* sent, and not looked at yet */
	size_t rest_len;
	uint64_t heard_ns; /* when it last sent something, BOOTTIME */
	uint64_t ran_ns;   /* when its requests last had their turn */
	char *out;	   /* output not yet taken: out_pos .. out_len */
	size_t out_pos, out_len, out_cap;
	struct control_request *requests;
	unsigned int nr_requests;
	bool discarding; /* rest of an oversized line */
	bool eof;	 /* sends no more, may still read */
	bool gone;	 /* reads no more; what it has sent is still heard */
	bool events;	 /* has asked for them */
	uint64_t lost;	 /* events left out since the last one it got */
	bool dead;
};

struct control_request {
	struct client *client;
	struct control_request *next; /* of the same client */
	json_t *id;		      /* integer, string or null */
};

struct control {
	struct loop *loop;
	const struct control_command *commands;
	void *ctx;
	struct control_socket sock;
	struct loop_source listen_src;
	struct loop_timer accept_timer;
	struct client *clients;
	unsigned int nr_clients;
	unsigned int depth;	     /* of client code on the stack */
	struct loop_timer run_timer; /* of requests beyond their turn */
	/* Events beyond their rate: the last of each kind, by time. */
	struct control_held *held;
	uint64_t event_tokens_ns; /* each event takes some of it */
	uint64_t event_refill_ns; /* BOOTTIME of the last look */
	struct loop_timer event_timer;
	struct log_limit dropped, refused, evicted;
};

/* --- server_client.c --- */
void control_client_end(struct client *c);
/* Frees those that have ended, if no client's code is on the stack. */
void control_reap(struct control *ctl);
/* Output that it has not taken. */
size_t control_client_backlog(const struct client *c);
/* Sends what it takes. */
void control_client_flush(struct client *c);
/* Ends the connection when nothing more can come of it, else watches it. */
void control_client_settle(struct client *c);
/* A line, without its newline. */
void control_client_send(struct client *c, const char *line, size_t len);
/* @obj: stolen */
void control_client_send_json(struct client *c, json_t *obj);
/* @obj: stolen. Return: owned, NULL when out of memory. */
char *control_dump(json_t *obj) must_check;

/* --- reply.c --- */
/* NULL when out of memory. */
struct control_request *control_request_new(struct client *c,
					    json_t *id) must_check;
/* @data: stolen, or NULL */
json_t *control_error_body(const char *code, json_t *data, const char *fmt,
			   va_list ap) __attribute__((format(printf, 3, 0)));

/* --- events.c --- */
/* It has taken what was there: tells it of events that were left out. */
void control_events_resume(struct client *c);
/* Sends all that is held back, at once. */
void control_events_finish(struct control *ctl);

#endif
