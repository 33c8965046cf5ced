/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "tests/bench/linux_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/proc_threads.h"
#include "tests/bench/sample.h"

#define NS_PER_MS 1000000U

static void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
			       .tv_nsec = (long)(ms % 1000) * NS_PER_MS };

	(void)nanosleep(&ts, NULL);
}

/* ---------------------------------------------------------------- console */

/* The oldest line makes room: nobody wants it. */
static void put_line(struct linux_vm *vm, const struct console_line *line)
{
	(void)pthread_mutex_lock(&vm->lock);
	if (vm->nr_lines == MAX_LINES) {
		vm->first_line = (vm->first_line + 1) % MAX_LINES;
		vm->nr_lines--;
	}
	vm->lines[(vm->first_line + vm->nr_lines++) % MAX_LINES] = *line;
	(void)pthread_cond_broadcast(&vm->cond);
	(void)pthread_mutex_unlock(&vm->lock);
}

static void *read_console(void *arg)
{
	struct linux_vm *vm = arg;
	struct console_line line = { .first_ns = 0 };
	char byte;
	size_t len = 0;

	while (read(vm->out, &byte, 1) == 1) {
		if (byte == '\r')
			continue;
		if (!line.first_ns)
			line.first_ns = sample_now_ns(CLOCK_BOOTTIME);
		if (byte != '\n') {
			if (len < sizeof(line.text) - 1)
				line.text[len++] = byte;
			continue;
		}
		line.text[len] = '\0';
		line.end_ns = sample_now_ns(CLOCK_BOOTTIME);
		put_line(vm, &line);
		line.first_ns = 0;
		len = 0;
	}
	(void)pthread_mutex_lock(&vm->lock);
	vm->ended = true;
	(void)pthread_cond_broadcast(&vm->cond);
	(void)pthread_mutex_unlock(&vm->lock);
	return NULL;
}

static int next_line(struct linux_vm *vm, const struct timespec *end,
		     struct console_line *ret)
{
	int r = 0;

	(void)pthread_mutex_lock(&vm->lock);
	while (!vm->nr_lines && !vm->ended && r == 0)
		r = -pthread_cond_timedwait(&vm->cond, &vm->lock, end);
	if (vm->nr_lines) {
		*ret = vm->lines[vm->first_line];
		vm->first_line = (vm->first_line + 1) % MAX_LINES;
		vm->nr_lines--;
		r = 0;
	} else if (vm->ended) {
		r = -EPIPE;
	}
	(void)pthread_mutex_unlock(&vm->lock);
	return r;
}

static struct timespec timeout_from_now(void)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += VM_TIMEOUT_MS / 1000;
	return end;
}

int vm_next_line(struct linux_vm *vm, struct console_line *ret)
{
	struct timespec end = timeout_from_now();

	return next_line(vm, &end, ret);
}

int vm_line(struct linux_vm *vm, const char *prefix, struct console_line *ret)
{
	struct timespec end = timeout_from_now();
	int r;

	do {
		r = next_line(vm, &end, ret);
	} while (r == 0 && strncmp(ret->text, prefix, strlen(prefix)) != 0);
	return r;
}

/* guest/torpor.sh, torpor_commands: a tag, the command; then the tag again. */
static int send_command(struct linux_vm *vm, const char *command)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "bench %s\n", command);

	return write(vm->in, line, (size_t)len) == len ? 0 : -EPIPE;
}

int vm_run(struct linux_vm *vm, const char *command,
	   struct console_line *ret_answer)
{
	struct timespec end = timeout_from_now();
	struct console_line line;
	int r = send_command(vm, command);

	while (r == 0) {
		r = next_line(vm, &end, &line);
		if (r == 0 && strncmp(line.text, "TORPOR-DONE bench", 17) == 0)
			return 0;
		*ret_answer = line;
	}
	return r;
}

/* ---------------------------------------------------------------- QMP */

/* Reads up to the reply to a command, past events. */
static int qmp_reply(int fd)
{
	char line[1024];
	size_t len = 0;

	while (read(fd, &line[len], 1) == 1) {
		if (line[len] != '\n') {
			len = len < sizeof(line) - 2 ? len + 1 : len;
			continue;
		}
		line[len] = '\0';
		if (strncmp(line, "{\"return\"", 9) == 0)
			return 0;
		if (strncmp(line, "{\"error\"", 8) == 0)
			return -EPROTO;
		len = 0;
	}
	return -EPIPE;
}

static int qmp_send(int fd, const char *command)
{
	char line[128];
	int len =
		snprintf(line, sizeof(line), "{\"execute\":\"%s\"}\n", command);

	return write(fd, line, (size_t)len) == len ? 0 : -EPIPE;
}

static int qmp_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = VM_TIMEOUT_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    qmp_send(fd, "qmp_capabilities") < 0 || qmp_reply(fd) < 0) {
		(void)close(fd);
		return -ECONNREFUSED;
	}
	return fd;
}

/* ---------------------------------------------------------------- the VM */

