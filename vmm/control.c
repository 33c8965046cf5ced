/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's server. Main loop only. Protocol: docs/control.md.
 *
 * Lifetimes: a command's handler, or an event sent from it, may end any
 * client, its own included. So a client that ends is marked dead (socket
 * closed, out of the loop) and freed by reap() when no client's code is on
 * the stack. A request outlives its client; then its client is NULL.
 */
#define _GNU_SOURCE
#include "vmm/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/util.h"
#include "vmm/control_socket.h"

#define READ_CHUNK	4096U
#define READS_PER_TURN	16 /* so that one client cannot starve the loop */
#define MAX_REQUESTS	64 /* of one client, not yet replied to */
#define ACCEPT_PAUSE_NS 1000000000ULL

struct client {
	struct control *ctl;
	struct client *next;
	struct loop_source src;
	int fd;
	char *in; /* a request's beginning */
	size_t in_len, in_cap;
	char *out; /* output not yet taken: out_pos .. out_len */
	size_t out_pos, out_len, out_cap;
	struct control_request *requests;
	unsigned int nr_requests;
	bool discarding; /* rest of an oversized line */
	bool eof;	 /* sends no more, may still read */
	bool gone;	 /* reads no more; what it has sent is still heard */
	bool events;	 /* has asked for them */
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
	unsigned int depth; /* of client code on the stack */
	struct log_limit dropped, refused;
};

/* --- clients --- */

static void client_end(struct client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	loop_remove(c->ctl->loop, &c->src);
	fd_close(&c->fd);
	while (c->requests) {
		struct control_request *req = c->requests;

		c->requests = req->next;
		req->client = NULL;
		req->next = NULL;
	}
	c->nr_requests = 0;
	c->ctl->nr_clients--;
}

static void reap(struct control *ctl)
{
	struct client **p = &ctl->clients;

	if (ctl->depth)
		return;
	while (*p) {
		struct client *c = *p;

		if (!c->dead) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		free(c->in);
		free(c->out);
		free(c);
	}
}

static void client_watch(struct client *c)
{
	uint32_t events = 0;

	if (!c->eof)
		events |= EPOLLIN;
	if (c->out_len > c->out_pos)
		events |= EPOLLOUT;
	/* Cannot fail for an fd that is in the loop; if it does, end it. */
	if (loop_modify(c->ctl->loop, &c->src, events) < 0)
		client_end(c);
}

static void client_flush(struct client *c)
{
	while (c->out_pos < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_pos,
				 c->out_len - c->out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->gone = true;
			break;
		}
		c->out_pos += (size_t)n;
	}
	c->out_pos = c->out_len = 0;
	/* Rare large backlogs do not stay allocated. */
	if (c->out_cap > READ_CHUNK) {
		free(TAKE(c->out));
		c->out_cap = 0;
	}
}

/* Makes room for @len more bytes. Return: 0, -ENOBUFS or -ENOMEM. */
static int client_reserve(struct client *c, size_t len)
{
	size_t need, cap;
	char *out;

	if (c->out_pos > 0) {
		memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
		c->out_len -= c->out_pos;
		c->out_pos = 0;
	}
	need = c->out_len + len;
	if (need <= c->out_cap)
		return 0;
	if (need > CONTROL_MAX_BACKLOG)
		return -ENOBUFS;
	cap = MAX(c->out_cap * 2, need);
	cap = MIN(cap, (size_t)CONTROL_MAX_BACKLOG);
	out = realloc(c->out, cap);
	if (!out)
		return -ENOMEM;
	c->out = out;
	c->out_cap = cap;
	return 0;
}

/* Ends the connection when nothing more can come of it. */
static void client_settle(struct client *c)
{
	if (c->dead)
		return;
	if (c->eof && (c->gone || (!c->nr_requests && !c->events &&
				   c->out_pos == c->out_len))) {
		client_end(c);
		return;
	}
	client_watch(c);
}

