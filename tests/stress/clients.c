/* SPDX-License-Identifier: BSD-3-Clause */
/* See clients.h. */
#define _GNU_SOURCE
#include "tests/stress/clients.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/torpor.h"
#include "vmm/base/util.h"

struct client {
	const struct clients_options *options;
	unsigned int index;
	unsigned int seed;
	pthread_t thread;
	struct torpor *t;
	bool listens;		/* has asked for events */
	const char *last_event; /* a literal, or NULL */
	bool paused;		/* as the events have it */
	bool paused_known;
	uint64_t event_ns;
	struct clients_counts counts;
	/* For whoever finds a hang: what it does, and since when. */
	pthread_mutex_t lock;
	char doing[128];
	uint64_t since_ns;
};

static struct client clients[CLIENTS_NR];

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------- failures */

static void print_doing(const struct client *c)
{
	(void)fprintf(
		stderr, "  client %u: %s, for %llu ms\n", c->index, c->doing,
		(unsigned long long)((now_ns() - c->since_ns) / NS_PER_MS));
}

static _Noreturn void fail(const struct clients_options *options,
			   const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static _Noreturn void fail(const struct clients_options *options,
			   const char *fmt, ...)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	va_list ap;

	(void)pthread_mutex_lock(&once); /* for ever: the first one tells */
	(void)fprintf(stderr, "clients: seed %llu: ",
		      (unsigned long long)options->seed);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	for (unsigned int i = 0; i < CLIENTS_NR; i++) {
		if (!clients[i].options)
			continue;
		(void)pthread_mutex_lock(&clients[i].lock);
		print_doing(&clients[i]);
		(void)pthread_mutex_unlock(&clients[i].lock);
	}
	if (options->failed)
		options->failed();
	_exit(1);
}

static void does(struct client *c, const char *what, const char *args)
{
	(void)pthread_mutex_lock(&c->lock);
	(void)snprintf(c->doing, sizeof(c->doing), "%s %s", what,
		       args ? args : "");
	c->since_ns = now_ns();
	(void)pthread_mutex_unlock(&c->lock);
}

/* ---------------------------------------------------------------- calls */

static unsigned int chance(struct client *c, unsigned int below)
{
	return (unsigned int)rand_r(&c->seed) % below;
}

static bool one_in(struct client *c, unsigned int n)
{
	return chance(c, n) == 0;
}

static int random_ms(struct client *c, unsigned int below)
{
	return (int)(chance(c, below) * c->options->slow);
}

/* Now and then long enough for the guest to get somewhere. */
static void nap(struct client *c)
{
	static const unsigned int below_ms[] = { 1, 1, 20, 20, 20, 300 };
	unsigned int ms = chance(c, below_ms[chance(c, ARRAY_SIZE(below_ms))]) *
			  c->options->slow;
	struct timespec ts = { .tv_sec = ms / 1000,
			       .tv_nsec = ms % 1000 * 1000000L };

	(void)nanosleep(&ts, NULL);
}

static void hang_up(struct client *c)
{
	torpor_close(c->t);
	c->t = NULL;
	c->listens = false;
	c->last_event = NULL;
	c->paused_known = false;
	c->event_ns = 0;
}

static void dial(struct client *c)
{
	int r;

	does(c, "connect", NULL);
	r = torpor_connect(c->options->socket, (int)c->options->bound_ms,
			   &c->t);
	if (r < 0)
		fail(c->options, "client %u: connect: %s", c->index,
		     strerror(-r));
}

/* Of one of the words in @known, which ends with NULL. */
static bool word_in(const char *word, const char *const *known)
{
	for (; *known; known++) {
		if (!strcmp(word, *known))
			return true;
	}
	return false;
}

static const char *const no_errors[] = { NULL };

/*
 * A call that has to be answered, by success or by an error of @errors. The
 * reply is the caller's.
 */
