/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtorpor: talk to a running torpor over its control socket.
 *
 * A launcher links libtorpor and jansson. The library keeps no global state,
 * starts no thread, installs no signal handler and raises no SIGPIPE. One
 * connection belongs to one thread at a time; several connections, from
 * several threads, are independent.
 *
 * Results are 0 or a negative errno. Outputs are written on success only,
 * unless said otherwise. Strings returned by char ** are the caller's, to be
 * freed with free(). JSON is passed as text; docs/control.md has every command
 * with its arguments, replies and errors.
 *
 * Every call has a timeout in milliseconds: 0 does not wait, -1 waits without
 * limit. It is measured on CLOCK_BOOTTIME, so that it holds across a suspend of
 * the host, and signals do not shorten it.
 *
 * Common errors:
 * - -ETIMEDOUT: no answer in time; the connection stays usable, a late answer
 *   is discarded
 * - -EREMOTEIO: torpor answered with an error, see torpor_error_code()
 * - -ECONNRESET: torpor ended or dropped the connection
 * - -EPROTO: the peer is not torpor
 * - -EINVAL: an invalid argument
 * - -ENOMEM
 *
 * After -ECONNRESET, -EPROTO and -EMSGSIZE only torpor_close() is useful.
 *
 * ABI: functions are added, never changed or removed; struct torpor is opaque.
 */
#ifndef TORPOR_H
#define TORPOR_H

#ifdef __cplusplus
extern "C" {
#endif

#define TORPOR_PROTOCOL 1

/* One connection. */
struct torpor;

/**
 * torpor_connect() - connect to a VM's control socket
 * @path: path of the socket, at most 107 bytes
 * @timeout_ms: for connecting and for torpor's greeting
 * @ret: closed with torpor_close()
 *
 * Return: 0; -ENOENT no such socket; -ECONNREFUSED nobody listens there;
 * -EACCES; -ENAMETOOLONG; -EBUSY too many clients, from a torpor that does not
 * make room by closing the longest silent client; -EPROTONOSUPPORT torpor
 * speaks another protocol than TORPOR_PROTOCOL; or a common error.
 */
int torpor_connect(const char *path, int timeout_ms, struct torpor **ret);

/* Closes the connection. @t may be NULL. */
void torpor_close(struct torpor *t);

/*
 * The socket, borrowed, to wait in a poll loop for events: when it is
 * readable, call torpor_next_event(t, 0, ...) until it is -ETIMEDOUT. Do so
 * once before the first poll as well: events may have been read already.
 */
int torpor_fd(const struct torpor *t);

/* The version of the torpor that runs the VM, "0.1.0"; borrowed. */
const char *torpor_version(const struct torpor *t);

/**
 * torpor_call() - send a command and wait for its reply
 * @command: "state", "suspend" ...
 * @args: a JSON object with the command's arguments, or NULL for none
 * @ret_reply: the whole reply, one JSON object without a newline; set on
 *	success and on -EREMOTEIO; may be NULL
 *
 * Events that arrive meanwhile are kept for torpor_next_event().
 * Return: 0; -EREMOTEIO; -EMSGSIZE the reply is too long; a common error.
 */
int torpor_call(struct torpor *t, const char *command, const char *args,
		int timeout_ms, char **ret_reply);

/*
 * The error of this connection's last call that returned -EREMOTEIO: its fixed
 * word ("refused", "timeout", "aborted", "deaf") and the sentence for people.
 * Borrowed until the next call; "" if there is none.
 */
const char *torpor_error_code(const struct torpor *t);
const char *torpor_error_message(const struct torpor *t);

/**
 * torpor_suspend() - ask the guest to sleep, wait until it does
 * @sleep_ms: time for the guest to fall asleep, 1 to 86400000 (a day)
 * @timeout_ms: of this call; should be more than @sleep_ms
 * @ret_ms: how long it took; may be NULL
 *
 * Return: 0 the guest is asleep; -EREMOTEIO it is not, and
 * torpor_error_code() says why; a common error.
 */
int torpor_suspend(struct torpor *t, int sleep_ms, int timeout_ms, int *ret_ms);
/**
 * torpor_suspend_force() - the same, but pause the VM if the guest does not
 * fall asleep
 * @timeout_ms: should be more than @sleep_ms and two times the --device-timeout
 *	of 'torpor run' (default 5000)
 * @ret_forced: 1 the guest does not sleep; the VM was paused instead, or was
 *	paused already; may be NULL
 *
 * Return: as torpor_suspend(); 0 no instruction of the guest runs.
 */
int torpor_suspend_force(struct torpor *t, int sleep_ms, int timeout_ms,
			 int *ret_forced);
/*
 * Undoes a suspend, also a forced one, and a pause, and waits until the guest
 * runs. A guest that went to sleep by itself is left alone: 0 at once.
 */
int torpor_resume(struct torpor *t, int timeout_ms);
/*
 * Stops devices and vCPUs without asking the guest, and waits until they are
 * stopped; with @freeze_clock the guest's clocks stand still. A sleeping guest
 * stays asleep afterwards. torpor_unpause() ends the pause and waits for that.
 */
int torpor_pause(struct torpor *t, int freeze_clock, int timeout_ms);
int torpor_unpause(struct torpor *t, int timeout_ms);
/* Raises the launcher's wake event; does not wait for the guest. */
int torpor_wake(struct torpor *t, int timeout_ms);
int torpor_powerbtn(struct torpor *t, int timeout_ms);
int torpor_sleepbtn(struct torpor *t, int timeout_ms);
/* Ends the VM without asking the guest. */
int torpor_stop(struct torpor *t, int timeout_ms);

/**
 * torpor_state() - the VM's present state
 * @ret_state: "RUNNING", "SUSPENDING", "SUSPENDED" or "RESUMING"
 */
int torpor_state(struct torpor *t, int timeout_ms, char **ret_state);

/*
 * Waits until the VM is in @state; returns at once if it is already. -ETIMEDOUT
 * if it did not reach @state in time. @timeout_ms is -1 or at most 86400000 (a
 * day).
 */
int torpor_wait_state(struct torpor *t, const char *state, int timeout_ms);

/* Subscribes to events, which torpor_next_event() then returns. */
int torpor_events(struct torpor *t, int timeout_ms);

/**
 * torpor_next_event() - the next event, in order
 * @ret_event: one JSON object: {"event": "SUSPENDED", "time_ns": ..., ...}
 *
 * The event is unchanged: with "coalesced": N if torpor dropped N events of its
 * name before it, and {"event": "EVENTS_LOST", ...} if this connection did not
 * read in time; see docs/control.md. The library keeps at most 1024 unread
 * events; beyond that it drops the oldest, which torpor_events_lost() counts.
 * Return: 0; -ETIMEDOUT none in time; -ECONNRESET when the VM has ended.
 */
int torpor_next_event(struct torpor *t, int timeout_ms, char **ret_event);
unsigned long torpor_events_lost(const struct torpor *t);

#ifdef __cplusplus
}
#endif

#endif
