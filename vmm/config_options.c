/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each option of `torpor run` does with its value, and the table of them.
 * Main thread. Spelling follows crosvm where both have the thing.
 */
#define _GNU_SOURCE
#include "vmm/config_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/control_socket.h"

/* --- scalars --- */

int config_set_string(char **dst, const char *value, struct err *err)
{
	char *copy;

	if (!*value)
		return err_set(err, -EINVAL, "is empty; give a value");
	copy = strdup(value);
	if (!copy)
		return err_set_errno(err, -ENOMEM, "cannot keep it");
	free(*dst);
	*dst = copy;
	return 0;
}

int config_parse_bool(const char *value, bool *ret, struct err *err)
{
	if (!strcmp(value, "true"))
		*ret = true;
	else if (!strcmp(value, "false"))
		*ret = false;
	else
		return err_set(err, -EINVAL, "use true or false");
	return 0;
}

const char *config_parse_u64(const char *p, uint64_t *ret)
{
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return NULL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return NULL;
	}
	*ret = v;
	return p;
}

int config_parse_word(const char *value, const char *const *words,
		      struct err *err)
{
	char list[128] = "";
	size_t len = 0;

	for (int i = 0; words[i]; i++) {
		if (!strcmp(value, words[i]))
			return i;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
					len ? ", " : "", words[i]);
	}
	return err_set(err, -EINVAL, "use one of %s", list);
}

int config_unknown_key(const struct config_kv *kv, const char *known,
		       struct err *err)
{
	return err_set(err, -EINVAL,
		       "unknown key '%.64s'; known: %s (a comma in a path: "
		       "path=\"a,b\")",
		       kv->key, known);
}

int config_wrong_value(const struct config_kv *kv, const struct err *why,
		       struct err *err)
{
	return err_set(err, -EINVAL, "%s=%.64s: %s", kv->key, kv->value,
		       why->msg);
}

static int set_mem(struct vm_config *cfg, const char *value, struct err *err)
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
	cfg->mem_mib = mib;
	return 0;
}

static int set_number(const char *value, uint64_t min, uint64_t max,
		      unsigned int *ret, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < min || n > max)
		return err_set(err, -EINVAL, "use a number from %llu to %llu",
			       (unsigned long long)min,
			       (unsigned long long)max);
	*ret = (unsigned int)n;
	return 0;
}

static int set_cpus(struct vm_config *cfg, const char *value, struct err *err)
{
	return set_number(value, 1, LAYOUT_MAX_VCPUS, &cfg->cpus, err);
}

static int set_wake_storm(struct vm_config *cfg, const char *value,
			  struct err *err)
{
	return set_number(value, 0, 1000000, &cfg->wake_storm, err);
}

static int set_device_timeout(struct vm_config *cfg, const char *value,
			      struct err *err)
{
	return set_number(value, 1, 3600000, &cfg->device_timeout_ms, err);
}

static int set_params(struct vm_config *cfg, const char *value, struct err *err)
{
	char *joined;
	int n;

	n = asprintf(&joined, "%s%s%s", cfg->params ? cfg->params : "",
		     cfg->params && *value ? " " : "", value);
	if (n < 0)
		return err_set_errno(err, -ENOMEM, "cannot keep it");
	if (n >= LAYOUT_CMDLINE_MAX) {
		free(joined);
		return err_set(err, -EINVAL,
			       "the kernel command line would be %d bytes; "
			       "at most %d fit",
			       n, LAYOUT_CMDLINE_MAX - 1);
	}
	free(cfg->params);
	cfg->params = joined;
	return 0;
}

static int set_initrd(struct vm_config *cfg, const char *value, struct err *err)
{
	return config_set_string(&cfg->initrd, value, err);
}

int config_set_kernel(struct vm_config *cfg, const char *value, struct err *err)
{
	return config_set_string(&cfg->kernel, value, err);
}

static int set_hugepages(struct vm_config *cfg, const char *value,
			 struct err *err)
{
	return config_parse_bool(value, &cfg->hugepages, err);
}

