/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of the control commands that have files of their own, and how
 * all read their arguments. Each gets struct commands as @ctx. Main loop.
 */
#ifndef TORPOR_VMM_CONTROL_REQUESTS_H
#define TORPOR_VMM_CONTROL_REQUESTS_H

#include "vmm/control/commands.h"

#define REQUEST_MAX_TIMEOUT_MS (24LL * 3600 * 1000)

/* Each returns false after it has replied with an error that names the key. */

bool request_has_no_args(struct control_request *req, json_t *args);
/* "timeout_ms", @fallback_ms if it is not there. */
bool request_timeout(struct control_request *req, json_t *args,
		     int64_t fallback_ms, uint64_t *ret_ns);
/* A JSON boolean, false if it is not there. */
bool request_flag(struct control_request *req, json_t *args, const char *key,
		  bool *ret);

/* commands_power.c */
void request_suspend(struct control_request *req, json_t *args, void *ctx);
void request_resume(struct control_request *req, json_t *args, void *ctx);
void request_wake(struct control_request *req, json_t *args, void *ctx);
void request_powerbtn(struct control_request *req, json_t *args, void *ctx);
void request_sleepbtn(struct control_request *req, json_t *args, void *ctx);
/* commands_stats.c */
void request_stats(struct control_request *req, json_t *args, void *ctx);
/* commands_trace.c */
void request_trace(struct control_request *req, json_t *args, void *ctx);

#endif
