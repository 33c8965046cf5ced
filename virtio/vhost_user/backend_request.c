/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each vhost-user message does (QEMU docs/interop/vhost-user.rst). The
 * peer is hostile: sizes, indexes and number of fds are checked before
 * anything is changed. Loop thread only.
 */
#include <errno.h>
#include <string.h>

#include "virtio/vhost_user/backend_internal.h"
#include "vmm/base/fd.h"

#define PROTOCOL_FEATURES                          \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) |           \
	 BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |    \
	 BIT(VHOST_USER_PROTOCOL_F_CONFIG) |       \
	 BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) | \
	 BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

/*
 * A handler returns 0 (acknowledge if asked to), 1 (be->msg is the reply) or
 * -errno. It takes the fds it keeps out of be->fds by TAKE_FD.
 */
static int reply_u64(struct backend *be, uint64_t value)
{
	be->msg.payload.u64 = value;
	be->msg.hdr.size = sizeof(value);
	return BACKEND_REPLY;
}

static int get_features(struct backend *be)
{
	return reply_u64(be, be->dev->features_offered |
				     BIT(VHOST_USER_F_PROTOCOL_FEATURES));
}

static int set_features(struct backend *be)
{
	uint64_t offered =
		be->dev->features_offered | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	uint64_t v = be->msg.payload.u64;

	if (v & ~offered)
		return -EINVAL;
	if (v != be->features && backend_any_running(be))
		return -EBUSY;
	be->features = v;
	return 0;
}

/* A type without config space does not offer to be asked for it. */
static uint64_t protocol_features(const struct backend *be)
{
	return be->dev->ops->type->config_size
		       ? PROTOCOL_FEATURES
		       : PROTOCOL_FEATURES & ~BIT(VHOST_USER_PROTOCOL_F_CONFIG);
}

static int get_protocol_features(struct backend *be)
{
	return reply_u64(be, protocol_features(be));
}

static int set_protocol_features(struct backend *be)
{
	if (be->msg.payload.u64 & ~protocol_features(be))
		return -EINVAL;
	be->protocol = be->msg.payload.u64;
	return 0;
}

static int get_queue_num(struct backend *be)
{
	return reply_u64(be, be->dev->nr_queues);
}

static int get_max_mem_slots(struct backend *be)
{
	return reply_u64(be, GMEM_MAX_REGIONS);
}

/* SET_OWNER; and RESET_OWNER, which the text says to ignore. */
static int do_nothing(struct backend *be)
{
	return 0;
}

static int region_add(struct backend *be, struct gmem *gm,
		      const struct vhost_user_mem_region *wire, int *fd)
{
	struct gmem_region region = { .gpa = wire->gpa,
				      .size = wire->size,
				      .user_addr = wire->user_addr,
				      .fd = *fd,
				      .fd_offset = wire->mmap_offset };
	int r;

	if (wire->size && wire->size - 1 > UINT64_MAX - wire->user_addr)
		return -EINVAL;
	r = gmem_add(gm, &region);
	if (r == 0)
		*fd = -1;
	return r;
}

static int set_mem_table(struct backend *be)
{
	struct vhost_user_mem_table table;
	struct gmem gm = { .nr = 0 };
	int r = 0;

	memcpy(&table, &be->msg.payload, sizeof(table));
	if (table.nr > VHOST_USER_MEM_MAX || be->nr_fds != table.nr ||
	    be->msg.hdr.size != offsetof(struct vhost_user_mem_table, regions) +
					table.nr * sizeof(table.regions[0]))
		return -EINVAL;
	for (unsigned int i = 0; i < table.nr && r == 0; i++)
		r = region_add(be, &gm, &table.regions[i], &be->fds[i]);
	if (r < 0) {
		gmem_finish(&gm);
		return r;
	}
	backend_rings_halt(be);
	gmem_finish(&be->dev->gmem);
	be->dev->gmem = gm;
	return backend_rings_update(be);
}

