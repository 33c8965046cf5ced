/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VMM may ask of the kernel once the guest runs: what every thread
 * may, and beside that a table for the main thread and short ones for vCPU
 * threads and for the thread that opens files. seccomp is not a boundary
 * between threads of one address space; but who has taken over the one that a
 * guest's exits lead to has to get from there to the other first.
 *
 * A call outside the list fails with EPERM and is written to the kernel's
 * audit log: a library call nobody foresaw on a rare path becomes an error
 * that the caller handles, and does not take the guest with it. What no such
 * path can need, and what a captured VMM would reach for first, ends the
 * process (the last table).
 *
 * Which files openat() and unlink() may name is landlock.c's business: a filter
 * sees no path.
 */
#define _GNU_SOURCE
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <linux/vfio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "sandbox/policy.h"

/* All that opening an image again takes: no O_CREAT, O_TRUNC, O_PATH. */
#define OPEN_FLAGS (O_ACCMODE | O_CLOEXEC | O_DIRECT | O_LARGEFILE | O_NONBLOCK)

/* Where an exit leads, and the way out of a thread: main and vCPU threads. */
static const struct policy_rule every[] = {
	/* Eventfds, the log, the serial port. */
	POLICY_ALLOW(write),
	/* The message of a failed assertion. */
	POLICY_ALLOW(writev),
	/* The log on a socket, and where it cannot be opened again. */
	POLICY_ALLOW_MASK(sendto, 4, ~0ULL, 0),
	POLICY_ALLOW_EQ(pwritev2, 5, RWF_NOWAIT),
	/* The log's and a console's room. glibc makes it ppoll elsewhere. */
	POLICY_ALLOW(poll),
	POLICY_ALLOW(ppoll),
	/* Locks, waits; kicks of vCPU threads, to no one else. */
	POLICY_ALLOW(futex),
	POLICY_ALLOW_SELF(tgkill, 0),
	POLICY_ALLOW(getpid),
	POLICY_ALLOW(gettid),
	/* Deadlines, where the vDSO has no clock. */
	POLICY_ALLOW(clock_gettime),
	/* The loop's one timer, and the alarm that a guest sets. */
	POLICY_ALLOW(timerfd_settime),
	/* malloc, stacks of threads that end; never executable. */
	POLICY_ALLOW_MASK(mmap, 2, PROT_EXEC, 0),
	POLICY_ALLOW_MASK(mprotect, 2, PROT_EXEC, 0),
	POLICY_ALLOW(munmap),
	POLICY_ALLOW(mremap),
	POLICY_ALLOW(madvise),
	POLICY_ALLOW(brk),
	POLICY_ALLOW(getrandom),
	/* A kick's handler; abort(), pthread_kill(). */
	POLICY_ALLOW(rt_sigreturn),
	POLICY_ALLOW(rt_sigprocmask),
	POLICY_ALLOW(rt_sigaction),
	POLICY_ALLOW(restart_syscall),
	/* A crash gives the terminal back as it was. */
	POLICY_ALLOW_EQ(ioctl, 1, TCGETS),
	POLICY_ALLOW_EQ(ioctl, 1, TCSETS),
	POLICY_ALLOW(exit),
	POLICY_ALLOW(exit_group),
#ifdef __SANITIZE_ADDRESS__
	/* Its run-time, as a thread ends. */
	POLICY_ALLOW(sigaltstack),
#endif
	/* No process, and no further thread. */
	POLICY_DENY(clone3, ENOSYS),
	/* Interrupts: a line, a message, the I/O APIC's entries. */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_IRQ_LINE),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SIGNAL_MSI),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SET_GSI_ROUTING),
};

static const struct policy_rule vcpu[] = {
	POLICY_ALLOW_EQ(ioctl, 1, KVM_RUN),
	/* Does it sleep, and with nothing pending? */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_LAPIC),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_VCPU_EVENTS),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_MP_STATE),
	/* One that has gone offline waits in the kernel. */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SET_MP_STATE),
	/* Where the guest was when KVM gave up. */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_REGS),
};

