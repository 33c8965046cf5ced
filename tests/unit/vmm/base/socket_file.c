/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of the control socket: taken, stale, foreign, forbidden. */
#define _GNU_SOURCE
#include "vmm/base/socket_file.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64], path[108];
static struct control_socket sock;
static struct err err;

static void setup(void)
{
	strcpy(dir, "/tmp/torpor-socket.XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/vm.sock", dir);
	cr_assert(eq(int, control_socket_open(&sock, path, &err), 0), "%s",
		  err.msg);
}

static void teardown(void)
{
	control_socket_close(&sock);
	(void)unlink(path);
	/* Nothing of ours may be left in it. */
	cr_assert(eq(int, rmdir(dir), 0));
}

TestSuite(control_socket, .init = setup, .fini = teardown, .timeout = 120);

static bool answers(const char *at)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	memcpy(sa.sun_path, at, strlen(at));
	good = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	close(fd);
	return good;
}

/* A socket file that nobody listens on, in place of ours. */
static void make_stale(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	control_socket_close(&sock);
	strcpy(sa.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	close(fd);
}

Test(control_socket, is_private_and_removed_at_the_end)
{
	struct stat st;

	cr_assert(eq(int, lstat(path, &st), 0));
	cr_assert(eq(u32, st.st_mode, S_IFSOCK | 0600));
	cr_assert(answers(path));
	control_socket_close(&sock);
	cr_assert(eq(int, lstat(path, &st), -1));
	control_socket_close(&sock); /* a second time is fine */
}

Test(control_socket, of_a_live_vm_is_busy)
{
	struct control_socket second;

	cr_assert(
		eq(int, control_socket_open(&second, path, &err), -EADDRINUSE));
	cr_assert(ne(ptr, strstr(err.msg, path), NULL));
	cr_assert(ne(ptr, strstr(err.msg, "torpor stop"), NULL));
	cr_assert(answers(path));
	control_socket_close(&second);
	cr_assert(answers(path));
}

Test(control_socket, of_another_type_is_busy)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	control_socket_close(&sock);
	strcpy(sa.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	cr_assert(eq(int, control_socket_open(&sock, path, &err), -EADDRINUSE));
	close(fd);
}

Test(control_socket, with_a_full_queue_is_busy)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);

	control_socket_close(&sock);
	strcpy(sa.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	cr_assert(eq(int, listen(fd, 0), 0));
	cr_assert(eq(int, connect(client, (struct sockaddr *)&sa, sizeof(sa)),
		     0));
	cr_assert(eq(int, control_socket_open(&sock, path, &err), -EADDRINUSE));
	close(client);
	close(fd);
}

Test(control_socket, that_is_stale_is_replaced)
{
	make_stale();
	cr_assert(eq(int, control_socket_open(&sock, path, &err), 0), "%s",
		  err.msg);
	cr_assert(answers(path));
}

Test(control_socket, that_is_stale_is_left_while_another_start_replaces_it)
{
	int fd;

	make_stale();
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	cr_assert(eq(int, flock(fd, LOCK_EX), 0));
	cr_assert(eq(int, control_socket_open(&sock, path, &err), -EBUSY));
	cr_assert(ne(ptr, strstr(err.msg, "try again"), NULL));
	close(fd);
	cr_assert(eq(int, control_socket_open(&sock, path, &err), 0), "%s",
		  err.msg);
}

Test(control_socket, path_of_a_plain_file_or_link_is_never_removed)
{
	struct stat st;

	control_socket_close(&sock);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	cr_assert(eq(int, control_socket_open(&sock, path, &err), -EEXIST));
	cr_assert(ne(ptr, strstr(err.msg, "not a socket"), NULL));
	cr_assert(eq(int, lstat(path, &st), 0));
	cr_assert(eq(u32, st.st_mode & S_IFMT, S_IFREG));
	unlink(path);
	cr_assert(eq(int, symlink("/nowhere", path), 0));
	cr_assert(eq(int, control_socket_open(&sock, path, &err), -EEXIST));
	cr_assert(eq(int, lstat(path, &st), 0));
}

Test(control_socket, of_another_vm_is_not_removed_at_the_end)
{
	struct control_socket second;

	cr_assert(eq(int, unlink(path), 0));
	cr_assert(eq(int, control_socket_open(&second, path, &err), 0), "%s",
		  err.msg);
	control_socket_close(&sock);
	cr_assert(answers(path));
	control_socket_close(&second);
	cr_assert(eq(int, answers(path), 0));
}

Test(control_socket, of_a_relative_path_is_removed_from_another_directory)
{
	control_socket_close(&sock);
	cr_assert(eq(int, chdir(dir), 0));
	cr_assert(eq(int, control_socket_open(&sock, "vm.sock", &err), 0), "%s",
		  err.msg);
	cr_assert(eq(int, chdir("/"), 0));
	cr_assert(answers(path));
	control_socket_close(&sock);
	cr_assert(eq(int, access(path, F_OK), -1));
}

Test(control_socket, path_too_long_is_refused_with_the_limit)
{
	struct control_socket second;
	char longer[160];

	memset(longer, 'x', sizeof(longer));
	memcpy(longer, dir, strlen(dir));
	longer[strlen(dir)] = '/';
	longer[108] = '\0';
	cr_assert(eq(int, control_socket_open(&second, longer, &err),
		     -ENAMETOOLONG));
	cr_assert(ne(ptr, strstr(err.msg, "107"), NULL));
	longer[107] = '\0';
	cr_assert(eq(int, control_socket_open(&second, longer, &err), 0), "%s",
		  err.msg);
	cr_assert(answers(longer));
	control_socket_close(&second);
}

Test(control_socket, without_directory_or_name_is_refused)
{
	struct control_socket second;
	char at[108];

	(void)snprintf(at, sizeof(at), "%s/none/vm.sock", dir);
	cr_assert(eq(int, control_socket_open(&second, at, &err), -ENOENT));
	cr_assert(ne(ptr, strstr(err.msg, at), NULL));
	(void)snprintf(at, sizeof(at), "%s/", dir);
	cr_assert(eq(int, control_socket_open(&second, at, &err), -EISDIR));
	(void)snprintf(at, sizeof(at), "%s/..", dir);
	cr_assert(eq(int, control_socket_open(&second, at, &err), -EISDIR));
	cr_assert(eq(int, control_socket_open(&second, "", &err), -EISDIR));
}

Test(control_socket, in_a_directory_without_permission_is_refused)
{
	bool root = geteuid() == 0;
	int r;

	control_socket_close(&sock);
	cr_assert(eq(int, chmod(dir, root ? 0755 : 0500), 0));
	if (root)
		cr_assert(eq(int, seteuid(65534), 0));
	r = control_socket_open(&sock, path, &err);
	if (root)
		cr_assert(eq(int, seteuid(0), 0));
	cr_assert(eq(int, chmod(dir, 0700), 0));
	cr_assert(eq(int, r, -EACCES));
	cr_assert(ne(ptr, strstr(err.msg, "may write"), NULL));
}

/* However many come before the next turn of the loop, none is refused. */
Test(control_socket, hundreds_may_wait_to_be_taken)
{
	static int fds[500];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	memcpy(sa.sun_path, path, strlen(path));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_UNIX,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		cr_assert(zero(int, connect(fds[i], (struct sockaddr *)&sa,
					    sizeof(sa))),
			  "%zu: %s", i, strerror(errno));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}
