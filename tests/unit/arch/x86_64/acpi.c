/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables are parsed back twice: by the structures of the specification
 * here, and by iasl (disassembler) and acpiexec (interpreter).
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arch/x86_64/acpi.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

#define RAM_BYTES (2ULL << 20)

static struct gmem gm;
static struct arch_virtio_slot slots[LAYOUT_MAX_VIRTIO];

static void setup(void)
{
	struct gmem_region region = { .size = RAM_BYTES };

	region.fd = fd_memfd_sealed("ram", RAM_BYTES, 0);
	cr_assert(ge(int, region.fd, 0));
	cr_assert(eq(int, gmem_add(&gm, &region), 0));
	for (uint32_t i = 0; i < LAYOUT_MAX_VIRTIO; i++)
		slots[i] = (struct arch_virtio_slot){
			.gpa = LAYOUT_VIRTIO_BASE + i * LAYOUT_VIRTIO_STRIDE,
			.gsi = 16 + i,
		};
}

static void teardown(void)
{
	gmem_finish(&gm);
}

TestSuite(acpi, .init = setup, .fini = teardown, .timeout = 240);

static uint8_t *at(uint64_t gpa, uint64_t len)
{
	void *hva = NULL;

	cr_assert(eq(int, gmem_span(&gm, gpa, len, &hva), 0));
	return hva;
}

static uint64_t le(const uint8_t *p, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, p, bytes);
	return value;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void build_cfg(struct arch_config cfg)
{
	cfg.mem_bytes = RAM_BYTES;
	cfg.virtio = slots;
	cr_assert(eq(int, acpi_write(&cfg, &gm), 0));
}

static void build(unsigned int nr_vcpus, unsigned int nr_virtio, bool has_pic)
{
	build_cfg((struct arch_config){ .nr_vcpus = nr_vcpus,
					.nr_virtio = nr_virtio,
					.has_pic = has_pic });
}

static void build_pci(void)
{
	build_cfg((struct arch_config){
		.nr_vcpus = 3, .nr_virtio = 2, .has_pci = true });
}

/* A table by signature, found from the RSDP as a guest finds it. */
static const uint8_t *table(const char *signature, uint32_t *ret_len)
{
	const uint8_t *rsdp = at(LAYOUT_ACPI_BASE, 36);
	const uint8_t *xsdt = at(le(rsdp + 24, 8), 36);
	uint64_t len = le(xsdt + 4, 4);

	for (uint64_t off = 36; off < len; off += 8) {
		const uint8_t *t = at(le(xsdt + off, 8), 36);

		if (memcmp(t, signature, 4) == 0) {
			*ret_len = (uint32_t)le(t + 4, 4);
			return t;
		}
	}
	cr_assert(false, "no table %s", signature);
	return NULL;
}

static const uint8_t *fadt(void)
{
	uint32_t len;
	const uint8_t *t = table("FACP", &len);

	cr_assert(eq(u32, len, 276));
	return t;
}

static const uint8_t *dsdt(uint32_t *ret_len)
{
	const uint8_t *t = at(le(fadt() + 140, 8), 36);

	cr_assert(eq(int, memcmp(t, "DSDT", 4), 0));
	*ret_len = (uint32_t)le(t + 4, 4);
	return t;
}

Test(acpi, rsdp_and_xsdt_are_sound)
{
	const uint8_t *rsdp, *xsdt;

	build(2, 3, true);
	rsdp = at(LAYOUT_ACPI_BASE, 36);
	cr_assert(eq(int, memcmp(rsdp, "RSD PTR ", 8), 0));
	cr_assert(eq(u8, sum(rsdp, 20), 0));
	cr_assert(eq(u8, sum(rsdp, 36), 0));
	cr_assert(eq(u8, rsdp[15], 2));
	xsdt = at(le(rsdp + 24, 8), 52);
	cr_assert(eq(int, memcmp(xsdt, "XSDT", 4), 0));
	cr_assert(eq(u8, sum(xsdt, 52), 0));
	cr_assert(eq(u64, le(xsdt + 4, 4), 52));
}

