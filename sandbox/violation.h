/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a device that tries a system call outside its filter: the
 * spawner holds the filter's listener, logs process, system call and
 * arguments, and kills. Under a plain kill action nobody would learn which
 * system call it was. Spawner's loop thread. Spec: seccomp_unotify(2).
 */
#ifndef TORPOR_SANDBOX_VIOLATION_H
#define TORPOR_SANDBOX_VIOLATION_H

#include "vmm/base/util.h"

/**
 * violation_handle() - take one notification from @listener
 * @name, @role: of the device, for the log
 * @pidfd: the device, which is killed
 *
 * Return: 0; -ENOENT if the caller died meanwhile; -errno.
 */
int violation_handle(int listener, const char *name, const char *role,
		     int pidfd) must_check;

#endif
