/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The spawner: a single-threaded process forked before the VMM has a KVM fd,
 * guest memory or a second thread, and the only one that may create device
 * processes. seccomp filters are inherited and PDEATHSIG follows the spawning
 * thread, so a VMM that has narrowed itself could not make a jailed process.
 *
 * It creates each device by clone3 with namespaces and a pidfd, writes the id
 * maps, hands over exactly the fds of sandbox/device_fds.h and executes
 * torpor-device; it listens for syscalls outside a device's filter, logs
 * process, syscall and arguments, and kills. EOF from the VMM ends it and all
 * its children; its own death ends them too (PDEATHSIG).
 */
#ifndef TORPOR_SANDBOX_SPAWNER_H
#define TORPOR_SANDBOX_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

enum sandbox_mode {
	SANDBOX_FULL, /* namespaces, empty root, no capabilities, seccomp */
	SANDBOX_WEAK, /* no user namespace to be had: the rest of it */
	SANDBOX_OFF,  /* nothing, for debugging, said loudly */
};
extern const char *const sandbox_mode_words[];

#define SPAWN_MAX_ARGS	      24
#define SPAWN_MAX_ARG_BYTES   256
#define SPAWN_MAX_BACKEND_FDS 8
/* Processes at a time: more than a VM has devices. */
#define SPAWN_MAX_DEVICES 40

struct spawner; /* the VMM's end */

struct spawner_config {
	int device_exe_fd; /* torpor-device, opened; borrowed */
	int log_fd;	   /* of log_open(), borrowed; no device gets it */
	enum sandbox_mode mode;
	/* A device will share a directory: as root, with all owners of files
	 * in it. */
	bool shares;
};

/**
 * spawner_create() - fork the spawner
 *
 * Call first of all: single-threaded, nothing secret open. Tries whether the
 * namespaces of SANDBOX_FULL can be had.
 * Return: 0 and *ret (freed by spawner_destroy()), or -errno with @err naming
 * the sysctl or profile that forbids it and the option that weakens.
 */
int spawner_create(const struct spawner_config *cfg, struct spawner **ret,
		   struct err *err) must_check;
/* Ends the spawner and all devices, waits for them. NULL is fine. */
void spawner_destroy(struct spawner *sp);

struct spawn_request {
	const char *role; /* "blk" */
	const char *name; /* "blk0": process name and log tag, <= 15 bytes */
	char *args[SPAWN_MAX_ARGS]; /* role's words, NULL-terminated */
	/* Borrowed fds; -1 where the device has none (ctl, regpage, wake). */
	int vhost_fd, ctl_fd, regpage_fd, wake_fd;
	int backend_fds[SPAWN_MAX_BACKEND_FDS];
	unsigned int nr_backend_fds;
	/*
	 * The directory that the one back-end fd is of, an absolute path: the
	 * device gets a mount of it, and one of /proc/self/fd after it. NULL:
	 * it shares none.
	 */
	const char *share;
};

struct spawn_result {
	pid_t pid;
	int pidfd; /* the caller's; readable when the process has died */
};

/**
 * spawner_spawn() - create a device process
 *
 * Blocks until it has been executed (not until it serves): at start-up only.
 * Return: 0 or -errno with @err naming the step that failed.
 */
int spawner_spawn(struct spawner *sp, const struct spawn_request *req,
		  struct spawn_result *ret, struct err *err) must_check;

/**
 * spawner_spawn_begin(), spawner_spawn_end() - the same, waiting for nothing
 *
 * The first sends the request, whose fds may be closed then. The second takes
 * the answer when spawner_fd() has become readable; answers come in the order
 * of the requests.
 * Return: 0; -EINPROGRESS: no answer yet; or as spawner_spawn().
 */
int spawner_spawn_begin(struct spawner *sp, const struct spawn_request *req,
			struct err *err) must_check;
int spawner_spawn_end(struct spawner *sp, const char *name,
		      struct spawn_result *ret, struct err *err) must_check;

/**
 * spawner_seal() - no device from now on but those that there have been
 *
 * By role, name, share and words, these up to their '=': spawner_spawn()
 * answers -EPERM for another. Return: 0 or -errno.
 */
int spawner_seal(struct spawner *sp) must_check;

/* The spawner's socket: readable when it has answered, or has died (EOF). */
int spawner_fd(const struct spawner *sp);
pid_t spawner_pid(const struct spawner *sp);

#endif