Test(acpi, every_checksum_is_right_and_tables_stay_in_their_area)
{
	const uint8_t *t, *base = at(LAYOUT_ACPI_BASE, 1);
	uint32_t len;

	build(ARCH_MAX_VCPUS, LAYOUT_MAX_VIRTIO, false);
	t = table("FACP", &len);
	cr_assert(eq(u8, sum(t, len), 0));
	t = table("APIC", &len);
	cr_assert(eq(u8, sum(t, len), 0));
	cr_assert(le(sz, (size_t)(t - base) + len,
		     LAYOUT_ACPI_END - LAYOUT_ACPI_BASE));
	t = dsdt(&len);
	cr_assert(eq(u8, sum(t, len), 0));
	cr_assert(ge(sz, (size_t)(t - base),
		     LAYOUT_ACPI_TABLES - LAYOUT_ACPI_BASE));
	cr_assert(le(sz, (size_t)(t - base) + len,
		     LAYOUT_ACPI_END - LAYOUT_ACPI_BASE));
}

Test(acpi, fadt_describes_fixed_hardware)
{
	const uint8_t *t;

	build(1, 0, false);
	t = fadt();
	cr_assert(eq(u64, le(t + 46, 2), LAYOUT_GSI_SCI));
	cr_assert(eq(u64, le(t + 48, 4), 0)); /* SMI_CMD */
	cr_assert(eq(u64, le(t + 56, 4), LAYOUT_PORT_PM1A_EVT));
	cr_assert(eq(u64, le(t + 64, 4), LAYOUT_PORT_PM1A_CNT));
	cr_assert(eq(u64, le(t + 76, 4), 0)); /* PM_TMR_BLK */
	cr_assert(eq(u64, le(t + 80, 4), LAYOUT_PORT_GPE0));
	cr_assert(eq(u8, t[88], 4));
	cr_assert(eq(u8, t[89], 2));
	cr_assert(eq(u8, t[91], 0)); /* PM_TMR_LEN */
	cr_assert(eq(u8, t[92], LAYOUT_PORT_GPE0_LEN));
	cr_assert(eq(u8, t[106], 0x0d));
	cr_assert(eq(u8, t[107], 0x0e));
	cr_assert(eq(u8, t[108], 0x32));
	/* Buttons and RTC fixed, reset register, not hardware-reduced. */
	cr_assert(eq(u64, le(t + 112, 4),
		     1U << 0 | 1U << 2 | 1U << 3 | 1U << 10));
	cr_assert(eq(u64, le(t + 120, 8), LAYOUT_PORT_RESET));
	cr_assert(eq(u8, t[128], LAYOUT_RESET_VALUE));
	cr_assert(eq(u64, le(t + 152, 8), LAYOUT_PORT_PM1A_EVT));
	cr_assert(eq(u64, le(t + 176, 8), LAYOUT_PORT_PM1A_CNT));
	cr_assert(eq(u64, le(t + 224, 8), LAYOUT_PORT_GPE0));
}

Test(acpi, facs_is_aligned_and_named_once)
{
	uint64_t gpa;

	build(1, 0, false);
	gpa = le(fadt() + 36, 4);
	cr_assert(eq(u64, gpa % 64, 0));
	cr_assert(eq(int, memcmp(at(gpa, 64), "FACS", 4), 0));
	cr_assert(eq(u64, le(at(gpa, 64) + 4, 4), 64));
	cr_assert(eq(u64, le(fadt() + 132, 8), 0)); /* X_FIRMWARE_CTRL */
}

Test(acpi, madt_lists_processors_ioapic_and_the_sci)
{
	uint32_t len;
	const uint8_t *t;

	build(3, 0, false);
	t = table("APIC", &len);
	cr_assert(eq(u32, len, 44 + 3 * 8 + 12 + 10 + 6));
	cr_assert(eq(u64, le(t + 36, 4), LAYOUT_LAPIC));
	for (unsigned int i = 0; i < 3; i++) {
		const uint8_t *e = t + 44 + i * 8;

		cr_assert(eq(u8, e[0], 0));
		cr_assert(eq(u8, e[1], 8));
		cr_assert(eq(u8, e[2], i));
		cr_assert(eq(u8, e[3], i));
		cr_assert(eq(u64, le(e + 4, 4), 1));
	}
	t += 44 + 3 * 8;
	cr_assert(eq(u8, t[0], 1));
	cr_assert(eq(u64, le(t + 4, 4), LAYOUT_IOAPIC));
	cr_assert(eq(u64, le(t + 8, 4), 0));
	t += 12;
	cr_assert(eq(u8, t[0], 2));
	cr_assert(eq(u8, t[3], LAYOUT_GSI_SCI));
	cr_assert(eq(u64, le(t + 4, 4), LAYOUT_GSI_SCI));
	cr_assert(eq(u64, le(t + 8, 2), 0x0d));
	t += 10;
	cr_assert(eq(u8, t[0], 4));
	cr_assert(eq(u8, t[2], 0xff));
	cr_assert(eq(u8, t[5], 1));
}

