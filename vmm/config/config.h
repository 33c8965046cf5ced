/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `torpor run` was asked for: from the command line, from a JSON file
 * (--cfg FILE, the same keys) or both, later ones win. Filled by config_*()
 * and read by vm_create(). Main thread only.
 */
#ifndef TORPOR_VMM_CONFIG_CONFIG_H
#define TORPOR_VMM_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "arch/arch.h"
#include "sandbox/spawner.h"
#include "virtio/choices.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/mac.h"
#include "vmm/base/util.h"

#define CONFIG_MAX_BLOCKS   32
#define CONFIG_MAX_NETS	    8
#define CONFIG_MAX_CONSOLES 4
#define CONFIG_MAX_SHARES   8
#define CONFIG_MAX_FOREIGNS 8
#define CONFIG_MAX_VFIOS    8
#define CONFIG_TAG_BYTES    37 /* of a shared directory, with its NUL */

/* Which VIRTIO_F_SUSPEND a device offers: bit 43, bit 42, both, none. */
enum suspend_mode {
	SUSPEND_V14,
	SUSPEND_DRAFT,
	SUSPEND_BOTH,
	SUSPEND_OFF
};
extern const char *const suspend_mode_words[];

struct block_config {
	char *path;
	bool ro;
	bool o_direct;
	bool sparse; /* discard punches holes; default true */
	bool raw;    /* whatever its first bytes say */
	char id[21]; /* GET_ID string; default: none */
	enum blk_engine_choice engine;
	enum suspend_mode suspend;
};

struct config_mac {
	uint8_t addr[MAC_BYTES];
	bool set; /* else a random one */
};

struct config_net {
	char *tap_name; /* NULL if tap_fd is given */
	int tap_fd;	/* inherited and owned, -1 = by name */
	struct config_mac mac;
	bool wake_unicast; /* only packets to its own address wake the guest */
	enum suspend_mode suspend;
};

enum char_type {
	CHAR_NONE,
	CHAR_STDIO,
	CHAR_STDOUT,
	CHAR_FILE,
	CHAR_PTY
};
extern const char *const char_type_words[];

struct char_config { /* --serial, --console: where a line of bytes goes */
	enum char_type type;
	char *path; /* CHAR_FILE: output; CHAR_PTY: symlink to make, or NULL */
	enum suspend_mode suspend; /* --console */
};

struct share_config { /* --shared-dir */
	char *path;
	char tag[CONFIG_TAG_BYTES]; /* names it to the guest */
	enum fs_cache cache;
	uint64_t timeout_s; /* of names and attributes in the guest */
	bool timeout_set;
	bool writeback;
	bool locks;    /* locks of the guest are locks of the host */
	bool suid;     /* as root: files may have set-id bits */
	bool reserved; /* as root: and take blocks reserved for root */
	enum suspend_mode suspend;
};

enum foreign_type {
	FOREIGN_BLK,
	FOREIGN_CONSOLE,
	FOREIGN_FS,
	FOREIGN_NET,
	FOREIGN_RNG,
};
extern const char *const foreign_type_words[];

struct foreign_config { /* --vhost-user: a back end that runs already */
	enum foreign_type type;
	char *socket;
	char tag[CONFIG_TAG_BYTES]; /* fs; empty: the back end knows it */
	unsigned int queues;	    /* fs: request queues */
	struct config_mac mac;	    /* net */
	uint16_t queue_size; /* entries; 0: as our own device of the type */
	enum suspend_mode suspend;
};

struct vsock_config { /* --vsock */
	uint32_t cid; /* 0: no device */
	char *path;   /* of its socket; NULL: see config_vsock_path() */
	enum suspend_mode suspend;
};

struct vfio_config {	   /* --vfio */
	char *device;	   /* its address, or its directory in sysfs */
	unsigned int slot; /* on the guest's bus; 0: the first one free */
	unsigned int pm;   /* enum pci_depth */
	unsigned int no_wake;
};

