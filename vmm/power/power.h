/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The power coordinator: the one place that knows whether the guest sleeps.
 *
 * A stock Linux guest that enters s2idle makes every online CPU read the C2
 * port (devices/pmc.h). Such a vCPU thread is parked here. "All parked" counts
 * online vCPUs only and is asleep only if none of them has an interrupt
 * pending: a census makes each vCPU thread, kicked out of KVM_RUN if need be,
 * look at its own local APIC. The census is repeated after the devices are
 * quiesced, because their last interrupt may have landed meanwhile.
 *
 * One table holds all transitions, power_transitions[]; docs/power.md draws it,
 * and a test compares the two. A pause is independent of it and invisible to
 * the guest: it stops devices and vCPUs whatever the guest does, and the two
 * nest.
 *
 * Threads: power_c2_read(), power_s1(), power_kicked(), power_ran() and
 * power_lps0() on the vCPU's own thread; the rest on the main loop unless it
 * says otherwise. Files: step.c the table, power.c the way down and up, park.c
 * the vCPU side, wake.c the wake sources, request.c the requests to sleep,
 * pause.c the pause. The step has one writer at a time: the holder of the lock.
 */
#ifndef TORPOR_VMM_POWER_POWER_H
#define TORPOR_VMM_POWER_POWER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/arch.h"
#include "devices/acpi_pm.h"
#include "vmm/base/util.h"
#include "vmm/power/stats.h"
#include "vmm/trace/trace.h"

/* The states that clients see. */
enum power_state {
	POWER_RUNNING,
	POWER_SUSPENDING,
	POWER_SUSPENDED,
	POWER_RESUMING,
};

/* The coordinator's step; each belongs to one state. */
enum power_step {
	POWER_STEP_AWAKE,      /* RUNNING */
	POWER_STEP_PARKING,    /* SUSPENDING: until all vCPUs are parked */
	POWER_STEP_QUIESCING,  /* SUSPENDING: devices are being stopped */
	POWER_STEP_CHECKING,   /* SUSPENDING: they are; second census */
	POWER_STEP_UNDOING,    /* SUSPENDING: they are being restarted */
	POWER_STEP_ASLEEP,     /* SUSPENDED */
	POWER_STEP_RESTARTING, /* RESUMING: devices are being restarted */
	POWER_STEP_RELEASED,   /* RESUMING: the vCPUs run */
	POWER_NR_STEPS,
};

/* The events that move it; docs/power.md says what each means. */
enum power_event {
	POWER_EVENT_PRESS,
	POWER_EVENT_SIGN,
	POWER_EVENT_QUIET,
	POWER_EVENT_BUSY,
	POWER_EVENT_FAILED,
	POWER_EVENT_WAKE,
	POWER_EVENT_DEVICES_BACK,
	POWER_EVENT_S1_RETURN,
	POWER_EVENT_CAME_BACK,
	POWER_EVENT_SILENT,
	POWER_EVENT_GIVEN_UP,
	POWER_NR_EVENTS,
};

struct power_transition {
	enum power_step from;
	enum power_event event;
	enum power_step to;
};

#define POWER_NR_TRANSITIONS 17
extern const struct power_transition power_transitions[POWER_NR_TRANSITIONS];

/* The pause, which the guest does not see. */
enum power_pause {
	POWER_PAUSE_OFF,
	POWER_PAUSE_STARTING, /* vCPUs are held, devices are being stopped */
	POWER_PAUSE_ON,
	POWER_PAUSE_ENDING,  /* devices are being restarted */
	POWER_PAUSE_FAILING, /* the same, and it has never been on */
};

enum power_sleep {
	POWER_SLEEP_S2IDLE,  /* C2: the guest's timekeeping is frozen */
	POWER_SLEEP_SHALLOW, /* halted without C2: MONOTONIC goes on */
	POWER_SLEEP_S1,
};

/* Who began the sleep of SUSPENDING. */
enum power_onset {
	POWER_ONSET_GUEST,  /* the guest's */
	POWER_ONSET_ASKED,  /* a client's; the guest has given no sign yet */
	POWER_ONSET_OBEYED, /* a client's; and the guest has */
};

/* LPS0, by the guest's notices. */
enum power_lps0_state {
	POWER_LPS0_OUT,
	POWER_LPS0_IN,	/* entry came, exit has not */
	POWER_LPS0_OLD, /* the same, but the exit ends a former sleep */
};

