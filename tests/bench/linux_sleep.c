/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeps and wake-ups of a Linux guest under torpor, and of the same guest
 * under QEMU beside it, in turns, cycle by cycle. tests/bench/linux_sleep.sh
 * starts it; docs/benchmarks.md says what the figures mean.
 *
 *	linux_sleep CYCLES LIMIT_S REST_S TORPOR_SOCKET COMMAND...
 *		[-- QMP_SOCKET COMMAND...]
 *
 * After LIMIT_S seconds no further cycle begins; then it stays so many REST_S
 * seconds asleep to see what that costs.
 *
 * The guest is that of tests/bench/mkguest.sh: it says "BENCH: down" before it
 * goes to sleep and "TORPOR: awake again" after it.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/linux_vm.h"
#include "tests/bench/proc_threads.h"
#include "tests/bench/sample.h"
#include "tests/bench/sleep_trace.h"

#define MAX_CYCLES 2000U
#define MAX_FAILED 3U /* cycles in which the guest did something else */
#define NR_VMS	   2U

enum figure {
	/* Seen from outside, of both. */
	AGENT_TO_QUIET,
	PRESS_TO_OUTPUT,
	/* torpor's, by its trace. */
	REQUEST_TO_ASLEEP,
	REQUEST_TO_AGENT,
	AGENT_TO_ASLEEP,
	FREEZES_DRIVERS,
	FREEZES_CPUS,
	CENSUS,
	DEVICES_STOP,
	FINAL_CENSUS,
	DOWN_OTHER,
	PRESS_TO_EVENT,
	EVENT_TO_LET_GO,
	DEVICES_RESTART,
	EVENT_TO_FIRST_RUN,
	EVENT_TO_LPS0_EXIT,
	LPS0_EXIT_TO_OUTPUT,
	EVENT_TO_OUTPUT,
	ASLEEP_TO_QUIET,
	NR_FIGURES,
};

/* As torpor's `state` has them. */
static const char *const exit_names[] = { "exits",     "pio_in",     "pio_out",
					  "mmio_read", "mmio_write", "eoi",
					  "kicks" };
#define NR_EXITS (sizeof(exit_names) / sizeof(exit_names[0]))

static const char *const figure_names[NR_FIGURES] = {
	[AGENT_TO_QUIET] = "agent-to-quiet",
	[PRESS_TO_OUTPUT] = "press-to-output",
	[REQUEST_TO_ASLEEP] = "request-to-asleep",
	[REQUEST_TO_AGENT] = "request-to-agent",
	[AGENT_TO_ASLEEP] = "agent-to-asleep",
	[FREEZES_DRIVERS] = "freezes-drivers",
	[FREEZES_CPUS] = "freezes-cpus",
	[CENSUS] = "census",
	[DEVICES_STOP] = "devices-stop",
	[FINAL_CENSUS] = "final-census",
	[DOWN_OTHER] = "down-other",
	[PRESS_TO_EVENT] = "press-to-event",
	[EVENT_TO_LET_GO] = "event-to-let-go",
	[DEVICES_RESTART] = "devices-restart",
	[EVENT_TO_FIRST_RUN] = "event-to-first-run",
	[EVENT_TO_LPS0_EXIT] = "event-to-lps0-exit",
	[LPS0_EXIT_TO_OUTPUT] = "lps0-exit-to-output",
	[EVENT_TO_OUTPUT] = "event-to-output",
	[ASLEEP_TO_QUIET] = "asleep-to-quiet",
};

struct bench_vm {
	struct linux_vm vm;
	unsigned int cycles, failed, censuses, relapses;
	double ms[NR_FIGURES][MAX_CYCLES];
	struct threads down, up, asleep; /* sums */
	json_int_t exits[NR_EXITS];	 /* of all vCPUs, over the cycles */
};

/* When what happened in one cycle, CLOCK_BOOTTIME. */
struct cycle {
	uint64_t agent, quiet, pressed, output;
};

