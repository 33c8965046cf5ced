/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's server: who connects, and what is asked. Main loop only.
 * Protocol: docs/control.md.
 *
 * A client's requests have a budget each turn of the loop; what it has sent
 * beyond that waits for the next, one client a turn. So whatever clients send,
 * the loop is theirs for a few requests at a time.
 */
#define _GNU_SOURCE
#include "vmm/control/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define READ_CHUNK	4096U
#define MAX_REQUESTS	64 /* of one client, not yet replied to */
#define ACCEPT_PAUSE_NS 1000000000ULL

/* Of one client in a turn; a request that has begun is finished. */
#define TURN_REQUESTS 16
#define TURN_NS	      4000000ULL

struct budget {
	unsigned int requests;
	uint64_t end_ns; /* BOOTTIME */
};

/* An error for a line that is not a request. */
static void client_refuse(struct client *c, const char *code, const char *fmt,
			  ...) __attribute__((format(printf, 3, 4)));

static void client_refuse(struct client *c, const char *code, const char *fmt,
			  ...)
{
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	body = control_error_body(code, NULL, fmt, ap);
	va_end(ap);
	if (body)
		(void)json_object_set_new(body, "id", json_null());
	control_client_send_json(c, body);
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
		client_refuse(c, "busy",
			      "%d requests are unanswered; wait for a reply",
			      MAX_REQUESTS);
		return;
	}
	req = control_request_new(c, id);
	if (!req) {
		control_client_end(c);
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
			control_client_end(c);
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

static bool may_run(const struct client *c, const struct budget *budget)
{
	return budget->requests > 0 &&
	       control_client_backlog(c) <= CONTROL_REQUESTS_WAIT &&
	       time_boot_ns() < budget->end_ns;
}

/* Looks at it in another turn. */
static void put_off(struct client *c, const char *data, size_t len)
{
	c->rest = malloc(len);
	if (!c->rest) {
		control_client_end(c);
		return;
	}
	memcpy(c->rest, data, len);
	c->rest_len = len;
}

static void feed(struct client *c, const char *data, size_t len,
		 struct budget *budget)
{
	while (len > 0 && !c->dead) {
		const char *nl = memchr(data, '\n', len);

		if (!nl) {
			if (!c->discarding)
				keep(c, data, len);
			return;
		}
		if (!may_run(c, budget)) {
			put_off(c, data, len);
			return;
		}
		budget->requests--;
		end_line(c, data, (size_t)(nl - data));
		len -= (size_t)(nl - data) + 1;
		data = nl + 1;
	}
}

static void client_read(struct client *c, struct budget *budget)
{
	while (!c->dead && !c->eof && !c->rest_len && may_run(c, budget)) {
		char buf[READ_CHUNK];
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			control_client_end(c);
			return;
		}
		if (n == 0) {
			c->eof = true;
			/* The newline of the last request may be missing. */
			if (c->in_len > 0 || c->discarding)
				end_line(c, "", 0);
			return;
		}
		c->heard_ns = time_boot_ns();
		feed(c, buf, (size_t)n, budget);
	}
}

/* A client's turn: what it has sent before comes first. */
static void client_run(struct client *c)
{
	_cleanup_free_ char *rest = TAKE(c->rest);
	size_t len = c->rest_len;
	struct budget budget = { .requests = TURN_REQUESTS };

	c->ran_ns = time_boot_ns();
	budget.end_ns = c->ran_ns + TURN_NS;
	c->rest_len = 0;
	feed(c, rest, len, &budget);
	client_read(c, &budget);
}

/* Requests that wait for nothing but their turn; the one that waits longest. */
static struct client *find_waiting(const struct control *ctl)
{
	struct client *found = NULL;

	for (struct client *c = ctl->clients; c; c = c->next) {
		if (!c->dead && c->rest_len &&
		    control_client_backlog(c) <= CONTROL_REQUESTS_WAIT &&
		    (!found || c->ran_ns < found->ran_ns))
			found = c;
	}
	return found;
}

static void on_run_timer(struct loop_timer *timer);

static void leave(struct control *ctl)
{
	ctl->depth--;
	control_reap(ctl);
	if (!ctl->run_timer.deadline_ns && find_waiting(ctl))
		loop_timer_set(ctl->loop, &ctl->run_timer, 0, on_run_timer);
}

static void on_run_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, run_timer);
	struct client *c = find_waiting(ctl);

	if (!c)
		return;
	ctl->depth++;
	client_run(c);
	control_client_settle(c);
	leave(ctl);
}

static void client_flush(struct client *c)
{
	control_client_flush(c);
	if (!control_client_backlog(c))
		control_events_resume(c);
}

static void on_client(struct loop_source *src, uint32_t events)
{
	struct client *c = container_of(src, struct client, src);
	struct control *ctl = c->ctl;

	ctl->depth++;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		client_flush(c);
	/* A client that wrote and left at once is still heard. */
	if (!c->eof && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		client_run(c);
	/* Not half closed but gone: no reply can be delivered. */
	if (!c->dead && c->eof && (events & (EPOLLHUP | EPOLLERR)))
		control_client_end(c);
	control_client_settle(c);
	leave(ctl);
}

/* --- listening --- */

/* Does it only sit there? */
static bool is_idle(const struct client *c)
{
	return !c->nr_requests && !c->events && !c->rest_len;
}

/*
 * The place of the client that has sent nothing for the longest time, of those
 * that wait for something only if there is no other: whoever comes to stop the
 * VM is let in.
 */
static void make_place(struct control *ctl)
{
	static const char full[] =
		"{\"id\":null,\"ok\":false,\"error\":{\"code\":\"busy\","
		"\"message\":\"too many clients: the one that was silent for "
		"the longest time is closed\"}}";
	struct client *found = NULL;

	for (struct client *c = ctl->clients; c; c = c->next) {
		if (c->dead)
			continue;
		if (!found || is_idle(c) > is_idle(found) ||
		    (is_idle(c) == is_idle(found) &&
		     c->heard_ns < found->heard_ns))
			found = c;
	}
	if (!found)
		return; /* all have ended, and are about to go */
	log_limited(&ctl->evicted,
		    "control: more than %d clients; closing the one that is "
		    "silent for the longest time",
		    CONTROL_MAX_CLIENTS);
	ctl->depth++;
	control_client_send(found, full, sizeof(full) - 1);
	control_client_end(found);
	ctl->depth--;
	control_reap(ctl);
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
	c->heard_ns = time_boot_ns();
	if (loop_add(ctl->loop, &c->src, fd, EPOLLIN, on_client) < 0) {
		(void)close(fd);
		free(c);
		return;
	}
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->nr_clients++;
	ctl->depth++;
	control_client_send_json(c, json_pack("{s:s, s:i}", "torpor",
					      TORPOR_VERSION, "protocol",
					      CONTROL_PROTOCOL));
	ctl->depth--;
	control_reap(ctl);
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
	if (ctl->nr_clients >= CONTROL_MAX_CLIENTS)
		make_place(ctl);
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
	loop_timer_cancel(ctl->loop, &ctl->run_timer);
	control_events_finish(ctl);
	for (struct client *c = ctl->clients; c; c = c->next) {
		client_flush(c);
		control_client_end(c);
	}
	control_reap(ctl);
	control_socket_close(&ctl->sock);
	free(ctl);
}
