/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-mmio transport of one device (virtio 1.x, 4.2), in the VMM. What
 * the guest reads is the register page, plain memory; what it writes exits.
 * InterruptACK is answered on the vCPU's thread; every other write is handed
 * to the main loop, which alone owns the state, and the vCPU waits until it
 * took effect. Writes that arrive while the back end works on an earlier one
 * queue up in order.
 *
 *	INIT --DRIVER_OK--> LIVE --fault--> DEAD (DEVICE_NEEDS_RESET)
 *	 ^                   |  ^             |
 *	 |                   v  |             |
 *	 +--- Status 0 ------+--+-------------+   all rings drained first, or
 *	                  QUIESCED                the process dead and fenced
 *
 * QUIESCED is the VMM's own doing while the guest sleeps with the device
 * live; the guest does not see it. What the driver does by VIRTIO_F_SUSPEND is
 * drawn in virtio/mmio/suspend.c; the two nest.
 */
#ifndef TORPOR_VIRTIO_MMIO_MMIO_H
#define TORPOR_VIRTIO_MMIO_MMIO_H

#include "virtio/regpage.h"
#include "virtio/vhost_user/frontend.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/mailbox.h"

struct virtio_mmio;

/* What the driver has done with the device. */
enum virtio_mmio_event {
	VIRTIO_MMIO_WENT_LIVE,
	VIRTIO_MMIO_WAS_RESET, /* live or suspended before */
	VIRTIO_MMIO_SUSPENDING,
	VIRTIO_MMIO_SUSPENDED,
	VIRTIO_MMIO_RESUMED, /* or is not to suspend any more */
};

/* What the transport needs of the VM around it; main loop. */
struct virtio_mmio_ops {
	/* No vCPU in guest mode between the two (config changes). */
	void (*hold)(struct virtio_mmio *dev);
	void (*release)(struct virtio_mmio *dev);
	void (*event)(struct virtio_mmio *dev, enum virtio_mmio_event event);
	/*
	 * The back end is gone or hung: end its process and call
	 * virtio_mmio_fenced() once nothing of it can touch memory any more.
	 */
	void (*failed)(struct virtio_mmio *dev, const char *why);
	/*
	 * The process of a suspended device has died and is fenced: make
	 * another and call virtio_mmio_respawn(). -errno: it cannot be. NULL
	 * if the type keeps more than what is in its rings.
	 */
	int (*respawn)(struct virtio_mmio *dev);
	/*
	 * Of a foreign back end: dev->kick_fds[queue] will be @fd, which is to
	 * be the ioeventfd in its place. NULL: nobody has made it one.
	 */
	int (*kick_moves)(struct virtio_mmio *dev, unsigned int queue, int fd);
	/*
	 * The driver reads all that virtio_mmio_config_changed() was called
	 * for until now. Optional.
	 */
	void (*config_published)(struct virtio_mmio *dev);
};

/* A back end that is not a process of ours; virtio/mmio/foreign.c. */
struct virtio_mmio_foreign {
	struct frontend_foreign fe;
	const void *config;	  /* config_size bytes if it may be ours */
	uint64_t features_hidden; /* of the back end's, not for the guest */
	/* Offered with a config space of ours, unknown to the back end. */
	uint64_t features_ours;
	unsigned int min_queues; /* the back end must have; 0: not known */
};

struct virtio_mmio_config {
	const struct virtio_mmio_ops *ops; /* borrowed */
	const char *name;		   /* "blk0", borrowed */
	uint32_t device_id;		   /* virtio device type */
	uint16_t queue_size;		   /* QueueSizeMax of every queue */
	unsigned int nr_queues;
	uint32_t config_size;	     /* bytes of config space */
	uint64_t gpa;		     /* of the register page */
	struct virtio_regpage *page; /* borrowed, zeroed */
	int vhost_fd;		     /* owned on success */
	uint64_t deadline_ns;	     /* for an answer of the back end */
	uint64_t suspend;	     /* features: of VIRTIO_MMIO_SUSPEND_BOTH */
	uint64_t suspend_deadline_ns;		   /* then it needs a reset */
	const struct virtio_mmio_foreign *foreign; /* NULL: ours; borrowed */
};

/*
 * VIRTIO_F_SUSPEND as ratified (virtio 1.4, 6) and in the draft of 2024. In
 * virtio 1.x bit 42 belongs to the device type, and for old network drivers of
 * Windows it means something else.
 */
#define VIRTIO_MMIO_SUSPEND_V14	  (1ULL << 43)
#define VIRTIO_MMIO_SUSPEND_DRAFT (1ULL << 42)
#define VIRTIO_MMIO_SUSPEND_BOTH \
	(VIRTIO_MMIO_SUSPEND_V14 | VIRTIO_MMIO_SUSPEND_DRAFT)

