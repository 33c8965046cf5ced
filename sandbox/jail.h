/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Narrowing of a process, in stages; each has a contract. A step that fails
 * ends the process: nothing runs half jailed.
 *
 * Stage 1 (spawner's child, before the exec): namespaces, id maps, empty root
 *	by pivot_root, PDEATHSIG, rlimits, only the fds of device_fds.h.
 * Stage 2 (torpor-device): the role creates its device: opens rings, maps the
 *	register page. Not yet: any byte from guest or peer.
 * Stage 3: jail_device() drops capabilities, sets no_new_privs and not
 *	dumpable, limits memory, and loads the role's seccomp filter. Then it
 *	serves.
 *
 * The VMM narrows itself once every device runs, see jail_vmm_rights().
 */
#ifndef TORPOR_SANDBOX_JAIL_H
#define TORPOR_SANDBOX_JAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/landlock.h"
#include "vmm/base/util.h"

struct sock_filter;

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
 * Before jail_device(): no file shall grow beyond @bytes by this process, and
 * it cannot take that back. Writes beyond fail with EFBIG, since its programs
 * ignore SIGXFSZ. Exits if that fails.
 */
void jail_limit_file_size(uint64_t bytes);

/*
 * Before jail_device(), of a process that the host's root directory is still
 * the root of: it opens, makes and removes files below @dir only (-1: none at
 * all), and connects by no TCP. Where the kernel has no Landlock that is
 * logged, and the filter stays the only wall. Exits if it fails.
 */
void jail_limit_files(int dir);

/*
 * The helper of a vsock device by hand (virtio/vsock/dial.h): answers on the
 * sockets it has, connects to UNIX sockets, and nothing else. Exits if that
 * fails.
 */
void jail_dialler(void);

/*
 * The VMM, when every device runs and before the first guest instruction:
 *
 * 1. jail_vmm_rights(), on its only thread. The threads that it makes inherit
 *    what that takes away: capabilities, new privileges, dumps, and all files
 *    but @paths.
 * 2. jail_thread() on each vCPU thread and on the worker, by a program made
 *    before.
 * 3. jail_vmm() on the main thread.
 */

/**
 * jail_vmm_rights() - step 1
 * @paths: what it may still open and remove
 * @caps: what it keeps of its capabilities, a bit each
 *
 * Return: 0, also where the kernel has no Landlock (which is logged); -errno.
 */
int jail_vmm_rights(const struct landlock_path *paths, unsigned int nr,
		    uint64_t caps) must_check;

/* A filter as instructions, for many threads. */
struct jail_program {
	struct sock_filter *insns; /* owned */
	unsigned short nr;
};

/*
 * That of vCPU threads (@vfio: they drive PCI devices of the host); of the
 * thread that opens images; of one that copies between two descriptors, which
 * is older than all of these steps. Return: 0 (jail_program_free()) or -errno.
 */
int jail_vcpu_prepare(struct jail_program *prog, bool vfio) must_check;
int jail_files_prepare(struct jail_program *prog, bool vfio) must_check;
int jail_relay_prepare(struct jail_program *prog) must_check;
void jail_program_free(struct jail_program *prog);
/* Step 2, of the calling thread. Return: 0 or -errno. */
int jail_thread(const struct jail_program *prog) must_check;

/*
 * Step 3, of the calling thread.
 * @connects: to UNIX sockets, for a guest that has a vsock device.
 * Return: 0 or -errno.
 */
int jail_vmm(bool connects) must_check;

#endif
