/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the suspend contract needs to know of a device type: how its process is
 * given its back end, and a driver that can begin requests and tell whether
 * what comes of them is right. One file each, tests/contract/type_*.c, and one
 * entry in tests/contract/types.c.
 */
#ifndef TORPOR_TESTS_CONTRACT_TYPE_H
#define TORPOR_TESTS_CONTRACT_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/spawner.h"

struct contract_type {
	const char *name; /* "blk uring" */
	const char *role; /* torpor-device's */
	uint32_t id;	  /* virtio device type */
	uint16_t queue_size;
	unsigned int nr_queues;
	uint32_t config_size; /* bytes */
	uint64_t features;    /* accepted besides those of rings */
	unsigned int depth;   /* requests that begin() takes at a time */

	/* The host's side; adds words, and fds that are closed here once the
	 * process has them. */
	void (*open)(struct spawn_request *req);
	/* Also of a half-opened one. */
	void (*close)(void);
	/* The driver, after DRIVER_OK: buffers to receive into and the like. */
	void (*live)(void);
	/*
	 * Makes @n requests available and kicks. Does not wait. Up to depth,
	 * and depth / 4 more before the first are finished.
	 */
	void (*begin)(unsigned int n);
	/* The host's side gets busy, within bounds. */
	void (*flood)(void);
	/*
	 * Takes what has come and checks it: each once, in order, right.
	 * Return: what is still to come, of begin() and flood().
	 */
	unsigned int (*collect)(void);
	/*
	 * Makes the device change its config space; changed(): is it there?
	 * Optional: a type whose config space never changes has none.
	 */
	void (*change)(void);
	bool (*changed)(void);
	/*
	 * The back end goes away, which an armed process notices, and its
	 * config space says so: vanished(). Optional.
	 */
	void (*vanish)(void);
	bool (*vanished)(void);
	/*
	 * Begins a request that waits for the host, lets it go on. Optional: a
	 * type whose requests never wait has none.
	 */
	void (*hold)(void);
	void (*release)(void);
	/* What the process keeps for the driver is still there. Optional. */
	void (*kept)(void);
	/* The dead process has nothing in flight. Optional. */
	bool (*fenced)(void);
};

/* All of them; in the order of contract_nr. */
extern const struct contract_type *const contract_types[];
extern const unsigned int contract_nr;

extern const struct contract_type contract_blk_uring;
extern const struct contract_type contract_blk_threads;
extern const struct contract_type contract_console;
extern const struct contract_type contract_fs;
extern const struct contract_type contract_net;
extern const struct contract_type contract_rng;
extern const struct contract_type contract_vsock;

#endif
