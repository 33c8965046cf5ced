/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of options that make devices is whole. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "vmm/config/options.h"
#include "vmm/vm/device.h"

static const struct vm_device_option *find(const char *option)
{
	for (const struct vm_device_option *o = vm_device_options; o->option;
	     o++) {
		if (!strcmp(o->option, option))
			return o;
	}
	return NULL;
}

Test(device_types, every_option_that_counts_devices_makes_them)
{
	for (const struct config_option *o = config_options; o->name; o++) {
		if (o->group && o->group->count)
			cr_assert(find(o->name) != NULL, "--%s", o->name);
	}
	for (const struct vm_device_option *o = vm_device_options; o->option;
	     o++) {
		const struct config_option *c = config_option_find(o->option);

		cr_assert(c && c->group && c->group->count, "--%s", o->option);
	}
}

Test(device_types, every_type_has_one_option)
{
	unsigned int nr[VIRTIO_NR_TYPES] = { 0 };

	for (const struct vm_device_option *o = vm_device_options; o->option;
	     o++) {
		cr_assert(eq(int, !!o->open + !!o->create, 1), "--%s",
			  o->option);
		if (o->open)
			nr[o->type]++;
	}
	for (unsigned int i = 0; i < VIRTIO_NR_TYPES; i++)
		cr_assert(eq(u32, nr[i], 1), "%s", virtio_types[i].name);
}

Test(device_types, the_entropy_device_is_the_last)
{
	const struct vm_device_option *o = find("rng");

	cr_assert(o && !o[1].option);
}
