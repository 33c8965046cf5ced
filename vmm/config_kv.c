/* SPDX-License-Identifier: BSD-3-Clause */
/* "key=value,key=value" of structured options, see config_options.h. */
#include <errno.h>
#include <string.h>

#include "vmm/config_options.h"

void config_kvs_finish(struct config_kvs *kvs)
{
	for (unsigned int i = 0; i < kvs->nr; i++) {
		free(kvs->kv[i].key);
		free(kvs->kv[i].value);
	}
	kvs->nr = 0;
}

bool config_key_is(const char *key, const char *known)
{
	for (; *key && *known; key++, known++) {
		char a = *key == '_' ? '-' : *key;
		char b = *known == '_' ? '-' : *known;

		if (a != b)
			return false;
	}
	return *key == *known;
}

int config_kvs_add(struct config_kvs *kvs, const char *key, const char *value,
		   struct err *err)
{
	struct config_kv *kv;

	for (unsigned int i = 0; i < kvs->nr; i++) {
		if (config_key_is(kvs->kv[i].key, key))
			return err_set(err, -EINVAL,
				       "key '%s' is given twice; give it once",
				       key);
	}
	if (kvs->nr == CONFIG_MAX_KV)
		return err_set(err, -EINVAL, "more than %u keys",
			       CONFIG_MAX_KV);
	kv = &kvs->kv[kvs->nr];
	kv->key = strdup(key);
	kv->value = strdup(value);
	kvs->nr++;
	if (!kv->key || !kv->value)
		return err_set_errno(err, -ENOMEM, "key '%s'", key);
	return 0;
}

static bool key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '-';
}

/* Length of a leading "key" that is followed by '=', else 0. */
static size_t key_span(const char *p)
{
	size_t n = 0;

	while (key_char(p[n]))
		n++;
	return p[n] == '=' ? n : 0;
}

/* Copies a value up to its comma. Return: the byte after it or NULL. */
static const char *copy_value(const char *p, char *dst, struct err *err)
{
	if (*p != '"') {
		size_t n = strcspn(p, ",");

		memcpy(dst, p, n);
		dst[n] = '\0';
		return p + n;
	}
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		*dst++ = *p;
	}
	*dst = '\0';
	if (*p != '"') {
		(void)err_set(err, -EINVAL, "a closing \" is missing");
		return NULL;
	}
	p++;
	if (*p && *p != ',') {
		(void)err_set(err, -EINVAL,
			      "after the closing \" there must be a comma");
		return NULL;
	}
	return p;
}

int config_kvs_parse(const char *text, const char *first_key,
		     struct config_kvs *ret, struct err *err)
{
	_cleanup_free_ char *key = strdup(text);
	_cleanup_free_ char *value = malloc(strlen(text) + 1);
	const char *p = text;
	bool first = true;

	ret->nr = 0;
	if (!key || !value)
		return err_set_errno(err, -ENOMEM, "too long");
	for (;; first = false) {
		size_t n = key_span(p);
		bool positional = !n && first && first_key;
		int r;

		if (n) {
			memcpy(key, p, n);
			key[n] = '\0';
			p += n + 1;
		}
		p = copy_value(p, value, err);
		if (!p)
			return -EINVAL;
		if (n)
			r = config_kvs_add(ret, key, value, err);
		else if (positional)
			r = config_kvs_add(ret, first_key, value, err);
		else if (*value)
			r = config_kvs_add(ret, value, "true", err);
		else
			r = err_set(err, -EINVAL,
				    "a key is missing at a comma or the end");
		if (r < 0 || !*p)
			return r;
		p++;
	}
}
