/* SPDX-License-Identifier: BSD-3-Clause */
/* The main loop's side of the coordinator; see vmm/power.h. */
#include "vmm/power.h"

#include <assert.h>
#include <errno.h>

#include "vmm/base/log.h"

#define NS_PER_MS 1000000ULL

/* From unparking until LPS0 exit C2 reads return at once, at most this long. */
#define RESUME_NS (20 * NS_PER_MS)
/* LPS0 entry, but no C2 read after this: the guest may have no C2. */
#define SHALLOW_FIRST_NS   (200 * NS_PER_MS)
#define SHALLOW_AGAIN_NS   (50 * NS_PER_MS)
#define SHALLOW_SLOW_NS	   (1000 * NS_PER_MS)
#define SHALLOW_FAST_TRIES 20U
/* So many looks in a row without a vCPU asleep: the guest has come back. */
#define AWAKE_LOOKS 2U

static void lock(struct power *power)
{
	(void)pthread_mutex_lock(&power->lock);
}

static void unlock(struct power *power)
{
	(void)pthread_mutex_unlock(&power->lock);
}

const char *power_state_name(enum power_state state)
{
	static const char *const names[] = {
		[POWER_RUNNING] = "RUNNING",
		[POWER_SUSPENDING] = "SUSPENDING",
		[POWER_SUSPENDED] = "SUSPENDED",
		[POWER_RESUMING] = "RESUMING",
	};

	return names[state];
}

const char *power_sleep_name(enum power_sleep kind)
{
	static const char *const names[] = {
		[POWER_SLEEP_S2IDLE] = "s2idle",
		[POWER_SLEEP_SHALLOW] = "shallow",
		[POWER_SLEEP_S1] = "s1",
	};

	return names[kind];
}

void power_init(struct power *power, const struct power_ops *ops, void *ctx,
		struct acpi_pm *pm, uint32_t wake_gpe, unsigned int nr_vcpus)
{
	pthread_condattr_t attr;

	assert(nr_vcpus <= POWER_MAX_VCPUS);
	*power = (struct power){ .ops = ops,
				 .ctx = ctx,
				 .pm = pm,
				 .wake_gpe = wake_gpe,
				 .nr_vcpus = nr_vcpus };
	(void)pthread_mutex_init(&power->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&power->cond, &attr);
	(void)pthread_condattr_destroy(&attr);

	power->powerbtn = (struct wake_source){ .name = "powerbtn",
						.pm1_bit = ACPI_PM1_PWRBTN,
						.button = true };
	power->sleepbtn = (struct wake_source){ .name = "sleepbtn",
						.pm1_bit = ACPI_PM1_SLPBTN,
						.button = true };
	power->rtc =
		(struct wake_source){ .name = "rtc", .pm1_bit = ACPI_PM1_RTC };
	power->launcher = (struct wake_source){ .name = "launcher" };
	power_add_source(power, &power->powerbtn);
	power_add_source(power, &power->sleepbtn);
	power_add_source(power, &power->rtc);
	power_add_source(power, &power->launcher);
}

void power_finish(struct power *power)
{
	(void)pthread_cond_destroy(&power->cond);
	(void)pthread_mutex_destroy(&power->lock);
}

void power_add_source(struct power *power, struct wake_source *source)
{
	struct wake_source **p = &power->sources;

	while (*p)
		p = &(*p)->next;
	source->next = NULL;
	*p = source;
}

enum power_state power_get_state(struct power *power)
{
	enum power_state state;

	lock(power);
	state = power->state;
	unlock(power);
	return state;
}

static void tell(struct power *power, enum power_state state,
		 const struct wake_source *source)
{
	if (power->told == state)
		return;
	power->told = state;
	power->ops->event(power->ctx, state, source);
}

static uint64_t clock_ns(struct power *power)
{
	return power->ops->now_ns(power->ctx);
}

static void stats_running(struct power *power)
{
	power_stats_running(&power->stats, clock_ns(power),
			    &power->last_wake_latency_ns);
}

/* Sets the state if it is still @from. Return: whether it was. */
static bool change(struct power *power, enum power_state from,
		   enum power_state to)
{
	bool ok;

	lock(power);
	ok = power->state == from;
	if (ok)
		power->state = to;
	unlock(power);
	return ok;
}

/* ------------------------------------------------------------ requests */

