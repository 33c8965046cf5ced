/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/control/prometheus.h. */
#include "vmm/control/prometheus.h"

#include <inttypes.h>

#include "vmm/base/util.h"

void prom_family(FILE *out, const char *name, const char *type,
		 const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(FILE *out, char separator, const char *name,
		      const char *value)
{
	fprintf(out, "%c%s=\"", separator, name);
	for (const char *p = value; *p; p++) {
		if (*p == '\n')
			fputs("\\n", out);
		else if (*p == '\\' || *p == '"')
			fprintf(out, "\\%c", *p);
		else
			fputc(*p, out);
	}
	fputc('"', out);
}

/* @le: a label more, or NULL. */
static void put_series(FILE *out, const char *name, const char *suffix,
		       const struct prom_label *labels, const char *le)
{
	char separator = '{';

	fprintf(out, "%s%s", name, suffix);
	for (; labels->name; labels++, separator = ',')
		put_label(out, separator, labels->name, labels->value);
	if (le) {
		put_label(out, separator, "le", le);
		separator = ',';
	}
	fputs(separator == '{' ? " " : "} ", out);
}

static void put_seconds(FILE *out, uint64_t ns)
{
	fprintf(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_S,
		ns % NS_PER_S);
}

void prom_number(FILE *out, const char *name, const struct prom_label *labels,
		 uint64_t value)
{
	put_series(out, name, "", labels, NULL);
	fprintf(out, "%" PRIu64 "\n", value);
}

void prom_seconds(FILE *out, const char *name, const struct prom_label *labels,
		  uint64_t ns)
{
	put_series(out, name, "", labels, NULL);
	put_seconds(out, ns);
}

/* "0.005", "20": bounds are whole milliseconds. */
static void format_bound(char *buf, size_t size, uint64_t ns)
{
	int n = snprintf(buf, size, "%" PRIu64 ".%03" PRIu64, ns / NS_PER_S,
			 ns % NS_PER_S / 1000000);

	while (buf[n - 1] == '0')
		n--;
	if (buf[n - 1] == '.')
		n--;
	buf[n] = '\0';
}

void prom_hist(FILE *out, const char *name, const struct prom_label *labels,
	       const struct power_hist *hist)
{
	uint64_t below = 0;

	for (unsigned int i = 0; i < POWER_HIST_BOUNDS; i++) {
		char le[32];

		below += hist->counts[i];
		format_bound(le, sizeof(le), power_hist_bound_ns(i));
		put_series(out, name, "_bucket", labels, le);
		fprintf(out, "%" PRIu64 "\n", below);
	}
	put_series(out, name, "_bucket", labels, "+Inf");
	fprintf(out, "%" PRIu64 "\n", hist->count);
	put_series(out, name, "_sum", labels, NULL);
	put_seconds(out, hist->sum_ns);
	put_series(out, name, "_count", labels, NULL);
	fprintf(out, "%" PRIu64 "\n", hist->count);
}
