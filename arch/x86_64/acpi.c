/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Made from dsdt.asl and pci.asl. */
#include "arch/x86_64/dsdt.h"
#include "arch/x86_64/pci.h"

#define PACKED __attribute__((packed))

#define OEM_ID	     "TORPOR"
#define OEM_TABLE_ID "TORPORVM"
#define CREATOR_ID   "TRPR"

#define IOAPIC_ID 0U /* what the I/O APIC's ID register holds at reset */

/* --- structures of the specification --- */

struct acpi_rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} PACKED;

struct acpi_header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

struct acpi_gas { /* 5.2.3.2 */
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access;
	uint64_t address;
} PACKED;

#define GAS_SYSTEM_IO	1U
#define GAS_ACCESS_BYTE 1U
#define GAS_ACCESS_WORD 2U

struct acpi_fadt { /* 5.2.9 */
	struct acpi_header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved0;
	uint8_t preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios_req;
	uint8_t pstate_cnt;
	uint32_t pm1a_evt_blk;
	uint32_t pm1b_evt_blk;
	uint32_t pm1a_cnt_blk;
	uint32_t pm1b_cnt_blk;
	uint32_t pm2_cnt_blk;
	uint32_t pm_tmr_blk;
	uint32_t gpe0_blk;
	uint32_t gpe1_blk;
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t pm2_cnt_len;
	uint8_t pm_tmr_len;
	uint8_t gpe0_blk_len;
	uint8_t gpe1_blk_len;
	uint8_t gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat;
	uint16_t p_lvl3_lat;
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alrm;
	uint8_t mon_alrm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct acpi_gas x_pm1a_evt_blk;
	struct acpi_gas x_pm1b_evt_blk;
	struct acpi_gas x_pm1a_cnt_blk;
	struct acpi_gas x_pm1b_cnt_blk;
	struct acpi_gas x_pm2_cnt_blk;
	struct acpi_gas x_pm_tmr_blk;
	struct acpi_gas x_gpe0_blk;
	struct acpi_gas x_gpe1_blk;
	struct acpi_gas sleep_control_reg;
	struct acpi_gas sleep_status_reg;
	char hypervisor_vendor[8];
} PACKED;

#define FADT_WBINVD	   (1U << 0)
#define FADT_PROC_C1	   (1U << 2)
#define FADT_C2_MP	   (1U << 3)
#define FADT_RESET_REG_SUP (1U << 10)

#define IAPC_LEGACY_DEVICES  (1U << 0)
#define IAPC_VGA_NOT_PRESENT (1U << 2)

#define LATENCY_NO_C2 0x65U
#define LATENCY_NO_C3 0x3e9U

struct acpi_facs { /* 5.2.10 */
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} PACKED;

struct acpi_madt { /* 5.2.12 */
	struct acpi_header header;
	uint32_t lapic_address;
	uint32_t flags;
} PACKED;

#define MADT_PCAT_COMPAT 1U

struct madt_lapic { /* 5.2.12.2 */
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
} PACKED;

struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} PACKED;

struct madt_override { /* 5.2.12.5 */
	uint8_t type;
	uint8_t length;
	uint8_t bus;
	uint8_t source;
	uint32_t gsi;
	uint16_t flags;
} PACKED;

struct madt_lapic_nmi { /* 5.2.12.7 */
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint16_t flags;
	uint8_t lint;
} PACKED;

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4
};

#define MADT_ENABLED	       1U
#define MADT_ACTIVE_HIGH_LEVEL 0x0dU
#define MADT_ALL_PROCESSORS    0xffU

struct acpi_mcfg { /* PCI Firmware 3.3, 4.1.2 */
	struct acpi_header header;
	uint64_t reserved0;
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus;
	uint8_t last_bus;
	uint32_t reserved1;
} PACKED;

/* FADT and MADT; with a PCI bus also MCFG and SSDT. */
#define XSDT_TABLES	   4U
#define XSDT_TABLES_NO_PCI 2U

struct acpi_xsdt { /* 5.2.8 */
	struct acpi_header header;
	uint64_t tables[XSDT_TABLES];
} PACKED;

