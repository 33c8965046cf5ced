/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/vm/disk_image.h: locks, and the fence a left-over description holds up.
 */
#define _GNU_SOURCE
#include "vmm/vm/disk_image.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static char path[] = "/tmp/torpor-image-XXXXXX";
static struct err err;

static void setup(void)
{
	int fd = mkstemp(path);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, ftruncate(fd, 1 << 20), 0));
	(void)close(fd);
}

static void teardown(void)
{
	(void)unlink(path);
}

TestSuite(disk_image, .init = setup, .fini = teardown, .timeout = 120);

static bool said(const char *what)
{
	return strstr(err.msg, what) != NULL;
}

static void init(struct disk_image *img, bool ro)
{
	cr_assert(eq(int, disk_image_init(img, path, ro, false, &err), 0));
}

/* A process that holds @fd as a device would, until it is killed. */
static pid_t hold(int fd)
{
	int pipefd[2];
	char byte;
	pid_t pid;

	cr_assert(eq(int, pipe(pipefd), 0));
	pid = fork();
	if (pid == 0) {
		(void)!write(pipefd[1], "x", 1);
		for (;;)
			(void)pause();
	}
	cr_assert(gt(int, pid, 0));
	cr_assert(eq(int, (int)read(pipefd[0], &byte, 1), 1));
	(void)close(pipefd[0]);
	(void)close(pipefd[1]);
	(void)close(fd); /* ours, as the VMM does */
	return pid;
}

static void end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static void fence_waits_for_the_child(bool ro)
{
	struct disk_image img;
	pid_t pid;
	int fd;

	init(&img, ro);
	cr_assert(eq(int, disk_image_fenced(&img), 1), "nothing opened yet");
	fd = disk_image_open(&img, path, &err);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, fcntl(fd, F_GETFD), FD_CLOEXEC));
	cr_assert(eq(int, disk_image_fenced(&img), 0));
	pid = hold(fd);
	cr_assert(eq(int, disk_image_fenced(&img), 0), "the child has it");
	cr_assert(eq(int, disk_image_fenced(&img), 0),
		  "asking changes nothing");
	end(pid);
	cr_assert(eq(int, disk_image_fenced(&img), 1));
	/* The next incarnation. */
	fd = disk_image_open(&img, path, &err);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, disk_image_fenced(&img), 0));
	(void)close(fd);
	disk_image_finish(&img);
	disk_image_finish(&img);
}

Test(disk_image, fence_waits_for_the_child_that_writes)
{
	fence_waits_for_the_child(false);
}

Test(disk_image, fence_waits_for_the_child_that_reads)
{
	fence_waits_for_the_child(true);
}

Test(disk_image, two_writers_are_refused)
{
	struct disk_image a, b;
	int fd;

	init(&a, false);
	init(&b, false);
	fd = disk_image_open(&a, path, &err);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, disk_image_open(&b, path, &err), -EWOULDBLOCK));
	cr_assert(said(path));
	cr_assert(said(",ro"));
	disk_image_finish(&b);
	init(&b, true);
	cr_assert(eq(int, disk_image_open(&b, path, &err), -EWOULDBLOCK));
	(void)close(fd);
	disk_image_finish(&a);
	disk_image_finish(&b);
}

Test(disk_image, readers_share_and_each_has_a_fence_of_its_own)
{
	struct disk_image a, b;
	pid_t pid;
	int fd_a, fd_b;

	init(&a, true);
	init(&b, true);
	fd_a = disk_image_open(&a, path, &err);
	fd_b = disk_image_open(&b, path, &err);
	cr_assert(ge(int, fd_a, 0));
	cr_assert(ge(int, fd_b, 0));
	pid = hold(fd_a);
	/* The child inherited b's description too: the test's doing. */
	(void)close(fd_b);
	cr_assert(eq(int, disk_image_fenced(&a), 0));
	end(pid);
	cr_assert(eq(int, disk_image_fenced(&a), 1));
	fd_b = disk_image_open(&b, path, &err);
	cr_assert(ge(int, fd_b, 0));
	cr_assert(eq(int, disk_image_fenced(&a), 1), "another VM reads on");
	cr_assert(eq(int, disk_image_fenced(&b), 0));
	(void)close(fd_b);
	disk_image_finish(&a);
	disk_image_finish(&b);
}

Test(disk_image, a_reader_keeps_a_writer_out)
{
	struct disk_image ro, rw;
	int fd;

	init(&ro, true);
	init(&rw, false);
	fd = disk_image_open(&ro, path, &err);
	cr_assert(eq(int, disk_image_open(&rw, path, &err), -EWOULDBLOCK));
	(void)close(fd);
	disk_image_finish(&ro);
	disk_image_finish(&rw);
}

Test(disk_image, a_reader_cannot_write)
{
	struct disk_image img;
	int fd;

	init(&img, true);
	fd = disk_image_open(&img, path, &err);
	cr_assert(eq(int, (int)write(fd, "x", 1), -1));
	(void)close(fd);
	disk_image_finish(&img);
}

Test(disk_image, the_file_is_the_one_named_first)
{
	struct disk_image img;
	char other[sizeof(path) + 2];
	struct stat a, b;
	int fd;

	init(&img, false);
	(void)snprintf(other, sizeof(other), "%s.2", path);
	cr_assert(eq(int, stat(path, &a), 0));
	cr_assert(eq(int, rename(path, other), 0));
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	(void)close(fd);
	fd = disk_image_open(&img, path, &err);
	cr_assert(eq(int, fstat(fd, &b), 0));
	cr_assert(eq(u64, a.st_ino, b.st_ino));
	(void)close(fd);
	(void)unlink(other);
	disk_image_finish(&img);
}

Test(disk_image, what_is_no_image_is_refused_with_a_remedy)
{
	struct disk_image img;

	cr_assert(eq(
		int,
		disk_image_init(&img, "/nonexistent/x.img", false, false, &err),
		-ENOENT));
	cr_assert(said("truncate"));
	cr_assert(eq(int, disk_image_init(&img, "/tmp", false, false, &err),
		     -ENOTBLK));
	cr_assert(eq(int, img.path_fd, -1));
	cr_assert(eq(int,
		     disk_image_init(&img, "/dev/null", false, false, &err),
		     -ENOTBLK));
	disk_image_finish(&img);
}
