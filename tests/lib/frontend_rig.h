/* SPDX-License-Identifier: BSD-3-Clause */
/* A front end on a scripted back end, with the memory of two rings. */
#ifndef TORPOR_TESTS_LIB_FRONTEND_RIG_H
#define TORPOR_TESTS_LIB_FRONTEND_RIG_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>

#include "tests/lib/fake_backend.h"
#include "virtio/vhost_user/frontend.h"
#include "vmm/base/fd.h"

#define MS	    1000000ULL
#define CONFIG_SIZE 24
#define PROTOCOL    (1ULL << VHOST_USER_F_PROTOCOL_FEATURES)
#define RAM_SIZE    0x100000ULL
#define RING_SIZE   8

struct frontend_rig {
	struct loop loop;
	struct gmem gm;
	struct fake_backend fb;
	struct frontend fe;
	unsigned int calls, failures;
	unsigned int taken; /* of the calls, by fr_await() */
	int result;
	bool inside; /* the call that began an operation */
};

extern struct frontend_rig fr;

void fr_setup(void);
void fr_teardown(void);
/* The end of an operation. */
void fr_on_done(struct frontend *f, int r);
/* Until there were @n of them. */
void fr_turn_until_done(unsigned int n);
/* What the operation that was begun last has come to, or comes to. */
int fr_await(void);
int fr_handshake(void);
/* Of both, their kick eventfds included. */
void fr_make_rings(void);

#endif