static int must_answer(struct client *c, const char *command, const char *args,
		       const char *const *errors, char **ret_reply)
{
	int r;

	does(c, command, args);
	r = torpor_call(c->t, command, args, (int)c->options->bound_ms,
			ret_reply);
	if (r == -ETIMEDOUT)
		fail(c->options, "client %u: %s %s: no answer in %u ms",
		     c->index, command, args ? args : "", c->options->bound_ms);
	if (r < 0 && r != -EREMOTEIO)
		fail(c->options, "client %u: %s %s: %s", c->index, command,
		     args ? args : "", strerror(-r));
	if (r < 0 && !word_in(torpor_error_code(c->t), errors))
		fail(c->options, "client %u: %s %s: %s: %s", c->index, command,
		     args ? args : "", torpor_error_code(c->t),
		     torpor_error_message(c->t));
	c->counts.calls++;
	c->counts.errors += r < 0;
	return r;
}

static void simple(struct client *c, const char *command, const char *args,
		   const char *const *errors)
{
	_cleanup_free_ char *reply = NULL;

	(void)must_answer(c, command, args, errors, &reply);
}

/* ------------------------------------------------------------- commands */

/* How a suspend may be asked for, and what may keep it from being one. */
#define MAY_BE_TAKEN_BACK "cancelled"
#define MAY_FAIL	  MAY_BE_TAKEN_BACK, "timeout", "failed"

static const char *const sleep_errors[] = { MAY_FAIL, "refused", "aborted",
					    "deaf",   "blocked", NULL };
static const char *const force_errors[] = { MAY_BE_TAKEN_BACK, NULL };
static const char *const full_errors[] = { MAY_FAIL, NULL };

static const struct {
	unsigned int weight;
	const char *args;
	const char *const *errors;
} suspends[] = {
	{ 6, "", sleep_errors },
	{ 1, ",\"freeze_clock\":false", sleep_errors },
	{ 2, ",\"force\":true", force_errors },
	{ 1, ",\"full\":true", full_errors },
	{ 1, ",\"full\":true,\"freeze_clock\":true", full_errors },
};

/* A host that cannot change a guest's clocks refuses before it is counted. */
static bool counted(struct client *c, int r)
{
	return r != -EREMOTEIO ||
	       strcmp(torpor_error_code(c->t), "failed") != 0 ||
	       strncmp(torpor_error_message(c->t), "freeze_clock", 12) != 0;
}

/* Who has paused it mostly ends that too. */
static void do_suspend(struct client *c)
{
	_cleanup_free_ char *reply = NULL;
	unsigned int i = 0;
	char args[128];
	int r;

	for (unsigned int pick = chance(c, 11); pick >= suspends[i].weight; i++)
		pick -= suspends[i].weight;
	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d%s}",
		       one_in(c, 10) ? 0 : random_ms(c, 800), suspends[i].args);
	r = must_answer(c, "suspend", args, suspends[i].errors, &reply);
	c->counts.suspends += counted(c, r);
	if (r < 0)
		return;
	if (strstr(reply, "\"asleep\"")) {
		c->counts.asleep++;
	} else if (!one_in(c, 8)) {
		nap(c);
		simple(c, "resume", "{\"full\":true}", no_errors);
	}
}

/* Does not wait long enough; the answer comes late, or to nobody. */
static void do_suspend_impatient(struct client *c)
{
	char args[64];
	int r;

	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d%s}",
		       random_ms(c, 800), one_in(c, 8) ? ",\"full\":true" : "");
	does(c, "suspend, impatient,", args);
	r = torpor_call(c->t, "suspend", args, (int)chance(c, 20), NULL);
	if (r < 0 && r != -ETIMEDOUT && r != -EREMOTEIO)
		fail(c->options, "client %u: suspend %s: %s", c->index, args,
		     strerror(-r));
	c->counts.suspends++;
	if (r == -ETIMEDOUT && one_in(c, 2)) {
		c->counts.closed++;
		hang_up(c);
	}
}

static void do_resume(struct client *c)
{
	static const char *const deaf[] = { "deaf", NULL };

	simple(c, "resume", one_in(c, 2) ? "{\"full\":true}" : NULL, deaf);
}

