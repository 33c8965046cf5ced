/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/control/requests.h. */
#include "vmm/control/requests.h"

bool request_timeout(struct control_request *req, json_t *args,
		     int64_t fallback_ms, uint64_t *ret_ns)
{
	const json_t *value = json_object_get(args, "timeout_ms");
	int64_t ms = fallback_ms;

	if (value) {
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    json_integer_value(value) > REQUEST_MAX_TIMEOUT_MS) {
			control_reply_error(req, "invalid",
					    "timeout_ms: not a number of "
					    "milliseconds from 0 to %lld",
					    (long long)REQUEST_MAX_TIMEOUT_MS);
			return false;
		}
		ms = json_integer_value(value);
	}
	*ret_ns = (uint64_t)ms * NS_PER_MS;
	return true;
}

bool request_has_no_args(struct control_request *req, json_t *args)
{
	static const char *const none[] = { NULL };

	return control_check_keys(req, args, none);
}

bool request_flag(struct control_request *req, json_t *args, const char *key,
		  bool *ret)
{
	const json_t *value = json_object_get(args, key);

	if (value && !json_is_boolean(value)) {
		control_reply_error(req, "invalid", "%s: not true or false",
				    key);
		return false;
	}
	*ret = json_is_true(value);
	return true;
}
