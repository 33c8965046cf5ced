/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of `torpor run`'s options, and the lookups in it. Main thread.
 * Options that crosvm has too are spelled as there.
 */
#define _GNU_SOURCE
#include "vmm/config/options.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "vmm/base/socket_file.h"
#include "vmm/config/foreign.h"

#define MAX_GUESS 24 /* bytes; longer names are not compared */

/* --- values of one option --- */

static int parse_mem(const struct config_key *key, const char *value,
		     void *field, struct err *err)
{
	uint64_t mib = 0;
	const char *end = config_parse_u64(value, &mib);

	if (!end || (*end && *end != 'M' && *end != 'G') || (*end && end[1]))
		return err_set(
			err, -EINVAL,
			"not a size; use MiB (256) or a suffix (256M, 1G)");
	if (*end == 'G' && __builtin_mul_overflow(mib, 1024, &mib))
		mib = UINT64_MAX;
	if (mib < CONFIG_MEM_MIN_MIB || mib > CONFIG_MEM_MAX_MIB)
		return err_set(err, -EINVAL,
			       "out of range; use %u MiB to %u MiB (64 GiB)",
			       CONFIG_MEM_MIN_MIB, CONFIG_MEM_MAX_MIB);
	*(uint64_t *)field = mib;
	return 0;
}

/* Repeated options are joined by a space. */
static int parse_params(const struct config_key *key, const char *value,
			void *field, struct err *err)
{
	char **params = field, *joined;
	int n;

	n = asprintf(&joined, "%s%s%s", *params ? *params : "",
		     *params && *value ? " " : "", value);
	if (n < 0)
		return err_set_errno(err, -ENOMEM, "cannot store it");
	if (n >= ARCH_CMDLINE_MAX) {
		free(joined);
		return err_set(err, -EINVAL,
			       "the kernel command line would be %d bytes; "
			       "at most %d fit",
			       n, ARCH_CMDLINE_MAX - 1);
	}
	free(*params);
	*params = joined;
	return 0;
}

/* The value of a flag that leaves something out. */
static int parse_not(const struct config_key *key, const char *value,
		     void *field, struct err *err)
{
	bool off = false;
	int r = config_value_bool(key, value, &off, err);

	if (r == 0)
		*(bool *)field = !off;
	return r;
}

static int parse_disable_sandbox(const struct config_key *key,
				 const char *value, void *field,
				 struct err *err)
{
	bool off = false;
	int r = config_value_bool(key, value, &off, err);

	if (r == 0)
		*(enum sandbox_mode *)field = off ? SANDBOX_OFF : SANDBOX_FULL;
	return r;
}

static int parse_name(const struct config_key *key, const char *value,
		      void *field, struct err *err)
{
	size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (n == 0 || n > 63 || value[n])
		return err_set(err, -EINVAL,
			       "use 1 to 63 letters, digits, '.', '_' or '-'");
	return config_value_string(key, value, field, err);
}

/* --- structured options --- */

/* The keys are names of wake sources, which only the VM knows. */
static int set_wake(struct vm_config *cfg, const struct config_pairs *pairs,
		    struct err *err)
{
	static const char *const words[] = { "off", "on", NULL };

	for (unsigned int i = 0; i < pairs->nr; i++) {
		const struct config_pair *pair = &pairs->pair[i];
		struct wake_config *wake = &cfg->wakes[cfg->nr_wakes];
		struct err why;
		int w = config_parse_word(pair->value, words, &why);

		if (w < 0 && !strcmp(pair->value, "true"))
			return err_set(err, -EINVAL,
				       "use %.64s=on or %.64s=off", pair->key,
				       pair->key);
		if (w < 0)
			return config_wrong_value(pair, &why, err);
		if (strlen(pair->key) >= CONFIG_NAME_BYTES)
			return err_set(err, -EINVAL,
				       "no wake source is called '%.64s'",
				       pair->key);
		if (cfg->nr_wakes == CONFIG_MAX_WAKES)
			return err_set(err, -EINVAL,
				       "too many; at most %d wake sources",
				       CONFIG_MAX_WAKES);
		(void)snprintf(wake->name, sizeof(wake->name), "%s", pair->key);
		wake->on = w == 1;
		cfg->nr_wakes++;
	}
	return 0;
}

static const struct config_group group_wake = { .set = set_wake };

