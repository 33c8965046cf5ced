/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the contracts need to know of a device type: its back end, requests, and
 * a driver that can tell whether what comes of them is right. One file each,
 * tests/contract/type_TYPE.c, which defines contract_TYPE[]: mostly one
 * subject. A type without it fails the build.
 */
#ifndef TORPOR_TESTS_CONTRACT_SUBJECT_H
#define TORPOR_TESTS_CONTRACT_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/spawner.h"
#include "tests/lib/guest_ring.h"
#include "virtio/types.h"

struct contract_subject {
	const char *name; /* "blk uring" */
	enum virtio_type_index type;

	/* The host's side; adds words, and fds that are closed here once the
	 * process has them. */
	void (*open)(struct spawn_request *req);
	/* Also of a half-opened one. */
	void (*close)(void);

	/* --- the device contract, tests/contract/device.c --- */

	unsigned int queue; /* on which a request is made */
	/*
	 * The buffers of a request that can be completed at once, and of which
	 * something is written: 4 at most, in the 4 KiB at @gpa. Return: their
	 * number.
	 */
	unsigned int (*request)(struct guest *g, struct guest_buf *bufs,
				uint64_t gpa);
	/* The host's part of a request, before it. Optional. */
	void (*host)(void);

	/* --- the suspend contract, in the rig --- */

	uint64_t features;  /* accepted besides those of rings */
	unsigned int depth; /* requests that begin() takes at a time */
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

/* Number @i of all; NULL: there are no more. */
const struct contract_subject *contract_subject(unsigned int i);
unsigned int contract_nr_subjects(void);

/* The subjects of each type; each ends with one without a name. */
#define CONTRACT_SUBJECTS(NAME, name, ...) \
	extern const struct contract_subject contract_##name[];
VIRTIO_TYPES(CONTRACT_SUBJECTS)

#endif
