/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interrupt line as seen by a device: the irqchip supplies real lines, tests
 * supply fakes. Any thread may call; the owner of a level line serialises its
 * calls.
 */
#ifndef TORPOR_VMM_MACHINE_IRQ_LINE_H
#define TORPOR_VMM_MACHINE_IRQ_LINE_H

#include <stdbool.h>

struct irq_line {
	void (*set)(struct irq_line *line, bool level);
};

static inline void irq_line_set(struct irq_line *line, bool level)
{
	line->set(line, level);
}

/* An edge. */
static inline void irq_line_pulse(struct irq_line *line)
{
	line->set(line, true);
	line->set(line, false);
}

#endif
