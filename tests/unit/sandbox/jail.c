/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jail_device() and jail_vmm() in a process of their own; what a filter does
 * to a spawned device is in spawner.c.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/jail.h"
#include "virtio/blk/ring.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* Runs @fn in a child. Return: its wait status. */
static int in_child(int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	return status;
}

/* Return: the exit status of @fn in a child, 0x100 + signal if killed. */
static int run(int (*fn)(void))
{
	int status = in_child(fn);

	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : 0x100 + WTERMSIG(status);
}

/* Return: 0 if @r failed with @error, else @line: an exit status. */
#define EXPECT_ERRNO(r, error)                          \
	do {                                            \
		errno = 0;                              \
		if ((long)(r) >= 0 || errno != (error)) \
			return __LINE__ & 0xff;         \
	} while (0)
#define EXPECT(cond)                            \
	do {                                    \
		if (!(cond))                    \
			return __LINE__ & 0xff; \
	} while (0)

#define ORDINARY_ID 60123

static int become_ordinary(void)
{
	return syscall(SYS_setresgid, ORDINARY_ID, ORDINARY_ID, ORDINARY_ID) ||
	       syscall(SYS_setresuid, ORDINARY_ID, ORDINARY_ID, ORDINARY_ID);
}

static int device_without_listener(void)
{
	jail_device("blk", -1, true);
	EXPECT_ERRNO(open("/", O_RDONLY), EPERM);
	EXPECT_ERRNO(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
	EXPECT_ERRNO(kill(getpid(), 0), EPERM);
	EXPECT_ERRNO(syscall(SYS_clone3, NULL, 0), ENOSYS);
	EXPECT(write(STDERR_FILENO, "", 0) == 0);
	EXPECT(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED);
	EXPECT(mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED);
	return 0;
}

Test(jail, device_without_a_listener_is_denied_and_lives, .timeout = 120)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's run-time makes calls of its own");
#endif
	cr_assert(zero(int, run(device_without_listener)));
}

/* Return: what the ring answers to @sqe. */
static int ring_answer(struct io_uring *ring, const struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe;
	int r;

	*io_uring_get_sqe(ring) = *sqe;
	r = io_uring_submit_and_wait(ring, 1);
	if (r < 0)
		return r;
	r = io_uring_peek_cqe(ring, &cqe);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

/* A filter cannot see into a ring: there is the one, and it is a disk's. */
static int ring_without_listener(void)
{
	struct io_uring_params params = { 0 };
	struct io_uring_sqe sqe;
	struct io_uring ring;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	int fd = open("/dev/zero", O_RDONLY);

	if (blk_ring_open(&ring, 4) < 0)
		return 0;
	jail_device("blk", -1, true);
	EXPECT_ERRNO(syscall(SYS_io_uring_setup, 4, &params), EPERM);
	EXPECT_ERRNO(syscall(SYS_io_uring_register, ring.ring_fd,
			     IORING_REGISTER_FILES, &fd, 1),
		     EPERM);
	io_uring_prep_openat(&sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	EXPECT(ring_answer(&ring, &sqe) == -EACCES);
	/* IORING_OP_SOCKET, Linux 5.19 */
	io_uring_prep_rw(45, &sqe, AF_UNIX, NULL, 0, SOCK_STREAM);
	EXPECT(ring_answer(&ring, &sqe) == -EACCES);
	io_uring_prep_readv(&sqe, fd, &iov, 1, 0);
	EXPECT(ring_answer(&ring, &sqe) == 1);
	return 0;
}

static int ring_without_listener_or_root(void)
{
	return become_ordinary() ? 1 : ring_without_listener();
}

Test(jail, disk_without_a_listener_has_one_ring_of_a_disk, .timeout = 120)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's run-time makes calls of its own");
#endif
	cr_assert(zero(int, run(ring_without_listener)));
	if (geteuid() == 0)
		cr_assert(zero(int, run(ring_without_listener_or_root)));
}

/* What may not grow is an error of the write, not the end of the process. */
static int files_limited(void)
{
	char path[] = "/tmp/torpor-jail-XXXXXX";
	int fd = mkstemp(path);

	EXPECT(fd >= 0 && unlink(path) == 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	jail_limit_file_size(4096);
	jail_device("blk", -1, true);
	EXPECT(pwrite(fd, "x", 1, 4095) == -1 && errno == EPERM);
	EXPECT(write(fd, path, 4) == 4);
	EXPECT(pwritev(fd, &(struct iovec){ path, 4 }, 1, 4092) == 4);
	EXPECT_ERRNO(pwritev(fd, &(struct iovec){ path, 4 }, 1, 4096), EFBIG);
	EXPECT_ERRNO(fallocate(fd, 0, 4096, 4096), EFBIG);
	EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 4096) == 0);
	return 0;
}

