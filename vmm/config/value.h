/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values of `torpor run`'s options: "key=value" pairs, tables of keys and the
 * parsers of their values. Knows no option. Private to vmm/config*.c, main
 * thread.
 *
 * A table of keys is the one description of what an option takes: the loop
 * that fills the option's struct, the list in an error and the help read it.
 */
#ifndef TORPOR_VMM_CONFIG_VALUE_H
#define TORPOR_VMM_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

#define CONFIG_MAX_PAIRS 12U

/* --- pairs.c --- */

/* One "key=value" of a structured option. */
struct config_pair {
	char *key;
	char *value; /* "true" for a key alone */
};

struct config_pairs {
	struct config_pair pair[CONFIG_MAX_PAIRS];
	unsigned int nr;
};

/**
 * config_pairs_parse() - split "path=/x,ro" at its commas
 * @first_key: what a first word without "=" is the value of; NULL: nothing
 * @ret: freed with config_pairs_finish(), also after an error
 *
 * A value in double quotes may hold commas; \" and \\ are a quote and a
 * backslash there.
 */
int config_pairs_parse(const char *text, const char *first_key,
		       struct config_pairs *ret, struct err *err) must_check;
/*
 * "PATH:TAG:key=value:key=value", as crosvm has it, into the keys path, tag and
 * those given. As config_pairs_parse() otherwise.
 */
int config_pairs_parse_colons(const char *text, struct config_pairs *ret,
			      struct err *err) must_check;
/* Adds a copy. -EINVAL given twice or too many, -ENOMEM. */
int config_pairs_add(struct config_pairs *pairs, const char *key,
		     const char *value, struct err *err) must_check;
bool config_pairs_have(const struct config_pairs *pairs, const char *key);
/* Equal but for '-' and '_': crosvm has both. */
bool config_key_is(const char *key, const char *known);
void config_pairs_finish(struct config_pairs *pairs);

/* --- value.c --- */

/* A row of a table that ends with a NULL name. */
struct config_key {
	const char *name;
	/*
	 * Parses @value into @field, which is at @offset. On failure sets @err
	 * to what is wrong with the value and the remedy; the caller puts key
	 * and value in front.
	 */
	int (*parse)(const struct config_key *key, const char *value,
		     void *field, struct err *err);
	size_t offset;		  /* in the option's struct */
	const char *const *words; /* of config_value_word() */
	uint64_t min, max;	  /* of config_value_number(), _string() */
	const char *arg;	  /* in the help; NULL: from words */
	const char *help;	  /* lines; NULL: not in the help */
};

/**
 * config_keys_apply() - fill an option's struct from its pairs
 * @hint: added in parentheses to the list of known keys; NULL: nothing
 * @object: the struct that the keys' offsets are of
 *
 * Return: 0; -EINVAL with @err naming key, value and remedy. @object may be
 * half filled then.
 */
int config_keys_apply(const struct config_key *keys, const char *hint,
		      const struct config_pairs *pairs, void *object,
		      struct err *err) must_check;
/* Parses one value into its field of @object. */
int config_key_apply(const struct config_key *key, const char *value,
		     void *object, struct err *err) must_check;
/* The lines of the help on @keys, behind @indent. */
void config_keys_print(const struct config_key *keys, const char *indent,
		       FILE *out);
/* Lines, each behind @indent. The first one is where the cursor is. */
void config_print_lines(const char *text, const char *indent, FILE *out);

/* Puts the key in front of what the value's parser said. */
int config_wrong_value(const struct config_pair *pair, const struct err *why,
		       struct err *err);

/* Parsers of fields. The field is a ... */
/* char *, freed before; not empty and at most key->max bytes, 0: any. */
int config_value_string(const struct config_key *key, const char *value,
			void *field, struct err *err) must_check;
/* bool */
int config_value_bool(const struct config_key *key, const char *value,
		      void *field, struct err *err) must_check;
/* enum whose words key->words are */
int config_value_word(const struct config_key *key, const char *value,
		      void *field, struct err *err) must_check;
/* unsigned int from key->min to key->max */
int config_value_number(const struct config_key *key, const char *value,
			void *field, struct err *err) must_check;
/* char [CONFIG_TAG_BYTES] */
int config_value_tag(const struct config_key *key, const char *value,
		     void *field, struct err *err) must_check;
/* struct config_mac */
int config_value_mac(const struct config_key *key, const char *value,
		     void *field, struct err *err) must_check;

/* Of the parsers of one option only: */
/* Decimal digits only. Return: the first byte after them, NULL if none. */
const char *config_parse_u64(const char *p, uint64_t *ret);
/* A word of a fixed list. Return: its index; -EINVAL with the list. */
int config_parse_word(const char *value, const char *const *words,
		      struct err *err) must_check;

#endif
