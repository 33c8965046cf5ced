/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which files a process may open and remove, by the kernel's Landlock (Linux
 * 5.13, where it is among the security modules that run). For what a seccomp
 * filter cannot see: paths. Spec: landlock(7).
 */
#ifndef TORPOR_SANDBOX_LANDLOCK_H
#define TORPOR_SANDBOX_LANDLOCK_H

#include <stdint.h>

#include "vmm/base/util.h"

#define LANDLOCK_MAY_READ   1U /* open the file */
#define LANDLOCK_MAY_WRITE  2U
#define LANDLOCK_MAY_REMOVE 4U /* files of a directory and below it */
#define LANDLOCK_MAY_ALL    8U /* whatever a directory and below it allow */

struct landlock_path {
	int fd;	      /* O_PATH is enough; borrowed, only for the call */
	uint32_t may; /* LANDLOCK_MAY_* */
};

/**
 * landlock_limit() - the calling thread, and those it makes, may do with files
 * what @paths say, and nothing else that has not been opened before
 *
 * Neither TCP nor abstract UNIX sockets either, where the kernel can forbid
 * them. Needs no_new_privs. What is in no file system that has names (memfd)
 * is not limited.
 * Return: 0; -EOPNOTSUPP if the kernel has no Landlock, or one that cannot
 * grant LANDLOCK_MAY_ALL (before Linux 5.19); -errno.
 */
int landlock_limit(const struct landlock_path *paths,
		   unsigned int nr) must_check;

#endif