static int files_limited_without_root(void)
{
	return become_ordinary() ? 1 : files_limited();
}

Test(jail, file_of_a_disk_does_not_grow, .timeout = 120)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's run-time makes calls of its own");
#endif
	cr_assert(zero(int, run(files_limited)));
	if (geteuid() == 0)
		cr_assert(zero(int, run(files_limited_without_root)));
}

static int limits_never_rise(void)
{
	struct rlimit l = { 100, 200 };

	EXPECT(setrlimit(RLIMIT_FSIZE, &l) == 0);
	jail_limit_file_size(4096);
	EXPECT(getrlimit(RLIMIT_FSIZE, &l) == 0);
	EXPECT(l.rlim_cur == 100 && l.rlim_max == 200);
	jail_limit_file_size(150);
	EXPECT(getrlimit(RLIMIT_FSIZE, &l) == 0);
	EXPECT(l.rlim_cur == 100 && l.rlim_max == 150);
	return 0;
}

Test(jail, limits_are_never_raised, .timeout = 120)
{
	cr_assert(zero(int, run(limits_never_rise)));
}

static int dialler(void)
{
	const struct sockaddr_un sa = { .sun_family = AF_UNIX,
					.sun_path = "/nonexistent/s_1" };
	int fd;

	jail_dialler();
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT(fd >= 0);
	EXPECT_ERRNO(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)),
		     ENOENT);
	EXPECT_ERRNO(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	EXPECT_ERRNO(open("/", O_RDONLY), EPERM);
	EXPECT_ERRNO(listen(fd, 1), EPERM);
	EXPECT_ERRNO(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
	EXPECT_ERRNO(read(fd, NULL, 0), EPERM);
	return 0;
}

Test(jail, dialler_connects_and_nothing_else, .timeout = 120)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's run-time makes calls of its own");
#endif
	cr_assert(zero(int, run(dialler)));
}

/* The rest is seen where seccomp does not hide it. */
static int device_unprivileged(void)
{
	uint64_t caps[3] = { 1, 1, 1 };
	uint32_t hdr[2] = { 0x20080522, 0 };

	EXPECT(caps_drop_all() == 0);
	EXPECT(syscall(SYS_capget, hdr, caps) == 0);
	EXPECT(caps[0] == 0 && caps[1] == 0 && caps[2] == 0);
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		EXPECT(geteuid() != 0 || prctl(PR_CAPBSET_READ, cap) == 0);
	/* Idempotent, also without the right to do it. */
	EXPECT(caps_drop_all() == 0);
	return 0;
}

Test(jail, all_capabilities_are_dropped, .timeout = 120)
{
	cr_assert(zero(int, run(device_unprivileged)));
}

static int keeps_some(void)
{
	uint32_t data[6] = { 0 };
	uint32_t hdr[2] = { 0x20080522, 0 };

	EXPECT(caps_keep(1ULL << 5 | 1ULL << 40) == 0);
	EXPECT(syscall(SYS_capget, hdr, data) == 0);
	EXPECT(geteuid() != 0 || data[0] == 1U << 5);
	EXPECT(data[1] == data[0] && data[2] == 0);
	return 0;
}

Test(jail, only_wanted_capabilities_are_kept, .timeout = 120)
{
	cr_assert(zero(int, run(keeps_some)));
}

static int unknown_role(void)
{
	jail_device("nonsense", -1, true);
	return 0;
}

Test(jail, unknown_role_does_not_run, .timeout = 120)
{
	cr_assert(eq(int, run(unknown_role), 1));
}

static int dead_spawner(void)
{
	int pair[2];

	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ==
	       0);
	(void)close(pair[0]);
	jail_device("rng", pair[1], true);
	return 0;
}

