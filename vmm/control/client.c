/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtorpor (include/torpor.h): the client's end of the control socket. Any
 * thread, one at a time per connection. Uses libc and jansson only, nothing
 * else of torpor, so that a launcher can link this one object. Protocol:
 * docs/control.md.
 */
#define _GNU_SOURCE
#include "include/torpor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/util.h"

#define MAX_EVENTS 1024
#define MAX_LINE   (4U << 20) /* bytes; more than torpor ever buffers */
#define CHUNK	   4096U
#define NO_LIMIT   UINT64_MAX

struct event {
	struct event *next;
	char *line;
};

struct torpor {
	int fd;
	int broken; /* -errno that every further call returns; 0 = usable */
	json_int_t next_id;
	char *version;
	char *buf; /* received, not yet taken as lines */
	size_t len, cap, scanned;
	struct event *events, **events_tail;
	unsigned int nr_events;
	unsigned long lost;
	char code[64];
	char message[512];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

static uint64_t deadline_in(int timeout_ms)
{
	if (timeout_ms < 0)
		return NO_LIMIT;
	return now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
}

/* Milliseconds left, rounded up, for poll(2): 0 when past, -1 = no limit. */
static int ms_left(uint64_t deadline)
{
	uint64_t now, ms;

	if (deadline == NO_LIMIT)
		return -1;
	now = now_ns();
	if (now >= deadline)
		return 0;
	ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Return: 0 when ready, -ETIMEDOUT, or -errno. */
static int wait_ready(struct torpor *t, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = t->fd, .events = events };

	for (;;) {
		int ms = ms_left(deadline);
		int r = poll(&p, 1, ms);

		if (r > 0)
			return 0;
		if (r == 0 && ms == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int break_off(struct torpor *t, int code)
{
	t->broken = code;
	return code;
}

/* Appends what the socket has. Return: 0, -EAGAIN, or -errno. */
static int receive(struct torpor *t)
{
	ssize_t n;

	if (t->cap - t->len < CHUNK) {
		size_t cap = t->cap ? t->cap * 2 : CHUNK;
		char *buf;

		if (cap > MAX_LINE)
			return break_off(t, -EMSGSIZE);
		buf = realloc(t->buf, cap);
		if (!buf)
			return -ENOMEM;
		t->buf = buf;
		t->cap = cap;
	}
	do {
		n = recv(t->fd, t->buf + t->len, t->cap - t->len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return break_off(t, -ECONNRESET);
	t->len += (size_t)n;
	return 0;
}

/* Takes one line out of the buffer. Return: 0, -EAGAIN or -ENOMEM. */
static int take_line(struct torpor *t, char **ret_line)
{
	char *end, *line;
	size_t len;

	if (t->scanned == t->len)
		return -EAGAIN;
	end = memchr(t->buf + t->scanned, '\n', t->len - t->scanned);
	if (!end) {
		t->scanned = t->len;
		return -EAGAIN;
	}
	len = (size_t)(end - t->buf);
	line = strndup(t->buf, len);
	if (!line)
		return -ENOMEM;
	t->len -= len + 1;
	memmove(t->buf, end + 1, t->len);
	t->scanned = 0;
	*ret_line = line;
	return 0;
}

static int read_line(struct torpor *t, uint64_t deadline, char **ret_line)
{
	for (;;) {
		int r = take_line(t, ret_line);

		if (r != -EAGAIN)
			return r;
		if (t->broken)
			return t->broken;
		r = receive(t);
		if (r == -EAGAIN)
			r = wait_ready(t, POLLIN, deadline);
		if (r < 0)
			return r;
	}
}

static struct event *pop_event(struct torpor *t)
{
	struct event *e = t->events;

	if (!e)
		return NULL;
	t->events = e->next;
	if (!t->events)
		t->events_tail = &t->events;
	t->nr_events--;
	return e;
}

static void free_event(struct event *e)
{
	if (!e)
		return;
	free(e->line);
	free(e);
}

/* Keeps an event; takes @line also on failure. */
static int push_event(struct torpor *t, char *line)
{
	struct event *e = calloc(1, sizeof(*e));

	if (!e) {
		free(line);
		return -ENOMEM;
	}
	if (t->nr_events == MAX_EVENTS) {
		free_event(pop_event(t));
		t->lost++;
	}
	e->line = line;
	*t->events_tail = e;
	t->events_tail = &e->next;
	t->nr_events++;
	return 0;
}

/*
 * Reads until the next reply; events on the way are kept. With
 * @until_event it returns 1 after the first event instead.
 */
static int read_reply(struct torpor *t, uint64_t deadline, bool until_event,
		      json_t **ret, char **ret_line)
{
	for (;;) {
		_cleanup_free_ char *line = NULL;
		json_auto_t *obj = NULL;
		int r;

		r = read_line(t, deadline, &line);
		if (r < 0)
			return r;
		obj = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(obj))
			return break_off(t, -EPROTO);
		if (json_object_get(obj, "event")) {
			r = push_event(t, TAKE(line));
			if (r < 0)
				return r;
			if (until_event)
				return 1;
			continue;
		}
		if (until_event)
			continue; /* a reply nobody waits for any more */
		*ret = TAKE(obj);
		*ret_line = TAKE(line);
		return 0;
	}
}

static int send_line(struct torpor *t, const char *line, size_t len,
		     uint64_t deadline)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(t->fd, line + done, len - done, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return break_off(t, -ECONNRESET);
		r = wait_ready(t, POLLOUT, deadline);
		/* After half a line nothing sensible can follow. */
		if (r < 0)
			return done ? break_off(t, -ECONNRESET) : r;
	}
	return 0;
}

static int open_socket(const char *path, uint64_t deadline)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int ms = ms_left(deadline);
	int fd, r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/*
	 * A full queue of connections makes connect(2) wait, and a
	 * non-blocking one cannot be polled for: hence the send timeout.
	 */
	if (ms >= 0) {
		struct timeval tv = { .tv_sec = ms / 1000,
				      .tv_usec = ms % 1000 * 1000L };

		if (ms == 0)
			tv.tv_usec = 1;
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	}
	do {
		r = connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		r = fcntl(fd, F_SETFL, O_NONBLOCK);
	if (r < 0) {
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

/* The first line torpor sends. */
static int greet(struct torpor *t, uint64_t deadline)
{
	_cleanup_free_ char *line = NULL;
	json_auto_t *obj = NULL;
	const json_t *version, *protocol, *error;
	int r;

	r = read_reply(t, deadline, false, &obj, &line);
	if (r < 0)
		return r;
	error = json_object_get(obj, "error");
	if (error)
		return -EBUSY;
	version = json_object_get(obj, "torpor");
	protocol = json_object_get(obj, "protocol");
	if (!json_is_string(version) || !json_is_integer(protocol))
		return -EPROTO;
	if (json_integer_value(protocol) != TORPOR_PROTOCOL)
		return -EPROTONOSUPPORT;
	t->version = strdup(json_string_value(version));
	return t->version ? 0 : -ENOMEM;
}

int torpor_connect(const char *path, int timeout_ms, struct torpor **ret)
{
	uint64_t deadline = deadline_in(timeout_ms);
	struct torpor *t;
	int r;

	if (!path || !*path || !ret)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->events_tail = &t->events;
	t->fd = r = open_socket(path, deadline);
	if (r >= 0)
		r = greet(t, deadline);
	if (r < 0) {
		torpor_close(t);
		return r;
	}
	*ret = t;
	return 0;
}

void torpor_close(struct torpor *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		(void)close(t->fd);
	while (t->events)
		free_event(pop_event(t));
	free(t->buf);
	free(t->version);
	free(t);
}

int torpor_fd(const struct torpor *t)
{
	return t->fd;
}

const char *torpor_version(const struct torpor *t)
{
	return t->version;
}

const char *torpor_error_code(const struct torpor *t)
{
	return t->code;
}

const char *torpor_error_message(const struct torpor *t)
{
	return t->message;
}

unsigned long torpor_events_lost(const struct torpor *t)
{
	return t->lost;
}

/* One request as a line with its newline. */
static int build_request(json_int_t id, const char *command, const char *args,
			 char **ret_line, size_t *ret_len)
{
	json_auto_t *req = NULL, *extra = NULL;
	size_t len;
	char *line;

	req = json_pack("{s:I, s:s}", "id", id, "command", command);
	if (!req)
		return -EINVAL; /* not UTF-8 */
	if (args) {
		extra = json_loads(args, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(extra) || json_object_get(extra, "id") ||
		    json_object_get(extra, "command"))
			return -EINVAL;
		if (json_object_update(req, extra) < 0)
			return -ENOMEM;
	}
	len = json_dumpb(req, NULL, 0, JSON_COMPACT);
	line = len ? malloc(len + 1) : NULL;
	if (!line)
		return -ENOMEM;
	(void)json_dumpb(req, line, len, JSON_COMPACT);
	line[len] = '\n';
	*ret_line = line;
	*ret_len = len + 1;
	return 0;
}

static void copy_string(char *dst, size_t size, const json_t *str)
{
	const char *s = json_string_value(str);

	(void)snprintf(dst, size, "%s", s ? s : "");
}

static int judge_reply(struct torpor *t, const json_t *reply)
{
	const json_t *ok = json_object_get(reply, "ok");
	const json_t *error = json_object_get(reply, "error");

	if (json_is_true(ok))
		return 0;
	if (!json_is_false(ok) || !json_is_object(error))
		return break_off(t, -EPROTO);
	copy_string(t->code, sizeof(t->code), json_object_get(error, "code"));
	copy_string(t->message, sizeof(t->message),
		    json_object_get(error, "message"));
	return -EREMOTEIO;
}

/* torpor_call() with the parsed reply; either output may be NULL. */
static int call(struct torpor *t, const char *command, const char *args,
		int timeout_ms, json_t **ret, char **ret_line)
{
	uint64_t deadline = deadline_in(timeout_ms);
	_cleanup_free_ char *line = NULL;
	size_t len = 0;
	json_int_t id;
	int r;

	if (!t || !command)
		return -EINVAL;
	if (t->broken)
		return t->broken;
	t->code[0] = t->message[0] = '\0';
	id = ++t->next_id;
	r = build_request(id, command, args, &line, &len);
	if (r < 0)
		return r;
	r = send_line(t, line, len, deadline);
	if (r < 0)
		return r;
	for (;;) {
		json_auto_t *reply = NULL;
		_cleanup_free_ char *text = NULL;
		const json_t *reply_id;

		r = read_reply(t, deadline, false, &reply, &text);
		if (r < 0)
			return r;
		reply_id = json_object_get(reply, "id");
		/* No id: the request was beyond reading, it was ours. */
		if (json_is_integer(reply_id) &&
		    json_integer_value(reply_id) != id)
			continue;
		r = judge_reply(t, reply);
		if (r < 0 && r != -EREMOTEIO)
			return r;
		if (ret_line)
			*ret_line = TAKE(text);
		if (ret)
			*ret = TAKE(reply);
		return r;
	}
}

int torpor_call(struct torpor *t, const char *command, const char *args,
		int timeout_ms, char **ret_reply)
{
	return call(t, command, args, timeout_ms, NULL, ret_reply);
}

int torpor_suspend(struct torpor *t, int sleep_ms, int timeout_ms, int *ret_ms)
{
	json_auto_t *reply = NULL;
	char args[64];
	json_t *ms;
	int r;

	if (sleep_ms <= 0)
		return -EINVAL;
	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d}", sleep_ms);
	r = call(t, "suspend", args, timeout_ms, &reply, NULL);
	if (r < 0 || !ret_ms)
		return r;
	ms = json_object_get(json_object_get(reply, "result"), "ms");
	*ret_ms = (int)json_integer_value(ms);
	return 0;
}

int torpor_resume(struct torpor *t, int timeout_ms)
{
	uint64_t deadline = deadline_in(timeout_ms);
	json_auto_t *reply = NULL;
	const json_t *result;
	int r;

	r = call(t, "resume", NULL, timeout_ms, &reply, NULL);
	result = json_object_get(reply, "result");
	if (r == 0 && json_is_true(json_object_get(result, "paused")))
		r = torpor_wait_state(t, "UNPAUSED", ms_left(deadline));
	if (r < 0 || json_is_true(json_object_get(result, "by_itself")))
		return r;
	return torpor_wait_state(t, "RUNNING", ms_left(deadline));
}

int torpor_suspend_force(struct torpor *t, int sleep_ms, int timeout_ms,
			 int *ret_forced)
{
	json_auto_t *reply = NULL;
	const char *outcome;
	char args[64];
	int r;

	if (sleep_ms <= 0)
		return -EINVAL;
	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d,\"force\":true}",
		       sleep_ms);
	r = call(t, "suspend", args, timeout_ms, &reply, NULL);
	if (r < 0 || !ret_forced)
		return r;
	outcome = json_string_value(
		json_object_get(json_object_get(reply, "result"), "outcome"));
	*ret_forced = outcome && strcmp(outcome, "asleep") != 0;
	return 0;
}

int torpor_pause(struct torpor *t, int freeze_clock, int timeout_ms)
{
	return call(t, "suspend",
		    freeze_clock ? "{\"full\":true,\"freeze_clock\":true}"
				 : "{\"full\":true}",
		    timeout_ms, NULL, NULL);
}

int torpor_unpause(struct torpor *t, int timeout_ms)
{
	uint64_t deadline = deadline_in(timeout_ms);
	int r = call(t, "resume", "{\"full\":true}", timeout_ms, NULL, NULL);

	return r < 0 ? r : torpor_wait_state(t, "UNPAUSED", ms_left(deadline));
}

int torpor_wake(struct torpor *t, int timeout_ms)
{
	return call(t, "wake", NULL, timeout_ms, NULL, NULL);
}

int torpor_powerbtn(struct torpor *t, int timeout_ms)
{
	return call(t, "powerbtn", NULL, timeout_ms, NULL, NULL);
}

int torpor_sleepbtn(struct torpor *t, int timeout_ms)
{
	return call(t, "sleepbtn", NULL, timeout_ms, NULL, NULL);
}

int torpor_stop(struct torpor *t, int timeout_ms)
{
	return call(t, "stop", NULL, timeout_ms, NULL, NULL);
}

int torpor_state(struct torpor *t, int timeout_ms, char **ret_state)
{
	json_auto_t *reply = NULL;
	const char *state;
	int r;

	r = call(t, "state", NULL, timeout_ms, &reply, NULL);
	if (r < 0)
		return r;
	state = json_string_value(
		json_object_get(json_object_get(reply, "result"), "state"));
	if (!state)
		return break_off(t, -EPROTO);
	*ret_state = strdup(state);
	return *ret_state ? 0 : -ENOMEM;
}

int torpor_wait_state(struct torpor *t, const char *state, int timeout_ms)
{
	json_auto_t *args = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	if (!t || !state)
		return -EINVAL;
	/* torpor gets the limit too, else it would keep a request for ever. */
	if (timeout_ms >= 0)
		args = json_pack("{s:s, s:i}", "state", state, "timeout_ms",
				 timeout_ms);
	else
		args = json_pack("{s:s}", "state", state);
	if (!args)
		return -EINVAL;
	text = json_dumps(args, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	do {
		r = call(t, "wait", text, timeout_ms, NULL, NULL);
		if (r == -EREMOTEIO && !strcmp(t->code, "timeout"))
			r = -ETIMEDOUT;
		/* torpor bounds every wait: one without limit goes on. */
	} while (timeout_ms < 0 && r == -ETIMEDOUT);
	return r;
}

int torpor_events(struct torpor *t, int timeout_ms)
{
	return call(t, "events", NULL, timeout_ms, NULL, NULL);
}

int torpor_next_event(struct torpor *t, int timeout_ms, char **ret_event)
{
	uint64_t deadline = deadline_in(timeout_ms);
	struct event *e;
	int r;

	if (!t || !ret_event)
		return -EINVAL;
	if (!t->events) {
		r = read_reply(t, deadline, true, NULL, NULL);
		if (r < 0)
			return r;
	}
	e = pop_event(t);
	*ret_event = TAKE(e->line);
	free_event(e);
	return 0;
}