/* As a launcher does it: until the guest runs. Others may prevent that. */
static void do_resume_and_wait(struct client *c)
{
	int ms = random_ms(c, 200), r;

	does(c, "resume and wait", NULL);
	r = one_in(c, 2) ? torpor_resume(c->t, ms) : torpor_unpause(c->t, ms);
	if (r < 0 && r != -ETIMEDOUT &&
	    !(r == -EREMOTEIO && !strcmp(torpor_error_code(c->t), "deaf")))
		fail(c->options, "client %u: resume: %s", c->index,
		     strerror(-r));
}

static void do_wake(struct client *c)
{
	static const char *const deaf[] = { "deaf", NULL };

	simple(c, "wake", NULL, deaf);
}

static void do_wait(struct client *c)
{
	static const char *const states[] = { "RUNNING",  "SUSPENDING",
					      "RESUMING", "SUSPENDED",
					      "PAUSED",	  "UNPAUSED" };
	static const char *const timeout[] = { "timeout", NULL };
	char args[128];

	(void)snprintf(
		args, sizeof(args), "{\"state\":\"%s\",\"timeout_ms\":%d}",
		states[chance(c, ARRAY_SIZE(states))], random_ms(c, 300));
	simple(c, "wait", args, timeout);
}

static void do_button(struct client *c)
{
	/* As the guest's driver comes and goes. */
	static const char *const deaf[] = { "deaf", NULL };

	simple(c, one_in(c, 2) ? "powerbtn" : "sleepbtn", NULL, deaf);
}

static void do_look(struct client *c)
{
	static const struct {
		const char *command, *args;
	} looks[] = {
		{ "state", NULL },
		{ "state", "{}" },
		{ "stats", NULL },
		{ "stats", "{\"format\":\"prometheus\"}" },
		{ "trace", "{\"cycles\":1}" },
		{ "version", NULL },
	};
	unsigned int i = chance(c, ARRAY_SIZE(looks));

	simple(c, looks[i].command, looks[i].args, no_errors);
}

static void do_trace(struct client *c)
{
	simple(c, "trace", NULL, no_errors);
}

/* --------------------------------------------------------------- events */

static const char *const event_names[] = {
	"SUSPENDING", "SUSPENDED",  "RESUMING",	     "RUNNING", "PAUSED",
	"UNPAUSED",   "WAKE_STORM", "DEVICE_FAILED", NULL
};

/* What is told of the VM has to make sense, in order and without a gap. */
static void check_event(struct client *c, const char *line)
{
	json_t *obj = json_loads(line, 0, NULL);
	const char *said = json_string_value(json_object_get(obj, "event"));
	uint64_t ns =
		(uint64_t)json_integer_value(json_object_get(obj, "time_ns"));
	const char *name = NULL;

	for (unsigned int i = 0; event_names[i]; i++) {
		if (said && !strcmp(said, event_names[i]))
			name = event_names[i];
	}
	json_decref(obj);
	if (!name || ns < c->event_ns)
		fail(c->options, "client %u: event %s", c->index, line);
	c->event_ns = ns;
	if (!strcmp(name, "PAUSED") || !strcmp(name, "UNPAUSED")) {
		bool paused = name[0] == 'P';

		if (c->paused_known && c->paused == paused)
			fail(c->options, "client %u: %s twice", c->index, name);
		c->paused = paused;
		c->paused_known = true;
		return;
	}
	if (!strcmp(name, "WAKE_STORM") || !strcmp(name, "DEVICE_FAILED"))
		return;
	if (c->last_event == name)
		fail(c->options, "client %u: %s twice", c->index, name);
	if (c->last_event && !strcmp(name, "SUSPENDED") &&
	    strcmp(c->last_event, "SUSPENDING") != 0)
		fail(c->options, "client %u: %s after %s", c->index, name,
		     c->last_event);
	c->last_event = name;
}