Test(jail, device_whose_spawner_is_gone_does_not_run, .timeout = 120)
{
	cr_assert(eq(int, run(dead_spawner), 1));
}

static int sandbox_off(void)
{
	int pair[2];

	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ==
	       0);
	jail_device("blk", pair[1], false);
	EXPECT_ERRNO(fcntl(pair[1], F_GETFD), EBADF);
	EXPECT(prctl(PR_GET_SECCOMP) == 0);
	EXPECT(open("/", O_RDONLY) >= 0);
	return 0;
}

Test(jail, off_closes_the_socket_and_nothing_else, .timeout = 120)
{
	cr_assert(zero(int, run(sandbox_off)));
}

/* ---------------------------------------------- without an empty root */

static int files_below(void)
{
	char dir[] = "/tmp/torpor-jail-XXXXXX";
	char self[64];
	int fd, root;

	EXPECT(mkdtemp(dir));
	root = open(dir, O_PATH | O_CLOEXEC);
	EXPECT(root >= 0);
	jail_limit_files(root);
	EXPECT_ERRNO(open("/etc/passwd", O_RDONLY), EACCES);
	EXPECT_ERRNO(mkdir("/tmp/torpor-jail-outside", 0700), EACCES);
	EXPECT_ERRNO(unlink("/proc/self/status"), EACCES);
	EXPECT(mkdirat(root, "a", 0700) == 0);
	EXPECT(mkdirat(root, "b", 0700) == 0);
	EXPECT(close(openat(root, "a/file", O_CREAT | O_RDWR, 0600)) == 0);
	fd = openat(root, "a/file", O_PATH | O_CLOEXEC);
	EXPECT(fd >= 0);
	EXPECT(linkat(root, "a/file", root, "b/link", 0) == 0);
	EXPECT(renameat(root, "a/file", root, "b/file") == 0);
	EXPECT(unlinkat(root, "b/link", 0) == 0);
	/* As the file server opens what it has by O_PATH; also when removed. */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	EXPECT(open(self, O_RDWR | O_TRUNC | O_CLOEXEC) >= 0);
	EXPECT(unlinkat(root, "b/file", 0) == 0);
	EXPECT(open(self, O_RDWR | O_CLOEXEC) >= 0);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", root);
	EXPECT(open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0);
	return 0;
}

static int no_files(void)
{
	jail_limit_files(-1);
	EXPECT_ERRNO(open("/etc/passwd", O_RDONLY), EACCES);
	EXPECT_ERRNO(open("/dev/null", O_RDWR), EACCES);
	EXPECT_ERRNO(open("/tmp", O_RDONLY), EACCES);
	return 0;
}

/* ------------------------------------------------------------------- VMM */

static int attempt_rights(void)
{
	char dir[] = "/tmp/torpor-jail-XXXXXX",
	     other[] = "/tmp/torpor-jail-XXXXXX";
	struct landlock_path paths[3];
	char image[64], name[96], self[64];
	int image_fd, other_fd;

	EXPECT(mkdtemp(dir) && mkdtemp(other));
	(void)snprintf(image, sizeof(image), "%s/image", other);
	(void)snprintf(name, sizeof(name), "%s/file", dir);
	EXPECT(close(open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) == 0);
	EXPECT(close(open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) == 0);
	image_fd = open(image, O_PATH | O_CLOEXEC);
	other_fd = open(name, O_PATH | O_CLOEXEC);
	paths[0] =
		(struct landlock_path){ image_fd, LANDLOCK_MAY_READ |
							  LANDLOCK_MAY_WRITE };
	paths[1] = (struct landlock_path){ open(dir, O_PATH | O_CLOEXEC),
					   LANDLOCK_MAY_REMOVE };
	/* What is not a file of a file system is not limited. */
	paths[2] = (struct landlock_path){ memfd_create("x", MFD_CLOEXEC),
					   LANDLOCK_MAY_READ };
	EXPECT(jail_vmm_rights(paths, 3, 0) == 0);
	EXPECT(prctl(PR_GET_DUMPABLE) == 0);
	EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	/* Through its memory it would have the code that mmap() denies it. */
	EXPECT_ERRNO(open("/proc/self/mem", O_RDWR), EACCES);
	EXPECT_ERRNO(open("/etc/passwd", O_RDONLY), EACCES);
	EXPECT_ERRNO(open(dir, O_RDONLY), EACCES);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", image_fd);
	EXPECT(open(self, O_RDWR | O_CLOEXEC) >= 0);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", other_fd);
	EXPECT_ERRNO(open(self, O_RDONLY), EACCES);
	EXPECT(jail_vmm(false) == 0);
	EXPECT_ERRNO(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM);
	EXPECT_ERRNO(open(dir, O_PATH), EPERM);
	EXPECT_ERRNO(unlink(image), EACCES);
	EXPECT(unlink(name) == 0);
	return 0;
}

