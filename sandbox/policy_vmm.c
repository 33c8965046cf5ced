/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VMM's main thread and vCPU threads may ask of the kernel once the
 * guest runs. One list for all threads: seccomp is no boundary between threads
 * of one address space.
 *
 * A call outside the list fails with EPERM and is written to the kernel's
 * audit log: a library call nobody foresaw on a rare path becomes an error
 * that the caller handles, and does not take the guest with it. What no such
 * path can need, and what a captured VMM would reach for first, ends the
 * process (the last block).
 */
#define _GNU_SOURCE
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "sandbox/policy.h"

#define CLONE_THREAD_FLAGS                                                  \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |               \
	 CLONE_CHILD_CLEARTID)

/* Type byte of an ioctl number. */
#define IOC_TYPE_MASK 0xff00ULL
#define IOC_TYPE(t)   ((uint64_t)(t) << 8)

static const struct policy_rule vmm[] = {
	/* KVM_RUN and everything else of KVM. */
	POLICY_ALLOW_MASK(ioctl, 1, IOC_TYPE_MASK, IOC_TYPE(KVMIO)),
	/* The terminal is given back as it was. */
	POLICY_ALLOW_EQ(ioctl, 1, TCGETS),
	POLICY_ALLOW_EQ(ioctl, 1, TCSETS),
	POLICY_ALLOW_EQ(ioctl, 1, TCSETSW),
	POLICY_ALLOW_EQ(ioctl, 1, TCSETSF),
	POLICY_ALLOW_EQ(ioctl, 1, TCFLSH),
	POLICY_ALLOW_EQ(ioctl, 1, TIOCGWINSZ),
	/* Bytes that wait; a size of an image that is opened anew. */
	POLICY_ALLOW_EQ(ioctl, 1, FIONREAD),
	POLICY_ALLOW_EQ(ioctl, 1, FIONBIO),
	POLICY_ALLOW_EQ(ioctl, 1, BLKGETSIZE64),
	POLICY_ALLOW_EQ(ioctl, 1, BLKSSZGET),
	/* The event loop. */
	POLICY_ALLOW(epoll_wait),
	POLICY_ALLOW(epoll_pwait),
	POLICY_ALLOW(epoll_ctl),
	POLICY_ALLOW(epoll_create1),
	POLICY_ALLOW(poll),
	POLICY_ALLOW(ppoll),
	POLICY_ALLOW(eventfd2),
	/* Timers, RTC alarm, guest clocks. */
	POLICY_ALLOW(timerfd_create),
	POLICY_ALLOW(timerfd_settime),
	POLICY_ALLOW(timerfd_gettime),
	POLICY_ALLOW(clock_gettime),
	POLICY_ALLOW(clock_getres),
	POLICY_ALLOW(gettimeofday),
	POLICY_ALLOW(time),
	POLICY_ALLOW(clock_nanosleep),
	POLICY_ALLOW(nanosleep),
	/* Eventfds, without waiting. */
	POLICY_ALLOW(preadv2),
	/* Serial, control socket, log. */
	POLICY_ALLOW(read),
	POLICY_ALLOW(write),
	POLICY_ALLOW(readv),
	POLICY_ALLOW(writev),
	POLICY_ALLOW(pread64),
	POLICY_ALLOW(pwrite64),
	POLICY_ALLOW(lseek),
	POLICY_ALLOW(fsync),
	POLICY_ALLOW(fdatasync),
	/* Control clients come and go; devices talk vhost-user. No bind, no
	 * listen and mostly (see below) no connect: no new address. UNIX
	 * sockets for channels. */
	POLICY_ALLOW(accept4),
	POLICY_ALLOW(recvmsg),
	POLICY_ALLOW(sendmsg),
	POLICY_ALLOW_MASK(recvfrom, 4, ~0ULL, 0),
	POLICY_ALLOW_MASK(sendto, 4, ~0ULL, 0),
	POLICY_ALLOW(socketpair),
	POLICY_ALLOW(shutdown),
	POLICY_ALLOW(getsockopt),
	POLICY_ALLOW(setsockopt),
	POLICY_ALLOW(getsockname),
	POLICY_ALLOW(getpeername),
	/* A killed device's image is opened anew, for the next incarnation;
	 * no file is created or cut. */
	POLICY_ALLOW_MASK(openat, 2,
			  O_CREAT | O_TRUNC | (O_TMPFILE ^ O_DIRECTORY), 0),
	POLICY_ALLOW(flock),
	POLICY_ALLOW(fstat),
	POLICY_ALLOW(newfstatat),
	POLICY_ALLOW(statx),
	POLICY_ALLOW(fstatfs),
	POLICY_ALLOW(readlink),
	POLICY_ALLOW(readlinkat),
	POLICY_ALLOW(getdents64),
	POLICY_ALLOW(fcntl),
	POLICY_ALLOW(dup),
	POLICY_ALLOW(dup3),
	POLICY_ALLOW(close),
	POLICY_ALLOW(close_range),
	POLICY_ALLOW(memfd_create),
	POLICY_ALLOW(ftruncate),
	/* The control socket and the link to a pty go with the VM. */
	POLICY_ALLOW(unlink),
	POLICY_ALLOW(unlinkat),
	/* malloc, thread stacks, register pages; never executable. */
	POLICY_ALLOW_MASK(mmap, 2, PROT_EXEC, 0),
	POLICY_ALLOW_MASK(mprotect, 2, PROT_EXEC, 0),
	POLICY_ALLOW(munmap),
	POLICY_ALLOW(mremap),
	POLICY_ALLOW(madvise),
	POLICY_ALLOW(brk),
	/* Threads: vCPUs that start late, helpers; no process. */
	POLICY_ALLOW_MASK(clone, 0, ~0ULL, CLONE_THREAD_FLAGS),
	POLICY_DENY(clone3, ENOSYS),
	POLICY_ALLOW(futex),
	POLICY_ALLOW(set_robust_list),
	POLICY_ALLOW(rseq),
	POLICY_ALLOW(gettid),
	POLICY_ALLOW(getpid),
	POLICY_ALLOW(sched_getaffinity),
	POLICY_ALLOW(sched_setaffinity),
	POLICY_ALLOW(sched_yield),
	POLICY_ALLOW(membarrier),
	POLICY_ALLOW_EQ(prctl, 0, PR_SET_NAME),
	POLICY_ALLOW_EQ(prctl, 0, PR_SET_TIMERSLACK),
	POLICY_ALLOW_EQ(prctl, 0, PR_SET_DUMPABLE),
	/* Kicks of vCPU threads, to no one else; signals that end us. */
	POLICY_ALLOW_SELF(tgkill, 0),
	POLICY_ALLOW(rt_sigaction),
	POLICY_ALLOW(rt_sigprocmask),
	POLICY_ALLOW(rt_sigtimedwait),
	POLICY_ALLOW(rt_sigreturn),
	POLICY_ALLOW(signalfd4),
	POLICY_ALLOW(sigaltstack),
	POLICY_ALLOW(restart_syscall),
	/* A hung device is ended, the spawner is waited for. */
	POLICY_ALLOW(pidfd_send_signal),
	POLICY_ALLOW(waitid),
	POLICY_ALLOW(wait4),
	/* Figures in `state`. */
	POLICY_ALLOW(getrusage),
	POLICY_ALLOW(sysinfo),
	POLICY_ALLOW(uname),
	POLICY_ALLOW(getuid),
	POLICY_ALLOW(geteuid),
	POLICY_ALLOW(getrandom),
	POLICY_ALLOW(exit),
	POLICY_ALLOW(exit_group),

	/* Never: another program, another process's memory, the host. */
	POLICY_NEVER(execve),
	POLICY_NEVER(execveat),
	POLICY_NEVER(fork),
	POLICY_NEVER(vfork),
	POLICY_NEVER(ptrace),
	POLICY_NEVER(process_vm_readv),
	POLICY_NEVER(process_vm_writev),
	POLICY_NEVER(pidfd_getfd),
	POLICY_NEVER(mount),
	POLICY_NEVER(umount2),
	POLICY_NEVER(move_mount),
	POLICY_NEVER(open_tree),
	POLICY_NEVER(fsopen),
	POLICY_NEVER(fsmount),
	POLICY_NEVER(pivot_root),
	POLICY_NEVER(chroot),
	POLICY_NEVER(setns),
	POLICY_NEVER(unshare),
	POLICY_NEVER(bpf),
	POLICY_NEVER(perf_event_open),
	POLICY_NEVER(userfaultfd),
	POLICY_NEVER(init_module),
	POLICY_NEVER(finit_module),
	POLICY_NEVER(delete_module),
	POLICY_NEVER(kexec_load),
	POLICY_NEVER(kexec_file_load),
	POLICY_NEVER(reboot),
	POLICY_NEVER(swapon),
	POLICY_NEVER(swapoff),
	POLICY_NEVER(open_by_handle_at),
	POLICY_NEVER(keyctl),
	POLICY_NEVER(add_key),
	POLICY_NEVER(request_key),
};

/*
 * The guest's connections to the host's sockets, for a device that cannot
 * connect itself. A filter sees no path: PATH_<port> is what the code makes.
 */
static const struct policy_rule connects[] = {
	POLICY_ALLOW_EQ(socket, 0, AF_UNIX),
	POLICY_ALLOW(connect),
};

const struct policy_table policy_vmm_connects = { connects,
						  ARRAY_SIZE(connects) };

const struct policy_table policy_vmm = { vmm, ARRAY_SIZE(vmm) };