Test(acpi, madt_tells_of_an_8259_only_if_there_is_one)
{
	uint32_t len;

	build(1, 0, false);
	cr_assert(eq(u64, le(table("APIC", &len) + 40, 4), 0));
	build(1, 0, true);
	cr_assert(eq(u64, le(table("APIC", &len) + 40, 4), 1));
}

Test(acpi, config_block_has_counts_and_gsis)
{
	const struct acpi_config_block *block;

	build(7, 5, false);
	block = (const void *)at(LAYOUT_ACPI_CONFIG, sizeof(*block));
	cr_assert(eq(u32, block->nr_vcpus, 7));
	cr_assert(eq(u32, block->nr_virtio, 5));
	for (unsigned int i = 0; i < LAYOUT_MAX_VIRTIO; i++)
		cr_assert(eq(u32, block->virtio_gsi[i], i < 5 ? 16 + i : 0));
}

/* Found by its signature; the end of the tables of a VM without PCI. */
static uint64_t xsdt_gpa(void)
{
	return le(at(LAYOUT_ACPI_BASE, 36) + 24, 8);
}

Test(acpi, pci_adds_mcfg_and_an_ssdt)
{
	uint32_t len;
	const uint8_t *t;

	build_pci();
	cr_assert(eq(u64, le(at(xsdt_gpa(), 36) + 4, 4), 36 + 4 * 8));
	t = table("MCFG", &len);
	cr_assert(eq(u32, len, 60));
	cr_assert(eq(u8, sum(t, len), 0));
	cr_assert(eq(u64, le(t + 44, 8), LAYOUT_PCI_ECAM));
	cr_assert(eq(u64, le(t + 52, 8), 0)); /* segment 0, bus 0 to 0 */
	t = table("SSDT", &len);
	cr_assert(eq(u8, sum(t, len), 0));
}

Test(acpi, without_pci_there_is_nothing_of_it)
{
	static uint8_t with[LAYOUT_ACPI_END - LAYOUT_ACPI_TABLES];
	uint8_t *tables = at(LAYOUT_ACPI_TABLES, sizeof(with));
	uint64_t xsdt;

	build_pci();
	memcpy(with, tables, sizeof(with));
	memset(at(LAYOUT_ACPI_BASE, 1), 0, LAYOUT_ACPI_END - LAYOUT_ACPI_BASE);
	build(3, 2, false);
	xsdt = xsdt_gpa();
	cr_assert(eq(u64, le(at(xsdt, 36) + 4, 4), 36 + 2 * 8));
	/* What is in front of it is the same, behind it there is nothing. */
	cr_assert(zero(int, memcmp(with, tables, xsdt - LAYOUT_ACPI_TABLES)));
	for (uint64_t gpa = xsdt + 52; gpa < LAYOUT_ACPI_END; gpa++)
		cr_assert(eq(u8, *at(gpa, 1), 0));
}

Test(acpi, memory_that_ends_too_early_is_refused)
{
	const struct arch_config cfg = { .nr_vcpus = 1 };
	struct gmem_region region = { .size = LAYOUT_ACPI_END - 0x1000 };
	struct gmem small = { 0 };

	region.fd = fd_memfd_sealed("ram", region.size, 0);
	cr_assert(ge(int, region.fd, 0));
	cr_assert(eq(int, gmem_add(&small, &region), 0));
	cr_assert(eq(int, acpi_write(&cfg, &small), -EFAULT));
	gmem_finish(&small);
}

/* --- through ACPICA's own programs --- */

static char dir[64];
static char output[65536];

static void write_file(const char *name, const void *data, size_t len)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, fd_write_all(fd, data, len), 0));
	fd_close(&fd);
}

/* Runs a command in a directory that holds the tables. Return: its status. */
static int run(const char *command)
{
	char line[2048];
	size_t len;
	FILE *f;

	(void)snprintf(line, sizeof(line), "cd %s && %s 2>&1 </dev/null", dir,
		       command);
	f = popen(line, "r");
	cr_assert(ne(ptr, f, NULL));
	len = fread(output, 1, sizeof(output) - 1, f);
	output[len] = '\0';
	return pclose(f);
}

