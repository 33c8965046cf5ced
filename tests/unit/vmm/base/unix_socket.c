/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/base/unix_socket.h: what is replaced and what is left alone. */
#define _GNU_SOURCE
#include "vmm/base/unix_socket.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static char dir[] = "/tmp/unix_socket.XXXXXX";
static char path[64];

static void setup(void)
{
	cr_assert(not(zero(ptr, mkdtemp(dir))));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(unix_socket, .init = setup, .fini = teardown, .timeout = 120);

Test(unix_socket, a_leftover_is_replaced)
{
	int fd = unix_listen(path, SOCK_STREAM, 1);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, unix_probe(path), 1));
	fd_close(&fd);
	cr_assert(eq(int, unix_probe(path), 0));
	fd = unix_listen(path, SOCK_STREAM, 1);
	cr_assert(ge(int, fd, 0));
	fd_close(&fd);
}

Test(unix_socket, one_that_is_in_use_is_not)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		int fd = unix_listen(path, types[i], 1);

		cr_assert(ge(int, fd, 0));
		cr_assert(eq(int, unix_listen(path, SOCK_STREAM, 1),
			     -EADDRINUSE));
		fd_close(&fd);
	}
}

Test(unix_socket, a_file_that_is_no_socket_is_kept)
{
	char text[8] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(ge(int, fd, 0));
	cr_assert(zero(int, fd_write_all(fd, "mine", 4)));
	cr_assert(eq(int, unix_listen(path, SOCK_STREAM, 1), -EEXIST));
	fd_close(&fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, (int)read(fd, text, sizeof(text)), 4));
	cr_assert(zero(int, strcmp(text, "mine")));
	fd_close(&fd);
}

Test(unix_socket, nothing_there)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	cr_assert(eq(int, unix_probe(path), -ENOENT));
	cr_assert(eq(int, unix_probe(longer), -ENAMETOOLONG));
	cr_assert(eq(int, unix_listen(longer, SOCK_STREAM, 1), -ENAMETOOLONG));
}
