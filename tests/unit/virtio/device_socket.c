/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program torpor-device with --socket, as another front end meets it: its
 * console, which no front end of QEMU 7.2 drives, over
 * virtio/vhost_user/frontend.c. Real process, real jail.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/vhost_user/frontend.h"
#include "virtio/vhost_user/vhost_user.h"
#include "vmm/base/fd.h"

#define RX 0
#define TX 1

#define DEADLINE_NS 20000000000ULL

static char dir[] = "/tmp/device_socket.XXXXXX";
static char path[64];
static pid_t pid;
static int in_fd, out_fd; /* what is typed, what is printed */
static struct guest g;
static struct gmem gm; /* the front end's view of it */
static struct guest_ring ring[2];
static uint64_t buf;
static struct loop loop;
static struct frontend fe;
static bool fe_made;
static bool done;
static int result;

static const char *in_dir(const char *name)
{
	static char file[96];

	(void)snprintf(file, sizeof(file), "%s/%s", dir, name);
	return file;
}

/* build/torpor-device, three folders above this program. */
static void exec_device(void)
{
	char self[PATH_MAX], program[PATH_MAX + 32], in[112], out[112];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int log_fd;

	if (n < 0)
		_exit(126);
	self[n] = 0;
	*strrchr(self, '/') = 0;
	(void)snprintf(program, sizeof(program), "%s/../../../torpor-device",
		       self);
	log_fd = open(in_dir("log"), O_CREAT | O_WRONLY | O_APPEND, 0600);
	if (log_fd < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		_exit(125);
	(void)snprintf(in, sizeof(in), "in=%s", in_dir("in"));
	(void)snprintf(out, sizeof(out), "out=%s", in_dir("out"));
	/* A test that runs out of time leaves nothing. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execl(program, program, "console", "--socket", path, in, out,
		    "cols=80", "rows=25", (char *)NULL);
	_exit(127);
}

static int connect_to(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(ge(int, fd, 0));
	memcpy(addr.sun_path, path, strlen(path) + 1);
	/* Until it listens, or has ended. */
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno != ENOENT && errno != ECONNREFUSED)
			cr_fail("connect: %m");
		cr_assert(zero(int, waitpid(pid, NULL, WNOHANG)),
			  "torpor-device: make it first");
		(void)usleep(1000);
	}
	return fd;
}

static void on_done(struct frontend *f, int r)
{
	done = true;
	result = r;
}

static void on_failed(struct frontend *f, const char *why)
{
	cr_fail("front end: %s", why);
}

static int await(void)
{
	while (!done)
		cr_assert(zero(int, loop_turn(&loop, 1000)));
	done = false;
	return result;
}

static void attach(void)
{
	cr_assert(zero(int, frontend_init(&fe, &loop, connect_to(), &gm,
					  DEADLINE_NS)));
	fe_made = true;
	fe.on_failed = on_failed;
	frontend_handshake(&fe, sizeof(struct virtio_console_config), on_done);
	cr_assert(zero(int, await()));
}

static void start(uint16_t rx_base, uint16_t tx_base)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct frontend_ring *r = &fe.rings[i];

		r->size = ring[i].size;
		r->base = i == RX ? rx_base : tx_base;
		r->desc_gpa = ring[i].desc_gpa;
		r->avail_gpa = ring[i].avail_gpa;
		r->used_gpa = ring[i].used_gpa;
		r->kick_fd = ring[i].kick_fd;
		r->call_fd = ring[i].call_fd;
		r->err_fd = ring[i].err_fd;
	}
	frontend_start(&fe, 1ULL << VIRTIO_F_VERSION_1, 3, on_done);
	cr_assert(zero(int, await()));
}

static void stop(void)
{
	frontend_stop(&fe, UINT32_MAX, on_done);
	cr_assert(zero(int, await()));
}

