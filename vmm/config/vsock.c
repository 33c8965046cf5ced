/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --vsock cid=N,socket=PATH, and --cid N, in crosvm's spelling; the socket is
 * as Firecracker's users know it. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "virtio/vsock/dial.h"
#include "vmm/config/options.h"

/* Beside the control socket. */
#define SUFFIX ".vsock"

#define VSOCK(field) offsetof(struct vsock_config, field)

static const struct config_key vsock_keys[] = {
	{ "cid", config_value_number, VSOCK(cid), .min = CONFIG_CID_MIN,
	  .max = CONFIG_CID_MAX, .arg = "N",
	  .help = "the guest's CID, 3 or more" },
	{ "socket", config_value_string, VSOCK(path), .max = VSOCK_PATH_MAX,
	  .arg = "PATH", .help = "default: the PATH of --socket plus .vsock" },
	{ "suspend", config_value_word, VSOCK(suspend), suspend_mode_words,
	  .help = "as for --block" },
	{ NULL },
};

static int set_vsock(struct vm_config *cfg, const struct config_pairs *pairs,
		     struct err *err)
{
	return config_keys_apply(vsock_keys, NULL, pairs, &cfg->vsock, err);
}

void config_vsock_path(const struct vm_config *cfg, char *buf, size_t size)
{
	if (cfg->vsock.path)
		(void)snprintf(buf, size, "%s", cfg->vsock.path);
	else
		(void)snprintf(buf, size, "%s" SUFFIX, cfg->socket);
}

static int check_vsock(const struct vm_config *cfg, struct err *err)
{
	if (!cfg->vsock.cid && cfg->vsock.path)
		return err_set(err, -EINVAL,
			       "--vsock socket=%s: the guest's CID is missing; "
			       "give cid=N, 3 or more",
			       cfg->vsock.path);
	if (!cfg->vsock.cid || cfg->vsock.path)
		return 0;
	if (!cfg->socket)
		return err_set(
			err, -EINVAL,
			"--vsock cid=%u: the socket for programs of the "
			"host is missing; give socket=PATH, or --socket, "
			"from which its name is made",
			cfg->vsock.cid);
	if (strlen(cfg->socket) + strlen(SUFFIX) > VSOCK_PATH_MAX)
		return err_set(err, -EINVAL,
			       "--vsock cid=%u: '%s" SUFFIX "' is longer than "
			       "%d bytes; give a shorter path with socket=PATH",
			       cfg->vsock.cid, cfg->socket, VSOCK_PATH_MAX);
	return 0;
}

static unsigned int count_vsock(const struct vm_config *cfg)
{
	return cfg->vsock.cid != 0;
}

static void finish_vsock(struct vm_config *cfg)
{
	free(cfg->vsock.path);
}

const struct config_group config_vsock = {
	.keys = vsock_keys,
	.set = set_vsock,
	.count = count_vsock,
	.noun = "vsock",
	.check = check_vsock,
	.finish = finish_vsock,
};