_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI");
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI");
_Static_assert(sizeof(struct acpi_gas) == 12, "ACPI");
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.4");
_Static_assert(sizeof(struct acpi_facs) == 64, "ACPI");
_Static_assert(sizeof(struct madt_override) == 10, "ACPI");
_Static_assert(ARCH_MAX_VCPUS < MADT_ALL_PROCESSORS,
	       "beyond that MADT needs x2APIC entries");

/* --- writing them --- */

/* The area of the tables and how much of it is used. */
struct area {
	uint8_t *hva;  /* of LAYOUT_ACPI_BASE */
	uint32_t next; /* gpa */
};

/* Zeroed room for a table, or NULL. */
static void *area_take(struct area *area, uint32_t len, uint32_t align,
		       uint32_t *ret_gpa)
{
	uint32_t gpa = (area->next + align - 1) & ~(align - 1);
	void *hva;

	if (gpa > LAYOUT_ACPI_END || len > LAYOUT_ACPI_END - gpa)
		return NULL;
	hva = area->hva + (gpa - LAYOUT_ACPI_BASE);
	area->next = gpa + len;
	memset(hva, 0, len);
	*ret_gpa = gpa;
	return hva;
}

/* The byte that makes the sum of all of them zero. */
static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

static void header_init(struct acpi_header *header, const char *signature,
			uint8_t revision, uint32_t len)
{
	memcpy(header->signature, signature, sizeof(header->signature));
	header->length = len;
	header->revision = revision;
	memcpy(header->oem_id, OEM_ID, sizeof(header->oem_id));
	memcpy(header->oem_table_id, OEM_TABLE_ID,
	       sizeof(header->oem_table_id));
	header->oem_revision = 1;
	memcpy(header->creator_id, CREATOR_ID, sizeof(header->creator_id));
	header->creator_revision = 1;
}

static void header_seal(struct acpi_header *header)
{
	header->checksum = 0;
	header->checksum = checksum(header, header->length);
}

static int write_facs(struct area *area, uint32_t *ret_gpa)
{
	struct acpi_facs *facs = area_take(area, sizeof(*facs), 64, ret_gpa);

	if (!facs)
		return -ENOSPC;
	memcpy(facs->signature, "FACS", sizeof(facs->signature));
	facs->length = sizeof(*facs);
	facs->version = 2;
	return 0;
}

/* A table that iasl has made. */
static int write_aml(struct area *area, const void *aml, uint32_t len,
		     uint32_t *ret_gpa)
{
	void *hva = area_take(area, len, 16, ret_gpa);

	if (!hva)
		return -ENOSPC;
	memcpy(hva, aml, len);
	return 0;
}

static struct acpi_gas gas_io(uint16_t port, uint8_t bits, uint8_t access)
{
	return (struct acpi_gas){ .space = GAS_SYSTEM_IO,
				  .bit_width = bits,
				  .access = access,
				  .address = port };
}

static void fadt_set_registers(struct acpi_fadt *fadt)
{
	fadt->sci_int = LAYOUT_GSI_SCI;
	/* No SMI_CMD: the machine is always in ACPI mode. */
	fadt->pm1a_evt_blk = LAYOUT_PORT_PM1A_EVT;
	fadt->pm1_evt_len = 4;
	fadt->x_pm1a_evt_blk =
		gas_io(LAYOUT_PORT_PM1A_EVT, 32, GAS_ACCESS_WORD);
	fadt->pm1a_cnt_blk = LAYOUT_PORT_PM1A_CNT;
	fadt->pm1_cnt_len = 2;
	fadt->x_pm1a_cnt_blk =
		gas_io(LAYOUT_PORT_PM1A_CNT, 16, GAS_ACCESS_WORD);
	fadt->gpe0_blk = LAYOUT_PORT_GPE0;
	fadt->gpe0_blk_len = LAYOUT_PORT_GPE0_LEN;
	fadt->x_gpe0_blk = gas_io(LAYOUT_PORT_GPE0, LAYOUT_PORT_GPE0_LEN * 8,
				  GAS_ACCESS_BYTE);
	fadt->reset_reg = gas_io(LAYOUT_PORT_RESET, 8, GAS_ACCESS_BYTE);
	fadt->reset_value = LAYOUT_RESET_VALUE;
}