/* Memory as other front ends have it: not sealed against getting shorter. */
static void unseal(void)
{
	_cleanup_fd_ int fd = memfd_create("front end", MFD_CLOEXEC);

	cr_assert(ge(int, fd, 0));
	cr_assert(zero(int, ftruncate(fd, (off_t)g.size)));
	cr_assert(mmap(g.ram, g.size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, fd, 0) == g.ram);
	cr_assert(ge(int, dup3(fd, g.memfd, O_CLOEXEC), 0));
}

static void setup(void)
{
	struct gmem_region reg = { .gpa = GUEST_RAM_GPA };

	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/sock", dir);
	cr_assert(zero(int, mkfifo(in_dir("in"), 0600)));
	cr_assert(zero(int, mkfifo(in_dir("out"), 0600)));
	/* For reading and writing: neither side sees the other come or go. */
	in_fd = open(in_dir("in"), O_RDWR | O_CLOEXEC);
	out_fd = open(in_dir("out"), O_RDWR | O_CLOEXEC);
	cr_assert(in_fd >= 0 && out_fd >= 0);
	guest_init(&g, 1 << 20);
	unseal();
	reg.size = g.size;
	reg.fd = fcntl(g.memfd, F_DUPFD_CLOEXEC, 0);
	cr_assert(zero(int, gmem_add(&gm, &reg)));
	guest_ring_init(&ring[RX], &g, 64);
	guest_ring_init(&ring[TX], &g, 64);
	buf = guest_alloc(&g, 8192, 4096);
	cr_assert(zero(int, loop_init(&loop)));
	pid = fork();
	cr_assert(ge(int, pid, 0));
	if (pid == 0)
		exec_device();
	attach();
}

static void teardown(void)
{
	static const char *const files[] = { "in", "out", "sock", "log" };

	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	if (fe_made)
		frontend_finish(&fe);
	guest_ring_finish(&ring[RX]);
	guest_ring_finish(&ring[TX]);
	gmem_finish(&gm);
	guest_finish(&g);
	loop_finish(&loop);
	fd_close(&in_fd);
	fd_close(&out_fd);
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		(void)unlink(in_dir(files[i]));
	(void)rmdir(dir);
}

TestSuite(device_socket, .init = setup, .fini = teardown, .timeout = 240);

static uint16_t add(unsigned int q, uint64_t off, uint32_t len)
{
	const struct guest_buf b = { buf + off, len, q == RX };
	uint16_t head = guest_ring_add(&ring[q], &b, 1);

	guest_ring_kick(&ring[q]);
	return head;
}

/* Waits for the interrupt. Return: the used length. */
static uint32_t used(unsigned int q, uint16_t want)
{
	struct pollfd p = { .fd = ring[q].call_fd, .events = POLLIN };
	uint16_t head;
	uint32_t len;

	while (!guest_ring_reap(&ring[q], &head, &len)) {
		cr_assert(eq(int, poll(&p, 1, 20000), 1), "ring %u", q);
		(void)fd_event_drain(ring[q].call_fd);
	}
	cr_assert(eq(u16, head, want));
	return len;
}

static void prints(const char *text)
{
	char got[64] = "";
	size_t have = 0;

	strcpy(guest_ptr(&g, buf), text);
	(void)used(TX, add(TX, 0, (uint32_t)strlen(text)));
	while (have < strlen(text)) {
		struct pollfd p = { .fd = out_fd, .events = POLLIN };
		ssize_t n;

		cr_assert(eq(int, poll(&p, 1, 20000), 1));
		n = read(out_fd, got + have, sizeof(got) - 1 - have);
		cr_assert(gt(int, (int)n, 0));
		have += (size_t)n;
	}
	cr_assert(zero(int, strcmp(got, text)), "got '%s'", got);
}

static void reads(const char *text)
{
	uint16_t head = add(RX, 4096, 64);
	uint32_t len;

	cr_assert(eq(int, (int)write(in_fd, text, strlen(text)),
		     (int)strlen(text)));
	len = used(RX, head);
	cr_assert(eq(u32, len, (uint32_t)strlen(text)));
	cr_assert(zero(int, memcmp(guest_ptr(&g, buf + 4096), text, len)));
}