static const struct config_key cpu_keys[] = {
	{ "invtsc", config_value_word, offsetof(struct vm_config, invtsc),
	  tristate_words,
	  .help = "report the guest's TSC as invariant\n"
		  "(default auto: if the host's is)" },
	{ NULL },
};

static int set_cpu(struct vm_config *cfg, const struct config_pairs *pairs,
		   struct err *err)
{
	return config_keys_apply(cpu_keys, NULL, pairs, cfg, err);
}

static const struct config_group group_cpu = { .keys = cpu_keys,
					       .set = set_cpu };

/* --- the table --- */

/* One value: its parser, the field of struct vm_config, and words or limits. */
#define VALUE(parser, field, ...)                               \
	.value = { .parse = (parser),                           \
		   .offset = offsetof(struct vm_config, field), \
		   __VA_ARGS__ }

const struct config_option config_options[] = {
	{ "mem", 'm', false, "MIB",
	  "guest memory in MiB, or with a suffix: 256M, 1G\n"
	  "(16 MiB to 64 GiB, default 256)",
	  VALUE(parse_mem, mem_mib) },
	{ "cpus", 'c', false, "N", "virtual CPUs (1 to 64, default 1)",
	  VALUE(config_value_number, cpus, .min = 1, .max = ARCH_MAX_VCPUS) },
	{ "params", 'p', true, "TEXT",
	  "kernel command line; repeated options are joined by a space.\n"
	  "console=ttyS0 and panic=-1 are added if it has no console= or\n"
	  "panic=",
	  VALUE(parse_params, params) },
	{ "initrd", 'i', false, "FILE", "initial RAM disk",
	  VALUE(config_value_string, initrd) },
	{ "block", 'b', true, "PATH[,KEY=VALUE...]",
	  "a disk from a raw image. Keys:", .group = &config_blk,
	  .first_key = "path" },
	{ "net", 0, true, "tap-name=NAME|tap-fd=N[,KEY=VALUE...]",
	  "a NIC on a tap device; the guest gets the tap's MTU. Keys:",
	  .group = &config_net },
	{ "shared-dir", 0, true, "PATH:TAG[:KEY=VALUE...]",
	  "shares a directory with the guest (virtio-fs), which mounts\n"
	  "it with 'mount -t virtiofs TAG /mnt'. Keys:",
	  .group = &config_fs, .colons = true },
	{ "vhost-user", 0, true, "TYPE,socket=PATH[,KEY=VALUE...]",
	  "a device served by an external vhost-user back end that\n"
	  "already listens on PATH. The back end can access all guest\n"
	  "memory. Keys:",
	  .group = &config_vhost_user, .first_key = "type" },
	{ "vsock", 0, false, "cid=N[,socket=PATH][,suspend=MODE]",
	  "connects programs of the guest with UNIX sockets of the host.\n"
	  "To reach port P of the guest, a program of the host connects\n"
	  "to PATH and sends \"CONNECT P\". The guest's connections to\n"
	  "port P of CID 2 go to PATH_P. Keys:",
	  .group = &config_vsock, .first_key = "cid" },
	{ "cid", 0, false, "N", "the same as --vsock cid=N",
	  VALUE(config_value_number, vsock.cid, .min = CONFIG_CID_MIN,
		.max = CONFIG_CID_MAX) },
	{ "vfio", 0, true, "DEVICE[,guest-slot=N][,pm=MODE][,wake=on|off]",
	  "a PCI device of the host, bound to vfio-pci: its address\n"
	  "(0000:01:00.0) or its directory in sysfs. All guest memory\n"
	  "is pinned for it (docs/pci-vfio.md). Keys:",
	  .group = &config_vfio, .first_key = "device" },
	{ "serial", 0, false, "type=TYPE[,path=FILE]",
	  "where the serial port goes. Keys:", .group = &config_serial,
	  .first_key = "type" },
	{ "console", 0, true, "type=TYPE[,path=FILE][,suspend=MODE]",
	  "a virtio console. Keys:", .group = &config_console,
	  .first_key = "type" },
	{ "rng", 0, false, "suspend=MODE",
	  "the virtio entropy device. Keys:", .group = &config_rng },
	{ "no-rng", 0, false, NULL, "no virtio entropy device",
	  VALUE(parse_not, rng) },
	{ "hugepages", 0, false, NULL,
	  "take guest memory from the host's huge pages",
	  VALUE(config_value_bool, hugepages) },
	{ "socket", 's', false, "PATH",
	  "control socket; 'torpor suspend PATH' and others use it",
	  VALUE(config_value_string, socket, .max = CONTROL_SOCKET_PATH_MAX) },
	{ "name", 0, false, "NAME", "name of the VM (default torpor)",
	  VALUE(parse_name, name) },
	{ "cgroup", 0, false, "DIR",
	  "existing cgroup v2 directory that all processes of the VM\n"
	  "enter; its limits (memory.max, pids.max ...) are yours to set",
	  VALUE(config_value_string, cgroup) },
	{ "sandbox", 0, false, "full|weak|off",
	  "jail of the device processes (default full): weak if the host\n"
	  "allows no user namespaces, off for debugging only",
	  VALUE(config_value_word, sandbox, .words = sandbox_mode_words) },
	{ "disable-sandbox", 0, false, NULL, "the same as --sandbox off",
	  VALUE(parse_disable_sandbox, sandbox) },
	{ "wake", 0, true, "NAME=on|off[,NAME=on|off...]",
	  "sources that may wake a sleeping guest, if the guest has\n"
	  "enabled them too (default: all): powerbtn, sleepbtn, rtc,\n"
	  "serial, net0 ...",
	  .group = &group_wake },
	{ "wake-storm", 0, false, "N",
	  "a source other than a button or the launcher that ends N\n"
	  "consecutive sleeps of less than a second does not wake the\n"
	  "guest for 10 s (default 50, 0: off)",
	  VALUE(config_value_number, wake_storm, .max = 1000000) },
	{ "device-timeout", 0, false, "MS",
	  "time that a device has to stop for a sleep or a pause, or to\n"
	  "start again (default 5000)",
	  VALUE(config_value_number, device_timeout_ms, .min = 1,
		.max = 3600000) },
	{ "irqchip", 0, false, "split|kernel",
	  "interrupt controller (default split); kernel supports at most\n"
	  "16 virtio devices",
	  VALUE(config_value_word, irqchip, .words = irqchip_mode_words) },
	{ "cpu", 0, false, "KEY=VALUE",
	  "the guest's CPU. Keys:", .group = &group_cpu },
	{ "log-level", 0, false, "LEVEL",
	  "error, warn, info (default) or debug",
	  VALUE(config_value_word, log_level, .words = log_level_words) },
	{ "device-exe", 0, false, "PATH",
	  "the torpor-device program (default: in torpor's directory)",
	  VALUE(config_value_string, device_exe) },
	{ "cfg", 0, false, "FILE",
	  "read options from a JSON file, at this place among the\n"
	  "options: later options win",
	  .is_file = true },
	{ NULL },
};

