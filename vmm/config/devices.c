/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that make a device: --block, --net, --serial, --console, --rng.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/config/options.h"

/* For a value that was split at its commas. */
#define COMMA_HINT "for a path with a comma: path=\"a,b\""

static int parse_id(const struct config_key *key, const char *value,
		    void *field, struct err *err)
{
	size_t n = strlen(value);

	if (n == 0 || n > 20)
		return err_set(err, -EINVAL, "use 1 to 20 characters");
	for (size_t i = 0; i < n; i++) {
		if (value[i] < 0x21 || value[i] > 0x7e)
			return err_set(err, -EINVAL,
				       "use printable ASCII without spaces");
	}
	memcpy(field, value, n + 1);
	return 0;
}

/* There is one format; naming it turns the check of the image off. */
static int parse_format(const struct config_key *key, const char *value,
			void *field, struct err *err)
{
	int i = config_parse_word(value, key->words, err);

	if (i < 0)
		return i;
	*(bool *)field = true;
	return 0;
}

#define BLOCK(field) offsetof(struct block_config, field)

static const char *const format_words[] = { "raw", NULL };

static const struct config_key block_keys[] = {
	{ "path", config_value_string, BLOCK(path), .arg = "\"FILE\"",
	  .help = "a path that holds a comma" },
	{ "ro", config_value_bool, BLOCK(ro),
	  .help = "the guest cannot write (short: \"ro\")" },
	{ "o_direct", config_value_bool, BLOCK(o_direct),
	  .help = "bypass the host's page cache" },
	{ "sparse", config_value_bool, BLOCK(sparse),
	  .help = "discard punches holes into the image\n"
		  "(default true)" },
	{ "format", parse_format, BLOCK(raw), format_words,
	  .help = "raw, even if it looks like qcow2 or such" },
	{ "id", parse_id, BLOCK(id), .arg = "TEXT",
	  .help = "serial number, at most 20 characters" },
	{ "engine", config_value_word, BLOCK(engine), blk_engine_words,
	  .help = "how the I/O is done (default auto)" },
	{ "suspend", config_value_word, BLOCK(suspend), suspend_mode_words,
	  .help = "VIRTIO_F_SUSPEND as in virtio 1.4\n"
		  "(default) or in its 2024 draft" },
	{ NULL },
};

static int set_block(struct vm_config *cfg, const struct config_pairs *pairs,
		     struct err *err)
{
	struct block_config b = { .sparse = true };
	int r = config_keys_apply(block_keys, COMMA_HINT, pairs, &b, err);

	if (r == 0 && !b.path)
		r = err_set(err, -EINVAL,
			    "the image is missing; give path=FILE");
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

static unsigned int count_block(const struct vm_config *cfg)
{
	return cfg->nr_blocks;
}

static void finish_block(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_blocks; i++)
		free(cfg->blocks[i].path);
}

const struct config_group config_blk = {
	.keys = block_keys,
	.set = set_block,
	.count = count_block,
	.noun = "disks",
	.finish = finish_block,
};

static int parse_tap_name(const struct config_key *key, const char *value,
			  void *field, struct err *err)
{
	size_t n = strlen(value);

	if (n == 0 || n >= IFNAMSIZ || strpbrk(value, "/ %:"))
		return err_set(err, -EINVAL,
			       "not an interface name; use 1 to %d characters",
			       IFNAMSIZ - 1);
	return config_value_string(key, value, field, err);
}

static int parse_tap_fd(const struct config_key *key, const char *value,
			void *field, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n <= 2 || n > INT32_MAX)
		return err_set(err, -EINVAL,
			       "not an fd; use the number of an inherited fd, "
			       "3 or more");
	if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -EINVAL,
			       "is not open; pass the tap's fd to torpor");
	*(int *)field = (int)n;
	return 0;
}

/* Old drivers take the draft's bit 42 for VIRTIO_NET_F_GUEST_RSC6. */
static int parse_net_suspend(const struct config_key *key, const char *value,
			     void *field, struct err *err)
{
	if (!strcmp(value, "draft") || !strcmp(value, "both"))
		return err_set(err, -EINVAL,
			       "the draft's bit breaks network drivers of "
			       "Windows; if the guest has none, use force-%s",
			       value);
	return config_value_word(key, value, field, err);
}

static int parse_net_wake(const struct config_key *key, const char *value,
			  void *field, struct err *err)
{
	int i = config_parse_word(value, key->words, err);

	if (i < 0)
		return i;
	*(bool *)field = i == 1;
	return 0;
}

#define NET(field) offsetof(struct config_net, field)

static const char *const net_wake_words[] = { "filter", "unicast", NULL };
static const char *const net_suspend_words[] = {
	[SUSPEND_V14] = "v14",
	[SUSPEND_DRAFT] = "force-draft",
	[SUSPEND_BOTH] = "force-both",
	[SUSPEND_OFF] = "off",
	NULL,
};

static const struct config_key net_keys[] = {
	{ "tap-name", parse_tap_name, NET(tap_name), .arg = "NAME",
	  .help = "a tap device of the host" },
	{ "tap-fd", parse_tap_fd, NET(tap_fd), .arg = "N",
	  .help = "an inherited fd of a tap device" },
	{ "mac", config_value_mac, NET(mac), .arg = "MAC",
	  .help = "MAC address (default: random)" },
	{ "wake", parse_net_wake, NET(wake_unicast), net_wake_words,
	  .help = "packets that may wake the guest: those\n"
		  "that its receive filter accepts (default),\n"
		  "or only those to its own address" },
	{ "suspend", parse_net_suspend, NET(suspend), net_suspend_words,
	  .help = "as for --block" },
	{ NULL },
};

