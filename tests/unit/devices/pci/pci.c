/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/pci: a bus with models of devices, as the guest's accesses see it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "devices/pci/conf.h"
#include "tests/lib/model_pci.h"

#define GIB	   (1ULL << 30)
#define COMMAND_ON (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static struct pci_bus pci;
static struct bus mmio, pio;
static struct pci_conf conf;
static struct model_pci model, other;
static struct err err;

static const struct pci_places places = {
	.ecam = LAYOUT_PCI_ECAM,
	.mem32 = LAYOUT_PCI_MEM32,
	.mem32_bytes = LAYOUT_PCI_MEM32_BYTES,
	.mem64 = LAYOUT_PCI_MEM64,
	.mem64_bytes = LAYOUT_PCI_MEM64_BYTES,
};

/* Slots 1 and 2. */
static void setup(void)
{
	pci_bus_init(&pci);
	pci_conf_init(&conf, LAYOUT_PORT_PCI_ADDRESS, &pci);
	cr_assert(zero(int, bus_add(&pio, &conf.bus)));
	model_pci_init(&model, MODEL_PCI_BAR_BYTES, true);
	model_pci_init(&other, 1 << 20, false);
	cr_assert(zero(int, pci_bus_add(&pci, &model.pci, 0)));
	cr_assert(zero(int, pci_bus_add(&pci, &other.pci, 0)));
	cr_assert(zero(int, pci_bus_connect(&pci, &mmio, &places, &err)), "%s",
		  err.msg);
}

static void teardown(void)
{
	model_pci_finish(&model);
	model_pci_finish(&other);
	pci_bus_finish(&pci);
}

TestSuite(pci, .init = setup, .fini = teardown, .timeout = 120);

/* --- as a guest does it --- */

static uint64_t read_at(uint64_t gpa, uint32_t len)
{
	uint64_t value = 0;

	bus_read(&mmio, gpa, &value, len);
	return value;
}

static void write_at(uint64_t gpa, uint64_t value, uint32_t len)
{
	bus_write(&mmio, gpa, &value, len);
}

static uint64_t ecam(unsigned int slot, uint32_t reg)
{
	return LAYOUT_PCI_ECAM + (slot << 15) + reg;
}

static uint32_t get(unsigned int slot, uint32_t reg, uint32_t len)
{
	return (uint32_t)read_at(ecam(slot, reg), len);
}

static void set(unsigned int slot, uint32_t reg, uint32_t value, uint32_t len)
{
	write_at(ecam(slot, reg), value, len);
}

static uint64_t bar_gpa(unsigned int slot, unsigned int bar)
{
	uint32_t reg = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint32_t low = get(slot, reg, 4);
	uint64_t gpa = low & ~0xfU;

	if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
		gpa |= (uint64_t)get(slot, reg + 4, 4) << 32;
	return gpa;
}

static void forget(void)
{
	model.trace[0] = other.trace[0] = '\0';
}

static void start(unsigned int slot)
{
	set(slot, PCI_COMMAND, COMMAND_ON, 2);
	forget();
}

static void expect_trace(const char *trace)
{
	cr_assert(zero(int, strcmp(model.trace, trace)), "%s", model.trace);
	forget();
}

/* --- registers --- */

Test(pci, ecam_and_ports_lead_to_the_same_registers)
{
	cr_assert(eq(u32, get(0, 0, 4), 0x00081b36));
	cr_assert(eq(u32, get(1, 0, 4),
		     MODEL_PCI_DEVICE << 16 | MODEL_PCI_VENDOR));
	for (uint32_t reg = 0; reg < PCI_HEADER_BYTES; reg += 4) {
		uint32_t address = 0x80000000U | 1U << 11 | reg, value;

		bus_write(&pio, LAYOUT_PORT_PCI_ADDRESS, &address, 4);
		bus_read(&pio, LAYOUT_PORT_PCI_DATA, &value, 4);
		cr_assert(eq(u32, value, get(1, reg, 4)), "register %#x", reg);
	}
	set(1, PCI_INTERRUPT_LINE, 0x5a, 1);
	cr_assert(eq(u32, get(1, PCI_INTERRUPT_LINE, 1), 0x5a));
}

