/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random commands of eight clients at a VM whose guest sleeps by itself, under
 * ThreadSanitizer: the real control server, commands, coordinator, mailbox and
 * vCPU threads; the guest and its KVM are those of sleepy_guest.c, the devices
 * stop and start at once, late or not at all.
 *
 *	clients_stress [SECONDS [SEED]]
 *
 * Prints one line; or what is wrong, with who waits for what, and fails.
 */
#include <errno.h>
#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/clients.h"
#include "tests/stress/sleepy_guest.h"
#include "vmm/control/commands.h"
#include "vmm/power/internal.h"
#include "vmm/vm/vm.h"

#define BOUND_MS 60000

/* One at a time: see power_ops. */
struct devices {
	bool moving, restarting;
	bool down; /* told to stop and not to start since */
	bool fails;
	struct loop_timer timer;
	unsigned int fails_told;
};

static struct vm vm;
static struct commands commands = { .listener.events = &commands_events,
				    .vm = &vm };
static char vm_name[] = "stress";
static struct vm_config cfg = { .device_timeout_ms = 1000 };
static struct devices devices;
static struct irq_line sci;
static struct loop_timer rtc_timer;
static struct bus_dev device_bus;
static char dir[] = "/tmp/clients-stress.XXXXXX", socket_path[64];
static unsigned int seed;
static bool held, done;
static struct clients_options options = {
	.seconds = 10, .seed = 1, .bound_ms = BOUND_MS, .slow = 1
};
static struct clients_counts counts;

static unsigned int chance(unsigned int below)
{
	return (unsigned int)rand_r(&seed) % below;
}

/* ------------------------------------------------------------- failures */

/* Read at the end without a lock, whoever holds it. */
#define NO_TSAN __attribute__((no_sanitize("thread")))

static NO_TSAN unsigned int nr_requests(const struct power_request *req)
{
	unsigned int n = 0;

	for (; req && n < 1000; req = req->next)
		n++;
	return n;
}

/* Also when the sanitizer ends the process. */
static void remove_files(void)
{
	(void)unlink(socket_path);
	(void)rmdir(dir);
}

/* On any thread. */
static NO_TSAN void print_state(void)
{
	const struct power *p = &vm.power;

	(void)fprintf(
		stderr,
		"  power: %s, told %s, pause %d (wanted %d), requests %u, "
		"pauses %u, lock %s\n",
		power_step_name(p->step), power_state_name(p->announced),
		p->pause, p->pause_wanted, nr_requests(p->requests),
		nr_requests(p->pauses),
		pthread_mutex_trylock(&vm.power.lock) == 0 ? "free" : "taken");
	(void)fprintf(stderr,
		      "  notes %#x; LPS0 %d, onset %d; census misses %u, "
		      "shallow %d\n",
		      p->notes, p->lps0, p->onset, p->census_missing,
		      p->census_shallow);
	for (unsigned int i = 0; i < p->nr_vcpus; i++)
		(void)fprintf(stderr, "  vCPU %u: up %d, parked %d\n", i,
			      p->vcpus[i].up, p->vcpus[i].parked);
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		(void)fprintf(stderr, "  timer %u: %s\n", i,
			      vm.power_timers[i].timer.deadline_ns ? "set"
								   : "-");
	(void)fprintf(
		stderr,
		"  devices: moving %d, restarting %d, down %d; vCPUs held "
		"%d\n",
		devices.moving, devices.restarting, devices.down, held);
	guest_print();
	remove_files();
}

static _Noreturn void broken(const char *what)
{
	(void)fprintf(stderr, "clients_stress: seed %llu: %s\n",
		      (unsigned long long)options.seed, what);
	print_state();
	_exit(1);
}

static void expect(bool ok, const char *what)
{
	if (!ok)
		broken(what);
}

/* ---------------------------------------------------------------- vCPUs */

static void vcpu_ran(struct vcpu *vcpu)
{
	power_ran(&vm.power, vcpu->index);
}

static void vcpu_kicked(struct vcpu *vcpu)
{
	power_kicked(&vm.power, vcpu->index);
}

