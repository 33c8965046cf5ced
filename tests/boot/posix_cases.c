/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What POSIX (and Linux) say of files, as a list of cases:
 *
 *	posix_cases DIR [root]
 *
 * runs them in DIR, an empty directory, and prints one line for each: "ok -
 * NAME" or "not ok - NAME: WHERE: WHY". With "root" those about owners as well.
 * Static, so that it runs in a guest from the file system it looks at. Exits 1
 * if one failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIB (1LL << 30)

static int failed_line, failed_errno;

/* Ends the case with a failure. */
#define MUST(x)                                 \
	do {                                    \
		errno = 0;                      \
		if (!(x)) {                     \
			failed_line = __LINE__; \
			failed_errno = errno;   \
			return;                 \
		}                               \
	} while (0)
#define FAILS(x, e) MUST((x) < 0 && errno == (e))

static int make(const char *name)
{
	return open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static bool put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool good = fd >= 0 &&
		    write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	return close(fd) == 0 && good;
}

static bool has(const char *name, const char *text)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char buf[256];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	(void)close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

static struct stat st_of(const char *name)
{
	struct stat st = { 0 };

	(void)lstat(name, &st);
	return st;
}

/* -------------------------------------------------------------------- names */

static void create_exclusive(void)
{
	MUST(close(make("f")) == 0);
	FAILS(make("f"), EEXIST);
}

static void name_limits(void)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	MUST(put(name, "x") && has(name, "x"));
	name[255] = 'n';
	name[256] = '\0';
	FAILS(open(name, O_RDONLY), ENAMETOOLONG);
}

static void odd_names(void)
{
	static const char *const names[] = {
		"a b", "\n", "\\",	"\xff\xfe", "...",
		"-rf", "*",  "\"'$(x)", "\xc3\xa4"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		MUST(put(names[i], names[i]) && has(names[i], names[i]));
}

static void dots(void)
{
	MUST(mkdir("d", 0755) == 0 && put("f", "x"));
	MUST(has("d/../f", "x") && has("d/./../f", "x"));
	FAILS(mkdir("d/.", 0755), EEXIST);
	FAILS(rmdir("d/."), EINVAL);
	FAILS(open("f/x", O_RDONLY), ENOTDIR);
}

static void unlink_things(void)
{
	MUST(put("f", "x") && mkdir("d", 0755) == 0);
	FAILS(unlink("d"), EISDIR);
	FAILS(rmdir("f"), ENOTDIR);
	FAILS(unlink("none"), ENOENT);
	MUST(put("d/x", ""));
	FAILS(rmdir("d"), ENOTEMPTY);
	MUST(unlink("d/x") == 0 && rmdir("d") == 0 && unlink("f") == 0);
}

static void deep_directories(void)
{
	for (int i = 0; i < 100; i++)
		MUST(mkdir("deep", 0755) == 0 && chdir("deep") == 0);
	MUST(put("f", "deep"));
	for (int i = 0; i < 100; i++)
		MUST(chdir("..") == 0);
	MUST(access("deep/deep/deep", F_OK) == 0);
}

static void many_entries(void)
{
	enum {
		N = 1500
	};
	static bool seen[N];
	struct dirent *d;
	char name[32];
	int n = 0;
	DIR *dir;

	MUST(mkdir("many", 0755) == 0);
	for (int i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "many/e%d", i);
		MUST(close(make(name)) == 0);
	}
	dir = opendir("many");
	MUST(dir);
	while ((d = readdir(dir))) {
		int i;

		if (d->d_name[0] != 'e')
			continue;
		i = atoi(d->d_name + 1);
		MUST(i >= 0 && i < N && !seen[i]);
		seen[i] = true;
		n++;
	}
	MUST(n == N);
	rewinddir(dir);
	MUST(readdir(dir));
	(void)closedir(dir);
	for (int i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "many/e%d", i);
		MUST(unlink(name) == 0);
	}
	MUST(rmdir("many") == 0);
}