Test(pci, a_write_by_the_ports_is_a_write)
{
	uint32_t address = 0x80000000U | 1U << 11 | PCI_COMMAND;
	uint16_t value = COMMAND_ON;

	bus_write(&pio, LAYOUT_PORT_PCI_ADDRESS, &address, 4);
	bus_write(&pio, LAYOUT_PORT_PCI_DATA, &value, 2);
	cr_assert(eq(u32, get(1, PCI_COMMAND, 2), COMMAND_ON));
	cr_assert(model.decoded[0]);
}

Test(pci, what_is_not_there_reads_as_ones)
{
	cr_assert(eq(u32, get(3, 0, 4), ~0U));
	cr_assert(eq(u32, get(31, 0, 2), 0xffff));
	cr_assert(eq(u64, read_at(ecam(1, 0) + 0x1000, 4), 0xffffffff));
	cr_assert(eq(u64, read_at(ecam(1, 0), 8), ~0ULL));
	cr_assert(eq(u64, read_at(ecam(1, 2), 4), 0xffffffff));
	set(3, PCI_COMMAND, COMMAND_ON, 2);
	write_at(ecam(1, PCI_COMMAND), ~0ULL, 8);
	write_at(ecam(1, PCI_COMMAND - 2), ~0U, 4);
	cr_assert(eq(u32, get(1, PCI_COMMAND, 2), 0));
	/* The device's own registers have 4 KiB. */
	cr_assert(eq(u32, get(1, 0xffc, 4), 0));
}

Test(pci, the_host_bridge_has_nothing_to_write)
{
	for (uint32_t reg = 0; reg < PCI_HEADER_BYTES; reg += 4) {
		uint32_t before = get(0, reg, 4);

		set(0, reg, ~before, 4);
		cr_assert(eq(u32, get(0, reg, 4), before));
	}
}

Test(pci, a_device_has_no_pin_no_rom_and_one_function)
{
	cr_assert(eq(u32, get(1, PCI_INTERRUPT_PIN, 1), 0));
	cr_assert(eq(u32, get(1, PCI_HEADER_TYPE, 1), 0));
	set(1, PCI_ROM_ADDRESS, ~0U, 4);
	cr_assert(eq(u32, get(1, PCI_ROM_ADDRESS, 4), 0));
}

Test(pci, what_the_core_does_not_answer_is_the_device_s)
{
	set(1, MODEL_PCI_VENDOR_REG, 0x12345678, 4);
	cr_assert(eq(u32, get(1, MODEL_PCI_VENDOR_REG, 4), 0x12345678));
	set(1, MODEL_PCI_VENDOR_REG + 1, 0xaa, 1);
	cr_assert(eq(u32, get(1, MODEL_PCI_VENDOR_REG, 4), 0x1234aa78));
	/* COMMAND is the core's, STATUS beside it is not. */
	set(1, PCI_COMMAND, 0xffff0000 | COMMAND_ON, 4);
	cr_assert(eq(u32, get(1, PCI_COMMAND, 4), 0x00100000 | COMMAND_ON));
}

/* --- slots --- */

Test(pci, a_slot_is_given_once)
{
	static struct model_pci more[PCI_NR_SLOTS];
	unsigned int nr = 3;

	cr_assert(eq(int, pci_bus_add(&pci, &more[0].pci, 2), -EEXIST));
	cr_assert(eq(int, pci_bus_add(&pci, &more[0].pci, 32), -EINVAL));
	cr_assert(zero(int, pci_bus_add(&pci, &more[0].pci, 17)));
	cr_assert(eq(u32, more[0].pci.slot, 17));
	while (pci_bus_add(&pci, &more[nr - 2].pci, 0) == 0)
		nr++;
	cr_assert(eq(u32, nr, PCI_NR_SLOTS - 1));
	cr_assert(eq(int, pci_bus_add(&pci, &more[0].pci, 0), -ENOSPC));
}

