/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log, which waits for nobody and changes nothing of the user's, and what
 * a device process can do to it, as root and as an ordinary user.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "sandbox/device_log.h"
#include "sandbox/spawner.h"
#include "tests/lib/probe_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* --------------------------------------------------------------- the log */

#define SAYS(got, want)                                                 \
	do {                                                            \
		const char *got_ = (got);                               \
		cr_assert(zero(int, strcmp(got_, (want))), "%s", got_); \
	} while (0)

/* All that can be read now. */
static const char *text_of(int fd)
{
	static char text[1 << 18];
	size_t len = 0;
	ssize_t n;

	cr_assert(zero(int, fd_set_nonblock(fd, 1)));
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

/* A pipe whose description @ret_wr others share: blocking. */
static void pipe_open(int *ret_rd, int *ret_wr)
{
	int fds[2];

	cr_assert(zero(int, pipe2(fds, O_CLOEXEC)));
	*ret_rd = fds[0];
	*ret_wr = fds[1];
}

/* Lines until long after it is full. */
static void log_much(void)
{
	for (int i = 0; i < 2000; i++)
		log_warn("line %d, which is not the last one by far, of many",
			 i);
}

/* @rd: the reader, who reads only now. */
static void tells_what_was_lost(int rd)
{
	unsigned long long lost;
	const char *text = text_of(rd);
	const char *note;

	cr_assert(strstr(text, "t: warning: line 0,") != NULL);
	cr_assert(strstr(text, "line 1999") == NULL);
	log_warn("once more");
	text = text_of(rd);
	note = strstr(text, "t: warning: ");
	cr_assert(note != NULL, "%s", text);
	cr_assert(
		eq(int, sscanf(note, "t: warning: %llu lines lost", &lost), 1),
		"%s", text);
	cr_assert(lost > 100 && lost < 2000);
	cr_assert(strstr(text, "t: warning: once more\n") != NULL, "%s", text);
}

Test(device_log, full_pipe_is_not_waited_for, .timeout = 120)
{
	int rd, wr, own;

	pipe_open(&rd, &wr);
	own = log_open(wr);
	cr_assert(ge(int, own, 0));
	log_init("t", own, LOG_LEVEL_INFO);
	log_much();
	tells_what_was_lost(rd);
	/* Whoever shares it finds it as it was. */
	cr_assert(zero(int, fcntl(wr, F_GETFL) & O_NONBLOCK));
}

/* As where it belongs to another user and cannot be opened. */
Test(device_log, shared_pipe_is_not_waited_for, .timeout = 120)
{
	int rd, wr;

	pipe_open(&rd, &wr);
	log_init("t", wr, LOG_LEVEL_INFO);
	log_much();
	tells_what_was_lost(rd);
	cr_assert(zero(int, fcntl(wr, F_GETFL) & O_NONBLOCK));
}

Test(device_log, full_socket_is_not_waited_for, .timeout = 120)
{
	int pair[2], own;

	cr_assert(zero(
		int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)));
	own = log_open(pair[1]);
	cr_assert(ge(int, own, 0));
	log_init("t", own, LOG_LEVEL_INFO);
	for (int i = 0; i < 5; i++)
		log_much();
	cr_assert(zero(int, fcntl(pair[1], F_GETFL) & O_NONBLOCK));
	(void)text_of(pair[0]);
	log_warn("once more");
	cr_assert(strstr(text_of(pair[0]), "lines lost") != NULL);
	/* Nor does one that is gone end us. */
	(void)close(pair[0]);
	log_warn("to nobody");
}

/* Ctrl-S, and nobody there to press Ctrl-Q. */
static void stopped_terminal(bool shared)
{
	int master, slave, own;

	cr_assert(zero(int, openpty(&master, &slave, NULL, NULL, NULL)));
	own = shared ? slave : log_open(slave);
	cr_assert(ge(int, own, 0));
	log_init("t", own, LOG_LEVEL_INFO);
	cr_assert(zero(int, tcflow(slave, TCOOFF)));
	log_much();
	cr_assert(zero(int, tcflow(slave, TCOON)));
	log_warn("once more");
	cr_assert(strstr(text_of(master), "once more") != NULL);
	cr_assert(zero(int, fcntl(slave, F_GETFL) & O_NONBLOCK));
}

Test(device_log, stopped_terminal_is_not_waited_for, .timeout = 120)
{
	stopped_terminal(false);
}

Test(device_log, shared_stopped_terminal_is_not_waited_for, .timeout = 120)
{
	stopped_terminal(true);
}