static void client_send(struct client *c, const char *line, size_t len)
{
	int r;

	if (c->dead || c->gone)
		return;
	r = client_reserve(c, len + 1);
	if (r < 0) {
		log_limited(&c->ctl->dropped,
			    "control: a client that does not read is dropped");
		client_end(c);
		return;
	}
	memcpy(c->out + c->out_len, line, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	client_flush(c);
	client_settle(c);
}

/* Dumps @obj (stolen) into a heap string. NULL when out of memory. */
static char *dump(json_t *obj)
{
	char *line = obj ? json_dumps(obj, JSON_COMPACT) : NULL;

	json_decref(obj);
	return line;
}

static void client_send_json(struct client *c, json_t *obj)
{
	_cleanup_free_ char *line = dump(obj);

	if (!line) {
		log_err("control: no memory for a reply, client dropped");
		client_end(c);
		return;
	}
	client_send(c, line, strlen(line));
}

/* --- replies --- */

static struct control_request *request_new(struct client *c, json_t *id)
{
	struct control_request *req = calloc(1, sizeof(*req));

	if (!req)
		return NULL;
	req->client = c;
	req->id = id ? json_incref(id) : json_null();
	req->next = c->requests;
	c->requests = req;
	c->nr_requests++;
	return req;
}

/* Takes @req off its client. Return: the client, NULL if it has gone. */
static struct client *request_end(struct control_request *req)
{
	struct client *c = req->client;

	if (!c)
		return NULL;
	for (struct control_request **p = &c->requests; *p; p = &(*p)->next) {
		if (*p != req)
			continue;
		*p = req->next;
		break;
	}
	c->nr_requests--;
	return c;
}

static void request_free(struct control_request *req)
{
	json_decref(req->id);
	free(req);
}

/* @body: stolen; gets the id in front. */
static void request_answer(struct control_request *req, json_t *body)
{
	struct client *c = request_end(req);
	struct control *ctl;
	json_t *reply;

	if (!c) {
		json_decref(body);
		request_free(req);
		return;
	}
	ctl = c->ctl;
	reply = json_object();
	(void)json_object_set(reply, "id", req->id);
	if (!body || json_object_update(reply, body) < 0) {
		json_decref(reply);
		reply = NULL;
	}
	json_decref(body);
	request_free(req);
	ctl->depth++;
	client_send_json(c, reply);
	ctl->depth--;
	reap(ctl);
}

void control_reply(struct control_request *req, json_t *result)
{
	if (!result)
		result = json_object();
	request_answer(req, json_pack("{s:b, s:o}", "ok", 1, "result", result));
}

/* A JSON string of @text, whatever bytes it is made of. */
static json_t *message_string(char *text)
{
	json_t *s = json_string(text);

	if (s)
		return s;
	for (char *p = text; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(text);
}

static json_t *error_body(const char *code, json_t *data, const char *fmt,
			  va_list ap) __attribute__((format(printf, 3, 0)));

static json_t *error_body(const char *code, json_t *data, const char *fmt,
			  va_list ap)
{
	char text[512];
	json_t *error;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	error = json_pack("{s:s, s:o}", "code", code, "message",
			  message_string(text));
	if (data)
		(void)json_object_set_new(error, "data", data);
	return json_pack("{s:b, s:o}", "ok", 0, "error", error);
}

void control_reply_error(struct control_request *req, const char *code,
			 const char *fmt, ...)
{
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	body = error_body(code, NULL, fmt, ap);
	va_end(ap);
	request_answer(req, body);
}

void control_reply_error_data(struct control_request *req, const char *code,
			      json_t *data, const char *fmt, ...)
{
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	body = error_body(code, data, fmt, ap);
	va_end(ap);
	request_answer(req, body);
}

/* An error for a line that is no request. */
static void client_refuse(struct client *c, const char *code, const char *fmt,
			  ...) __attribute__((format(printf, 3, 4)));

static void client_refuse(struct client *c, const char *code, const char *fmt,
			  ...)
{
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	body = error_body(code, NULL, fmt, ap);
	va_end(ap);
	if (body)
		(void)json_object_set_new(body, "id", json_null());
	client_send_json(c, body);
}

static bool key_known(const char *key, const char *const *keys)
{
	if (!strcmp(key, "id") || !strcmp(key, "command"))
		return true;
	for (; *keys; keys++) {
		if (!strcmp(key, *keys))
			return true;
	}
	return false;
}

bool control_check_keys(struct control_request *req, json_t *args,
			const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach(args, key, value)
	{
		char list[256] = "none";
		size_t len = 0;

		if (key_known(key, keys))
			continue;
		for (; *keys && len < sizeof(list); keys++)
			len += (size_t)snprintf(list + len, sizeof(list) - len,
						"%s%s", len ? ", " : "", *keys);
		control_reply_error(req, "invalid",
				    "unknown key '%.64s' (known: %s)", key,
				    list);
		return false;
	}
	return true;
}

/* --- requests --- */

static const char *const no_keys[] = { NULL };

static void do_events(struct control_request *req, json_t *args)
{
	if (!control_check_keys(req, args, no_keys))
		return;
	req->client->events = true;
	control_reply(req, NULL);
}

static void do_version(struct control *ctl, struct control_request *req,
		       json_t *args)
{
	json_t *names;

	if (!control_check_keys(req, args, no_keys))
		return;
	names = json_pack("[s, s]", "events", "version");
	for (const struct control_command *cmd = ctl->commands; cmd->name;
	     cmd++)
		(void)json_array_append_new(names, json_string(cmd->name));
	control_reply(req, json_pack("{s:s, s:i, s:o}", "torpor",
				     TORPOR_VERSION, "protocol",
				     CONTROL_PROTOCOL, "commands", names));
}

static void run_command(struct control *ctl, struct control_request *req,
			const char *name, json_t *args)
{
	if (!strcmp(name, "events")) {
		do_events(req, args);
		return;
	}
	if (!strcmp(name, "version")) {
		do_version(ctl, req, args);
		return;
	}
	for (const struct control_command *cmd = ctl->commands; cmd->name;
	     cmd++) {
		if (strcmp(name, cmd->name) != 0)
			continue;
		loop_doing(ctl->loop, cmd->name);
		cmd->fn(req, args, ctl->ctx);
		return;
	}
	control_reply_error(req, "unknown-command",
			    "unknown command '%.64s' ('version' lists them)",
			    name);
}

static void handle_object(struct client *c, json_t *obj)
{
	json_t *id = json_object_get(obj, "id");
	const char *name;
	struct control_request *req;

	if (id && !json_is_integer(id) && !json_is_string(id) &&
	    !json_is_null(id)) {
		client_refuse(c, "invalid",
			      "'id' must be an integer or a string");
		return;
	}
	if (c->nr_requests >= MAX_REQUESTS) {
		client_refuse(c, "busy", "%d requests are unanswered: wait",
			      MAX_REQUESTS);
		return;
	}
	req = request_new(c, id);
	if (!req) {
		client_end(c);
		return;
	}
	name = json_string_value(json_object_get(obj, "command"));
	if (!name) {
		control_reply_error(req, "invalid",
				    "'command' must be given, as a string");
		return;
	}
	run_command(c->ctl, req, name, obj);
}

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	}
	return true;
}

