/* SPDX-License-Identifier: BSD-3-Clause */
/* See sleepy_guest.h. */
#define _GNU_SOURCE
#include "tests/stress/sleepy_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64/layout.h"
#include "devices/pmc.h"
#include "vmm/machine/kvm.h"

#define RUN_BYTES   8192
#define DATA_OFFSET 4096 /* of an exit's data in struct kvm_run */
#define MAX_CPUS    8

#define LAPIC_SPIV	   0xf0
#define LAPIC_SPIV_ENABLED (1U << 8)
#define LAPIC_IRR	   0x200

#define ENABLED (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN | ACPI_PM1_RTC)

/* What the guest as a whole is about; vCPU 0 decides. */
enum plan {
	PLAN_RUN,
	PLAN_S2IDLE,  /* all CPUs read the port until that is over */
	PLAN_OFFLINE, /* all but the first are taken offline, for S1 */
};

/* Where vCPU 0 is. */
enum phase {
	AWAKE,
	FREEZE, /* drivers; the device has been reset */
	ENTER,	/* LPS0 entry */
	IN_S2IDLE,
	EXIT,
	REFUSE,
	TO_S1,
	IN_S1,
	THAW, /* the device goes live */
};

static const char *const phase_names[] = {
	"AWAKE",  "FREEZE", "ENTER", "IN_S2IDLE", "EXIT",
	"REFUSE", "TO_S1",  "IN_S1", "THAW",
};

struct guest_cpu {
	int fd;
	unsigned int seed;     /* its thread only */
	atomic_bool interrupt; /* from another CPU */
	atomic_bool apic_off;  /* offline, or on its way into S1 */
	atomic_bool halted;    /* KVM_MP_STATE_HALTED */
	atomic_bool executing;
	atomic_uint runs;
};

static struct {
	struct vcpu_set *vcpus;
	struct acpi_pm *pm;
	struct guest_cpu cpus[MAX_CPUS];
	atomic_bool sci;
	atomic_bool stay_awake;
	atomic_uint plan;
	atomic_uint phase; /* written by vCPU 0 */
	atomic_uint lost_s1;
	atomic_bool up; /* for good */
	/* vCPU 0's thread only. */
	bool key; /* the sleep button, to be obeyed */
	bool deaf;
	bool notice; /* this sleep is told by LPS0 notices */
	unsigned int delay;
} guest;

static struct guest_cpu *cpu_of(int fd)
{
	for (unsigned int i = 0; i < MAX_CPUS; i++) {
		if (guest.cpus[i].fd == fd)
			return &guest.cpus[i];
	}
	abort();
}

static unsigned int index_of(const struct guest_cpu *cpu)
{
	return (unsigned int)(cpu - guest.cpus);
}

/* ------------------------------------------------------------ the machine */

static void pm1_write(uint64_t offset, uint16_t value)
{
	guest.pm->evt_bus.ops->write(&guest.pm->evt_bus, offset, &value, 2);
}

static void gpe_write(uint64_t offset, uint32_t value)
{
	guest.pm->gpe_bus.ops->write(&guest.pm->gpe_bus, offset, &value, 4);
}

/* Its button's driver comes and goes. */
static void enable_events(bool hears)
{
	guest.deaf = !hears;
	pm1_write(2, hears ? ENABLED : ENABLED & (uint16_t)~ACPI_PM1_SLPBTN);
	gpe_write(4, GUEST_WAKE_GPE);
}

void guest_init(struct vcpu_set *vcpus, struct acpi_pm *pm, unsigned int seed)
{
	guest.vcpus = vcpus;
	guest.pm = pm;
	for (unsigned int i = 0; i < MAX_CPUS; i++) {
		guest.cpus[i].fd = -1;
		guest.cpus[i].seed = seed * 31 + i;
	}
	enable_events(true);
}

void guest_stay_awake(void)
{
	atomic_store(&guest.stay_awake, true);
}

bool guest_is_up(void)
{
	return atomic_load(&guest.up);
}

void guest_set_sci(bool level)
{
	atomic_store(&guest.sci, level);
}

bool guest_executes(void)
{
	for (unsigned int i = 0; i < guest.vcpus->nr; i++) {
		if (atomic_load(&guest.cpus[i].executing))
			return true;
	}
	return false;
}

unsigned int guest_lost_s1(void)
{
	return atomic_load(&guest.lost_s1);
}