int config_set_kernel(struct vm_config *cfg, const char *value, struct err *err)
{
	static const struct config_key any = { 0 };

	return config_value_string(&any, value, &cfg->kernel, err);
}

/* --- lookups --- */

const struct config_option *config_option_find(const char *name)
{
	for (const struct config_option *o = config_options; o->name; o++) {
		if (!strcmp(name, o->name))
			return o;
	}
	return NULL;
}

/* Edit distance of two short words. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[MAX_GUESS + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > MAX_GUESS || lb > MAX_GUESS)
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(row[j], row[j - 1]) + 1;
			if (change < row[j])
				row[j] = change;
		}
	}
	return row[lb];
}

const char *config_option_guess(const char *name)
{
	const char *best = NULL;
	unsigned int best_d = UINT32_MAX;

	for (const struct config_option *o = config_options; o->name; o++) {
		unsigned int d = distance(name, o->name);
		/* In a short word two letters are half of the word. */
		unsigned int near = strlen(o->name) > 4 ? 2 : 1;

		if (d <= near && d < best_d) {
			best = o->name;
			best_d = d;
		}
	}
	return best;
}

int config_option_apply(struct vm_config *cfg, const struct config_option *opt,
			const char *value, struct err *err)
{
	struct config_pairs pairs = { 0 };
	const char *foreign;
	int r;

	assert(!opt->is_file);
	if (opt->value.parse)
		r = config_key_apply(&opt->value, value, cfg, err);
	else if (opt->colons)
		r = config_pairs_parse_colons(value, &pairs, err);
	else
		r = config_pairs_parse(value, opt->first_key, &pairs, err);
	if (r == 0 && opt->group)
		r = opt->group->set(cfg, &pairs, err);
	config_pairs_finish(&pairs);
	foreign = r < 0 ? config_foreign_value(opt->name, value) : NULL;
	return foreign ? err_set(err, r, "%s", foreign) : r;
}
