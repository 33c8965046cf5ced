/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cgroup of a VM (--cgroup). Start-up, before there is a second process.
 * Spec: the kernel's Documentation/admin-guide/cgroup-v2.rst.
 */
#ifndef TORPOR_VMM_VM_CGROUP_H
#define TORPOR_VMM_VM_CGROUP_H

#include "vmm/base/err.h"
#include "vmm/base/util.h"

/**
 * cgroup_enter() - move this process into the cgroup v2 directory @path
 *
 * What it forks later is born there. The limits are the user's to set; nothing
 * is made, changed or removed.
 *
 * Return: 0, or -errno with @err naming path and remedy.
 */
int cgroup_enter(const char *path, struct err *err) must_check;

#endif