static int check_net(const struct vm_config *cfg, const struct config_net *n,
		     struct err *err)
{
	if (!n->tap_name == (n->tap_fd < 0))
		return err_set(err, -EINVAL,
			       "give either tap-name=NAME or tap-fd=N");
	if (cfg->nr_nets == CONFIG_MAX_NETS)
		return err_set(err, -EINVAL, "too many; at most %d NICs",
			       CONFIG_MAX_NETS);
	for (unsigned int i = 0; i < cfg->nr_nets; i++) {
		const struct config_net *o = &cfg->nets[i];

		if ((n->tap_fd >= 0 && o->tap_fd == n->tap_fd) ||
		    (n->tap_name && o->tap_name &&
		     !strcmp(n->tap_name, o->tap_name)))
			return err_set(err, -EINVAL,
				       "the same tap twice; each NIC needs "
				       "its own");
	}
	return 0;
}

/* A lone word is probably the name of a tap. Return: @buf or NULL. */
static const char *net_hint(const struct config_pairs *pairs, char *buf,
			    size_t size)
{
	for (unsigned int i = 0; i < pairs->nr; i++) {
		if (strcmp(pairs->pair[i].value, "true") != 0)
			continue;
		(void)snprintf(buf, size, "if it is a tap, use tap-name=%.64s",
			       pairs->pair[i].key);
		return buf;
	}
	return NULL;
}

static int set_net(struct vm_config *cfg, const struct config_pairs *pairs,
		   struct err *err)
{
	struct config_net n = { .tap_fd = -1 };
	char hint[128];
	int r = config_keys_apply(net_keys, net_hint(pairs, hint, sizeof(hint)),
				  pairs, &n, err);

	if (r == 0)
		r = check_net(cfg, &n, err);
	if (r < 0) {
		free(n.tap_name);
		return r;
	}
	cfg->nets[cfg->nr_nets++] = n;
	return 0;
}

static unsigned int count_net(const struct vm_config *cfg)
{
	return cfg->nr_nets;
}

static void finish_net(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_nets; i++) {
		free(cfg->nets[i].tap_name);
		/* A zeroed entry would name stdin. */
		if (cfg->nets[i].tap_fd > STDERR_FILENO)
			fd_close(&cfg->nets[i].tap_fd);
	}
}

const struct config_group config_net = {
	.keys = net_keys,
	.set = set_net,
	.count = count_net,
	.noun = "NICs",
	.finish = finish_net,
};

#define CHAR(field) offsetof(struct char_config, field)

static const struct config_key serial_keys[] = {
	{ "type", config_value_word, CHAR(type), char_type_words,
	  .help = "stdio is the default (Ctrl-A x\n"
		  "leaves); file is appended to" },
	{ "path", config_value_string, CHAR(path), .arg = "FILE",
	  .help = "the file; for pty, a link to create to it" },
	{ NULL },
};

static const struct config_key console_keys[] = {
	{ "type", config_value_word, CHAR(type), char_type_words,
	  .help = "as for --serial" },
	{ "path", config_value_string, CHAR(path), .arg = "FILE",
	  .help = "as for --serial" },
	{ "suspend", config_value_word, CHAR(suspend), suspend_mode_words,
	  .help = "as for --block" },
	{ NULL },
};

static int parse_char(const struct config_key *keys,
		      const struct config_pairs *pairs, struct char_config *c,
		      struct err *err)
{
	int r = config_keys_apply(keys, COMMA_HINT, pairs, c, err);

	if (r < 0)
		return r;
	if (!config_pairs_have(pairs, "type"))
		return err_set(err, -EINVAL,
			       "give type=stdio, stdout, file, pty or none");
	if (c->type == CHAR_FILE && !c->path)
		return err_set(err, -EINVAL, "type=file needs path=FILE");
	if (c->path && c->type != CHAR_FILE && c->type != CHAR_PTY)
		return err_set(err, -EINVAL,
			       "path= is for type=file and type=pty");
	return 0;
}

static int set_serial(struct vm_config *cfg, const struct config_pairs *pairs,
		      struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(serial_keys, pairs, &c, err);

	if (r < 0) {
		free(c.path);
		return r;
	}
	free(cfg->serial.path);
	cfg->serial = c;
	return 0;
}

static void finish_serial(struct vm_config *cfg)
{
	free(cfg->serial.path);
}

const struct config_group config_serial = {
	.keys = serial_keys,
	.set = set_serial,
	.finish = finish_serial,
};

static int set_console(struct vm_config *cfg, const struct config_pairs *pairs,
		       struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(console_keys, pairs, &c, err);

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

static unsigned int count_console(const struct vm_config *cfg)
{
	return cfg->nr_consoles;
}

static void finish_console(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		free(cfg->consoles[i].path);
}

const struct config_group config_console = {
	.keys = console_keys,
	.set = set_console,
	.count = count_console,
	.noun = "consoles",
	.finish = finish_console,
};

static const struct config_key rng_keys[] = {
	{ "suspend", config_value_word, offsetof(struct vm_config, rng_suspend),
	  suspend_mode_words, .help = "as for --block" },
	{ NULL },
};

static int set_rng(struct vm_config *cfg, const struct config_pairs *pairs,
		   struct err *err)
{
	return config_keys_apply(rng_keys, NULL, pairs, cfg, err);
}

static unsigned int count_rng(const struct vm_config *cfg)
{
	return cfg->rng;
}

const struct config_group config_rng = {
	.keys = rng_keys,
	.set = set_rng,
	.count = count_rng,
	.noun = "rng",
};