void guest_print(void)
{
	(void)fprintf(stderr, "  guest: phase %s, plan %u, SCI %d\n",
		      phase_names[atomic_load(&guest.phase)],
		      atomic_load(&guest.plan), atomic_load(&guest.sci));
	for (unsigned int i = 0; i < guest.vcpus->nr; i++) {
		struct guest_cpu *c = &guest.cpus[i];

		(void)fprintf(
			stderr,
			"  vCPU %u: %u runs, executing %d, interrupt %d, "
			"APIC off %d, halted %d\n",
			i, atomic_load(&c->runs), atomic_load(&c->executing),
			atomic_load(&c->interrupt), atomic_load(&c->apic_off),
			atomic_load(&c->halted));
	}
}

int kvm_create_vcpu(int vm, unsigned int index)
{
	int fd = memfd_create("vcpu", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, RUN_BYTES) < 0)
		return -errno;
	guest.cpus[index].fd = fd;
	return fd;
}

int kvm_vcpu_mmap_size(int kvm)
{
	return RUN_BYTES;
}

int kvm_get_regs(int vcpu, struct kvm_regs *regs)
{
	*regs = (struct kvm_regs){ 0 };
	return 0;
}

static bool has_interrupt(struct guest_cpu *cpu)
{
	return atomic_load(&cpu->interrupt) ||
	       (index_of(cpu) == 0 && atomic_load(&guest.sci));
}

int kvm_get_lapic(int vcpu, struct kvm_lapic_state *lapic)
{
	struct guest_cpu *cpu = cpu_of(vcpu);
	const uint32_t spiv = LAPIC_SPIV_ENABLED, irr = 1;

	memset(lapic, 0, sizeof(*lapic));
	if (!atomic_load(&cpu->apic_off))
		memcpy(lapic->regs + LAPIC_SPIV, &spiv, sizeof(spiv));
	if (has_interrupt(cpu))
		memcpy(lapic->regs + LAPIC_IRR, &irr, sizeof(irr));
	return 0;
}

int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *events)
{
	*events = (struct kvm_vcpu_events){ 0 };
	return 0;
}

int kvm_get_mp_state(int vcpu, struct kvm_mp_state *state)
{
	state->mp_state = atomic_load(&cpu_of(vcpu)->halted)
				  ? KVM_MP_STATE_HALTED
				  : KVM_MP_STATE_RUNNABLE;
	return 0;
}

int kvm_set_mp_state(int vcpu, const struct kvm_mp_state *state)
{
	atomic_store(&cpu_of(vcpu)->halted,
		     state->mp_state == KVM_MP_STATE_HALTED);
	return 0;
}

/* Clocks: an ioctl of a vCPU waits for KVM_RUN, so none may be in it. */

int kvm_check_extension(int kvm_or_vm, int cap)
{
	return 1;
}

int kvm_get_clock(int vm, struct kvm_clock_data *data)
{
	*data = (struct kvm_clock_data){ 0 };
	return 0;
}

int kvm_set_clock(int vm, const struct kvm_clock_data *data)
{
	return 0;
}

static int vcpu_ioctl(int vcpu)
{
	return atomic_load(&cpu_of(vcpu)->executing) ? -EBUSY : 0;
}

int kvm_get_tsc_offset(int vcpu, uint64_t *ret)
{
	*ret = 0;
	return vcpu_ioctl(vcpu);
}

int kvm_set_tsc_offset(int vcpu, uint64_t offset)
{
	return vcpu_ioctl(vcpu);
}

int kvm_kvmclock_ctrl(int vcpu)
{
	return vcpu_ioctl(vcpu);
}

/* -------------------------------------------------------------- the guest */

static unsigned int chance(struct guest_cpu *cpu, unsigned int below)
{
	return (unsigned int)rand_r(&cpu->seed) % below;
}

/* What a turn of the guest ends with. */
enum turn {
	TURN_NAP,  /* idle, or at work without an exit */
	TURN_EXIT, /* kvm_run is filled in */
};

static enum turn exit_io(struct guest_cpu *cpu, bool out, uint16_t port,
			 const void *data, uint8_t size)
{
	struct kvm_run *run = guest.vcpus->vcpus[index_of(cpu)].run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	run->io.port = port;
	run->io.size = size;
	run->io.count = 1;
	run->io.data_offset = DATA_OFFSET;
	if (out)
		memcpy((uint8_t *)run + DATA_OFFSET, data, size);
	return TURN_EXIT;
}