/* Notes of vCPU threads to the main loop; bits of struct power's notes. */
enum power_note {
	POWER_NOTE_ENTERED = 1U << 0, /* SUSPENDING began by itself */
	POWER_NOTE_QUIET = 1U << 1,   /* a census ended quiet */
	POWER_NOTE_BUSY = 1U << 2,    /* one after quiescing did not */
	/* LPS0 exit; or S1 ended before it was a sleep. */
	POWER_NOTE_EXIT = 1U << 3,
	POWER_NOTE_OLD_EXIT = 1U << 4, /* LPS0 exit of a former sleep */
};

enum power_timer {
	POWER_TIMER_SHALLOW, /* LPS0 entry came, C2 reads have not */
	POWER_TIMER_RESUME,  /* end of RESUMING without LPS0 exit */
	POWER_TIMER_REQUEST, /* the first deadline of a request */
	POWER_TIMER_REFUSED, /* the guest came back and does not try again */
	POWER_TIMER_STORM,   /* a source that stormed may wake again */
	POWER_TIMER_PRESS,   /* no sign of the guest yet: press again */
	POWER_NR_TIMERS,
};

/* An event that may wake the guest. Embedded in its producer. */
struct wake_source {
	const char *name;     /* "powerbtn", "net0"; borrowed */
	uint16_t pm1_bit;     /* fixed event it raises, or 0 */
	uint32_t gpe_bit;     /* general purpose event that it raises, or 0 */
	bool button;	      /* raises wake_gpe instead while asleep */
	bool off;	      /* by --wake: does not wake, whatever armed */
	bool deliberate;      /* a person's or the launcher's: no storm */
	struct irq_line *irq; /* plain interrupt instead of an SCI, or NULL */
	bool armed;	      /* by the guest, where PM1_EN and GPE_EN do not
				 say so: _DSW, serial receive interrupt */
	bool latched;	      /* happened, not yet taken by the guest */
	bool raised;	      /* status bits were set for this latch */
	uint64_t count;	      /* events so far */
	uint64_t wakes;	      /* times it ended a sleep */
	uint64_t last_ns;     /* CLOCK_BOOTTIME of the last event */
	unsigned int short_sleeps; /* that it ended in a row, see wake.c */
	uint64_t storm_ns; /* does not wake the guest before; 0: it does */
	struct wake_source *next;
};

struct power;

/* @power is embedded in its owner. */
struct power_ops {
	/* --- on the vCPU's own thread, outside KVM_RUN --- */
	unsigned int (*vcpu_inspect)(struct power *power, unsigned int cpu);
	/* Halt an offline vCPU in the kernel, where INIT and SIPI reach it. */
	void (*vcpu_halt)(struct power *power, unsigned int cpu);
	/* --- any thread, lock held: must not call back --- */
	/* Make the vCPU leave KVM_RUN and call power_kicked() soon. */
	void (*vcpu_kick)(struct power *power, unsigned int cpu);
	/* Have power_poll() called on the main loop soon. */
	void (*post)(struct power *power);
	/* --- main loop --- */
	/*
	 * quiesce: stop every live device and everything else that might touch
	 * the guest or wake a thread; then call power_quiesced(), on success or
	 * failure, now or later. restart: undo it; then power_restarted().
	 */
	void (*quiesce)(struct power *power);
	void (*restart)(struct power *power);
	/*
	 * hold: no vCPU runs guest code from the return on. set_clock: after a
	 * pause, before devices and vCPUs run again: notify the guest that it
	 * was stopped or, with @freeze, exclude the pause from its clocks.
	 */
	void (*vcpus_hold)(struct power *power);
	void (*set_clock)(struct power *power, bool freeze);
	void (*vcpus_release)(struct power *power);
	uint64_t (*now_ns)(struct power *power);
	void (*timer_set)(struct power *power, enum power_timer timer,
			  uint64_t delay_ns);
	void (*timer_cancel)(struct power *power, enum power_timer timer);
	/* The state changed. @source: what woke it, for RESUMING; or NULL. */
	void (*event)(struct power *power, enum power_state state,
		      const struct wake_source *source);
	/* A pause began, or ended. */
	void (*paused)(struct power *power, bool paused);
	/* A pause that never began, and was not reported, is over. */
	void (*pause_failed)(struct power *power);
	/* A source woke the guest too often and may not for a while. */
	void (*storm)(struct power *power, const struct wake_source *source);
};

