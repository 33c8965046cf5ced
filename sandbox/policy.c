/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/policy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

const struct policy_role *policy_find(const char *role)
{
	for (unsigned int i = 0; i < policy_nr_roles; i++) {
		if (strcmp(policy_roles[i].name, role) == 0)
			return &policy_roles[i];
	}
	return NULL;
}

static int add_rule(scmp_filter_ctx ctx, const struct policy_rule *rule)
{
	struct scmp_arg_cmp cmp[] = {
		{ .arg = rule->arg,
		  .op = SCMP_CMP_MASKED_EQ,
		  .datum_a = rule->mask,
		  .datum_b = rule->value },
		{ .arg = rule->arg2,
		  .op = SCMP_CMP_MASKED_EQ,
		  .datum_a = rule->mask2 },
	};

	switch ((enum policy_test)rule->test) {
	case POLICY_ANY:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, rule->nr, 0);
	case POLICY_SELF:
		cmp[0].datum_a = 0xffffffffULL;
		cmp[0].datum_b = (uint32_t)getpid();
		break;
	case POLICY_EQ:
		break;
	case POLICY_ERRNO:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(rule->value),
					rule->nr, 0);
	case POLICY_KILL:
		return seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, rule->nr,
					0);
	}
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rule->nr,
				      rule->mask2 ? 2 : 1, cmp);
}

int policy_add(scmp_filter_ctx ctx, const struct policy_table *table,
	       bool names_only)
{
	for (unsigned int i = 0; i < table->nr_rules; i++) {
		struct policy_rule rule = table->rules[i];
		int r;

		if (names_only) {
			if (rule.test == POLICY_ERRNO ||
			    rule.test == POLICY_KILL)
				continue;
			rule.test = POLICY_ANY;
		}
		r = add_rule(ctx, &rule);
		if (r < 0)
			return r;
	}
	return 0;
}

int policy_begin(uint32_t action, scmp_filter_ctx *ret)
{
	scmp_filter_ctx ctx = seccomp_init(action);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, action);
	if (r < 0) {
		seccomp_release(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}