#define CONFIG_MAX_WAKES  40
#define CONFIG_NAME_BYTES 16

struct wake_config {		      /* --wake: a source that is narrowed */
	char name[CONFIG_NAME_BYTES]; /* "net0" */
	bool on;
};

enum tristate {
	TRISTATE_AUTO,
	TRISTATE_ON,
	TRISTATE_OFF
};
extern const char *const tristate_words[];
extern const char *const pci_depth_words[]; /* enum pci_depth */

struct vm_config {
	char *kernel;
	char *initrd;
	char *params; /* kernel command line, several --params joined by ' ' */
	char *socket; /* control socket path, NULL = none */
	char *name;   /* of the VM, for logs; default "torpor" */
	uint64_t mem_mib;
	unsigned int cpus;
	bool hugepages;
	bool rng; /* default true */
	enum suspend_mode rng_suspend;
	struct block_config blocks[CONFIG_MAX_BLOCKS];
	unsigned int nr_blocks;
	struct config_net nets[CONFIG_MAX_NETS];
	unsigned int nr_nets;
	struct share_config shares[CONFIG_MAX_SHARES];
	unsigned int nr_shares;
	struct foreign_config foreigns[CONFIG_MAX_FOREIGNS];
	unsigned int nr_foreigns;
	struct vsock_config vsock;
	struct vfio_config vfios[CONFIG_MAX_VFIOS];
	unsigned int nr_vfios;
	struct char_config serial; /* default CHAR_STDIO */
	struct char_config consoles[CONFIG_MAX_CONSOLES]; /* virtio-console */
	unsigned int nr_consoles;
	enum sandbox_mode sandbox;
	char *cgroup; /* v2 directory to enter, NULL: none */
	enum irqchip_mode irqchip;
	struct wake_config wakes[CONFIG_MAX_WAKES]; /* the last one wins */
	unsigned int nr_wakes;
	unsigned int wake_storm;	/* short sleeps in a row; 0 = never */
	unsigned int device_timeout_ms; /* to stop or start again */
	enum tristate invtsc;
	enum log_level log_level;
	char *device_exe; /* torpor-device; default: beside torpor */
};

void config_init(struct vm_config *cfg);
void config_finish(struct vm_config *cfg);

/**
 * config_parse_args() - options of `torpor run`
 * @argv: after "run"; the kernel is the last word, options may follow it too
 *
 * Return: 0; -EINVAL with @err naming option, value and remedy.
 */
int config_parse_args(struct vm_config *cfg, int argc, char **argv,
		      struct err *err) must_check;

/* --help or -h among the options; values of options do not count. */
bool config_wants_help(int argc, char **argv);
/* Help for `torpor run`, from the table that config_parse_args() uses. */
void config_print_help(FILE *out);

/* Reads a JSON file with the same keys. -errno with @err (line, column). */
int config_parse_file(struct vm_config *cfg, const char *path,
		      struct err *err) must_check;

/* Checks what belongs together (kernel given, device count, ...). */
int config_check(const struct vm_config *cfg, struct err *err) must_check;

/* The number of virtio devices that @option makes; NULL: all options. */
unsigned int config_count_devices(const struct vm_config *cfg,
				  const char *option);

/* What the guest's kernel is told unless the user says otherwise. */
#define CONFIG_CMDLINE_PANIC   "panic=-1"
#define CONFIG_CMDLINE_CONSOLE "console=ttyS0"

/*
 * The kernel command line: --params, and what it lacks. A kernel that panics
 * reboots, which ends the VM, unless there is a panic=; its messages go to the
 * serial port, if that goes anywhere, unless there is a console=.
 * Return: the caller's to free, NULL if there is no memory.
 */
char *config_cmdline(const struct vm_config *cfg);

/* The socket of --vsock: as given, or beside the control socket. */
void config_vsock_path(const struct vm_config *cfg, char *buf, size_t size);

#endif