static bool vcpu_port_read(struct vcpu *vcpu, uint16_t port, void *data,
			   uint32_t len)
{
	if (port != LAYOUT_PORT_PMC_C2)
		return false;
	power_c2_read(&vm.power, vcpu->index);
	return true;
}

static void vcpu_eoi(struct vcpu *vcpu, uint8_t vector)
{
}

static void vcpu_ended(struct vcpu *vcpu, enum vcpu_end end, const char *why)
{
	broken(why);
}

static const struct vcpu_ops vcpu_ops = {
	.ran = vcpu_ran,
	.kicked = vcpu_kicked,
	.port_read = vcpu_port_read,
	.eoi = vcpu_eoi,
	.ended = vcpu_ended,
};

static unsigned int op_inspect(struct power *power, unsigned int cpu)
{
	return arch_vcpu_inspect(vm.vcpus.vcpus[cpu].fd);
}

static void op_halt(struct power *power, unsigned int cpu)
{
	expect(arch_vcpu_halt(vm.vcpus.vcpus[cpu].fd) == 0, "halt");
}

static void op_kick(struct power *power, unsigned int cpu)
{
	vcpu_kick(&vm.vcpus.vcpus[cpu]);
}

static void op_post(struct power *power)
{
	mailbox_post(&vm.mailbox, &vm.power_item);
}

/* -------------------------------------------------------------- devices */

static void moved(struct loop_timer *timer)
{
	devices.moving = false;
	if (devices.restarting)
		power_restarted(&vm.power);
	else
		power_quiesced(&vm.power, devices.fails ? -ETIMEDOUT : 0,
			       devices.fails ? "blk0" : NULL);
}

static void move(bool restart)
{
	expect(!devices.moving, "devices are moved while they move");
	expect(devices.down == restart, "devices are moved twice the same way");
	devices.moving = true;
	devices.down = !restart;
	devices.restarting = restart;
	devices.fails = !restart && chance(10) == 0;
	devices.fails_told += devices.fails;
	if (chance(2))
		moved(&devices.timer);
	else
		loop_timer_set(&vm.loop, &devices.timer, chance(20) * NS_PER_MS,
			       moved);
}

static void op_quiesce(struct power *power)
{
	move(false);
}

static void op_restart(struct power *power)
{
	move(true);
}

static void op_hold(struct power *power)
{
	expect(!held, "vCPUs are held twice");
	held = true;
	vcpu_set_hold(&vm.vcpus);
	expect(!guest_executes(), "a held vCPU executes");
	expect(guest_clock_stop(&vm.clock, vm.vm_fd) == 0, "clocks");
}

static void op_set_clock(struct power *power, bool freeze)
{
	expect(held, "clocks are set while vCPUs run");
	if (freeze)
		expect(guest_clock_thaw(&vm.clock, vm.vm_fd, &vm.vcpus) == 0,
		       "clocks of a running vCPU");
	else
		guest_clock_tell_stopped(&vm.vcpus);
}

static void op_release(struct power *power)
{
	expect(held, "vCPUs are released twice");
	expect(!guest_executes(), "a held vCPU executes");
	held = false;
	vcpu_set_release(&vm.vcpus);
}

/* ------------------------------------------------------- timers, events */

static uint64_t op_now(struct power *power)
{
	return time_boot_ns();
}

static void on_timer(struct loop_timer *timer)
{
	struct vm_power_timer *t =
		container_of(timer, struct vm_power_timer, timer);

	power_timer_fired(&vm.power, (enum power_timer)(t - vm.power_timers));
}

static void op_timer_set(struct power *power, enum power_timer timer,
			 uint64_t delay_ns)
{
	loop_timer_set(&vm.loop, &vm.power_timers[timer].timer, delay_ns,
		       on_timer);
}

static void op_timer_cancel(struct power *power, enum power_timer timer)
{
	loop_timer_cancel(&vm.loop, &vm.power_timers[timer].timer);
}