static void directory_position(void)
{
	struct dirent *d;
	char name[300];
	long at;
	DIR *dir;

	MUST(mkdir("d", 0755) == 0);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "d/e%d", i);
		MUST(close(make(name)) == 0);
	}
	dir = opendir("d");
	MUST(dir);
	for (int i = 0; i < 100; i++)
		MUST(readdir(dir));
	at = telldir(dir);
	d = readdir(dir);
	MUST(d);
	(void)snprintf(name, sizeof(name), "%s", d->d_name);
	for (int i = 0; i < 50; i++)
		MUST(readdir(dir));
	seekdir(dir, at);
	d = readdir(dir);
	MUST(d && !strcmp(d->d_name, name));
	(void)closedir(dir);
}

/* ------------------------------------------------------------------- renames
 */

static void rename_files(void)
{
	MUST(put("a", "A") && put("b", "B"));
	MUST(rename("a", "b") == 0 && has("b", "A"));
	FAILS(rename("a", "c"), ENOENT);
	MUST(mkdir("d", 0755) == 0 && rename("b", "d/e") == 0);
	MUST(has("d/e", "A"));
	FAILS(rename("d", "d/e"), EINVAL);
}

static void rename_directories(void)
{
	MUST(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && put("b/x", ""));
	FAILS(rename("a", "b"), ENOTEMPTY);
	MUST(rename("b", "a") == 0 && access("a/x", F_OK) == 0);
	FAILS(rename("a", "a/b"), EINVAL);
	MUST(put("f", ""));
	FAILS(rename("a", "f"), ENOTDIR);
}

static void rename_flags(void)
{
	MUST(put("a", "A") && put("b", "B"));
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE),
	      EEXIST);
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
	MUST(has("a", "B") && has("b", "A"));
}

static void rename_of_an_open_file(void)
{
	int fd;

	MUST(put("a", "text"));
	fd = open("a", O_RDWR | O_CLOEXEC);
	MUST(fd >= 0 && rename("a", "b") == 0);
	MUST(pwrite(fd, "T", 1, 0) == 1 && close(fd) == 0 && has("b", "Text"));
}

/* --------------------------------------------------------------------- links
 */

static void hard_links(void)
{
	MUST(put("a", "one") && link("a", "b") == 0);
	MUST(st_of("a").st_nlink == 2 &&
	     st_of("a").st_ino == st_of("b").st_ino);
	MUST(put("b", "two") && has("a", "two"));
	FAILS(link("a", "b"), EEXIST);
	MUST(unlink("a") == 0 && st_of("b").st_nlink == 1 && has("b", "two"));
	MUST(mkdir("d", 0755) == 0);
	FAILS(link("d", "e"), EPERM);
}

static void symlinks(void)
{
	char buf[64];

	MUST(put("a", "text") && symlink("a", "l") == 0 && has("l", "text"));
	MUST(readlink("l", buf, sizeof(buf)) == 1 && buf[0] == 'a');
	MUST(S_ISLNK(st_of("l").st_mode) && st_of("l").st_size == 1);
	FAILS(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
	MUST(symlink("none", "m") == 0);
	FAILS(open("m", O_RDONLY), ENOENT);
	MUST(symlink("n", "n") == 0);
	FAILS(open("n", O_RDONLY), ELOOP);
	FAILS(readlink("a", buf, sizeof(buf)), EINVAL);
	MUST(unlink("l") == 0 && has("a", "text"));
}

static void long_symlink(void)
{
	static char target[3000], buf[4096];

	memset(target, 't', sizeof(target) - 1);
	for (int i = 100; i < 2999; i += 100)
		target[i] = '/';
	MUST(symlink(target, "l") == 0);
	MUST(readlink("l", buf, sizeof(buf)) == 2999 &&
	     !memcmp(buf, target, 2999));
}

static void unlinked_but_open(void)
{
	char buf[8] = "";
	int fd = make("f");
	struct stat st;

	MUST(fd >= 0 && write(fd, "text", 4) == 4 && unlink("f") == 0);
	MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 4);
	MUST(pread(fd, buf, 8, 0) == 4 && !strcmp(buf, "text"));
	MUST(ftruncate(fd, 2) == 0 && fstat(fd, &st) == 0 && st.st_size == 2);
	MUST(fchmod(fd, 0600) == 0 && close(fd) == 0);
}

static void fifo(void)
{
	char c = 0;
	pid_t pid;
	int fd;

	MUST(mkfifo("p", 0600) == 0 && S_ISFIFO(st_of("p").st_mode));
	pid = fork();
	if (pid == 0)
		_exit(put("p", "x") ? 0 : 1);
	fd = open("p", O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && read(fd, &c, 1) == 1 && c == 'x' && close(fd) == 0);
	MUST(waitpid(pid, NULL, 0) == pid);
}

