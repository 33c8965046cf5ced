/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command "stats" of a VM that is only its statistics, over a real control
 * socket: the JSON, and the Prometheus text by a strict parser of its format.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/torpor.h"
#include "tests/lib/text.h"
#include "vmm/control/prometheus.h"
#include "vmm/control/requests.h"
#include "vmm/vm/vm.h"

#define MS	   1000000ULL
#define MAX_LABELS 4
#define MAX_SERIES 512

/* Criterion takes an expression that begins with an operator for its own. */
static bool yes(bool is)
{
	return is;
}

/* ------------------------------------------------------ a strict parser */

struct series {
	char name[96];
	char labels[MAX_LABELS][2][128]; /* name, value without escapes */
	unsigned int nr_labels;
	double value;
};

static struct {
	char family[80], type[16];
	char seen[64][80]; /* families so far */
	unsigned int nr_seen;
	struct series series[MAX_SERIES];
	unsigned int nr;
} doc;

static size_t name_len(const char *p)
{
	size_t n = 0;

	if (!isalpha((unsigned char)*p) && *p != '_' && *p != ':')
		return 0;
	while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == ':')
		n++;
	return n;
}

/* "# HELP name text" or "# TYPE name type" at @p. Return: what is after name.
 */
static const char *parse_comment(const char *p, const char *what, char *name)
{
	size_t n;

	cr_assert(eq(int, strncmp(p, what, 7), 0), "%.80s", p);
	p += 7;
	n = name_len(p);
	cr_assert(n > 0 && n < 80 && p[n] == ' ', "%.80s", p);
	memcpy(name, p, n);
	name[n] = '\0';
	return p + n + 1;
}

/* HELP, then TYPE, of a family that was not there yet. */
static const char *parse_family(const char *p)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	char name[80];
	size_t n;
	bool known = false;

	p = parse_comment(p, "# HELP ", doc.family);
	n = strcspn(p, "\n");
	cr_assert(n > 0 && p[n] == '\n' && !memchr(p, '\\', n));
	p = parse_comment(p + n + 1, "# TYPE ", name);
	cr_assert(eq(str, name, doc.family));
	n = strcspn(p, "\n");
	cr_assert(n < sizeof(doc.type) && p[n] == '\n');
	memcpy(doc.type, p, n);
	doc.type[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known |= !strcmp(doc.type, types[i]);
	cr_assert(known, "type %s", doc.type);
	for (unsigned int i = 0; i < doc.nr_seen; i++)
		cr_assert(ne(str, doc.seen[i], doc.family), "twice");
	strcpy(doc.seen[doc.nr_seen++], doc.family);
	return p + n + 1;
}

static const char *parse_label(const char *p, struct series *s)
{
	char(*label)[128] = s->labels[s->nr_labels++];
	size_t n = name_len(p), len = 0;

	cr_assert(n > 0 && n < 128 && !memchr(p, ':', n), "%.80s", p);
	memcpy(label[0], p, n);
	label[0][n] = '\0';
	p += n;
	cr_assert(p[0] == '=' && p[1] == '"', "%.80s", p);
	for (p += 2; *p != '"'; p++) {
		char c = *p;

		cr_assert(c && c != '\n' && len < 127, "label runs on");
		if (c == '\\') {
			c = *++p == 'n' ? '\n' : *p;
			cr_assert(c == '\n' || c == '\\' || c == '"',
				  "escape \\%c", c);
		}
		label[1][len++] = c;
	}
	label[1][len] = '\0';
	return p + 1;
}

static const char *label_of(const struct series *s, const char *name)
{
	for (unsigned int i = 0; i < s->nr_labels; i++) {
		if (!strcmp(s->labels[i][0], name))
			return s->labels[i][1];
	}
	return NULL;
}

/* The name is the family's, with what its type allows behind it. */
static void check_name(const struct series *s)
{
	size_t n = strlen(doc.family);
	const char *rest = s->name + n;

	cr_assert(eq(int, strncmp(s->name, doc.family, n), 0),
		  "%s in family %s", s->name, doc.family);
	if (!strcmp(doc.type, "histogram")) {
		cr_assert(yes(!strcmp(rest, "_bucket") ||
			      !strcmp(rest, "_sum") ||
			      !strcmp(rest, "_count")));
		cr_assert(yes(!strcmp(rest, "_bucket") == !!label_of(s, "le")));
		return;
	}
	cr_assert(same(rest, ""));
	cr_assert(label_of(s, "le") == NULL);
	cr_assert(yes(!strcmp(doc.type, "counter") ==
		      (n > 6 && !strcmp(doc.family + n - 6, "_total"))),
		  "%s %s", doc.type, doc.family);
}

