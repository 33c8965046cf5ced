/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user wire format (QEMU docs/interop/vhost-user.rst), shared by the
 * VMM's front end and the device processes' back end. Standard messages only:
 * what own devices need beyond it goes over virtio/devctl.h.
 */
#ifndef TORPOR_VIRTIO_VHOST_USER_VHOST_USER_H
#define TORPOR_VIRTIO_VHOST_USER_VHOST_USER_H

#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
};

#define VHOST_USER_VERSION	     1U
#define VHOST_USER_FLAG_VERSION_MASK 3U
#define VHOST_USER_FLAG_REPLY	     4U
#define VHOST_USER_FLAG_NEED_REPLY   8U

/* Virtio feature bit 30 on the wire: "protocol features can be negotiated". */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

#define VHOST_USER_PROTOCOL_F_MQ		  0
#define VHOST_USER_PROTOCOL_F_REPLY_ACK		  3
#define VHOST_USER_PROTOCOL_F_CONFIG		  9
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE	  13
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15

#define VHOST_USER_CONFIG_MAX	  256U /* bytes of config space in a message */
#define VHOST_USER_MEM_MAX	  8U   /* regions in SET_MEM_TABLE */
#define VHOST_USER_VRING_IDX_MASK 0xffU
#define VHOST_USER_VRING_NOFD	  0x100U /* no fd with KICK, CALL, ERR */

struct vhost_user_hdr {
	uint32_t request; /* enum vhost_user_request */
	uint32_t flags;
	uint32_t size; /* bytes of payload that follow */
} __attribute__((packed));

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc_user; /* the front end's addresses */
	uint64_t used_user;
	uint64_t avail_user;
	uint64_t log_guest;
};

struct vhost_user_mem_region {
	uint64_t gpa;
	uint64_t size; /* bytes */
	uint64_t user_addr;
	uint64_t mmap_offset; /* of the region in the fd, bytes */
};

struct vhost_user_mem_table {
	uint32_t nr;
	uint32_t padding;
	struct vhost_user_mem_region regions[VHOST_USER_MEM_MAX];
};

struct vhost_user_mem_reg_msg { /* ADD_MEM_REG, REM_MEM_REG */
	uint64_t padding;
	struct vhost_user_mem_region region;
};

struct vhost_user_config {
	uint32_t offset; /* into config space, bytes */
	uint32_t size;	 /* bytes of data */
	uint32_t flags;	 /* 0 = writable fields only */
	uint8_t data[VHOST_USER_CONFIG_MAX];
};

struct vhost_user_msg {
	struct vhost_user_hdr hdr;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_mem_table mem;
		struct vhost_user_mem_reg_msg mem_reg;
		struct vhost_user_config config;
	} payload;
} __attribute__((packed));

_Static_assert(sizeof(struct vhost_user_hdr) == 12, "wire format");
_Static_assert(sizeof(struct vhost_user_vring_addr) == 40, "wire format");
_Static_assert(sizeof(struct vhost_user_mem_table) == 8 + 8 * 32, "wire");
_Static_assert(sizeof(struct vhost_user_config) == 12 + 256, "wire format");

/* Name of a request for logs; "unknown" if it is none of ours. */
const char *vhost_user_name(uint32_t request);

#endif
