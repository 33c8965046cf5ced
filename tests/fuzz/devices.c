/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is not virtio, on its bus: accesses of all widths to serial line, clock,
 * ACPI block, PMC, reset ports, pvpanic and I/O APIC, with input, events and
 * alarms between them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/layout.h"
#include "devices/acpi_pm.h"
#include "devices/i8042.h"
#include "devices/pci/conf.h"
#include "devices/pmc.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/fd.h"

#define MAX_OPS 400

static struct loop loop;
static struct bus bus;
static struct serial serial;
static struct rtc rtc;
static struct acpi_pm pm;
static struct pmc pmc;
static struct i8042 i8042;
static struct pci_bus pci;
static struct pci_conf pci_conf;
static struct pvpanic pvpanic;
static struct ioapic ioapic;
static struct fuzz_in *script;
static bool sci;

static void any_line(struct irq_line *line, bool level)
{
}

static void sci_line(struct irq_line *line, bool level)
{
	fuzz_check(sci != level);
	sci = level;
}

static struct irq_line serial_irq = { any_line }, rtc_irq = { any_line },
		       sci_irq = { sci_line };

static bool msi_send(struct ioapic *io, const struct kvm_msi *msi)
{
	fuzz_check((msi->address_lo & 0xfff00000U) == 0xfee00000U);
	return fuzz_u8(script) & 1;
}

static void msi_route(struct ioapic *io, const struct kvm_irq_routing_entry *e,
		      unsigned int nr)
{
	fuzz_check(nr <= IOAPIC_NR_PINS);
	for (unsigned int i = 0; i < nr; i++)
		fuzz_check(e[i].gsi < IOAPIC_NR_PINS &&
			   (!i || e[i].gsi > e[i - 1].gsi));
}

static void on_lps0(struct pmc *p, bool entry)
{
}

static void on_arm(struct pmc *p, unsigned int index, bool armed)
{
}

static void on_reset(struct i8042 *i)
{
}

static void on_panic(struct pvpanic *p, uint8_t events)
{
}

static void on_sleep(struct acpi_pm *p, unsigned int slp_typ)
{
	fuzz_check(slp_typ < 8);
}

static void on_clear(struct acpi_pm *p, uint16_t pm1, uint32_t gpe, bool bulk)
{
	fuzz_check(pm1 || gpe);
}

static bool swallow(struct serial *s, uint8_t byte)
{
	return byte == 1;
}

static void on_held(struct serial *s)
{
	fuzz_check(s->held);
}

void fuzz_setup(void)
{
	fuzz_check(loop_init(&loop) == 0);
}

/* --------------------------------------------------------------- the board */

static void plug(struct bus_dev *dev)
{
	fuzz_check(bus_add(&bus, dev) == 0);
}

static void board_init(int in_fd, int out_fd, uint8_t how)
{
	bus.nr = 0;
	sci = false;
	fuzz_check(serial_init(&serial, &loop, LAYOUT_PORT_SERIAL, &serial_irq,
			       in_fd, out_fd) == 0);
	serial.filter = how & 1 ? swallow : NULL;
	serial.on_held_input = on_held;
	fuzz_check(rtc_init(&rtc, &loop, LAYOUT_PORT_RTC, &rtc_irq) == 0);
	acpi_pm_init(&pm, LAYOUT_PORT_PM1A_EVT, LAYOUT_PORT_PM1A_CNT,
		     LAYOUT_PORT_GPE0, &sci_irq);
	pm.on_sleep = on_sleep;
	pm.on_clear = on_clear;
	pmc = (struct pmc){ .on_lps0 = on_lps0, .on_arm = on_arm };
	pmc_init(&pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW,
		 LAYOUT_PORT_PMC_PCI);
	i8042.on_reset = on_reset;
	i8042_init(&i8042, LAYOUT_PORT_I8042_DATA, LAYOUT_PORT_I8042_CMD);
	pci_bus_init(&pci);
	pci_conf_init(&pci_conf, LAYOUT_PORT_PCI_ADDRESS, &pci);
	pvpanic.on_event = on_panic;
	pvpanic_init(&pvpanic, LAYOUT_PORT_PVPANIC);
	ioapic.send = msi_send;
	ioapic.route = msi_route;
	ioapic_init(&ioapic);
	plug(&serial.bus);
	plug(&rtc.bus);
	plug(&pm.evt_bus);
	plug(&pm.cnt_bus);
	plug(&pm.gpe_bus);
	plug(&pmc.lps0_bus);
	plug(&pmc.dsw_bus);
	plug(&i8042.data_bus);
	plug(&i8042.cmd_bus);
	plug(&pci_conf.bus);
	plug(&pvpanic.bus);
	plug(&ioapic.bus);
}

static void board_finish(void)
{
	serial_finish(&serial);
	rtc_finish(&rtc);
	acpi_pm_finish(&pm);
	ioapic_finish(&ioapic);
	pci_bus_finish(&pci);
}

