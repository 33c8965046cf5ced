/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/fd.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int s[2] = { -1, -1 };

static void setup(void)
{
	cr_assert(zero(int,
		       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s)));
}

static void teardown(void)
{
	fd_close(&s[0]);
	fd_close(&s[1]);
}

TestSuite(fd, .init = setup, .fini = teardown, .timeout = 120);

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

Test(fd, close_clears_the_variable_and_keeps_errno)
{
	int fd = dup(0), same = fd;

	errno = EIO;
	fd_close(&fd);
	cr_assert(eq(int, errno, EIO));
	cr_assert(eq(int, fd, -1));
	cr_assert(eq(int, fcntl(same, F_GETFD), -1));
	fd_close(&fd);
}

Test(fd, cleanup_closes_and_take_keeps)
{
	int kept, lost;

	{
		_cleanup_fd_ int a = dup(0), b = dup(0);

		lost = a;
		kept = TAKE_FD(b);
		cr_assert(eq(int, b, -1));
	}
	cr_assert(eq(int, fcntl(lost, F_GETFD), -1));
	cr_assert(ge(int, fcntl(kept, F_GETFD), 0));
	fd_close(&kept);
}

Test(fd, passes_fds_close_on_exec)
{
	int out[2] = { dup(0), dup(1) }, in[4];
	size_t n = 99;
	struct stat a, b;
	char c;

	cr_assert(eq(int, (int)fd_sendmsg(s[0], "x", 1, out, 2), 1));
	cr_assert(eq(int, (int)fd_recvmsg(s[1], &c, 1, in, 4, &n, 0), 1));
	cr_assert(eq(sz, n, 2));
	cr_assert(eq(chr, c, 'x'));
	cr_assert(eq(int, fcntl(in[0], F_GETFD), FD_CLOEXEC));
	cr_assert(zero(int, fstat(in[1], &a)));
	cr_assert(zero(int, fstat(out[1], &b)));
	cr_assert(eq(u64, a.st_ino, b.st_ino));
}

Test(fd, fds_beyond_the_room_are_all_closed)
{
	int out[3] = { 0, 1, 2 }, in[2];
	unsigned int before = count_fds();
	size_t n = 99;
	char c;

	cr_assert(eq(int, (int)fd_sendmsg(s[0], "x", 1, out, 3), 1));
	cr_assert(
		eq(int, (int)fd_recvmsg(s[1], &c, 1, in, 2, &n, 0), -EMSGSIZE));
	cr_assert(zero(sz, n));
	cr_assert(eq(uint, count_fds(), before));
}

Test(fd, recv_reports_end_of_file_and_empty_sockets)
{
	size_t n;
	char c;

	cr_assert(eq(int,
		     (int)fd_recvmsg(s[1], &c, 1, NULL, 0, &n, MSG_DONTWAIT),
		     -EAGAIN));
	fd_close(&s[0]);
	cr_assert(zero(int, (int)fd_recvmsg(s[1], &c, 1, NULL, 0, &n, 0)));
	cr_assert(zero(sz, n));
}

Test(fd, send_to_a_closed_socket_is_no_signal)
{
	fd_close(&s[1]);
	cr_assert(eq(int, (int)fd_sendmsg(s[0], "x", 1, NULL, 0), -EPIPE));
}

Test(fd, send_to_a_full_socket_says_so)
{
	static char page[65536];
	ssize_t n;

	/* A blocking one. */
	while ((n = fd_sendmsg(s[0], page, sizeof(page), NULL, 0)) > 0)
		continue;
	cr_assert(eq(int, (int)n, -EAGAIN));
}

Test(fd, write_all_writes_all_or_fails)
{
	char got[8] = "";

	cr_assert(zero(int, fd_write_all(s[0], "abcd", 4)));
	cr_assert(eq(int, (int)read(s[1], got, 8), 4));
	cr_assert(zero(int, strcmp(got, "abcd")));
	cr_assert(zero(int, fd_write_all(s[0], NULL, 0)));
	cr_assert(eq(int, fd_write_all(-1, "a", 1), -EBADF));
}

Test(fd, event_counts_and_drains)
{
	int e = fd_event_create();

	cr_assert(zero(u64, fd_event_drain(e)));
	fd_event_signal(e);
	fd_event_signal(e);
	cr_assert(eq(u64, fd_event_drain(e), 2));
	cr_assert(zero(u64, fd_event_drain(e)));
	cr_assert(eq(int, fcntl(e, F_GETFD), FD_CLOEXEC));
}

Test(fd, signal_of_a_full_event_does_not_block)
{
	uint64_t most = UINT64_MAX - 1;
	int e = fd_event_create();

	cr_assert(eq(int, (int)write(e, &most, 8), 8));
	fd_event_signal(e);
	cr_assert(eq(u64, fd_event_drain(e), most));
}

Test(fd, a_blocking_event_is_drained_without_waiting, .timeout = 80)
{
	const uint64_t some = 3;
	uint64_t count = 7;
	int e = fd_event_create();

	cr_assert(zero(int, fcntl(e, F_SETFL, 0)));
	cr_assert(zero(u64, fd_event_drain(e)));
	cr_assert(eq(int, fd_event_read(e, &count), -EAGAIN));
	cr_assert(eq(u64, count, 7));
	cr_assert(eq(int, (int)write(e, &some, sizeof(some)), sizeof(some)));
	cr_assert(zero(int, fd_event_read(e, &count)));
	cr_assert(eq(u64, count, 3));
	(void)close(e);
	cr_assert(eq(int, fd_event_read(e, &count), -EBADF));
}

Test(fd, what_is_no_event_is_told_from_an_empty_one)
{
	uint64_t count;

	cr_assert(eq(int, (int)write(s[1], "x", 1), 1));
	cr_assert(eq(int, fd_event_read(s[0], &count), -EINVAL));
}

Test(fd, set_nonblock_goes_both_ways)
{
	cr_assert(zero(int, fd_set_nonblock(s[0], 1)));
	cr_assert(ne(int, fcntl(s[0], F_GETFL) & O_NONBLOCK, 0));
	cr_assert(zero(int, fd_set_nonblock(s[0], 0)));
	cr_assert(zero(int, fcntl(s[0], F_GETFL) & O_NONBLOCK));
	cr_assert(eq(int, fd_set_nonblock(-1, 1), -EBADF));
}

Test(fd, sealed_memory_cannot_change_its_size)
{
	int m = fd_memfd_sealed("t", 8192, 0);

	cr_assert(ge(int, m, 0));
	cr_assert(eq(int, ftruncate(m, 4096), -1));
	cr_assert(eq(int, ftruncate(m, 16384), -1));
	cr_assert(eq(int, fcntl(m, F_GET_SEALS),
		     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	cr_assert(eq(int, fd_memfd_sealed("t", UINT64_MAX, 0), -EINVAL));
}
