/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a shared directory takes for operations on files, seen from the guest:
 *
 *	fs_ops DIR ENTRIES
 *
 * in DIR, which has nothing but a directory "many" with so many empty files,
 * named 1000000 and on; 0: without that. A line "NAME COUNT NANOSECONDS" for
 *each kind; what is wrong (an entry too few, another byte) ends it with a
 *message. Static, so that it runs in a guest without libraries.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GIB	    (1LL << 30)
#define FILES	    2000L
#define FIRST_NAME  1000000L
#define RENAMES	    5000L
#define LOCKS	    5000L
#define SPARSE_OPS  2000L
#define BLOCK_BYTES 4096
#define SPREAD_GIB  64

static long entries;
static uint64_t begun;

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	(void)fprintf(stderr, "fs_ops: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void start(void)
{
	errno = 0;
	begun = now_ns();
}

static void report(const char *name, long count)
{
	(void)printf("%s %ld %llu\n", name, count,
		     (unsigned long long)(now_ns() - begun));
	(void)fflush(stdout);
}

static const char *file(const char *dir, long i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "%s/%ld", dir, FIRST_NAME + i);
	return name;
}

static void list_entries(void)
{
	const struct dirent *e;
	long n = 0;
	DIR *dir;

	start();
	dir = opendir("many");
	must(dir != NULL, "opendir");
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	(void)closedir(dir);
	must(n == entries, "readdir: not the entries that there are");
	report("readdir", n);
}

static void stat_entries(void)
{
	struct stat st;

	start();
	for (long i = 0; i < entries; i++)
		must(stat(file("many", i), &st) == 0 && S_ISREG(st.st_mode),
		     file("many", i));
	report("stat", entries);
}

static void create_and_unlink(void)
{
	must(mkdir("few", 0755) == 0, "mkdir");
	start();
	for (long i = 0; i < FILES; i++) {
		int fd =
			open(file("few", i), O_WRONLY | O_CREAT | O_EXCL, 0644);

		must(fd >= 0, file("few", i));
		(void)close(fd);
	}
	report("create", FILES);
	start();
	for (long i = 0; i < FILES; i++)
		must(unlink(file("few", i)) == 0, file("few", i));
	report("unlink", FILES);
	must(rmdir("few") == 0, "rmdir: something is left");
}

static void rename_back_and_forth(void)
{
	int fd = open("a", O_WRONLY | O_CREAT, 0644);

	must(fd >= 0, "a");
	start();
	for (long i = 0; i < RENAMES; i++)
		must(rename(i & 1 ? "b" : "a", i & 1 ? "a" : "b") == 0,
		     "rename");
	report("rename", RENAMES);
	(void)close(fd);
	must(unlink("a") == 0, "unlink");
}

static void lock_and_unlock(void)
{
	int fd = open("lock", O_RDWR | O_CREAT, 0644);
	struct flock fl = { .l_whence = SEEK_SET, .l_len = 1 };

	must(fd >= 0, "lock");
	start();
	for (long i = 0; i < LOCKS; i++) {
		fl.l_start = i % 100 * 2;
		fl.l_type = i / 100 % 2 ? F_UNLCK : F_WRLCK;
		must(fcntl(fd, F_SETLK, &fl) == 0, "F_SETLK");
	}
	report("lock", LOCKS);
	(void)close(fd);
	must(unlink("lock") == 0, "unlink");
}

/* The same offsets, all beyond 4 GiB, in the same order. */
static off_t sparse_offset(long i)
{
	long long at = 4 * GIB +
		       i * 7919 % SPARSE_OPS * (SPREAD_GIB * GIB) / SPARSE_OPS;

	return (off_t)(at & ~(BLOCK_BYTES - 1LL));
}

static void sparse(void)
{
	int fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char block[BLOCK_BYTES];
	struct stat st;

	must(fd >= 0, "sparse");
	start();
	for (long i = 0; i < SPARSE_OPS; i++) {
		(void)memset(block, (int)(i & 0xff), sizeof(block));
		must(pwrite(fd, block, sizeof(block), sparse_offset(i)) ==
			     BLOCK_BYTES,
		     "pwrite");
	}
	must(fsync(fd) == 0, "fsync");
	report("sparse-write", SPARSE_OPS);
	must(fstat(fd, &st) == 0 && st.st_size > SPREAD_GIB * GIB &&
		     st.st_blocks < 16 * SPARSE_OPS,
	     "it is not sparse");
	/* Not out of the guest's memory. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	start();
	for (long i = 0; i < SPARSE_OPS; i++) {
		must(pread(fd, block, sizeof(block), sparse_offset(i)) ==
				     BLOCK_BYTES &&
			     block[0] == (char)(i & 0xff) &&
			     block[BLOCK_BYTES - 1] == (char)(i & 0xff),
		     "pread: other bytes");
	}
	report("sparse-read", SPARSE_OPS);
	(void)close(fd);
	must(unlink("sparse") == 0, "unlink");
}

int main(int argc, char **argv)
{
	if (argc != 3 || chdir(argv[1]) < 0) {
		(void)fputs("usage: fs_ops DIR ENTRIES\n", stderr);
		return 2;
	}
	entries = strtol(argv[2], NULL, 10);
	if (entries > 0) {
		list_entries();
		stat_entries();
	}
	create_and_unlink();
	rename_back_and_forth();
	lock_and_unlock();
	sparse();
	return 0;
}