/* --- BARs --- */

Test(pci, bars_are_placed_in_their_windows)
{
	uint64_t large = bar_gpa(2, 0), mine = bar_gpa(1, 0);
	uint64_t small = bar_gpa(1, MODEL_PCI_SMALL);

	cr_assert(eq(u64, large, LAYOUT_PCI_MEM64));
	cr_assert(eq(u64, mine, LAYOUT_PCI_MEM64 + (1 << 20)));
	cr_assert(eq(u64, small, LAYOUT_PCI_MEM32));
	/* No two on a page: a memslot is of whole pages. */
	cr_assert(
		eq(u64, bar_gpa(2, MODEL_PCI_SMALL), LAYOUT_PCI_MEM32 + 4096));
}

Test(pci, a_bar_tells_its_size)
{
	uint64_t gpa = bar_gpa(1, 0);

	set(1, PCI_BASE_ADDRESS_0, ~0U, 4);
	set(1, PCI_BASE_ADDRESS_1, ~0U, 4);
	cr_assert(eq(u32, get(1, PCI_BASE_ADDRESS_0, 4),
		     ~(MODEL_PCI_BAR_BYTES - 1U) | 0xc));
	cr_assert(eq(u32, get(1, PCI_BASE_ADDRESS_1, 4), ~0U));
	set(1, PCI_BASE_ADDRESS_0, (uint32_t)gpa, 4);
	set(1, PCI_BASE_ADDRESS_1, (uint32_t)(gpa >> 32), 4);
	cr_assert(eq(u64, bar_gpa(1, 0), gpa));
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, ~0U, 4);
	cr_assert(eq(u32, get(1, PCI_BASE_ADDRESS_2, 4), 0xffffff00));
	/* There is no such BAR. */
	set(1, PCI_BASE_ADDRESS_3, ~0U, 4);
	cr_assert(eq(u32, get(1, PCI_BASE_ADDRESS_3, 4), 0));
	expect_trace("");
}

Test(pci, a_bar_is_decoded_while_command_says_so)
{
	uint64_t gpa = bar_gpa(1, 0);

	cr_assert(eq(u64, read_at(gpa, 4), 0xffffffff));
	set(1, PCI_COMMAND, COMMAND_ON, 2);
	expect_trace("command 6; bar0 on; bar2 on; ");
	write_at(gpa + 8, 0x1122334455667788, 8);
	cr_assert(eq(u64, read_at(gpa + 8, 8), 0x1122334455667788));
	cr_assert(eq(u64, read_at(gpa + 9, 1), 0x77));
	set(1, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	expect_trace("bar0 off; bar2 off; command 4; ");
	cr_assert(eq(u64, read_at(gpa + 8, 4), 0xffffffff));
	write_at(gpa + 8, 0, 8);
	set(1, PCI_COMMAND, COMMAND_ON, 2);
	cr_assert(eq(u64, read_at(gpa + 8, 1), 0x88));
}

Test(pci, a_command_that_changes_nothing_is_not_told)
{
	start(1);
	set(1, PCI_COMMAND, COMMAND_ON, 2);
	set(1, PCI_INTERRUPT_LINE, 3, 1);
	expect_trace("");
	/* Neither I/O, which no BAR has, nor the pin. */
	set(1, PCI_COMMAND,
	    COMMAND_ON | PCI_COMMAND_IO | PCI_COMMAND_INTX_DISABLE, 2);
	expect_trace("");
}

Test(pci, a_bar_may_be_moved)
{
	uint64_t to = LAYOUT_PCI_MEM64 + 4 * GIB;

	start(1);
	write_at(bar_gpa(1, 0), 0x5a, 1);
	set(1, PCI_BASE_ADDRESS_1, (uint32_t)(to >> 32), 4);
	expect_trace("bar0 off; bar0 on; ");
	cr_assert(eq(u64, read_at(bar_gpa(1, 0), 1), 0x5a));
	cr_assert(eq(u64, read_at(LAYOUT_PCI_MEM64 + (1 << 20), 1), 0xff));
}

Test(pci, a_bar_outside_the_windows_is_not_decoded)
{
	start(1);
	/* Guest memory. */
	set(1, PCI_BASE_ADDRESS_1, 0, 4);
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, 0x100000, 4);
	expect_trace("bar0 off; bar2 off; ");
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, ~0U, 4);
	expect_trace("");
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, LAYOUT_PCI_MEM32_LAST,
	    4);
	expect_trace("bar2 on; ");
}

