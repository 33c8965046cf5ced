/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that never closes its file: what a sleep must not take from it.
 *
 *	keep_open FILE STOP ROUNDS
 *
 * Opens FILE, locks bytes 0 to 15 of it (POSIX) and keeps both until STOP
 * exists. Meanwhile it appends numbered records through the one descriptor and
 * reads each back, and an older one; that the lock is still its own is seen by
 * a child asking for it. Writes the number of rounds to ROUNDS; exits 1 and
 *says why at the first thing that is not as it was.
 *
 *	keep_open --locked FILE		exits 0 if somebody has that lock
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD 16

static const struct flock lock_ = { .l_type = F_WRLCK,
				    .l_whence = SEEK_SET,
				    .l_len = RECORD };

static int is_locked(int fd)
{
	struct flock lock = lock_;

	if (fcntl(fd, F_GETLK, &lock) < 0)
		err(2, "F_GETLK");
	return lock.l_type != F_UNLCK;
}

/* Locks are a process's own: another has to ask. */
static void check_lock(int fd)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0)
		_exit(is_locked(fd) ? 0 : 1);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the lock is lost");
}

static void format_record(char *buf, unsigned long n)
{
	char text[RECORD + 8];

	(void)snprintf(text, sizeof(text), "%015lu\n", n);
	memcpy(buf, text, RECORD);
}

static void check_record(int fd, unsigned long n)
{
	char want[RECORD], got[RECORD];

	format_record(want, n);
	if (pread(fd, got, RECORD, (off_t)n * RECORD) != RECORD)
		err(1, "read of record %lu", n);
	if (memcmp(want, got, RECORD) != 0)
		errx(1, "record %lu is another", n);
}

static void one_round(int fd, unsigned long n)
{
	char record[RECORD];
	struct stat st;

	format_record(record, n);
	if (pwrite(fd, record, RECORD, (off_t)n * RECORD) != RECORD)
		err(1, "write of record %lu", n);
	if (fsync(fd) < 0)
		err(1, "fsync after record %lu", n);
	check_record(fd, n);
	check_record(fd, n / 2);
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)(n + 1) * RECORD)
		errx(1, "the size after record %lu is another", n);
	check_lock(fd);
}

static void write_rounds(const char *path, unsigned long n)
{
	FILE *f = fopen(path, "w");

	if (!f || fprintf(f, "%lu\n", n) < 0 || fclose(f) == EOF)
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	unsigned long n = 0;
	int fd;

	if (argc == 3 && !strcmp(argv[1], "--locked")) {
		fd = open(argv[2], O_RDWR | O_CLOEXEC);
		if (fd < 0)
			err(2, "%s", argv[2]);
		return is_locked(fd) ? 0 : 1;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: keep_open FILE STOP ROUNDS\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || fcntl(fd, F_SETLK, &lock_) < 0)
		err(1, "%s", argv[1]);
	while (access(argv[2], F_OK) < 0) {
		one_round(fd, n++);
		write_rounds(argv[3], n);
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}