/* ---------------------------------------------------------------- attributes
 */

static void modes(void)
{
	int fd;

	MUST(put("f", "") && chmod("f", 0751) == 0);
	MUST((st_of("f").st_mode & 07777) == 0751);
	MUST(chmod("f", 01644) == 0 && (st_of("f").st_mode & 07777) == 01644);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && fchmod(fd, 0400) == 0 && close(fd) == 0);
	MUST((st_of("f").st_mode & 07777) == 0400);
}

static void umask_counts(void)
{
	mode_t old = umask(027);
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	int r = mkdir("d", 0777);

	(void)umask(old);
	MUST(fd >= 0 && close(fd) == 0 && r == 0);
	MUST((st_of("f").st_mode & 07777) == 0640);
	MUST((st_of("d").st_mode & 07777) == 0750);
}

static void times(void)
{
	const struct timespec ts[2] = { { 1000, 123456789 }, { 2000, 5 } };
	const struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
	struct stat st;

	MUST(put("f", "") && utimensat(AT_FDCWD, "f", ts, 0) == 0);
	st = st_of("f");
	MUST(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 123456789);
	MUST(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 5);
	MUST(utimensat(AT_FDCWD, "f", omit, 0) == 0);
	st = st_of("f");
	MUST(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec > 2000);
	MUST(symlink("none", "l") == 0);
	MUST(utimensat(AT_FDCWD, "l", ts, AT_SYMLINK_NOFOLLOW) == 0);
	MUST(st_of("l").st_mtim.tv_sec == 2000);
}

static void writing_moves_mtime(void)
{
	const struct timespec ts[2] = { { 1000, 0 }, { 1000, 0 } };
	int fd = make("f");

	MUST(fd >= 0 && futimens(fd, ts) == 0);
	MUST(write(fd, "x", 1) == 1 && fsync(fd) == 0 && close(fd) == 0);
	MUST(st_of("f").st_mtim.tv_sec > 1000);
}

static void file_system(void)
{
	struct statvfs st;

	MUST(statvfs(".", &st) == 0 && st.f_blocks > 0 && st.f_bsize > 0);
	MUST(st.f_namemax == 255);
}

/* ---------------------------------------------------------------------- data
 */

static void append(void)
{
	int a = open("f", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int b = open("f", O_WRONLY | O_APPEND | O_CLOEXEC);

	MUST(a >= 0 && b >= 0);
	MUST(write(a, "1", 1) == 1 && write(b, "2", 1) == 1 &&
	     write(a, "3", 1) == 1);
	MUST(close(a) == 0 && close(b) == 0 && has("f", "123"));
}

static void truncate_both_ways(void)
{
	char buf[16] = "";
	int fd;

	MUST(put("f", "0123456789") && truncate("f", 4) == 0);
	MUST(has("f", "0123") && truncate("f", 8) == 0);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && read(fd, buf, 16) == 8 && close(fd) == 0);
	MUST(!memcmp(buf, "0123\0\0\0\0", 8));
	fd = open("f", O_RDONLY | O_TRUNC | O_CLOEXEC);
	MUST(fd >= 0 && close(fd) == 0 && st_of("f").st_size == 0);
}

static void sparse_and_far(void)
{
	char buf[8] = "";
	int fd = make("f");

	MUST(fd >= 0 && pwrite(fd, "far", 3, 5 * GIB) == 3);
	MUST(fsync(fd) == 0 && st_of("f").st_size == 5 * GIB + 3);
	MUST(st_of("f").st_blocks < 1000);
	MUST(pread(fd, buf, 3, 5 * GIB) == 3 && !strcmp(buf, "far"));
	MUST(pread(fd, buf, 1, 4 * GIB + 1) == 1 && buf[0] == 0);
	MUST(pread(fd, buf, 8, 5 * GIB + 3) == 0);
	MUST(lseek(fd, 0, SEEK_DATA) >= 4 * GIB);
	FAILS(lseek(fd, -1, SEEK_DATA), ENXIO);
	MUST(lseek(fd, 5 * GIB, SEEK_HOLE) == 5 * GIB + 3);
	MUST(lseek(fd, 0, SEEK_HOLE) == 0 && close(fd) == 0);
}