static void requests_rearm(struct power *power)
{
	uint64_t first = UINT64_MAX, now = power->ops->now_ns(power->ctx);

	for (struct power_request *r = power->requests; r; r = r->next)
		first = MIN(first, r->deadline_ns);
	if (first == UINT64_MAX)
		power->ops->timer_cancel(power->ctx, POWER_TIMER_REQUEST);
	else
		power->ops->timer_set(power->ctx, POWER_TIMER_REQUEST,
				      first > now ? first - now : 0);
}

/* Ends the requests whose deadline is at or before @until. */
static void requests_end(struct power *power, enum power_outcome outcome,
			 uint64_t until, const char *device)
{
	uint64_t now = power->ops->now_ns(power->ctx);
	struct power_request **p = &power->requests, *ended = NULL;

	while (*p) {
		struct power_request *req = *p;

		if (req->deadline_ns > until) {
			p = &req->next;
			continue;
		}
		*p = req->next;
		req->next = ended;
		ended = req;
	}
	requests_rearm(power);
	if (!power->requests) {
		power->devices_gone = 0;
		power->press_wanted = false;
	}
	while (ended) {
		struct power_request *req = ended;

		ended = req->next;
		req->elapsed_ns = now - req->start_ns;
		/* Else a vCPU thread may be writing it. */
		if (outcome == POWER_ASLEEP)
			req->kind = power->kind;
		req->device = device;
		req->source = outcome == POWER_ABORTED && power->wake_source
				      ? power->wake_source->name
				      : NULL;
		power_stats_request(&power->stats, outcome);
		req->done(req, outcome);
	}
}

static void requests_end_all(struct power *power, enum power_outcome outcome)
{
	requests_end(power, outcome, UINT64_MAX, NULL);
}

/* ---------------------------------------------------------- wake sources */

/* Its drivers are suspended: past LPS0 entry, or in S1. */
static bool asleep(struct power *power)
{
	bool ret;

	lock(power);
	ret = power->state == POWER_SUSPENDED ||
	      (power->state == POWER_SUSPENDING &&
	       (power->lps0_entered || power->phase != POWER_PHASE_PARKING));
	unlock(power);
	return ret;
}

/* Sets the status bits. Return: true if the guest will notice. */
static bool source_raise(struct power *power, struct wake_source *source)
{
	struct acpi_pm_regs regs;

	source->raised = true;
	if (source->irq)
		return source->armed;
	if (source->gpe_bit && !source->armed)
		return false;
	regs = acpi_pm_get(power->pm);
	if (source->button && regs.pm1_en & source->pm1_bit &&
	    regs.gpe_en & power->wake_gpe && asleep(power)) {
		/*
		 * Linux ignores a button that wakes it, unless the event is
		 * worked on only after the button's driver was resumed: then
		 * it is a key press, and the guest powers off. So a press
		 * that finds the guest asleep wakes it and is no more.
		 */
		acpi_pm_raise(power->pm, 0, power->wake_gpe);
		return true;
	}
	acpi_pm_raise(power->pm, source->pm1_bit, source->gpe_bit);
	regs = acpi_pm_get(power->pm);
	return (regs.pm1_en & source->pm1_bit) ||
	       (regs.gpe_en & source->gpe_bit);
}

void power_taken(struct power *power, struct wake_source *source)
{
	source->latched = false;
	source->raised = false;
}

/* The guest has come back with these raised: it has been told. */
static void sources_delivered(struct power *power)
{
	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->raised)
			power_taken(power, s);
	}
}

/*
 * Status bits may have been wiped since the event: ACPICA clears them all
 * before S1, and rtc-cmos the RTC's when it arms it. The latches were not.
 */
static struct wake_source *sources_raise_again(struct power *power)
{
	struct wake_source *found = NULL;

	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->latched && source_raise(power, s))
			found = s;
	}
	return found;
}

/* ------------------------------------------------------- down and back up */

/*
 * Presses the sleep button, if the guest is awake. Return: false if it cannot
 * hear it.
 */
