/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The user's terminal in raw mode while the guest's serial line is on it.
 * Restored on every exit: normally, by exit(), and when a fatal signal ends
 * the process. One terminal a process, hence the file-scope state.
 */
#ifndef TORPOR_VMM_VM_TERMINAL_H
#define TORPOR_VMM_VM_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/util.h"

/* No-op if @fd is not a terminal or we are in the background. 0 or -errno. */
int terminal_raw(int fd) must_check;

/* What to do with a byte that the user typed. */
enum terminal_key {
	TERMINAL_KEY_PLAIN, /* it is the guest's */
	TERMINAL_KEY_TAKEN, /* it begins an escape */
	TERMINAL_KEY_LEAVE,
};

/*
 * Ctrl-A, then x leaves; Ctrl-A twice sends one. @escaped: what the last byte
 * has left, false at first.
 */
enum terminal_key terminal_key(bool *escaped, uint8_t byte);

void terminal_restore(void);

#endif
