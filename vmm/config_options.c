/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each option of `torpor run` does with its value, and the table of them.
 * Main thread. Spelling follows crosvm where both have the thing.
 */
#define _GNU_SOURCE
#include "vmm/config_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/control_socket.h"

/* --- scalars --- */

static int set_string(char **dst, const char *value, struct err *err)
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
	return set_string(&cfg->initrd, value, err);
}

int config_set_kernel(struct vm_config *cfg, const char *value, struct err *err)
{
	return set_string(&cfg->kernel, value, err);
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
	return set_string(&cfg->socket, value, err);
}

static int set_name(struct vm_config *cfg, const char *value, struct err *err)
{
	size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (n == 0 || n > 63 || value[n])
		return err_set(err, -EINVAL,
			       "use 1 to 63 letters, digits, '.', '_' or '-'");
	return set_string(&cfg->name, value, err);
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
	return set_string(&cfg->device_exe, value, err);
}

static int set_cfg(struct vm_config *cfg, const char *value, struct err *err)
{
	return config_parse_file(cfg, value, err);
}

/* --- structured options --- */

static int unknown_key(const struct config_kv *kv, const char *known,
		       struct err *err)
{
	return err_set(err, -EINVAL,
		       "unknown key '%.64s'; known: %s (a comma in a path: "
		       "path=\"a,b\")",
		       kv->key, known);
}

/* Puts the key in front of what the value's parser said. */
static int wrong_value(const struct config_kv *kv, const struct err *why,
		       struct err *err)
{
	return err_set(err, -EINVAL, "%s=%.64s: %s", kv->key, kv->value,
		       why->msg);
}

static int parse_id(const char *value, char id[21], struct err *err)
{
	size_t n = strlen(value);

	if (n == 0 || n > 20)
		return err_set(err, -EINVAL, "use 1 to 20 characters");
	for (size_t i = 0; i < n; i++) {
		if (value[i] < 0x21 || value[i] > 0x7e)
			return err_set(err, -EINVAL,
				       "use printable ASCII without spaces");
	}
	memcpy(id, value, n + 1);
	return 0;
}

static int parse_engine(const char *value, enum block_engine *ret,
			struct err *err)
{
	static const char *const words[] = { "auto", "uring", "threads", NULL };
	static const enum block_engine engines[] = { BLOCK_ENGINE_AUTO,
						     BLOCK_ENGINE_URING,
						     BLOCK_ENGINE_THREADS };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	*ret = engines[i];
	return 0;
}

static int block_key(struct block_config *b, const struct config_kv *kv,
		     struct err *err)
{
	struct err why;
	int r;

	if (config_key_is(kv->key, "path"))
		r = set_string(&b->path, kv->value, &why);
	else if (config_key_is(kv->key, "ro"))
		r = config_parse_bool(kv->value, &b->ro, &why);
	else if (config_key_is(kv->key, "o_direct"))
		r = config_parse_bool(kv->value, &b->o_direct, &why);
	else if (config_key_is(kv->key, "sparse"))
		r = config_parse_bool(kv->value, &b->sparse, &why);
	else if (config_key_is(kv->key, "id"))
		r = parse_id(kv->value, b->id, &why);
	else if (config_key_is(kv->key, "engine"))
		r = parse_engine(kv->value, &b->engine, &why);
	else
		return unknown_key(kv, "path, ro, o_direct, sparse, id, engine",
				   err);
	return r < 0 ? wrong_value(kv, &why, err) : 0;
}

static int set_block(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err)
{
	struct block_config b = { .sparse = true };
	int r = 0;

	for (unsigned int i = 0; i < kvs->nr && r == 0; i++)
		r = block_key(&b, &kvs->kv[i], err);
	if (r == 0 && !b.path)
		r = err_set(err, -EINVAL, "names no image; give path=FILE");
	if (r == 0 && cfg->nr_blocks == CONFIG_MAX_BLOCKS)
		r = err_set(err, -EINVAL, "too many; at most %d disks",
			    CONFIG_MAX_BLOCKS);
	if (r < 0) {
		free(b.path);
		return r;
	}
	cfg->blocks[cfg->nr_blocks++] = b;
	return 0;
}

static int parse_tap_name(const char *value, char **ret, struct err *err)
{
	size_t n = strlen(value);

	if (n == 0 || n >= IFNAMSIZ || strpbrk(value, "/ %:"))
		return err_set(err, -EINVAL,
			       "not an interface name; use 1 to %d characters",
			       IFNAMSIZ - 1);
	return set_string(ret, value, err);
}

static int parse_tap_fd(const char *value, int *ret, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n <= 2 || n > INT32_MAX)
		return err_set(err, -EINVAL,
			       "not an fd; use the number of an inherited one, "
			       "3 or more");
	if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -EINVAL,
			       "is not open; pass the tap's fd to torpor");
	*ret = (int)n;
	return 0;
}

