/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies to requests of control clients. Main loop. */
#include "vmm/control/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct control_request *control_request_new(struct client *c, json_t *id)
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
	control_client_send_json(c, reply);
	ctl->depth--;
	control_reap(ctl);
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

json_t *control_error_body(const char *code, json_t *data, const char *fmt,
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
	body = control_error_body(code, NULL, fmt, ap);
	va_end(ap);
	request_answer(req, body);
}

void control_reply_error_data(struct control_request *req, const char *code,
			      json_t *data, const char *fmt, ...)
{
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	body = control_error_body(code, data, fmt, ap);
	va_end(ap);
	request_answer(req, body);
}
