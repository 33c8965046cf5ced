/* SPDX-License-Identifier: BSD-3-Clause */
/* A control client's connection and what it has not taken yet. Main loop. */
#include "vmm/control/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/base/fd.h"

#define KEEP_ALLOCATED 4096U

void control_client_end(struct client *c)
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

void control_reap(struct control *ctl)
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
		free(c->rest);
		free(c->out);
		free(c);
	}
}

size_t control_client_backlog(const struct client *c)
{
	return c->out_len - c->out_pos;
}

static void client_watch(struct client *c)
{
	uint32_t events = 0;

	/* What it has sent already comes first, and replies before that. */
	if (!c->eof && !c->rest_len &&
	    control_client_backlog(c) <= CONTROL_REQUESTS_WAIT)
		events |= EPOLLIN;
	if (control_client_backlog(c))
		events |= EPOLLOUT;
	/* Cannot fail for an fd that is in the loop; if it does, end it. */
	if (loop_modify(c->ctl->loop, &c->src, events) < 0)
		control_client_end(c);
}

void control_client_flush(struct client *c)
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
	if (c->out_cap > KEEP_ALLOCATED) {
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
void control_client_settle(struct client *c)
{
	if (c->dead)
		return;
	if (c->eof && (c->gone || (!c->nr_requests && !c->events &&
				   c->out_pos == c->out_len))) {
		control_client_end(c);
		return;
	}
	client_watch(c);
}

void control_client_send(struct client *c, const char *line, size_t len)
{
	int r;

	if (c->dead || c->gone)
		return;
	r = client_reserve(c, len + 1);
	if (r < 0) {
		log_limited(&c->ctl->dropped,
			    "control: closing a client that does not read");
		control_client_end(c);
		return;
	}
	memcpy(c->out + c->out_len, line, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	control_client_flush(c);
	control_client_settle(c);
}

/* Dumps @obj (stolen) into a heap string. NULL when out of memory. */
char *control_dump(json_t *obj)
{
	char *line = obj ? json_dumps(obj, JSON_COMPACT) : NULL;

	json_decref(obj);
	return line;
}

void control_client_send_json(struct client *c, json_t *obj)
{
	_cleanup_free_ char *line = control_dump(obj);

	if (!line) {
		log_err("control: no memory for a reply, closing the client");
		control_client_end(c);
		return;
	}
	control_client_send(c, line, strlen(line));
}