static int parse_mac(const char *value, struct net_config *n, struct err *err)
{
	uint8_t mac[6] = { 0 };
	bool good = strlen(value) == 17;

	for (int i = 0; i < 17 && good; i++) {
		const char *digits = "0123456789abcdef";
		const char *d;

		if (i % 3 == 2) {
			good = value[i] == ':';
			continue;
		}
		d = strchr(digits, value[i] | 0x20);
		good = d && value[i] != '\0' && value[i] >= '0';
		if (good)
			mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (d - digits));
	}
	if (!good)
		return err_set(err, -EINVAL,
			       "not a MAC address; use 02:00:00:00:00:01");
	if ((mac[0] & 1) || !memcmp(mac, "\0\0\0\0\0\0", 6))
		return err_set(err, -EINVAL,
			       "not the address of one card; use "
			       "02:00:00:00:00:01");
	memcpy(n->mac, mac, sizeof(mac));
	n->mac_set = true;
	return 0;
}

static int parse_net_wake(const char *value, bool *ret_unicast, struct err *err)
{
	static const char *const words[] = { "filter", "unicast", NULL };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	*ret_unicast = i == 1;
	return 0;
}

static int net_key(struct net_config *n, const struct config_kv *kv,
		   struct err *err)
{
	struct err why;
	int r;

	if (config_key_is(kv->key, "tap-name"))
		r = parse_tap_name(kv->value, &n->tap_name, &why);
	else if (config_key_is(kv->key, "tap-fd"))
		r = parse_tap_fd(kv->value, &n->tap_fd, &why);
	else if (config_key_is(kv->key, "mac"))
		r = parse_mac(kv->value, n, &why);
	else if (config_key_is(kv->key, "wake"))
		r = parse_net_wake(kv->value, &n->wake_unicast, &why);
	else
		return unknown_key(kv, "tap-name, tap-fd, mac, wake", err);
	return r < 0 ? wrong_value(kv, &why, err) : 0;
}

static int check_net(const struct vm_config *cfg, const struct net_config *n,
		     struct err *err)
{
	if (!n->tap_name == (n->tap_fd < 0))
		return err_set(err, -EINVAL,
			       "give one of tap-name=NAME and tap-fd=N");
	if (cfg->nr_nets == CONFIG_MAX_NETS)
		return err_set(err, -EINVAL, "too many; at most %d cards",
			       CONFIG_MAX_NETS);
	for (unsigned int i = 0; i < cfg->nr_nets; i++) {
		const struct net_config *o = &cfg->nets[i];

		if ((n->tap_fd >= 0 && o->tap_fd == n->tap_fd) ||
		    (n->tap_name && o->tap_name &&
		     !strcmp(n->tap_name, o->tap_name)))
			return err_set(err, -EINVAL,
				       "the same tap twice; each card needs "
				       "its own");
	}
	return 0;
}

static int set_net(struct vm_config *cfg, const struct config_kvs *kvs,
		   struct err *err)
{
	struct net_config n = { .tap_fd = -1 };
	int r = 0;

	for (unsigned int i = 0; i < kvs->nr && r == 0; i++)
		r = net_key(&n, &kvs->kv[i], err);
	if (r == 0)
		r = check_net(cfg, &n, err);
	if (r < 0) {
		free(n.tap_name);
		return r;
	}
	cfg->nets[cfg->nr_nets++] = n;
	return 0;
}

static int parse_char_type(const char *value, enum char_type *ret,
			   struct err *err)
{
	static const char *const words[] = { "none", "stdio", "stdout",
					     "file", "pty",   NULL };
	static const enum char_type types[] = { CHAR_NONE, CHAR_STDIO,
						CHAR_STDOUT, CHAR_FILE,
						CHAR_PTY };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	*ret = types[i];
	return 0;
}

static int parse_char(const struct config_kvs *kvs, struct char_config *c,
		      struct err *err)
{
	bool typed = false;

	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct err why;
		int r;

		if (config_key_is(kv->key, "type")) {
			r = parse_char_type(kv->value, &c->type, &why);
			typed = true;
		} else if (config_key_is(kv->key, "path")) {
			r = set_string(&c->path, kv->value, &why);
		} else {
			return unknown_key(kv, "type, path", err);
		}
		if (r < 0)
			return wrong_value(kv, &why, err);
	}
	if (!typed)
		return err_set(err, -EINVAL,
			       "give type=stdio, stdout, file, pty or none");
	if (c->type == CHAR_FILE && !c->path)
		return err_set(err, -EINVAL, "type=file needs path=FILE");
	if (c->path && c->type != CHAR_FILE && c->type != CHAR_PTY)
		return err_set(err, -EINVAL,
			       "path= is for type=file and type=pty");
	return 0;
}