Test(device_socket, console_prints_and_reads)
{
	const struct virtio_console_config *config =
		(const struct virtio_console_config *)(void *)fe.config;

	cr_assert(eq(u16, config->cols, 80));
	cr_assert(eq(u16, config->rows, 25));
	start(0, 0);
	prints("from the guest\n");
	reads("from the host\n");
}

Test(device_socket, console_goes_on_where_it_was_stopped)
{
	start(0, 0);
	for (int i = 0; i < 20; i++) {
		uint16_t head;

		prints("one\n");
		reads("two\n");
		/* A buffer waits for input and a stop gives it back. */
		head = add(RX, 4096, 64);
		stop();
		cr_assert(eq(u16, fe.rings[RX].base, ring[RX].used->idx));
		cr_assert(eq(u16, fe.rings[TX].base, ring[TX].used->idx));
		/* Typed in between: for later. */
		cr_assert(eq(int, (int)write(in_fd, "kept", 4), 4));
		start(fe.rings[RX].base, fe.rings[TX].base);
		cr_assert(eq(u32, used(RX, head), 4));
	}
}

static void detach(void)
{
	frontend_finish(&fe);
	for (unsigned int i = 0; i < 2; i++) {
		guest_ring_finish(&ring[i]);
		guest_ring_init(&ring[i], &g, 64);
	}
}

static void attach_anew(void)
{
	detach();
	attach();
	start(0, 0);
	prints("the second\n");
	reads("and hears\n");
}

/* One process for each front end, one after the other. */
Test(device_socket, console_serves_the_next_front_end)
{
	start(0, 0);
	prints("the first\n");
	attach_anew();
}

static void on_lost(struct frontend *f, const char *why)
{
	done = true;
}

/* Its process ends at the first access; the next front end gets another. */
Test(device_socket, a_front_end_that_truncates_its_memory_harms_only_itself)
{
	start(0, 0);
	prints("the first\n");
	fe.on_failed = on_lost;
	cr_assert(zero(int, ftruncate(g.memfd, 0)));
	fd_event_signal(ring[TX].kick_fd);
	(void)await();
	cr_assert(fe.failed);
	cr_assert(zero(int, waitpid(pid, NULL, WNOHANG)), "all of it ended");
	/* Zeroes: the rings are made again. */
	cr_assert(zero(int, ftruncate(g.memfd, (off_t)g.size)));
	attach_anew();
}

/* Where fd @fd of process @who leads. */
static const char *leads_to(pid_t who, int fd)
{
	static char target[128];
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)who, fd);
	n = readlink(link, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	return target;
}

/* What the user gave it is no more than /dev/null and a pipe in the jail. */
Test(device_socket, jailed_process_has_nothing_of_the_shells)
{
	char file[64], ours[128];
	FILE *children;
	int child = 0;

	if (geteuid() != 0)
		cr_skip_test("only root may look at it");
	start(0, 0);
	prints("it serves\n");
	(void)snprintf(file, sizeof(file), "/proc/%d/task/%d/children",
		       (int)pid, (int)pid);
	children = fopen(file, "re");
	cr_assert(ne(ptr, children, NULL));
	cr_assert(eq(int, fscanf(children, "%d", &child), 1));
	(void)fclose(children);
	for (int fd = 0; fd < 2; fd++)
		cr_assert(zero(int, strcmp(leads_to(child, fd), "/dev/null")),
			  "fd %d: %s", fd, leads_to(child, fd));
	(void)snprintf(ours, sizeof(ours), "%s", leads_to(pid, 2));
	cr_assert(zero(int, strncmp(leads_to(child, 2), "pipe:", 5)));
	cr_assert(ne(int, strcmp(leads_to(child, 2), ours), 0), "%s", ours);
}