static void allocate_and_punch(void)
{
	char buf[4096];
	int fd = make("f");

	memset(buf, 'x', sizeof(buf));
	MUST(fd >= 0 && posix_fallocate(fd, 0, 65536) == 0);
	MUST(st_of("f").st_size == 65536);
	MUST(pwrite(fd, buf, 4096, 8192) == 4096);
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192,
		       4096) == 0);
	MUST(pread(fd, buf, 4096, 8192) == 4096 && buf[0] == 0 &&
	     buf[4095] == 0);
	MUST(close(fd) == 0);
}

static void megabytes(void)
{
	static unsigned char a[3 << 20], b[3 << 20];
	unsigned int x = 1;
	int fd = make("f");

	for (size_t i = 0; i < sizeof(a); i++) {
		x = x * 1103515245 + 12345;
		a[i] = (unsigned char)(x >> 16);
	}
	MUST(fd >= 0 && write(fd, a, sizeof(a)) == (ssize_t)sizeof(a));
	MUST(fsync(fd) == 0);
	MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	MUST(pread(fd, b, sizeof(b), 0) == (ssize_t)sizeof(b));
	MUST(!memcmp(a, b, sizeof(a)) && close(fd) == 0);
}

static void vectors(void)
{
	char a[2] = "", b[4] = "";
	char c[] = "12345";
	const struct iovec out[2] = { { c, 2 }, { c + 2, 3 } };
	const struct iovec in[2] = { { a, 1 }, { b, 4 } };
	int fd = make("f");

	MUST(fd >= 0 && pwritev(fd, out, 2, 0) == 5);
	MUST(preadv(fd, in, 2, 0) == 5 && a[0] == '1' &&
	     !memcmp(b, "2345", 4) && close(fd) == 0);
}

static void mapped(void)
{
	int fd = make("f");
	char *p;

	MUST(fd >= 0 && ftruncate(fd, 10000) == 0);
	p = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(p != MAP_FAILED && p[9999] == 0);
	p[0] = 'p';
	MUST(munmap(p, 10000) == 0 && pread(fd, &(char){ 0 }, 1, 0) == 1);
	MUST(close(fd) == 0);
}

static void copied_by_the_kernel(void)
{
	off_t from = 2, to = 0;
	int a, b;

	MUST(put("a", "0123456789"));
	a = open("a", O_RDONLY | O_CLOEXEC);
	b = make("b");
	MUST(a >= 0 && b >= 0);
	MUST(copy_file_range(a, &from, b, &to, 4, 0) == 4);
	MUST(close(a) == 0 && close(b) == 0 && has("b", "2345"));
}

