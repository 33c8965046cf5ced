/* SPDX-License-Identifier: BSD-3-Clause */
/* The command "stats", as JSON and for Prometheus; see docs/control.md. */
#include "vmm/control/requests.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "vmm/control/prometheus.h"

static const char *const by_names[] = {
	[POWER_BY_GUEST] = "guest",
	[POWER_BY_REQUEST] = "request",
};
static_assert(ARRAY_SIZE(by_names) == POWER_NR_BY, "a name for each");

/* ----------------------------------------------------------------- JSON */

static json_t *quantile_json(const struct power_hist *h, unsigned int percent)
{
	return h->count ? json_integer((json_int_t)power_hist_quantile_ns(
				  h, percent))
			: json_null();
}

static json_t *hist_json(const struct power_hist *h)
{
	json_t *buckets = json_array();
	uint64_t below = 0;

	for (unsigned int i = 0; i < POWER_HIST_BUCKETS; i++) {
		below += h->counts[i];
		(void)json_array_append_new(
			buckets,
			json_pack("{s:o, s:I}", "le_ns",
				  i < POWER_HIST_BOUNDS
					  ? json_integer(
						    (json_int_t)
							    power_hist_bound_ns(
								    i))
					  : json_null(),
				  "count", (json_int_t)below));
	}
	return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o}", "count",
			 (json_int_t)h->count, "sum_ns", (json_int_t)h->sum_ns,
			 "max_ns", (json_int_t)h->max_ns, "p50_ns",
			 quantile_json(h, 50), "p99_ns", quantile_json(h, 99),
			 "buckets", buckets);
}

static json_t *sleeps_json(const struct power_stats *stats, uint64_t now_ns)
{
	json_t *list = json_array();

	for (unsigned int i = 0; power_sleep_exists(i); i++) {
		uint64_t by_guest = stats->sleeps[i][POWER_BY_GUEST];
		uint64_t by_request = stats->sleeps[i][POWER_BY_REQUEST];
		uint64_t cycles = by_guest + by_request;
		uint64_t ns = power_stats_asleep_ns(stats, i, now_ns);

		(void)json_array_append_new(
			list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "kind",
					power_sleep_name(i), "cycles",
					(json_int_t)cycles, "by_guest",
					(json_int_t)by_guest, "by_request",
					(json_int_t)by_request, "asleep_ns",
					(json_int_t)ns));
	}
	return list;
}

static json_t *requests_json(const struct power_stats *stats)
{
	json_t *obj = json_object();

	for (unsigned int i = 0; power_outcome_name(i); i++)
		(void)json_object_set_new(
			obj, power_outcome_name(i),
			json_integer((json_int_t)stats->requests[i]));
	return obj;
}

static json_t *sources_json(const struct vm *vm)
{
	json_t *list = json_array();

	for (const struct wake_source *s = vm->power.sources; s; s = s->next)
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:I, s:I, s:o}", "name", s->name,
				  "count", (json_int_t)s->count, "wakes",
				  (json_int_t)s->wakes, "last_ns",
				  s->last_ns
					  ? json_integer((json_int_t)s->last_ns)
					  : json_null()));
	return list;
}

static json_t *devices_json(const struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < vm->nr_devices; i++)
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:I}", "name",
				  vm->devices[i].name, "role",
				  vm->devices[i].type->name, "resets",
				  (json_int_t)vm->devices[i].mmio.resets));
	return list;
}

static json_t *loop_json(const struct vm *vm)
{
	const struct loop_watch *w = &vm->loop.watch;

	return json_pack("{s:I, s:I, s:s}", "stalls", (json_int_t)w->stalls,
			 "longest_turn_ns", (json_int_t)w->longest_ns,
			 "longest_in", w->longest_in);
}