static int set_serial(struct vm_config *cfg, const struct config_kvs *kvs,
		      struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(kvs, &c, err);

	if (r < 0) {
		free(c.path);
		return r;
	}
	free(cfg->serial.path);
	cfg->serial = c;
	return 0;
}

static int set_console(struct vm_config *cfg, const struct config_kvs *kvs,
		       struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(kvs, &c, err);

	if (r == 0 && cfg->nr_consoles == CONFIG_MAX_CONSOLES)
		r = err_set(err, -EINVAL, "too many; at most %d consoles",
			    CONFIG_MAX_CONSOLES);
	if (r < 0) {
		free(c.path);
		return r;
	}
	cfg->consoles[cfg->nr_consoles++] = c;
	return 0;
}

static int set_wake(struct vm_config *cfg, const struct config_kvs *kvs,
		    struct err *err)
{
	static const char *const words[] = { "off", "on", NULL };

	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct wake_config *wake = &cfg->wakes[cfg->nr_wakes];
		struct err why;
		int w = config_parse_word(kv->value, words, &why);

		if (w < 0)
			return wrong_value(kv, &why, err);
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
			return wrong_value(kv, &why, err);
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
	  "kernel command line; several are joined by a space",
	  .set = set_params },
	{ "initrd", 'i', false, "FILE", "initial RAM disk", .set = set_initrd },
	{ "block", 'b', true, "PATH[,KEY=VALUE...]",
	  "a disk from a raw image. Keys:\n"
	  "ro=true|false        the guest cannot write (\"ro\" will do)\n"
	  "o_direct=true|false  past the host's page cache\n"
	  "sparse=true|false    discard punches holes (default true)\n"
	  "id=TEXT              serial number, at most 20 characters\n"
	  "engine=auto|uring|threads\n"
	  "path=\"FILE\"          a path that holds a comma",
	  .set_kvs = set_block, .first_key = "path" },
	{ "net", 0, true, "tap-name=NAME|tap-fd=N[,KEY=VALUE...]",
	  "a network card on a tap device, opened by name or\n"
	  "inherited as an fd. Keys:\n"
	  "mac=MAC              its address (default: random)\n"
	  "wake=filter|unicast  packets that may wake the guest: those\n"
	  "                     its receive filter lets in (default),\n"
	  "                     or only those to its own address",
	  .set_kvs = set_net },
	{ "shared-dir", 0, true, "PATH:TAG[:KEY=VALUE...]",
	  "a directory of the host for the guest, where TAG names it\n"
	  "(mount -t virtiofs TAG DIR). Keys:\n"
	  "cache=auto|always|never  what the guest keeps (default auto);\n"
	  "                     always if nobody else writes to it\n"
	  "timeout=SECONDS      how long names and attributes are valid\n"
	  "                     (default 5; with cache=never 0)\n"
	  "writeback=true|false the guest writes later (default false)\n"
	  "locks=true|false     its locks are the host's (default false)\n"
	  "type=fs              the one type there is",
	  .set_kvs = config_set_share, .colons = true },
	{ "vsock", 0, false, "cid=N[,socket=PATH]",
	  "connections between programs of the guest and sockets of the\n"
	  "host, by the guest's CID (3 or more). To connect to port P of\n"
	  "the guest, a program of the host connects to PATH and sends\n"
	  "\"CONNECT P\"; the guest's connections to port P of CID 2 go\n"
	  "to PATH_P (default PATH: that of --socket, with .vsock)",
	  .set_kvs = config_set_vsock, .first_key = "cid" },
	{ "cid", 0, false, "N", "the same as --vsock cid=N",
	  .set = config_set_cid },
	{ "serial", 0, false, "type=TYPE[,path=FILE]",
	  "where the serial port goes: stdio (default; Ctrl-A x\n"
	  "leaves), stdout, file (to path), pty (path: a link to\n"
	  "make to it) or none",
	  .set_kvs = set_serial, .first_key = "type" },
	{ "console", 0, true, "type=TYPE[,path=FILE]",
	  "a virtio console; types as for --serial", .set_kvs = set_console,
	  .first_key = "type" },
	{ "no-rng", 0, false, NULL, "no virtio entropy device",
	  .set = set_no_rng },
	{ "hugepages", 0, false, NULL,
	  "guest memory from the host's huge pages", .set = set_hugepages },
	{ "socket", 's', false, "PATH",
	  "control socket; 'torpor suspend PATH' and others use it",
	  .set = set_socket },
	{ "name", 0, false, "NAME", "name of the VM (default torpor)",
	  .set = set_name },
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
