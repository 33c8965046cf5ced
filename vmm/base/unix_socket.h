/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether anybody listens at a path; and listening UNIX sockets of programs
 * that are started by hand. (The VMM's are made by vmm/base/socket_file.c,
 * which is more careful.) Any thread.
 */
#ifndef TORPOR_VMM_BASE_UNIX_SOCKET_H
#define TORPOR_VMM_BASE_UNIX_SOCKET_H

#include "vmm/base/util.h"

/*
 * Does anybody answer at @path? Return: 0 nobody (a dead one's leftover), 1
 * somebody, -ENOENT no such file, -EEXIST not a socket, -ENAMETOOLONG, -errno.
 */
int unix_probe(const char *path) must_check;

/**
 * unix_listen() - listen on @path
 * @type: SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK or without
 * @backlog: connections that wait to be accepted
 *
 * The leftover of a dead server is removed; mode by the umask.
 * Return: fd, close-on-exec; -EADDRINUSE somebody listens there; -EEXIST the
 * file is no socket; -ENAMETOOLONG; -errno.
 */
int unix_listen(const char *path, int type, int backlog) must_check;

#endif