static void access_modes(void)
{
	int fd;
	char c;

	MUST(put("f", "x"));
	fd = open("f", O_RDONLY | O_CLOEXEC);
	FAILS(write(fd, "y", 1), EBADF);
	MUST(close(fd) == 0);
	fd = open("f", O_WRONLY | O_CLOEXEC);
	FAILS(read(fd, &c, 1), EBADF);
	MUST(close(fd) == 0);
	MUST(mkdir("d", 0755) == 0);
	FAILS(open("d", O_WRONLY), EISDIR);
	FAILS(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
}

static void nameless_file(void)
{
	char path[64];
	int fd = open(".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	/* Not before Linux 6.2 on FUSE. */
	if (fd < 0 && errno == EOPNOTSUPP)
		return;
	MUST(fd >= 0 && write(fd, "temp", 4) == 4);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST(linkat(AT_FDCWD, path, AT_FDCWD, "f", AT_SYMLINK_FOLLOW) == 0);
	MUST(close(fd) == 0 && has("f", "temp"));
}

static void syncing(void)
{
	int fd = make("f"), dir = open(".", O_RDONLY | O_CLOEXEC);

	MUST(fd >= 0 && write(fd, "x", 1) == 1);
	MUST(fsync(fd) == 0 && fdatasync(fd) == 0 && fsync(dir) == 0);
	MUST(syncfs(fd) == 0 && close(fd) == 0 && close(dir) == 0);
}

/* --------------------------------------------------------------------- locks
 */

/* Exit status of a child that tries a lock: 0 got it, 1 not. */
static int child_locks(const char *name, bool whole_file)
{
	struct flock fl = { .l_type = F_WRLCK, .l_start = 100, .l_len = 10 };
	int status = -1, fd;
	pid_t pid = fork();

	if (pid == 0) {
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (whole_file)
			_exit(flock(fd, LOCK_EX | LOCK_NB) < 0);
		_exit(fcntl(fd, F_SETLK, &fl) < 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WEXITSTATUS(status);
}

static void record_locks(void)
{
	struct flock fl = { .l_type = F_WRLCK, .l_start = 100, .l_len = 10 };
	int fd = make("f"), other;

	MUST(fd >= 0 && fcntl(fd, F_SETLK, &fl) == 0);
	MUST(child_locks("f", false) == 1);
	fl.l_start = 100;
	fl.l_len = 5;
	fl.l_type = F_UNLCK;
	MUST(fcntl(fd, F_SETLK, &fl) == 0 && child_locks("f", false) == 1);
	/* To close any descriptor of the file gives up all locks of it. */
	other = open("f", O_RDONLY | O_CLOEXEC);
	MUST(other >= 0 && close(other) == 0);
	MUST(child_locks("f", false) == 0 && close(fd) == 0);
}

static void whole_file_locks(void)
{
	int fd = make("f");

	MUST(fd >= 0 && flock(fd, LOCK_EX) == 0 && child_locks("f", true) == 1);
	MUST(flock(fd, LOCK_UN) == 0 && child_locks("f", true) == 0);
	MUST(flock(fd, LOCK_EX) == 0 && close(fd) == 0);
	MUST(child_locks("f", true) == 0);
}

static void waiting_for_a_lock(void)
{
	struct flock fl = { .l_type = F_WRLCK };
	int fd = make("f"), status = -1, ready[2];
	pid_t pid;
	char c;

	MUST(fd >= 0 && fcntl(fd, F_SETLK, &fl) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		_exit(fcntl(fd, F_SETLKW, &fl) < 0);
	}
	MUST(read(ready[0], &c, 1) == 1);
	/* It will wait now, or soon. */
	usleep(200000);
	MUST(waitpid(pid, NULL, WNOHANG) == 0);
	fl.l_type = F_UNLCK;
	MUST(fcntl(fd, F_SETLK, &fl) == 0);
	MUST(waitpid(pid, &status, 0) == pid && status == 0);
	MUST(close(fd) == 0);
}

/* -------------------------------------------------------------------- owners
 */

static void owners(void)
{
	struct stat st;

	MUST(put("f", "") && chown("f", 1000, 1001) == 0);
	st = st_of("f");
	MUST(st.st_uid == 1000 && st.st_gid == 1001);
	MUST(symlink("f", "l") == 0 && lchown("l", 7, 8) == 0);
	MUST(st_of("l").st_uid == 7 && st_of("f").st_uid == 1000);
}

/* Runs @fn as another user. Return: its result. */
static int as_user(int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (syscall(SYS_setresgid, 2000, 2000, 2000) < 0 ||
		    syscall(SYS_setresuid, 2000, 2000, 2000) < 0)
			_exit(100);
		_exit(fn());
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int makes_files(void)
{
	return put("d/f", "x") && mkdir("d/d", 0755) == 0 &&
			       symlink("x", "d/l") == 0
		       ? 0
		       : 1;
}

static void files_are_their_makers(void)
{
	MUST(mkdir("d", 0777) == 0 && chmod("d", 0777) == 0);
	MUST(as_user(makes_files) == 0);
	MUST(st_of("d/f").st_uid == 2000 && st_of("d/f").st_gid == 2000);
	MUST(st_of("d/d").st_uid == 2000 && st_of("d/l").st_uid == 2000);
}

static int does_what_it_may_not(void)
{
	if (open("secret", O_RDONLY) >= 0 || errno != EACCES)
		return 1;
	if (chmod("secret", 0777) == 0 || errno != EPERM)
		return 2;
	if (chown("secret", 2000, 2000) == 0 || errno != EPERM)
		return 3;
	if (unlink("secret") == 0 || errno != EACCES)
		return 4;
	if (unlink("sticky/f") == 0 || errno != EPERM)
		return 5;
	return 0;
}

static void rights_hold(void)
{
	MUST(put("secret", "x") && chmod("secret", 0600) == 0);
	MUST(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0 &&
	     put("sticky/f", ""));
	MUST(as_user(does_what_it_may_not) == 0);
}

static void set_group_directories(void)
{
	MUST(mkdir("d", 0777) == 0 && chown("d", 0, 3000) == 0);
	MUST(chmod("d", 02777) == 0 && as_user(makes_files) == 0);
	MUST(st_of("d/f").st_gid == 3000 && st_of("d/f").st_uid == 2000);
	MUST(st_of("d/d").st_gid == 3000 && st_of("d/d").st_mode & S_ISGID);
}

static int writes_to_it(void)
{
	int fd = open("f", O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, "y", 1) == 1 && close(fd) == 0 ? 0 : 1;
}

static void set_id_bits_end_with_a_write(void)
{
	MUST(put("f", "x") && chmod("f", 06777) == 0);
	MUST((st_of("f").st_mode & 07000) == 06000);
	MUST(as_user(writes_to_it) == 0);
	MUST((st_of("f").st_mode & 07000) == 0);
}

/* ----------------------------------------------------------------------- run
 */

struct posix_case {
	const char *name;
	void (*fn)(void);
	bool root;
};

static const struct posix_case cases[] = {
	{ "O_EXCL", create_exclusive, false },
	{ "names of 255 and 256 bytes", name_limits, false },
	{ "odd names", odd_names, false },
	{ "dots", dots, false },
	{ "unlink and rmdir", unlink_things, false },
	{ "100 directories deep", deep_directories, false },
	{ "1500 entries", many_entries, false },
	{ "telldir and seekdir", directory_position, false },
	{ "rename of files", rename_files, false },
	{ "rename of directories", rename_directories, false },
	{ "rename with flags", rename_flags, false },
	{ "rename of an open file", rename_of_an_open_file, false },
	{ "hard links", hard_links, false },
	{ "symlinks", symlinks, false },
	{ "a symlink of 3000 bytes", long_symlink, false },
	{ "unlinked but open", unlinked_but_open, false },
	{ "FIFOs", fifo, false },
	{ "modes", modes, false },
	{ "umask", umask_counts, false },
	{ "times", times, false },
	{ "writing moves mtime", writing_moves_mtime, false },
	{ "statvfs", file_system, false },
	{ "O_APPEND", append, false },
	{ "truncate", truncate_both_ways, false },
	{ "sparse files beyond 4 GiB", sparse_and_far, false },
	{ "fallocate", allocate_and_punch, false },
	{ "3 MiB", megabytes, false },
	{ "readv and writev", vectors, false },
	{ "mmap", mapped, false },
	{ "copy_file_range", copied_by_the_kernel, false },
	{ "access modes", access_modes, false },
	{ "O_TMPFILE", nameless_file, false },
	{ "fsync, fdatasync, syncfs", syncing, false },
	{ "record locks", record_locks, false },
	{ "flock", whole_file_locks, false },
	{ "F_SETLKW", waiting_for_a_lock, false },
	{ "owners", owners, true },
	{ "files are their makers'", files_are_their_makers, true },
	{ "rights of others", rights_hold, true },
	{ "set-group-id directories", set_group_directories, true },
	{ "set-id bits end with a write", set_id_bits_end_with_a_write, true },
};

static bool run(const struct posix_case *c, unsigned int number)
{
	char dir[16];

	(void)snprintf(dir, sizeof(dir), "case-%u", number);
	failed_line = 0;
	if (mkdir(dir, 0755) < 0 || chdir(dir) < 0) {
		printf("not ok - %s: mkdir: %s\n", c->name, strerror(errno));
		return false;
	}
	c->fn();
	if (failed_line)
		printf("not ok - %s: line %d: %s\n", c->name, failed_line,
		       failed_errno ? strerror(failed_errno) : "not so");
	else
		printf("ok - %s\n", c->name);
	return chdir("..") == 0 && !failed_line;
}

int main(int argc, char **argv)
{
	bool root = argc > 2 && !strcmp(argv[2], "root");
	bool good = true;

	/* A child shall not print again what is in the buffer. */
	(void)setvbuf(stdout, NULL, _IONBF, 0);
	if (argc < 2 || chdir(argv[1]) < 0) {
		perror("posix_cases DIR [root]");
		return 2;
	}
	(void)umask(022);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!cases[i].root || root)
			good = run(&cases[i], i) && good;
	}
	return good ? 0 : 1;
}
