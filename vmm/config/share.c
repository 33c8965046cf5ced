/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --shared-dir PATH:TAG[:KEY=VALUE...], in crosvm's form: separated by colons,
 * the first two words without a key. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "vmm/config/options.h"

/* A year and a day; "for ever" needs no more. */
#define TIMEOUT_MAX_S (366ULL * 86400)

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
			       "tag '%s' is taken; each directory needs its "
			       "own",
			       tag);
	return 0;
}

/* @field is the whole struct: two fields are set. */
static int parse_timeout(const struct config_key *key, const char *value,
			 void *field, struct err *err)
{
	struct share_config *s = field;
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n > TIMEOUT_MAX_S)
		return err_set(err, -EINVAL, "use seconds, 0 to %llu",
			       TIMEOUT_MAX_S);
	s->timeout_s = n;
	s->timeout_set = true;
	return 0;
}

/* Sets nothing. */
static int parse_type(const struct config_key *key, const char *value,
		      void *field, struct err *err)
{
	/* crosvm has p9 too, its default type. */
	if (strcmp(value, "fs") != 0)
		return err_set(err, -EINVAL, "use fs, the only type");
	return 0;
}

#define SHARE(field) offsetof(struct share_config, field)

static const struct config_key share_keys[] = {
	{ "path", config_value_string, SHARE(path) },
	{ "tag", config_value_tag, SHARE(tag) },
	{ "type", parse_type, 0, .arg = "fs", .help = "the only type" },
	{ "cache", config_value_word, SHARE(cache), fs_cache_words,
	  .help = "how long the guest caches files (default\n"
		  "auto); always if nobody else writes to it" },
	{ "timeout", parse_timeout, 0, .arg = "SECONDS",
	  .help = "how long names and attributes are valid\n"
		  "(default 5; with cache=never 0)" },
	{ "writeback", config_value_bool, SHARE(writeback),
	  .help = "the guest delays writes (default false)" },
	{ "locks", config_value_bool, SHARE(locks),
	  .help = "its locks are locks of the host (default\n"
		  "false)" },
	{ "suid", config_value_bool, SHARE(suid),
	  .help = "as root: files may have set-id bits\n"
		  "(default false)" },
	{ "reserved", config_value_bool, SHARE(reserved),
	  .help = "as root: the guest may fill the blocks\n"
		  "reserved for root (default false)" },
	{ "suspend", config_value_word, SHARE(suspend), suspend_mode_words,
	  .help = "as for --block" },
	{ NULL },
};

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

static int set_share(struct vm_config *cfg, const struct config_pairs *pairs,
		     struct err *err)
{
	struct share_config s = { .cache = FS_CACHE_AUTO };
	int r = config_keys_apply(share_keys, NULL, pairs, &s, err);

	if (r == 0)
		r = check_share(cfg, &s, err);
	if (r < 0) {
		free(s.path);
		return r;
	}
	cfg->shares[cfg->nr_shares++] = s;
	return 0;
}

static unsigned int count_share(const struct vm_config *cfg)
{
	return cfg->nr_shares;
}

static void finish_share(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_shares; i++)
		free(cfg->shares[i].path);
}

const struct config_group config_fs = {
	.keys = share_keys,
	.set = set_share,
	.count = count_share,
	.noun = "directories",
	.finish = finish_share,
};
