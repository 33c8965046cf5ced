/* SPDX-License-Identifier: BSD-3-Clause */
/* The control command "trace": what the flight recorder has. */
#include "vmm/control/requests.h"

#include <assert.h>
#include <unistd.h>

#include "vmm/trace/json.h"

#define MAX_CYCLES 64
/* Beside the reply's own keys, and what waits for the client already. */
#define MAX_BYTES (CONTROL_MAX_BACKLOG / 2)

static_assert(TRACE_MAX_VCPUS >= POWER_MAX_VCPUS, "a track for each vCPU");
static_assert(TRACE_MAX_DEVICES >= ARCH_MAX_VIRTIO, "a track for each device");

void request_trace(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "cycles", NULL };
	const json_t *cycles = json_object_get(args, "cycles");
	struct vm *vm = commands_vm(ctx);
	struct trace_json_options options = { .vm = vm->cfg->name,
					      .pid = getpid(),
					      .max_bytes = MAX_BYTES };
	json_t *result;

	if (!control_check_keys(req, args, keys))
		return;
	if (cycles) {
		if (!json_is_integer(cycles) ||
		    json_integer_value(cycles) < 1 ||
		    json_integer_value(cycles) > MAX_CYCLES) {
			control_reply_error(req, "invalid",
					    "cycles: not a number from 1 to %d",
					    MAX_CYCLES);
			return;
		}
		options.cycles = (unsigned int)json_integer_value(cycles);
	}
	result = trace_json(&vm->trace, &options);
	if (!result) {
		control_reply_error(req, "failed", "out of memory");
		return;
	}
	control_reply(req, result);
}
