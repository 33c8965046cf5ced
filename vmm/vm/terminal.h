/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The user's terminal in raw mode while the guest's serial line is on it.
 * Restored on every exit: normally, by exit(), and when a fatal signal ends
 * the process. One terminal a process, hence the file-scope state.
 */
#ifndef TORPOR_VMM_VM_TERMINAL_H
#define TORPOR_VMM_VM_TERMINAL_H

#include "vmm/base/util.h"

/* No-op if @fd is no terminal or we are in the background. 0 or -errno. */
int terminal_raw(int fd) must_check;
void terminal_restore(void);

#endif
