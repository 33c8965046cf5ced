/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM narrows itself, thread by thread: see jail.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/jail.h"
#include "sandbox/policy.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

int jail_vmm_rights(const struct landlock_path *paths, unsigned int nr,
		    uint64_t caps)
{
	int r = caps_limit(caps);

	if (r < 0)
		return r;
	r = caps_gain_none();
	if (r < 0)
		return r;
	r = landlock_limit(paths, nr);
	if (r != -EOPNOTSUPP)
		return r;
	log_debug("the kernel has no Landlock: the VMM may open any file that "
		  "its user may");
	return 0;
}

static int filter_make(const struct policy_table *const tables[],
		       scmp_filter_ctx *ret)
{
	scmp_filter_ctx ctx = NULL;
	int r = policy_begin(SCMP_ACT_ERRNO(EPERM), &ctx);

	if (r < 0)
		return r;
	for (; r == 0 && *tables; tables++)
		r = policy_add(ctx, *tables, false);
	if (r == 0)
		r = policy_add(ctx, &policy_vmm_never, false);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	if (r < 0) {
		seccomp_release(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}

static void filter_release(scmp_filter_ctx ctx)
{
	seccomp_release(ctx);
	/* It was built in a heap that nobody needs any more. */
	(void)malloc_trim(0);
}

int jail_vmm(bool connects)
{
	const struct policy_table *const tables[] = {
		&policy_vmm_every, &policy_vmm,
		connects ? &policy_vmm_connects : NULL, NULL
	};
	scmp_filter_ctx ctx = NULL;
	int r = filter_make(tables, &ctx);

	if (r < 0)
		return r;
	r = seccomp_load(ctx);
	filter_release(ctx);
	return r;
}

static int program_make(const struct policy_table *const tables[],
			struct jail_program *prog)
{
	_cleanup_fd_ int fd = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx ctx = NULL;
	off_t bytes;
	int r;

	*prog = (struct jail_program){ .insns = NULL };
	if (fd < 0)
		return -errno;
	r = filter_make(tables, &ctx);
	if (r == 0)
		r = seccomp_export_bpf(ctx, fd);
	filter_release(ctx);
	if (r < 0)
		return r;
	bytes = lseek(fd, 0, SEEK_END);
	prog->insns = malloc((size_t)bytes);
	if (!prog->insns)
		return -ENOMEM;
	if (pread(fd, prog->insns, (size_t)bytes, 0) != bytes) {
		jail_program_free(prog);
		return -EIO;
	}
	prog->nr = (unsigned short)((size_t)bytes / sizeof(*prog->insns));
	return 0;
}

int jail_vcpu_prepare(struct jail_program *prog, bool vfio)
{
	const struct policy_table *const tables[] = {
		&policy_vmm_every, &policy_vcpu,
		vfio ? &policy_vcpu_vfio : NULL, NULL
	};

	return program_make(tables, prog);
}

int jail_files_prepare(struct jail_program *prog, bool vfio)
{
	const struct policy_table *const tables[] = {
		&policy_vmm_every, &policy_vmm_files,
		vfio ? &policy_files_vfio : NULL, NULL
	};

	return program_make(tables, prog);
}

int jail_relay_prepare(struct jail_program *prog)
{
	static const struct policy_table *const tables[] = { &policy_vmm_relay,
							     NULL };

	return program_make(tables, prog);
}

int jail_thread(const struct jail_program *prog)
{
	const struct sock_fprog fprog = { .len = prog->nr,
					  .filter = prog->insns };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       SECCOMP_FILTER_FLAG_LOG, &fprog) < 0
		       ? -errno
		       : 0;
}

void jail_program_free(struct jail_program *prog)
{
	free(prog->insns);
	*prog = (struct jail_program){ .insns = NULL };
}
