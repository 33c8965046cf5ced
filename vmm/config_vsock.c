/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --vsock cid=N,socket=PATH, and --cid N, in crosvm's spelling; the socket is
 * as Firecracker's users know it. Main thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "virtio/vsock_dial.h"
#include "vmm/config_options.h"

/* Beside the control socket. */
#define SUFFIX ".vsock"
/* 0 to 2 and 2^32 - 1 are nobody's, or the host's (virtio 1.x, 5.10.4). */
#define CID_MIN 3U
#define CID_MAX (UINT32_MAX - 1U)

int config_set_cid(struct vm_config *cfg, const char *value, struct err *err)
{
	uint64_t n = 0;
	const char *end = config_parse_u64(value, &n);

	if (!end || *end || n < CID_MIN || n > CID_MAX)
		return err_set(err, -EINVAL, "use a number from %u to %u",
			       CID_MIN, CID_MAX);
	cfg->vsock.cid = (uint32_t)n;
	return 0;
}

static int parse_socket(struct vm_config *cfg, const char *value,
			struct err *err)
{
	char *copy;

	if (!*value)
		return err_set(err, -EINVAL, "is empty; give a path");
	if (strlen(value) > VSOCK_PATH_MAX)
		return err_set(err, -EINVAL,
			       "longer than %d bytes; give a shorter path",
			       VSOCK_PATH_MAX);
	copy = strdup(value);
	if (!copy)
		return err_set_errno(err, -ENOMEM, "cannot keep it");
	free(cfg->vsock.path);
	cfg->vsock.path = copy;
	return 0;
}

int config_set_vsock(struct vm_config *cfg, const struct config_kvs *kvs,
		     struct err *err)
{
	for (unsigned int i = 0; i < kvs->nr; i++) {
		const struct config_kv *kv = &kvs->kv[i];
		struct err why;
		int r;

		if (config_key_is(kv->key, "cid"))
			r = config_set_cid(cfg, kv->value, &why);
		else if (config_key_is(kv->key, "socket"))
			r = parse_socket(cfg, kv->value, &why);
		else if (config_key_is(kv->key, "suspend"))
			r = config_parse_suspend(kv->value, &cfg->vsock.suspend,
						 &why);
		else
			return config_unknown_key(kv, "cid, socket, suspend",
						  err);
		if (r < 0)
			return config_wrong_value(kv, &why, err);
	}
	return 0;
}

void config_vsock_path(const struct vm_config *cfg, char *buf, size_t size)
{
	if (cfg->vsock.path)
		(void)snprintf(buf, size, "%s", cfg->vsock.path);
	else
		(void)snprintf(buf, size, "%s" SUFFIX, cfg->socket);
}

int config_check_vsock(const struct vm_config *cfg, struct err *err)
{
	if (!cfg->vsock.cid && cfg->vsock.path)
		return err_set(err, -EINVAL,
			       "--vsock socket=%s: has no CID for the guest; "
			       "give cid=N, 3 or more",
			       cfg->vsock.path);
	if (!cfg->vsock.cid || cfg->vsock.path)
		return 0;
	if (!cfg->socket)
		return err_set(err, -EINVAL,
			       "--vsock cid=%u: has no socket for programs of "
			       "the host; give socket=PATH, or --socket, "
			       "beside which it is made",
			       cfg->vsock.cid);
	if (strlen(cfg->socket) + strlen(SUFFIX) > VSOCK_PATH_MAX)
		return err_set(err, -EINVAL,
			       "--vsock cid=%u: '%s" SUFFIX "' is longer than "
			       "%d bytes; give a shorter path by socket=PATH",
			       cfg->vsock.cid, cfg->socket, VSOCK_PATH_MAX);
	return 0;
}
