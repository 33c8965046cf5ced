/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections that the guest opens, to UNIX sockets of the host: the guest's
 * port P of CID 2 is the socket PATH_P. A vsock device in its jail can connect
 * to nothing, so it asks whoever started it over a SOCK_SEQPACKET pair: one
 * struct vsock_dial a packet, one question at a time, each answered before the
 * next. The answer carries the connected socket, or no fd.
 *
 * Who answers trusts the device with a port number and a type, no more: what it
 * connects to is PATH, "_" and that number. The VMM (vmm/vm/vsock_socket.c)
 * does so, or a process of torpor-device --socket.
 */
#ifndef TORPOR_VIRTIO_VSOCK_DIAL_H
#define TORPOR_VIRTIO_VSOCK_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/util.h"

/* Bytes of PATH, so that "_4294967295" and ".seqpacket" fit behind it. */
#define VSOCK_PATH_MAX 96
/* Behind PATH: where host programs connect for messages instead of bytes. */
#define VSOCK_SEQPACKET_SUFFIX ".seqpacket"

struct vsock_dial {
	uint32_t port; /* of the host */
	uint32_t type; /* VIRTIO_VSOCK_TYPE_* */
};

_Static_assert(sizeof(struct vsock_dial) == 8, "wire format");

/**
 * vsock_dial() - connect to PATH_PORT, without waiting
 *
 * Return: a non-blocking socket of the caller's, or -errno: -ENOENT and
 * -ECONNREFUSED nobody listens, -EPROTOTYPE not for this type, -EAGAIN too many
 * wait there, -EINVAL no such type.
 */
int vsock_dial(const char *path, const struct vsock_dial *dial) must_check;

/**
 * vsock_dial_answer() - answer one question on @sock
 *
 * Return: 1; 0 there is none; -errno: the other side has gone or does not keep
 * to the rules, and nothing more will be answered.
 */
int vsock_dial_answer(int sock, const char *path) must_check;

/**
 * vsock_dial_process() - a process that answers until the device's end closes
 * @ret_fd: the device's end, of the caller's
 *
 * For torpor-device --socket, before its jail is closed.
 * Return: 0 or -errno.
 */
int vsock_dial_process(const char *path, int *ret_fd) must_check;

#endif
