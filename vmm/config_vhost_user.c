/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --vhost-user TYPE,socket=PATH[,KEY=VALUE...]: a device whose back end is
 * somebody else's process. Spelled as by crosvm. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "vmm/config_options.h"

#define MAX_REQUEST_QUEUES 7U	 /* with the one of high priority: 8 */
#define MAX_QUEUE_SIZE	   1024U /* what back ends put up with */

static int parse_type(const char *value, enum foreign_type *ret,
		      struct err *err)
{
	static const char *const words[] = { "blk", "console", "fs",
					     "net", "rng",     NULL };
	int i;

	/* crosvm's name of it. */
	if (!strcmp(value, "block"))
		value = "blk";
	i = config_parse_word(value, words, err);
	if (i < 0)
		return i;
	*ret = (enum foreign_type)i;
	return 0;
}

static int parse_queues(const char *value, unsigned int *ret, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < 1 || n > MAX_REQUEST_QUEUES)
		return err_set(err, -EINVAL, "use 1 to %u", MAX_REQUEST_QUEUES);
	*ret = (unsigned int)n;
	return 0;
}

static int parse_queue_size(const char *value, uint16_t *ret, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < 2 || n > MAX_QUEUE_SIZE || n & (n - 1))
		return err_set(err, -EINVAL, "use a power of two, 2 to %u",
			       MAX_QUEUE_SIZE);
	*ret = (uint16_t)n;
	return 0;
}

static int foreign_key(struct foreign_config *f, const struct config_kv *kv,
		       struct err *err)
{
	struct err why;
	int r;

	if (config_key_is(kv->key, "type")) {
		r = parse_type(kv->value, &f->type, &why);
	} else if (config_key_is(kv->key, "socket")) {
		r = config_set_string(&f->socket, kv->value, &why);
	} else if (config_key_is(kv->key, "tag")) {
		r = config_parse_tag(kv->value, f->tag, &why);
	} else if (config_key_is(kv->key, "queues")) {
		r = parse_queues(kv->value, &f->queues, &why);
	} else if (config_key_is(kv->key, "mac")) {
		r = config_parse_mac(kv->value, f->mac, &why);
		f->mac_set = r == 0;
	} else if (config_key_is(kv->key, "max-queue-size")) {
		r = parse_queue_size(kv->value, &f->queue_size, &why);
	} else if (config_key_is(kv->key, "suspend")) {
		r = config_parse_suspend(kv->value, &f->suspend, &why);
	} else {
		return config_unknown_key(kv,
					  "type, socket, tag, queues, mac, "
					  "max-queue-size, suspend",
					  err);
	}
	return r < 0 ? config_wrong_value(kv, &why, err) : 0;
}

static bool has_type(const struct config_kvs *kvs)
{
	for (unsigned int i = 0; i < kvs->nr; i++) {
		if (config_key_is(kvs->kv[i].key, "type"))
			return true;
	}
	return false;
}

static int check_foreign(const struct vm_config *cfg,
			 const struct foreign_config *f, struct err *err)
{
	bool is_fs = f->type == FOREIGN_FS;

	if (!f->socket)
		return err_set(err, -EINVAL,
			       "names no back end; give socket=PATH");
	if (!is_fs && (f->tag[0] || f->queues))
		return err_set(err, -EINVAL,
			       "tag and queues are for type fs only");
	if (f->type != FOREIGN_NET && f->mac_set)
		return err_set(err, -EINVAL, "mac is for type net only");
	if (is_fs && f->queues > 1 && !f->tag[0])
		return err_set(err, -EINVAL,
			       "without tag= the back end says how many "
			       "queues; leave queues out");
	if (cfg->nr_foreigns == CONFIG_MAX_FOREIGNS)
		return err_set(err, -EINVAL, "too many; at most %d",
			       CONFIG_MAX_FOREIGNS);
	return f->tag[0] ? config_check_tag(cfg, f->tag, err) : 0;
}

int config_set_vhost_user(struct vm_config *cfg, const struct config_kvs *kvs,
			  struct err *err)
{
	struct foreign_config f = { 0 };
	int r = 0;

	if (!has_type(kvs))
		return err_set(err, -EINVAL,
			       "names no type; use blk, console, fs, net or "
			       "rng, as in fs,socket=PATH");
	for (unsigned int i = 0; i < kvs->nr && r == 0; i++)
		r = foreign_key(&f, &kvs->kv[i], err);
	if (r == 0)
		r = check_foreign(cfg, &f, err);
	if (r < 0) {
		free(f.socket);
		return r;
	}
	cfg->foreigns[cfg->nr_foreigns++] = f;
	return 0;
}
