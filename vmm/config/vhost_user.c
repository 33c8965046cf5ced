/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --vhost-user TYPE,socket=PATH[,KEY=VALUE...]: a device with an external back
 * end. Spelled as in crosvm. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "vmm/base/words.h"
#include "vmm/config/options.h"

#define MAX_REQUEST_QUEUES 7U	 /* with the high-priority queue: 8 */
#define MAX_QUEUE_SIZE	   1024U /* that common back ends accept */

static int parse_type(const struct config_key *key, const char *value,
		      void *field, struct err *err)
{
	/* crosvm's name for blk. */
	if (!strcmp(value, "block"))
		value = foreign_type_words[FOREIGN_BLK];
	return config_value_word(key, value, field, err);
}

static int parse_queue_size(const struct config_key *key, const char *value,
			    void *field, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < 2 || n > MAX_QUEUE_SIZE || n & (n - 1))
		return err_set(err, -EINVAL, "use a power of two, 2 to %u",
			       MAX_QUEUE_SIZE);
	*(uint16_t *)field = (uint16_t)n;
	return 0;
}

#define FOREIGN(field) offsetof(struct foreign_config, field)

static const struct config_key vhost_user_keys[] = {
	{ "type", parse_type, FOREIGN(type), foreign_type_words,
	  .help = "type of the device" },
	{ "socket", config_value_string, FOREIGN(socket), .arg = "PATH",
	  .help = "where the back end listens" },
	{ "tag", config_value_tag, FOREIGN(tag), .arg = "TAG",
	  .help = "fs: the tag that the guest mounts\n"
		  "(default: the back end supplies it)" },
	{ "queues", config_value_number, FOREIGN(queues), .min = 1,
	  .max = MAX_REQUEST_QUEUES, .arg = "N",
	  .help = "fs: request queues (default 1)" },
	{ "mac", config_value_mac, FOREIGN(mac), .arg = "MAC",
	  .help = "net: MAC address" },
	{ "max-queue-size", parse_queue_size, FOREIGN(queue_size), .arg = "N",
	  .help = "entries of each queue, a power of two" },
	{ "suspend", config_value_word, FOREIGN(suspend), suspend_mode_words,
	  .help = "as for --block" },
	{ NULL },
};

static int check_foreign(const struct vm_config *cfg,
			 const struct foreign_config *f, struct err *err)
{
	bool is_fs = f->type == FOREIGN_FS;

	if (!f->socket)
		return err_set(err, -EINVAL,
			       "the back end is missing; give socket=PATH");
	if (!is_fs && (f->tag[0] || f->queues))
		return err_set(err, -EINVAL,
			       "tag and queues are for type fs only");
	if (f->type != FOREIGN_NET && f->mac.set)
		return err_set(err, -EINVAL, "mac is for type net only");
	if (is_fs && f->queues > 1 && !f->tag[0])
		return err_set(err, -EINVAL,
			       "without tag= the back end sets the number of "
			       "queues; leave queues out");
	if (cfg->nr_foreigns == CONFIG_MAX_FOREIGNS)
		return err_set(err, -EINVAL, "too many; at most %d",
			       CONFIG_MAX_FOREIGNS);
	return f->tag[0] ? config_check_tag(cfg, f->tag, err) : 0;
}

static int set_vhost_user(struct vm_config *cfg,
			  const struct config_pairs *pairs, struct err *err)
{
	struct foreign_config f = { 0 };
	char types[64];
	int r;

	if (!config_pairs_have(pairs, "type"))
		return err_set(err, -EINVAL,
			       "the type is missing; use one of %s, as in "
			       "fs,socket=PATH",
			       words_join(foreign_type_words, ", ", types,
					  sizeof(types)));
	r = config_keys_apply(vhost_user_keys, NULL, pairs, &f, err);
	if (r == 0)
		r = check_foreign(cfg, &f, err);
	if (r < 0) {
		free(f.socket);
		return r;
	}
	cfg->foreigns[cfg->nr_foreigns++] = f;
	return 0;
}

static unsigned int count_vhost_user(const struct vm_config *cfg)
{
	return cfg->nr_foreigns;
}

static void finish_vhost_user(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_foreigns; i++)
		free(cfg->foreigns[i].socket);
}

const struct config_group config_vhost_user = {
	.keys = vhost_user_keys,
	.set = set_vhost_user,
	.count = count_vhost_user,
	.noun = "external",
	.finish = finish_vhost_user,
};
