/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the Prometheus text exposition format, version 0.0.4: families of
 * samples. All samples of a family follow its prom_family(). A failure to write
 * is in the stream (ferror()). No state; any thread.
 *
 * Names are ours and must be valid; label values may be any UTF-8.
 */
#ifndef TORPOR_VMM_CONTROL_PROMETHEUS_H
#define TORPOR_VMM_CONTROL_PROMETHEUS_H

#include <stdint.h>
#include <stdio.h>

#include "vmm/power/stats.h"

/* An array of these ends with a NULL name. */
struct prom_label {
	const char *name, *value;
};

/* @type: "counter", "gauge" or "histogram". @help: one line of plain text. */
void prom_family(FILE *out, const char *name, const char *type,
		 const char *help);
void prom_number(FILE *out, const char *name, const struct prom_label *labels,
		 uint64_t value);
void prom_seconds(FILE *out, const char *name, const struct prom_label *labels,
		  uint64_t ns);
void prom_hist(FILE *out, const char *name, const struct prom_label *labels,
	       const struct power_hist *hist);

#endif
