/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A directory of the host that a guest gets at by virtio-fs. Opened here only
 * to see that it is there and which one it is; a jailed device gets a mount of
 * it (sandbox/namespaces.h). Main thread, start-up.
 */
#ifndef TORPOR_VMM_VM_SHARED_DIR_H
#define TORPOR_VMM_VM_SHARED_DIR_H

#include <limits.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

/**
 * shared_dir_open() - find a directory
 * @ret_path: its name from the root, without symlinks
 *
 * Return: an O_PATH fd, owned by the caller; -errno with @err.
 */
int shared_dir_open(const char *path, char ret_path[PATH_MAX],
		    struct err *err) must_check;

/*
 * Raises the hard limit on fds, which the device that shares a directory uses
 * up: one for each file the guest knows of. Where that is not allowed, the
 * limit stays. Before the spawner is forked.
 */
void shared_dir_raise_limit(void);

#endif
