/* SPDX-License-Identifier: BSD-3-Clause */
/* --vfio DEVICE[,KEY=VALUE...]; crosvm has the path. Main thread. */
#include <errno.h>
#include <string.h>

#include "devices/pci/pci.h"
#include "vmm/config/options.h"

#define LAST_SLOT 31U /* 0 is the host bridge's */

#define VFIO(field) offsetof(struct vfio_config, field)

/* no_wake. */
static const char *const wake_words[] = { "on", "off", NULL };

static const struct config_key vfio_keys[] = {
	{ "device", config_value_string, VFIO(device), .arg = "DEVICE" },
	{ "guest-slot", config_value_number, VFIO(slot), .min = 1,
	  .max = LAST_SLOT, .arg = "N",
	  .help = "where it is on the guest's bus 0 (1 to 31;\n"
		  "default: the first one that is free)" },
	{ "pm", config_value_word, VFIO(pm), pci_depth_words,
	  .help = "how far down it goes with the guest: to\n"
		  "D3hot (shallow, the default), not at all\n"
		  "(off), or to D3cold if the host can (deep)" },
	{ "wake", config_value_word, VFIO(no_wake), wake_words,
	  .help = "may it wake the guest out of pm=deep (on)" },
	{ NULL },
};

static int check_one(const struct vm_config *cfg,
		     const struct vfio_config *vfio, struct err *err)
{
	if (!vfio->device)
		return err_set(err, -EINVAL,
			       "names no device; give its address first, as "
			       "'lspci -D' prints it (0000:01:00.0)");
	if (cfg->nr_vfios == CONFIG_MAX_VFIOS)
		return err_set(err, -EINVAL, "too many; at most %d",
			       CONFIG_MAX_VFIOS);
	for (unsigned int i = 0; i < cfg->nr_vfios; i++) {
		if (vfio->slot && cfg->vfios[i].slot == vfio->slot)
			return err_set(err, -EINVAL,
				       "guest-slot=%u is that of --vfio %s; "
				       "give another",
				       vfio->slot, cfg->vfios[i].device);
	}
	return 0;
}

static int set_vfio(struct vm_config *cfg, const struct config_pairs *pairs,
		    struct err *err)
{
	struct vfio_config vfio = { 0 };
	int r = config_keys_apply(vfio_keys, NULL, pairs, &vfio, err);

	if (r == 0)
		r = check_one(cfg, &vfio, err);
	if (r < 0) {
		free(vfio.device);
		return r;
	}
	cfg->vfios[cfg->nr_vfios++] = vfio;
	return 0;
}

static int check_vfio(const struct vm_config *cfg, struct err *err)
{
	if (cfg->nr_vfios && cfg->irqchip != IRQCHIP_SPLIT)
		return err_set(err, -EINVAL,
			       "--vfio %s: needs --irqchip split, because its "
			       "interrupts have no pins",
			       cfg->vfios[0].device);
	return 0;
}

static void finish_vfio(struct vm_config *cfg)
{
	for (unsigned int i = 0; i < cfg->nr_vfios; i++)
		free(cfg->vfios[i].device);
}

const struct config_group config_vfio = {
	.keys = vfio_keys,
	.set = set_vfio,
	.check = check_vfio,
	.finish = finish_vfio,
};
