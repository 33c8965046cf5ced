/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities of the calling thread, by system calls alone: libcap-ng reads
 * /proc, which a jail has not. Async-signal-safe. Spec: capabilities(7).
 */
#ifndef TORPOR_SANDBOX_CAPS_H
#define TORPOR_SANDBOX_CAPS_H

#include <stdint.h>

#include "vmm/base/util.h"

/*
 * Empties the bounding set. Where CAP_SETPCAP is missing there is no right to
 * do it and, under no_new_privs, no need: no exec can gain from it.
 * Return: 0 or -errno.
 */
int caps_drop_bounding(void) must_check;

/* Bounding, ambient, inheritable, permitted, effective: nothing. 0 or -errno.
 */
int caps_drop_all(void) must_check;

/*
 * The same but for those of @mask that are held: they stay permitted,
 * effective and in the bounding set, so also over an exec by uid 0.
 */
int caps_limit(uint64_t mask) must_check;

/* Permitted and effective become what is held of @mask. 0 or -errno. */
int caps_keep(uint64_t mask) must_check;

/*
 * No exec gains a right from here on; neither core dump nor ptrace nor
 * /proc/PID/mem, by anyone. 0 or -errno.
 */
int caps_gain_none(void) must_check;

#endif