static int run_and_remove(int (*fn)(void))
{
	int r = run(fn);

	/* What a narrowed process could not. */
	(void)!system("rm -rf /tmp/torpor-jail-??????");
	return r;
}

Test(jail, a_file_server_has_its_directory_and_no_other_file, .timeout = 120)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 2)
		cr_skip_test("the kernel has no Landlock of Linux 5.19");
	cr_assert(zero(int, run_and_remove(files_below)));
}

Test(jail, other_devices_have_no_file, .timeout = 120)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 0)
		cr_skip_test("the kernel has no Landlock");
	cr_assert(zero(int, run(no_files)));
}

Test(jail, vmm_opens_and_removes_what_it_must, .timeout = 120)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 0)
		cr_skip_test("the kernel has no Landlock");
	cr_assert(zero(int, run_and_remove(attempt_rights)));
}

static int no_capability(void)
{
	uint32_t hdr[2] = { 0x20080522, 0 }, data[6] = { 1, 1, 1, 1, 1, 1 };

	EXPECT(jail_vmm_rights(NULL, 0, 0) == 0);
	EXPECT(syscall(SYS_capget, hdr, data) == 0);
	EXPECT(!data[0] && !data[1] && !data[2] && !data[3]);
	return 0;
}

Test(jail, vmm_keeps_no_capability, .timeout = 120)
{
	cr_assert(zero(int, run(no_capability)));
}

/* What each kind of thread may, by errno of calls that fail anyway. */
struct thread_try {
	struct jail_program prog;
	int run, clock, read, recv, open, socket, write, timer;
	int pread, pwrite, set_irqs, memory, irqfd, map_dma;
};

static int errno_of(long r)
{
	return r < 0 ? errno : 0;
}

static void *vcpu_main(void *arg)
{
	const struct itimerspec never = { 0 };
	struct thread_try *t = arg;
	struct msghdr msg = { 0 };
	uint64_t data = 0;

	if (jail_thread(&t->prog) < 0)
		return NULL;
	t->run = errno_of(ioctl(-1, KVM_RUN, 0));
	t->clock = errno_of(ioctl(-1, KVM_SET_CLOCK, &data));
	t->read = errno_of(read(-1, &data, sizeof(data)));
	t->recv = errno_of(recvmsg(-1, &msg, 0));
	t->open = errno_of(open("/", O_RDONLY));
	t->socket = errno_of(socket(AF_INET, SOCK_STREAM, 0));
	t->write = errno_of(write(-1, &data, sizeof(data)));
	t->timer = errno_of(timerfd_settime(-1, 0, &never, NULL));
	t->pread = errno_of(pread(-1, &data, sizeof(data), 0));
	t->pwrite = errno_of(pwrite(-1, &data, sizeof(data), 0));
	t->set_irqs = errno_of(ioctl(-1, VFIO_DEVICE_SET_IRQS, 0));
	t->memory = errno_of(ioctl(-1, KVM_SET_USER_MEMORY_REGION, 0));
	t->irqfd = errno_of(ioctl(-1, KVM_IRQFD, 0));
	t->map_dma = errno_of(ioctl(-1, VFIO_IOMMU_MAP_DMA, 0));
	return arg;
}

