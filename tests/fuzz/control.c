/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: up to three clients send what the input says, leave when
 * it says, read or do not. Whatever comes back is one JSON object a line.
 */
#define _GNU_SOURCE
#include "vmm/control/control.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/fd.h"

#define MAX_OPS	    200
#define NR_CLIENTS  3
#define MAX_HELD    256
#define REPLY_BYTES (1 << 20)

struct client {
	int fd;
	size_t len;
	char *out; /* received, REPLY_BYTES */
};

static struct loop loop;
static struct control *ctl;
static char dir[] = "/tmp/torpor-fuzz.XXXXXX", path[64];
static struct client clients[NR_CLIENTS];
static struct control_request *held[MAX_HELD];
static unsigned int nr_held;

static void do_echo(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "text", NULL };

	if (control_check_keys(req, args, keys))
		control_reply(req, json_pack("{s:O?}", "text",
					     json_object_get(args, "text")));
}

static void do_later(struct control_request *req, json_t *args, void *ctx)
{
	if (nr_held == MAX_HELD)
		control_reply_error(req, "full", "too many");
	else
		held[nr_held++] = req;
}

static void do_fail(struct control_request *req, json_t *args, void *ctx)
{
	const char *text = json_string_value(json_object_get(args, "text"));

	control_reply_error_data(req, "failed", json_pack("{s:i}", "n", 1),
				 "because of %.5s", text ? text : "\xe9");
}

static void do_shout(struct control_request *req, json_t *args, void *ctx)
{
	control_event(ctl, "SHOUT", json_incref(args));
	control_reply(req, NULL);
}

static const struct control_command commands[] = {
	{ "echo", do_echo },
	{ "later", do_later },
	{ "fail", do_fail },
	{ "shout", do_shout },
	{ NULL },
};

static void clean_up(void)
{
	control_destroy(ctl);
	(void)rmdir(dir);
}

void fuzz_setup(void)
{
	struct err err = { "" };

	fuzz_check(loop_init(&loop) == 0);
	fuzz_check(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	fuzz_check(control_create(&loop, path, commands, NULL, &ctl, &err) ==
		   0);
	for (unsigned int i = 0; i < NR_CLIENTS; i++) {
		clients[i].fd = -1;
		clients[i].out = malloc(REPLY_BYTES);
		fuzz_check(clients[i].out);
	}
	(void)atexit(clean_up);
}

/* --------------------------------------------------------------- a client */

static void client_open(struct client *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	fuzz_check(connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	c->len = 0;
	fuzz_turn(&loop, 8);
}

static void check_line(const char *line, size_t len)
{
	json_t *obj = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	fuzz_check(json_is_object(obj));
	fuzz_check(json_object_get(obj, "torpor") ||
		   json_object_get(obj, "event") ||
		   (json_object_get(obj, "id") &&
		    json_is_boolean(json_object_get(obj, "ok"))));
	json_decref(obj);
}

static void client_read(struct client *c)
{
	ssize_t n;
	char *nl;

	if (c->fd < 0)
		return;
	while ((n = recv(c->fd, c->out + c->len, REPLY_BYTES - c->len, 0)) >
	       0) {
		c->len += (size_t)n;
		while ((nl = memchr(c->out, '\n', c->len))) {
			size_t len = (size_t)(nl - c->out);

			check_line(c->out, len);
			c->len -= len + 1;
			memmove(c->out, nl + 1, c->len);
		}
		fuzz_check(c->len < REPLY_BYTES);
	}
}

static void client_send(struct client *c, const void *buf, size_t len)
{
	(void)!send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_command(struct client *c, struct fuzz_in *in)
{
	static const char *const names[] = { "echo",  "later",	"fail",
					     "shout", "events", "version" };
	uint8_t how = fuzz_u8(in);
	char text[64] = "", line[256];
	int n;

	(void)fuzz_bytes(in, text, (how >> 3) & 15);
	n = snprintf(line, sizeof(line),
		     "{\"id\":%d,\"command\":\"%s\"%s%s%s}%s", how,
		     names[how % 6], how & 0x80 ? ",\"text\":\"" : "",
		     how & 0x80 ? text : "", how & 0x80 ? "\"" : "",
		     how == 0xff ? "" : "\n");
	client_send(c, line, (size_t)n);
}

static void send_raw(struct client *c, struct fuzz_in *in)
{
	uint8_t buf[256];

	client_send(c, buf, fuzz_bytes(in, buf, fuzz_u8(in)));
}

/* Up to 32 KiB of one character. */
static void send_long(struct client *c, struct fuzz_in *in)
{
	static char buf[32 << 10];

	memset(buf, fuzz_u8(in), sizeof(buf));
	client_send(c, buf, 1 + 128UL * fuzz_u8(in));
}

static void client_step(struct client *c, struct fuzz_in *in, uint8_t op)
{
	if (c->fd < 0)
		client_open(c);
	switch (op % 8) {
	case 0:
	case 1:
	case 2:
		send_command(c, in);
		break;
	case 3:
		send_raw(c, in);
		break;
	case 4:
		send_long(c, in);
		break;
	case 5:
		client_read(c);
		break;
	case 6:
		(void)shutdown(c->fd, SHUT_WR);
		break;
	default:
		fd_close(&c->fd);
		break;
	}
}

static void answer(unsigned int i)
{
	struct control_request *req;

	if (!nr_held)
		return;
	i %= nr_held;
	req = held[i];
	held[i] = held[--nr_held];
	control_reply(req, json_pack("{s:i}", "held", (int)nr_held));
}

void fuzz_one(struct fuzz_in *in)
{
	for (int i = 0; i < MAX_OPS && in->len > 0; i++) {
		uint8_t op = fuzz_u8(in);

		if (op < 0xc0)
			client_step(&clients[op / 64], in, op);
		else if (op < 0xe0)
			fuzz_turn(&loop, 8);
		else if (op < 0xf0)
			answer(op);
		else
			control_event(ctl, "EVENT", NULL);
	}
	fuzz_turn(&loop, 32);
	for (unsigned int i = 0; i < NR_CLIENTS; i++) {
		client_read(&clients[i]);
		fd_close(&clients[i].fd);
	}
	while (nr_held)
		answer(0);
	/* Every client is gone, and its fd with it. */
	for (int i = 0; i < 100; i++)
		fuzz_turn(&loop, 1);
}

void fuzz_seeds(void)
{
	static const char talk[] =
		"\x00\x00\xc0\x00\x01\xc0\x00\x04\xc0\x40\x03\xc0\x05\x45\xe0"
		"\x00\x80\xc0\x00\xf2hello world1234\xc0\x05\x06\xc0\x47";
	static const char raw[] = "\x03\x20{\"id\":\"x\",\"command\":\"echo\","
				  "\"te\xc0\x03\x0bxt\":[1,2]}\r\n\xc0\x05";
	static const char large[] = "\x04 \xff\xc0\x04[\xff\xc0\x04 \xff\xc0"
				    "\x03\x01\n\xc0\x00\x00\xc0\x05";

	fuzz_seed(talk, sizeof(talk) - 1);
	fuzz_seed(raw, sizeof(raw) - 1);
	fuzz_seed(large, sizeof(large) - 1);
}