static int set_no_rng(struct vm_config *cfg, const char *value, struct err *err)
{
	bool off = false;
	int r = config_parse_bool(value, &off, err);

	if (r == 0)
		cfg->rng = !off;
	return r;
}

static int set_socket(struct vm_config *cfg, const char *value, struct err *err)
{
	if (strlen(value) > CONTROL_SOCKET_PATH_MAX)
		return err_set(err, -EINVAL,
			       "longer than %d bytes; give a shorter path",
			       CONTROL_SOCKET_PATH_MAX);
	return config_set_string(&cfg->socket, value, err);
}

static int set_name(struct vm_config *cfg, const char *value, struct err *err)
{
	size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (n == 0 || n > 63 || value[n])
		return err_set(err, -EINVAL,
			       "use 1 to 63 letters, digits, '.', '_' or '-'");
	return config_set_string(&cfg->name, value, err);
}

static int set_cgroup(struct vm_config *cfg, const char *value, struct err *err)
{
	return config_set_string(&cfg->cgroup, value, err);
}

static int set_sandbox(struct vm_config *cfg, const char *value,
		       struct err *err)
{
	static const char *const words[] = { "full", "weak", "off", NULL };
	static const enum sandbox_mode modes[] = { SANDBOX_FULL, SANDBOX_WEAK,
						   SANDBOX_OFF };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	cfg->sandbox = modes[i];
	return 0;
}

static int set_disable_sandbox(struct vm_config *cfg, const char *value,
			       struct err *err)
{
	bool off = false;
	int r = config_parse_bool(value, &off, err);

	if (r == 0)
		cfg->sandbox = off ? SANDBOX_OFF : SANDBOX_FULL;
	return r;
}

static int set_irqchip(struct vm_config *cfg, const char *value,
		       struct err *err)
{
	static const char *const words[] = { "split", "kernel", NULL };
	static const enum irqchip_mode modes[] = { IRQCHIP_SPLIT,
						   IRQCHIP_KERNEL };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	cfg->irqchip = modes[i];
	return 0;
}

static int set_log_level(struct vm_config *cfg, const char *value,
			 struct err *err)
{
	static const char *const words[] = { "error", "warn", "info", "debug",
					     NULL };
	static const enum log_level levels[] = { LOG_LEVEL_ERR, LOG_LEVEL_WARN,
						 LOG_LEVEL_INFO,
						 LOG_LEVEL_DEBUG };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	cfg->log_level = (int)levels[i];
	return 0;
}

static int set_device_exe(struct vm_config *cfg, const char *value,
			  struct err *err)
{
	return config_set_string(&cfg->device_exe, value, err);
}

static int set_cfg(struct vm_config *cfg, const char *value, struct err *err)
{
	return config_parse_file(cfg, value, err);
}

/* --- structured options --- */

static int set_wake(struct vm_config *cfg, const struct config_kvs *kvs,
		    struct err *err)
{
	static const char *const words[] = { "off", "on", NULL };

	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct wake_config *wake = &cfg->wakes[cfg->nr_wakes];
		struct err why;
		int w = config_parse_word(kv->value, words, &why);

		if (w < 0 && !strcmp(kv->value, "true"))
			return err_set(err, -EINVAL,
				       "use %.64s=on or %.64s=off", kv->key,
				       kv->key);
		if (w < 0)
			return config_wrong_value(kv, &why, err);
		if (strlen(kv->key) >= CONFIG_NAME_BYTES)
			return err_set(err, -EINVAL,
				       "no wake source is called '%.64s'",
				       kv->key);
		if (cfg->nr_wakes == CONFIG_MAX_WAKES)
			return err_set(err, -EINVAL,
				       "too many; at most %d wake sources",
				       CONFIG_MAX_WAKES);
		(void)snprintf(wake->name, sizeof(wake->name), "%s", kv->key);
		wake->on = w == 1;
		cfg->nr_wakes++;
	}
	return 0;
}