static const char *parse_series(const char *p)
{
	struct series *s = &doc.series[doc.nr++];
	size_t n = name_len(p);
	char *end;

	cr_assert(lt(u32, doc.nr, MAX_SERIES));
	cr_assert(n > 0 && n < sizeof(s->name), "%.80s", p);
	*s = (struct series){ .nr_labels = 0 };
	memcpy(s->name, p, n);
	p += n;
	if (*p == '{') {
		do {
			cr_assert(lt(u32, s->nr_labels, MAX_LABELS));
			p = parse_label(p + 1, s);
		} while (*p == ',');
		cr_assert(eq(chr, *p++, '}'));
	}
	check_name(s);
	cr_assert(p[0] == ' ' && isdigit((unsigned char)p[1]), "%.80s", p);
	s->value = strtod(p + 1, &end);
	cr_assert(eq(chr, *end, '\n'));
	return end + 1;
}

static bool same_labels(const struct series *a, const struct series *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->nr_labels; i++) {
		const char *other = label_of(b, a->labels[i][0]);

		if (!strcmp(a->labels[i][0], "le"))
			continue;
		n++;
		if (!other || strcmp(other, a->labels[i][1]) != 0)
			return false;
	}
	return n == b->nr_labels - (label_of(b, "le") != NULL);
}

static const struct series *find(const char *name, const char *label,
				 const char *value)
{
	const struct series *found = NULL;

	for (unsigned int i = 0; i < doc.nr; i++) {
		const struct series *s = &doc.series[i];

		if (strcmp(s->name, name) != 0 ||
		    (label && (!label_of(s, label) ||
			       strcmp(label_of(s, label), value) != 0)))
			continue;
		cr_assert(found == NULL, "%s: more than one", name);
		found = s;
	}
	cr_assert(found != NULL, "%s %s", name, value ? value : "");
	return found;
}

/* The buckets that begin at @i: rising, cumulative, +Inf is the count. */
static unsigned int check_histogram(unsigned int i)
{
	const struct series *first = &doc.series[i], *s = first;
	double le = -1, count = 0;

	for (; !isinf(le); s++) {
		cr_assert(same(s->name, first->name));
		cr_assert(same_labels(s, first));
		cr_assert(strtod(label_of(s, "le"), NULL) > le);
		le = strtod(label_of(s, "le"), NULL);
		cr_assert(ge(dbl, s->value, count));
		count = s->value;
	}
	cr_assert(same(label_of(s - 1, "le"), "+Inf"));
	cr_assert(strstr(s->name, "_sum") && same_labels(s, first));
	cr_assert(count > 0 || s->value == 0);
	s++;
	cr_assert(strstr(s->name, "_count") && same_labels(s, first));
	cr_assert(eq(dbl, s->value, count));
	return (unsigned int)(s - doc.series);
}

static void parse(const char *text)
{
	memset(&doc, 0, sizeof(doc));
	while (*text)
		text = *text == '#' ? parse_family(text) : parse_series(text);
	for (unsigned int i = 0; i < doc.nr; i++) {
		for (unsigned int j = 0; j < i; j++)
			cr_assert(yes(label_of(&doc.series[i], "le") ||
				      strcmp(doc.series[i].name,
					     doc.series[j].name) != 0 ||
				      !same_labels(&doc.series[i],
						   &doc.series[j])),
				  "%s twice", doc.series[i].name);
	}
	for (unsigned int i = 0; i < doc.nr; i++) {
		if (label_of(&doc.series[i], "le"))
			i = check_histogram(i);
	}
}

/* ------------------------------------------------------------- the text */

TestSuite(prometheus, .timeout = 120);

static char *written(void (*write)(FILE *out))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	write(out);
	fclose(out);
	return text;
}

