/* SPDX-License-Identifier: BSD-3-Clause */
/* "key=value" pairs of structured options, see value.h. */
#include <errno.h>
#include <string.h>

#include "vmm/config/value.h"

void config_pairs_finish(struct config_pairs *pairs)
{
	for (unsigned int i = 0; i < pairs->nr; i++) {
		free(pairs->pair[i].key);
		free(pairs->pair[i].value);
	}
	pairs->nr = 0;
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

bool config_pairs_have(const struct config_pairs *pairs, const char *key)
{
	for (unsigned int i = 0; i < pairs->nr; i++) {
		if (config_key_is(pairs->pair[i].key, key))
			return true;
	}
	return false;
}

int config_pairs_add(struct config_pairs *pairs, const char *key,
		     const char *value, struct err *err)
{
	struct config_pair *pair;

	if (config_pairs_have(pairs, key))
		return err_set(err, -EINVAL,
			       "key '%s' is given twice; give it once", key);
	if (pairs->nr == CONFIG_MAX_PAIRS)
		return err_set(err, -EINVAL, "more than %u keys",
			       CONFIG_MAX_PAIRS);
	pair = &pairs->pair[pairs->nr];
	pair->key = strdup(key);
	pair->value = strdup(value);
	pairs->nr++;
	if (!pair->key || !pair->value)
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
		(void)err_set(err, -EINVAL, "the closing \" is missing");
		return NULL;
	}
	p++;
	if (*p && *p != ',') {
		(void)err_set(err, -EINVAL,
			      "a comma must follow the closing \"");
		return NULL;
	}
	return p;
}

int config_pairs_parse(const char *text, const char *first_key,
		       struct config_pairs *ret, struct err *err)
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
			r = config_pairs_add(ret, key, value, err);
		else if (positional)
			r = config_pairs_add(ret, first_key, value, err);
		else if (*value)
			r = config_pairs_add(ret, value, "true", err);
		else
			r = err_set(
				err, -EINVAL,
				"a key is missing at a comma or at the end");
		if (r < 0 || !*p)
			return r;
		p++;
	}
}

/* Adds the word at @text, of @len bytes. @n: its number. */
static int add_word(struct config_pairs *pairs, const char *text, size_t len,
		    unsigned int n, struct err *err)
{
	static const char *const first[] = { "path", "tag" };
	_cleanup_free_ char *word = strndup(text, len);
	char *value;

	if (!word)
		return err_set_errno(err, -ENOMEM, "too long");
	if (n < ARRAY_SIZE(first))
		return config_pairs_add(pairs, first[n], word, err);
	value = strchr(word, '=');
	if (!value || value == word)
		return err_set(err, -EINVAL,
			       "'%.64s' is not KEY=VALUE; use "
			       "PATH:TAG:KEY=VALUE... with the keys that "
			       "'torpor run --help' lists",
			       word);
	*value++ = '\0';
	return config_pairs_add(pairs, word, value, err);
}

int config_pairs_parse_colons(const char *text, struct config_pairs *ret,
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