static void op_event(struct power *power, enum power_state state,
		     const struct wake_source *source)
{
	if (state == POWER_SUSPENDED) {
		expect(!guest_executes(), "a vCPU executes asleep");
		expect(devices.down && !devices.moving, "devices run asleep");
	}
	vm_tell(&vm, state, state, source);
}

static void op_paused(struct power *power, bool paused)
{
	if (paused) {
		expect(held && !guest_executes(), "a vCPU executes paused");
		expect(devices.down && !devices.moving, "devices run paused");
	}
	vm_tell(&vm, paused, paused);
}

static void op_pause_failed(struct power *power)
{
	vm_tell(&vm, pause_failed);
}

static void op_storm(struct power *power, const struct wake_source *source)
{
	vm_tell(&vm, storm, source);
}

static const struct power_ops power_ops = {
	.vcpu_inspect = op_inspect,
	.vcpu_halt = op_halt,
	.vcpu_kick = op_kick,
	.post = op_post,
	.quiesce = op_quiesce,
	.restart = op_restart,
	.vcpus_hold = op_hold,
	.set_clock = op_set_clock,
	.vcpus_release = op_release,
	.now_ns = op_now,
	.timer_set = op_timer_set,
	.timer_cancel = op_timer_cancel,
	.event = op_event,
	.paused = op_paused,
	.pause_failed = op_pause_failed,
	.storm = op_storm,
};

static void on_power_item(struct mailbox_item *item)
{
	power_poll(&vm.power);
}

/* -------------------------------------------- what the platform tells */

static void set_sci(struct irq_line *line, bool level)
{
	guest_set_sci(level);
}

/* As vmm/vm/power_ops.c: what the guest takes event by event is taken. */
static void pm_cleared(struct acpi_pm *pm, uint16_t pm1, uint32_t gpe,
		       bool bulk)
{
	if (bulk || !pm1)
		return;
	(void)atomic_fetch_or(&vm.platform.cleared_pm1, pm1);
	mailbox_post(&vm.mailbox, &vm.platform.pm_item);
}

static void on_pm_item(struct mailbox_item *item)
{
	unsigned int pm1 = atomic_exchange(&vm.platform.cleared_pm1, 0);

	pm1 &= ~(unsigned int)acpi_pm_get(&vm.platform.pm).pm1_sts;
	if (pm1 & ACPI_PM1_PWRBTN)
		power_source_clear(&vm.power, &vm.power.powerbtn);
	if (pm1 & ACPI_PM1_SLPBTN)
		power_source_clear(&vm.power, &vm.power.sleepbtn);
	if (pm1 & ACPI_PM1_RTC)
		power_source_clear(&vm.power, &vm.power.rtc);
	if (vm.power.launcher.pm1_bit & pm1)
		power_source_clear(&vm.power, &vm.power.launcher);
}

static void pm_sleep(struct acpi_pm *pm, unsigned int slp_typ)
{
	if (slp_typ == LAYOUT_SLP_TYP_S1)
		power_s1(&vm.power, 0);
}

static void pmc_lps0(struct pmc *pmc, bool entry)
{
	power_lps0(&vm.power, entry);
}

/* It never sleeps for ever. */
static void rtc_fires(struct loop_timer *timer)
{
	(void)power_wake(&vm.power, &vm.power.rtc);
	loop_timer_set(&vm.loop, timer, (10 + chance(300)) * NS_PER_MS,
		       rtc_fires);
}

struct device_call {
	struct mailbox_item item;
	uint32_t value;
};

static void on_device(struct mailbox_item *item)
{
	if (container_of(item, struct device_call, item)->value == GUEST_RESET)
		power_device_left(&vm.power);
	else
		power_device_live(&vm.power);
	mailbox_complete(item);
}

static void device_write(struct bus_dev *dev, uint64_t offset, const void *data,
			 uint32_t len)
{
	struct device_call call = { .item.fn = on_device };

	memcpy(&call.value, data, sizeof(call.value));
	mailbox_call(&vm.mailbox, &call.item);
}

static const struct bus_ops device_ops = { .name = "device",
					   .write = device_write };

/* ---------------------- what commands need of the rest of the VMM */