static json_t *stats_json(struct vm *vm)
{
	const struct power_stats *stats = &vm->power.stats;
	uint64_t now_ns = time_boot_ns();

	return json_pack(
		"{s:s, s:s, s:I, s:o, s:o, s:{s:o, s:o}, s:{s:o, s:o}, "
		"s:{s:I, s:I, s:I}, s:o, s:o, s:o}",
		"vm", vm->cfg->name, "state",
		power_state_name(power_get_state(&vm->power)), "time_ns",
		(json_int_t)now_ns, "sleeps", sleeps_json(stats, now_ns),
		"requests", requests_json(stats), "entry",
		by_names[POWER_BY_GUEST],
		hist_json(&stats->entry[POWER_BY_GUEST]),
		by_names[POWER_BY_REQUEST],
		hist_json(&stats->entry[POWER_BY_REQUEST]), "wake", "vcpus",
		hist_json(&stats->wake_vcpus), "running",
		hist_json(&stats->wake_running), "pauses", "count",
		(json_int_t)stats->pauses, "total_ns",
		(json_int_t)stats->paused_ns, "max_ns",
		(json_int_t)stats->longest_pause_ns, "sources",
		sources_json(vm), "devices", devices_json(vm), "loop",
		loop_json(vm));
}

/* ----------------------------------------------------------- Prometheus */

