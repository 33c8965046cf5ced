/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Narrowing of a process, in stages; each has a contract. A step that fails
 * ends the process: nothing runs half jailed.
 *
 * Stage 1 (spawner's child, before the exec): namespaces, id maps, empty root
 *	by pivot_root, PDEATHSIG, rlimits, only the fds of devctl.h.
 * Stage 2 (torpor-device): the role creates its device: opens rings, maps the
 *	register page. Not yet: any byte from guest or peer.
 * Stage 3: jail_device() drops capabilities, sets no_new_privs and not
 *	dumpable, and loads the role's seccomp filter. Then it serves.
 *
 * The VMM's own threads narrow by jail_vmm() once every device runs.
 */
#ifndef TORPOR_SANDBOX_JAIL_H
#define TORPOR_SANDBOX_JAIL_H

#include <stdbool.h>

#include "vmm/base/util.h"

/**
 * jail_device() - stage 3
 * @role: names the seccomp policy
 * @spawner_fd: DEVFD_SPAWNER; the filter's listener is sent there, then it is
 *		closed. -1: there is no listener, a violation is EPERM + log
 * @seccomp: false only under SANDBOX_OFF
 *
 * Should: leave the process able to serve its role and nothing else.
 * Mustn't: return after a step that failed (it logs and exits).
 */
void jail_device(const char *role, int spawner_fd, bool seccomp);

/*
 * VMM main thread and vCPU threads: no exec, no clone of processes, no mount,
 * no new privileges. Loaded with TSYNC after the vCPU threads exist.
 * @connects: to UNIX sockets, for a guest that has a vsock device.
 * Return: 0 or -errno.
 */
int jail_vmm(bool connects) must_check;

#endif
