/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file of the control socket: its creation, its takeover from a VM that
 * died, and its removal. Used at start and end, on the main thread, by
 * control.c, and by vsock_socket.c for its sockets.
 *
 * The socket appears under its name only once it answers: it is bound and made
 * to listen under a temporary name, then linked, which fails if the name is
 * taken. A stale socket is removed under a lock of the directory, so that two
 * VMs started at once cannot remove each other's.
 */
#ifndef TORPOR_VMM_BASE_SOCKET_FILE_H
#define TORPOR_VMM_BASE_SOCKET_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

#define CONTROL_SOCKET_PATH_MAX 107 /* bytes; sun_path less its NUL */

struct control_socket {
	int type;	    /* SOCK_STREAM, SOCK_SEQPACKET */
	const char *option; /* for messages: "--socket" */
	bool control;	    /* it is the control socket */
	int fd;		    /* listening, non-blocking */
	int dir_fd;	    /* so that it can be removed from inside a jail */
	char name[CONTROL_SOCKET_PATH_MAX + 1]; /* in that directory */
	dev_t dev;
	ino_t ino; /* of the file: no other may be removed */
};

/*
 * Return: 0; -EADDRINUSE a live VM has it; -EEXIST not a socket;
 * -ENAMETOOLONG; -EBUSY another start is replacing it; or -errno, with @err.
 */
int control_socket_open(struct control_socket *sock, const char *path,
			struct err *err) must_check;
/*
 * For another socket than the control socket: of @type, requested by @option
 * (borrowed). Return: the same.
 */
int control_socket_open_other(struct control_socket *sock, const char *path,
			      int type, const char *option,
			      struct err *err) must_check;
/* Removes the file if it is still ours, then stops listening. */
void control_socket_close(struct control_socket *sock);

#endif