static void export_tables(void)
{
	uint32_t len;
	const uint8_t *t;

	strcpy(dir, "/tmp/torpor-acpi-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	build_pci();
	t = table("MCFG", &len);
	write_file("mcfg.aml", t, len);
	t = table("SSDT", &len);
	write_file("ssdt.aml", t, len);
	build(3, 2, false);
	t = dsdt(&len);
	write_file("dsdt.aml", t, len);
	t = table("FACP", &len);
	write_file("facp.aml", t, len);
	t = table("APIC", &len);
	write_file("apic.aml", t, len);
	t = at(LAYOUT_ACPI_BASE, 36);
	t = at(le(t + 24, 8), 52);
	write_file("xsdt.aml", t, 52);
}

static void remove_tables(void)
{
	cr_assert(eq(int, run("rm -f -- *"), 0));
	cr_assert(eq(int, rmdir(dir), 0));
}

Test(acpi, iasl_reads_every_table_without_a_complaint)
{
	static const char *const names[] = { "dsdt", "facp", "apic",
					     "xsdt", "mcfg", "ssdt" };

	export_tables();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char command[128];

		(void)snprintf(command, sizeof(command), "iasl -d %s.aml",
			       names[i]);
		cr_assert(eq(int, run(command), 0), "%s: %s", names[i], output);
		cr_assert(eq(ptr, strstr(output, "rror"), NULL), "%s: %s",
			  names[i], output);
		cr_assert(eq(ptr, strstr(output, "arning"), NULL), "%s: %s",
			  names[i], output);
		/* And what it disassembled is accepted again. */
		(void)snprintf(command, sizeof(command), "iasl -p again %s.dsl",
			       names[i]);
		cr_assert(eq(int, run(command), 0), "%s: %s", names[i], output);
	}
	remove_tables();
}

/*
 * Evaluates @batch with the fields of the config block set as the VMM would
 * set them for 3 processors and 2 devices.
 */
static void evaluate(const char *batch)
{
	static const char init[] = "\\_SB.NCPU 0x3\n\\_SB.NVIO 0x2\n"
				   "\\_SB.G000 0x10\n\\_SB.G001 0x11\n";
	char command[1024];

	write_file("init.txt", init, sizeof(init) - 1);
	(void)snprintf(command, sizeof(command),
		       "acpiexec -fi init.txt -b '%s' dsdt.aml ssdt.aml",
		       batch);
	cr_assert(eq(int, run(command), 0), "%s", output);
	cr_assert(eq(ptr, strstr(output, "AE_"), NULL), "%s", output);
}

static void expect_in_order(const char *const *texts, size_t n)
{
	char *p = output;

	for (size_t i = 0; i < n; i++) {
		p = strstr(p, texts[i]);
		cr_assert(ne(ptr, p, NULL), "'%s' (%zu) not in %s", texts[i], i,
			  output);
		p += strlen(texts[i]);
	}
}

#define EXPECT(...)                                                  \
	do {                                                         \
		static const char *const texts_[] = { __VA_ARGS__ }; \
		expect_in_order(texts_, ARRAY_SIZE(texts_));         \
	} while (0)

Test(acpi, cst_has_hlt_and_the_pmc_port)
{
	export_tables();
	evaluate("evaluate \\_SB.CPUS.C000._CST");
	EXPECT("Contains 3 Elements", "[Integer] = 0000000000000002",
	       "82 0C 00 7F 00 00 00 00", /* FFixedHW */
	       "[Integer] = 0000000000000001", "[Integer] = 0000000000000001",
	       "82 0C 00 01 08 00 00 40 06", /* SystemIO, 8 bit, 0x640 */
	       "[Integer] = 0000000000000002",
	       "[Integer] = 0000000080000005"); /* twice that wraps to 10 */
	remove_tables();
}

Test(acpi, processors_and_devices_beyond_the_count_are_absent)
{
	export_tables();
	evaluate("evaluate \\_SB.CPUS.C002._STA;"
		 "evaluate \\_SB.CPUS.C003._STA;"
		 "evaluate \\_SB.CPUS.C03F._UID;"
		 "evaluate \\_SB.V001._STA;evaluate \\_SB.V002._STA");
	EXPECT("C002._STA returned", "= 000000000000000F", "C003._STA returned",
	       "= 0000000000000000", "C03F._UID returned", "= 000000000000003F",
	       "V001._STA returned", "= 000000000000000F", "V002._STA returned",
	       "= 0000000000000000");
	remove_tables();
}