/* Adds the counters of all vCPUs to @exits, times @sign. */
static void add_exits(struct bench_vm *b, int sign)
{
	char *reply = NULL;
	json_t *root, *vcpus, *vcpu;
	size_t i;

	if (!b->vm.torpor ||
	    torpor_call(b->vm.torpor, "state", NULL, VM_TIMEOUT_MS, &reply) < 0)
		return;
	root = json_loads(reply, 0, NULL);
	free(reply);
	vcpus = json_object_get(json_object_get(root, "result"), "vcpus");
	json_array_foreach(vcpus, i, vcpu)
	{
		for (size_t n = 0; n < NR_EXITS; n++)
			b->exits[n] +=
				sign * json_integer_value(json_object_get(
					       vcpu, exit_names[n]));
	}
	json_decref(root);
}

/* ---------------------------------------------------------------- a cycle */

static void add(struct bench_vm *b, enum figure figure, uint64_t from,
		uint64_t to)
{
	b->ms[figure][b->cycles] = (double)(int64_t)(to - from) / 1e6;
}

static const char *go_down(struct bench_vm *b, struct cycle *c)
{
	struct threads before, after;
	struct console_line line;

	(void)threads_read(&before, b->vm.pid);
	if (vm_ask_to_sleep(&b->vm) < 0)
		return "the request to sleep";
	if (vm_line(&b->vm, "BENCH: down", &line) < 0)
		return "the guest's agent does not begin";
	c->agent = line.end_ns;
	if (vm_wait_quiet(&b->vm, &c->quiet) < 0)
		return "its vCPUs do not come to rest";
	if (b->vm.torpor &&
	    torpor_wait_state(b->vm.torpor, "SUSPENDED", VM_TIMEOUT_MS) < 0)
		return "not asleep";
	(void)threads_read(&after, b->vm.pid);
	threads_add(&b->down, &before, &after);
	return NULL;
}

static const char *come_up(struct bench_vm *b, struct cycle *c)
{
	static char wrong[192];
	struct threads before, after;
	struct console_line line;

	(void)threads_read(&before, b->vm.pid);
	if (vm_press(&b->vm, &c->pressed) < 0)
		return "the power button";
	if (vm_next_line(&b->vm, &line) < 0)
		return "no output after the wake-up";
	(void)threads_read(&after, b->vm.pid);
	threads_add(&b->up, &before, &after);
	c->output = line.first_ns;
	if (strcmp(line.text, "TORPOR: awake again") != 0) {
		(void)snprintf(wrong, sizeof(wrong), "the guest says '%s'",
			       line.text);
		return wrong;
	}
	if (!b->vm.torpor && vm_line(&b->vm, "TORPOR-DONE", &line) < 0)
		return "its shell does not go on";
	if (b->vm.torpor &&
	    torpor_wait_state(b->vm.torpor, "RUNNING", VM_TIMEOUT_MS) < 0)
		return "not running";
	return NULL;
}

static const char *take_trace(struct bench_vm *b, const struct cycle *c)
{
	struct sleep_trace s = { .request = 0 };
	char *reply = NULL;
	int r = torpor_call(b->vm.torpor, "trace", "{\"cycles\":8}",
			    VM_TIMEOUT_MS, &reply);

	if (r == 0)
		r = sleep_trace_parse(&s, reply);
	free(reply);
	if (r < 0)
		return "its trace is not that of a whole sleep";
	if (s.wake < c->pressed || s.wake > c->output || s.asleep < c->agent)
		return "times of the trace do not fit ours";
	add(b, REQUEST_TO_ASLEEP, s.request, s.asleep);
	add(b, REQUEST_TO_AGENT, s.request, c->agent);
	add(b, AGENT_TO_ASLEEP, c->agent, s.asleep);
	add(b, ASLEEP_TO_QUIET, s.asleep, c->quiet);
	add(b, FREEZES_DRIVERS, 0, s.freezes_drivers);
	add(b, FREEZES_CPUS, 0, s.freezes_cpus);
	add(b, CENSUS, 0, s.census);
	add(b, DEVICES_STOP, 0, s.devices_stop);
	add(b, FINAL_CENSUS, 0, s.final_census);
	add(b, DOWN_OTHER,
	    s.freezes_drivers + s.freezes_cpus + s.census + s.devices_stop +
		    s.final_census,
	    s.asleep - s.request);
	add(b, PRESS_TO_EVENT, c->pressed, s.wake);
	add(b, DEVICES_RESTART, 0, s.devices_restart);
	add(b, EVENT_TO_LET_GO, s.wake, s.let_go);
	add(b, EVENT_TO_FIRST_RUN, s.wake, s.first_run);
	add(b, EVENT_TO_LPS0_EXIT, s.wake, s.lps0_exit);
	add(b, LPS0_EXIT_TO_OUTPUT, s.lps0_exit, c->output);
	add(b, EVENT_TO_OUTPUT, s.wake, c->output);
	b->censuses += s.nr_census;
	b->relapses += s.nr_relapses;
	return NULL;
}

