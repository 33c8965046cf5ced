/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each device role may ask of the kernel, once it serves. A rule that is
 * missing shows in the log by name (docs/sandbox.md); add it here with its
 * reason, to the role that needs it and no other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "sandbox/policy.h"

#define CAP(cap) (1ULL << (cap))

#define MIB (1ULL << 20)

#define TABLE(rules)                     \
	{                                \
		rules, ARRAY_SIZE(rules) \
	}

/*
 * The flags pthread_create() of glibc and of musl pass: a thread, never a
 * process, never a namespace.
 */
#define CLONE_THREAD_FLAGS                                                  \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |               \
	 CLONE_CHILD_CLEARTID)

static const struct policy_rule common[] = {
	/* The event loop sleeps; aarch64 has epoll_pwait only. */
	POLICY_ALLOW(epoll_wait),
	POLICY_ALLOW(epoll_pwait),
	/* Kick eventfds come and go with rings. */
	POLICY_ALLOW(epoll_ctl),
	/* The loop's one timer. */
	POLICY_ALLOW(timerfd_settime),
	/* Deadlines, where the vDSO has no clock. */
	POLICY_ALLOW(clock_gettime),
	/* Eventfds, without waiting: see fd_event_read(). */
	POLICY_ALLOW(preadv2),
	/* Log lines, packets, bytes. */
	POLICY_ALLOW(read),
	POLICY_ALLOW(write),
	POLICY_ALLOW(readv),
	POLICY_ALLOW(writev),
	/* vhost-user and control channel, with the fds they carry. */
	POLICY_ALLOW(recvmsg),
	POLICY_ALLOW(sendmsg),
	/* On arming a wake-up: is there data already? A block engine's short
	 * pause where the kernel has no memory. */
	POLICY_ALLOW(poll),
	POLICY_ALLOW(ppoll),
	/* Fds of a ring or of memory that is replaced. */
	POLICY_ALLOW(close),
	/* Size of a memory region that a peer passes. glibc makes it
	 * newfstatat; a path would find an empty root. */
	POLICY_ALLOW(fstat),
	POLICY_ALLOW(newfstatat),
	/* Guest memory (SET_MEM_TABLE), and malloc, whose memory is private:
	 * RLIMIT_DATA does not count what is shared. Never executable. */
	POLICY_ALLOW_WITHOUT(mmap, 2, PROT_EXEC, 3, MAP_ANONYMOUS),
	POLICY_ALLOW_WITHOUT(mmap, 2, PROT_EXEC, 3, MAP_SHARED),
	POLICY_ALLOW_MASK(mprotect, 2, PROT_EXEC, 0),
	POLICY_ALLOW(munmap),
	POLICY_ALLOW(mremap),
	POLICY_ALLOW(brk),
	/* MADV_DONTDUMP on guest memory, MADV_DONTNEED of idle caches. */
	POLICY_ALLOW(madvise),
	/* Stack protector and malloc tcache keys; the rng asks more. */
	POLICY_ALLOW(getrandom),
	/* Locks of malloc and stdio. */
	POLICY_ALLOW(futex),
	/* The end, the regular one. */
	POLICY_ALLOW(exit),
	POLICY_ALLOW(exit_group),
	POLICY_ALLOW(rt_sigreturn),
	/* A system call that a host suspend or a stop signal interrupted. */
	POLICY_ALLOW(restart_syscall),
	/* abort(): of a failed assertion, to itself only. No handler: one
	 * would bring a thread out of a violation before anybody has read
	 * it. */
	POLICY_ALLOW(rt_sigprocmask),
	POLICY_DENY(rt_sigaction, ENOSYS),
	POLICY_ALLOW(getpid),
	POLICY_ALLOW(gettid),
	POLICY_ALLOW_SELF(tgkill, 0),
	/* glibc falls back to clone, whose flags a filter can see. */
	POLICY_DENY(clone3, ENOSYS),
#ifdef __SANITIZE_ADDRESS__
	/* Before the end of a process the run-time looks for its stack. */
	POLICY_ALLOW(sigaltstack),
#endif
};

static const struct policy_rule blk[] = {
	/* What is in a ring no filter sees. The process has the one that it
	 * made before, which refuses all but READV, WRITEV, FSYNC and
	 * FALLOCATE (virtio/blk/ring.c); it can make and register none. */
	POLICY_ALLOW(io_uring_enter),
	/* The thread engine, where io_uring is off. */
	POLICY_ALLOW(preadv),
	POLICY_ALLOW(pwritev),
	POLICY_ALLOW(fdatasync),
	/* Discard and write-zeroes. */
	POLICY_ALLOW(fallocate),
	/* Its threads: threads only, on stacks from mmap. */
	POLICY_ALLOW_MASK(clone, 0, ~0ULL, CLONE_THREAD_FLAGS),
	POLICY_ALLOW(set_robust_list),
	POLICY_ALLOW(rseq),
	/* malloc asks how many arenas are worth it. */
	POLICY_ALLOW(sched_getaffinity),
	/* Names of threads, and of anonymous memory in newer glibc. */
	POLICY_ALLOW_EQ(prctl, 0, PR_SET_NAME),
};