enum power_outcome {
	POWER_ASLEEP,
	POWER_REFUSED, /* the guest began, came back and stayed awake */
	POWER_TIMEOUT,
	POWER_ABORTED,	 /* by power_request.source */
	POWER_CANCELLED, /* by power_cancel() */
	POWER_DEAF,	 /* PM1_EN.SLPBTN_EN clear: the button has no effect */
	POWER_FAILED,	 /* a device did not quiesce: power_request.device */
	POWER_PAUSED,	 /* as asked */
	POWER_FORCED,	 /* paused, as it did not sleep: see .because */
	POWER_BLOCKED,	 /* paused already, so the guest cannot sleep */
	POWER_ENDED,	 /* the VM ended */
	POWER_NR_OUTCOMES,
};

/* The fate of a request's presses when it ended. */
enum power_heard {
	POWER_HEARD_BEGUN, /* the guest has given a sign of going to sleep */
	POWER_HEARD_TAKEN, /* its button driver took them; nothing followed */
	POWER_HEARD_NOT,   /* the last one's status bit is still set */
	POWER_HEARD_DEAF,  /* PM1_EN.SLPBTN_EN has been cleared since */
};

/* A suspend request; owned by the caller until @done is called, once. */
struct power_request {
	void (*done)(struct power_request *req, enum power_outcome outcome);
	/*
	 * power_suspend(): pause the VM if the guest does not sleep for any
	 * reason
	 */
	bool force;
	uint64_t start_ns;
	uint64_t deadline_ns;
	const char *source; /* POWER_ABORTED: name of the wake source */
	/* POWER_FAILED, POWER_FORCED: name of the device that did not stop */
	const char *device;
	enum power_outcome because; /* POWER_FORCED */
	enum power_sleep kind;	    /* POWER_ASLEEP */
	bool by_itself;		    /* POWER_ASLEEP: without a request */
	unsigned int presses;	    /* of the sleep button; 0: not needed */
	enum power_heard heard;	    /* POWER_TIMEOUT, and presses > 0 */
	uint64_t elapsed_ns;
	struct power_request *next;
};

enum power_report {
	POWER_REPORT_NONE,
	POWER_REPORT_QUIET,
	POWER_REPORT_PENDING,
	POWER_REPORT_RUNNING,
	POWER_REPORT_DOWN,
};

struct power_vcpu {
	bool up;     /* has run since it was last found down */
	bool parked; /* its thread waits in park.c */
	enum power_report report;
	unsigned int report_round;
};

#define POWER_MAX_VCPUS 64

struct power {
	pthread_mutex_t lock;
	pthread_cond_t cond; /* generation, census round or state changed */
	const struct power_ops *ops;
	struct acpi_pm *pm;
	struct trace *trace; /* borrowed, or NULL; the owner sets it */
	uint32_t wake_gpe;   /* bit of a GPE that wakes and does nothing else */
	unsigned int nr_vcpus;
	struct power_vcpu vcpus[POWER_MAX_VCPUS];

	enum power_step step;
	enum power_pause pause;
	enum power_sleep kind;
	uint64_t moves[POWER_NR_TRANSITIONS]; /* times each was taken */
	uint64_t generation;		      /* unparking bumps it */
	bool stopping;

	unsigned int census_round;
	unsigned int census_missing; /* reports to come; 0 = none running */
	bool census_shallow;
	const char *census_name; /* the running census, in the trace */
	const char *guest_span;	 /* the guest's action, in the trace */

	unsigned int notes; /* enum power_note; taken by power_poll() */
	uint64_t exit_ns;   /* time of the last exit note */
	enum power_lps0_state lps0;
	enum power_onset onset;

	/* Main loop only. */
	struct wake_source *sources;
	struct wake_source sleepbtn, powerbtn, rtc, launcher;
	const struct wake_source *last_wake;
	uint64_t last_wake_ns, slept_at_ns;
	uint64_t last_wake_latency_ns; /* to its LPS0 exit; 0 = not known yet */
	uint64_t cycles;
	unsigned int storm_sleeps; /* short sleeps of a storm; 0: off */
	struct power_stats stats;
	struct power_request *requests;
	struct power_request *pauses; /* requests that wait for a pause */
	bool pause_wanted;
	bool pause_forced; /* a device that does not stop cannot end it */
	bool freeze_clock;
	uint64_t paused_at_ns;
	/*
	 * The next @unwanted sleeps are brought back, if begun before
	 * @unwanted_until_ns.
	 */
	unsigned int unwanted;
	uint64_t unwanted_until_ns;
	enum power_state announced; /* the state last given to ops->event */
	struct wake_source *wake_source; /* that fired since the sleep began */
	unsigned int shallow_tries;
	unsigned int awake_checks; /* in a row that found no vCPU asleep */
	bool press_wanted;	   /* a request came on the way up */
	unsigned int presses;	   /* for the present requests */
	unsigned int carried;	   /* of former ones, that may come through */
	uint64_t press_delay_ns;   /* from the last to the next */
	unsigned int devices_left; /* since the request, and not yet back */
};

