/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's part of a vsock device, whose process can neither bind nor connect:
 * the two listening sockets of --vsock, PATH for streams and PATH.seqpacket for
 * messages, and the answers to the guest's connections (virtio/vsock_dial.h).
 * A process that asks more than once a millisecond waits, one that does not
 * keep to the protocol is answered no more. Main thread.
 */
#ifndef TORPOR_VMM_VSOCK_SOCKET_H
#define TORPOR_VMM_VSOCK_SOCKET_H

#include "virtio/vsock_dial.h"
#include "vmm/base/err.h"
#include "vmm/base/loop.h"
#include "vmm/control_socket.h"

struct vsock_socket {
	char path[VSOCK_PATH_MAX + 1];
	struct control_socket stream, seqpacket;
	int device_dial_fd; /* the device's end; closed once it is spawned */
	int dial_fd;
	struct loop *loop;
	struct loop_source dial_src;
	struct loop_timer pause;
};

/**
 * vsock_socket_open() - make the sockets and listen
 * @path: at most VSOCK_PATH_MAX bytes
 *
 * Return: 0; or -errno with @err, as control_socket_open(). Either way
 * vsock_socket_close() takes it.
 */
int vsock_socket_open(struct vsock_socket *sock, struct loop *loop,
		      const char *path, struct err *err) must_check;
/* The device is gone, or all is: removes the files. Idempotent. */
void vsock_socket_close(struct vsock_socket *sock);

#endif