/* None of the clients gives the command "stop". */
void vm_end(struct vm *ending, enum vm_exit code)
{
	broken("the VM ends");
}

pid_t spawner_pid(const struct spawner *spawner)
{
	return 0;
}

bool virtio_mmio_is_live(const struct virtio_mmio *mmio)
{
	return false; /* there are none */
}

/* ----------------------------------------------------------------- life */

static void make_vm(const char *socket)
{
	struct err err = { "" };

	cfg.name = vm_name;
	cfg.cpus = 2 + (unsigned int)(options.seed % 3);
	vm = (struct vm){ .cfg = &cfg, .kvm_fd = -1, .vm_fd = -1 };
	atomic_store(&vm.exit_code, -1);
	trace_init(&vm.trace, cfg.cpus);
	expect(loop_init(&vm.loop) == 0 &&
		       mailbox_init(&vm.mailbox, &vm.loop) == 0,
	       "event loop");
	sci.set = set_sci;
	acpi_pm_init(&vm.platform.pm, LAYOUT_PORT_PM1A_EVT,
		     LAYOUT_PORT_PM1A_CNT, LAYOUT_PORT_GPE0, &sci);
	pmc_init(&vm.platform.pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW,
		 LAYOUT_PORT_PMC_PCI);
	device_bus = (struct bus_dev){ .ops = &device_ops,
				       .base = GUEST_DEVICE_GPA,
				       .size = 4 };
	expect(bus_add(&vm.pio, &vm.platform.pm.evt_bus) == 0 &&
		       bus_add(&vm.pio, &vm.platform.pm.cnt_bus) == 0 &&
		       bus_add(&vm.pio, &vm.platform.pm.gpe_bus) == 0 &&
		       bus_add(&vm.pio, &vm.platform.pmc.lps0_bus) == 0 &&
		       bus_add(&vm.mmio, &device_bus) == 0,
	       "buses");
	power_init(&vm.power, &power_ops, &vm.platform.pm, GUEST_WAKE_GPE,
		   cfg.cpus);
	vm.power.trace = &vm.trace;
	vm.power.storm_sleeps = 20;
	vm.power_item.fn = on_power_item;
	vm.platform.pm_item.fn = on_pm_item;
	vm.platform.pm.on_sleep = pm_sleep;
	vm.platform.pm.on_clear = pm_cleared;
	vm.platform.pmc.on_lps0 = pmc_lps0;
	guest_init(&vm.vcpus, &vm.platform.pm, (unsigned int)options.seed);
	expect(vcpu_set_init(&vm.vcpus, -1, -1, cfg.cpus, &vcpu_ops, &vm,
			     &vm.pio, &vm.mmio) == 0,
	       "vCPUs");
	if (control_create(&vm.loop, socket, vm_commands, &commands,
			   &commands.control, &err) < 0)
		broken(err.msg);
	vm.listener = &commands.listener;
	expect(vcpu_set_start(&vm.vcpus) == 0, "vCPU threads");
	loop_timer_set(&vm.loop, &rtc_timer, 50 * NS_PER_MS, rtc_fires);
}

/* Nobody has anything more to be told. */
static bool all_told(void)
{
	return !vm.power.requests && !vm.power.pauses && !commands.waits;
}

static void check_end(void)
{
	uint64_t begun = 0, ended = 0,
		 end = time_boot_ns() + BOUND_MS * NS_PER_MS;

	/* What was waited for by those who have gone. */
	while (!all_told() && time_boot_ns() < end)
		expect(loop_turn(&vm.loop, 10) == 0, "event loop");
	expect(all_told(), "somebody is still to be told");
	expect(power_get_step(&vm.power) == POWER_STEP_AWAKE, "not AWAKE");
	expect(vm.power.announced == POWER_RUNNING, "RUNNING was not told");
	expect(vm.power.pause == POWER_PAUSE_OFF && !vm.power.pause_wanted &&
		       !held,
	       "paused");
	expect(!devices.down && !devices.moving, "devices are down");
	expect(guest_lost_s1() == 0, "S1 returned without WAK_STS");
	for (unsigned int i = 0; i < POWER_NR_TRANSITIONS; i++) {
		const struct power_transition *t = &power_transitions[i];

		if (t->to == POWER_STEP_ASLEEP)
			begun += vm.power.moves[i];
		if (t->from == POWER_STEP_ASLEEP)
			ended += vm.power.moves[i];
	}
	expect(begun == ended && begun == vm.power.cycles,
	       "sleeps that began and ended");
}

