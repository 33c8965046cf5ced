/* SPDX-License-Identifier: BSD-3-Clause */
/* The vCPU side of the coordinator: parking and the census. */
#include <errno.h>
#include <time.h>

#include "vmm/power/internal.h"

/*
 * While some vCPUs are parked and others still run, the others may send an
 * IPI, which does not end a hold in user space. A held vCPU looks at its own
 * local APIC this often; once all are parked it does not look any more.
 */
#define RECHECK_NS 1000000L
/* How late a vCPU's thread may be. */
#define STALE_NS (1000 * NS_PER_MS)

static void notify_main(struct power *power, enum power_note note)
{
	power->notes |= note;
	power->ops->post(power);
}

/* The guest is back: what it is told of later, it has not been told of yet. */
static void note_exit(struct power *power, enum power_note note)
{
	power->exit_ns = power->ops->now_ns(power);
	notify_main(power, note);
}

/* The guest gives a sign of going to sleep, by itself or as it was asked to. */
static void sign_of_sleep(struct power *power)
{
	if (power_move_locked(power, POWER_EVENT_SIGN))
		power->onset = POWER_ONSET_GUEST;
	else if (power->step == POWER_STEP_PARKING &&
		 power->onset == POWER_ONSET_ASKED)
		power->onset = POWER_ONSET_OBEYED;
	else
		return;
	notify_main(power, POWER_NOTE_ENTERED);
}

bool power_any_parked(const struct power *power)
{
	for (unsigned int i = 0; i < power->nr_vcpus; i++) {
		if (power->vcpus[i].parked)
			return true;
	}
	return false;
}

/* power_ran() writes it without the lock. */
static void set_up(struct power *power, unsigned int cpu, bool up)
{
	__atomic_store_n(&power->vcpus[cpu].up, up, __ATOMIC_RELAXED);
}

void power_get_vcpu(struct power *power, unsigned int cpu, bool *ret_up,
		    bool *ret_parked)
{
	power_lock(power);
	*ret_up = __atomic_load_n(&power->vcpus[cpu].up, __ATOMIC_RELAXED);
	*ret_parked = power->vcpus[cpu].parked;
	power_unlock(power);
}

void power_census_stop(struct power *power)
{
	if (power->census_missing)
		trace_end(power->trace, TRACE_POWER, power->census_name);
	power->census_missing = 0;
}

void power_unpark_all(struct power *power)
{
	power->generation++;
	power_census_stop(power);
	for (unsigned int i = 0; i < power->nr_vcpus; i++)
		power->vcpus[i].parked = false;
	(void)pthread_cond_broadcast(&power->cond);
}

void power_census_start(struct power *power, bool shallow)
{
	power->census_round++;
	power->census_missing = power->nr_vcpus;
	power->census_shallow = shallow;
	power->census_name = power->step == POWER_STEP_CHECKING
				     ? TRACE_FINAL_CENSUS
				     : TRACE_CENSUS;
	trace_begin(power->trace, TRACE_POWER, power->census_name);
	(void)pthread_cond_broadcast(&power->cond);
	for (unsigned int i = 0; i < power->nr_vcpus; i++) {
		if (power->vcpus[i].parked)
			continue;
		trace_instant(power->trace, TRACE_VCPU(i), TRACE_KICK, NULL);
		power->ops->vcpu_kick(power, i);
	}
}

/*
 * A read that the guest made before its exit notice, told after it by a thread
 * that got no CPU: a vCPU that is let go reads once more while the first one
 * wakes the guest. A guest that sleeps again says so by an entry notice first.
 */
static bool is_stale(struct power *power)
{
	return power->step == POWER_STEP_AWAKE &&
	       power->lps0 != POWER_LPS0_IN && power->exit_ns &&
	       power->ops->now_ns(power) - power->exit_ns < STALE_NS;
}

/* Every vCPU that has run waits here: look closer. */
static void maybe_census(struct power *power)
{
	if (power->step != POWER_STEP_PARKING || power->census_missing ||
	    power->notes & POWER_NOTE_QUIET)
		return;
	for (unsigned int i = 0; i < power->nr_vcpus; i++) {
		const struct power_vcpu *v = &power->vcpus[i];

		if (__atomic_load_n(&v->up, __ATOMIC_RELAXED) && !v->parked)
			return;
	}
	power_census_start(power, false);
}