/* One sleep. Return: NULL, or what went wrong. */
static const char *one_cycle(struct bench_vm *b)
{
	struct cycle c;
	const char *wrong = go_down(b, &c);

	if (!wrong)
		wrong = come_up(b, &c);
	if (!wrong && b->vm.torpor)
		wrong = take_trace(b, &c);
	if (wrong)
		return wrong;
	add(b, AGENT_TO_QUIET, c.agent, c.quiet);
	add(b, PRESS_TO_OUTPUT, c.pressed, c.output);
	b->cycles++;
	return NULL;
}

/* ---------------------------------------------------------------- asleep */

/* The guest's CLOCK_MONOTONIC and CLOCK_BOOTTIME. */
static bool guest_clocks(struct bench_vm *b, uint64_t *mono, uint64_t *boot)
{
	struct console_line line;

	return vm_run(&b->vm, "clocks", &line) == 0 &&
	       sscanf(line.text, "%" SCNu64 " %" SCNu64, mono, boot) == 2;
}

/* Long enough asleep to see what that costs, and what the clocks make of it. */
static const char *rest(struct bench_vm *b, unsigned int seconds)
{
	struct timespec settle = { .tv_nsec = 500000000 };
	struct timespec rest = { .tv_sec = seconds };
	uint64_t mono[2], boot[2], from, to;
	struct threads before, after;
	const char *wrong;
	struct cycle c;

	if (!guest_clocks(b, &mono[0], &boot[0]))
		return "the guest's clocks";
	wrong = go_down(b, &c);
	if (wrong)
		return wrong;
	(void)nanosleep(&settle, NULL);
	from = sample_now_ns(CLOCK_BOOTTIME);
	(void)threads_read(&before, b->vm.pid);
	(void)nanosleep(&rest, NULL);
	(void)threads_read(&after, b->vm.pid);
	to = sample_now_ns(CLOCK_BOOTTIME);
	threads_add(&b->asleep, &before, &after);
	wrong = come_up(b, &c);
	if (wrong)
		return wrong;
	if (!guest_clocks(b, &mono[1], &boot[1]))
		return "the guest's clocks";
	printf("lsleep-rest %s s=%.1f threads=%u processes=%u boot-s=%.1f "
	       "mono-s=%.1f\n",
	       b->vm.name, (double)(to - from) / 1e9, after.nr, after.processes,
	       (double)(boot[1] - boot[0]) / 1e9,
	       (double)(mono[1] - mono[0]) / 1e9);
	return NULL;
}

/* ---------------------------------------------------------------- reports */

/* Per cycle, or per second asleep. */
static void report_threads(struct bench_vm *b, const char *when,
			   const struct threads *sum, double per)
{
	struct thread_use total = threads_total(sum);

	for (unsigned int i = 0; i <= sum->nr; i++) {
		const struct thread_use *use =
			i < sum->nr ? &sum->use[i] : &total;
		char name[sizeof(use->name)];

		(void)snprintf(name, sizeof(name), "%s", use->name);
		for (char *p = name; *p; p++)
			*p = *p == ' ' ? '_' : *p;
		printf("lsleep-use %s %s %s tid=%d cpu-ms=%.3f wakeups=%.2f "
		       "preempts=%.2f\n",
		       b->vm.name, when, name, use->tid,
		       (double)use->run_ns / 1e6 / per,
		       (double)use->wakeups / per, (double)use->preempts / per);
	}
}

static void report_exits(const struct bench_vm *b, unsigned int n)
{
	printf("lsleep-exits %s", b->vm.name);
	for (size_t i = 0; i < NR_EXITS; i++)
		printf(" %s=%.1f", exit_names[i], (double)b->exits[i] / n);
	printf("\n");
}

