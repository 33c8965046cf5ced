/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user back end over a device that records what it is told, and what a
 * front end asks of it. One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_BACKEND_RIG_H
#define TORPOR_TESTS_LIB_BACKEND_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/guest_ring.h"

#define V1  (1ULL << VIRTIO_F_VERSION_1)
#define F30 (1ULL << VHOST_USER_F_PROTOCOL_FEATURES)

/* A device that records what it is told, behind its back end. */
struct recorder {
	struct front f;
	struct virtio_dev dev;
	uint64_t buf; /* gpa, a page */
	unsigned int starts, stops, kicks[2], stop_queues[2], arms;
	bool armed;
	int start_result;
	uint16_t held; /* chain kept between kick and stop_queue, or -1 */
	bool hold;     /* take a chain and give it back only when stopped */
	bool has_held;
};

extern struct recorder rec;
extern const struct virtio_dev_ops recorder_ops;

void backend_setup(void);
void backend_teardown(void);
struct vhost_user_msg msg(uint32_t request, uint32_t size);
uint64_t ask_state(uint32_t request, uint32_t index, uint32_t num);
uint64_t ask_u64(uint32_t request, uint64_t v, const int *fds, unsigned int nr);
/* The connection must end and the loop with it. */
void assert_closed(void);
unsigned int count_fds(void);
uint16_t add_in(unsigned int queue, uint32_t len);

#endif