#define VIRTIO_MMIO_MAX_QUEUES FRONTEND_MAX_RINGS

/*
 * New processes of a device: so many at once, and one more each minute. One
 * that dies faster than that stays dead.
 */
#define VIRTIO_MMIO_MAX_RESPAWNS    3U
#define VIRTIO_MMIO_RESPAWN_BACK_NS 60000000000ULL

enum virtio_mmio_op {
	VIRTIO_OP_NONE,
	VIRTIO_OP_HANDSHAKE,
	VIRTIO_OP_START,	  /* DRIVER_OK */
	VIRTIO_OP_RESET,	  /* Status 0 */
	VIRTIO_OP_RING,		  /* QueueReady 0 */
	VIRTIO_OP_CONFIG_WRITE,	  /* config space write */
	VIRTIO_OP_CONFIG_REFRESH, /* config space changed in the device */
	VIRTIO_OP_BREAK,	  /* stop rings after a fault */
	VIRTIO_OP_QUIESCE,
	VIRTIO_OP_RESTART,
	VIRTIO_OP_SUSPEND, /* stop rings for the driver's SUSPEND */
	VIRTIO_OP_RESUME,
	VIRTIO_OP_RESPAWN, /* handshake with a new process */
};

/*
 * The process behind the device.
 *
 *	             dies                   fenced
 *	ALIVE -----------------> DYING ----------> FENCED, or LOST: too late
 *	 ^ '-----------------> REPLACING ---------> '  |
 *	 |    dies suspended                           | another is made
 *	 | resumed                                     v
 *	RESPAWNED <-------------------------------- RESPAWNING
 *
 * A process that dies RESPAWNING or RESPAWNED is not replaced: DYING. LOST
 * becomes FENCED if the fence comes after all.
 */
enum virtio_mmio_life {
	VIRTIO_MMIO_ALIVE,
	VIRTIO_MMIO_DYING,	/* dead; its I/O may still be in flight */
	VIRTIO_MMIO_FENCED,	/* dead; none of its I/O is in flight */
	VIRTIO_MMIO_LOST,	/* dead; the fence missed its deadline */
	VIRTIO_MMIO_REPLACING,	/* DYING; another process will replace it */
	VIRTIO_MMIO_RESPAWNING, /* handshake with the new process */
	VIRTIO_MMIO_RESPAWNED,	/* ALIVE; not resumed or reset since */
};

/*
 * What the VMM does with the device while the guest sleeps or is paused.
 *
 *	RUNNING	    quiesce:		 QUIESCING, or HELD
 *	QUIESCING   stopped:		 QUIESCED, or HELD
 *		    restart meanwhile:	 RESTARTING, or RUNNING
 *	QUIESCED    restart:		 RESTARTING, or RUNNING if it has died
 *	HELD	    restart:		 RUNNING
 *		    quiesce once more:	 QUIESCING, if it is busy
 *	RESTARTING  started:		 RUNNING
 *		    quiesce meanwhile:	 QUIESCING
 */
enum virtio_mmio_run {
	VIRTIO_MMIO_RUNNING,
	VIRTIO_MMIO_QUIESCING, /* rings are stopping, or will be stopped next */
	VIRTIO_MMIO_QUIESCED,  /* rings were stopped; restart starts them */
	VIRTIO_MMIO_HELD,      /* no ring ran; the driver's writes wait */
	VIRTIO_MMIO_RESTARTING, /* rings are starting, or will once stopped */
};

struct virtio_mmio_suspend {
	uint64_t offered; /* features */
	uint64_t deadline_ns;
	bool wanted;		   /* the driver wants it suspended */
	bool stopped;		   /* its rings were stopped for that */
	bool reset_waits;	   /* Status 0 came while they were moved */
	struct mailbox_item *item; /* the write that waits for it */
	struct loop_timer timer;
	uint64_t count; /* times it was */
	uint64_t kicks; /* by a driver that must not, while it was */
};

struct virtio_mmio_queue {
	uint32_t size;
	bool ready;
	uint64_t desc_gpa, driver_gpa, device_gpa;
};

struct virtio_mmio {
	struct bus_dev bus;
	const char *name;
	const struct virtio_mmio_ops *ops;
	struct loop *loop;
	struct mailbox *mailbox;
	const struct gmem *gm;
	struct virtio_regpage *page;
	struct frontend fe;
	int kick_fds[VIRTIO_MMIO_MAX_QUEUES]; /* owned */
	int irq_fd;			      /* owned; the VMM's irqfd */
	int used_irq_fd; /* owned; the process's irqfd, -1: foreign */
	int err_fd;	 /* owned; a ring broke */
	struct loop_source err_src;