static bool press(struct power *power)
{
	bool awake;

	if (!(acpi_pm_get(power->pm).pm1_en & ACPI_PM1_SLPBTN))
		return false;
	lock(power);
	awake = power->state == POWER_RUNNING;
	if (awake) {
		power->state = POWER_SUSPENDING;
		power->phase = POWER_PHASE_PARKING;
		power->begun = false;
		/* A slow guest may be on its way out of the last sleep. */
		power->exit_is_old |= power->lps0_entered;
		power->lps0_entered = false;
		power->note_old_exit |= power->note_lps0_exit;
		power->note_lps0_exit = false;
	}
	unlock(power);
	if (!awake)
		return true;
	power->ops->timer_cancel(power->ctx, POWER_TIMER_RESUME);
	power->ops->timer_cancel(power->ctx, POWER_TIMER_SHALLOW);
	power->wake_seen = false;
	power->wake_source = NULL;
	power_stats_begun(&power->stats, POWER_BY_REQUEST, clock_ns(power));
	tell(power, POWER_SUSPENDING, NULL);
	acpi_pm_raise(power->pm, ACPI_PM1_SLPBTN, 0);
	return true;
}

/* A sleep is over: requests that came on the way up begin a new one. */
static void woken(struct power *power)
{
	bool wanted = power->press_wanted;

	power->press_wanted = false;
	tell(power, POWER_RUNNING, NULL);
	if (wanted && !press(power))
		requests_end_all(power, POWER_DEAF);
}

/* The guest is awake although it had begun to sleep. */
static void came_back(struct power *power)
{
	lock(power);
	power->state = POWER_RUNNING;
	power->phase = POWER_PHASE_PARKING;
	power->note_census_ok = false;
	power_unpark_all(power);
	unlock(power);
	power->ops->timer_cancel(power->ctx, POWER_TIMER_SHALLOW);
	power->ops->timer_cancel(power->ctx, POWER_TIMER_RESUME);
	tell(power, POWER_RUNNING, NULL);
	requests_end_all(power,
			 power->wake_seen ? POWER_ABORTED : POWER_REFUSED);
	power->wake_seen = false;
	power->wake_source = NULL;
}

static void resume(struct power *power, struct wake_source *source)
{
	bool slept;

	lock(power);
	slept = power->state == POWER_SUSPENDED;
	power->state = POWER_RESUMING;
	power->phase = POWER_PHASE_UNDO;
	unlock(power);
	if (source) {
		power->last_wake = source;
		power->last_wake_ns = power->ops->now_ns(power->ctx);
		power->last_wake_latency_ns = 0;
		source->wakes += slept;
	}
	if (slept)
		power->time_asleep_ns +=
			power->ops->now_ns(power->ctx) - power->slept_at_ns;
	power_stats_woke(&power->stats, slept, clock_ns(power));
	power->wake_source = source;
	if (!slept)
		requests_end_all(power, POWER_ABORTED);
	power->wake_seen = false;
	power->wake_source = NULL;
	tell(power, POWER_RESUMING, source);
	power->ops->restart(power->ctx);
}

void power_restarted(struct power *power)
{
	bool s1, resuming;

	lock(power);
	if (power->phase != POWER_PHASE_UNDO) {
		unlock(power);
		return;
	}
	power->phase = POWER_PHASE_PARKING;
	s1 = power->kind == POWER_SLEEP_S1;
	resuming = power->state == POWER_RESUMING;
	if (resuming && s1) {
		power->state = POWER_RUNNING;
		sources_delivered(power);
	}
	power_unpark_all(power);
	unlock(power);
	power_stats_released(&power->stats, clock_ns(power));
	if (resuming && s1)
		stats_running(power);
	if (resuming && s1)
		woken(power);
	else if (resuming)
		power->ops->timer_set(power->ctx, POWER_TIMER_RESUME,
				      RESUME_NS);
	else
		power->ops->timer_set(power->ctx, POWER_TIMER_SHALLOW,
				      SHALLOW_FIRST_NS);
}

static void undo(struct power *power)
{
	lock(power);
	power->phase = POWER_PHASE_UNDO;
	power->census_missing = 0;
	unlock(power);
	power->ops->restart(power->ctx);
}

void power_quiesced(struct power *power, int r, const char *device)
{
	bool expected;

	lock(power);
	expected = power->state == POWER_SUSPENDING &&
		   power->phase == POWER_PHASE_QUIESCE;
	if (expected && r >= 0) {
		power->phase = POWER_PHASE_FINAL;
		power_census_start(power, power->census_shallow);
	}
	unlock(power);
	if (!expected || r >= 0)
		return;
	requests_end(power, POWER_FAILED, UINT64_MAX, device);
	undo(power);
}

