/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that runs the `sleeper` payload (io=1) and the events that wake it,
 * for the programs that look for events that are lost. What the guest says is
 * read from standard input, what torpor says from the control socket.
 *
 * An event is lost if the guest neither reports to have taken it on the way
 * down nor wakes, with that source as the cause, within the bound. A frame, a
 * byte or a connection has to arrive once. A wake-up without an event, or with
 * another cause, is spurious.
 *
 * Sources, as words:
 *	powerbtn sleepbtn launcher rtc
 *	net=INTERFACE       a frame out of the tap's other side
 *	console=PATH        a byte
 *	vsock=PATH          a connection of the host's, each to another port
 *	vsock-data=PATH     a byte on an open connection; the first event opens
 *it serial=PATH         a byte serial-asleep=PATH  a byte, but to a sleeping
 *guest only: for a KVM that delivers no interrupt, without which the guest
 *cannot see a byte that comes on the way
 */
#ifndef TORPOR_TESTS_WAKE_GUEST_H
#define TORPOR_TESTS_WAKE_GUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/torpor.h"

#define WAKE_BOUND_US	 10000000L
#define WAKE_CALL_MS	 10000
#define WAKE_MAX_SOURCES 10

enum wake_kind {
	WAKE_BUTTON,
	WAKE_LAUNCHER,
	WAKE_ALARM,
	WAKE_FRAME,
	WAKE_CONNECTION,
	WAKE_DATA,
	WAKE_BYTE
};

struct wake_type {
	const char *name;
	enum wake_kind kind;
	uint32_t pm1, gpe;  /* any of these wakes */
	const char *device; /* whose GPE wakes as well; as in "net0" */
	bool serial;
	const char *got; /* how the guest says that it received something */
	int (*press)(struct torpor *t, int timeout_ms);
};

struct wake_event_source {
	const struct wake_type *type;
	const char *path; /* of the socket device */
	int fd;
	uint32_t gpe;
	unsigned long left, sent;
	unsigned long down;  /* sent before it was asleep */
	unsigned long taken; /* of these: by the guest while awake */
};

struct wake_guest {
	struct torpor *t;
	char line[512];
	size_t len;
	bool ended;

	bool going;	 /* said that it goes to sleep */
	bool ready;	 /* waits for us on the way */
	bool suspending; /* torpor said so since */
	bool asleep;
	long going_at, fired_at;
	long down_us, up_us; /* average time to asleep; event to next sleep */

	const struct wake_event_source *fired; /* what is out, or NULL */
	/* Is out as soon as that one has woken it. */
	const struct wake_event_source *next;
	unsigned long value; /* of its byte, frame or port */
	bool fired_asleep;   /* it was sent to a guest asleep */
	bool woken, aborted;
	unsigned int got;
	char wrong[640]; /* "" or what was */
};

long wake_now_us(clockid_t clock);
void wake_wrong(struct wake_guest *g, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool wake_all_right(const struct wake_guest *g);

/*
 * Waits for the guest's first sleep, connects to @socket and opens @nr sources
 * of @words, COUNT events each. Return: 0, or 1 and it has been printed why.
 */
int wake_guest_init(struct wake_guest *g, const char *socket,
		    struct wake_event_source *sources, char *const *words,
		    size_t nr, unsigned long count);
/* Prints figures and verdict, and stops the VM. Return: the exit status. */
int wake_guest_end(struct wake_guest *g,
		   const struct wake_event_source *sources, size_t nr);

/* Takes in what there is until @until, or for one turn if that has passed. */
void wake_pump(struct wake_guest *g, long until);
/* Until then, or until the flag is set, if there is one. */
void wake_pump_until(struct wake_guest *g, long until, const bool *flag);
/* Where torpor is now, whatever events tell. */
void wake_ask_state(struct wake_guest *g);
/* The reply to `state`, or NULL, and that is wrong. The caller frees it. */
json_t *wake_state(struct wake_guest *g);
/* The object of that name in a list of the reply, or NULL. */
const json_t *wake_named(const json_t *state, const char *list,
			 const char *name);
/* Until @flag is set. Return: whether all is right. */
bool wake_await(struct wake_guest *g, const bool *flag, const char *what);

/* Sends an event of @s. */
void wake_fire(struct wake_guest *g, struct wake_event_source *s);
/* The guest takes what was fired, or it is lost. */
void wake_settle(struct wake_guest *g, struct wake_event_source *s);

#endif
