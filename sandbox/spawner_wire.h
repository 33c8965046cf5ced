/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the VMM (spawner_client.c) and the spawner (spawner_server.c): one
 * packet each way per device, over a SOCK_SEQPACKET pair. Same program, same
 * machine: plain structs. Private to these two files.
 */
#ifndef TORPOR_SANDBOX_SPAWNER_WIRE_H
#define TORPOR_SANDBOX_SPAWNER_WIRE_H

#include <limits.h>
#include <stdint.h>

#include "sandbox/namespaces.h"
#include "sandbox/spawner.h"

#define WIRE_NAME_BYTES 16

enum wire_fd {
	WIRE_FD_VHOST,
	WIRE_FD_CTL,
	WIRE_FD_REGPAGE,
	WIRE_FD_WAKE,
	WIRE_FIXED_FDS
};

#define WIRE_MAX_FDS (WIRE_FIXED_FDS + SPAWN_MAX_BACKEND_FDS)

/* Fds that are there follow as SCM_RIGHTS in the order of enum wire_fd. */
struct wire_request {
	char role[WIRE_NAME_BYTES];
	char name[WIRE_NAME_BYTES];
	uint32_t log_level;
	uint32_t fixed_fds; /* bit mask of enum wire_fd */
	uint32_t nr_backend_fds;
	uint32_t nr_args;
	char args[SPAWN_MAX_ARGS][SPAWN_MAX_ARG_BYTES];
	char share[PATH_MAX]; /* empty: none */
};

/* A packet of this length, whatever is in it: spawner_seal(). No reply. */
#define WIRE_SEAL_BYTES 1

/* With the pidfd as SCM_RIGHTS if error is 0. */
struct wire_reply {
	int32_t error; /* 0 or -errno */
	int32_t pid;
	char step[64]; /* what failed */
};

/* What the spawner is made with; its fds are at fixed places. */
enum spawner_place {
	SPAWNER_FD_NULL_IN,
	SPAWNER_FD_NULL_OUT,
	SPAWNER_FD_LOG,
	SPAWNER_FD_VMM,
	SPAWNER_FD_EXE,
	SPAWNER_NR_FDS
};

struct spawner_params {
	enum sandbox_mode mode;
	struct ns_ids ids;
	int log_fd, vmm_fd, exe_fd; /* before they are at their places */
};

/*
 * The whole life of the spawner process. First sends a struct wire_reply when
 * its namespaces exist, waits for one byte that says its ids are mapped, and
 * sends a second reply when it is ready for requests.
 */
void spawner_main(const struct spawner_params *params)
	__attribute__((noreturn));

#endif
