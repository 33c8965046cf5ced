/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --cfg FILE: the options of `torpor run` as a JSON object, through the same
 * table as the command line. Main thread.
 *
 *	{ "mem": "1G", "cpus": 2, "kernel": "vmlinuz",
 *	  "block": [ { "path": "root.img", "ro": true }, "data.img" ] }
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/config/foreign.h"
#include "vmm/config/options.h"

#define MAX_FILE (1U << 20) /* bytes */

/* A scalar as the command line would have it. */
static int scalar_text(const json_t *value, char buf[32], const char **ret,
		       struct err *err)
{
	if (json_is_string(value)) {
		*ret = json_string_value(value);
		return 0;
	}
	if (json_is_integer(value)) {
		(void)snprintf(buf, 32, "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value));
		*ret = buf;
		return 0;
	}
	if (json_is_boolean(value)) {
		*ret = json_is_true(value) ? "true" : "false";
		return 0;
	}
	return err_set(err, -EINVAL,
		       "use a string, a whole number, true or false");
}

static int apply_object(struct vm_config *cfg, const struct config_option *opt,
			json_t *obj, struct err *err)
{
	struct config_pairs pairs = { 0 };
	const char *key;
	json_t *value;
	int r = 0;

	if (!opt->group)
		return err_set(err, -EINVAL, "cannot be an object; use a %s",
			       opt->arg ? "string or number" : "boolean");
	json_object_foreach(obj, key, value)
	{
		const char *text = NULL;
		struct err why;
		char buf[32];

		r = scalar_text(value, buf, &text, &why);
		if (r < 0)
			r = err_set(err, r, "key '%.64s': %s", key, why.msg);
		else
			r = config_pairs_add(&pairs, key, text, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = opt->group->set(cfg, &pairs, err);
	config_pairs_finish(&pairs);
	return r;
}

static int apply_value(struct vm_config *cfg, const struct config_option *opt,
		       json_t *value, struct err *err)
{
	const char *text = NULL;
	struct err why = { "" };
	char buf[32];
	int r;

	if (json_is_object(value))
		return apply_object(cfg, opt, value, err);
	r = scalar_text(value, buf, &text, err);
	if (r < 0)
		return r;
	if (!opt->arg && !json_is_boolean(value))
		return err_set(err, -EINVAL, "use true or false");
	r = config_option_apply(cfg, opt, text, &why);
	return r < 0 ? err_set(err, r, "'%.100s': %s", text, why.msg) : 0;
}

static int apply_member(struct vm_config *cfg, const char *path,
			const char *key, json_t *value, struct err *err)
{
	const struct config_option *opt = config_option_find(key);
	struct err why = { "" };
	int r;

	if (!opt) {
		const char *guess = config_option_guess(key);
		const char *answer = config_foreign_option(key, strlen(key));

		if (answer)
			return err_set(err, -EINVAL,
				       "'%s': unknown key '%.64s'; %s", path,
				       key, answer);
		return err_set(err, -EINVAL, "'%s': unknown key '%.64s'%s%s%s",
			       path, key,
			       guess ? "; did you mean '"
				     : "; see 'torpor run "
				       "--help'",
			       guess ? guess : "", guess ? "'?" : "");
	}
	if (opt->is_file)
		return err_set(err, -EINVAL,
			       "'%s': key '%s': a file cannot include a file; "
			       "give --cfg several times",
			       path, key);
	if (!json_is_array(value) || !opt->repeat) {
		r = apply_value(cfg, opt, value, &why);
		return r < 0 ? err_set(err, r, "'%s': key '%s': %s", path, key,
				       why.msg)
			     : 0;
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		r = apply_value(cfg, opt, json_array_get(value, i), &why);
		if (r < 0)
			return err_set(err, r, "'%s': key '%s', entry %zu: %s",
				       path, key, i + 1, why.msg);
	}
	return 0;
}

static int apply_kernel(struct vm_config *cfg, const char *path, json_t *value,
			struct err *err)
{
	const char *text = json_string_value(value);
	struct err why = { "" };

	if (!text)
		return err_set(err, -EINVAL, "'%s': key 'kernel': use a string",
			       path);
	if (config_set_kernel(cfg, text, &why) < 0)
		return err_set(err, -EINVAL, "'%s': key 'kernel': %s", path,
			       why.msg);
	return 0;
}

/* Reads all of a regular file or pipe, at most MAX_FILE bytes. */
static int read_file(const char *path, char **ret, size_t *ret_len,
		     struct err *err)
{
	_cleanup_free_ char *buf = malloc(MAX_FILE + 1);
	_cleanup_fd_ int fd = -1;
	size_t len = 0;

	if (!buf)
		return err_set_errno(err, -ENOMEM, "'%s'", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "'%s': cannot open", path);
	while (len <= MAX_FILE) {
		ssize_t n = read(fd, buf + len, MAX_FILE + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, -errno, "'%s': cannot read",
					     path);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len > MAX_FILE)
		return err_set(err, -EFBIG,
			       "'%s': more than 1 MiB; is it a configuration?",
			       path);
	*ret_len = len;
	*ret = TAKE(buf);
	return 0;
}

int config_parse_file(struct vm_config *cfg, const char *path, struct err *err)
{
	json_auto_t *root = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	json_error_t error;
	const char *key;
	json_t *value;
	int r;

	r = read_file(path, &text, &len, err);
	if (r < 0)
		return r;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return err_set(err, -EINVAL, "'%s': line %d, column %d: %s",
			       path, error.line, error.column, error.text);
	if (!json_is_object(root))
		return err_set(err, -EINVAL,
			       "'%s': must hold one JSON object, "
			       "{ \"mem\": 256, ... }",
			       path);
	json_object_foreach(root, key, value)
	{
		if (!strcmp(key, "kernel"))
			r = apply_kernel(cfg, path, value, err);
		else
			r = apply_member(cfg, path, key, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}
