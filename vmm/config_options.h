/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one table of `torpor run` options. The command line, the JSON file, the
 * help text and the man page's test read it. Private to vmm/config*.c.
 */
#ifndef TORPOR_VMM_CONFIG_OPTIONS_H
#define TORPOR_VMM_CONFIG_OPTIONS_H

#include <stdbool.h>

#include "vmm/config.h"

#define CONFIG_MEM_MIN_MIB	 16U
#define CONFIG_MEM_MAX_MIB	 65536U
#define CONFIG_HUGEPAGE_MIB	 2U
#define CONFIG_MAX_VIRTIO_SPLIT	 31U
#define CONFIG_MAX_VIRTIO_KERNEL 16U /* pins of the kernel's IOAPIC */
#define CONFIG_MAX_KV		 12U

/* One "key=value" of a structured option. */
struct config_kv {
	char *key;
	char *value; /* "true" for a key alone */
};

struct config_kvs {
	struct config_kv kv[CONFIG_MAX_KV];
	unsigned int nr;
};

struct config_option {
	const char *name; /* without dashes; the key in a JSON file too */
	char short_name;  /* 0 = none */
	bool repeat;	  /* a JSON array is allowed */
	const char *arg;  /* in the help; NULL: a flag, "true" or "false" */
	const char *help;
	/*
	 * Exactly one is set. Both copy what they keep and on failure set
	 * @err to what is wrong with the value and the remedy; the caller puts
	 * option and value in front.
	 */
	int (*set)(struct vm_config *cfg, const char *value, struct err *err);
	int (*set_kvs)(struct vm_config *cfg, const struct config_kvs *kvs,
		       struct err *err);
	const char *first_key; /* of a first word without "="; or NULL */
	bool colons;	       /* PATH:TAG:key=value... on the command line */
};

/* Ends with a NULL name. */
extern const struct config_option config_options[];

/* By long name. Return: NULL if there is none. */
const struct config_option *config_option_find(const char *name);
/* The nearest option name, to suggest it; NULL if none is near. */
const char *config_option_guess(const char *name);

/*
 * Applies one option from text. Return: 0, or -errno with @err (value and
 * remedy, not the option's name).
 */
int config_option_apply(struct vm_config *cfg, const struct config_option *opt,
			const char *value, struct err *err) must_check;

/**
 * config_kvs_parse() - split "path=/x,ro" at its commas
 * @first_key: what a first word without "=" is the value of; NULL: nothing
 * @ret: freed with config_kvs_finish(), also after an error
 *
 * A value in double quotes may hold commas; \" and \\ are a quote and a
 * backslash there.
 */
int config_kvs_parse(const char *text, const char *first_key,
		     struct config_kvs *ret, struct err *err) must_check;
/*
 * "PATH:TAG:key=value:key=value", as crosvm has it, into the keys path, tag and
 * those given. As config_kvs_parse() otherwise.
 */
int config_colons_parse(const char *text, struct config_kvs *ret,
			struct err *err) must_check;
/* Adds a copy. -EINVAL given twice or too many, -ENOMEM. */
int config_kvs_add(struct config_kvs *kvs, const char *key, const char *value,
		   struct err *err) must_check;
/* Equal but for '-' and '_': crosvm has both. */
bool config_key_is(const char *key, const char *known);
void config_kvs_finish(struct config_kvs *kvs);

/* Parts of values that more than one file of options has. */
int config_parse_bool(const char *value, bool *ret, struct err *err) must_check;
/* Decimal digits only. Return: the first byte after them, NULL if none. */
const char *config_parse_u64(const char *p, uint64_t *ret);
/* A word of a fixed list. Return: its index; -EINVAL with the list. */
int config_parse_word(const char *value, const char *const *words,
		      struct err *err) must_check;

/* Copies a value that must not be empty over @dst, which is freed. */
int config_set_string(char **dst, const char *value,
		      struct err *err) must_check;
int config_unknown_key(const struct config_kv *kv, const char *known,
		       struct err *err);
/* Puts the key in front of what the value's parser said. */
int config_wrong_value(const struct config_kv *kv, const struct err *why,
		       struct err *err);

/* --- config_devices.c --- */
/* suspend= of a device. */
int config_parse_suspend(const char *value, enum suspend_mode *ret,
			 struct err *err) must_check;
int config_set_block(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err) must_check;
int config_set_net(struct vm_config *cfg, const struct config_kvs *kvs,
		   struct err *err) must_check;
int config_set_serial(struct vm_config *cfg, const struct config_kvs *kvs,
		      struct err *err) must_check;
int config_set_console(struct vm_config *cfg, const struct config_kvs *kvs,
		       struct err *err) must_check;
int config_set_rng(struct vm_config *cfg, const struct config_kvs *kvs,
		   struct err *err) must_check;
int config_parse_mac(const char *value, uint8_t ret[6],
		     struct err *err) must_check;
/* --- config_vhost_user.c --- */
int config_set_vhost_user(struct vm_config *cfg, const struct config_kvs *kvs,
			  struct err *err) must_check;
/* --- config_share.c --- */
int config_parse_tag(const char *value, char ret[CONFIG_TAG_BYTES],
		     struct err *err) must_check;
/* The tag must be one directory's alone, whoever serves it. */
int config_check_tag(const struct vm_config *cfg, const char *tag,
		     struct err *err) must_check;
int config_set_share(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err) must_check;

int config_set_kernel(struct vm_config *cfg, const char *value,
		      struct err *err) must_check;

/* --- config_vsock.c --- */
int config_set_vsock(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err) must_check;
int config_set_cid(struct vm_config *cfg, const char *value,
		   struct err *err) must_check;
int config_check_vsock(const struct vm_config *cfg, struct err *err) must_check;

#endif