static const struct policy_rule fs[] = {
	/* Names looked up, directories listed, files opened and made. A filter
	 * sees no path; that there is nothing but the shared directory to be
	 * found is the mount namespace's doing. */
	POLICY_ALLOW(openat2),
	POLICY_ALLOW(openat),
	POLICY_ALLOW(getdents64),
	/* Attributes; and of a file system. */
	POLICY_ALLOW(statx),
	POLICY_ALLOW(fstatfs),
	POLICY_ALLOW(readlinkat),
	POLICY_ALLOW(faccessat2),
	POLICY_ALLOW(fchmod),
	POLICY_ALLOW(fchmodat),
	POLICY_ALLOW(fchownat),
	POLICY_ALLOW(ftruncate),
	POLICY_ALLOW(utimensat),
	/* "user." ones only, see virtio/fs/attr.c. */
	POLICY_ALLOW(getxattr),
	POLICY_ALLOW(setxattr),
	POLICY_ALLOW(listxattr),
	POLICY_ALLOW(removexattr),
	/* Made, renamed, removed. */
	POLICY_ALLOW(mknodat),
	POLICY_ALLOW(mkdirat),
	POLICY_ALLOW(symlinkat),
	POLICY_ALLOW(linkat),
	POLICY_ALLOW(unlinkat),
	POLICY_ALLOW(renameat2),
	/* Data. pwritev2: a write that appends. */
	POLICY_ALLOW(preadv),
	POLICY_ALLOW(pwritev),
	POLICY_ALLOW(pwritev2),
	POLICY_ALLOW(lseek),
	POLICY_ALLOW(fallocate),
	POLICY_ALLOW(copy_file_range),
	POLICY_ALLOW(fsync),
	POLICY_ALLOW(fdatasync),
	/* Locks; both without waiting. */
	POLICY_ALLOW(flock),
	POLICY_ALLOW_EQ(fcntl, 1, F_OFD_SETLK),
	POLICY_ALLOW_EQ(fcntl, 1, F_OFD_GETLK),
	/* The end of a file, told by closing a copy of it. */
	POLICY_ALLOW_EQ(fcntl, 1, F_DUPFD_CLOEXEC),
	/* As root: a new file is its maker's. */
	POLICY_ALLOW(setfsuid),
	POLICY_ALLOW(setfsgid),
	POLICY_ALLOW(capget),
	POLICY_ALLOW(capset),
};

/*
 * What serving everybody's files takes, where the device is not one user but
 * has the ids of all. They count for files whose owner and group have an id
 * there, and nowhere else: not CAP_MKNOD, which would be the host's.
 */
#define FS_CAPS                                                            \
	(CAP(CAP_CHOWN) |	 /* the guest's root gives files away */   \
	 CAP(CAP_DAC_OVERRIDE) | /* rights are checked in the guest */     \
	 CAP(CAP_FOWNER) |	 /* modes and times of any file */         \
	 CAP(CAP_FSETID) |	 /* set-id bits stay where they are put */ \
	 CAP(CAP_SETUID) | CAP(CAP_SETGID)) /* new files are their maker's */

static const struct policy_rule net[] = {
	/* Offloads the driver accepted. Not TUNSETIFF: the tap stays the one
	 * it is; its header size is set before the jail closes. */
	POLICY_ALLOW_EQ(ioctl, 1, TUNSETOFFLOAD),
	/* While the guest sleeps the kernel drops what may not wake it. It
	 * narrows what comes in by the process's own tap, and no more. */
	POLICY_ALLOW_EQ(ioctl, 1, TUNSETTXFILTER),
};

static const struct policy_rule vsock[] = {
	/* Connections of the host, on the sockets it was given. */
	POLICY_ALLOW(accept4),
	/* One direction of a connection is over. */
	POLICY_ALLOW(shutdown),
};

/* Beside connecting, which the VMM's policy_vmm_connects has. */
static const struct policy_rule dialler[] = {
	/* Questions and answers, with the socket. */
	POLICY_ALLOW(poll),
	POLICY_ALLOW(ppoll),
	POLICY_ALLOW(recvmsg),
	POLICY_ALLOW(sendmsg),
	POLICY_ALLOW(close),
	/* Log lines. */
	POLICY_ALLOW(write),
	POLICY_ALLOW(exit_group),
	POLICY_ALLOW(rt_sigreturn),
	POLICY_ALLOW(restart_syscall),
#ifdef __SANITIZE_ADDRESS__
	/* Before the end of a process the run-time looks for its stack. */
	POLICY_ALLOW(sigaltstack),
#endif
};
const struct policy_table policy_dialler = TABLE(dialler);

/*
 * No table for console and rng. Terminal modes are the VMM's business, and
 * getrandom() is common to all.
 */
const struct policy_table policy_common = TABLE(common);

/* Each needs some 400 KiB to begin with, most of it to build its filter in. */
const struct policy_role policy_roles[] = {
	/* 64 requests with a bounce buffer of 64 KiB and a list of 256 buffers
	 * each, stacks of 5 threads: 6 MiB. */
	{ .name = "blk", .table = TABLE(blk), .data_bytes = 16 * MIB },
	/* A backlog of 256 KiB. */
	{ .name = "console", .data_bytes = 8 * MIB },
	/* A file takes a node, a handle and locks; tables grow by copying. */
	{ .name = "fs",
	  .table = TABLE(fs),
	  .caps = FS_CAPS,
	  .data_bytes = 16 * MIB,
	  .data_bytes_per_fd = 512 },
	/* 392 KiB of packets that are kept for a guest asleep. */
	{ .name = "net", .table = TABLE(net), .data_bytes = 8 * MIB },
	{ .name = "rng", .data_bytes = 8 * MIB },
	/* 128 connections with 128 KiB that the host does not take; a buffer
	 * grows by copying. */
	{ .name = "vsock", .table = TABLE(vsock), .data_bytes = 64 * MIB },
};
const unsigned int policy_nr_roles = ARRAY_SIZE(policy_roles);