static void do_events(struct client *c)
{
	if (!c->listens)
		simple(c, "events", NULL, no_errors);
	c->listens = true;
	for (unsigned int n = chance(c, 30); n > 0; n--) {
		_cleanup_free_ char *line = NULL;
		int r;

		does(c, "next event", NULL);
		r = torpor_next_event(c->t, (int)chance(c, 50), &line);
		if (r == -ETIMEDOUT)
			return;
		if (r < 0)
			fail(c->options, "client %u: next event: %s", c->index,
			     strerror(-r));
		/* Kept in vain while others were not taken. */
		if (torpor_events_lost(c->t))
			c->last_event = NULL;
		else
			check_event(c, line);
		c->counts.events++;
	}
}

/* ------------------------------------------------------------ malformed */

static void do_malformed(struct client *c)
{
	static const struct {
		const char *command, *args, *code;
	} bad[] = {
		{ "suspend", "{\"timeout_ms\":-1}", "invalid" },
		{ "suspend", "{\"timeout_ms\":\"1\"}", "invalid" },
		{ "suspend", "{\"full\":true,\"force\":true}", "invalid" },
		{ "suspend", "{\"freeze_clock\":true}", "invalid" },
		{ "suspend", "{\"force\":1}", "invalid" },
		{ "resume", "{\"full\":null}", "invalid" },
		{ "resume", "{\"force\":true}", "invalid" },
		{ "wake", "{\"source\":\"rtc\"}", "invalid" },
		{ "wait", NULL, "invalid" },
		{ "wait", "{\"state\":\"ASLEEP\"}", "invalid" },
		{ "wait", "{\"state\":\"RUNNING\",\"timeout_ms\":86400001}",
		  "invalid" },
		{ "stats", "{\"format\":\"xml\"}", "invalid" },
		{ "trace", "{\"cycles\":0}", "invalid" },
		{ "trace", "{\"cycles\":65}", "invalid" },
		{ "powerbtn", "{\"x\":{}}", "invalid" },
		{ "sleep", NULL, "unknown-command" },
		{ "", NULL, "unknown-command" },
	};
	unsigned int i = chance(c, ARRAY_SIZE(bad));
	const char *const codes[] = { bad[i].code, NULL };
	_cleanup_free_ char *reply = NULL;

	if (must_answer(c, bad[i].command, bad[i].args, codes, &reply) == 0)
		fail(c->options, "client %u: %s %s was taken: %s", c->index,
		     bad[i].command, bad[i].args ? bad[i].args : "", reply);
	c->counts.malformed++;
}

/* Bytes past the library, after which this connection is done with. */
static void send_raw(struct client *c, const char *bytes)
{
	size_t len = strlen(bytes);

	while (len > 0) {
		ssize_t n = send(torpor_fd(c->t), bytes, len, MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			(void)usleep(1000);
		} else if (n < 0 && errno != EINTR) {
			fail(c->options, "client %u: send: %s", c->index,
			     strerror(errno));
		}
	}
}

/* Requests are sent and their answers are not waited for. */
static void do_leave(struct client *c)
{
	static const struct {
		const char *bytes;
		unsigned int suspends;
	} what[] = {
		{ "{\"command\":\"suspend\",\"timeout_ms\":200}\n", 1 },
		{ "{\"command\":\"suspend\",\"full\":true}\n", 1 },
		{ "{\"command\":\"state\"}\n{\"command\":\"stats\"}\n"
		  "{\"command\":\"suspend\",\"timeout_ms\":100}\n",
		  1 },
		{ "{\"command\":\"suspend\",\"timeout_ms\":50}\n"
		  "{\"command\":\"suspend\",\"timeout_ms\":150}\n"
		  "{\"command\":\"resume\"}\n",
		  2 },
		{ "{\"command\":\"wait\",\"state\":\"SUSPENDED\","
		  "\"timeout_ms\":200}\n{\"command\":\"wait\"",
		  0 },
		{ "{\"command\":\"suspend\",\"time", 0 },
		{ "suspend\n[]\n\"suspend\"\n{\"command\":1}\n", 0 },
		{ "{\"id\":{},\"command\":\"suspend\"}\n", 0 },
		{ "{\"command\":\"trace\"}\n{\"command\":\"trace\"}\n", 0 },
	};
	unsigned int i = chance(c, ARRAY_SIZE(what));

	does(c, "leave after", what[i].bytes);
	send_raw(c, what[i].bytes);
	c->counts.suspends += what[i].suspends;
	nap(c);
	c->counts.closed++;
	hang_up(c);
}