static int vmm_threads_of(bool vfio)
{
	struct thread_try t = { .run = -1 };
	const int pci = vfio ? EBADF : EPERM;
	pthread_t thread;
	void *end = NULL;
	uint64_t data = 0;

	EXPECT(jail_vmm_rights(NULL, 0, 0) == 0);
	EXPECT(jail_vcpu_prepare(&t.prog, vfio) == 0);
	EXPECT(pthread_create(&thread, NULL, vcpu_main, &t) == 0);
	EXPECT(jail_vmm(false) == 0);
	EXPECT(pthread_join(thread, &end) == 0);
	EXPECT(end == &t);
	jail_program_free(&t.prog);
	EXPECT(t.run == EBADF && t.write == EBADF && t.timer == EBADF);
	EXPECT(t.clock == EPERM && t.read == EPERM && t.recv == EPERM);
	EXPECT(t.open == EPERM && t.socket == EPERM);
	EXPECT(t.pread == pci && t.pwrite == pci && t.set_irqs == pci);
	EXPECT(t.memory == pci && t.irqfd == pci && t.map_dma == EPERM);
	/* The main thread may other things, but not that. */
	EXPECT_ERRNO(ioctl(-1, KVM_RUN, 0), EPERM);
	EXPECT_ERRNO(ioctl(-1, KVM_SET_CLOCK, &data), EBADF);
	return 0;
}

static int vmm_threads(void)
{
	return vmm_threads_of(false);
}

static int vmm_threads_with_vfio(void)
{
	return vmm_threads_of(true);
}

Test(jail, vcpu_thread_may_less_than_the_main_thread, .timeout = 120)
{
	cr_assert(zero(int, run(vmm_threads)));
}

Test(jail, vcpu_thread_drives_pci_devices_if_there_are_any, .timeout = 120)
{
	cr_assert(zero(int, run(vmm_threads_with_vfio)));
}

static int vmm_works(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct flock fl = { .l_type = F_WRLCK };
	int pair[2];
	int fd;

	EXPECT(jail_vmm(false) == 0);
	if (kvm >= 0)
		EXPECT(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) >= 0);
	/* A channel. */
	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	fd = pair[1];
	EXPECT(fd_sendmsg(pair[0], "x", 1, &fd, 1) == 1);
	/* Files are the worker's. */
	EXPECT_ERRNO(open("/etc/passwd", O_RDONLY | O_CLOEXEC), EPERM);
	EXPECT_ERRNO(fcntl(fd, F_OFD_GETLK, &fl), EPERM);
	EXPECT_ERRNO(fcntl(fd, F_SETOWN, getpid()), EPERM);
	EXPECT_ERRNO(
		setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &fd, sizeof(fd)),
		EPERM);
	EXPECT(unlink("/nonexistent/torpor.sock") < 0 && errno == ENOENT);
	EXPECT_ERRNO(unlinkat(AT_FDCWD, "/nonexistent", AT_REMOVEDIR), EPERM);
	EXPECT_ERRNO(open("/tmp/torpor-jail-test", O_CREAT | O_RDWR, 0600),
		     EPERM);
	EXPECT_ERRNO(open("/", O_PATH), EPERM);
	EXPECT_ERRNO(ioctl(0, TIOCSTI, "x"), EPERM);
	EXPECT_ERRNO(ioctl(kvm, KVM_CREATE_VM, 0), EPERM);
	EXPECT_ERRNO(kill(getppid(), 0), EPERM);
	EXPECT_ERRNO(syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM);
	EXPECT_ERRNO(syscall(SYS_pidfd_send_signal, -1, SIGTERM, NULL, 0),
		     EPERM);
	EXPECT_ERRNO(prctl(PR_SET_NAME, "x"), EPERM);
	EXPECT_ERRNO(memfd_create("x", 0), EPERM);
	EXPECT(mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED);
	return 0;
}

static void *files_main(void *arg)
{
	struct thread_try *t = arg;
	struct flock fl = { .l_type = F_WRLCK };
	struct msghdr msg = { 0 };
	int fd;

	if (jail_thread(&t->prog) < 0)
		return NULL;
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	t->open = errno_of(fd);
	t->write = errno_of(fcntl(fd, F_OFD_GETLK, &fl));
	t->read =
		errno_of(open("/tmp/torpor-jail-test", O_CREAT | O_RDWR, 0600));
	t->run = errno_of(ioctl(-1, KVM_RUN, 0));
	t->recv = errno_of(recvmsg(-1, &msg, 0));
	t->socket = errno_of(socket(AF_UNIX, SOCK_STREAM, 0));
	return arg;
}