Test(device_log, file_keeps_one_offset, .timeout = 120)
{
	FILE *file = tmpfile();
	int fd = fileno(file), own = log_open(fd);
	char text[64] = "";

	cr_assert(ge(int, own, 0));
	log_init("t", own, LOG_LEVEL_INFO);
	log_info("first");
	cr_assert(eq(int, (int)write(fd, "second\n", 7), 7));
	log_info("third");
	cr_assert(gt(int, (int)pread(fd, text, sizeof(text) - 1, 0), 0));
	SAYS(text, "t: first\nsecond\nt: third\n");
	(void)fclose(file);
	cr_assert(eq(int, log_open(-1), -EBADF));
}

/* ------------------------------------------------------- a device's lines */

struct rig {
	struct loop loop;
	struct device_log log;
	int device; /* its end */
	int rd;	    /* of the log */
};

static void rig_start(struct rig *rig)
{
	int wr;

	*rig = (struct rig){ .log = { .fd = -1, .src.fd = -1 } };
	pipe_open(&rig->rd, &wr);
	cr_assert(zero(int, fd_set_nonblock(wr, 1)));
	cr_assert(ge(int, fcntl(wr, F_SETPIPE_SZ, 1 << 18), 0));
	log_init("spawner", wr, LOG_LEVEL_INFO);
	cr_assert(zero(int, loop_init(&rig->loop)));
	rig->device = device_log_open(&rig->log, &rig->loop, "blk0");
	cr_assert(ge(int, rig->device, 0));
}

static void rig_finish(struct rig *rig)
{
	device_log_finish(&rig->log);
	device_log_finish(&rig->log);
	loop_finish(&rig->loop);
	fd_close(&rig->device);
	fd_close(&rig->rd);
}

static void device_says(struct rig *rig, const char *text)
{
	cr_assert(eq(sz, (size_t)write(rig->device, text, strlen(text)),
		     strlen(text)));
}

Test(device_log, lines_are_named_and_harmless, .timeout = 120)
{
	struct rig rig;

	rig_start(&rig);
	device_says(&rig, "half a ");
	cr_assert(zero(int, loop_turn(&rig.loop, 1000)));
	SAYS(text_of(rig.rd), "");
	device_says(&rig, "line\nnet0: error: \033[2J\r\x7f\xc2\x9b\twords\n");
	cr_assert(zero(int, loop_turn(&rig.loop, 1000)));
	SAYS(text_of(rig.rd), "blk0: half a line\n"
			      "blk0: net0: error: ?[2J????\twords\n");
	rig_finish(&rig);
}

Test(device_log, last_words_without_an_end_are_kept, .timeout = 120)
{
	struct rig rig;

	rig_start(&rig);
	device_says(&rig, "one\ntwo\nAssertion");
	fd_close(&rig.device);
	device_log_finish(&rig.log);
	SAYS(text_of(rig.rd), "blk0: one\nblk0: two\nblk0: Assertion\n");
	rig_finish(&rig);
}

Test(device_log, endless_line_is_cut, .timeout = 120)
{
	static char text[3 * LOG_LINE_MAX];
	struct rig rig;
	const char *log;
	size_t nr = 0;

	rig_start(&rig);
	memset(text, 'x', sizeof(text) - 1);
	device_says(&rig, text);
	device_log_finish(&rig.log);
	log = text_of(rig.rd);
	for (const char *p = log; (p = strchr(p, '\n')); p++)
		nr++;
	cr_assert(eq(sz, nr, 3), "%s", log);
	cr_assert(eq(sz, strlen(log), sizeof(text) - 1 + 3 * 7));
	rig_finish(&rig);
}

/* As many lines as it likes, a moment's worth of them in the log. */
Test(device_log, flood_is_cut_and_counted, .timeout = 240)
{
	unsigned long long left_out = 0, shown = 0, written = 0;
	struct rig rig;
	const char *log;

	rig_start(&rig);
	while (written < 20000) {
		if (write(rig.device, "flood\n", 6) == 6)
			written++;
		else
			cr_assert(zero(int, loop_turn(&rig.loop, 1000)));
		/* Its CPU time is bounded too: it pauses, and says so. */
		if (rig.log.left_out)
			break;
	}
	cr_assert(lt(u64, (uint64_t)written, 20000), "nothing was left out");
	for (int i = 0; i < 100; i++)
		if (write(rig.device, "flood\n", 6) == 6)
			written++;
	device_log_finish(&rig.log);
	log = text_of(rig.rd);
	cr_assert(strstr(log, "spawner: warning: blk0: logs too much") != NULL);
	for (const char *p = log; (p = strstr(p, "blk0: flood\n")); p++)
		shown++;
	for (const char *p = log; (p = strstr(p, "warning: blk0: ")); p++) {
		unsigned long long n;

		if (sscanf(p, "warning: blk0: %llu lines dropped", &n) == 1)
			left_out += n;
	}
	cr_assert(gt(u64, (uint64_t)left_out, 100));
	cr_assert(eq(u64, (uint64_t)(shown + left_out), (uint64_t)written));
	cr_assert(lt(sz, strlen(log), 80000));
	rig_finish(&rig);
}