static void do_dial_anew(struct client *c)
{
	hang_up(c);
}

/* -------------------------------------------------------------- clients */

static const struct {
	unsigned int weight;
	void (*fn)(struct client *c);
} actions[] = {
	{ 24, do_suspend },  { 4, do_suspend_impatient },
	{ 4, do_resume },    { 4, do_resume_and_wait },
	{ 3, do_wake },	     { 16, do_wait },
	{ 3, do_button },    { 12, do_look },
	{ 1, do_trace },     { 12, do_events },
	{ 6, do_malformed }, { 5, do_leave },
	{ 2, do_dial_anew },
};

static void act(struct client *c)
{
	unsigned int sum = 0, pick;

	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		sum += actions[i].weight;
	pick = chance(c, sum);
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++) {
		if (pick < actions[i].weight) {
			actions[i].fn(c);
			return;
		}
		pick -= actions[i].weight;
	}
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	uint64_t end = now_ns() + c->options->seconds * 1000 * NS_PER_MS;

	while (now_ns() < end) {
		if (!c->t)
			dial(c);
		act(c);
		nap(c);
	}
	hang_up(c);
	does(c, "has finished", NULL);
	return NULL;
}

static void client_init(struct client *c, const struct clients_options *options,
			unsigned int index)
{
	*c = (struct client){ .options = options,
			      .index = index,
			      .seed = (unsigned int)(options->seed * 1000003 +
						     index) };
	(void)pthread_mutex_init(&c->lock, NULL);
	does(c, "begins", NULL);
}

static void add_counts(struct clients_counts *sum,
		       const struct clients_counts *counts)
{
	sum->calls += counts->calls;
	sum->errors += counts->errors;
	sum->suspends += counts->suspends;
	sum->asleep += counts->asleep;
	sum->malformed += counts->malformed;
	sum->closed += counts->closed;
	sum->events += counts->events;
}

void clients_run(const struct clients_options *options,
		 struct clients_counts *ret)
{
	*ret = (struct clients_counts){ 0 };
	for (unsigned int i = 0; i < CLIENTS_NR; i++)
		client_init(&clients[i], options, i);
	for (unsigned int i = 0; i < CLIENTS_NR; i++) {
		if (pthread_create(&clients[i].thread, NULL, client_main,
				   &clients[i]))
			abort();
	}
	for (unsigned int i = 0; i < CLIENTS_NR; i++) {
		(void)pthread_join(clients[i].thread, NULL);
		add_counts(ret, &clients[i].counts);
	}
}

/* --------------------------------------------------------------- checks */

/* The result of a call as JSON; the caller's. */
static json_t *ask(struct client *c, const char *command)
{
	_cleanup_free_ char *reply = NULL;
	json_t *obj, *result;

	(void)must_answer(c, command, NULL, no_errors, &reply);
	obj = json_loads(reply, 0, NULL);
	result = json_incref(json_object_get(obj, "result"));
	json_decref(obj);
	if (!result)
		fail(c->options, "%s: %s", command, reply);
	return result;
}

static uint64_t number(const json_t *obj, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(obj, key));
}

static uint64_t requests_of(const json_t *stats)
{
	uint64_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach(json_object_get(stats, "requests"), key, value)
	{
		sum += (uint64_t)json_integer_value(value);
	}
	return sum;
}

uint64_t clients_requests(const struct clients_options *options)
{
	struct client *c = &clients[0];
	json_t *stats;
	uint64_t sum;

	client_init(c, options, 0);
	dial(c);
	stats = ask(c, "stats");
	sum = requests_of(stats);
	json_decref(stats);
	hang_up(c);
	return sum;
}