Test(acpi, virtio_node_has_its_page_gsi_and_gpe)
{
	export_tables();
	evaluate("evaluate \\_SB.V001._CRS;evaluate \\_SB.V01E._PRW");
	EXPECT("V001._CRS returned",
	       "86 09 00 01 00 10 00 D0 00 10 00 00", /* 0xd0001000 */
	       "89 06 00 03",			      /* consumer, edge */
	       "01 11 00 00 00", "V01E._PRW returned", "= 000000000000001E",
	       "= 0000000000000001");
	remove_tables();
}

Test(acpi, the_pci_bus_has_its_windows_and_no_other_bus)
{
	export_tables();
	evaluate("evaluate \\_SB.PCI0._CRS;evaluate \\_SB.PCIR._CRS");
	EXPECT("88 0D 00 02 0C 00 00 00 00 00 00 00 00 00 01 00",
	       "00 00 00 D1 FF FF", "FF DF 00 00 00 00 00 00 00 0F 8A",
	       "00 00 00 00 20 00 00 00", "FF FF FF FF 3F 00 00 00",
	       "PCIR._CRS returned", "00 00 00 E0 00 00 10 00");
	remove_tables();
}

Test(acpi, osc_grants_the_express_capability_alone)
{
	export_tables();
	evaluate("evaluate \\_SB.PCI0._OSC "
		 "(5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66) 1 3 "
		 "(00 00 00 00 1F 00 00 00 1F 00 00 00);"
		 "evaluate \\_SB.PCI0._OSC "
		 "(5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66) 1 3 "
		 "(00 00 00 00 1F 00 00 00 10 00 00 00);"
		 "evaluate \\_SB.PCI0._OSC "
		 "(00 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66) 1 3 "
		 "(00 00 00 00 1F 00 00 00 1F 00 00 00)");
	EXPECT("10 00 00 00 1F 00 00 00 10 00 00 00",
	       "00 00 00 00 1F 00 00 00 10 00 00 00",
	       "04 00 00 00 1F 00 00 00 1F 00 00 00");
	remove_tables();
}

Test(acpi, dsw_writes_index_and_armed_to_the_pmc)
{
	export_tables();
	evaluate("evaluate \\_SB.V001._DSW 1 0 3;evaluate \\_SB.DSW;"
		 "evaluate \\_SB.V001._DSW 0 0 0;evaluate \\_SB.DSW");
	EXPECT("_SB.DSW returned", "= 0000000000000101", "_SB.DSW returned",
	       "= 0000000000000001");
	remove_tables();
}

/* The bytes of the UUIDs as ToUUID() lays them out. */
#define INTEL	  "(A0 40 EB C4 D2 6C E2 11 BC FD 08 00 20 0C 9A 66)"
#define AMD	  "(52 24 F3 E3 BC FE CE 43 90 39 93 21 22 D3 77 21)"
#define MICROSOFT "(56 0D E0 11 64 CE CE 47 83 7B 1F 89 8F 9A A4 61)"

#define DSM(uuid, function)                                     \
	"evaluate \\_SB.LPSD._DSM " uuid " 0 " function " [1];" \
	"evaluate \\_SB.LPS0;"

Test(acpi, dsm_offers_functions_and_notes_calls)
{
	export_tables();
	evaluate(DSM(INTEL, "0") DSM(INTEL, "5"));
	EXPECT(": 79 ", "LPS0 returned", "= 0000000000000010", "LPS0 returned",
	       "= 0000000000000015");
	evaluate(DSM(AMD, "0") DSM(AMD, "2"));
	EXPECT(": 3D ", "LPS0 returned", "= 0000000000000020", "LPS0 returned",
	       "= 0000000000000022");
	evaluate(DSM(MICROSOFT, "0") DSM(MICROSOFT, "8"));
	EXPECT(": F9 01 ", "LPS0 returned", "= 0000000000000030",
	       "LPS0 returned", "= 0000000000000038");
	remove_tables();
}

Test(acpi, dsm_ignores_an_unknown_uuid)
{
	export_tables();
	evaluate(DSM("(00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF)", "5"));
	EXPECT("_DSM returned", ": 00 ", "LPS0 returned", "= 0000000000000000");
	remove_tables();
}

Test(acpi, sleep_types_are_those_of_the_layout)
{
	export_tables();
	evaluate("evaluate \\_S1;evaluate \\_S5");
	EXPECT("_S1 returned", "= 0000000000000001", "_S5 returned",
	       "= 0000000000000005");
	remove_tables();
}