static void census_end(struct power *power)
{
	bool pending = false, running = false;

	trace_end(power->trace, TRACE_POWER, power->census_name);
	for (unsigned int i = 0; i < power->nr_vcpus; i++) {
		const struct power_vcpu *v = &power->vcpus[i];

		pending |= v->report == POWER_REPORT_PENDING;
		running |= v->report == POWER_REPORT_RUNNING;
	}
	if (!pending && !running) {
		notify_main(power, POWER_NOTE_QUIET);
		return;
	}
	/*
	 * After the devices were stopped the main loop has to hear of it too:
	 * it restarts them before anyone runs.
	 */
	if (power->step != POWER_STEP_PARKING) {
		notify_main(power, POWER_NOTE_BUSY);
		return;
	}
	/*
	 * Whoever has something pending must take it: start over. Who was found
	 * running may have been the last to park meanwhile.
	 */
	if (pending || power->census_shallow)
		power_unpark_all(power);
	else
		maybe_census(power);
}

static void report(struct power *power, unsigned int cpu,
		   enum power_report report)
{
	struct power_vcpu *v = &power->vcpus[cpu];

	if (!power->census_missing || v->report_round == power->census_round)
		return;
	v->report_round = power->census_round;
	v->report = report;
	/*
	 * Found running: it has to park before the next census. Said now and
	 * not at the end: until then it may go offline.
	 */
	if (report == POWER_REPORT_RUNNING)
		set_up(power, cpu, true);
	else if (report == POWER_REPORT_DOWN)
		set_up(power, cpu, false);
	if (--power->census_missing == 0)
		census_end(power);
}

static bool census_wants(const struct power *power, unsigned int cpu)
{
	return power->census_missing &&
	       power->vcpus[cpu].report_round != power->census_round;
}

/* Unlocked around the ioctls. Return: VCPU_* bits. */
static unsigned int inspect(struct power *power, unsigned int cpu)
{
	unsigned int bits;

	power_unlock(power);
	bits = power->ops->vcpu_inspect(power, cpu);
	power_lock(power);
	return bits;
}

/* Return: true if it timed out. */
static bool wait_recheck(struct power *power)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += RECHECK_NS;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_nsec -= 1000000000L;
		ts.tv_sec++;
	}
	return pthread_cond_timedwait(&power->cond, &power->lock, &ts) ==
	       ETIMEDOUT;
}

/*
 * Something that ends a hold. A local APIC disabled by software delivers
 * nothing: Linux does that to its last CPU on the way into S1.
 */
static bool deliverable(unsigned int bits)
{
	return bits & VCPU_PENDING && !(bits & VCPU_OFFLINE);
}

/* Waits, parked, until this generation is unparked. Lock held. */
static void park(struct power *power, unsigned int cpu)
{
	struct power_vcpu *v = &power->vcpus[cpu];
	uint64_t generation = power->generation;

	v->parked = true;
	trace_begin(power->trace, TRACE_VCPU(cpu), TRACE_PARK);
	maybe_census(power);
	while (power->generation == generation && !power->stopping) {
		if (census_wants(power, cpu)) {
			unsigned int round = power->census_round;
			unsigned int bits = inspect(power, cpu);

			if (power->generation == generation &&
			    power->census_round == round)
				report(power, cpu,
				       deliverable(bits) ? POWER_REPORT_PENDING
							 : POWER_REPORT_QUIET);
			continue;
		}
		/* In a pause nobody runs who could send an IPI. */
		if (power->step != POWER_STEP_PARKING ||
		    power->pause != POWER_PAUSE_OFF ||
		    power->notes & POWER_NOTE_QUIET || power->census_shallow) {
			(void)pthread_cond_wait(&power->cond, &power->lock);
			continue;
		}
		if (wait_recheck(power) && deliverable(inspect(power, cpu)) &&
		    power->generation == generation && !power->census_missing &&
		    power->step == POWER_STEP_PARKING &&
		    !(power->notes & POWER_NOTE_QUIET))
			break;
	}
	trace_end(power->trace, TRACE_VCPU(cpu), TRACE_PARK);
	if (power->generation == generation)
		v->parked = false;
}

