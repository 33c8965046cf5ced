/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of keys and the parsers of values, see value.h. */
#include "vmm/config/value.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/words.h"
#include "vmm/config/config.h"

#define HELP_COLUMN 21 /* where a key's description starts */

/* --- tables --- */

static const struct config_key *find_key(const struct config_key *keys,
					 const char *name)
{
	for (; keys->name; keys++) {
		if (config_key_is(name, keys->name))
			return keys;
	}
	return NULL;
}

static int unknown_key(const struct config_key *keys, const char *hint,
		       const struct config_pair *pair, struct err *err)
{
	char known[256] = "";
	size_t len = 0;

	for (const struct config_key *k = keys; k->name; k++)
		len += (size_t)snprintf(known + len, sizeof(known) - len,
					"%s%s", k == keys ? "" : ", ", k->name);
	assert(len < sizeof(known));
	return err_set(err, -EINVAL, "unknown key '%.64s'; known: %s%s%s%s",
		       pair->key, known, hint ? " (" : "", hint ? hint : "",
		       hint ? ")" : "");
}

int config_wrong_value(const struct config_pair *pair, const struct err *why,
		       struct err *err)
{
	return err_set(err, -EINVAL, "%s=%.64s: %s", pair->key, pair->value,
		       why->msg);
}

int config_key_apply(const struct config_key *key, const char *value,
		     void *object, struct err *err)
{
	return key->parse(key, value, (char *)object + key->offset, err);
}

int config_keys_apply(const struct config_key *keys, const char *hint,
		      const struct config_pairs *pairs, void *object,
		      struct err *err)
{
	for (unsigned int i = 0; i < pairs->nr; i++) {
		const struct config_pair *pair = &pairs->pair[i];
		const struct config_key *key = find_key(keys, pair->key);
		struct err why;

		if (!key)
			return unknown_key(keys, hint, pair, err);
		if (config_key_apply(key, pair->value, object, &why) < 0)
			return config_wrong_value(pair, &why, err);
	}
	return 0;
}

/* --- help --- */

void config_print_lines(const char *text, const char *indent, FILE *out)
{
	for (;;) {
		int n = (int)strcspn(text, "\n");

		fprintf(out, "%.*s\n", n, text);
		if (!text[n] || !text[n + 1])
			return;
		text += n + 1;
		fputs(indent, out);
	}
}

static void print_key(const struct config_key *key, const char *indent,
		      FILE *out)
{
	char left[80], words[64], below[64];
	const char *arg = key->arg;

	if (!arg)
		arg = key->words ? words_join(key->words, "|", words,
					      sizeof(words))
				 : "true|false";
	(void)snprintf(left, sizeof(left), "%s=%s", key->name, arg);
	(void)snprintf(below, sizeof(below), "%s%*s", indent, HELP_COLUMN, "");
	fprintf(out, "%s%-*s%s", indent, HELP_COLUMN - 1, left,
		strlen(left) < HELP_COLUMN ? " " : "  ");
	config_print_lines(key->help, below, out);
}

void config_keys_print(const struct config_key *keys, const char *indent,
		       FILE *out)
{
	for (; keys->name; keys++) {
		if (keys->help)
			print_key(keys, indent, out);
	}
}

/* --- values --- */

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
	char list[128];
	int i = words_find(words, value);

	return i < 0 ? err_set(err, i, "use one of %s",
			       words_join(words, ", ", list, sizeof(list)))
		     : i;
}

int config_value_string(const struct config_key *key, const char *value,
			void *field, struct err *err)
{
	char **dst = field;
	char *copy;

	if (!*value)
		return err_set(err, -EINVAL, "is empty; give a value");
	if (key->max && strlen(value) > key->max)
		return err_set(err, -EINVAL,
			       "longer than %llu bytes; give a shorter path",
			       (unsigned long long)key->max);
	copy = strdup(value);
	if (!copy)
		return err_set_errno(err, -ENOMEM, "cannot store it");
	free(*dst);
	*dst = copy;
	return 0;
}

int config_value_bool(const struct config_key *key, const char *value,
		      void *field, struct err *err)
{
	bool yes = !strcmp(value, "true");

	if (!yes && strcmp(value, "false") != 0)
		return err_set(err, -EINVAL, "use true or false");
	*(bool *)field = yes;
	return 0;
}

int config_value_word(const struct config_key *key, const char *value,
		      void *field, struct err *err)
{
	int i = config_parse_word(value, key->words, err);

	if (i < 0)
		return i;
	/* What gcc and clang make of an enum without negative values. */
	static_assert(sizeof(enum suspend_mode) == sizeof(unsigned int),
		      "an enum is an unsigned int");
	*(unsigned int *)field = (unsigned int)i;
	return 0;
}

int config_value_number(const struct config_key *key, const char *value,
			void *field, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < key->min || n > key->max)
		return err_set(err, -EINVAL, "use a number from %llu to %llu",
			       (unsigned long long)key->min,
			       (unsigned long long)key->max);
	*(unsigned int *)field = (unsigned int)n;
	return 0;
}

int config_value_tag(const struct config_key *key, const char *value,
		     void *field, struct err *err)
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
	memcpy(field, value, n + 1);
	return 0;
}

int config_value_mac(const struct config_key *key, const char *value,
		     void *field, struct err *err)
{
	struct config_mac mac = { .set = true };

	if (mac_parse(value, mac.addr) < 0)
		return err_set(err, -EINVAL,
			       "not a MAC address; use 02:00:00:00:00:01");
	if (mac_is_group(mac.addr) || mac_is_zero(mac.addr))
		return err_set(err, -EINVAL,
			       "not the address of one NIC; use "
			       "02:00:00:00:00:01");
	*(struct config_mac *)field = mac;
	return 0;
}
