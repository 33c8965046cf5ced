/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Linux guest under torpor or QEMU, for the sleep figures: its console, whose
 * lines a thread stamps as they come, and the two things that are asked of it.
 * All times are CLOCK_BOOTTIME in ns. Owned by one thread.
 */
#ifndef TORPOR_BENCH_LINUX_VM_H
#define TORPOR_BENCH_LINUX_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/torpor.h"

#define VM_TIMEOUT_MS 60000
#define MAX_LINES     64U
#define MAX_VCPUS     8U

struct console_line {
	uint64_t first_ns, end_ns; /* its first byte, its newline */
	char text[128];
};

struct linux_vm {
	const char *name;
	const char *socket; /* torpor's control socket, QEMU's QMP socket */
	char **argv;	    /* NULL at its end; the serial port is stdio */
	pid_t pid;
	int in, out; /* the serial port, from our side */
	struct torpor *torpor;
	int qmp; /* -1 for torpor */

	pthread_t reader;
	bool has_reader;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t cond;
	struct console_line lines[MAX_LINES]; /* not yet taken */
	unsigned int first_line, nr_lines;
	bool ended;

	int vcpu_fds[MAX_VCPUS]; /* schedstat of each vCPU's thread */
	unsigned int nr_vcpus;
};

/*
 * Starts the VM and waits until its guest takes commands. @name is "torpor" or
 * "qemu". On failure vm_finish() is due as well.
 */
int vm_init(struct linux_vm *vm, const char *name, const char *socket,
	    char **argv);
/* Ends the VM and everything of it. A zeroed one is fine. */
void vm_finish(struct linux_vm *vm);

/**
 * vm_line() - take lines off the console, up to one that begins with @prefix
 *
 * Return: 0; -ETIMEDOUT; -EPIPE the VM has ended.
 */
int vm_line(struct linux_vm *vm, const char *prefix, struct console_line *ret);
/* The next line, whatever it is. Return: as vm_line(). */
int vm_next_line(struct linux_vm *vm, struct console_line *ret);

/* Runs @command in the guest; @ret_answer, its last line of output. */
int vm_run(struct linux_vm *vm, const char *command,
	   struct console_line *ret_answer);

/*
 * Asks the guest to sleep and does not wait: by the sleep button, and QEMU,
 * which has none, by a command to the guest's shell.
 */
int vm_ask_to_sleep(struct linux_vm *vm);
/* Presses the power button. Return: 0 or -errno. */
int vm_press(struct linux_vm *vm, uint64_t *ret_ns);

/*
 * Waits until no vCPU thread has run for VM_QUIET_MS. @ret_ns: when one was
 * last seen to have; looked at each millisecond. Return: 0, -ETIMEDOUT.
 */
#define VM_QUIET_MS 100U
int vm_wait_quiet(struct linux_vm *vm, uint64_t *ret_ns);

#endif