/* All parked, devices stopped, nothing pending: the last look. */
static void fall_asleep(struct power *power)
{
	struct wake_source *source = sources_raise_again(power);

	if (source || acpi_pm_sci_pending(power->pm)) {
		resume(power, source ? source : power->wake_source);
		return;
	}
	if (!change(power, POWER_SUSPENDING, POWER_SUSPENDED))
		return;
	power->cycles++;
	power->slept_at_ns = power->ops->now_ns(power->ctx);
	power_stats_slept(&power->stats, power->kind, power->slept_at_ns);
	power->wake_seen = false;
	power->wake_source = NULL;
	tell(power, POWER_SUSPENDED, NULL);
	requests_end_all(power, POWER_ASLEEP);
}

static void on_census_ok(struct power *power)
{
	bool quiesce = false, final = false;

	lock(power);
	power->note_census_ok = false;
	if (power->state == POWER_SUSPENDING) {
		quiesce = power->phase == POWER_PHASE_PARKING;
		final = power->phase == POWER_PHASE_FINAL;
		if (quiesce)
			power->phase = POWER_PHASE_QUIESCE;
		if (power->census_shallow)
			power->kind = POWER_SLEEP_SHALLOW;
	}
	unlock(power);
	power->ops->timer_cancel(power->ctx, POWER_TIMER_SHALLOW);
	if (quiesce)
		power->ops->quiesce(power->ctx);
	else if (final)
		fall_asleep(power);
}

static void on_entered(struct power *power)
{
	/* It may have gone round faster than we were told. */
	if (power->told == POWER_RESUMING || power->told == POWER_SUSPENDED) {
		power->ops->timer_cancel(power->ctx, POWER_TIMER_RESUME);
		tell(power, POWER_RUNNING, NULL);
	}
	if (power_get_state(power) != POWER_SUSPENDING)
		return;
	if (!power->requests) {
		power->wake_seen = false;
		power->wake_source = NULL;
	}
	power->press_wanted = false; /* it went by itself */
	if (power->told != POWER_SUSPENDING)
		power_stats_begun(&power->stats, POWER_BY_GUEST,
				  clock_ns(power));
	tell(power, POWER_SUSPENDING, NULL);
	power->shallow_tries = 0;
	power->awake_looks = 0;
	power->ops->timer_set(power->ctx, POWER_TIMER_SHALLOW,
			      SHALLOW_FIRST_NS);
}

static void on_lps0_exit(struct power *power)
{
	power->ops->timer_cancel(power->ctx, POWER_TIMER_RESUME);
	sources_delivered(power);
	if (change(power, POWER_RESUMING, POWER_RUNNING))
		woken(power);
	else if (power_get_state(power) == POWER_SUSPENDING)
		came_back(power);
	else
		tell(power, power_get_state(power), NULL);
}

void power_poll(struct power *power)
{
	bool entered, ok, undoing, exited, old_exit, overtaken;

	lock(power);
	entered = power->note_entered;
	ok = power->note_census_ok; /* stays until it is acted upon */
	undoing = power->note_undo;
	exited = power->note_lps0_exit;
	old_exit = power->note_old_exit;
	power->note_entered = false;
	power->note_undo = false;
	power->note_lps0_exit = false;
	power->note_old_exit = false;
	overtaken = exited && power->lps0_entered;
	unlock(power);

	if (exited || old_exit)
		stats_running(power);
	if (overtaken || old_exit) /* the next sleep has begun already */
		sources_delivered(power);
	if (exited && !overtaken)
		on_lps0_exit(power);
	if (entered)
		on_entered(power);
	if (undoing)
		undo(power);
	if (ok)
		on_census_ok(power);
}

/* --------------------------------------------------------------- timers */

static void shallow_look(struct power *power)
{
	bool parked = false, awake;

	lock(power);
	if (power->state != POWER_SUSPENDING ||
	    power->phase != POWER_PHASE_PARKING) {
		unlock(power);
		return;
	}
	for (unsigned int i = 0; i < power->nr_vcpus; i++)
		parked |= power->vcpus[i].parked;
	/* A vCPU may have gone down without a read; or none has a C2. */
	if (!power->census_missing && !power->note_census_ok &&
	    (parked || power->lps0_entered))
		power_census_start(power, !parked);
	awake = power->begun && !parked && !power->lps0_entered;
	unlock(power);
	/* A guest without LPS0 that reads the port no more: not one that does
	 * so now and then while its last CPU is on its way. */
	power->awake_looks = awake ? power->awake_looks + 1 : 0;
	if (power->awake_looks >= AWAKE_LOOKS) {
		came_back(power);
		return;
	}
	power->ops->timer_set(power->ctx, POWER_TIMER_SHALLOW,
			      power->shallow_tries++ < SHALLOW_FAST_TRIES
				      ? SHALLOW_AGAIN_NS
				      : SHALLOW_SLOW_NS);
}

