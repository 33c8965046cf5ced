/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's part of a vsock device, whose process can neither bind nor connect:
 * the two listening sockets of --vsock, PATH for streams and PATH.seqpacket for
 * messages, and the answers to the guest's connections (virtio/vsock/dial.h).
 * A process that asks more than once a millisecond waits, one that does not
 * keep to the protocol is answered no more. Main thread.
 */
#ifndef TORPOR_VMM_VM_VSOCK_SOCKET_H
#define TORPOR_VMM_VM_VSOCK_SOCKET_H

#include "virtio/vsock/dial.h"
#include "vmm/base/err.h"
#include "vmm/base/loop.h"
#include "vmm/base/socket_file.h"

struct vsock_socket {
	char path[VSOCK_PATH_MAX + 1];
	struct control_socket stream, seqpacket;
	int dial_fd; /* of the channel with the process; -1: none */
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
/**
 * vsock_socket_dials() - make the channel with a process, in place of the last
 *
 * Return: the process's end, the caller's; or -errno with @err.
 */
int vsock_socket_dials(struct vsock_socket *sock, struct err *err) must_check;
/* The device is gone, or all is: removes the files. Idempotent. */
void vsock_socket_close(struct vsock_socket *sock);

#endif
