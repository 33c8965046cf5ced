/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One wake race: asks a guest to sleep and has one event happen a given time
 * after the request. A program, as a shell would take longer to start a command
 * than the guest to fall asleep.
 *
 *	race SOCKET ASLEEP_MS DELAY_US EVENT [ARG [TEXT]]
 *
 *	powerbtn, sleepbtn, wake	the command of that name
 *	packet ADDRESS			one to a UDP port that is closed there
 *	write PATH TEXT			TEXT and a line feed
 *	alarm SECOND			nothing: the guest has set its alarm
 *					to SECOND of the host's REALTIME, and
 *					the request is made DELAY_US before
 *
 * A guest that turns back before its drivers have seen anything is not noticed
 *by the VM: such a request ends only after ASLEEP_MS. One that takes longer
 *sleeps anyhow. Prints "REQUEST_NS EVENT_NS OUTCOME STATE": times of REALTIME,
 *which a guest with kvm-clock has too; how the request ended, "asleep" or an
 *error's code; and the state in which `wake` found the VM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S   1000000000LL
#define ANSWER_MS  30000
#define REQUEST_ID 1
#define EVENT_ID   2

struct race {
	int ctl_fd;
	int event_fd;	      /* where the event is written, or -1 */
	const char *command;  /* what is sent to the VM instead, or NULL */
	char text[256];	      /* what is written */
	long asleep_ms;	      /* what the guest has to fall asleep */
	int64_t delay_ns;     /* from the request to the event */
	int64_t event_due_ns; /* REALTIME, or 0: the delay counts */
	int64_t request_ns, event_ns;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void sleep_until(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / NS_PER_S,
			       .tv_nsec = ns % NS_PER_S };

	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

static int ctl_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(sa.sun_path))
		return -1;
	(void)strcpy(sa.sun_path, path);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

static int udp_connect(const char *address)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1)
		return -1;
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

/* Return: 0, or -1 if the arguments make no event. */
static int race_parse(struct race *race, int argc, char **argv)
{
	const char *what = argv[4], *arg = argc > 5 ? argv[5] : "";

	race->event_fd = -1;
	race->asleep_ms = strtol(argv[2], NULL, 10);
	race->delay_ns = strtoll(argv[3], NULL, 10) * 1000;
	if (!strcmp(what, "alarm")) {
		race->event_due_ns = strtoll(arg, NULL, 10) * NS_PER_S;
		return race->event_due_ns > 0 ? 0 : -1;
	}
	if (!strcmp(what, "packet")) {
		(void)snprintf(race->text, sizeof(race->text), "wake");
		race->event_fd = udp_connect(arg);
		return race->event_fd < 0 ? -1 : 0;
	}
	if (!strcmp(what, "write") && argc == 7) {
		(void)snprintf(race->text, sizeof(race->text), "%s\n", argv[6]);
		race->event_fd = open(arg, O_WRONLY | O_NOCTTY | O_CLOEXEC);
		return race->event_fd < 0 ? -1 : 0;
	}
	race->command = what;
	return strcmp(what, "powerbtn") != 0 && strcmp(what, "sleepbtn") != 0 &&
			       strcmp(what, "wake") != 0
		       ? -1
		       : 0;
}

static int send_all(int fd, const char *buf)
{
	size_t len = strlen(buf);

	return write(fd, buf, len) == (ssize_t)len ? 0 : -1;
}

/* The request, the wait, the event. */
static int race_run(struct race *race)
{
	char line[128];

	if (race->event_due_ns)
		sleep_until(race->event_due_ns - race->delay_ns);
	race->request_ns = now_ns();
	(void)snprintf(
		line, sizeof(line),
		"{\"id\":%d,\"command\":\"suspend\",\"timeout_ms\":%ld}\n",
		REQUEST_ID, race->asleep_ms);
	if (send_all(race->ctl_fd, line) < 0)
		return -1;
	if (race->event_due_ns) {
		race->event_ns = race->event_due_ns;
		return 0;
	}
	sleep_until(race->request_ns + race->delay_ns);
	race->event_ns = now_ns();
	if (!race->command)
		return send_all(race->event_fd, race->text);
	(void)snprintf(line, sizeof(line), "{\"id\":%d,\"command\":\"%s\"}\n",
		       EVENT_ID, race->command);
	return send_all(race->ctl_fd, line);
}

struct answer {
	char outcome[64]; /* of the request */
	char state[64];	  /* in which the event's command found the VM */
};

/* Return: whether it is one of the two answers. */
static bool take_line(const char *line, struct answer *answer)
{
	json_t *root = json_loads(line, 0, NULL);
	json_int_t id = json_integer_value(json_object_get(root, "id"));
	const json_t *error = json_object_get(root, "error");
	const json_t *result = json_object_get(root, "result");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *state = json_string_value(json_object_get(result, "state"));

	if (id == REQUEST_ID)
		(void)snprintf(answer->outcome, sizeof(answer->outcome), "%s",
			       code ? code : "asleep");
	else if (id == EVENT_ID && state)
		(void)snprintf(answer->state, sizeof(answer->state), "%s",
			       state);
	json_decref(root);
	return id == REQUEST_ID || id == EVENT_ID;
}

/* Until the request has ended and the event's command is done. */
static int race_wait(struct race *race, struct answer *answer)
{
	struct pollfd p = { .fd = race->ctl_fd, .events = POLLIN };
	int missing = race->command ? 2 : 1;
	char line[65536];
	size_t len = 0;

	while (missing > 0) {
		if (poll(&p, 1, ANSWER_MS) <= 0 || len + 1 >= sizeof(line) ||
		    read(race->ctl_fd, line + len, 1) != 1)
			return -1;
		if (line[len++] != '\n')
			continue;
		line[len] = '\0';
		len = 0;
		if (take_line(line, answer))
			missing--;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct race race = { .ctl_fd = -1 };
	struct answer answer = { .state = "-" };

	if (argc < 5 || race_parse(&race, argc, argv) < 0) {
		fprintf(stderr, "usage: race SOCKET ASLEEP_MS DELAY_US "
				"EVENT [ARG [TEXT]]\n");
		return 2;
	}
	race.ctl_fd = ctl_connect(argv[1]);
	if (race.ctl_fd < 0 || race_run(&race) < 0) {
		fprintf(stderr, "race: %s\n", strerror(errno));
		return 1;
	}
	if (race_wait(&race, &answer) < 0) {
		fprintf(stderr, "race: no answer to the request\n");
		return 1;
	}
	printf("%" PRId64 " %" PRId64 " %s %s\n", race.request_ns,
	       race.event_ns, answer.outcome, answer.state);
	return 0;
}
