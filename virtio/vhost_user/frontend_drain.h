/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a ring of a foreign back end has stopped. Main loop. */
#ifndef TORPOR_VIRTIO_VHOST_USER_FRONTEND_DRAIN_H
#define TORPOR_VIRTIO_VHOST_USER_FRONTEND_DRAIN_H

#include "virtio/vhost_user/frontend.h"

/*
 * Sets the base of each ring of fe->stopping that keeps nothing any more and
 * takes it out of fe->stopping. Return: whether none is left.
 */
bool frontend_drained(struct frontend *fe);

#endif