/* In the order of vmm/vm/vm.c. */
static void unmake_vm(void)
{
	power_stop(&vm.power);
	mailbox_close(&vm.mailbox);
	vcpu_set_finish(&vm.vcpus);
	vm_tell(&vm, ended, VM_EXIT_STOP);
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		loop_timer_cancel(&vm.loop, &vm.power_timers[i].timer);
	power_finish(&vm.power);
	acpi_pm_finish(&vm.platform.pm);
	mailbox_finish(&vm.mailbox);
	loop_finish(&vm.loop);
	trace_finish(&vm.trace);
}

static void *clients_main(void *arg)
{
	options.failed = print_state;
	options.guest_is_up = guest_is_up;
	clients_run(&options, &counts);
	guest_stay_awake();
	clients_settle(&options, counts.suspends);
	loop_stop(&vm.loop);
	return NULL;
}

/* The main loop itself may hang. */
static void *watch_main(void *arg)
{
	uint64_t end = time_boot_ns() +
		       (options.seconds * 1000ULL + 4 * BOUND_MS) * NS_PER_MS;

	while (time_boot_ns() < end &&
	       !__atomic_load_n(&done, __ATOMIC_SEQ_CST))
		(void)usleep(100000);
	if (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
		broken("no end");
	return NULL;
}

int main(int argc, char **argv)
{
	const struct power_stats *stats = &vm.power.stats;
	pthread_t driver, watch;
	uint64_t s1;

	if (argc > 1)
		options.seconds = (unsigned int)strtoul(argv[1], NULL, 10);
	options.seed = argc > 2 ? strtoull(argv[2], NULL, 10)
				: time_boot_ns() % 1000000;
	seed = (unsigned int)options.seed;
	expect(mkdtemp(dir) != NULL, "temporary directory");
	__sanitizer_set_death_callback(remove_files);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
	options.socket = socket_path;
	make_vm(socket_path);
	(void)printf("%u clients, %u vCPUs, %u s, seed %llu\n", CLIENTS_NR,
		     cfg.cpus, options.seconds,
		     (unsigned long long)options.seed);
	(void)fflush(stdout);
	expect(pthread_create(&driver, NULL, clients_main, NULL) == 0,
	       "thread of the clients");
	expect(pthread_create(&watch, NULL, watch_main, NULL) == 0,
	       "thread that watches");
	expect(loop_run(&vm.loop) == 0, "event loop");
	(void)pthread_join(driver, NULL);
	check_end();
	unmake_vm();
	__atomic_store_n(&done, true, __ATOMIC_SEQ_CST);
	(void)pthread_join(watch, NULL);
	remove_files();
	s1 = stats->sleeps[POWER_SLEEP_S1][POWER_BY_GUEST] +
	     stats->sleeps[POWER_SLEEP_S1][POWER_BY_REQUEST];
	(void)printf("ok - %llu calls answered, %llu by errors; %llu suspends, "
		     "%llu asleep; %llu malformed, %llu closed, %llu events; "
		     "%llu sleeps, %llu of them S1, %llu pauses, %u devices "
		     "failed\n",
		     (unsigned long long)counts.calls,
		     (unsigned long long)counts.errors,
		     (unsigned long long)counts.suspends,
		     (unsigned long long)counts.asleep,
		     (unsigned long long)counts.malformed,
		     (unsigned long long)counts.closed,
		     (unsigned long long)counts.events,
		     (unsigned long long)vm.power.cycles,
		     (unsigned long long)s1, (unsigned long long)stats->pauses,
		     devices.fails_told);
	return 0;
}
