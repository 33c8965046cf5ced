/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/model_pci.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct model_pci *model_of(struct pci_device *dev)
{
	return container_of(dev, struct model_pci, pci);
}

static void note(struct model_pci *model, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct model_pci *model, const char *fmt, ...)
{
	size_t len = strlen(model->trace);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(model->trace + len, sizeof(model->trace) - len, fmt,
			ap);
	va_end(ap);
}

static uint32_t config_read(struct pci_device *dev, uint32_t reg, uint32_t len)
{
	uint32_t value = 0;

	assert(reg + len <= PCI_CONFIG_BYTES && !model_of(dev)->cold);
	memcpy(&value, model_of(dev)->registers + reg, len);
	return value;
}

static void config_write(struct pci_device *dev, uint32_t reg, uint32_t len,
			 uint32_t value)
{
	struct model_pci *model = model_of(dev);

	assert(reg + len <= PCI_CONFIG_BYTES && !model->cold);
	if (reg >= MODEL_PCI_VENDOR_REG &&
	    reg + len <= MODEL_PCI_VENDOR_REG + 4)
		memcpy(model->registers + reg, &value, len);
}

/* The BAR's memory. No access reaches a device that is not there for it. */
static uint8_t *memory(struct model_pci *model, unsigned int bar,
		       uint64_t offset, uint32_t len)
{
	assert(model->decoded[bar]);
	assert(model->power == PCI_D0);
	assert(model->command & PCI_COMMAND_MEMORY);
	assert(offset + len <= model->pci.bars[bar].bytes);
	if (bar == MODEL_PCI_SMALL)
		return model->small + offset;
	return offset + len <= sizeof(model->scratch) ? model->scratch + offset
						      : NULL;
}

static void bar_read(struct pci_device *dev, unsigned int bar, uint64_t offset,
		     void *data, uint32_t len)
{
	const uint8_t *at = memory(model_of(dev), bar, offset, len);

	if (at)
		memcpy(data, at, len);
}

static void bar_write(struct pci_device *dev, unsigned int bar, uint64_t offset,
		      const void *data, uint32_t len)
{
	uint8_t *at = memory(model_of(dev), bar, offset, len);

	if (at)
		memcpy(at, data, len);
}

static void bar_decode(struct pci_device *dev, unsigned int bar, bool on)
{
	struct model_pci *model = model_of(dev);

	assert(model->decoded[bar] != on && !model->cold);
	/* Both ways: the device is up and knows. */
	assert(model->command & PCI_COMMAND_MEMORY);
	assert(model->power == PCI_D0);
	model->decoded[bar] = on;
	note(model, "bar%u %s; ", bar, on ? "on" : "off");
}

static void command(struct pci_device *dev, uint16_t value)
{
	struct model_pci *model = model_of(dev);

	assert(!model->cold);
	model->command = value;
	note(model, "command %x; ", value);
}

static void power(struct pci_device *dev, enum pci_power state)
{
	struct model_pci *model = model_of(dev);

	assert(state != model->power && !model->cold);
	model->power = state;
	if (state == PCI_D0 && !model->keeps_state)
		memset(model->scratch, 0, sizeof(model->scratch));
	note(model, "D%d; ", state);
}

static void cold(struct pci_device *dev, bool is_cold)
{
	struct model_pci *model = model_of(dev);

	assert(model->cold != is_cold);
	for (unsigned int i = 0; i < PCI_NR_BARS; i++)
		assert(!model->decoded[i]);
	model->cold = is_cold;
	/* Whatever it does in D3hot. */
	if (is_cold)
		memset(model->scratch, 0, sizeof(model->scratch));
	note(model, "power %s; ", is_cold ? "off" : "on");
}

static void msix_enable(struct pci_device *dev, bool on)
{
	struct model_pci *model = model_of(dev);

	assert(model->msix != on && !model->cold);
	for (unsigned int i = 0; i < PCI_MAX_VECTORS; i++)
		assert(!model->connected[i].address);
	model->msix = on;
	note(model, "msix %s; ", on ? "on" : "off");
}

static void deliver(struct model_pci *model, unsigned int vector)
{
	model->pending[vector] = false;
	model->last = model->connected[vector];
	model->delivered++;
}

static void msix_connect(struct pci_device *dev, unsigned int vector,
			 const struct pci_msi *msi)
{
	struct model_pci *model = model_of(dev);

	assert(model->msix && vector < dev->msix.nr && !model->cold);
	model->connected[vector] = msi ? *msi : (struct pci_msi){ 0 };
	/* An address of the guest's choice; 0 would be "not connected". */
	if (msi)
		model->connected[vector].address |= 1ULL << 63;
	note(model, "vector%u %s; ", vector, msi ? "on" : "off");
	if (msi && model->pending[vector])
		deliver(model, vector);
}

static bool msix_pending(struct pci_device *dev, unsigned int vector)
{
	return model_of(dev)->pending[vector];
}

void model_pci_interrupt(struct model_pci *model, unsigned int vector)
{
	if (!model->msix || model->cold)
		return;
	if (model->connected[vector].address)
		deliver(model, vector);
	else
		model->pending[vector] = true;
}

static const struct pci_device_ops ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_decode = bar_decode,
	.command = command,
	.power = power,
	.cold = cold,
	.msix_enable = msix_enable,
	.msix_connect = msix_connect,
	.msix_pending = msix_pending,
};

void model_pci_init(struct model_pci *model, uint64_t bytes, bool keeps_state)
{
	static const uint8_t header[] = {
		MODEL_PCI_VENDOR & 0xff,
		MODEL_PCI_VENDOR >> 8,
		MODEL_PCI_DEVICE & 0xff,
		MODEL_PCI_DEVICE >> 8,
		0,
		0,
		0x10,
		0, /* a list of capabilities */
		1,
		0,
		0x80,
		0x08,
	};
	int r;

	*model = (struct model_pci){ .keeps_state = keeps_state };
	memcpy(model->registers, header, sizeof(header));
	model->registers[PCI_HEADER_TYPE] = 0x80;
	model->registers[PCI_INTERRUPT_PIN] = 1;
	model->registers[PCI_CAPABILITY_LIST] = MODEL_PCI_PM;
	model->registers[MODEL_PCI_PM] = PCI_CAP_ID_PM;
	model->registers[MODEL_PCI_PM + 1] = MODEL_PCI_MSIX;
	model->registers[MODEL_PCI_MSIX] = PCI_CAP_ID_MSIX;
	pci_device_init(&model->pci, "model", &ops);
	pci_device_set_bar(&model->pci, 0, bytes, true, true);
	pci_device_set_bar(&model->pci, MODEL_PCI_SMALL, sizeof(model->small),
			   false, false);
	pci_device_set_pm(&model->pci, MODEL_PCI_PM, 0xfe03,
			  keeps_state ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
	r = pci_device_set_msix(&model->pci, MODEL_PCI_MSIX, MODEL_PCI_VECTORS,
				MODEL_PCI_TABLE, MODEL_PCI_PBA);
	assert(r == 0);
}

void model_pci_finish(struct model_pci *model)
{
	pci_device_finish(&model->pci);
}