static int add_mem_reg(struct backend *be)
{
	struct vhost_user_mem_reg_msg m;
	int r, r2;

	memcpy(&m, &be->msg.payload, sizeof(m));
	if (be->nr_fds != 1)
		return -EINVAL;
	backend_rings_halt(be);
	r = region_add(be, &be->dev->gmem, &m.region, &be->fds[0]);
	r2 = backend_rings_update(be);
	return r < 0 ? r : r2;
}

/* An fd may come along from old front ends; it is closed unused. */
static int rem_mem_reg(struct backend *be)
{
	struct vhost_user_mem_reg_msg m;
	int r, r2;

	memcpy(&m, &be->msg.payload, sizeof(m));
	backend_rings_halt(be);
	r = gmem_remove(&be->dev->gmem, m.region.gpa, m.region.size);
	r2 = backend_rings_update(be);
	return r < 0 ? r : r2;
}

/* Requests whose payload starts with a ring index. */
static int ring_state(struct backend *be, struct vhost_user_vring_state *ret)
{
	memcpy(ret, &be->msg.payload, sizeof(*ret));
	return ret->index < be->dev->nr_queues ? 0 : -EINVAL;
}

static int set_vring_num(struct backend *be)
{
	struct vhost_user_vring_state s;
	int r = ring_state(be, &s);

	if (r < 0)
		return r;
	if (!s.num || s.num > VIRTQ_MAX_SIZE || (s.num & (s.num - 1)))
		return -EINVAL;
	if (be->dev->queues[s.index].running)
		return -EBUSY;
	be->rings[s.index].num = (uint16_t)s.num;
	return backend_ring_update(be, s.index);
}

static int set_vring_base(struct backend *be)
{
	struct vhost_user_vring_state s;
	int r = ring_state(be, &s);

	if (r < 0)
		return r;
	if (s.num > UINT16_MAX)
		return -EINVAL;
	if (be->dev->queues[s.index].running)
		return -EBUSY;
	be->rings[s.index].base = (uint16_t)s.num;
	return 0;
}

static int set_vring_addr(struct backend *be)
{
	struct vhost_user_vring_addr a;
	struct backend_ring *ring;

	memcpy(&a, &be->msg.payload, sizeof(a));
	/* The only flag is dirty logging, which is not offered. */
	if (a.index >= be->dev->nr_queues || a.flags)
		return -EINVAL;
	ring = &be->rings[a.index];
	if (be->dev->queues[a.index].running) {
		bool same = ring->desc_user == a.desc_user &&
			    ring->avail_user == a.avail_user &&
			    ring->used_user == a.used_user;

		return same ? 0 : -EBUSY;
	}
	ring->desc_user = a.desc_user;
	ring->avail_user = a.avail_user;
	ring->used_user = a.used_user;
	ring->has_addr = true;
	/* Tell a bad address now, if its length is known already. */
	if (ring->num) {
		int r = backend_ring_resolve(be, a.index);

		if (r < 0) {
			ring->has_addr = false;
			return r;
		}
	}
	return backend_ring_update(be, a.index);
}

/* KICK, CALL and ERR: index, and one fd unless bit 8 says there is none. */
static int ring_fd(struct backend *be, unsigned int *ret_index, int *ret_fd)
{
	uint64_t v = be->msg.payload.u64;
	bool none = v & VHOST_USER_VRING_NOFD;

	if (v & ~(uint64_t)(VHOST_USER_VRING_IDX_MASK | VHOST_USER_VRING_NOFD))
		return -EINVAL;
	if ((v & VHOST_USER_VRING_IDX_MASK) >= be->dev->nr_queues ||
	    be->nr_fds != (none ? 0 : 1))
		return -EINVAL;
	*ret_index = (unsigned int)(v & VHOST_USER_VRING_IDX_MASK);
	*ret_fd = none ? -1 : TAKE_FD(be->fds[0]);
	return 0;
}

