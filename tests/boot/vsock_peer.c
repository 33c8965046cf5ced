/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One end of checked connections over vsock, in the guest or on the host:
 *
 *	vsock_peer guest listen  PORT N [OPTION]...
 *	vsock_peer guest connect PORT N [OPTION]...	to CID 2
 *	vsock_peer host  listen  PATH PORT N [OPTION]...	at PATH_PORT
 *	vsock_peer host  connect PATH PORT N [OPTION]...	through PATH
 *
 * N connections, each a process. Both ends send, at the same time, a sequence
 *of bytes of which each knows what the other's must be. The end that listens
 *says "listening" when it does.
 *
 *	seqpacket	records instead of a stream; they have their lengths
 *	bytes=B		to send, and to get; default: until the other end stops,
 *			or SIGTERM: then no more is sent, but all is received
 *	rate=R		bytes a second, in pieces (default: as fast as it goes)
 *	hold		nothing is sent
 *
 * At the end a line "N: sent B received B" for each, and 0 if all bytes were
 * right. SIGUSR1: a line "now N: sent B received B" for each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS  64
#define PIECE	   16384U
#define RECORD_MAX 60000U

struct options {
	bool guest, listens, seqpacket, hold;
	const char *path;
	unsigned int port, n;
	uint64_t bytes, rate;
};

struct count {
	volatile uint64_t sent, received;
};

static struct options o;
static struct count *counts; /* shared with the children */
static volatile sig_atomic_t stopping, telling;

static void fail(const char *what)
{
	fprintf(stderr, "vsock_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---------------------------------------------------------------- the data */

/* Byte @i of what connection @conn of an end sends. */
static uint8_t pattern(uint64_t i, bool guest)
{
	uint64_t x = i * 0x9e3779b97f4a7c15ULL + guest;

	return (uint8_t)(x >> 40 ^ x >> 56);
}

static void fill(uint8_t *p, size_t len, uint64_t at, bool guest)
{
	for (size_t i = 0; i < len; i++)
		p[i] = pattern(at + i, guest);
}

/* Return: bytes at the front that are right. */
static size_t right(const uint8_t *p, size_t len, uint64_t at, bool guest)
{
	size_t i = 0;

	while (i < len && p[i] == pattern(at + i, guest))
		i++;
	return i;
}

/* Record @r has this length; the last one is cut. */
static uint32_t record_len(uint64_t r)
{
	return 1 + (uint32_t)(r * 7919 * 31 % RECORD_MAX);
}

/* --------------------------------------------------------- one connection */

struct peer {
	int fd;
	unsigned int number;
	struct count *c;
	uint64_t out_records, in_records;
	bool out_done;
	struct timespec start;
	uint8_t buf[RECORD_MAX + 1];
};

static uint64_t elapsed_ms(const struct peer *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - p->start.tv_sec) * 1000 +
	       (uint64_t)((now.tv_nsec - p->start.tv_nsec) / 1000000);
}

/* Bytes that may be sent now. */
static size_t allowance(const struct peer *p)
{
	size_t n = o.seqpacket ? record_len(p->out_records) : PIECE;

	if (o.hold)
		return 0;
	if (o.rate && p->c->sent >= o.rate * (elapsed_ms(p) + 1) / 1000)
		return 0;
	if (o.bytes && o.bytes - p->c->sent < n)
		n = o.bytes - p->c->sent;
	return n;
}

static void send_some(struct peer *p)
{
	size_t n = allowance(p);
	ssize_t sent;

	if (n == 0)
		return;
	fill(p->buf, n, p->c->sent, o.guest);
	/*
	 * Linux sends part of a record and then says EAGAIN, if the credit of a
	 * vsock ends within it. The host's end always receives, so waiting is
	 * safe.
	 */
	sent = send(p->fd, p->buf, n,
		    MSG_NOSIGNAL | (o.guest && o.seqpacket ? 0 : MSG_DONTWAIT));
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent < 0)
		fail("send");
	p->c->sent += (uint64_t)sent;
	p->out_records++;
}

/* Return: false at the end. */
static bool receive_some(struct peer *p)
{
	ssize_t n = recv(p->fd, p->buf, sizeof(p->buf), MSG_DONTWAIT);
	size_t good;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < 0)
		fail("receive");
	if (n == 0)
		return false;
	good = right(p->buf, (size_t)n, p->c->received, !o.guest);
	if (good < (size_t)n) {
		good += p->c->received;
		printf("%u: wrong byte at %llu\n", p->number,
		       (unsigned long long)good);
		exit(1);
	}
	if (o.seqpacket && (size_t)n != record_len(p->in_records) &&
	    (!o.bytes || p->c->received + (uint64_t)n != o.bytes)) {
		printf("%u: record %llu has %zd bytes\n", p->number,
		       (unsigned long long)p->in_records, n);
		exit(1);
	}
	p->in_records++;
	p->c->received += (uint64_t)n;
	return true;
}

