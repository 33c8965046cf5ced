/* SPDX-License-Identifier: BSD-3-Clause */
/* Wake sources: latches, what the guest sees of them, storms. Main loop. */
#include <errno.h>

#include "vmm/power/internal.h"

/* A sleep shorter than this was hardly worth it. */
#define SHORT_SLEEP_NS (1000 * NS_PER_MS)
/* How long a source that stormed lets the guest sleep. */
#define STORM_REST_NS (10000 * NS_PER_MS)

void power_sources_init(struct power *power)
{
	power->powerbtn = (struct wake_source){ .name = "powerbtn",
						.pm1_bit = ACPI_PM1_PWRBTN,
						.button = true,
						.deliberate = true };
	power->sleepbtn = (struct wake_source){ .name = "sleepbtn",
						.pm1_bit = ACPI_PM1_SLPBTN,
						.button = true,
						.deliberate = true };
	power->rtc =
		(struct wake_source){ .name = "rtc", .pm1_bit = ACPI_PM1_RTC };
	power->launcher =
		(struct wake_source){ .name = "launcher", .deliberate = true };
	power_add_source(power, &power->powerbtn);
	power_add_source(power, &power->sleepbtn);
	power_add_source(power, &power->rtc);
	power_add_source(power, &power->launcher);
}

void power_add_source(struct power *power, struct wake_source *source)
{
	struct wake_source **p = &power->sources;

	while (*p)
		p = &(*p)->next;
	source->next = NULL;
	*p = source;
}

/* Its drivers are suspended: past LPS0 entry, or in S1. */
static bool asleep(struct power *power)
{
	bool ret;

	power_lock(power);
	switch (power_state_of(power->step)) {
	case POWER_SUSPENDED:
		ret = true;
		break;
	case POWER_SUSPENDING:
		ret = power->lps0 == POWER_LPS0_IN ||
		      power->step != POWER_STEP_PARKING;
		break;
	default:
		ret = false;
	}
	power_unlock(power);
	return ret;
}

static bool is_off(const struct wake_source *source)
{
	return source->off || source->storm_ns;
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
	/* A key press that the guest has not taken yet: once is enough. */
	if (source->button && regs.pm1_sts & regs.pm1_en & source->pm1_bit)
		return true;
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

void power_source_clear(struct power *power, struct wake_source *source)
{
	source->latched = false;
	source->raised = false;
}

void power_sources_delivered(struct power *power, uint64_t back_ns)
{
	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->raised && s->last_ns <= back_ns)
			power_source_clear(power, s);
	}
}

struct wake_source *power_sources_raise_again(struct power *power)
{
	struct wake_source *found = NULL;

	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->latched && !is_off(s) && source_raise(power, s))
			found = s;
	}
	return found;
}

bool power_wake(struct power *power, struct wake_source *source)
{
	bool noticed;

	source->count++;
	source->last_ns = power->ops->now_ns(power);
	if (source->off && asleep(power))
		return false;
	if (source == &power->sleepbtn)
		power->unwanted = 0; /* somebody means it */
	source->latched = true;
	/* It waits until the storm is over. */
	if (source->storm_ns && asleep(power))
		return false;
	noticed = source_raise(power, source);
	switch (power_get_state(power)) {
	case POWER_SUSPENDED:
		/* In a pause it waits for the end of that. */
		if (noticed && power->pause == POWER_PAUSE_OFF)
			power_resume(power, source);
		break;
	case POWER_SUSPENDING:
		/* The census or the final check finds it. */
		if (noticed)
			power->wake_source = source;
		break;
	case POWER_RUNNING:
	case POWER_RESUMING:
		break;
	}
	power_pause_work(power);
	return noticed;
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
	(void)power_wake(power, &power->launcher);
	return 0;
}

/* ----------------------------------------------------------------- storms */

static void storm_rearm(struct power *power)
{
	uint64_t first = UINT64_MAX, now = power->ops->now_ns(power);

	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->storm_ns)
			first = MIN(first, s->storm_ns);
	}
	if (first != UINT64_MAX)
		power->ops->timer_set(power, POWER_TIMER_STORM,
				      first > now ? first - now : 0);
}

/*
 * A source that ends one short sleep after the other keeps the guest from
 * sleeping at all: better late than never. Buttons and the launcher mean it.
 */
void power_storm_count(struct power *power, struct wake_source *source,
		       uint64_t slept_ns)
{
	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s != source || slept_ns >= SHORT_SLEEP_NS)
			s->short_sleeps = 0;
	}
	if (source->deliberate || slept_ns >= SHORT_SLEEP_NS ||
	    !power->storm_sleeps ||
	    ++source->short_sleeps < power->storm_sleeps)
		return;
	source->short_sleeps = 0;
	source->storm_ns = power->ops->now_ns(power) + STORM_REST_NS;
	power->ops->storm(power, source);
	storm_rearm(power);
}

void power_storm_over(struct power *power)
{
	uint64_t now = power->ops->now_ns(power);
	struct wake_source *found;

	for (struct wake_source *s = power->sources; s; s = s->next) {
		if (s->storm_ns && s->storm_ns <= now)
			s->storm_ns = 0;
	}
	storm_rearm(power);
	if (power_get_state(power) != POWER_SUSPENDED ||
	    power->pause != POWER_PAUSE_OFF)
		return;
	found = power_sources_raise_again(power);
	if (found)
		power_resume(power, found);
}