/* Every series has the label vm; others may follow. */
#define LABELS(vm_, ...)              \
	((const struct prom_label[]){ \
		{ "vm", (vm_)->cfg->name }, ##__VA_ARGS__, { NULL, NULL } })

static void put_sleeps(FILE *out, const struct vm *vm)
{
	const struct power_stats *stats = &vm->power.stats;
	uint64_t now_ns = time_boot_ns();

	prom_family(out, "torpor_asleep", "gauge",
		    "1 while the guest is asleep, else 0.");
	prom_number(out, "torpor_asleep", LABELS(vm), stats->asleep);
	prom_family(out, "torpor_sleeps_total", "counter",
		    "Times the guest fell asleep, by kind of sleep and by who "
		    "began it.");
	for (unsigned int i = 0; power_sleep_exists(i); i++) {
		for (unsigned int by = 0; by < POWER_NR_BY; by++)
			prom_number(out, "torpor_sleeps_total",
				    LABELS(vm, { "kind", power_sleep_name(i) },
					   { "by", by_names[by] }),
				    stats->sleeps[i][by]);
	}
	prom_family(out, "torpor_asleep_seconds_total", "counter",
		    "Time the guest was asleep, the present sleep included.");
	for (unsigned int i = 0; power_sleep_exists(i); i++)
		prom_seconds(out, "torpor_asleep_seconds_total",
			     LABELS(vm, { "kind", power_sleep_name(i) }),
			     power_stats_asleep_ns(stats, i, now_ns));
	prom_family(out, "torpor_suspend_requests_total", "counter",
		    "Suspend requests that have ended, by outcome.");
	for (unsigned int i = 0; power_outcome_name(i); i++)
		prom_number(out, "torpor_suspend_requests_total",
			    LABELS(vm, { "outcome", power_outcome_name(i) }),
			    stats->requests[i]);
}

static void put_latencies(FILE *out, const struct vm *vm)
{
	const struct power_stats *stats = &vm->power.stats;

	prom_family(out, "torpor_sleep_entry_seconds", "histogram",
		    "Time to fall asleep, from the request, or from the first "
		    "sign of a guest that goes by itself.");
	for (unsigned int by = 0; by < POWER_NR_BY; by++)
		prom_hist(out, "torpor_sleep_entry_seconds",
			  LABELS(vm, { "by", by_names[by] }),
			  &stats->entry[by]);
	prom_family(out, "torpor_wake_vcpus_seconds", "histogram",
		    "Time from the wake event until the vCPUs were let go.");
	prom_hist(out, "torpor_wake_vcpus_seconds", LABELS(vm),
		  &stats->wake_vcpus);
	prom_family(out, "torpor_wake_running_seconds", "histogram",
		    "Time from the wake event until the guest told that it "
		    "runs.");
	prom_hist(out, "torpor_wake_running_seconds", LABELS(vm),
		  &stats->wake_running);
	prom_family(out, "torpor_pauses_total", "counter",
		    "Times the VM was paused without the guest knowing.");
	prom_number(out, "torpor_pauses_total", LABELS(vm), stats->pauses);
	prom_family(out, "torpor_paused_seconds_total", "counter",
		    "Time of pauses that have ended.");
	prom_seconds(out, "torpor_paused_seconds_total", LABELS(vm),
		     stats->paused_ns);
}

/* CLOCK_BOOTTIME as seconds since 1970, as the clocks stand now. */
static uint64_t wall_ns(uint64_t boot_ns)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec -
	       (time_boot_ns() - boot_ns);
}

static void put_sources(FILE *out, const struct vm *vm)
{
	const struct wake_source *const first = vm->power.sources;

	prom_family(out, "torpor_wake_events_total", "counter",
		    "Events of a wake source, also while the guest ran.");
	for (const struct wake_source *s = first; s; s = s->next)
		prom_number(out, "torpor_wake_events_total",
			    LABELS(vm, { "source", s->name }), s->count);
	prom_family(out, "torpor_wakes_total", "counter",
		    "Sleeps that a wake source ended.");
	for (const struct wake_source *s = first; s; s = s->next)
		prom_number(out, "torpor_wakes_total",
			    LABELS(vm, { "source", s->name }), s->wakes);
	prom_family(out, "torpor_wake_last_event_timestamp_seconds", "gauge",
		    "Unix time of a wake source's last event, if any.");
	for (const struct wake_source *s = first; s; s = s->next) {
		if (s->last_ns)
			prom_seconds(out,
				     "torpor_wake_last_event_timestamp_seconds",
				     LABELS(vm, { "source", s->name }),
				     wall_ns(s->last_ns));
	}
	prom_family(out, "torpor_device_resets_total", "counter",
		    "Resets of a live device by the guest's driver.");
	for (unsigned int i = 0; i < vm->nr_devices; i++)
		prom_number(out, "torpor_device_resets_total",
			    LABELS(vm, { "device", vm->devices[i].name },
				   { "role", vm->devices[i].type->name }),
			    vm->devices[i].mmio.resets);
}

static void put_loop(FILE *out, const struct vm *vm)
{
	prom_family(out, "torpor_loop_stalls_total", "counter",
		    "Turns of the main loop that took longer than a second.");
	prom_number(out, "torpor_loop_stalls_total", LABELS(vm),
		    vm->loop.watch.stalls);
	prom_family(out, "torpor_loop_longest_turn_seconds", "gauge",
		    "The longest turn of the main loop so far.");
	prom_seconds(out, "torpor_loop_longest_turn_seconds", LABELS(vm),
		     vm->loop.watch.longest_ns);
}

/* Return: owned, or NULL if there is no memory. */
static char *prometheus_text(const struct vm *vm)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool ok;

	if (!out)
		return NULL;
	put_sleeps(out, vm);
	put_latencies(out, vm);
	put_sources(out, vm);
	put_loop(out, vm);
	ok = !ferror(out);
	return fclose(out) == 0 && ok ? TAKE(text) : NULL;
}

/* -------------------------------------------------------------- command */

void request_stats(struct control_request *req, json_t *args, void *ctx)
{
	struct vm *vm = commands_vm(ctx);
	static const char *const keys[] = { "format", NULL };
	const json_t *value = json_object_get(args, "format");
	const char *format = json_string_value(value);
	_cleanup_free_ char *text = NULL;
	json_t *result;

	if (!control_check_keys(req, args, keys))
		return;
	if (value && (!format || (strcmp(format, "json") != 0 &&
				  strcmp(format, "prometheus") != 0))) {
		control_reply_error(req, "invalid",
				    "format: json or prometheus");
		return;
	}
	if (!format || !strcmp(format, "json")) {
		result = stats_json(vm);
	} else {
		text = prometheus_text(vm);
		result = text ? json_pack("{s:s}", "text", text) : NULL;
	}
	if (result)
		control_reply(req, result);
	else
		control_reply_error(req, "failed", "out of memory");
}