static void check_board(void)
{
	struct acpi_pm_regs r = acpi_pm_get(&pm);

	fuzz_check(sci == ((r.pm1_sts & r.pm1_en) || (r.gpe_sts & r.gpe_en)));
	fuzz_check(serial.rx_len <= SERIAL_FIFO_SIZE);
	fuzz_check(serial.backlog_len <= SERIAL_BACKLOG_SIZE);
}

/* ----------------------------------------------------------------- script */

static void access_bus(struct fuzz_in *in, uint8_t op)
{
	const struct bus_dev *dev = bus.devs[fuzz_u8(in) % bus.nr];
	uint64_t addr = dev->base + fuzz_u8(in) % dev->size;
	uint32_t len = 1U << (op >> 6);
	uint8_t data[8] = { 0 };

	if (op & 0x20)
		len = 1;
	if (op & 1) {
		bus_read(&bus, addr, data, len);
		return;
	}
	(void)fuzz_bytes(in, data, len);
	bus_write(&bus, addr, data, len);
}

static void write_rtc(struct fuzz_in *in)
{
	uint8_t index = fuzz_u8(in) % 0x40, value = fuzz_u8(in);

	bus_write(&bus, LAYOUT_PORT_RTC, &index, 1);
	bus_write(&bus, LAYOUT_PORT_RTC + 1, &value, 1);
	bus_read(&bus, LAYOUT_PORT_RTC + 1, &value, 1);
}

static void write_ioapic(struct fuzz_in *in)
{
	uint32_t index = fuzz_u8(in), value = fuzz_u32(in);

	bus_write(&bus, LAYOUT_IOAPIC, &index, 4);
	bus_write(&bus, LAYOUT_IOAPIC + 0x10, &value, 4);
	bus_read(&bus, LAYOUT_IOAPIC + 0x10, &value, 4);
}

static void event(struct fuzz_in *in, uint8_t op)
{
	switch (op >> 5) {
	case 0:
	case 1:
		acpi_pm_raise(&pm, fuzz_u16(in), fuzz_u32(in));
		break;
	case 2:
	case 3:
		ioapic_set(&ioapic, fuzz_u8(in), op & 0x10);
		break;
	case 4:
	case 5:
		ioapic_eoi(&ioapic, fuzz_u8(in));
		break;
	case 6:
		serial_hold(&serial, op & 0x10);
		break;
	default: /* any time of the guest */
		(void)rtc_next_alarm(&rtc, (int64_t)fuzz_u64(in) >> 24);
		break;
	}
}

static void step(struct fuzz_in *in, int wire)
{
	uint8_t op = fuzz_u8(in), buf[32];

	switch (op % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		access_bus(in, op);
		break;
	case 6:
	case 7:
		write_rtc(in);
		break;
	case 8:
		write_ioapic(in);
		break;
	case 9:
	case 10:
	case 11:
		event(in, op);
		break;
	case 12:
		(void)!write(wire, buf, fuzz_bytes(in, buf, 1 + op / 8));
		break;
	default:
		fuzz_turn(&loop, 8);
		break;
	}
	check_board();
}

void fuzz_one(struct fuzz_in *in)
{
	int input[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	script = in;
	fuzz_check(null >= 0 && pipe2(input, O_CLOEXEC | O_NONBLOCK) == 0);
	board_init(input[0], null, fuzz_u8(in));
	for (int i = 0; i < MAX_OPS && in->len > 0; i++)
		step(in, input[1]);
	fd_close(&input[1]);
	fuzz_turn(&loop, 40);
	board_finish();
	fd_close(&input[0]);
	fd_close(&null);
}

void fuzz_seeds(void)
{
	static const uint8_t line[] = {
		1,   0x20, 8,	1,   5,	  0x20, 8,    2, 7,    0x1c,
		'a', 'b',  'c', 'd', 13,  0x21, 8,    5, 0x21, 8,
		0,   0x20, 8,	0,   'x', 0xda, 0xfc, 1, 2,    13,
	};
	static const uint8_t alarm[] = {
		0,    6,    11,	  0x80, 6,    9,    0x99, 6,	7, 0x31, 6,
		0x32, 0x20, 6,	  11,	0x22, 6,    1,	  0xc0, 6, 3,	 0x59,
		6,    5,    0x23, 6,	13,   0x29, 6,	  14,	2, 0xe9, 1,
		2,    3,    4,	  5,	6,    7,    8,	  13,	6, 12,	 0,
	};
	static const uint8_t pins[] = {
		0,    8, 0x14, 0x31, 0x80, 0, 0, 0x59, 2, 1,
		0x49, 2, 0x89, 0x31, 1,	   9, 0, 1,    1, 0,
		0,    0, 0x40, 9,    2,	   0, 1, 13,
	};

	fuzz_seed(line, sizeof(line));
	fuzz_seed(alarm, sizeof(alarm));
	fuzz_seed(pins, sizeof(pins));
}