/* As many sleeps begun as ended, by every count there is of them. */
static void check_sleeps(const struct client *c, const json_t *state,
			 const json_t *stats)
{
	uint64_t cycles = number(state, "cycles"), sum = 0, wakes = 0;
	const json_t *wake = json_object_get(stats, "wake");
	uint64_t released = number(json_object_get(wake, "vcpus"), "count");
	uint64_t told = number(json_object_get(wake, "running"), "count");
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(stats, "sleeps"), i, entry)
	{
		sum += number(entry, "cycles");
	}
	json_array_foreach(json_object_get(stats, "sources"), i, entry)
	{
		wakes += number(entry, "wakes");
	}
	if (sum != cycles || released != cycles || told > cycles ||
	    wakes > cycles)
		fail(c->options,
		     "%llu sleeps: by kind %llu, released %llu, running %llu, "
		     "ended by a source %llu",
		     (unsigned long long)cycles, (unsigned long long)sum,
		     (unsigned long long)released, (unsigned long long)told,
		     (unsigned long long)wakes);
}

/* Of a VM that runs and of which nobody wants anything no span is open. */
static void check_trace(struct client *c)
{
	json_t *trace = ask(c, "trace"), *event;
	size_t i;

	json_array_foreach(json_object_get(trace, "traceEvents"), i, event)
	{
		const char *name =
			json_string_value(json_object_get(event, "name"));
		const char *cat =
			json_string_value(json_object_get(event, "cat"));
		const json_t *args = json_object_get(event, "args");

		if (!json_is_true(json_object_get(args, "open")))
			continue;
		if (strcmp(cat, "power") != 0 || strcmp(name, "RUNNING") != 0)
			fail(c->options, "trace: %s %s has not ended", cat,
			     name);
	}
	json_decref(trace);
}

/* Return: whether it runs, and all that has been asked for has ended. */
static bool at_rest(struct client *c, uint64_t requests)
{
	static const char *const timeout[] = { "timeout", NULL };
	json_t *state, *stats;
	bool rest;

	simple(c, "resume", "{\"full\":true}", no_errors);
	simple(c, "resume", NULL, no_errors);
	simple(c, "wake", NULL, no_errors);
	simple(c, "wait", "{\"state\":\"UNPAUSED\",\"timeout_ms\":1000}",
	       timeout);
	simple(c, "wait", "{\"state\":\"RUNNING\",\"timeout_ms\":1000}",
	       timeout);
	if (c->options->guest_is_up && !c->options->guest_is_up())
		return false;
	stats = ask(c, "stats");
	state = ask(c, "state");
	rest = !strcmp(json_string_value(json_object_get(state, "state")),
		       "RUNNING") &&
	       json_is_false(json_object_get(state, "paused")) &&
	       requests_of(stats) >= requests;
	json_decref(state);
	json_decref(stats);
	return rest;
}

void clients_settle(const struct clients_options *options, uint64_t requests)
{
	struct client *c = &clients[0];
	uint64_t end = now_ns() + options->bound_ms * NS_PER_MS;
	json_t *state, *stats;
	bool rest;

	client_init(c, options, 0);
	dial(c);
	do
		rest = at_rest(c, requests);
	while (!rest && now_ns() < end);
	state = ask(c, "state");
	stats = ask(c, "stats");
	if (!rest)
		fail(options, "%llu of %llu requests have ended; state: %s",
		     (unsigned long long)requests_of(stats),
		     (unsigned long long)requests,
		     json_dumps(state, JSON_COMPACT));
	if (requests_of(stats) != requests)
		fail(options, "%llu requests have ended, of %llu",
		     (unsigned long long)requests_of(stats),
		     (unsigned long long)requests);
	check_sleeps(c, state, stats);
	check_trace(c);
	json_decref(state);
	json_decref(stats);
	hang_up(c);
}
