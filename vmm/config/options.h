/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one table of `torpor run` options. The command line, the JSON file, the
 * help text and the man page's test read it. Private to vmm/config*.c.
 */
#ifndef TORPOR_VMM_CONFIG_OPTIONS_H
#define TORPOR_VMM_CONFIG_OPTIONS_H

#include <stdbool.h>

#include "virtio/types.h"
#include "vmm/config/config.h"
#include "vmm/config/value.h"

#define CONFIG_MEM_MIN_MIB	 16U
#define CONFIG_MEM_MAX_MIB	 65536U
#define CONFIG_HUGEPAGE_MIB	 2U
#define CONFIG_MAX_VIRTIO_SPLIT	 31U
#define CONFIG_MAX_VIRTIO_KERNEL 16U /* pins of the kernel's IOAPIC */

/* An option of several keys, and what belongs to it. */
struct config_group {
	const struct config_key *keys; /* that set() takes; NULL: any */
	/*
	 * Copies what it keeps; on failure sets @err to what is wrong and the
	 * remedy, the caller puts option and value in front.
	 */
	int (*set)(struct vm_config *cfg, const struct config_pairs *pairs,
		   struct err *err);
	/* The number of devices that it makes; and their name, in the plural.
	 * NULL: it makes none. */
	unsigned int (*count)(const struct vm_config *cfg);
	const char *noun;
	/* What belongs together, when all options are read. Optional. */
	int (*check)(const struct vm_config *cfg, struct err *err);
	/* Frees what set() has kept. Optional. */
	void (*finish)(struct vm_config *cfg);
};

/* Exactly one of value.parse, group and is_file is given. */
struct config_option {
	const char *name; /* without dashes; the key in a JSON file too */
	char short_name;  /* 0 = none */
	bool repeat;	  /* a JSON array is allowed */
	const char *arg;  /* in the help; NULL: a flag, "true" or "false" */
	const char *help;
	/* One value: its parser and its field of struct vm_config. */
	struct config_key value;
	const struct config_group *group;
	const char *first_key; /* of a first word without "="; or NULL */
	bool colons;	       /* PATH:TAG:key=value... on the command line */
	/* --cfg: the walker of the command line reads the file. */
	bool is_file;
};

/* Ends with a NULL name. */
extern const struct config_option config_options[];

/* By long name. Return: NULL if there is none. */
const struct config_option *config_option_find(const char *name);
/* The nearest option name, to suggest it; NULL if none is near. */
const char *config_option_guess(const char *name);

/*
 * Applies one option from text, not one that is a file. Return: 0, or -errno
 * with @err (value and remedy, not the option's name).
 */
int config_option_apply(struct vm_config *cfg, const struct config_option *opt,
			const char *value, struct err *err) must_check;

/* The kernel, which is not an option on the command line. */
int config_set_kernel(struct vm_config *cfg, const char *value,
		      struct err *err) must_check;

/* The option of each device type: devices.c, share.c, vsock.c. */
#define CONFIG_GROUP(NAME, name, ...) \
	extern const struct config_group config_##name;
VIRTIO_TYPES(CONFIG_GROUP)

/* --- devices.c --- */
extern const struct config_group config_serial;

/* --- vhost_user.c --- */
extern const struct config_group config_vhost_user;

/* --- vfio.c --- */
extern const struct config_group config_vfio;

/* --- share.c --- */
/* The tag must be one directory's alone, whoever serves it. */
int config_check_tag(const struct vm_config *cfg, const char *tag,
		     struct err *err) must_check;

/* --- vsock.c --- */
/* 0 to 2 and 2^32 - 1 are nobody's, or the host's (virtio 1.x, 5.10.4). */
#define CONFIG_CID_MIN 3U
#define CONFIG_CID_MAX (UINT32_MAX - 1U)

#endif
