/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests whether a process listens at a path; makes listening UNIX sockets for
 * programs that are started by hand. (vmm/base/socket_file.c makes the VMM's,
 * with more care.) Any thread.
 */
#ifndef TORPOR_VMM_BASE_UNIX_SOCKET_H
#define TORPOR_VMM_BASE_UNIX_SOCKET_H

#include <sys/un.h>

#include "vmm/base/util.h"

/* Return: 0; -ENAMETOOLONG the path does not fit. */
int unix_address(struct sockaddr_un *ret, const char *fmt, ...) must_check
	__attribute__((format(printf, 2, 3)));

/*
 * Does a process listen at @path? Return: 1 yes, 0 no (a dead process left it
 * behind), -ENOENT no such file, -EEXIST not a socket, -ENAMETOOLONG, -errno.
 */
int unix_probe(const char *path) must_check;

/**
 * unix_listen() - listen on @path
 * @type: SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK or without
 * @backlog: connections that wait to be accepted
 *
 * A socket left behind by a dead server is removed; the umask sets the mode.
 * Return: fd, close-on-exec; -EADDRINUSE a process listens there; -EEXIST the
 * file is not a socket; -ENAMETOOLONG; -errno.
 */
int unix_listen(const char *path, int type, int backlog) must_check;

#endif
