/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of `torpor run`, see config.h. Main thread. */
#define _GNU_SOURCE
#include "vmm/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/config/options.h"

#define DEFAULT_MEM_MIB 256

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
	for (const struct config_option *o = config_options; o->name; o++) {
		if (o->group && o->group->finish)
			o->group->finish(cfg);
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

unsigned int config_count_devices(const struct vm_config *cfg,
				  const char *option)
{
	unsigned int n = 0;

	for (const struct config_option *o = config_options; o->name; o++) {
		if (o->group && o->group->count &&
		    (!option || !strcmp(option, o->name)))
			n += o->group->count(cfg);
	}
	return n;
}

/* "2 disks, 1 rng" */
static void list_devices(const struct vm_config *cfg, char *buf, size_t size)
{
	size_t len = 0;

	for (const struct config_option *o = config_options; o->name; o++) {
		unsigned int n =
			o->group && o->group->count ? o->group->count(cfg) : 0;

		if (n && len < size)
			len += (size_t)snprintf(buf + len, size - len,
						"%s%u %s", len ? ", " : "", n,
						o->group->noun);
	}
}

static int check_number(const struct vm_config *cfg, struct err *err)
{
	unsigned int n = config_count_devices(cfg, NULL);
	unsigned int max = cfg->irqchip == IRQCHIP_SPLIT
				   ? CONFIG_MAX_VIRTIO_SPLIT
				   : CONFIG_MAX_VIRTIO_KERNEL;
	char list[256];

	if (n <= max)
		return 0;
	list_devices(cfg, list, sizeof(list));
	return err_set(
		err, -EINVAL,
		"%u virtio devices (%s), at most %u with --irqchip %s; "
		"give fewer%s",
		n, list, max, irqchip_mode_words[cfg->irqchip],
		cfg->irqchip == IRQCHIP_SPLIT ? "" : " or use --irqchip split");
}

int config_check(const struct vm_config *cfg, struct err *err)
{
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
	for (const struct config_option *o = config_options; o->name; o++) {
		if (o->group && o->group->check &&
		    o->group->check(cfg, err) < 0)
			return -EINVAL;
	}
	return check_number(cfg, err);
}
