/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A socket device (virtio 1.x, 5.10) of a guest that listens on every port. A
 * request for SOCK_KEPT_PORT is accepted and its bytes are received, one to any
 * other port is refused. Either counts as something received. The answer waits
 * until the device is live.
 */
#ifndef TORPOR_GUEST_SOCK_H
#define TORPOR_GUEST_SOCK_H

#include "guest/payloads/rx.h"

#define SOCK_KEPT_PORT 5000U

/* @dev may be NULL. */
void sock_init(struct vio_dev *dev);
struct rx *sock_rx(void);
/* After a start or a resume: what was owed to the device. */
void sock_answer(void);
/* A reset has ended what was owed. Return: whether it will be asked again. */
bool sock_forget(void);
/* Prints "GOT vsock N": a port, or a byte. */
void sock_got(const uint8_t *buf, uint32_t len);

#endif