/* ------------------------------------------------------ several front ends */

/* Waits until the device's log holds @text. */
static void logged(const char *text)
{
	char log[4096];

	for (;;) {
		int fd = open(in_dir("log"), O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, log, sizeof(log) - 1);

		(void)close(fd);
		cr_assert(ge(int, (int)n, 0));
		log[n] = 0;
		if (strstr(log, text))
			return;
		(void)usleep(1000);
	}
}

Test(device_socket, who_says_nothing_keeps_nobody_out)
{
	int idle[40];

	detach();
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = connect_to();
	attach();
	start(0, 0);
	prints("served\n");
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		(void)close(idle[i]);
}

Test(device_socket, who_stops_within_a_message_is_left)
{
	int slow;

	detach();
	slow = connect_to();
	cr_assert(eq(int, (int)send(slow, "\1\0\0", 3, MSG_NOSIGNAL), 3));
	attach();
	start(0, 0);
	prints("served\n");
	logged("has not completed a message");
	(void)close(slow);
}

/* Not for ever, and the first goes on. */
Test(device_socket, a_second_front_end_is_turned_away)
{
	const struct vhost_user_hdr hdr = { .request = 1, .flags = 1 };
	int second = connect_to();
	char byte;

	start(0, 0);
	cr_assert(eq(int, (int)send(second, &hdr, sizeof(hdr), MSG_NOSIGNAL),
		     (int)sizeof(hdr)));
	/* It is closed with what it said unread. */
	cr_assert(le(int, (int)recv(second, &byte, 1, 0), 0));
	logged("the device is in use");
	prints("still here\n");
	(void)close(second);
}

/* The process that serves the front end. */
static pid_t server(void)
{
	char file[64], text[32] = "";
	int fd;

	(void)snprintf(file, sizeof(file), "/proc/%d/task/%d/children", pid,
		       pid);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	cr_assert(gt(int, (int)read(fd, text, sizeof(text) - 1), 0));
	(void)close(fd);
	return (pid_t)atoi(text);
}

Test(device_socket, a_death_is_told_with_its_signal)
{
	start(0, 0);
	cr_assert(zero(int, kill(server(), SIGKILL)));
	logged("was killed by signal 9 (Killed)");
	detach();
	attach();
	start(0, 0);
	prints("the next\n");
}

/* The shell may have had it ignore others. */
static void ignores(pid_t of, int signal)
{
	unsigned long long mask = 0;
	char file[64], line[128];
	FILE *f;

	(void)snprintf(file, sizeof(file), "/proc/%d/status", of);
	f = fopen(file, "re");
	cr_assert(ne(ptr, f, NULL));
	while (fgets(line, sizeof(line), f) &&
	       sscanf(line, "SigIgn: %llx", &mask) != 1)
		continue;
	(void)fclose(f);
	cr_assert(mask >> (signal - 1) & 1, "signal %d", signal);
}

static void holds(pid_t of, const char *file, const char *text)
{
	char name[64], got[4096];
	ssize_t n;
	int fd;

	(void)snprintf(name, sizeof(name), "/proc/%d/%s", of, file);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	n = read(fd, got, sizeof(got) - 1);
	(void)close(fd);
	cr_assert(gt(int, (int)n, 0), "%s", name);
	got[n] = 0;
	cr_assert(strstr(got, text) != NULL, "'%s' is not in %s", text, got);
}

Test(device_socket, by_hand_it_is_limited_too)
{
	holds(server(), "status", "Seccomp:\t2");
	holds(server(), "status", "NoNewPrivs:\t1");
	holds(server(), "status", "CapPrm:\t0000000000000000");
	ignores(server(), SIGPIPE);
	ignores(server(), SIGXFSZ);
#ifndef __SANITIZE_ADDRESS__
	holds(server(), "limits",
	      "Max data size             8388608              8388608 ");
#endif
}