static enum turn exit_c2(struct guest_cpu *cpu)
{
	return exit_io(cpu, false, LAYOUT_PORT_PMC_C2, NULL, 1);
}

static enum turn exit_lps0(struct guest_cpu *cpu, bool entry)
{
	const uint8_t code = PMC_LPS0_MICROSOFT | (entry ? 5 : 6);

	return exit_io(cpu, true, LAYOUT_PORT_PMC_LPS0, &code, 1);
}

static enum turn exit_device(struct guest_cpu *cpu, uint32_t value)
{
	struct kvm_run *run = guest.vcpus->vcpus[index_of(cpu)].run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = GUEST_DEVICE_GPA;
	run->mmio.is_write = 1;
	run->mmio.len = 4;
	memcpy(run->mmio.data, &value, sizeof(value));
	return TURN_EXIT;
}

static void interrupt_others(struct guest_cpu *cpu)
{
	for (unsigned int i = 0; i < guest.vcpus->nr; i++) {
		if (i != index_of(cpu))
			atomic_store(&guest.cpus[i].interrupt, true);
	}
}

/*
 * The SCI's handler: each event is cleared by itself. Return: the PM1 events
 * that were enabled.
 */
static uint16_t take_sci(void)
{
	struct acpi_pm_regs regs = acpi_pm_get(guest.pm);
	uint16_t events = regs.pm1_sts & regs.pm1_en;

	for (unsigned int bit = 0; bit < 16; bit++) {
		if (events >> bit & 1)
			pm1_write(0, (uint16_t)(1U << bit));
	}
	gpe_write(0, regs.gpe_sts & regs.gpe_en);
	return events;
}

static void set_phase(enum phase phase)
{
	atomic_store(&guest.phase, phase);
}

static void set_delay(struct guest_cpu *cpu, unsigned int below)
{
	guest.delay = chance(cpu, below);
}

static enum turn awake(struct guest_cpu *cpu)
{
	bool goes = false;

	if (atomic_load(&guest.sci) && take_sci() & ACPI_PM1_SLPBTN)
		guest.key = true;
	if (atomic_load(&guest.stay_awake)) {
		enable_events(true);
		guest.key = false;
		atomic_store(&guest.up, true);
		return TURN_NAP;
	}
	if (chance(cpu, 500) == 0)
		enable_events(guest.deaf);
	if (guest.key) {
		guest.key = false;
		goes = chance(cpu, 10) != 0; /* else its agent is away */
	} else {
		goes = chance(cpu, 60) == 0;
	}
	if (!goes) {
		if (chance(cpu, 20) == 0) /* a delay port */
			return exit_io(cpu, true, 0x80, &(uint8_t){ 0 }, 1);
		return TURN_NAP;
	}
	set_delay(cpu, 5);
	set_phase(chance(cpu, 10) == 0 ? REFUSE : FREEZE);
	guest.notice = chance(cpu, 8) != 0;
	return exit_device(cpu, GUEST_RESET);
}

static enum turn freeze(struct guest_cpu *cpu)
{
	if (atomic_load(&guest.sci) && take_sci() & ACPI_PM1_SLPBTN)
		guest.key = true;
	if (guest.delay > 0) {
		guest.delay--;
		return TURN_NAP;
	}
	switch (chance(cpu, 10)) {
	case 0: /* a driver does not want to */
		set_phase(THAW);
		return TURN_NAP;
	case 1:
		atomic_store(&guest.plan, PLAN_OFFLINE);
		interrupt_others(cpu);
		set_phase(TO_S1);
		return TURN_NAP;
	default:
		set_phase(ENTER);
		return guest.notice ? exit_lps0(cpu, true) : TURN_NAP;
	}
}

static enum turn s2idle(struct guest_cpu *cpu)
{
	if (atomic_load(&guest.sci)) {
		(void)take_sci();
		atomic_store(&guest.plan, PLAN_RUN);
		interrupt_others(cpu);
		set_phase(EXIT);
		return TURN_NAP;
	}
	return exit_c2(cpu);
}

static enum turn to_s1(struct guest_cpu *cpu)
{
	const uint16_t sleep = (uint16_t)(LAYOUT_SLP_TYP_S1 << 10 | 1U << 13);