static void request_deadline(struct power *power)
{
	bool idle;

	requests_end(power, POWER_TIMEOUT, power->ops->now_ns(power->ctx),
		     NULL);
	lock(power);
	idle = !power->requests && power->state == POWER_SUSPENDING &&
	       power->phase == POWER_PHASE_PARKING && !power->lps0_entered;
	for (unsigned int i = 0; i < power->nr_vcpus; i++)
		idle &= !power->vcpus[i].parked;
	if (idle)
		power->state = POWER_RUNNING;
	unlock(power);
	if (!idle)
		return;
	power->ops->timer_cancel(power->ctx, POWER_TIMER_SHALLOW);
	tell(power, POWER_RUNNING, NULL);
}

void power_timer_fired(struct power *power, enum power_timer timer)
{
	switch (timer) {
	case POWER_TIMER_SHALLOW:
		shallow_look(power);
		break;
	case POWER_TIMER_RESUME:
		if (change(power, POWER_RESUMING, POWER_RUNNING)) {
			sources_delivered(power);
			woken(power);
		}
		break;
	case POWER_TIMER_REQUEST:
		request_deadline(power);
		break;
	case POWER_NR_TIMERS:
		break;
	}
}

/* ------------------------------------------------------------- requests in */

void power_wake(struct power *power, struct wake_source *source)
{
	bool noticed;

	source->count++;
	source->last_ns = power->ops->now_ns(power->ctx);
	if (source->off && asleep(power))
		return;
	source->latched = true;
	noticed = source_raise(power, source);
	switch (power_get_state(power)) {
	case POWER_SUSPENDED:
		if (noticed)
			resume(power, source);
		break;
	case POWER_SUSPENDING:
		/* The census or the last look finds it. */
		if (noticed) {
			power->wake_seen = true;
			power->wake_source = source;
		}
		break;
	case POWER_RUNNING:
	case POWER_RESUMING:
		break;
	}
}

int power_wake_forced(struct power *power)
{
	struct acpi_pm_regs regs = acpi_pm_get(power->pm);
	enum power_state state = power_get_state(power);
	uint16_t bit = regs.pm1_en & ACPI_PM1_SLPBTN ? ACPI_PM1_SLPBTN
						     : ACPI_PM1_PWRBTN;
	bool gpe = regs.gpe_en & power->wake_gpe;

	if (state == POWER_RUNNING || state == POWER_RESUMING)
		return 0;
	if (!gpe && !(regs.pm1_en & bit))
		return -EOPNOTSUPP;
	power->launcher.armed = gpe;
	power->launcher.gpe_bit = gpe ? power->wake_gpe : 0;
	power->launcher.pm1_bit = gpe ? 0 : bit;
	power_wake(power, &power->launcher);
	return 0;
}

void power_suspend(struct power *power, struct power_request *req,
		   uint64_t timeout_ns)
{
	req->start_ns = power->ops->now_ns(power->ctx);
	req->deadline_ns = req->start_ns + timeout_ns;
	req->next = power->requests;
	power->requests = req;

	switch (power_get_state(power)) {
	case POWER_SUSPENDED:
		requests_end_all(power, POWER_ASLEEP);
		return;
	case POWER_SUSPENDING:
		/* It is going down already and must not be disturbed. */
		break;
	case POWER_RESUMING:
		/* Its devices may still be on their way: press later. */
		power->press_wanted = true;
		break;
	case POWER_RUNNING:
		if (press(power))
			break;
		requests_end_all(power, POWER_DEAF);
		return;
	}
	requests_rearm(power);
}

void power_device_reset(struct power *power)
{
	if (power->requests)
		power->devices_gone++;
}

void power_device_live(struct power *power)
{
	if (!power->devices_gone || --power->devices_gone > 0)
		return;
	if (power_get_state(power) == POWER_SUSPENDING)
		came_back(power);
}

void power_stop(struct power *power)
{
	lock(power);
	power->stopping = true;
	power_unpark_all(power);
	unlock(power);
	requests_end_all(power, POWER_ENDED);
}