static void report(struct bench_vm *b, unsigned int rest_s)
{
	unsigned int nr = b->vm.torpor ? NR_FIGURES : PRESS_TO_OUTPUT + 1;
	struct console_line keys = { .text = "?" };
	unsigned int n = b->cycles;

	if (n == 0)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		double *ms = b->ms[i];

		printf("lsleep %s %s n=%u p50=%.2f p99=%.2f max=%.2f\n",
		       b->vm.name, figure_names[i], n, sample_median(ms, n),
		       sample_percentile(ms, n, 99),
		       sample_percentile(ms, n, 100));
	}
	if (b->vm.torpor)
		report_exits(b, n);
	report_threads(b, "down", &b->down, n);
	report_threads(b, "up", &b->up, n);
	if (rest_s)
		report_threads(b, "asleep", &b->asleep, rest_s);
	if (vm_run(&b->vm, "cat /tmp/power-keys 2>/dev/null | wc -l", &keys) <
	    0)
		return;
	printf("lsleep-note %s failed=%u keys=%s", b->vm.name, b->failed,
	       keys.text);
	if (b->vm.torpor)
		printf(" censuses=%.2f relapses=%.2f", (double)b->censuses / n,
		       (double)b->relapses / n);
	printf("\n");
}

static void complain(struct bench_vm *b, unsigned int cycle, const char *what)
{
	(void)fprintf(stderr, "linux_sleep: %s, cycle %u: %s %s\n", b->vm.name,
		      cycle, what,
		      b->vm.torpor ? torpor_error_message(b->vm.torpor) : "");
}

/* Return: 0, -EIO: a guest that does not do what it should. */
static int run(struct bench_vm *vms, unsigned int nr, unsigned int cycles,
	       unsigned int limit_s, unsigned int rest_s)
{
	uint64_t end =
		sample_now_ns(CLOCK_BOOTTIME) + (uint64_t)limit_s * 1000000000U;

	for (unsigned int i = 0; i < nr; i++)
		add_exits(&vms[i], -1);
	for (unsigned int i = 0; i < cycles * nr; i++) {
		struct bench_vm *b = &vms[i % nr];
		const char *wrong;

		if (i % nr == 0 && sample_now_ns(CLOCK_BOOTTIME) > end)
			break;
		wrong = one_cycle(b);
		if (i / nr % 20 == 0)
			(void)fprintf(stderr, "linux_sleep: %s: cycle %u\n",
				      b->vm.name, i / nr);
		if (!wrong)
			continue;
		complain(b, i / nr, wrong);
		if (++b->failed > MAX_FAILED)
			return -EIO;
	}
	for (unsigned int i = 0; i < nr; i++)
		add_exits(&vms[i], 1);
	for (unsigned int i = 0; i < nr && rest_s; i++) {
		const char *wrong = rest(&vms[i], rest_s);

		if (wrong) {
			complain(&vms[i], cycles, wrong);
			return -EIO;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct bench_vm vms[NR_VMS];
	static const char *const names[NR_VMS] = { "torpor", "qemu" };
	unsigned int nr = 0, cycles, limit_s, rest_s;
	int r = 0;

	if (argc < 6) {
		(void)fprintf(stderr,
			      "usage: linux_sleep CYCLES LIMIT_S REST_S "
			      "SOCKET COMMAND... [-- SOCKET "
			      "COMMAND...]\n");
		return 2;
	}
	cycles = (unsigned int)strtoul(argv[1], NULL, 10);
	limit_s = (unsigned int)strtoul(argv[2], NULL, 10);
	rest_s = (unsigned int)strtoul(argv[3], NULL, 10);
	if (cycles == 0 || cycles > MAX_CYCLES)
		return 2;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (char **arg = &argv[4]; nr < NR_VMS && arg && r == 0; nr++) {
		char **end = arg;

		char **next;

		while (*end && strcmp(*end, "--") != 0)
			end++;
		next = *end ? end + 1 : NULL;
		*end = NULL;
		r = vm_init(&vms[nr].vm, names[nr], arg[0], &arg[1]);
		(void)fprintf(stderr, "linux_sleep: %s: %s\n", names[nr],
			      r < 0 ? strerror(-r) : "the guest is up");
		arg = next;
	}
	if (r == 0)
		r = run(vms, nr, cycles, limit_s, rest_s);
	for (unsigned int i = 0; i < nr; i++)
		report(&vms[i], rest_s);
	for (unsigned int i = 0; i < NR_VMS; i++)
		vm_finish(&vms[i].vm);
	return r == 0 ? 0 : 1;
}
