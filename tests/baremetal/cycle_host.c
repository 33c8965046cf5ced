/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of the `cycles` payload: wakes the guest whenever it is
 * asleep, and sends each of its frames back. Every second one is kept back
 * until the guest is asleep (or a while has passed), so that echoes come at any
 * moment of a sleep.
 *
 *	cycle_host SOCKET TAP
 *
 * Prints "ready", then, at the VM's end, "sleeps=N frames=N" or what was wrong:
 * the guest's frames have to come in order, each once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/torpor.h"

#define CALL_MS	    10000
#define FRAME_BYTES 60
#define ETH_TEST    0x88b5
#define KEPT_MAX    64
#define KEPT_MS	    5
#define MAX_WAIT_US 2000

struct host {
	struct torpor *t;
	int fd;
	uint32_t seq; /* the guest's next */
	unsigned long sleeps;
	uint8_t kept[KEPT_MAX][FRAME_BYTES];
	unsigned int nr_kept;
	bool ended;
	char wrong[128];
};

static void wrong(struct host *h, const char *what, unsigned long n)
{
	if (!h->wrong[0])
		(void)snprintf(h->wrong, sizeof(h->wrong), "%s: %lu", what, n);
}

static void echo_kept(struct host *h)
{
	for (unsigned int i = 0; i < h->nr_kept; i++) {
		if (send(h->fd, h->kept[i], FRAME_BYTES, 0) != FRAME_BYTES)
			wrong(h, "send", (unsigned long)errno);
	}
	h->nr_kept = 0;
}

static void on_frame(struct host *h, const uint8_t *frame)
{
	const uint8_t *p = frame + 14;
	uint32_t seq = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
		       (uint32_t)p[2] << 8 | p[3];

	if (seq != h->seq)
		wrong(h, seq < h->seq ? "sent twice" : "lost before", seq);
	h->seq = seq + 1;
	memcpy(h->kept[h->nr_kept++], frame, FRAME_BYTES);
	/* In order: what is kept holds up what comes later. */
	if ((seq & 1) == 0 || h->nr_kept == KEPT_MAX)
		echo_kept(h);
}

static void read_frames(struct host *h)
{
	uint8_t frame[2048];
	ssize_t n;

	while ((n = recv(h->fd, frame, sizeof(frame), MSG_DONTWAIT)) >= 0) {
		if (n == FRAME_BYTES)
			on_frame(h, frame);
		else
			wrong(h, "another frame, of bytes", (unsigned long)n);
	}
}

static void on_suspended(struct host *h)
{
	int r;

	h->sleeps++;
	read_frames(h);
	echo_kept(h);
	(void)usleep((unsigned int)rand() % MAX_WAIT_US);
	r = torpor_wake(h->t, CALL_MS);
	if (r < 0)
		wrong(h, "wake", (unsigned long)-r);
}

static void read_events(struct host *h)
{
	char *event;
	int r;

	while ((r = torpor_next_event(h->t, 0, &event)) == 0) {
		if (strstr(event, "\"SUSPENDED\""))
			on_suspended(h);
		free(event);
	}
	h->ended = r != -ETIMEDOUT;
}

static void serve(struct host *h)
{
	while (!h->ended) {
		struct pollfd p[2] = {
			{ .fd = h->fd, .events = POLLIN },
			{ .fd = torpor_fd(h->t), .events = POLLIN },
		};

		read_events(h);
		if (h->ended)
			break;
		if (poll(p, 2, h->nr_kept ? KEPT_MS : -1) == 0)
			echo_kept(h);
		read_frames(h);
	}
}

/* By its protocol it gets no frame but the guest's: not even those we send. */
static int open_tap(const char *name)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_TEST),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || !sa.sll_ifindex ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	static struct host h;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: cycle_host SOCKET TAP\n");
		return 2;
	}
	h.fd = open_tap(argv[2]);
	if (h.fd < 0) {
		perror(argv[2]);
		return 1;
	}
	r = torpor_connect(argv[1], CALL_MS, &h.t);
	if (r == 0)
		r = torpor_events(h.t, CALL_MS);
	if (r < 0) {
		fprintf(stderr, "connect: %s\n", strerror(-r));
		return 1;
	}
	/* From now on nothing is missed: the guest may begin. */
	printf("ready\n");
	(void)fflush(stdout);
	serve(&h);
	torpor_close(h.t);
	if (h.wrong[0])
		printf("%s\n", h.wrong);
	else
		printf("sleeps=%lu frames=%u\n", h.sleeps, h.seq);
	return h.wrong[0] != 0;
}
