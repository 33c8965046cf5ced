/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --shared-dir PATH:TAG[:KEY=VALUE...], in crosvm's form: colons apart, the
 * first two words without a key. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/config_options.h"

#define KNOWN                                                                 \
	"path, tag, type, cache, timeout, writeback, locks, suid, reserved, " \
	"suspend"
/* A year and a day; what is meant to stay valid needs no more. */
#define TIMEOUT_MAX_S (366ULL * 86400)

/* --- the form --- */

/* Adds the word at @text, of @len bytes. @n: its number. */
static int add_word(struct config_kvs *kvs, const char *text, size_t len,
		    unsigned int n, struct err *err)
{
	static const char *const first[] = { "path", "tag" };
	_cleanup_free_ char *word = strndup(text, len);
	char *value;

	if (!word)
		return err_set_errno(err, -ENOMEM, "too long");
	if (n < ARRAY_SIZE(first))
		return config_kvs_add(kvs, first[n], word, err);
	value = strchr(word, '=');
	if (!value || value == word)
		return err_set(err, -EINVAL,
			       "'%.64s' is no KEY=VALUE; use PATH:TAG, then "
			       "keys: " KNOWN,
			       word);
	*value++ = '\0';
	return config_kvs_add(kvs, word, value, err);
}

int config_colons_parse(const char *text, struct config_kvs *ret,
			struct err *err)
{
	unsigned int n = 0;

	ret->nr = 0;
	for (const char *p = text;; n++) {
		size_t len = strcspn(p, ":");
		int r = add_word(ret, p, len, n, err);

		if (r < 0 || !p[len])
			return r;
		p += len + 1;
	}
}

/* --- the keys --- */

int config_parse_tag(const char *value, char ret[CONFIG_TAG_BYTES],
		     struct err *err)
{
	size_t n = strlen(value);

	if (n == 0 || n >= CONFIG_TAG_BYTES)
		return err_set(err, -EINVAL, "use 1 to %d bytes",
			       CONFIG_TAG_BYTES - 1);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)value[i] < 0x21 || value[i] == 0x7f)
			return err_set(err, -EINVAL,
				       "use printable characters without "
				       "spaces");
	}
	memcpy(ret, value, n + 1);
	return 0;
}

int config_check_tag(const struct vm_config *cfg, const char *tag,
		     struct err *err)
{
	bool taken = false;

	for (unsigned int i = 0; i < cfg->nr_shares; i++)
		taken |= !strcmp(cfg->shares[i].tag, tag);
	for (unsigned int i = 0; i < cfg->nr_foreigns; i++)
		taken |= !strcmp(cfg->foreigns[i].tag, tag);
	if (taken)
		return err_set(err, -EINVAL,
			       "tag '%s' is taken; the guest could not tell "
			       "them apart",
			       tag);
	return 0;
}

static int parse_path(const char *value, struct share_config *s,
		      struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "is empty; give a directory");
	s->path = strdup(value);
	return s->path ? 0 : err_set_errno(err, -ENOMEM, "cannot keep it");
}

static int parse_cache(const char *value, struct share_config *s,
		       struct err *err)
{
	static const char *const words[] = { "never", "auto", "always", NULL };
	int i = config_parse_word(value, words, err);

	if (i < 0)
		return i;
	s->cache = (enum share_cache)i;
	return 0;
}

static int parse_timeout(const char *value, struct share_config *s,
			 struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n > TIMEOUT_MAX_S)
		return err_set(err, -EINVAL, "use seconds, 0 to %llu",
			       TIMEOUT_MAX_S);
	s->timeout_s = n;
	s->timeout_set = true;
	return 0;
}

static int parse_type(const char *value, struct err *err)
{
	/* crosvm has p9 as well, and takes that without a type. */
	if (strcmp(value, "fs") != 0)
		return err_set(err, -EINVAL, "use fs, the one type there is");
	return 0;
}

static int share_key(struct share_config *s, const struct config_kv *kv,
		     struct err *err)
{
	struct err why;
	int r;

	if (config_key_is(kv->key, "path"))
		r = parse_path(kv->value, s, &why);
	else if (config_key_is(kv->key, "tag"))
		r = config_parse_tag(kv->value, s->tag, &why);
	else if (config_key_is(kv->key, "type"))
		r = parse_type(kv->value, &why);
	else if (config_key_is(kv->key, "cache"))
		r = parse_cache(kv->value, s, &why);
	else if (config_key_is(kv->key, "timeout"))
		r = parse_timeout(kv->value, s, &why);
	else if (config_key_is(kv->key, "writeback"))
		r = config_parse_bool(kv->value, &s->writeback, &why);
	else if (config_key_is(kv->key, "locks"))
		r = config_parse_bool(kv->value, &s->locks, &why);
	else if (config_key_is(kv->key, "suid"))
		r = config_parse_bool(kv->value, &s->suid, &why);
	else if (config_key_is(kv->key, "reserved"))
		r = config_parse_bool(kv->value, &s->reserved, &why);
	else if (config_key_is(kv->key, "suspend"))
		r = config_parse_suspend(kv->value, &s->suspend, &why);
	else
		return err_set(err, -EINVAL, "unknown key '%.64s'; known: %s",
			       kv->key, KNOWN);
	return r < 0 ? config_wrong_value(kv, &why, err) : 0;
}

static int check_share(const struct vm_config *cfg,
		       const struct share_config *s, struct err *err)
{
	if (!s->path || !s->tag[0])
		return err_set(err, -EINVAL,
			       "give a directory and a tag: PATH:TAG");
	if (cfg->nr_shares == CONFIG_MAX_SHARES)
		return err_set(err, -EINVAL, "too many; at most %d directories",
			       CONFIG_MAX_SHARES);
	return config_check_tag(cfg, s->tag, err);
}

int config_set_share(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err)
{
	struct share_config s = { .cache = SHARE_CACHE_AUTO };
	int r = 0;

	for (unsigned int i = 0; i < kvs->nr && r == 0; i++)
		r = share_key(&s, &kvs->kv[i], err);
	if (r == 0)
		r = check_share(cfg, &s, err);
	if (r < 0) {
		free(s.path);
		return r;
	}
	cfg->shares[cfg->nr_shares++] = s;
	return 0;
}
