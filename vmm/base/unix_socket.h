/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening UNIX sockets of programs that are started by hand. (The VMM's are
 * made by vmm/control_socket.c, which is more careful.) Any thread.
 */
#ifndef TORPOR_BASE_UNIX_SOCKET_H
#define TORPOR_BASE_UNIX_SOCKET_H

#include "vmm/base/util.h"

/**
 * unix_listen() - listen on @path
 * @type: SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK or without
 * @backlog: connections that wait to be accepted
 *
 * The leftover of a dead server is removed; mode by the umask.
 * Return: fd, close-on-exec; -EADDRINUSE somebody listens there;
 * -ENAMETOOLONG; -errno.
 */
int unix_listen(const char *path, int type, int backlog) must_check;

#endif