static void stop_sending(struct peer *p)
{
	p->out_done = true;
	if (shutdown(p->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		fail("shutdown");
}

static int converse(struct peer *p)
{
	bool in_done = false;

	clock_gettime(CLOCK_MONOTONIC, &p->start);
	while (!in_done || !p->out_done) {
		struct pollfd pfd = { .fd = p->fd };
		bool may_send = !p->out_done && allowance(p) > 0;

		if (!p->out_done && (stopping || (in_done && !o.bytes) ||
				     (o.bytes && p->c->sent == o.bytes))) {
			stop_sending(p);
			continue;
		}
		pfd.events = (short)((in_done ? 0 : POLLIN) |
				     (may_send ? POLLOUT : 0));
		(void)poll(&pfd, 1, o.rate && !p->out_done ? 20 : 500);
		if (!in_done && pfd.revents & (POLLIN | POLLHUP))
			in_done = !receive_some(p);
		if (may_send && pfd.revents & POLLOUT)
			send_some(p);
		if (pfd.revents & POLLERR)
			fail("connection");
	}
	close(p->fd);
	if (o.bytes && !o.hold && p->c->received != o.bytes) {
		printf("%u: only %llu bytes received\n", p->number,
		       (unsigned long long)p->c->received);
		return 1;
	}
	return 0;
}

/* ------------------------------------------------------------- connections */

static int type(void)
{
	return o.seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
}

static int vsock_open(void)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK,
				  .svm_port = o.port,
				  .svm_cid = o.listens ? VMADDR_CID_ANY
						       : VMADDR_CID_HOST };
	int fd = socket(AF_VSOCK, type(), 0);

	if (fd < 0)
		fail("vsock socket");
	if (!o.listens) {
		if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			fail("connect to the host");
	} else if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		   listen(fd, 64) < 0) {
		fail("listen in the guest");
	}
	return fd;
}

/* "CONNECT port", "OK port". */
static void hello(int fd)
{
	char line[64];
	size_t n = (size_t)snprintf(line, sizeof(line), "CONNECT %u\n", o.port);

	if (send(fd, line, n, MSG_NOSIGNAL) != (ssize_t)n)
		fail("CONNECT");
	n = 0;
	do {
		ssize_t r = recv(fd, line + n, o.seqpacket ? 63 : 1, 0);

		if (r <= 0) {
			errno = r ? errno : ECONNREFUSED;
			fail("no OK");
		}
		n += (size_t)r;
	} while (line[n - 1] != '\n' && n < sizeof(line) - 1);
	line[n] = '\0';
	if (strncmp(line, "OK ", 3) != 0) {
		errno = EPROTO;
		fail(line);
	}
}

static int unix_open(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type(), 0);

	if (fd < 0)
		fail("socket");
	if (o.listens)
		snprintf(sa.sun_path, sizeof(sa.sun_path), "%s_%u", o.path,
			 o.port);
	else
		snprintf(sa.sun_path, sizeof(sa.sun_path), "%s%s", o.path,
			 o.seqpacket ? ".seqpacket" : "");
	if (o.listens) {
		(void)unlink(sa.sun_path);
		if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		    listen(fd, 64) < 0)
			fail(sa.sun_path);
		return fd;
	}
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fail(sa.sun_path);
	hello(fd);
	return fd;
}

static int one_end(int *listener)
{
	int fd;

	if (!o.listens)
		return o.guest ? vsock_open() : unix_open();
	if (*listener < 0) {
		*listener = o.guest ? vsock_open() : unix_open();
		puts("listening");
	}
	do {
		fd = accept(*listener, NULL, NULL);
	} while (fd < 0 && errno == EINTR && !stopping);
	if (fd < 0)
		fail("accept");
	return fd;
}

/* ------------------------------------------------------------------- main */

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopping = 1;
	else
		telling = 1;
}

static void tell(const char *word)
{
	for (unsigned int i = 0; i < o.n; i++)
		printf("%s%u: sent %llu received %llu\n", word, i,
		       (unsigned long long)counts[i].sent,
		       (unsigned long long)counts[i].received);
}

/* Return: the number of those that failed. */
static unsigned int wait_all(const pid_t *pids)
{
	unsigned int left = o.n, bad = 0;

	while (left) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid > 0) {
			left--;
			bad += status != 0;
		}
		if (telling)
			tell("now ");
		telling = 0;
		for (unsigned int i = 0; stopping == 1 && i < o.n; i++)
			(void)kill(pids[i], SIGTERM);
		if (stopping)
			stopping = 2;
	}
	return bad;
}

static int option(const char *word)
{
	if (!strcmp(word, "seqpacket"))
		o.seqpacket = true;
	else if (!strcmp(word, "hold"))
		o.hold = true;
	else if (!strncmp(word, "bytes=", 6))
		o.bytes = strtoull(word + 6, NULL, 10);
	else if (!strncmp(word, "rate=", 5))
		o.rate = strtoull(word + 5, NULL, 10);
	else
		return -1;
	return 0;
}

static int parse(char **argv)
{
	if (!argv[1] || !argv[2])
		return -1;
	o.guest = !strcmp(argv[1], "guest");
	o.listens = !strcmp(argv[2], "listen");
	argv += 3;
	if (!o.guest && *argv)
		o.path = *argv++;
	if (!argv[0] || !argv[1])
		return -1;
	o.port = (unsigned int)strtoul(*argv++, NULL, 10);
	o.n = (unsigned int)strtoul(*argv++, NULL, 10);
	if (o.n == 0 || o.n > MAX_CONNS)
		return -1;
	while (*argv) {
		if (option(*argv++) < 0)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct sigaction sa = { .sa_handler = on_signal };
	pid_t pids[MAX_CONNS] = { 0 };
	unsigned int bad;
	int listener = -1;

	if (argc < 5 || parse(argv) < 0) {
		fputs("vsock_peer: see its source for how it is used\n",
		      stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	counts = mmap(NULL, sizeof(*counts) * MAX_CONNS, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		fail("memory");
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGUSR1, &sa, NULL);
	for (unsigned int i = 0; i < o.n; i++) {
		static struct peer peer;

		peer = (struct peer){ .fd = one_end(&listener),
				      .number = i,
				      .c = &counts[i] };
		pids[i] = fork();
		if (pids[i] < 0)
			fail("fork");
		if (pids[i] == 0)
			exit(converse(&peer));
		close(peer.fd);
	}
	bad = wait_all(pids);
	tell("");
	return bad != 0;
}
