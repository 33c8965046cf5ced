/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ACPI fixed hardware: PM1 event and control blocks, GPE0 block, SCI. Register
 * handlers run on vCPU threads; acpi_pm_raise() on any. The lock is held over
 * the SCI's change, so that the line never shows an older state than the
 * registers; it is not held over callbacks.
 */
#include "devices/acpi_pm.h"

#include <string.h>

#define PM1_TMR 1U
#define PM1_EN_MASK                                                   \
	(PM1_TMR | ACPI_PM1_GBL | ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN | \
	 ACPI_PM1_RTC)

#define CNT_SCI_EN	  (1U << 0)
#define CNT_BM_RLD	  (1U << 1)
#define CNT_SLP_TYP_SHIFT 10
#define CNT_SLP_TYP_MASK  (7U << CNT_SLP_TYP_SHIFT)
#define CNT_SLP_EN	  (1U << 13)

static uint64_t load_le(const void *data, uint32_t len)
{
	uint64_t value = 0;

	memcpy(&value, data, len);
	return value;
}

/* Bits of a block image that an access of @len bytes at @offset covers. */
static uint64_t access_mask(uint64_t offset, uint32_t len)
{
	uint64_t bits = len >= 8 ? ~0ULL : (1ULL << (8 * len)) - 1;

	return bits << (8 * offset);
}

/* Called with the lock held. */
static void sci_update(struct acpi_pm *pm)
{
	const struct acpi_pm_regs *regs = &pm->regs;
	bool level = (regs->pm1_sts & regs->pm1_en) ||
		     (regs->gpe_sts & regs->gpe_en);

	if (level == pm->sci_level)
		return;
	pm->sci_level = level;
	irq_line_set(pm->sci, level);
}

static void evt_read(struct bus_dev *dev, uint64_t offset, void *data,
		     uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, evt_bus);
	struct acpi_pm_regs regs = acpi_pm_get(pm);
	uint64_t image = regs.pm1_sts | (uint32_t)regs.pm1_en << 16;

	image >>= 8 * offset;
	memcpy(data, &image, len);
}

static void evt_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, evt_bus);
	uint32_t mask = (uint32_t)access_mask(offset, len);
	uint32_t value = (uint32_t)(load_le(data, len) << (8 * offset));
	uint16_t ones = (uint16_t)value;
	uint16_t en_mask = (uint16_t)(mask >> 16) & PM1_EN_MASK;
	uint16_t cleared, en;
	bool enable_changed;

	pthread_mutex_lock(&pm->lock);
	cleared = pm->regs.pm1_sts & ones;
	pm->regs.pm1_sts &= (uint16_t)~ones;
	en = (uint16_t)((pm->regs.pm1_en & ~en_mask) |
			((value >> 16) & en_mask));
	enable_changed = en != pm->regs.pm1_en;
	pm->regs.pm1_en = en;
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);

	if (cleared && pm->on_clear)
		pm->on_clear(pm, cleared, 0, (ones & (ones - 1)) != 0);
	if (enable_changed && pm->on_enable)
		pm->on_enable(pm);
}

static void cnt_read(struct bus_dev *dev, uint64_t offset, void *data,
		     uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, cnt_bus);
	uint64_t image;

	pthread_mutex_lock(&pm->lock);
	image = pm->cnt | CNT_SCI_EN;
	pthread_mutex_unlock(&pm->lock);
	image >>= 8 * offset;
	memcpy(data, &image, len);
}

static void cnt_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, cnt_bus);
	uint32_t mask = (uint32_t)access_mask(offset, len);
	uint32_t value = (uint32_t)(load_le(data, len) << (8 * offset));
	uint32_t keep = mask & (CNT_BM_RLD | CNT_SLP_TYP_MASK);
	unsigned int slp_typ;

	pthread_mutex_lock(&pm->lock);
	pm->cnt = (uint16_t)((pm->cnt & ~keep) | (value & keep));
	slp_typ = (pm->cnt & CNT_SLP_TYP_MASK) >> CNT_SLP_TYP_SHIFT;
	pthread_mutex_unlock(&pm->lock);

	if ((value & CNT_SLP_EN) && pm->on_sleep)
		pm->on_sleep(pm, slp_typ);
}

static void gpe_read(struct bus_dev *dev, uint64_t offset, void *data,
		     uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, gpe_bus);
	struct acpi_pm_regs regs = acpi_pm_get(pm);
	uint64_t image = regs.gpe_sts | (uint64_t)regs.gpe_en << 32;

	image >>= 8 * offset;
	memcpy(data, &image, len);
}

static void gpe_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, gpe_bus);
	uint64_t mask = access_mask(offset, len);
	uint64_t value = load_le(data, len) << (8 * offset);
	uint32_t en_mask = (uint32_t)(mask >> 32);
	uint32_t cleared, en;
	bool enable_changed;

	pthread_mutex_lock(&pm->lock);
	cleared = pm->regs.gpe_sts & (uint32_t)value;
	pm->regs.gpe_sts &= ~(uint32_t)value;
	en = (pm->regs.gpe_en & ~en_mask) | ((uint32_t)(value >> 32) & en_mask);
	enable_changed = en != pm->regs.gpe_en;
	pm->regs.gpe_en = en;
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);

	if (cleared && pm->on_clear)
		pm->on_clear(pm, 0, cleared, false);
	if (enable_changed && pm->on_enable)
		pm->on_enable(pm);
}

static const struct bus_ops evt_ops = {
	.name = "ACPI PM1 event",
	.read = evt_read,
	.write = evt_write,
};

static const struct bus_ops cnt_ops = {
	.name = "ACPI PM1 control",
	.read = cnt_read,
	.write = cnt_write,
};

static const struct bus_ops gpe_ops = {
	.name = "ACPI GPE0",
	.read = gpe_read,
	.write = gpe_write,
};

void acpi_pm_init(struct acpi_pm *pm, uint64_t evt, uint64_t cnt, uint64_t gpe,
		  struct irq_line *sci)
{
	*pm = (struct acpi_pm){
		.evt_bus = { .ops = &evt_ops, .base = evt, .size = 4 },
		.cnt_bus = { .ops = &cnt_ops, .base = cnt, .size = 2 },
		.gpe_bus = { .ops = &gpe_ops,
			     .base = gpe,
			     .size = ACPI_GPE0_PORTS },
		.sci = sci,
	};
	pthread_mutex_init(&pm->lock, NULL);
}

void acpi_pm_finish(struct acpi_pm *pm)
{
	if (!pm || !pm->sci)
		return;
	pthread_mutex_destroy(&pm->lock);
	pm->sci = NULL;
}

void acpi_pm_raise(struct acpi_pm *pm, uint16_t pm1_bits, uint32_t gpe_bits)
{
	pthread_mutex_lock(&pm->lock);
	pm->regs.pm1_sts |= pm1_bits;
	pm->regs.gpe_sts |= gpe_bits;
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);
}

struct acpi_pm_regs acpi_pm_get(struct acpi_pm *pm)
{
	struct acpi_pm_regs regs;

	pthread_mutex_lock(&pm->lock);
	regs = pm->regs;
	pthread_mutex_unlock(&pm->lock);
	return regs;
}

bool acpi_pm_sci_pending(struct acpi_pm *pm)
{
	bool level;

	pthread_mutex_lock(&pm->lock);
	level = pm->sci_level;
	pthread_mutex_unlock(&pm->lock);
	return level;
}