static void handle_line(struct client *c, const char *line, size_t len)
{
	json_error_t error;
	json_t *obj;

	if (is_blank(line, len))
		return;
	/* jansson bounds the depth of nesting (2048). */
	obj = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
			 &error);
	if (!obj) {
		client_refuse(c, "parse", "malformed JSON, column %d: %s",
			      error.column, error.text);
		return;
	}
	if (json_is_object(obj))
		handle_object(c, obj);
	else
		client_refuse(c, "parse", "a request is a JSON object");
	json_decref(obj);
}

static void refuse_long(struct client *c)
{
	c->discarding = true;
	c->in_len = 0;
	client_refuse(c, "too-long", "a request has at most %d bytes",
		      CONTROL_MAX_LINE);
}

/* Keeps a line's beginning until the rest has come. */
static void keep(struct client *c, const char *data, size_t len)
{
	if (c->in_len + len > CONTROL_MAX_LINE) {
		refuse_long(c);
		return;
	}
	if (c->in_len + len > c->in_cap) {
		size_t cap = MAX(c->in_cap * 2, c->in_len + len);
		char *in = realloc(c->in, cap);

		if (!in) {
			client_end(c);
			return;
		}
		c->in = in;
		c->in_cap = cap;
	}
	memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
}

static void end_line(struct client *c, const char *data, size_t len)
{
	if (c->discarding) {
		c->discarding = false;
		return;
	}
	if (!c->in_len && len <= CONTROL_MAX_LINE) {
		handle_line(c, data, len);
		return;
	}
	keep(c, data, len);
	if (c->dead)
		return;
	if (c->discarding) { /* too long by its last piece */
		c->discarding = false;
		return;
	}
	handle_line(c, c->in, c->in_len);
	c->in_len = 0;
	c->in_cap = 0;
	free(TAKE(c->in));
}

static void feed(struct client *c, const char *data, size_t len)
{
	while (len > 0 && !c->dead) {
		const char *nl = memchr(data, '\n', len);

		if (!nl) {
			if (!c->discarding)
				keep(c, data, len);
			return;
		}
		end_line(c, data, (size_t)(nl - data));
		len -= (size_t)(nl - data) + 1;
		data = nl + 1;
	}
}

static void client_read(struct client *c)
{
	for (int i = 0; i < READS_PER_TURN && !c->dead; i++) {
		char buf[READ_CHUNK];
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			client_end(c);
			return;
		}
		if (n == 0) {
			c->eof = true;
			/* The newline of the last request may be missing. */
			if (c->in_len > 0 || c->discarding)
				end_line(c, "", 0);
			return;
		}
		feed(c, buf, (size_t)n);
	}
}