	for (unsigned int i = 1; i < guest.vcpus->nr; i++) {
		if (!atomic_load(&guest.cpus[i].halted))
			return TURN_NAP;
	}
	atomic_store(&cpu->apic_off, true);
	pm1_write(0, 0xffff); /* ACPICA forgets what there was */
	gpe_write(0, ~0U);
	set_phase(IN_S1);
	return exit_io(cpu, true, LAYOUT_PORT_PM1A_CNT, &sleep, 2);
}

/* ACPICA polls for WAK_STS with interrupts off, for ever if need be. */
static enum turn in_s1(struct guest_cpu *cpu)
{
	if (!(acpi_pm_get(guest.pm).pm1_sts & ACPI_PM1_WAK)) {
		(void)atomic_fetch_add(&guest.lost_s1, 1);
		return TURN_NAP;
	}
	pm1_write(0, ACPI_PM1_WAK);
	atomic_store(&cpu->apic_off, false);
	atomic_store(&guest.plan, PLAN_RUN);
	for (unsigned int i = 1; i < guest.vcpus->nr; i++) {
		atomic_store(&guest.cpus[i].apic_off, false);
		atomic_store(&guest.cpus[i].halted, false); /* INIT, SIPI */
	}
	set_phase(THAW);
	return TURN_NAP;
}

static enum turn boot_cpu(struct guest_cpu *cpu)
{
	switch ((enum phase)atomic_load(&guest.phase)) {
	case AWAKE:
		return awake(cpu);
	case FREEZE:
		return freeze(cpu);
	case REFUSE:
		set_phase(EXIT);
		return guest.notice ? exit_lps0(cpu, true) : TURN_NAP;
	case ENTER:
		atomic_store(&guest.plan, PLAN_S2IDLE);
		interrupt_others(cpu);
		set_phase(IN_S2IDLE);
		return TURN_NAP;
	case IN_S2IDLE:
		return s2idle(cpu);
	case EXIT:
		set_delay(cpu, 5);
		set_phase(THAW);
		return guest.notice ? exit_lps0(cpu, false) : TURN_NAP;
	case TO_S1:
		return to_s1(cpu);
	case IN_S1:
		return in_s1(cpu);
	case THAW:
		if (guest.delay > 0) {
			guest.delay--;
			return TURN_NAP;
		}
		set_phase(AWAKE);
		return exit_device(cpu, GUEST_LIVE);
	}
	abort();
}

static enum turn other_cpu(struct guest_cpu *cpu)
{
	switch ((enum plan)atomic_load(&guest.plan)) {
	case PLAN_S2IDLE:
		/* A late timer, a wake-up of a task elsewhere. */
		if (chance(cpu, 30) == 0)
			interrupt_others(cpu);
		return exit_c2(cpu);
	case PLAN_OFFLINE:
		atomic_store(&cpu->apic_off, true);
		return exit_c2(cpu);
	case PLAN_RUN:
		break;
	}
	return chance(cpu, 50) == 0 ? exit_io(cpu, false, 0x80, NULL, 1)
				    : TURN_NAP;
}

static void nap(struct guest_cpu *cpu)
{
	struct timespec ts = { .tv_nsec = 100000L + chance(cpu, 1000) * 1000L };

	(void)nanosleep(&ts, NULL); /* a kick ends it */
}

static int run(struct guest_cpu *cpu, struct kvm_run *kvm)
{
	for (;;) {
		if (__atomic_load_n(&kvm->immediate_exit, __ATOMIC_SEQ_CST))
			return -EINTR;
		if (atomic_load(&cpu->halted)) {
			nap(cpu);
			continue;
		}
		atomic_store(&cpu->executing, true);
		atomic_store(&cpu->interrupt, false); /* taken */
		if ((index_of(cpu) == 0 ? boot_cpu(cpu) : other_cpu(cpu)) ==
		    TURN_EXIT)
			return 0;
		nap(cpu);
		atomic_store(&cpu->executing, false);
	}
}

int kvm_run(int vcpu)
{
	struct guest_cpu *cpu = cpu_of(vcpu);
	int r;

	(void)atomic_fetch_add(&cpu->runs, 1);
	r = run(cpu, guest.vcpus->vcpus[index_of(cpu)].run);
	atomic_store(&cpu->executing, false);
	return r;
}