	uint64_t offered; /* features */
	uint64_t acked;
	bool acked_unknown; /* a bit beyond 63 */
	uint32_t status;    /* as published */
	uint32_t device_sel, driver_sel, queue_sel;
	uint16_t queue_size_max;
	unsigned int nr_queues;
	uint32_t config_size;
	uint32_t generation;		       /* as published */
	uint8_t config[VHOST_USER_CONFIG_MAX]; /* as published */
	struct virtio_mmio_queue queues[VIRTIO_MMIO_MAX_QUEUES];

	enum virtio_mmio_op op;
	void (*op_done)(struct virtio_mmio *dev, int r); /* at its end */
	struct mailbox_item *op_item; /* the write that began it */
	/* Begins one thing that is due. Return: false if there is none. */
	bool (*run_one_pending)(struct virtio_mmio *dev);
	struct mailbox_item *waiting, **waiting_tail;
	enum virtio_mmio_life life;
	enum virtio_mmio_run run;
	unsigned int respawns_used; /* of VIRTIO_MMIO_MAX_RESPAWNS */
	uint64_t respawn_back_ns;   /* when one of them comes back */
	bool break_wanted;
	bool config_refresh_wanted;
	const struct virtio_mmio_foreign *foreign;
	const char *refused; /* why a foreign one is of no use */
	int call_fd;	     /* owned; -1: it is the irqfd */
	struct loop_source call_src;
	bool used; /* the back end has been started or written to since reset */
	struct virtio_mmio_suspend suspend;
	/* Ready for guests, or not (r < 0); once. */
	void (*ready)(struct virtio_mmio *dev, int r);
	/* Answer to virtio_mmio_quiesce() and _restart(), once; or NULL. */
	void (*on_moved)(struct virtio_mmio *dev, int r);
	uint64_t writes; /* of registers, which are exits; any thread, atomic */
	uint64_t resets; /* by the driver, of a live or suspended device */
};

/**
 * virtio_mmio_init() - make the transport and begin the handshake
 * @ready: called from the loop when the device can be offered to the guest
 *
 * The caller adds dev->bus to the MMIO bus, dev->kick_fds as ioeventfds and
 * dev->irq_fd and dev->used_irq_fd, unless that is -1, as irqfds.
 * Return: 0 or -errno.
 */
int virtio_mmio_init(struct virtio_mmio *dev,
		     const struct virtio_mmio_config *cfg, struct loop *loop,
		     struct mailbox *mailbox, const struct gmem *gm,
		     void (*ready)(struct virtio_mmio *dev, int r)) must_check;
void virtio_mmio_finish(struct virtio_mmio *dev);

/* The process died (pidfd) or must count as dead. Idempotent. */
void virtio_mmio_died(struct virtio_mmio *dev, const char *why);
/* @ok: nothing of the dead process is in flight. Else it never will be sure. */
void virtio_mmio_fenced(struct virtio_mmio *dev, bool ok);

/*
 * A new process is there, @vhost_fd its socket, owned on success. Within
 * ops->respawn(). Return: 0 or -errno.
 */
int virtio_mmio_respawn(struct virtio_mmio *dev, int vhost_fd) must_check;

/*
 * The device says that its config space has changed. It is read and published,
 * though not while the device is quiesced or suspended.
 */
void virtio_mmio_config_changed(struct virtio_mmio *dev);

/*
 * Stops a live device while the guest sleeps or is paused, and starts it again.
 * on_moved() is called once, from the loop or at once, unless it is abandoned
 * before that. A device that is not live has nothing to stop. From the one to
 * the other what the driver writes waits. A device that is still stopping when
 * it is restarted starts again when it has stopped; nobody waits for that.
 */
void virtio_mmio_quiesce(struct virtio_mmio *dev,
			 void (*on_moved)(struct virtio_mmio *dev, int r));
void virtio_mmio_restart(struct virtio_mmio *dev,
			 void (*on_moved)(struct virtio_mmio *dev, int r));
/* The answer comes too late to be useful. */
void virtio_mmio_abandon_move(struct virtio_mmio *dev);

/* The VM ends: lets every waiting vCPU go. */
void virtio_mmio_release_waiters(struct virtio_mmio *dev);

/* The process is gone, or is to be: nothing will answer. */
static inline bool virtio_mmio_is_dead(const struct virtio_mmio *dev)
{
	return dev->life == VIRTIO_MMIO_DYING ||
	       dev->life == VIRTIO_MMIO_FENCED ||
	       dev->life == VIRTIO_MMIO_LOST ||
	       dev->life == VIRTIO_MMIO_REPLACING;
}

/* DRIVER_OK, and neither suspended nor in need of a reset. */
bool virtio_mmio_is_live(const struct virtio_mmio *dev);

#endif