static int set_vring_kick(struct backend *be)
{
	unsigned int i;
	int fd;
	int r = ring_fd(be, &i, &fd);

	if (r < 0)
		return r;
	/* No fd asks for polling, which would keep a processor awake. */
	if (fd < 0)
		return -EOPNOTSUPP;
	backend_ring_halt(be, i);
	fd_close(&be->dev->queues[i].kick_fd);
	be->dev->queues[i].kick_fd = fd;
	r = backend_ring_update(be, i);
	if (r < 0) {
		fd_close(&be->dev->queues[i].kick_fd);
		backend_stop_if_idle(be);
	}
	return r;
}

static int set_vring_call(struct backend *be)
{
	unsigned int i;
	int fd;
	int r = ring_fd(be, &i, &fd);
	struct virtq *vq;

	if (r < 0)
		return r;
	vq = &be->dev->queues[i];
	fd_close(&vq->call_fd);
	vq->call_fd = fd;
	/* What was used before there was someone to tell. */
	if (vq->running && fd >= 0)
		fd_event_signal(fd);
	return 0;
}

static int set_vring_err(struct backend *be)
{
	unsigned int i;
	int fd;
	int r = ring_fd(be, &i, &fd);

	if (r < 0)
		return r;
	fd_close(&be->dev->queues[i].err_fd);
	be->dev->queues[i].err_fd = fd;
	return 0;
}

static int set_vring_enable(struct backend *be)
{
	struct vhost_user_vring_state s;
	int r = ring_state(be, &s);

	if (r < 0)
		return r;
	/*
	 * Not only once bit 30 is acknowledged, as the text has it: QEMU's
	 * network cards enable their rings before SET_FEATURES. It is kept,
	 * and means nothing until then.
	 */
	if (s.num > 1)
		return -EINVAL;
	be->rings[s.index].enabled = s.num;
	r = backend_ring_update(be, s.index);
	if (r < 0)
		be->rings[s.index].enabled = false;
	return r;
}

static int get_vring_base(struct backend *be)
{
	struct vhost_user_vring_state s;
	int r = ring_state(be, &s);

	if (r < 0)
		return r;
	backend_ring_halt(be, s.index);
	backend_stop_if_idle(be);
	fd_close(&be->dev->queues[s.index].kick_fd);
	fd_close(&be->dev->queues[s.index].call_fd);
	s.num = be->rings[s.index].base;
	memcpy(&be->msg.payload, &s, sizeof(s));
	be->msg.hdr.size = sizeof(s);
	return BACKEND_REPLY;
}

#define CONFIG_HDR offsetof(struct vhost_user_config, data)

/* Bounds of both config requests. */
static bool config_valid(const struct backend *be)
{
	uint32_t off = be->msg.payload.config.offset;
	uint32_t size = be->msg.payload.config.size;
	uint32_t total = be->dev->ops->type->config_size;

	return be->msg.hdr.size == CONFIG_HDR + (uint64_t)size &&
	       off <= total && size <= total - off;
}

static int get_config(struct backend *be)
{
	/* The protocol's way to say no is a reply without payload. */
	if (!config_valid(be)) {
		be->msg.hdr.size = 0;
		return BACKEND_REPLY;
	}
	memcpy(be->msg.payload.config.data,
	       be->dev->config + be->msg.payload.config.offset,
	       be->msg.payload.config.size);
	return BACKEND_REPLY;
}

static int set_config(struct backend *be)
{
	const struct virtio_dev *dev = be->dev;

	if (!config_valid(be) || be->msg.payload.config.flags)
		return -EINVAL;
	if (dev->ops->config_write)
		dev->ops->config_write(be->dev, be->msg.payload.config.offset,
				       be->msg.payload.config.data,
				       be->msg.payload.config.size);
	return 0;
}

/* All but the memory table and the protocol features back to the start. */
static int reset_device(struct backend *be)
{
	struct virtio_dev *dev = be->dev;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		backend_ring_forget(be, i);
	backend_stop_if_idle(be);
	be->features = 0;
	be->failed = false;
	dev->features = 0;
	if (dev->ops->reset)
		dev->ops->reset(dev);
	/* What the driver has written to config space, undone. */
	if (dev->ops->config_write && dev->ops->type->config_size)
		dev->ops->config_write(dev, 0, be->config_initial,
				       dev->ops->type->config_size);
	return 0;
}