static int write_fadt(struct area *area, uint32_t facs, uint32_t dsdt,
		      uint32_t *ret_gpa)
{
	struct acpi_fadt *fadt = area_take(area, sizeof(*fadt), 16, ret_gpa);

	if (!fadt)
		return -ENOSPC;
	header_init(&fadt->header, "FACP", 6, sizeof(*fadt));
	fadt->minor_version = 4;
	/* Exactly one of the two FACS fields may be set, both of the DSDT. */
	fadt->firmware_ctrl = facs;
	fadt->dsdt = dsdt;
	fadt->x_dsdt = dsdt;
	fadt_set_registers(fadt);
	/* C2 is in _CST only. */
	fadt->p_lvl2_lat = LATENCY_NO_C2;
	fadt->p_lvl3_lat = LATENCY_NO_C3;
	/* Without these the alarm reaches no further than 24 hours. */
	fadt->day_alrm = 0x0d;
	fadt->mon_alrm = 0x0e;
	fadt->century = 0x32;
	/* No 8042: there is no keyboard behind the reset line of port 0x64. */
	fadt->iapc_boot_arch = IAPC_LEGACY_DEVICES | IAPC_VGA_NOT_PRESENT;
	/*
	 * The button bits clear: power and sleep button are fixed hardware.
	 * FIX_RTC clear: so is the RTC's wake status. No LOW_POWER_S0: the
	 * LPS0 device works without it, it would only change the default.
	 */
	fadt->flags =
		FADT_WBINVD | FADT_PROC_C1 | FADT_C2_MP | FADT_RESET_REG_SUP;
	memcpy(fadt->hypervisor_vendor, "TORPOR", 6);
	header_seal(&fadt->header);
	return 0;
}

static uint8_t *madt_fill(uint8_t *p, const struct arch_config *cfg)
{
	const struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC,
		.length = sizeof(ioapic),
		.id = IOAPIC_ID,
		.address = LAYOUT_IOAPIC,
	};
	/* ISA interrupts are edge triggered, active high, on the same GSI. */
	const struct madt_override sci = {
		.type = MADT_OVERRIDE,
		.length = sizeof(sci),
		.source = LAYOUT_GSI_SCI,
		.gsi = LAYOUT_GSI_SCI,
		.flags = MADT_ACTIVE_HIGH_LEVEL,
	};
	const struct madt_lapic_nmi nmi = {
		.type = MADT_LAPIC_NMI,
		.length = sizeof(nmi),
		.uid = MADT_ALL_PROCESSORS,
		.lint = 1,
	};

	for (unsigned int i = 0; i < cfg->nr_vcpus; i++) {
		const struct madt_lapic lapic = {
			.type = MADT_LAPIC,
			.length = sizeof(lapic),
			.uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = MADT_ENABLED,
		};

		memcpy(p, &lapic, sizeof(lapic));
		p += sizeof(lapic);
	}
	memcpy(p, &ioapic, sizeof(ioapic));
	p += sizeof(ioapic);
	memcpy(p, &sci, sizeof(sci));
	p += sizeof(sci);
	memcpy(p, &nmi, sizeof(nmi));
	return p + sizeof(nmi);
}

static int write_madt(struct area *area, const struct arch_config *cfg,
		      uint32_t *ret_gpa)
{
	uint32_t len = (uint32_t)(sizeof(struct acpi_madt) +
				  cfg->nr_vcpus * sizeof(struct madt_lapic) +
				  sizeof(struct madt_ioapic) +
				  sizeof(struct madt_override) +
				  sizeof(struct madt_lapic_nmi));
	struct acpi_madt *madt = area_take(area, len, 16, ret_gpa);
	const uint8_t *end;

	if (!madt)
		return -ENOSPC;
	header_init(&madt->header, "APIC", 5, len);
	madt->lapic_address = LAYOUT_LAPIC;
	madt->flags = cfg->has_pic ? MADT_PCAT_COMPAT : 0;
	end = madt_fill((uint8_t *)(madt + 1), cfg);
	assert(end == (uint8_t *)madt + len);
	header_seal(&madt->header);
	return 0;
}