Test(pci, two_bars_at_one_place_are_one)
{
	uint32_t at = (uint32_t)bar_gpa(2, MODEL_PCI_SMALL);

	start(1);
	start(2);
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, at, 4);
	expect_trace("bar2 off; ");
	write_at(at, 0x77, 1);
	cr_assert(eq(u8, other.small[0], 0x77));
	/* Its owner goes; the other one is there with the next write. */
	set(2, PCI_COMMAND, 0, 2);
	set(1, PCI_BASE_ADDRESS_0 + 4 * MODEL_PCI_SMALL, at, 4);
	expect_trace("bar2 on; ");
}

Test(pci, an_access_across_the_end_of_a_bar_is_nobody_s)
{
	uint64_t end;

	start(1);
	end = bar_gpa(1, MODEL_PCI_SMALL) + 256;
	cr_assert(eq(u64, read_at(end - 4, 8), ~0ULL));
	write_at(end - 4, 0, 8);
	cr_assert(eq(u64, read_at(end - 4, 4), 0));
	cr_assert(eq(u64, read_at(end, 4), 0xffffffff));
}

Test(pci, a_bar_that_no_window_holds_is_said)
{
	static struct model_pci huge;
	static struct pci_bus bus;
	static struct bus none;

	pci_bus_init(&bus);
	model_pci_init(&huge, 256 * GIB, true);
	cr_assert(zero(int, pci_bus_add(&bus, &huge.pci, 0)));
	cr_assert(
		eq(int, pci_bus_connect(&bus, &none, &places, &err), -ENOSPC));
	cr_assert(ne(ptr, strstr(err.msg, "262144 MiB"), NULL));
	model_pci_finish(&huge);
	pci_bus_finish(&bus);
}

/* --- power states --- */

Test(pci, d3hot_takes_the_bars_away_and_d0_gives_them_back)
{
	uint64_t gpa = bar_gpa(1, 0);

	start(1);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, PCI_D3HOT, 2);
	expect_trace("bar0 off; bar2 off; D3; ");
	cr_assert(eq(u32, get(1, MODEL_PCI_PM + PCI_PM_CTRL, 2),
		     PCI_PM_CTRL_NO_SOFT_RESET | PCI_D3HOT));
	cr_assert(eq(u64, read_at(gpa, 4), 0xffffffff));
	cr_assert(eq(u32, get(1, 0, 2), MODEL_PCI_VENDOR));
	/* Not in D3hot, whatever COMMAND says. */
	set(1, PCI_COMMAND, 0, 2);
	set(1, PCI_COMMAND, COMMAND_ON, 2);
	expect_trace("command 0; command 6; ");
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, PCI_D0, 2);
	expect_trace("D0; bar0 on; bar2 on; ");
}

Test(pci, states_that_are_not_there_are_not_entered)
{
	start(1);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 1, 2);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 2, 2);
	cr_assert(eq(u32, get(1, MODEL_PCI_PM + PCI_PM_CTRL, 1) & 3, 0));
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 3, 2);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 1, 2);
	cr_assert(eq(u32, get(1, MODEL_PCI_PM + PCI_PM_CTRL, 1) & 3, 3));
	expect_trace("bar0 off; bar2 off; D3; ");
	/* And nobody signals a PME. */
	cr_assert(eq(u32, get(1, MODEL_PCI_PM + PCI_PM_PMC, 2), 3));
}

