/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that make a device: --block, --net, --serial, --console, --rng.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "vmm/config_options.h"

int config_parse_suspend(const char *value, enum suspend_mode *ret,
			 struct err *err)
{
	static const char *const words[] = { "v14", "draft", "both", "off",
					     NULL };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	*ret = (enum suspend_mode)i;
	return 0;
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

/* There is one format, and whoever names it means it. */
static int parse_format(const char *value, bool *ret_raw, struct err *err)
{
	static const char *const words[] = { "raw", NULL };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	*ret_raw = true;
	return 0;
}

static int block_key(struct block_config *b, const struct config_kv *kv,
		     struct err *err)
{
	struct err why;
	int r;

	if (config_key_is(kv->key, "path"))
		r = config_set_string(&b->path, kv->value, &why);
	else if (config_key_is(kv->key, "ro"))
		r = config_parse_bool(kv->value, &b->ro, &why);
	else if (config_key_is(kv->key, "o_direct"))
		r = config_parse_bool(kv->value, &b->o_direct, &why);
	else if (config_key_is(kv->key, "sparse"))
		r = config_parse_bool(kv->value, &b->sparse, &why);
	else if (config_key_is(kv->key, "format"))
		r = parse_format(kv->value, &b->raw, &why);
	else if (config_key_is(kv->key, "id"))
		r = parse_id(kv->value, b->id, &why);
	else if (config_key_is(kv->key, "engine"))
		r = parse_engine(kv->value, &b->engine, &why);
	else if (config_key_is(kv->key, "suspend"))
		r = config_parse_suspend(kv->value, &b->suspend, &why);
	else
		return config_unknown_key(kv,
					  "path, ro, o_direct, sparse, "
					  "format, id, engine, suspend",
					  err);
	return r < 0 ? config_wrong_value(kv, &why, err) : 0;
}

int config_set_block(struct vm_config *cfg, const struct config_kvs *kvs,
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
	return config_set_string(ret, value, err);
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

int config_parse_mac(const char *value, uint8_t ret[6], struct err *err)
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
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

static int parse_net_mac(const char *value, struct net_config *n,
			 struct err *err)
{
	int r = config_parse_mac(value, n->mac, err);

	n->mac_set = r == 0;
	return r;
}

/* What the draft's bit 42 is to old drivers: VIRTIO_NET_F_GUEST_RSC6. */
static int parse_net_suspend(const char *value, enum suspend_mode *ret,
			     struct err *err)
{
	static const char *const words[] = { "v14", "force-draft", "force-both",
					     "off", NULL };
	int i;

	if (!strcmp(value, "draft") || !strcmp(value, "both"))
		return err_set(err, -EINVAL,
			       "the bit of the draft breaks network drivers of "
			       "Windows; if the guest has none, use force-%s",
			       value);
	i = config_parse_word(value, words, err);
	if (i < 0)
		return i;
	*ret = (enum suspend_mode)i;
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
		r = parse_net_mac(kv->value, n, &why);
	else if (config_key_is(kv->key, "wake"))
		r = parse_net_wake(kv->value, &n->wake_unicast, &why);
	else if (config_key_is(kv->key, "suspend"))
		r = parse_net_suspend(kv->value, &n->suspend, &why);
	else if (!strcmp(kv->value, "true"))
		return err_set(err, -EINVAL,
			       "unknown key '%.64s'; known: tap-name, tap-fd "
			       "and others: if it is a tap, use tap-name=%.64s",
			       kv->key, kv->key);
	else
		return config_unknown_key(kv,
					  "tap-name, tap-fd, mac, wake, "
					  "suspend",
					  err);
	return r < 0 ? config_wrong_value(kv, &why, err) : 0;
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

int config_set_net(struct vm_config *cfg, const struct config_kvs *kvs,
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

/* @suspend: NULL if it is no virtio device. */
static int parse_char(const struct config_kvs *kvs, struct char_config *c,
		      enum suspend_mode *suspend, struct err *err)
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
			r = config_set_string(&c->path, kv->value, &why);
		} else if (suspend && config_key_is(kv->key, "suspend")) {
			r = config_parse_suspend(kv->value, suspend, &why);
		} else {
			return config_unknown_key(
				kv,
				suspend ? "type, path, suspend" : "type, path",
				err);
		}
		if (r < 0)
			return config_wrong_value(kv, &why, err);
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

int config_set_serial(struct vm_config *cfg, const struct config_kvs *kvs,
		      struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(kvs, &c, NULL, err);

	if (r < 0) {
		free(c.path);
		return r;
	}
	free(cfg->serial.path);
	cfg->serial = c;
	return 0;
}

int config_set_console(struct vm_config *cfg, const struct config_kvs *kvs,
		       struct err *err)
{
	struct char_config c = { 0 };
	int r = parse_char(kvs, &c, &c.suspend, err);

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

int config_set_rng(struct vm_config *cfg, const struct config_kvs *kvs,
		   struct err *err)
{
	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct err why;

		if (!config_key_is(kv->key, "suspend"))
			return config_unknown_key(kv, "suspend", err);
		if (config_parse_suspend(kv->value, &cfg->rng_suspend, &why) <
		    0)
			return config_wrong_value(kv, &why, err);
	}
	return 0;
}