static int write_mcfg(struct area *area, uint32_t *ret_gpa)
{
	struct acpi_mcfg *mcfg = area_take(area, sizeof(*mcfg), 16, ret_gpa);

	if (!mcfg)
		return -ENOSPC;
	header_init(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
	mcfg->base = LAYOUT_PCI_ECAM;
	header_seal(&mcfg->header);
	return 0;
}

static int write_xsdt(struct area *area, const uint32_t *tables,
		      unsigned int nr, uint32_t *ret_gpa)
{
	uint32_t len =
		(uint32_t)(sizeof(struct acpi_header) + nr * sizeof(uint64_t));
	struct acpi_xsdt *xsdt = area_take(area, len, 16, ret_gpa);

	if (!xsdt)
		return -ENOSPC;
	header_init(&xsdt->header, "XSDT", 1, len);
	for (unsigned int i = 0; i < nr; i++)
		xsdt->tables[i] = tables[i];
	header_seal(&xsdt->header);
	return 0;
}

static void write_rsdp(struct area *area, uint32_t xsdt)
{
	struct acpi_rsdp rsdp = {
		.signature = "RSD PTR ",
		.oem_id = OEM_ID,
		.revision = 2,
		.length = sizeof(rsdp),
		.xsdt = xsdt,
	};

	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(area->hva, &rsdp, sizeof(rsdp));
}

static void write_config(struct area *area, const struct arch_config *cfg)
{
	struct acpi_config_block block = {
		.nr_vcpus = cfg->nr_vcpus,
		.nr_virtio = cfg->nr_virtio,
	};

	for (unsigned int i = 0; i < cfg->nr_virtio; i++) {
		assert(cfg->virtio[i].gpa ==
		       LAYOUT_VIRTIO_BASE + i * LAYOUT_VIRTIO_STRIDE);
		block.virtio_gsi[i] = cfg->virtio[i].gsi;
	}
	memcpy(area->hva + (LAYOUT_ACPI_CONFIG - LAYOUT_ACPI_BASE), &block,
	       sizeof(block));
}

static void write_pci(struct area *area, const struct arch_pci_slots *slots)
{
	struct acpi_pci_block block = { .slots = slots->present,
					.deep = slots->deep };

	_Static_assert(sizeof(block.gpe) == sizeof(slots->gpe), "slots");
	memcpy(block.gpe, slots->gpe, sizeof(block.gpe));
	memcpy(area->hva + (LAYOUT_ACPI_PCI - LAYOUT_ACPI_BASE), &block,
	       sizeof(block));
}

/* Those that the XSDT names. */
static int write_tables(struct area *area, const struct arch_config *cfg,
			uint32_t *ret_xsdt)
{
	uint32_t facs, dsdt, tables[XSDT_TABLES];

	if (write_facs(area, &facs) < 0 ||
	    write_aml(area, dsdt_aml_code, sizeof(dsdt_aml_code), &dsdt) < 0 ||
	    write_fadt(area, facs, dsdt, &tables[0]) < 0 ||
	    write_madt(area, cfg, &tables[1]) < 0)
		return -ENOSPC;
	if (!cfg->has_pci)
		return write_xsdt(area, tables, XSDT_TABLES_NO_PCI, ret_xsdt);
	if (write_mcfg(area, &tables[2]) < 0 ||
	    write_aml(area, pci_aml_code, sizeof(pci_aml_code), &tables[3]) < 0)
		return -ENOSPC;
	return write_xsdt(area, tables, XSDT_TABLES, ret_xsdt);
}

int acpi_write(const struct arch_config *cfg, const struct gmem *gm)
{
	struct area area = { .next = LAYOUT_ACPI_TABLES };
	uint32_t xsdt;
	void *hva;
	int r = gmem_span(gm, LAYOUT_ACPI_BASE,
			  LAYOUT_ACPI_END - LAYOUT_ACPI_BASE, &hva);

	if (r < 0)
		return r;
	area.hva = hva;
	r = write_tables(&area, cfg, &xsdt);
	if (r < 0)
		return r;
	write_config(&area, cfg);
	if (cfg->has_pci)
		write_pci(&area, &cfg->pci);
	write_rsdp(&area, xsdt);
	return 0;
}
