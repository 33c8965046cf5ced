/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user back end: speaks the protocol on one socket and drives one
 * struct virtio_dev. Single-threaded, on the device process's loop. A message
 * that breaks the protocol is answered by an error where the protocol has one
 * and else ends the connection; it never crashes the process.
 */
#ifndef TORPOR_VIRTIO_VHOST_USER_BACKEND_H
#define TORPOR_VIRTIO_VHOST_USER_BACKEND_H

#include "virtio/device.h"

struct backend;

struct backend_config {
	int vhost_fd;	/* owned; the connected stream socket */
	int ctl_fd;	/* owned; control channel or -1 */
	int regpage_fd; /* owned; or -1: interrupts are relayed */
	int wake_fd;	/* owned; or -1 */
};

/**
 * backend_create() - serve @dev on @loop
 * @cfg: its fds are owned by the back end after success
 *
 * Return: 0 and *ret (freed by backend_destroy()), or -errno.
 */
int backend_create(struct virtio_dev *dev, struct loop *loop,
		   const struct backend_config *cfg,
		   struct backend **ret) must_check;
void backend_destroy(struct backend *be);

/* Whether the peer has sent a whole message yet. */
bool backend_spoken_to(const struct backend *be);

/*
 * Says that the caller runs the loop in a thread it can replace. From then on
 * loop_run() also returns when dev->end_thread asks for that. The caller ends
 * the thread, calls backend_thread_change() and runs the loop in another.
 */
void backend_thread_can_change(struct backend *be);
/* Return: true if the loop stopped for a change, which is now done. */
bool backend_thread_change(struct backend *be);

#endif