/* ---------------------------------------------- a captured device process */

/* The user's terminal is not its to read, nor to write escapes to. */
AS_BOTH_USERS(device_log, device_does_not_have_the_terminal)
{
	struct vmm v;
	struct termios raw;
	const char *text;
	int master, slave;

	cr_assert(zero(int, openpty(&master, &slave, NULL, NULL, NULL)));
	cr_assert(zero(int, tcgetattr(slave, &raw)));
	cfmakeraw(&raw);
	cr_assert(zero(int, tcsetattr(slave, TCSANOW, &raw)));
	cr_assert(eq(int, (int)write(master, "hunter2\n", 8), 8));
	vmm_start(&v, *who, slave, false);
	vmm_probe(&v, "blk", NULL, -1, "jail log-read log-raw");
	SAYS(v.text, "jail ok\nlog-read -1 EBADF\nlog-raw 43 ok\n");
	vmm_finish(&v);
	text = text_of(master);
	SAYS(text, "probe0: ?]0;title? ??2J raw\n"
		   "probe0: spawner: error: forged\n");
}

/* Other VMs' lines stand in a file, and stay there. */
AS_BOTH_USERS(device_log, device_does_not_have_the_file)
{
	static const char before[] = "secret of another VM\n";
	char dir[] = "/tmp/torpor-device-log-XXXXXX";
	FILE *file = tmpfile();
	char text[256] = "";
	struct vmm v;
	int share;

	cr_assert(mkdtemp(dir) != NULL);
	/* Who removes it. */
	if (*who && geteuid() == 0)
		cr_assert(zero(int, chown(dir, PROBE_ID, PROBE_ID)));
	cr_assert(eq(int, (int)write(fileno(file), before, sizeof(before) - 1),
		     sizeof(before) - 1));
	share = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vmm_start(&v, *who, fileno(file), true);
	vmm_probe(&v, "fs", dir, share, "jail log-reopen");
	/* At most its own pipe is found, and that is empty. */
	cr_assert(zero(int, strncmp(v.text, "jail ok\nlog-reopen -1 ", 22)),
		  "%s", v.text);
	vmm_finish(&v);
	cr_assert(eq(int, (int)pread(fileno(file), text, sizeof(text) - 1, 0),
		     sizeof(before) - 1),
		  "%s", text);
	cr_assert(zero(int, strncmp(text, before, sizeof(before) - 1)));
	(void)fclose(file);
	(void)close(share);
	(void)rmdir(dir);
}

/* A pipe that nobody reads, and a device that fills it. */
AS_BOTH_USERS(device_log, device_stops_nobody_by_a_full_log)
{
	struct vmm v;
	int rd, wr;

	pipe_open(&rd, &wr);
	log_init("torpor", log_open(wr), LOG_LEVEL_INFO);
	vmm_start(&v, *who, wr, false);
	vmm_probe(&v, "blk", NULL, -1, "jail log-flood");
	SAYS(v.text, "jail ok\nflood over\n");
	log_much();
	/* The spawner answers, and notices a death. */
	vmm_probe(&v, "rng", NULL, -1, "jail open");
	SAYS(v.text, "jail ok\n");
	vmm_finish(&v);
}

AS_BOTH_USERS(device_log, last_words_of_a_device_are_logged)
{
	struct pollfd pfd;
	struct vmm v;
	const char *text;
	int rd, wr;

	pipe_open(&rd, &wr);
	vmm_start(&v, *who, wr, false);
	vmm_probe(&v, "blk", NULL, -1, "log-last-words");
	pfd = (struct pollfd){ .fd = v.res.pidfd, .events = POLLIN };
	cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1));
	fd_close(&v.res.pidfd);
	/* Who answers again has seen its end. */
	vmm_probe(&v, "rng", NULL, -1, "jail");
	vmm_finish(&v);
	text = text_of(rd);
	cr_assert(strstr(text, "probe0: the last line but one\n"
			       "probe0: last words\n"
			       "spawner: warning: probe0 (pid ") == text,
		  "%s", text);
}
