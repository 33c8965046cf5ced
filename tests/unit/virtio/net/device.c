/* SPDX-License-Identifier: BSD-3-Clause */
/* What the network device offers and which words it takes. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/net_rig.h"

Test(net, offers_what_the_tap_can_do, .timeout = 120)
{
	struct virtio_net_config config;
	struct nic t;

	nic_open(&t, WITH_CTRL | OFFLOADS);
	cr_assert(eq(u64, t.f.features & (WITH_CTRL | OFFLOADS),
		     WITH_CTRL | OFFLOADS));
	cr_assert(zero(u64, t.f.features & (BIT(VIRTIO_NET_F_HOST_UFO) |
					    BIT(VIRTIO_NET_F_GUEST_UFO) |
					    BIT(VIRTIO_NET_F_MQ))));
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(zero(int, memcmp(config.mac, own, ETH_ALEN)));
	cr_assert(eq(u16, config.status, VIRTIO_NET_S_LINK_UP));
	cr_assert(eq(u16, config.max_virtqueue_pairs, 1));
	nic_close(&t);
}

static char bad_words[][40] = { "frob",
				"wake=",
				"wake=any",
				"mac=",
				"mac=52:54:00:12:34",
				"mac=52:54:00:12:34:5",
				"mac=52:54:00:12:34:56:78",
				"mac=52-54-00-12-34-56",
				"mac=52:54:00:12:34:5g",
				"mac=01:54:00:12:34:56",
				"mac=52:54:00:12:34:\x15\x16" };

Test(net, bad_words_are_refused, .timeout = 120)
{
	struct virtio_dev *dev = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (size_t i = 0; i < ARRAY_SIZE(bad_words); i++) {
		char *args[] = { bad_words[i], NULL };

		cr_assert(eq(int,
			     virtio_net_ops.create(&loop, args, virtio_no_fds,
						   &dev),
			     -EINVAL),
			  "%s", bad_words[i]);
	}
	cr_assert(dev == NULL);
	loop_finish(&loop);
}

Test(net, destroy_takes_null)
{
	virtio_net_ops.destroy(NULL);
}
