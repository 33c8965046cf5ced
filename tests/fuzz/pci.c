/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's accesses to a PCI bus: registers by ECAM and by ports, BARs, power,
 * and interrupts of its devices meanwhile. The models check the order of what
 * they are told (tests/lib/model_pci.c).
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "devices/pci/conf.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/model_pci.h"

#define MAX_OPS	  400
#define NR_MODELS 3

static struct pci_bus pci;
static struct pci_conf conf;
static struct bus bus, pio;
static struct model_pci models[NR_MODELS];

void fuzz_setup(void)
{
}

static void begin(void)
{
	static const struct pci_places places = {
		.ecam = LAYOUT_PCI_ECAM,
		.mem32 = LAYOUT_PCI_MEM32,
		.mem32_bytes = LAYOUT_PCI_MEM32_BYTES,
		.mem64 = LAYOUT_PCI_MEM64,
		.mem64_bytes = LAYOUT_PCI_MEM64_BYTES,
	};
	struct err err;

	bus = pio = (struct bus){ .nr = 0 };
	pci_bus_init(&pci);
	pci_conf_init(&conf, LAYOUT_PORT_PCI_ADDRESS, &pci);
	fuzz_check(bus_add(&pio, &conf.bus) == 0);
	for (unsigned int i = 0; i < NR_MODELS; i++) {
		model_pci_init(&models[i], MODEL_PCI_BAR_BYTES << i, i & 1);
		fuzz_check(pci_bus_add(&pci, &models[i].pci, 0) == 0);
	}
	fuzz_check(pci_bus_connect(&pci, &bus, &places, &err) == 0);
}

static void access_at(struct fuzz_in *in, const struct bus *to, uint64_t addr,
		      uint8_t op)
{
	uint32_t len = 1U << (op >> 6);
	uint8_t data[8] = { 0 };

	if (op & 0x20) {
		bus_read(to, addr, data, len);
		return;
	}
	(void)fuzz_bytes(in, data, len);
	bus_write(to, addr, data, len);
}

/* Mostly of a device that is there, and where it has something. */
static void access_config(struct fuzz_in *in, uint8_t op)
{
	uint16_t at = fuzz_u16(in);

	access_at(in, &bus,
		  LAYOUT_PCI_ECAM + ((uint64_t)(1 + at % NR_MODELS) << 15) +
			  (at >> 8),
		  op);
}

static void access_bar(struct fuzz_in *in, uint8_t op)
{
	struct model_pci *model = &models[fuzz_u8(in) % NR_MODELS];
	const struct pci_bar *bar =
		&model->pci.bars[op & 0x10 ? 0 : MODEL_PCI_SMALL];
	uint64_t offset = fuzz_u16(in);

	if (op & 0x10 && offset & 1)
		offset = MODEL_PCI_TABLE + (offset >> 1) % 80;
	access_at(in, &bus, bar->gpa + offset % bar->bytes, op);
}

/* Decoded BARs lie in a window, and no two at one place. */
static void check(void)
{
	for (unsigned int i = 0; i < NR_MODELS * PCI_NR_BARS; i++) {
		const struct pci_bar *a =
			&models[i / PCI_NR_BARS].pci.bars[i % PCI_NR_BARS];

		if (!a->decoded)
			continue;
		fuzz_check((a->gpa >= LAYOUT_PCI_MEM32 &&
			    a->gpa + a->bytes - 1 <= LAYOUT_PCI_MEM32_LAST) ||
			   (a->gpa >= LAYOUT_PCI_MEM64 &&
			    a->gpa + a->bytes - 1 <= LAYOUT_PCI_MEM64_LAST));
		for (unsigned int k = 0; k < i; k++) {
			const struct pci_bar *b =
				&models[k / PCI_NR_BARS]
					 .pci.bars[k % PCI_NR_BARS];

			fuzz_check(!b->decoded || a->gpa + a->bytes <= b->gpa ||
				   b->gpa + b->bytes <= a->gpa);
		}
	}
}

static void step(struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		access_config(in, op);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		access_bar(in, op);
		break;
	case 10:
		access_at(in, &pio, LAYOUT_PORT_PCI_ADDRESS + (op >> 4 & 7),
			  op & 0xa0);
		break;
	case 11:
		access_at(in, &bus,
			  LAYOUT_PCI_ECAM +
				  fuzz_u32(in) % LAYOUT_PCI_ECAM_BYTES,
			  op);
		break;
	case 12:
		pci_device_set_cold(&models[op / 16 % NR_MODELS].pci,
				    op & 0x80);
		break;
	default:
		model_pci_interrupt(&models[op % NR_MODELS],
				    (op >> 4) % MODEL_PCI_VECTORS);
		break;
	}
	check();
}

void fuzz_one(struct fuzz_in *in)
{
	begin();
	for (int i = 0; i < MAX_OPS && in->len > 0; i++) {
		step(in);
		for (unsigned int k = 0; k < NR_MODELS; k++)
			models[k].trace[0] = '\0';
	}
	for (unsigned int i = 0; i < NR_MODELS; i++)
		model_pci_finish(&models[i]);
	pci_bus_finish(&pci);
}

void fuzz_seeds(void)
{
	/* COMMAND; MSI-X on; an entry; an interrupt; D3hot and back. */
	static const uint8_t life[] = {
		0x40,
		0,
		PCI_COMMAND,
		6,
		0,
		0x40,
		0,
		MODEL_PCI_MSIX + 2,
		0,
		0x80,
		0x96,
		0,
		1,
		0,
		0,
		0,
		0xe0,
		0xfe,
		0x96,
		0,
		25,
		0,
		0,
		0,
		0,
		0,
		12,
		0x40,
		0,
		MODEL_PCI_PM + 4,
		3,
		0,
		0x40,
		0,
		MODEL_PCI_PM + 4,
		0,
		0,
	};
	static const uint8_t move[] = {
		0x40,
		0,
		PCI_COMMAND,
		2,
		0,
		0x80,
		0,
		PCI_BASE_ADDRESS_2,
		0,
		0x10,
		0,
		0xd1,
		0x80,
		1,
		PCI_BASE_ADDRESS_2,
		0,
		0x10,
		0,
		0xd1,
		0x40,
		1,
		PCI_COMMAND,
		2,
		0,
		0x80,
		0,
		PCI_BASE_ADDRESS_1,
		0x21,
		0,
		0,
		0,
	};

	fuzz_seed(life, sizeof(life));
	fuzz_seed(move, sizeof(move));
}