static const struct policy_rule vmm[] = {
	/* A pause that the guest's clocks leave out, or are told of. */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_CHECK_EXTENSION),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_CLOCK),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SET_CLOCK),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_GET_DEVICE_ATTR),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SET_DEVICE_ATTR),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_KVMCLOCK_CTRL),
	/* Serial input: a byte, or the end? */
	POLICY_ALLOW_EQ(ioctl, 1, FIONREAD),
	/* At the end: a pty's reader gets what it has not read yet. */
	POLICY_ALLOW(clock_nanosleep),
	/* The event loop; aarch64 has epoll_pwait only. */
	POLICY_ALLOW(epoll_wait),
	POLICY_ALLOW(epoll_pwait),
	POLICY_ALLOW(epoll_ctl),
	/* Timers, signals, serial input. */
	POLICY_ALLOW(read),
	/* Eventfds, without waiting: see fd_event_read(). */
	POLICY_ALLOW_EQ(preadv2, 5, RWF_NOWAIT),
	/* Control clients come and go; devices talk vhost-user. No bind, no
	 * listen and mostly (see below) no connect: no new address. */
	POLICY_ALLOW(accept4),
	POLICY_ALLOW(recvmsg),
	POLICY_ALLOW(sendmsg),
	POLICY_ALLOW_MASK(recvfrom, 4, ~0ULL, 0),
	POLICY_ALLOW(close),
	/* A device process in place of a dead one: its channels. */
	POLICY_ALLOW_EQ(socketpair, 0, AF_UNIX),
	/* A foreign back end's doorbell, again where it spoils the old one. */
	POLICY_ALLOW(eventfd2),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_IOEVENTFD),
	/* The control socket and the link to a pty go with the VM, if they are
	 * still ours. */
	POLICY_ALLOW(fstat),
	POLICY_ALLOW(newfstatat),
	POLICY_ALLOW(unlink),
	POLICY_ALLOW_EQ(unlinkat, 2, 0),
	/* A hung device is ended, the spawner is waited for and reaped. */
	POLICY_ALLOW_EQ(pidfd_send_signal, 1, SIGKILL),
	POLICY_ALLOW_EQ(waitid, 0, P_PIDFD),
};

/* The thread that waits for file systems, and devices: vmm/machine/worker.h. */
static const struct policy_rule files[] = {
	/* A disk image again, locked, and the token of one that is read only.
	 */
	POLICY_ALLOW_MASK(openat, 2, 0xffffffffULL & ~(uint64_t)OPEN_FLAGS, 0),
	POLICY_ALLOW(flock),
	POLICY_ALLOW_EQ(fcntl, 1, F_OFD_SETLK),
	POLICY_ALLOW_EQ(fcntl, 1, F_OFD_GETLK),
	POLICY_ALLOW(close),
};

/* One that copies a console: vmm/vm/char_fd.c. Not one of `every` as well. */
static const struct policy_rule relay[] = {
	POLICY_ALLOW(read),
	POLICY_ALLOW(write),
	POLICY_ALLOW(poll),
	POLICY_ALLOW(ppoll),
	POLICY_ALLOW(close),
	/* The end of the thread. */
	POLICY_ALLOW(futex),
	POLICY_ALLOW(madvise),
	POLICY_ALLOW(rt_sigprocmask),
	POLICY_ALLOW(restart_syscall),
	POLICY_ALLOW(munmap),
	POLICY_ALLOW(exit),
#ifdef __SANITIZE_ADDRESS__
	POLICY_ALLOW(sigaltstack),
	POLICY_ALLOW_MASK(mmap, 2, PROT_EXEC, 0),
#endif
};

/* Another program, another process's memory, the host. */
static const struct policy_rule never[] = {
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

/* PCI devices of the host: what a guest's exits lead to. */
static const struct policy_rule vfio[] = {
	/* Registers, and pages of BARs that are not mapped. */
	POLICY_ALLOW(pread64),
	POLICY_ALLOW(pwrite64),
	/* BARs are there while the guest has them decoded. */
	POLICY_ALLOW_EQ(ioctl, 1, KVM_SET_USER_MEMORY_REGION),
	/* MSI-X goes on and off, vectors are masked. */
	POLICY_ALLOW_EQ(ioctl, 1, VFIO_DEVICE_SET_IRQS),
	POLICY_ALLOW_EQ(ioctl, 1, KVM_IRQFD),
	/* The guest cuts a device's power and gives it back. */
	POLICY_ALLOW_EQ(ioctl, 1, VFIO_DEVICE_FEATURE),
};

/* ... and what leads to a wake-up that the guest does not take. */
static const struct policy_rule files_vfio[] = {
	POLICY_ALLOW_EQ(ioctl, 1, VFIO_DEVICE_FEATURE),
};

const struct policy_table policy_vcpu_vfio = { vfio, ARRAY_SIZE(vfio) };
const struct policy_table policy_files_vfio = { files_vfio,
						ARRAY_SIZE(files_vfio) };

const struct policy_table policy_vmm_every = { every, ARRAY_SIZE(every) };
const struct policy_table policy_vmm = { vmm, ARRAY_SIZE(vmm) };
const struct policy_table policy_vcpu = { vcpu, ARRAY_SIZE(vcpu) };
const struct policy_table policy_vmm_files = { files, ARRAY_SIZE(files) };
const struct policy_table policy_vmm_relay = { relay, ARRAY_SIZE(relay) };
const struct policy_table policy_vmm_never = { never, ARRAY_SIZE(never) };
