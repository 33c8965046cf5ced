/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of `torpor run`, see config.h. Main thread. */
#define _GNU_SOURCE
#include "vmm/config/config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/config/options.h"

#define DEFAULT_MEM_MIB 256

const char *const suspend_mode_words[] = {
	[SUSPEND_V14] = "v14",
	[SUSPEND_DRAFT] = "draft",
	[SUSPEND_BOTH] = "both",
	[SUSPEND_OFF] = "off",
	NULL,
};

const char *const char_type_words[] = {
	[CHAR_NONE] = "none", [CHAR_STDIO] = "stdio", [CHAR_STDOUT] = "stdout",
	[CHAR_FILE] = "file", [CHAR_PTY] = "pty",     NULL,
};

const char *const foreign_type_words[] = {
	[FOREIGN_BLK] = "blk", [FOREIGN_CONSOLE] = "console",
	[FOREIGN_FS] = "fs",   [FOREIGN_NET] = "net",
	[FOREIGN_RNG] = "rng", NULL,
};

const char *const tristate_words[] = {
	[TRISTATE_AUTO] = "auto",
	[TRISTATE_ON] = "on",
	[TRISTATE_OFF] = "off",
	NULL,
};

void config_init(struct vm_config *cfg)
{
	*cfg = (struct vm_config){
		.mem_mib = DEFAULT_MEM_MIB,
		.name = strdup("torpor"),
		.cpus = 1,
		.rng = true,
		.serial.type = CHAR_STDIO,
		.sandbox = SANDBOX_FULL,
		.irqchip = IRQCHIP_SPLIT,
		.wake_storm = 50,
		.device_timeout_ms = 5000,
		.invtsc = TRISTATE_AUTO,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_finish(struct vm_config *cfg)
{
	if (!cfg)
		return;
	free(cfg->kernel);
	free(cfg->initrd);
	free(cfg->params);
	free(cfg->socket);
	free(cfg->name);
	free(cfg->device_exe);
	free(cfg->cgroup);
	free(cfg->serial.path);
	free(cfg->vsock.path);
	for (unsigned int i = 0; i < cfg->nr_blocks; i++)
		free(cfg->blocks[i].path);
	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		free(cfg->consoles[i].path);
	for (unsigned int i = 0; i < cfg->nr_shares; i++)
		free(cfg->shares[i].path);
	for (unsigned int i = 0; i < cfg->nr_foreigns; i++)
		free(cfg->foreigns[i].socket);
	for (unsigned int i = 0; i < cfg->nr_nets; i++) {
		free(cfg->nets[i].tap_name);
		/* A zeroed entry would name stdin. */
		if (cfg->nets[i].tap_fd > STDERR_FILENO)
			fd_close(&cfg->nets[i].tap_fd);
	}
	*cfg = (struct vm_config){ 0 };
}

/* --- the whole --- */

static unsigned int count_stdio(const struct vm_config *cfg)
{
	unsigned int n = cfg->serial.type == CHAR_STDIO;

	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		n += cfg->consoles[i].type == CHAR_STDIO;
	return n;
}

int config_check(const struct vm_config *cfg, struct err *err)
{
	unsigned int n = cfg->nr_blocks + cfg->nr_nets + cfg->nr_consoles +
			 cfg->nr_shares + cfg->nr_foreigns +
			 (cfg->vsock.cid != 0) + cfg->rng;
	unsigned int max = cfg->irqchip == IRQCHIP_SPLIT
				   ? CONFIG_MAX_VIRTIO_SPLIT
				   : CONFIG_MAX_VIRTIO_KERNEL;

	if (!cfg->kernel)
		return err_set(err, -EINVAL,
			       "no kernel given; name one as the last word: "
			       "torpor run [OPTION...] KERNEL");
	if (cfg->hugepages && cfg->mem_mib % CONFIG_HUGEPAGE_MIB)
		return err_set(err, -EINVAL,
			       "--mem %llu: --hugepages needs a multiple of "
			       "%u MiB",
			       (unsigned long long)cfg->mem_mib,
			       CONFIG_HUGEPAGE_MIB);
	if (count_stdio(cfg) > 1)
		return err_set(
			err, -EINVAL,
			"--console type=stdio: standard input is already "
			"in use; give the others (also --serial, whose "
			"default is stdio) type=stdout, file, pty or "
			"none");
	if (config_check_vsock(cfg, err) < 0)
		return -EINVAL;
	if (n > max)
		return err_set(
			err, -EINVAL,
			"%u virtio devices (%u disks, %u NICs, %u "
			"consoles, %u directories, %u external%s%s), at most "
			"%u with --irqchip %s; give fewer%s",
			n, cfg->nr_blocks, cfg->nr_nets, cfg->nr_consoles,
			cfg->nr_shares, cfg->nr_foreigns,
			cfg->vsock.cid ? ", vsock" : "",
			cfg->rng ? ", rng" : "", max,
			irqchip_mode_words[cfg->irqchip],
			cfg->irqchip == IRQCHIP_SPLIT
				? ""
				: " or use --irqchip split");
	return 0;
}
