/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A split ring against a simulated driver, well behaved and hostile. One
 * thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_VIRTQ_RIG_H
#define TORPOR_TESTS_LIB_VIRTQ_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "tests/lib/guest_ring.h"
#include "virtio/virtq.h"

#define SIZE	8
#define RAM	(4U << 20)
#define RAM_END (GUEST_RAM_GPA + RAM)

struct virtq_rig {
	struct guest g;
	struct guest_ring r; /* the driver's side */
	struct virtq vq;     /* the device's */
	struct virtio_regpage page;
	struct iovec iov[VIRTQ_MAX_CHAIN];
	struct virtq_chain c; /* the last one popped */
	uint64_t buf;	      /* 64 KiB of guest memory */
};

extern struct virtq_rig rig;

void virtq_test_begin(uint16_t size, bool event_idx, bool indirect);
void virtq_test_setup(void);
void virtq_test_setup_event_idx(void);
void virtq_test_teardown(void);
int pop(void);
/* The ring must be broken, say so once and stay so without harm. */
void assert_broken(void);
uint16_t add_out(uint32_t len);

#endif