static void *relay_main(void *arg)
{
	struct thread_try *t = arg;
	char byte;

	if (jail_thread(&t->prog) < 0)
		return NULL;
	t->read = errno_of(read(-1, &byte, 1));
	t->write = errno_of(write(-1, "", 1));
	t->open = errno_of(open("/", O_RDONLY));
	t->run = errno_of(ioctl(-1, TCGETS, &byte));
	t->socket = errno_of(socket(AF_UNIX, SOCK_STREAM, 0));
	t->recv = errno_of(fcntl(-1, F_DUPFD, 0));
	return arg;
}

static int in_thread(void *(*fn)(void *arg), struct thread_try *t)
{
	pthread_t thread;
	void *end = NULL;

	EXPECT(pthread_create(&thread, NULL, fn, t) == 0);
	EXPECT(pthread_join(thread, &end) == 0);
	EXPECT(end == t);
	jail_program_free(&t->prog);
	return 0;
}

static int other_threads(void)
{
	struct thread_try files = { .run = -1 }, relay = { .run = -1 };

	/* The relay is older than any narrowing. */
	EXPECT(jail_relay_prepare(&relay.prog) == 0);
	EXPECT(in_thread(relay_main, &relay) == 0);
	EXPECT(relay.read == EBADF && relay.write == EBADF);
	EXPECT(relay.open == EPERM && relay.run == EPERM);
	EXPECT(relay.socket == EPERM && relay.recv == EPERM);
	EXPECT(jail_vmm_rights(NULL, 0, 0) == 0);
	EXPECT(jail_files_prepare(&files.prog, false) == 0);
	EXPECT(in_thread(files_main, &files) == 0);
	EXPECT(files.open == 0 || files.open == EACCES); /* Landlock's */
	EXPECT(files.write == 0 || files.write == EBADF);
	EXPECT(files.read == EPERM && files.run == EPERM);
	EXPECT(files.recv == EPERM && files.socket == EPERM);
	return 0;
}

Test(jail, threads_for_files_and_consoles_may_nothing_else, .timeout = 120)
{
	cr_assert(zero(int, run(other_threads)));
}

Test(jail, vmm_filter_lets_the_vmm_work, .timeout = 120)
{
	cr_assert(zero(int, run(vmm_works)));
}

/* Connects to nothing, but where a guest has a vsock device: to UNIX sockets.
 */
static int vmm_does_not_connect(void)
{
	EXPECT(jail_vmm(false) == 0);
	EXPECT_ERRNO(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
	return 0;
}

static int vmm_connects(void)
{
	const struct sockaddr_un sa = { .sun_family = AF_UNIX,
					.sun_path = "/nonexistent/s_1" };
	int fd;

	EXPECT(jail_vmm(true) == 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT(fd >= 0);
	EXPECT_ERRNO(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)),
		     ENOENT);
	EXPECT_ERRNO(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	EXPECT_ERRNO(socket(AF_VSOCK, SOCK_STREAM, 0), EPERM);
	EXPECT_ERRNO(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), EPERM);
	EXPECT_ERRNO(listen(fd, 1), EPERM);
	return 0;
}

Test(jail, vmm_filter_connects_only_for_vsock, .timeout = 120)
{
	cr_assert(zero(int, run(vmm_does_not_connect)));
	cr_assert(zero(int, run(vmm_connects)));
}

static int vmm_execs(void)
{
	char *const argv[] = { NULL };

	EXPECT(jail_vmm(false) == 0);
	(void)execve("/bin/true", argv, argv);
	return 0;
}

static int vmm_traces(void)
{
	EXPECT(jail_vmm(false) == 0);
	(void)syscall(SYS_ptrace, 0, 0, 0, 0);
	return 0;
}

static int vmm_unshares(void)
{
	EXPECT(jail_vmm(false) == 0);
	(void)syscall(SYS_unshare, 0);
	return 0;
}

Test(jail, vmm_that_would_run_a_program_dies, .timeout = 120)
{
	static int (*const fns[])(void) = { vmm_execs, vmm_traces,
					    vmm_unshares };

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++)
		cr_assert(eq(int, run(fns[i]), 0x100 + SIGSYS), "case %zu", i);
}

static int vmm_forks(void)
{
	EXPECT(jail_vmm(false) == 0);
	EXPECT_ERRNO(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
	return 0;
}

Test(jail, vmm_cannot_make_a_process, .timeout = 120)
{
	cr_assert(zero(int, run(vmm_forks)));
}