Test(pci, a_device_that_says_so_loses_its_state_in_d3hot)
{
	uint64_t gpa;

	start(1);
	start(2);
	for (unsigned int slot = 1; slot <= 2; slot++) {
		gpa = bar_gpa(slot, 0);
		write_at(gpa, 0x42, 1);
		set(slot, MODEL_PCI_PM + PCI_PM_CTRL, PCI_D3HOT, 2);
		set(slot, MODEL_PCI_PM + PCI_PM_CTRL, PCI_D0, 2);
		cr_assert(eq(u64, read_at(gpa, 1), slot == 1 ? 0x42 : 0));
	}
	cr_assert(eq(u32, get(2, MODEL_PCI_PM + PCI_PM_CTRL, 2), 0));
}

/* --- MSI-X --- */

static void vector_set(unsigned int i, uint64_t address, uint32_t data,
		       bool masked)
{
	uint64_t entry = bar_gpa(1, 0) + MODEL_PCI_TABLE + i * 16;

	write_at(entry, address, 8);
	write_at(entry + 8, data, 4);
	write_at(entry + 12, masked, 4);
}

static void control(uint32_t value)
{
	set(1, MODEL_PCI_MSIX + PCI_MSIX_FLAGS, value, 2);
}

Test(pci, without_power_nothing_is_there_and_afterwards_it_is_in_d0)
{
	start(1);
	write_at(bar_gpa(1, 0) + 8, 0x55, 4);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 3, 2);
	forget();
	pci_device_set_cold(&model.pci, true);
	expect_trace("power off; ");
	cr_assert(eq(u32, get(1, PCI_VENDOR_ID, 4), ~0U));
	cr_assert(eq(u32, get(1, PCI_VENDOR_ID, 2), 0xffff));
	set(1, PCI_COMMAND, 0, 2);
	set(1, MODEL_PCI_PM + PCI_PM_CTRL, 0, 2);
	set(1, MODEL_PCI_VENDOR_REG, 1, 4);
	expect_trace("");
	pci_device_set_cold(&model.pci, false);
	expect_trace("power on; D0; bar0 on; bar2 on; ");
	cr_assert(eq(u32, get(1, PCI_COMMAND, 2), COMMAND_ON));
	cr_assert(eq(u32, get(1, MODEL_PCI_PM + PCI_PM_CTRL, 2) & 3, 0));
	cr_assert(eq(u64, read_at(bar_gpa(1, 0) + 8, 4), 0), "state is lost");
}

Test(pci, the_power_of_a_device_in_d0_may_go_too)
{
	start(1);
	pci_device_set_cold(&model.pci, true);
	pci_device_set_cold(&model.pci, true);
	expect_trace("bar0 off; bar2 off; power off; ");
	pci_device_set_cold(&model.pci, false);
	pci_device_set_cold(&model.pci, false);
	expect_trace("power on; bar0 on; bar2 on; ");
}

Test(pci, the_table_starts_masked_and_keeps_what_is_written)
{
	uint64_t table;

	start(1);
	table = bar_gpa(1, 0) + MODEL_PCI_TABLE;
	cr_assert(eq(u32, get(1, MODEL_PCI_MSIX + PCI_MSIX_FLAGS, 2), 3));
	cr_assert(eq(u64, read_at(table + 3 * 16 + 12, 4), 1));
	vector_set(2, 0xfee01004, 0x41, true);
	cr_assert(eq(u64, read_at(table + 32, 8), 0xfee01004));
	cr_assert(eq(u64, read_at(table + 40, 8), 1ULL << 32 | 0x41));
	/* No software makes such an access. */
	write_at(table + 32, 0xff, 1);
	write_at(table + 34, 0xffffffff, 4);
	cr_assert(eq(u64, read_at(table + 32, 4), 0xfee01004));
	cr_assert(eq(u64, read_at(table + 32, 2), 0));
	expect_trace("");
}

