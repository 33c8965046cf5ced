/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transport on a scripted back end, driven by vCPUs that are threads. Each
 * test has a process of its own, and so a fresh one.
 */
#ifndef TORPOR_TESTS_LIB_MMIO_RIG_H
#define TORPOR_TESTS_LIB_MMIO_RIG_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>

#include "tests/lib/fake_backend.h"
#include "virtio/mmio/mmio.h"
#include "vmm/base/fd.h"

#define MS	    1000000ULL
#define CONFIG_SIZE 24
#define RAM_SIZE    0x100000ULL
#define VERSION_1   (1ULL << VIRTIO_F_VERSION_1)
#define INDIRECT    (1ULL << 28)
#define NR_QUEUES   2
#define QUEUE_SIZE  64

#define ACK	    VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER	    VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK   VIRTIO_CONFIG_S_DRIVER_OK
#define FAILED	    VIRTIO_CONFIG_S_FAILED
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define LIVE	    (ACK | DRIVER | FEATURES_OK | DRIVER_OK)

struct mmio_rig {
	struct loop loop;
	struct mailbox mailbox;
	struct gmem gm;
	struct fake_backend fb;
	struct virtio_mmio dev;
	struct virtio_regpage page __attribute__((aligned(4096)));
	struct virtio_mmio_ops ops; /* count; a test may add to them */
	/* What mr_begin() offers, set before. */
	uint64_t suspend_offer;			   /* VIRTIO_F_SUSPEND */
	const struct virtio_mmio_foreign *foreign; /* a back end, or NULL */

	int ready; /* 1: until told */
	int moved; /* 1: until told */
	unsigned int holds, releases, resets, lives, failures;
	bool held; /* no vCPU in guest mode */
};

extern struct mmio_rig mr;

/* ------------------------------------------------------------------- life */

/* All but the transport; mr.fb has started. */
void mr_setup(void);
/* The transport, its handshake included. */
void mr_begin(void);
void mr_setup_ready(void);
/* With both dialects of VIRTIO_F_SUSPEND. */
void mr_setup_suspend(void);
void mr_teardown(void);
/* Tears it down; what the test sets then is for a fresh one. */
void mr_renew(void);

/* One turn of the loop. */
void mr_turn(void);
void mr_until_idle(void);
/* Messages of that type that the back end was sent. */
unsigned int mr_count(uint32_t request);
bool mr_irq_raised(void);

/* ----------------------------------------------------------------- a vCPU */

struct vcpu_write {
	pthread_t thread;
	uint64_t offset;
	uint64_t value;
	uint32_t len;
	atomic_bool done;
};

/* @w is static, as the thread may outlive a test that fails. */
void mr_write_begin(struct vcpu_write *w, uint64_t offset, uint64_t value,
		    uint32_t len);
void mr_write_end(struct vcpu_write *w);
void mr_put_len(uint64_t offset, uint64_t value, uint32_t len);
void mr_put(uint64_t offset, uint32_t value);
uint32_t mr_get(uint64_t offset);
uint32_t mr_status(void);
void mr_put_status(uint32_t value);

/* ------------------------------------------------------------- the driver */

void mr_accept_features(uint64_t features);
/* Up to FEATURES_OK. */
void mr_negotiate(uint64_t features);
void mr_describe(uint32_t queue, uint32_t size, uint64_t desc, uint64_t driver,
		 uint64_t device);
/* Return: QueueReady. */
uint32_t mr_make_ready(uint32_t queue);
/* With both queues. */
void mr_go_live(void);

/* -------------------------------------------- stopped, started by the VMM */

/* Sets mr.moved, once. */
void mr_on_moved(struct virtio_mmio *d, int r);
/* Return: what was told. */
int mr_quiesce(void);
int mr_restart(void);

/* Once the process has died: no reset before the fence, and none that helps. */
void mr_die_and_recover(void);

#endif