static void write_all(FILE *out)
{
	static const struct prom_label labels[] = { { "vm", "a" }, { NULL } };
	static const struct prom_label none[] = { { NULL } };
	struct power_hist hist = { .count = 0 };

	prom_family(out, "x_total", "counter", "Some.");
	prom_number(out, "x_total", labels, UINT64_MAX);
	prom_number(out, "x_total", none, 0);
	prom_family(out, "y_seconds", "gauge", "Time.");
	prom_seconds(out, "y_seconds", labels, 61000000007);
	prom_family(out, "z_seconds", "histogram", "Times.");
	prom_hist(out, "z_seconds", labels, &hist);
	power_hist_add(&hist, 5 * MS);
	power_hist_add(&hist, 5 * MS + 1);
	power_hist_add(&hist, 3600000 * MS);
	prom_hist(out, "z_seconds", none, &hist);
}

Test(prometheus, text_is_as_the_format_has_it)
{
	_cleanup_free_ char *text = written(write_all);
	static const char *const lines[] = {
		"# HELP x_total Some.\n# TYPE x_total counter\n",
		"\nx_total{vm=\"a\"} 18446744073709551615\nx_total 0\n",
		"\ny_seconds{vm=\"a\"} 61.000000007\n",
		"\nz_seconds_bucket{vm=\"a\",le=\"0.001\"} 0\n",
		"\nz_seconds_bucket{vm=\"a\",le=\"+Inf\"} 0\n",
		"\nz_seconds_sum{vm=\"a\"} 0.000000000\n",
		"\nz_seconds_bucket{le=\"0.002\"} 0\n",
		"\nz_seconds_bucket{le=\"0.005\"} 1\n",
		"\nz_seconds_bucket{le=\"0.01\"} 2\n",
		"\nz_seconds_bucket{le=\"0.5\"} 2\n",
		"\nz_seconds_bucket{le=\"1\"} 2\n",
		"\nz_seconds_bucket{le=\"10\"} 2\n",
		"\nz_seconds_bucket{le=\"20\"} 2\n",
		"\nz_seconds_bucket{le=\"+Inf\"} 3\n",
		"\nz_seconds_sum 3600.010000001\nz_seconds_count 3\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		cr_assert(strstr(text, lines[i]) != NULL, "no '%s' in:\n%s",
			  lines[i], text);
	parse(text);
}

/* ---------------------------------------------------------- the command */

static char dir[64], path[108];
static struct vm vm;
static struct commands asked = { .vm = &vm };
static struct vm_config cfg;
static struct wake_source net0;
static struct irq_line sci;
static struct control *ctl;
static pthread_t server;

static void sci_set(struct irq_line *line, bool level)
{
}

static const struct control_command commands[] = {
	{ "stats", request_stats },
	{ NULL },
};

static void *serve(void *arg)
{
	(void)!loop_run(&vm.loop);
	return NULL;
}

static void fill(struct power_stats *s)
{
	uint64_t latency_ns = 0, t = time_boot_ns() - 100000 * MS;

	power_stats_begun(s, POWER_BY_REQUEST, t);
	power_stats_slept(s, POWER_SLEEP_S2IDLE, t + 300 * MS);
	power_stats_request(s, POWER_ASLEEP);
	power_stats_woke(s, true, t + 2300 * MS);
	power_stats_released(s, t + 2303 * MS);
	power_stats_running(s, t + 2340 * MS, &latency_ns);
	power_stats_request(s, POWER_REFUSED);
	power_stats_request(s, POWER_REFUSED);
	power_stats_paused(s, 1500 * MS);
	/* And asleep since, by itself, for about 97 s. */
	power_stats_begun(s, POWER_BY_GUEST, t + 3000 * MS);
	power_stats_slept(s, POWER_SLEEP_SHALLOW, t + 3007 * MS);
}

static void setup(void)
{
	static const struct power_ops no_ops;
	static char name[] = "arc";
	struct err err;

	strcpy(dir, "/tmp/torpor-stats.XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/vm.sock", dir);
	cfg.name = name;
	vm.cfg = &cfg;
	sci.set = sci_set;
	acpi_pm_init(&vm.platform.pm, LAYOUT_PORT_PM1A_EVT,
		     LAYOUT_PORT_PM1A_CNT, LAYOUT_PORT_GPE0, &sci);
	power_init(&vm.power, &no_ops, &vm.platform.pm, 0, 1);
	net0 = (struct wake_source){
		.name = "net0", .count = 7, .wakes = 1, .last_ns = 12 * MS
	};
	power_add_source(&vm.power, &net0);
	vm.nr_devices = 1;
	strcpy(vm.devices[0].name, "net0");
	vm.devices[0].type = &virtio_types[VIRTIO_TYPE_NET];
	vm.devices[0].mmio.resets = 3;
	fill(&vm.power.stats);
	cr_assert(eq(int, loop_init(&vm.loop), 0));
	cr_assert(
		eq(int,
		   control_create(&vm.loop, path, commands, &asked, &ctl, &err),
		   0));
	cr_assert(eq(int, pthread_create(&server, NULL, serve, NULL), 0));
}

