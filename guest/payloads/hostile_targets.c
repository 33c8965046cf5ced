/* SPDX-License-Identifier: BSD-3-Clause */
/* How each queue of each device type is used well. See hostile.h. */
#include <linux/fuse.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#include "guest/payloads/hostile.h"

#define NET_HDR 12U
#define FRAME	60U
#define RX_LEN	2048U
#define HAS_CONTROL \
	(VIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIO_BIT(VIRTIO_NET_F_CTRL_RX))

/* What a slot's request says; the same in all. Answers are in hostile_data. */
static union {
	struct virtio_blk_outhdr blk;
	uint8_t frame[NET_HDR + FRAME];
	uint8_t command[3];
	char text[16];
	struct {
		struct fuse_in_header h;
		struct fuse_init_in init;
	} __attribute__((packed)) fuse;
	struct {
		struct fuse_in_header h;
		struct fuse_forget_in forget;
	} __attribute__((packed)) forget;
	struct virtio_vsock_hdr vsock;
} said;
static volatile uint8_t blk_status;

static uint8_t *answer(unsigned int slot)
{
	return hostile_data + slot * 4096;
}

static unsigned int halves(struct vio_buf *bufs, const void *at, uint32_t first,
			   uint32_t rest)
{
	bufs[0] = (struct vio_buf){ at, first };
	bufs[1] = (struct vio_buf){ (const uint8_t *)at + first, rest };
	return 2;
}

static unsigned int blk_request(unsigned int slot, struct vio_buf *bufs,
				unsigned int *ret_out)
{
	said.blk = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	blk_status = 0xa5;
	bufs[0] = (struct vio_buf){ &said.blk, sizeof(said.blk) };
	bufs[1] = (struct vio_buf){ answer(slot), 2 * SECTOR };
	bufs[2] = (struct vio_buf){ &blk_status, 1 };
	*ret_out = 1;
	return 3;
}

static bool blk_good(uint32_t len)
{
	return blk_status == VIRTIO_BLK_S_OK && len == 2 * SECTOR + 1;
}

static unsigned int net_tx(unsigned int slot, struct vio_buf *bufs,
			   unsigned int *ret_out)
{
	memset(&said, 0, sizeof(said.frame));
	memset(said.frame + NET_HDR, 0xff, 6);
	said.frame[NET_HDR + 12] = 0x88; /* for experiments */
	said.frame[NET_HDR + 13] = 0xb5;
	return *ret_out = halves(bufs, said.frame, NET_HDR, FRAME);
}

static bool nothing_written(uint32_t len)
{
	return len == 0;
}

static unsigned int net_ctrl(unsigned int slot, struct vio_buf *bufs,
			     unsigned int *ret_out)
{
	said.command[0] = VIRTIO_NET_CTRL_RX;
	said.command[1] = VIRTIO_NET_CTRL_RX_PROMISC;
	said.command[2] = 1;
	*answer(slot) = 0xa5;
	*ret_out = halves(bufs, said.command, 2, 1);
	bufs[2] = (struct vio_buf){ answer(slot), 1 };
	return 3;
}

static bool net_ctrl_good(uint32_t len)
{
	return len == 1 && *(volatile uint8_t *)answer(0) == VIRTIO_NET_OK;
}

static unsigned int console_tx(unsigned int slot, struct vio_buf *bufs,
			       unsigned int *ret_out)
{
	memcpy(said.text, "hostile, polite\n", sizeof(said.text));
	return *ret_out = halves(bufs, said.text, 8, 8);
}

static unsigned int receive(unsigned int slot, struct vio_buf *bufs,
			    unsigned int *ret_out)
{
	*ret_out = 0;
	return halves(bufs, answer(slot), sizeof(struct virtio_vsock_hdr),
		      RX_LEN - sizeof(struct virtio_vsock_hdr));
}

static bool something_written(uint32_t len)
{
	return len > 0 && len <= RX_LEN;
}

static unsigned int fs_request(unsigned int slot, struct vio_buf *bufs,
			       unsigned int *ret_out)
{
	memset(&said, 0, sizeof(said.fuse));
	said.fuse.h = (struct fuse_in_header){ .len = sizeof(said.fuse),
					       .opcode = FUSE_INIT,
					       .unique = 1 };
	said.fuse.init.major = FUSE_KERNEL_VERSION;
	said.fuse.init.minor = FUSE_KERNEL_MINOR_VERSION;
	*ret_out = halves(bufs, &said.fuse, sizeof(said.fuse.h),
			  sizeof(said.fuse.init));
	bufs[2] = (struct vio_buf){ answer(slot), 256 };
	return 3;
}

static bool fs_good(uint32_t len)
{
	const struct fuse_out_header *h = (const void *)answer(0);

	return len >= sizeof(*h) && h->len == len && h->error == 0 &&
	       h->unique == 1;
}

static unsigned int fs_forget(unsigned int slot, struct vio_buf *bufs,
			      unsigned int *ret_out)
{
	memset(&said, 0, sizeof(said.forget));
	said.forget.h = (struct fuse_in_header){ .len = sizeof(said.forget),
						 .opcode = FUSE_FORGET,
						 .nodeid = 77 };
	return *ret_out = halves(bufs, &said.forget, sizeof(said.forget.h),
				 sizeof(said.forget.forget));
}

/* Of a connection that is not: no answer but that it is used. */
static unsigned int vsock_tx(unsigned int slot, struct vio_buf *bufs,
			     unsigned int *ret_out)
{
	said.vsock =
		(struct virtio_vsock_hdr){ .src_cid = 77,
					   .dst_cid = 2,
					   .src_port = 5,
					   .dst_port = 6,
					   .type = VIRTIO_VSOCK_TYPE_STREAM,
					   .op = VIRTIO_VSOCK_OP_RST };
	return *ret_out =
		       halves(bufs, &said.vsock, 20, sizeof(said.vsock) - 20);
}

/*
 * Not the event queue of the socket device: it says a thing only after its
 * process has died.
 */
const struct hostile_target hostile_targets[] = {
	{ "blk", VIRTIO_ID_BLOCK, 0, 1, 0, false, blk_request, blk_good,
	  hostile_blk_cases },
	{ "net-ctrl", VIRTIO_ID_NET, 2, 3, HAS_CONTROL, false, net_ctrl,
	  net_ctrl_good, hostile_net_cases },
	{ "net-tx", VIRTIO_ID_NET, 1, 2, 0, false, net_tx, nothing_written },
	{ "console-tx", VIRTIO_ID_CONSOLE, 1, 2, 0, false, console_tx,
	  nothing_written, hostile_console_cases },
	{ "rng", VIRTIO_ID_RNG, 0, 1, 0, false, receive, something_written,
	  hostile_rng_cases },
	{ "fs", VIRTIO_ID_FS, 1, 2, 0, false, fs_request, fs_good,
	  hostile_fs_cases },
	{ "fs-hiprio", VIRTIO_ID_FS, 0, 2, 0, false, fs_forget,
	  nothing_written },
	{ "vsock-tx", VIRTIO_ID_VSOCK, 1, 3, 0, false, vsock_tx,
	  nothing_written, hostile_vsock_cases },
	{ "net-rx", VIRTIO_ID_NET, 0, 2, 0, true, receive, something_written },
	{ "console-rx", VIRTIO_ID_CONSOLE, 0, 2, 0, true, receive,
	  something_written },
	{ "vsock-rx", VIRTIO_ID_VSOCK, 0, 3, 0, true, receive,
	  something_written },
	{ 0 },
};