struct request {
	int (*fn)(struct backend *be);
	uint16_t min_size, max_size; /* payload bytes */
	uint8_t max_fds;
	uint64_t protocol; /* features one of which must be negotiated */
};

#define STATE_SIZE sizeof(struct vhost_user_vring_state)

static const struct request requests[] = {
	[VHOST_USER_GET_FEATURES] = { get_features, 0, 0, 0, 0 },
	[VHOST_USER_SET_FEATURES] = { set_features, 8, 8, 0, 0 },
	[VHOST_USER_SET_OWNER] = { do_nothing, 0, 0, 0, 0 },
	[VHOST_USER_RESET_OWNER] = { do_nothing, 0, 0, 0, 0 },
	[VHOST_USER_SET_MEM_TABLE] = { set_mem_table, 8,
				       sizeof(struct vhost_user_mem_table),
				       VHOST_USER_MEM_MAX, 0 },
	[VHOST_USER_SET_VRING_NUM] = { set_vring_num, STATE_SIZE, STATE_SIZE, 0,
				       0 },
	[VHOST_USER_SET_VRING_ADDR] = { set_vring_addr,
					sizeof(struct vhost_user_vring_addr),
					sizeof(struct vhost_user_vring_addr), 0,
					0 },
	[VHOST_USER_SET_VRING_BASE] = { set_vring_base, STATE_SIZE, STATE_SIZE,
					0, 0 },
	[VHOST_USER_GET_VRING_BASE] = { get_vring_base, STATE_SIZE, STATE_SIZE,
					0, 0 },
	[VHOST_USER_SET_VRING_KICK] = { set_vring_kick, 8, 8, 1, 0 },
	[VHOST_USER_SET_VRING_CALL] = { set_vring_call, 8, 8, 1, 0 },
	[VHOST_USER_SET_VRING_ERR] = { set_vring_err, 8, 8, 1, 0 },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { get_protocol_features, 0, 0, 0,
					       0 },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { set_protocol_features, 8, 8, 0,
					       0 },
	[VHOST_USER_GET_QUEUE_NUM] = { get_queue_num, 0, 0, 0,
				       BIT(VHOST_USER_PROTOCOL_F_MQ) },
	[VHOST_USER_SET_VRING_ENABLE] = { set_vring_enable, STATE_SIZE,
					  STATE_SIZE, 0, 0 },
	[VHOST_USER_GET_CONFIG] = { get_config, CONFIG_HDR,
				    sizeof(struct vhost_user_config), 0,
				    BIT(VHOST_USER_PROTOCOL_F_CONFIG) },
	[VHOST_USER_SET_CONFIG] = { set_config, CONFIG_HDR,
				    sizeof(struct vhost_user_config), 0,
				    BIT(VHOST_USER_PROTOCOL_F_CONFIG) },
	[VHOST_USER_RESET_DEVICE] = { reset_device, 0, 0, 0,
				      BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, 0, 0, 0,
					   BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) },
	[VHOST_USER_ADD_MEM_REG] = { add_mem_reg,
				     sizeof(struct vhost_user_mem_reg_msg),
				     sizeof(struct vhost_user_mem_reg_msg), 1,
				     BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) },
	[VHOST_USER_REM_MEM_REG] = { rem_mem_reg,
				     sizeof(struct vhost_user_mem_reg_msg),
				     sizeof(struct vhost_user_mem_reg_msg), 1,
				     BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) },
};

int backend_request_run(struct backend *be)
{
	const struct vhost_user_hdr *h = &be->msg.hdr;
	const struct request *req;

	if (h->request >= ARRAY_SIZE(requests) || !requests[h->request].fn)
		return -ENOSYS;
	req = &requests[h->request];
	if (req->protocol & ~be->protocol)
		return -EPROTO;
	if (h->size < req->min_size || h->size > req->max_size)
		return -EBADMSG;
	if (be->nr_fds > req->max_fds)
		return -EBADMSG;
	return req->fn(be);
}
