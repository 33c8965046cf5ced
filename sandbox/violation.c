/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/violation.h"

#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/log.h"

/* The same number means another call to another ABI: name both. */
static const char *abi_name(uint32_t arch, int nr)
{
	if (arch == SCMP_ARCH_X86)
		return " of the 32-bit ABI";
	if (arch == SCMP_ARCH_X86_64 && (nr & 0x40000000))
		return " of the x32 ABI";
	return "";
}

static void report(const struct seccomp_notif *req, const char *name,
		   const char *role)
{
	const uint64_t *a = (const uint64_t *)req->data.args;
	uint32_t arch = req->data.arch;
	_cleanup_free_ char *call = NULL;

	if (arch == SCMP_ARCH_X86_64 && (req->data.nr & 0x40000000))
		arch = SCMP_ARCH_X32;
	call = seccomp_syscall_resolve_num_arch(arch, req->data.nr);
	log_err("%s (thread %u) killed: system call %s (%d%s) is not allowed "
		"for role %s; arguments %#" PRIx64 " %#" PRIx64 " %#" PRIx64
		" %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ", at %#" PRIx64,
		name, req->pid, call ? call : "unknown", req->data.nr,
		abi_name(req->data.arch, req->data.nr), role, a[0], a[1], a[2],
		a[3], a[4], a[5], (uint64_t)req->data.instruction_pointer);
}

int violation_handle(int listener, const char *name, const char *role,
		     int pidfd)
{
	struct seccomp_notif *req = NULL;
	struct seccomp_notif_resp *resp = NULL;
	int r;

	/* The kernel's structures may be larger than ours: ask it. */
	r = seccomp_notify_alloc(&req, &resp);
	if (r == 0)
		r = seccomp_notify_receive(listener, req);
	if (r == 0)
		report(req, name, role);
	/* The process sits in the system call and never returns from it. */
	if (r == 0 &&
	    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		r = -errno;
	seccomp_notify_free(req, resp);
	return r;
}
