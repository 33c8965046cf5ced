/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * torpor-device by hand: a listening socket, and one front end at a time, each
 * served by a process of its own, so that its jail has no way to take a
 * connection and nothing is left from the last one.
 *
 * A device is one thing: two front ends would be two drivers of one disk. So
 * the first to say something gets it, as long as its connection lives:
 *
 *	accept --> silent --says something--> speaking --device free--> served
 *	             |                           |
 *	             v                           v  the device stays in use for
 *	  too many: the oldest is closed         closed   SOCKET_SERVER_WAIT_MS
 *
 * Single-threaded, on a loop of its own.
 */
#ifndef TORPOR_VIRTIO_SOCKET_SERVER_H
#define TORPOR_VIRTIO_SOCKET_SERVER_H

#include "vmm/base/util.h"

/* A front end that starts again may come before the last process has ended. */
#define SOCKET_SERVER_WAIT_MS 10000U
#define SOCKET_SERVER_WAITERS 16U

/**
 * socket_server_run() - serve until killed
 * @name: of the device, before what its processes log
 * @serve: in a child, which has the connection @fd, a log at DEVFD_LOG, stdin
 *	   and stdout and no other fd; returns its exit status
 *
 * Return: -errno, logged.
 */
int socket_server_run(const char *path, const char *name,
		      int (*serve)(const void *arg, int fd),
		      const void *arg) must_check;

#endif