static void teardown(void)
{
	loop_stop(&vm.loop);
	(void)pthread_join(server, NULL);
	control_destroy(ctl);
	loop_finish(&vm.loop);
	power_finish(&vm.power);
	acpi_pm_finish(&vm.platform.pm);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(stats, .init = setup, .fini = teardown, .timeout = 120);

/* Return: the whole reply, owned. */
static json_t *call(const char *args)
{
	_cleanup_free_ char *line = NULL;
	struct torpor *t;
	json_t *reply;

	cr_assert(eq(int, torpor_connect(path, 20000, &t), 0));
	(void)!torpor_call(t, "stats", args, 20000, &line);
	torpor_close(t);
	reply = json_loads(line, 0, NULL);
	cr_assert(reply != NULL, "%s", line);
	return reply;
}

/* The integer at the end of a path of keys; "#2" is an index. */
static long long at(const json_t *reply, const char *where)
{
	char copy[128], *save, *word;
	const json_t *v = json_object_get(reply, "result");

	(void)snprintf(copy, sizeof(copy), "%s", where);
	for (word = strtok_r(copy, "/", &save); word;
	     word = strtok_r(NULL, "/", &save))
		v = *word == '#'
			    ? json_array_get(v, strtoul(word + 1, NULL, 10))
			    : json_object_get(v, word);
	cr_assert(yes(json_is_integer(v)), "%s", where);
	return json_integer_value(v);
}

static void check_json(const char *args)
{
	json_t *r = call(args);
	const json_t *result = json_object_get(r, "result");

	cr_assert(
		same(json_string_value(json_object_get(result, "vm")), "arc"));
	cr_assert(eq(i64, at(r, "sleeps/#0/cycles"), 1));
	cr_assert(eq(i64, at(r, "sleeps/#0/by_request"), 1));
	cr_assert(eq(i64, at(r, "sleeps/#0/by_guest"), 0));
	cr_assert(eq(i64, at(r, "sleeps/#0/asleep_ns"), 2000 * MS));
	cr_assert(eq(i64, at(r, "sleeps/#1/by_guest"), 1));
	/* The present sleep counts. */
	cr_assert(ge(i64, at(r, "sleeps/#1/asleep_ns"), 96000 * MS));
	cr_assert(eq(i64, at(r, "sleeps/#2/cycles"), 0));
	cr_assert(eq(i64, at(r, "requests/asleep"), 1));
	cr_assert(eq(i64, at(r, "requests/refused"), 2));
	cr_assert(eq(i64, at(r, "requests/timeout"), 0));
	cr_assert(eq(i64, at(r, "entry/request/count"), 1));
	cr_assert(eq(i64, at(r, "entry/request/sum_ns"), 300 * MS));
	cr_assert(eq(i64, at(r, "entry/guest/max_ns"), 7 * MS));
	cr_assert(eq(i64, at(r, "wake/vcpus/p50_ns"), 3 * MS));
	cr_assert(eq(i64, at(r, "wake/running/p99_ns"), 40 * MS));
	cr_assert(eq(i64, at(r, "wake/running/buckets/#4/le_ns"), 20 * MS));
	cr_assert(eq(i64, at(r, "wake/running/buckets/#4/count"), 0));
	cr_assert(eq(i64, at(r, "wake/running/buckets/#5/count"), 1));
	cr_assert(eq(i64, at(r, "wake/running/buckets/#14/count"), 1));
	cr_assert(eq(i64, at(r, "pauses/count"), 1));
	cr_assert(eq(i64, at(r, "pauses/total_ns"), 1500 * MS));
	cr_assert(eq(i64, at(r, "sources/#4/count"), 7));
	cr_assert(eq(i64, at(r, "sources/#4/wakes"), 1));
	cr_assert(eq(i64, at(r, "sources/#4/last_ns"), 12 * MS));
	cr_assert(eq(i64, at(r, "devices/#0/resets"), 3));
	json_decref(r);
}

Test(stats, json_has_all_there_is)
{
	check_json(NULL);
	check_json("{\"format\":\"json\"}");
}

Test(stats, a_vm_that_never_slept_has_no_percentiles)
{
	json_t *r, *vcpus;

	vm.power.stats = (struct power_stats){ .pauses = 0 };
	r = call(NULL);
	vcpus = json_object_get(
		json_object_get(json_object_get(r, "result"), "wake"), "vcpus");
	cr_assert(eq(i64, at(r, "wake/vcpus/count"), 0));
	cr_assert(yes(json_is_null(json_object_get(vcpus, "p50_ns"))));
	cr_assert(yes(json_is_null(json_object_get(vcpus, "p99_ns"))));
	json_decref(r);
}

static void get_text(char *buf, size_t size)
{
	json_t *r = call("{\"format\":\"prometheus\"}");
	const char *text = json_string_value(
		json_object_get(json_object_get(r, "result"), "text"));

	cr_assert(text && strlen(text) < size);
	strcpy(buf, text);
	json_decref(r);
}

static char text[1 << 16];

Test(stats, prometheus_text_has_all_there_is)
{
	get_text(text, sizeof(text));
	parse(text);
	cr_assert(eq(dbl, find("torpor_asleep", "vm", "arc")->value, 1));
	cr_assert(
		eq(dbl,
		   find("torpor_asleep_seconds_total", "kind", "s2idle")->value,
		   2));
	cr_assert(ge(
		dbl,
		find("torpor_asleep_seconds_total", "kind", "shallow")->value,
		96));
	for (unsigned int i = 0; power_outcome_name(i); i++)
		cr_assert(eq(dbl,
			     find("torpor_suspend_requests_total", "outcome",
				  power_outcome_name(i))
				     ->value,
			     vm.power.stats.requests[i]));
	cr_assert(eq(
		dbl,
		find("torpor_sleep_entry_seconds_count", "by", "guest")->value,
		1));
	cr_assert(eq(
		dbl,
		find("torpor_wake_vcpus_seconds_bucket", "le", "0.002")->value,
		0));
	cr_assert(eq(
		dbl,
		find("torpor_wake_vcpus_seconds_bucket", "le", "0.005")->value,
		1));
	cr_assert(epsilon_eq(
		dbl, find("torpor_wake_running_seconds_sum", NULL, NULL)->value,
		0.04, 1e-9));
	cr_assert(eq(dbl, find("torpor_pauses_total", NULL, NULL)->value, 1));
	cr_assert(eq(dbl,
		     find("torpor_paused_seconds_total", NULL, NULL)->value,
		     1.5));
	cr_assert(eq(dbl,
		     find("torpor_wake_events_total", "source", "net0")->value,
		     7));
	cr_assert(eq(dbl, find("torpor_wakes_total", "source", "net0")->value,
		     1));
	/* Of the one source that has had an event; years after 1970. */
	cr_assert(gt(dbl,
		     find("torpor_wake_last_event_timestamp_seconds", "source",
			  "net0")
			     ->value,
		     1.5e9));
	cr_assert(eq(dbl,
		     find("torpor_device_resets_total", "role", "net")->value,
		     3));
}

/* The command line does not allow such a name; the text does not rely on it. */
Test(stats, a_hostile_name_stays_in_its_label)
{
	static char name[] = "a\"} 7\ntorpor_asleep{vm=\"b\\\\n\\\n\xc3\xa9{,=";

	cfg.name = name;
	get_text(text, sizeof(text));
	parse(text);
	cr_assert(eq(dbl, find("torpor_asleep", NULL, NULL)->value, 1));
	for (unsigned int i = 0; i < doc.nr; i++)
		cr_assert(same(label_of(&doc.series[i], "vm"), name));
}

Test(stats, wrong_arguments_are_named)
{
	static const char *const wrong[] = {
		"{\"format\":\"xml\"}",
		"{\"format\":7}",
		"{\"fromat\":\"json\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *r = call(wrong[i]), *error;

		error = json_object_get(r, "error");
		cr_assert(yes(json_is_false(json_object_get(r, "ok"))));
		cr_assert(
			same(json_string_value(json_object_get(error, "code")),
			     "invalid"));
		json_decref(r);
	}
}
