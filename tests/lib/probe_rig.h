/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A spawner and one probe device after another (tests/sandbox/probe_device.c),
 * as root and as an ordinary user. One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_PROBE_RIG_H
#define TORPOR_TESTS_LIB_PROBE_RIG_H

#include <stdbool.h>
#include <stddef.h>

#include "sandbox/spawner.h"
#include "tests/lib/spawner_rig.h"

#define PROBE_ID 60124

struct vmm {
	struct spawner *sp;
	struct spawn_result res;
	int exe_fd, ctl;
	char text[4096]; /* what the probe said, a line a packet */
};

/* @who: 0 = who we are, 1 = an ordinary user */
void vmm_start(struct vmm *v, size_t who, int log_fd, bool shares);
/*
 * Starts a probe of @role with @words. Return: 0 and the channel on which it
 * speaks in v->ctl, or what spawner_spawn() said.
 */
int vmm_spawn(struct vmm *v, const char *role, const char *share, int share_fd,
	      const char *words);
/* Runs a probe until it is ready or dead. */
void vmm_probe(struct vmm *v, const char *role, const char *share, int share_fd,
	       const char *words);
void vmm_finish(struct vmm *v);

#endif