static int start(struct linux_vm *vm)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) < 0) {
		(void)close(in[0]);
		(void)close(in[1]);
		return -errno;
	}
	vm->pid = fork();
	if (vm->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execvp(vm->argv[0], vm->argv);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	vm->in = in[1];
	vm->out = out[0];
	return vm->pid < 0 ? -EAGAIN : 0;
}

/* torpor calls them vcpu0 ..., QEMU "CPU 0/KVM" ... */
static int find_vcpus(struct linux_vm *vm)
{
	struct threads threads;
	int r = threads_read(&threads, vm->pid);
	char path[64];

	for (unsigned int i = 0; i < threads.nr && r == 0; i++) {
		const struct thread_use *use = &threads.use[i];

		if ((strncmp(use->name, "vcpu", 4) != 0 &&
		     strncmp(use->name, "CPU ", 4) != 0) ||
		    vm->nr_vcpus == MAX_VCPUS)
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat",
			       use->pid, use->tid);
		vm->vcpu_fds[vm->nr_vcpus] = open(path, O_RDONLY | O_CLOEXEC);
		if (vm->vcpu_fds[vm->nr_vcpus++] < 0)
			r = -errno;
	}
	return r < 0 ? r : vm->nr_vcpus ? 0 : -ENOENT;
}

int vm_init(struct linux_vm *vm, const char *name, const char *socket,
	    char **argv)
{
	struct console_line line;
	int r;

	*vm = (struct linux_vm){ .name = name,
				 .socket = socket,
				 .argv = argv,
				 .in = -1,
				 .out = -1,
				 .qmp = -1,
				 .lock = PTHREAD_MUTEX_INITIALIZER,
				 .cond = PTHREAD_COND_INITIALIZER };
	r = start(vm);
	if (r < 0)
		return r;
	r = -pthread_create(&vm->reader, NULL, read_console, vm);
	vm->has_reader = r == 0;
	/* A boot takes long on an emulated host. */
	for (int i = 0; i < 5 && (i == 0 || r == -ETIMEDOUT); i++)
		r = vm_line(vm, "TORPOR-COMMANDS", &line);
	if (r < 0)
		return r;
	if (strcmp(name, "torpor") == 0) {
		r = torpor_connect(socket, VM_TIMEOUT_MS, &vm->torpor);
	} else {
		vm->qmp = qmp_connect(socket);
		r = vm->qmp < 0 ? vm->qmp : 0;
	}
	return r < 0 ? r : find_vcpus(vm);
}

void vm_finish(struct linux_vm *vm)
{
	if (!vm->name)
		return;
	torpor_close(vm->torpor);
	if (vm->pid > 0) {
		(void)kill(vm->pid, SIGTERM);
		(void)waitpid(vm->pid, NULL, 0);
	}
	if (vm->has_reader)
		(void)pthread_join(vm->reader, NULL);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		(void)close(vm->vcpu_fds[i]);
	if (vm->in >= 0)
		(void)close(vm->in);
	if (vm->out >= 0)
		(void)close(vm->out);
	if (vm->qmp >= 0)
		(void)close(vm->qmp);
	vm->name = NULL;
}

int vm_ask_to_sleep(struct linux_vm *vm)
{
	int r;

	if (!vm->torpor)
		return send_command(vm, "bench-sleep");
	/* Its reply is not waited for, and thrown away when it comes. */
	r = torpor_call(vm->torpor, "suspend", "{\"timeout_ms\":60000}", 0,
			NULL);
	return r == -ETIMEDOUT ? 0 : r;
}

int vm_press(struct linux_vm *vm, uint64_t *ret_ns)
{
	int r;

	*ret_ns = sample_now_ns(CLOCK_BOOTTIME);
	if (vm->torpor)
		return torpor_powerbtn(vm->torpor, VM_TIMEOUT_MS);
	r = qmp_send(vm->qmp, "system_powerdown");
	return r < 0 ? r : qmp_reply(vm->qmp);
}

static uint64_t vcpus_ran_ns(const struct linux_vm *vm)
{
	uint64_t sum = 0;
	char text[64];

	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		ssize_t len = pread(vm->vcpu_fds[i], text, sizeof(text) - 1, 0);

		text[len > 0 ? len : 0] = '\0';
		sum += strtoull(text, NULL, 10);
	}
	return sum;
}

int vm_wait_quiet(struct linux_vm *vm, uint64_t *ret_ns)
{
	uint64_t ran = 0, now = sample_now_ns(CLOCK_BOOTTIME), last = now;
	uint64_t end = now + (uint64_t)VM_TIMEOUT_MS * NS_PER_MS;
	unsigned int quiet = 0;

	/* Looks are counted, not time: we may not have run ourselves. */
	while (quiet < VM_QUIET_MS && now < end) {
		uint64_t sum = vcpus_ran_ns(vm);

		now = sample_now_ns(CLOCK_BOOTTIME);
		quiet++;
		if (sum != ran) {
			ran = sum;
			last = now;
			quiet = 0;
		}
		sleep_ms(1);
	}
	*ret_ns = last;
	return quiet < VM_QUIET_MS ? -ETIMEDOUT : 0;
}
