/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM without a guest, for tests of VIRTIO_F_SUSPEND: the transport in this
 * process, behind it a real torpor-device of the type under test, spawned and
 * jailed as a VMM does it, and a driver of a few words. One test is one process
 * and has one rig, so it is a global. The main thread is the VMM's main loop
 * and the driver; a write to a register is made by a thread, as by a vCPU.
 *
 * Failures end the test by cr_assert. Whatever is waited for is an event; only
 * the test's own time limit ends a wait for one that does not come.
 */
#ifndef TORPOR_TESTS_CONTRACT_RIG_H
#define TORPOR_TESTS_CONTRACT_RIG_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox/spawner.h"
#include "tests/contract/subject.h"
#include "tests/lib/guest_ring.h"
#include "virtio/mmio/mmio.h"

#define RIG_RAM (2U << 20) /* bytes */

/* Device Status. */
#define RIG_INIT    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define RIG_LIVE    0x0fU
#define RIG_SUSPEND 0x10U
#define RIG_NR	    VIRTIO_CONFIG_S_NEEDS_RESET

enum dialect {
	V14,
	DRAFT,
	NR_DIALECTS
};

struct rig {
	const struct contract_subject *subject;
	const struct virtio_type *type; /* the subject's */
	enum dialect dialect;

	struct loop loop;
	struct mailbox mailbox;
	struct guest g;
	struct virtio_mmio dev;
	int page_fd;
	struct virtio_regpage *page;
	struct guest_ring ring[VIRTIO_DEV_MAX_QUEUES];

	enum sandbox_mode mode;
	struct spawner *sp;
	struct spawn_result proc;
	int ctl, wake_fd;
	struct loop_source pid_src, ctl_src, host_src;
	struct loop_source irq_src, used_irq_src;
	uint32_t generation, acked; /* of the control channel */
	uint32_t config_told;	    /* last DEVCTL_CONFIG_CHANGED */

	int ready;	  /* answer to the handshake; 1: not yet */
	bool impatient;	  /* a slow drain lets the vCPU go, as in a VM */
	bool hold_config; /* do not read the control channel's news */
	unsigned int config_held;  /* changes told meanwhile */
	unsigned int failures;	   /* the transport gave the process up */
	unsigned int nr_suspended; /* times, as told by the transport */
	bool ended;		   /* the process has */
	uint64_t irqs_seen;	   /* by the driver */
	unsigned int host_events, host_seen;

	/* vhost-user messages to the process by request number. */
	unsigned int sent[64];
};

extern struct rig rig;

/* --- life --- */

/* Spawns the process; the device has been offered, and is in INIT. */
void rig_start(const struct contract_subject *subject, enum dialect dialect);
void rig_finish(void);
/* The driver brings it up. Also after a reset. */
void rig_live(void);
/* The same up to, but without, DRIVER_OK. */
void rig_negotiate(void);

/* --- registers --- */

uint32_t rig_get(uint32_t offset);
void rig_put(uint32_t offset, uint32_t value);
void rig_put_len(uint32_t offset, uint32_t value, uint32_t len);
uint32_t rig_status(void);
/* Return: what the same vCPU reads right after its write. */
uint32_t rig_put_status(uint32_t value);

/* A write in progress. */
struct vcpu {
	pthread_t thread;
	uint32_t offset, value, len;
	uint32_t seen; /* Status, right after it */
	struct snapshot *snap;
	atomic_bool done;
};
void vcpu_begin(struct vcpu *v, uint32_t offset, uint32_t value, uint32_t len);
/* Turns the loop until it has returned. Return: Status right after it. */
uint32_t vcpu_end(struct vcpu *v);

/* --- suspend --- */

/* What is read of a suspended device, and what is written to resume it. */
uint32_t rig_suspended(void);
uint32_t rig_resume_value(void);
/* Asserts that the first read after the write finds it suspended. */
void rig_suspend(void);
/* Asserts that it is live right after the write, and its rings in the end. */
void rig_resume(void);
/* Until no operation of the transport is in progress. */
void rig_until_idle(void);

/* --- the driver --- */

/* Kicks queue @q, as an ioeventfd does. */
void rig_kick(unsigned int q);
/* Waits for an interrupt (or news on the host's side) since the last look. */
void rig_wait(void);
/* Until all that the type has begun has come to its end. */
void rig_finish_io(void);
/* Interrupts so far. Any thread. */
uint64_t rig_irqs(void);
/*
 * Wakes rig_wait() when @fd becomes readable, instead of the last one. Nothing
 * if there is no rig.
 */
void rig_watch_host(int fd);
void rig_turn(void);
/* The same, without waiting for anything. */
void rig_turn_now(void);
/* InterruptACK, which is answered on the vCPU's thread. */
void rig_ack(uint32_t bits);
/* Status 0 from any state, in which the process lives; replays nothing. */
void rig_reset(void);

/* --- what may not change --- */

struct snapshot {
	uint64_t irqs;
	struct virtio_regpage page;
	uint8_t ram[RIG_RAM];
};

void snapshot_take(struct snapshot *s);
/* Rings, buffers, config space, all registers and interrupts are the same. */
void snapshot_same(const struct snapshot *a, const struct snapshot *b,
		   const char *when);
/* Nothing is in flight, and whatever was used has had its interrupt. */
void rig_assert_drained(const struct snapshot *s);

/* --- the process --- */

/* It has looked at everything that happened before this call. */
void rig_round_trip(void);
/* Stops the process where it is, lets it go on. */
void rig_freeze(void);
void rig_thaw(void);
/* SIGKILL, and until the transport knows. */
void rig_kill(void);
/* Until it waits for something: a process that polls or spins never does. */
void rig_until_asleep(void);
unsigned int rig_fds(void);
uint64_t rig_anon_kib(void);
/* Its own memory is not noticeably more than @kib. */
void rig_assert_flat(uint64_t kib);
/* DEVCTL_WAKE_ARM, until it is acknowledged. */
void rig_arm(bool on);
/* vhost-user messages since the last call, and of one kind. */
unsigned int rig_messages(void);
void rig_messages_clear(void);

#endif