static void on_client(struct loop_source *src, uint32_t events)
{
	struct client *c = container_of(src, struct client, src);
	struct control *ctl = c->ctl;

	ctl->depth++;
	/* A client that wrote and left at once is still heard. */
	if (!c->eof && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		client_read(c);
	if (!c->dead && (events & EPOLLOUT))
		client_flush(c);
	/* Not half closed but gone: no reply can be delivered. */
	if (!c->dead && c->eof && (events & (EPOLLHUP | EPOLLERR)))
		client_end(c);
	client_settle(c);
	ctl->depth--;
	reap(ctl);
}

/* --- listening --- */

static void refuse_client(int fd)
{
	static const char full[] =
		"{\"id\":null,\"ok\":false,\"error\":{\"code\":\"busy\","
		"\"message\":\"too many clients: close one first\"}}\n";

	/* A new socket has room for a line. */
	(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_add(struct control *ctl, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return;
	}
	c->ctl = ctl;
	c->fd = fd;
	c->src.fd = -1;
	if (loop_add(ctl->loop, &c->src, fd, EPOLLIN, on_client) < 0) {
		(void)close(fd);
		free(c);
		return;
	}
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->nr_clients++;
	ctl->depth++;
	client_send_json(c, json_pack("{s:s, s:i}", "torpor", TORPOR_VERSION,
				      "protocol", CONTROL_PROTOCOL));
	ctl->depth--;
	reap(ctl);
}

static void on_accept_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, accept_timer);

	(void)!loop_modify(ctl->loop, &ctl->listen_src, EPOLLIN);
}

static void on_listen(struct loop_source *src, uint32_t events)
{
	struct control *ctl = container_of(src, struct control, listen_src);
	_cleanup_fd_ int fd = -1;

	fd = accept4(ctl->sock.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of fds or memory: level triggered, so look away. */
		log_limited(&ctl->refused, "control: cannot take a client: %s",
			    strerror(errno));
		(void)!loop_modify(ctl->loop, src, 0);
		loop_timer_set(ctl->loop, &ctl->accept_timer, ACCEPT_PAUSE_NS,
			       on_accept_timer);
		return;
	}
	if (ctl->nr_clients >= CONTROL_MAX_CLIENTS) {
		refuse_client(fd);
		return;
	}
	client_add(ctl, TAKE_FD(fd));
}

int control_create(struct loop *loop, const char *path,
		   const struct control_command *commands, void *ctx,
		   struct control **ret, struct err *err)
{
	struct control *ctl = calloc(1, sizeof(*ctl));
	int r;

	if (!ctl)
		return err_set_errno(err, -ENOMEM, "control socket '%s'", path);
	/* Hashing is seeded now: later, in the jail, no file can be opened. */
	json_object_seed(0);
	ctl->loop = loop;
	ctl->commands = commands;
	ctl->ctx = ctx;
	ctl->listen_src.fd = -1;
	r = control_socket_open(&ctl->sock, path, err);
	if (r < 0) {
		free(ctl);
		return r;
	}
	r = loop_add(loop, &ctl->listen_src, ctl->sock.fd, EPOLLIN, on_listen);
	if (r < 0) {
		control_destroy(ctl);
		return err_set_errno(err, r, "control socket '%s'", path);
	}
	*ret = ctl;
	return 0;
}

void control_destroy(struct control *ctl)
{
	if (!ctl)
		return;
	assert(!ctl->depth); /* not from a command's handler */
	loop_remove(ctl->loop, &ctl->listen_src);
	loop_timer_cancel(ctl->loop, &ctl->accept_timer);
	for (struct client *c = ctl->clients; c; c = c->next) {
		client_flush(c);
		client_end(c);
	}
	reap(ctl);
	control_socket_close(&ctl->sock);
	free(ctl);
}

void control_event(struct control *ctl, const char *name, json_t *data)
{
	_cleanup_free_ char *line = NULL;
	struct client *c;

	for (c = ctl->clients; c; c = c->next) {
		if (c->events && !c->dead)
			break;
	}
	if (!c) {
		json_decref(data);
		return;
	}
	line = dump(json_pack("{s:s, s:I, s:o}", "event", name, "time_ns",
			      (json_int_t)time_boot_ns(), "data",
			      data ? data : json_object()));
	if (!line) {
		log_err("control: event %s lost: no memory", name);
		return;
	}
	ctl->depth++;
	for (; c; c = c->next) {
		if (c->events)
			client_send(c, line, strlen(line));
	}
	ctl->depth--;
	reap(ctl);
}