Test(pci, a_vector_is_connected_as_linux_does_it)
{
	start(1);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	expect_trace("msix on; ");
	vector_set(0, 0xfee00000, 0x30, false);
	vector_set(1, 0xfee00000, 0x31, true);
	expect_trace("");
	control(PCI_MSIX_FLAGS_ENABLE);
	expect_trace("vector0 on; ");
	model_pci_interrupt(&model, 0);
	cr_assert(eq(u32, model.delivered, 1));
	cr_assert(eq(u32, model.last.data, 0x30));
	vector_set(1, 0xfee00000, 0x31, false);
	expect_trace("vector1 on; ");
	control(0);
	expect_trace("vector0 off; vector1 off; msix off; ");
}

Test(pci, what_comes_while_a_vector_is_masked_comes_later)
{
	uint64_t entry, pba;

	start(1);
	entry = bar_gpa(1, 0) + MODEL_PCI_TABLE;
	pba = bar_gpa(1, 0) + MODEL_PCI_PBA;
	control(PCI_MSIX_FLAGS_ENABLE);
	vector_set(0, 0xfee00000, 0x30, false);
	write_at(entry + 12, 1, 4);
	model_pci_interrupt(&model, 0);
	model_pci_interrupt(&model, 3);
	cr_assert(eq(u32, model.delivered, 0));
	cr_assert(eq(u64, read_at(pba, 8), 9));
	cr_assert(eq(u64, read_at(pba, 4), 9));
	cr_assert(eq(u64, read_at(pba + 4, 4), 0));
	write_at(pba, 0, 8);
	write_at(entry + 8, 0x55, 4);
	write_at(entry + 12, 0, 4);
	cr_assert(eq(u32, model.delivered, 1));
	cr_assert(eq(u32, model.last.data, 0x55));
	cr_assert(eq(u64, read_at(pba, 8), 8));
}

Test(pci, another_message_of_a_vector_counts_at_once)
{
	start(1);
	control(PCI_MSIX_FLAGS_ENABLE);
	vector_set(0, 0xfee00000, 0x30, false);
	forget();
	write_at(bar_gpa(1, 0) + MODEL_PCI_TABLE + 8, 0x99, 4);
	expect_trace("vector0 on; ");
	model_pci_interrupt(&model, 0);
	cr_assert(eq(u32, model.last.data, 0x99));
	write_at(bar_gpa(1, 0) + MODEL_PCI_TABLE + 4, 1, 4);
	model_pci_interrupt(&model, 0);
	cr_assert(eq(u64, model.last.address & ~(1ULL << 63), 0x1fee00000));
}

Test(pci, beyond_the_vectors_of_the_core_there_are_none)
{
	static struct model_pci big;

	model_pci_init(&big, 1 << 20, true);
	cr_assert(zero(int, pci_device_set_msix(&big.pci, MODEL_PCI_MSIX, 2048,
						0x10000, 0x20000)));
	cr_assert(eq(u32, big.pci.msix.nr, PCI_MAX_VECTORS));
	cr_assert(eq(u32, big.pci.config[MODEL_PCI_MSIX + PCI_MSIX_FLAGS],
		     PCI_MAX_VECTORS - 1));
	/* A table outside the BAR, in none, apart from its PBA. */
	cr_assert(
		eq(int,
		   pci_device_set_msix(&big.pci, MODEL_PCI_MSIX, 8, 0xfff90, 0),
		   -EINVAL));
	cr_assert(eq(int,
		     pci_device_set_msix(&big.pci, MODEL_PCI_MSIX, 8, 7, 7),
		     -EINVAL));
	cr_assert(eq(int,
		     pci_device_set_msix(&big.pci, MODEL_PCI_MSIX, 8, 0, 2),
		     -EINVAL));
	model_pci_finish(&big);
}