static int set_cpu(struct vm_config *cfg, const struct config_kvs *kvs,
		   struct err *err)
{
	static const char *const words[] = { "auto", "on", "off", NULL };
	static const enum tristate states[] = { TRISTATE_AUTO, TRISTATE_ON,
						TRISTATE_OFF };

	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct err why;
		int w;

		if (!config_key_is(kv->key, "invtsc"))
			return err_set(err, -EINVAL,
				       "unknown key '%.64s'; known: invtsc",
				       kv->key);
		w = config_parse_word(kv->value, words, &why);
		if (w < 0)
			return config_wrong_value(kv, &why, err);
		cfg->invtsc = states[w];
	}
	return 0;
}

/* --- the table --- */

const struct config_option config_options[] = {
	{ "mem", 'm', false, "MIB",
	  "guest memory in MiB, or with a suffix: 256M, 1G\n"
	  "(16 MiB to 64 GiB, default 256)",
	  .set = set_mem },
	{ "cpus", 'c', false, "N", "virtual CPUs (1 to 64, default 1)",
	  .set = set_cpus },
	{ "params", 'p', true, "TEXT",
	  "kernel command line; several are joined by a space.\n"
	  "console=ttyS0 and panic=-1 are added where it has none",
	  .set = set_params },
	{ "initrd", 'i', false, "FILE", "initial RAM disk", .set = set_initrd },
	{ "block", 'b', true, "PATH[,KEY=VALUE...]",
	  "a disk from a raw image. Keys:\n"
	  "ro=true|false        the guest cannot write (\"ro\" will do)\n"
	  "o_direct=true|false  past the host's page cache\n"
	  "sparse=true|false    discard punches holes (default true)\n"
	  "format=raw           raw, even if it looks like qcow2 or the like\n"
	  "id=TEXT              serial number, at most 20 characters\n"
	  "engine=auto|uring|threads\n"
	  "path=\"FILE\"          a path that holds a comma\n"
	  "suspend=v14|draft|both|off  VIRTIO_F_SUSPEND as in virtio 1.4\n"
	  "                     (default) or in the draft of 2024",
	  .set_kvs = config_set_block, .first_key = "path" },
	{ "net", 0, true, "tap-name=NAME|tap-fd=N[,KEY=VALUE...]",
	  "a network card on a tap device, opened by name or\n"
	  "inherited as an fd; the guest is told its MTU. Keys:\n"
	  "mac=MAC              its address (default: random)\n"
	  "wake=filter|unicast  packets that may wake the guest: those\n"
	  "                     its receive filter lets in (default),\n"
	  "                     or only those to its own address\n"
	  "suspend=v14|off|force-draft|force-both  as for --block",
	  .set_kvs = config_set_net },
	{ "shared-dir", 0, true, "PATH:TAG[:KEY=VALUE...]",
	  "a directory of the host for the guest, where TAG names it\n"
	  "(mount -t virtiofs TAG DIR). Keys:\n"
	  "cache=auto|always|never  what the guest keeps (default auto);\n"
	  "                     always if nobody else writes to it\n"
	  "timeout=SECONDS      how long names and attributes are valid\n"
	  "                     (default 5; with cache=never 0)\n"
	  "writeback=true|false the guest writes later (default false)\n"
	  "locks=true|false     its locks are the host's (default false)\n"
	  "suid=true|false      as root: its files may have set-id bits\n"
	  "                     (default false)\n"
	  "reserved=true|false  as root: it may fill what the file system\n"
	  "                     reserves for root (default false)\n"
	  "suspend=v14|draft|both|off  as for --block\n"
	  "type=fs              the one type there is",
	  .set_kvs = config_set_share, .colons = true },
	{ "vhost-user", 0, true, "TYPE,socket=PATH[,KEY=VALUE...]",
	  "a device of another vhost-user back end, which listens there\n"
	  "already: blk, console, fs, net or rng; it gets all of the\n"
	  "guest's memory. tag=TAG, queues=N for fs; mac=MAC for net;\n"
	  "max-queue-size=N; suspend=MODE as for --block",
	  .set_kvs = config_set_vhost_user, .first_key = "type" },
	{ "vsock", 0, false, "cid=N[,socket=PATH][,suspend=MODE]",
	  "connections between programs of the guest and sockets of the\n"
	  "host, by the guest's CID (3 or more). To connect to port P of\n"
	  "the guest, a program of the host connects to PATH and sends\n"
	  "\"CONNECT P\"; the guest's connections to port P of CID 2 go\n"
	  "to PATH_P (default PATH: that of --socket, with .vsock);\n"
	  "suspend as for --block",
	  .set_kvs = config_set_vsock, .first_key = "cid" },
	{ "cid", 0, false, "N", "the same as --vsock cid=N",
	  .set = config_set_cid },
	{ "serial", 0, false, "type=TYPE[,path=FILE]",
	  "where the serial port goes: stdio (default; Ctrl-A x\n"
	  "leaves), stdout, file (appended to path), pty (path: a\n"
	  "link to make to it) or none",
	  .set_kvs = config_set_serial, .first_key = "type" },
	{ "console", 0, true, "type=TYPE[,path=FILE][,suspend=MODE]",
	  "a virtio console; types as for --serial, suspend as for\n"
	  "--block",
	  .set_kvs = config_set_console, .first_key = "type" },
	{ "rng", 0, false, "suspend=MODE",
	  "of the virtio entropy device; suspend as for --block",
	  .set_kvs = config_set_rng },
	{ "no-rng", 0, false, NULL, "no virtio entropy device",
	  .set = set_no_rng },
	{ "hugepages", 0, false, NULL,
	  "guest memory from the host's huge pages", .set = set_hugepages },
	{ "socket", 's', false, "PATH",
	  "control socket; 'torpor suspend PATH' and others use it",
	  .set = set_socket },
	{ "name", 0, false, "NAME", "name of the VM (default torpor)",
	  .set = set_name },
	{ "cgroup", 0, false, "DIR",
	  "a cgroup v2 directory that all processes of the VM enter; its\n"
	  "limits (memory.max, pids.max ...) are yours to set",
	  .set = set_cgroup },
	{ "sandbox", 0, false, "full|weak|off",
	  "jail of the device processes (default full); weak where\n"
	  "user namespaces are not allowed; off for debugging only",
	  .set = set_sandbox },
	{ "disable-sandbox", 0, false, NULL, "the same as --sandbox off",
	  .set = set_disable_sandbox },
	{ "wake", 0, true, "NAME=on|off[,NAME=on|off...]",
	  "what may wake a sleeping guest, if the guest wants it too\n"
	  "(default: all): powerbtn, sleepbtn, rtc, serial, net0 ...",
	  .set_kvs = set_wake },
	{ "wake-storm", 0, false, "N",
	  "a source other than a button that ends N sleeps of less than\n"
	  "a second in a row does not wake for 10 s (default 50, 0: off)",
	  .set = set_wake_storm },
	{ "device-timeout", 0, false, "MS",
	  "what a device has to stop for a sleep or a pause, or to start\n"
	  "again (default 5000)",
	  .set = set_device_timeout },
	{ "irqchip", 0, false, "split|kernel",
	  "interrupt controller (default split); kernel takes at most\n"
	  "16 virtio devices",
	  .set = set_irqchip },
	{ "cpu", 0, false, "invtsc=auto|on|off",
	  "tell the guest that its TSC is invariant (auto: as the host's)",
	  .set_kvs = set_cpu },
	{ "log-level", 0, false, "LEVEL",
	  "error, warn, info (default) or debug", .set = set_log_level },
	{ "device-exe", 0, false, "PATH",
	  "the torpor-device program (default: beside torpor)",
	  .set = set_device_exe },
	{ "cfg", 0, false, "FILE",
	  "read options from a JSON file, here in the order of\n"
	  "options: what comes later wins",
	  .set = set_cfg },
	{ NULL },
};
