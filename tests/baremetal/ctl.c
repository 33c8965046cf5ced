/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends standard input to a control socket as it is, right or wrong, and prints
 * what comes back until the VM closes: ctl SOCKET
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_MS 20000

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof(sa.sun_path))
		return -1;
	strcpy(sa.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return fd;
}

/* Return: bytes copied, 0 at the end, -1 on error. */
static ssize_t copy(int from, int to)
{
	char buf[65536];
	ssize_t n = read(from, buf, sizeof(buf)), done = 0;

	while (n > 0 && done < n) {
		ssize_t w = write(to, buf + done, (size_t)(n - done));

		if (w < 0)
			return -1;
		done += w;
	}
	return n;
}

/* Both ways at once: a VM may answer before it has read all. */
static int talk(int fd)
{
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = fd, .events = POLLIN } };

	for (;;) {
		int r = poll(p, 2, TIMEOUT_MS);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			fprintf(stderr, "ctl: no end in time\n");
			return 1;
		}
		if (p[1].revents && copy(fd, STDOUT_FILENO) <= 0)
			return 0;
		if (p[0].revents && copy(STDIN_FILENO, fd) <= 0) {
			(void)shutdown(fd, SHUT_WR);
			p[0].fd = -1;
		}
	}
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? connect_to(argv[1]) : -1;

	if (fd < 0) {
		perror("ctl: cannot connect");
		return 1;
	}
	return talk(fd);
}
