/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "tests/sandbox/attempts.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox/device_fds.h"
#include "vmm/base/util.h"

#define P(pointer) ((long)(pointer))

/* Another process of the host, as far as it can be seen. */
#define OTHER_PID 1
#define ALSO_MAPS (PROT_READ | PROT_WRITE | PROT_EXEC)
#define PRIVATE	  (MAP_PRIVATE | MAP_ANONYMOUS)
#define BUS	  "/run/dbus/system_bus_socket"
#define X32	  0x40000000L

static const struct sockaddr_un bus = { AF_UNIX, BUS };
static const char *const no_argv[] = { "sh", NULL };
static struct io_uring_params ring;
static struct rlimit no_limit = { RLIM_INFINITY, RLIM_INFINITY };
static char page[4096] __attribute__((aligned(4096)));
static struct iovec own = { page, sizeof(page) };
static uint64_t open_how[3];
static uint32_t cap_header[2] = { 0x20080522, 0 };
static uint32_t all_caps[6] = { ~0U, ~0U, ~0U, ~0U, ~0U, ~0U };

#define CALL(what, call, ...)            \
	{                                \
		what, #call, SYS_##call, \
		{                        \
			__VA_ARGS__      \
		}                        \
	}

const struct attempt attempts[] = {
	/* Files of the host. */
	CALL("open-file", openat, AT_FDCWD, P("/etc/passwd"), O_RDONLY),
	CALL("open-file-2", openat2, AT_FDCWD, P("/etc/passwd"), P(open_how),
	     sizeof(open_how)),
	CALL("open-own-memory", openat, AT_FDCWD, P("/proc/self/mem"), O_RDWR),
	CALL("open-by-handle", open_by_handle_at, DEVFD_VHOST, P(page), O_RDWR),
	CALL("make-directory", mkdirat, AT_FDCWD, P("/tmp/torpor-attempt"),
	     0700),
	CALL("make-device", mknodat, AT_FDCWD, P("/tmp/torpor-attempt"), 020666,
	     0x103),
	CALL("remove-file", unlinkat, AT_FDCWD, P("/proc/self/status"), 0),
	CALL("go-up", chdir, P("..")),
	CALL("memfd", memfd_create, P("attempt"), 0),
	CALL("dup", dup, DEVFD_VHOST),
	/* Mounts and roots. */
	CALL("mount-proc", mount, P("proc"), P("/"), P("proc"), 0, 0),
	CALL("umount", umount2, P("/"), MNT_DETACH),
	CALL("open-tree", open_tree, AT_FDCWD, P("/"), 1),
	CALL("new-root", pivot_root, P("/"), P("/")),
	CALL("old-root", chroot, P("/")),
	/* Other processes, and more of its own. */
	CALL("fork", clone, SIGCHLD),
	CALL("exec", execve, P("/bin/sh"), P(no_argv), 0),
	CALL("exec-fd", execveat, DEVFD_VHOST, P(""), P(no_argv), 0,
	     AT_EMPTY_PATH),
	CALL("kill-all", kill, -1, SIGKILL),
	CALL("kill-thread-of-other", tgkill, OTHER_PID + 1, OTHER_PID + 1,
	     SIGKILL),
	CALL("trace", ptrace, PTRACE_ATTACH, OTHER_PID),
	CALL("read-memory-of-other", process_vm_readv, OTHER_PID, P(&own), 1,
	     P(&own), 1),
	CALL("write-memory-of-other", process_vm_writev, OTHER_PID, P(&own), 1,
	     P(&own), 1),
	CALL("pidfd", pidfd_open, OTHER_PID, 0),
	CALL("steal-fd", pidfd_getfd, DEVFD_VHOST, 0, 0),
	CALL("join-namespace", setns, DEVFD_VHOST, 0),
	CALL("new-user-namespace", unshare, CLONE_NEWUSER),
	/* Rights. */
	CALL("be-root", setuid, 0),
	CALL("all-capabilities", capset, P(cap_header), P(all_caps)),
	CALL("be-dumpable", prctl, PR_SET_DUMPABLE, 1),
	CALL("outlive-parent", prctl, PR_SET_PDEATHSIG, 0),
	CALL("no-limit", prlimit64, 0, RLIMIT_DATA, P(&no_limit), 0),
	CALL("other-filter", seccomp, SECCOMP_SET_MODE_FILTER, 0, 0),
	/* Sockets. */
	CALL("internet", socket, AF_INET, SOCK_STREAM, 0),
	CALL("unix-socket", socket, AF_UNIX, SOCK_STREAM, 0),
	CALL("vsock", socket, AF_VSOCK, SOCK_STREAM, 0),
	CALL("netlink", socket, AF_NETLINK, SOCK_RAW, 0),
	CALL("connect-bus", connect, DEVFD_VHOST, P(&bus), sizeof(bus)),
	CALL("bind", bind, DEVFD_VHOST, P(&bus), sizeof(bus)),
	CALL("send-to", sendto, DEVFD_VHOST, P(page), 1, 0, P(&bus),
	     sizeof(bus)),
	CALL("second-ring", io_uring_setup, 8, P(&ring)),
	CALL("widen-ring", io_uring_register, DEVFD_BACKEND,
	     IORING_REGISTER_FILES, P(page), 1),
	/* Code. */
	CALL("map-code", mmap, 0, sizeof(page), ALSO_MAPS, PRIVATE, -1, 0),
	CALL("make-code", mprotect, P(page), sizeof(page),
	     PROT_READ | PROT_EXEC),
	CALL("make-code-by-key", pkey_mprotect, P(page), sizeof(page),
	     PROT_READ | PROT_EXEC, -1),
	/* Descriptors it shares with others, and the terminal. */
	CALL("make-blocking", fcntl, DEVFD_WAKE, F_SETFL, 0),
	CALL("type-into-terminal", ioctl, DEVFD_LOG, TIOCSTI, P("x")),
	CALL("own-tap", ioctl, DEVFD_NULL_IN, 0x400454ca /* TUNSETIFF */,
	     P(page)),
	/* The kernel's wide doors. */
	CALL("bpf", bpf, 0, P(page), sizeof(page)),
	CALL("perf", perf_event_open, P(page), 0, -1, -1, 0),
	CALL("fault-handler", userfaultfd, 0),
	CALL("keyring", keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING,
	     1),
	CALL("kernel-log", syslog, 3, P(page), sizeof(page)),
	CALL("module", finit_module, DEVFD_VHOST, P(""), 0),
#ifdef __x86_64__
	{ "x32-abi", "getpid", X32 | SYS_getpid, { 0 } },
	CALL("segment", modify_ldt, 0, P(page), sizeof(page)),
	CALL("ports", iopl, 3),
#endif
};
const size_t nr_attempts = ARRAY_SIZE(attempts);

long attempt_make(const struct attempt *a)
{
	return syscall(a->nr, a->args[0], a->args[1], a->args[2], a->args[3],
		       a->args[4], a->args[5]);
}

const struct attempt *attempt_find(const char *name)
{
	for (size_t i = 0; i < nr_attempts; i++) {
		if (strcmp(attempts[i].name, name) == 0)
			return &attempts[i];
	}
	return NULL;
}