/* @pm: borrowed; its callbacks stay the caller's. @wake_gpe: a bit, or 0. */
void power_init(struct power *power, const struct power_ops *ops,
		struct acpi_pm *pm, uint32_t wake_gpe, unsigned int nr_vcpus);
/* A zeroed one is fine, as for power_stop(). */
void power_finish(struct power *power);

/* --- vCPU threads (park.c) --- */
/* The guest read the C2 port. Returns when the read may return. */
void power_c2_read(struct power *power, unsigned int cpu);
/* SLP_EN with S1. Returns when the guest may continue. */
void power_s1(struct power *power, unsigned int cpu);
/* KVM_RUN was interrupted by a kick: take part in a census. */
void power_kicked(struct power *power, unsigned int cpu);
/* KVM_RUN returned with an exit: this vCPU runs guest code. Cheap. */
void power_ran(struct power *power, unsigned int cpu);
/* LPS0 _DSM: entry or exit. Idempotent: their order differs by kernel. */
void power_lps0(struct power *power, bool entry);

/* --- main loop (power.c) --- */
/* After ops->post. */
void power_poll(struct power *power);
void power_timer_fired(struct power *power, enum power_timer timer);
/* Answers to ops->quiesce and ops->restart. @device: the name, if r < 0. */
void power_quiesced(struct power *power, int r, const char *device);
void power_restarted(struct power *power);

void power_add_source(struct power *power, struct wake_source *source);
/*
 * The event happened. Latches and raises it, and wakes the guest if it wants
 * that. Return: whether the guest notices the event: false if its enable bits
 * are clear, or if it sleeps and the source may not wake it.
 */
bool power_wake(struct power *power, struct wake_source *source);
/*
 * Wakes a guest by wake_gpe, or by a button that it listens to. Return: 0 (also
 * when it is awake), or -EOPNOTSUPP if all enable bits are clear.
 */
int power_wake_forced(struct power *power) must_check;
/* The guest took the event while running, or no longer wants it. */
void power_source_clear(struct power *power, struct wake_source *source);

/*
 * Asks the guest to sleep and calls req->done() once, now or later. A guest
 * that sleeps already is success at once; a guest on its way up is asked when
 * it is up; a guest on its way down is not disturbed. The caller sets
 * @req->force. A press is an edge that its receiver may drop, as logind does
 * while its last sleep is not over: it is repeated while the guest gives no
 * sign.
 */
void power_suspend(struct power *power, struct power_request *req,
		   uint64_t timeout_ns);
/*
 * Cancels every request: each ends as POWER_CANCELLED; a guest that sleeps, or
 * is about to, because of a request comes back; a pause ends. A guest that went
 * to sleep by itself stays asleep. Return: 0, or -EOPNOTSUPP as
 * power_wake_forced().
 */
int power_cancel(struct power *power) must_check;

/*
 * Stops devices and vCPUs, whatever the guest does, and calls req->done() once,
 * now or later. If the VM is paused already, that is success at once. With
 * @freeze the guest's clocks exclude the pause.
 */
void power_pause(struct power *power, struct power_request *req,
		 uint64_t timeout_ns, bool freeze);
/* Ends the pause; a sleeping guest stays asleep. No-op if not paused. */
void power_unpause(struct power *power);
/* Main loop. */
bool power_is_paused(const struct power *power);

/* A driver reset or suspended a live device; a device is live again. */
void power_device_left(struct power *power);
void power_device_live(struct power *power);

/* Releases every vCPU thread, ends every request. The VM is ending. */
void power_stop(struct power *power);

/* Any thread. */
enum power_state power_get_state(struct power *power);
/* Of the present sleep, or of the last. */
enum power_sleep power_get_kind(struct power *power);
/* @ret_up: has started and is not offline; @ret_parked: its thread waits. */
void power_get_vcpu(struct power *power, unsigned int cpu, bool *ret_up,
		    bool *ret_parked);
/* The guest sleeps, or is about to, without a request. */
bool power_sleeps_by_itself(struct power *power);
const char *power_state_name(enum power_state state);
const char *power_sleep_name(enum power_sleep kind);
const char *power_step_name(enum power_step step);
const char *power_event_name(enum power_event event);

#endif
