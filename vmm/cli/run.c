/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/spawner.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/config/config.h"
#include "vmm/control/commands.h"
#include "vmm/vm/build.h"
#include "vmm/vm/cgroup.h"
#include "vmm/vm/shared_dir.h"
#include "vmm/vm/terminal.h"
#include "vmm/vm/vm.h"

/* torpor-device: the given one, else the one beside this program. */
static int open_device_exe(const struct vm_config *cfg, struct err *err)
{
	char self[PATH_MAX], path[PATH_MAX + 32];
	struct stat st;
	ssize_t n;
	int fd;

	if (cfg->device_exe) {
		(void)snprintf(path, sizeof(path), "%s", cfg->device_exe);
	} else {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			return err_set_errno(err, -errno, "/proc/self/exe");
		self[n] = '\0';
		(void)snprintf(path, sizeof(path), "%s/torpor-device",
			       dirname(self));
	}
	/* O_NONBLOCK: a FIFO must not make this wait. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_usage_errno(err, -errno,
				       "device program '%s' (name it with "
				       "--device-exe)",
				       path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0)
		return fd;
	(void)close(fd);
	return err_usage(err, -EACCES,
			 "device program '%s' is not executable "
			 "(name it with --device-exe)",
			 path);
}

/* For tests: each VM appends its longest turn to the file TORPOR_TURNS. */
static int open_turns(void)
{
	const char *path = getenv("TORPOR_TURNS");

	return path ? open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC)
		    : -1;
}

static void tell_turn(int fd, const struct loop_watch *watch)
{
	char line[LOOP_NAME_MAX + 32];
	int n = snprintf(line, sizeof(line), "%llu us in %s\n",
			 (unsigned long long)watch->longest_ns / 1000,
			 watch->longest_in);

	if (fd >= 0)
		(void)!write(fd, line, (size_t)n);
}

static void failed(struct vm *vm, const struct err *err)
{
	if (atomic_load(&vm->exit_code) >= 0) {
		log_debug("stopped while it started");
		return;
	}
	terminal_restore();
	log_err("%s", err->msg);
	vm_end(vm, err->usage ? VM_EXIT_USAGE : VM_EXIT_CRASH);
}

/*
 * The socket appears when the VM can answer, and before the first guest
 * instruction. Return: enum vm_exit.
 */
static int run(const struct vm_config *cfg, struct spawner *spawner)
{
	static struct vm vm; /* large, and the only one in the process */
	struct commands commands;
	_cleanup_fd_ int turns = open_turns();
	struct err err = { .msg = "" };
	int r;

	r = vm_create(&vm, cfg, spawner, &err);
	if (r == 0)
		r = commands_serve(&commands, &vm, &err);
	if (r == 0)
		r = vm_run(&vm, &err);
	if (r < 0)
		failed(&vm, &err);
	tell_turn(turns, &vm.loop.watch);
	vm_destroy(&vm);
	return atomic_load(&vm.exit_code);
}

/* Forks the spawner while no other file is open and there is one thread. */
static int start(const struct vm_config *cfg, struct err *err)
{
	_cleanup_fd_ int exe = open_device_exe(cfg, err);
	struct spawner_config sc = { .device_exe_fd = exe,
				     .log_fd = STDERR_FILENO,
				     .mode = cfg->sandbox,
				     .shares = cfg->nr_shares > 0 };
	struct spawner *spawner = NULL;
	int r;

	if (exe < 0) {
		log_err("%s", err->msg);
		return err->usage ? VM_EXIT_USAGE : VM_EXIT_CRASH;
	}
	r = cfg->cgroup ? cgroup_enter(cfg->cgroup, err) : 0;
	if (r < 0) {
		log_err("%s", err->msg);
		return err->usage ? VM_EXIT_USAGE : VM_EXIT_CRASH;
	}
	if (cfg->nr_shares)
		shared_dir_raise_limit();
	r = spawner_create(&sc, &spawner, err);
	if (r < 0) {
		log_err("%s", err->msg);
		return VM_EXIT_CRASH;
	}
	r = run(cfg, spawner);
	spawner_destroy(spawner);
	return r;
}

/*
 * From here on no log line waits for the reader of standard error, not even
 * that of a failed assertion. The user's shell keeps its file description
 * unchanged.
 */
static int own_stderr(struct err *err)
{
	int own = log_open(STDERR_FILENO);
	int r = 0;

	if (own == -EBADF)
		own = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (own < 0)
		return err_set_errno(err, own, "standard error");
	if (own == STDERR_FILENO)
		return 0;
	if (dup3(own, STDERR_FILENO, O_CLOEXEC) < 0)
		r = err_set_errno(err, -errno, "standard error");
	(void)close(own);
	return r;
}

int run_main(int argc, char **argv)
{
	struct vm_config cfg;
	struct err err = { "" };
	int r;

	/* One arena: further arenas would cost memory for each vCPU thread. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A file that may not grow (ulimit -f) then fails the write. */
	(void)signal(SIGXFSZ, SIG_IGN);
	config_init(&cfg);
	r = config_parse_args(&cfg, argc, argv, &err);
	if (r == 0)
		r = config_check(&cfg, &err);
	if (r < 0) {
		log_err("%s", err.msg);
		r = VM_EXIT_USAGE;
	} else {
		r = own_stderr(&err);
		log_init("torpor", STDERR_FILENO, cfg.log_level);
		if (r == 0) {
			r = start(&cfg, &err);
		} else {
			log_err("%s", err.msg);
			r = VM_EXIT_CRASH;
		}
	}
	config_finish(&cfg);
	return r;
}