void power_c2_read(struct power *power, unsigned int cpu)
{
	unsigned int bits = power->ops->vcpu_inspect(power, cpu);

	/*
	 * A CPU taken offline reads the port for ever with interrupts off.
	 * INIT and SIPI do not end a hold here, but do end a halt in the
	 * kernel, where it costs nothing either. Halted before it counts as
	 * down, so that a census finds it so.
	 */
	if (bits & VCPU_OFFLINE)
		power->ops->vcpu_halt(power, cpu);
	power_lock(power);
	if (bits & VCPU_OFFLINE) {
		set_up(power, cpu, false);
		maybe_census(power);
		power_unlock(power);
		return;
	}
	/* On the way up a read returns at once: its caller has work to do. */
	if (power_state_of(power->step) != POWER_RESUMING && !is_stale(power) &&
	    !power->stopping) {
		set_up(power, cpu, true);
		power->kind = POWER_SLEEP_S2IDLE;
		/* One in progress ends as it began: it may hold halted vCPUs */
		if (!power->census_missing)
			power->census_shallow = false;
		sign_of_sleep(power);
		park(power, cpu);
	}
	power_unlock(power);
}

void power_s1(struct power *power, unsigned int cpu)
{
	bool stopping;

	power_lock(power);
	if (!power->stopping) {
		set_up(power, cpu, true);
		power->kind = POWER_SLEEP_S1;
		if (!power->census_missing)
			power->census_shallow = false;
		sign_of_sleep(power);
		park(power, cpu);
		/* Let go before it slept: nothing else tells that. */
		if (power_state_of(power->step) == POWER_SUSPENDING)
			note_exit(power, POWER_NOTE_EXIT);
	}
	stopping = power->stopping;
	power_unlock(power);
	/*
	 * However the hold ended: ACPICA polls for WAK_STS with interrupts off,
	 * for ever if need be.
	 */
	if (!stopping)
		acpi_pm_raise(power->pm, ACPI_PM1_WAK, 0);
}

static enum power_report classify(const struct power *power, unsigned int bits)
{
	if (bits & VCPU_DOWN)
		return POWER_REPORT_DOWN;
	if (bits & VCPU_OFFLINE && bits & VCPU_HALTED)
		return POWER_REPORT_DOWN;
	if (power->census_shallow && bits & VCPU_HALTED)
		return bits & VCPU_PENDING ? POWER_REPORT_PENDING
					   : POWER_REPORT_QUIET;
	return POWER_REPORT_RUNNING;
}

/*
 * One that is asleep stays out of the kernel, where it would wait as well but
 * for KVM: that wakes every vCPU every 300 s to update its clock. So does, in
 * the last census, one that is down: who could start it sleeps.
 */
static bool stays(const struct power *power, enum power_report report)
{
	return report == POWER_REPORT_QUIET ||
	       (report == POWER_REPORT_DOWN &&
		power->step == POWER_STEP_CHECKING);
}

void power_kicked(struct power *power, unsigned int cpu)
{
	power_lock(power);
	if (census_wants(power, cpu)) {
		unsigned int round = power->census_round;
		uint64_t generation = power->generation;
		unsigned int bits = inspect(power, cpu);

		if (census_wants(power, cpu) && power->census_round == round &&
		    power->generation == generation) {
			enum power_report r = classify(power, bits);
			bool stay = stays(power, r);

			if (stay)
				power->vcpus[cpu].parked = true;
			report(power, cpu, r);
			if (stay && power->generation == generation)
				park(power, cpu);
		}
	}
	power_unlock(power);
}

void power_ran(struct power *power, unsigned int cpu)
{
	bool *up = &power->vcpus[cpu].up;

	if (!__atomic_load_n(up, __ATOMIC_RELAXED))
		__atomic_store_n(up, true, __ATOMIC_RELAXED);
}

void power_lps0(struct power *power, bool entry)
{
	power_lock(power);
	if (entry) {
		bool first = power->lps0 != POWER_LPS0_IN;

		power->lps0 = POWER_LPS0_IN;
		sign_of_sleep(power);
		if (first && power->step == POWER_STEP_PARKING) {
			trace_instant(power->trace, TRACE_GUEST,
				      TRACE_LPS0_ENTRY, NULL);
			power_guest_does(power, TRACE_FREEZES_CPUS);
		}
	} else if (power->lps0 == POWER_LPS0_OLD) {
		power->lps0 = POWER_LPS0_OUT;
		note_exit(power, POWER_NOTE_OLD_EXIT);
	} else if (power->lps0 == POWER_LPS0_IN) {
		power->lps0 = POWER_LPS0_OUT;
		power_guest_does(power, NULL);
		trace_instant(power->trace, TRACE_GUEST, TRACE_LPS0_EXIT, NULL);
		note_exit(power, POWER_NOTE_EXIT);
	}
	power_unlock(power);
}
