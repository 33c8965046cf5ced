/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted vhost-user back end in a thread, for the tests of the front end
 * and of the transport: it notes what it is sent, answers as a good one would,
 * and does one bad thing at one request if told to.
 */
#ifndef TORPOR_TESTS_FAKE_BACKEND_H
#define TORPOR_TESTS_FAKE_BACKEND_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "virtio/vhost_user/vhost_user.h"

#define FAKE_MAX_LOG 256

enum fake_fault {
	FAKE_GOOD,
	FAKE_CLOSES,	  /* instead of answering */
	FAKE_MUTE,	  /* reads on, answers nothing from then on */
	FAKE_OTHER_REPLY, /* to a request nobody made */
	FAKE_NO_FLAG,	  /* reply bit not set */
	FAKE_SHORT,	  /* payload too short */
	FAKE_EMPTY,	  /* no payload */
	FAKE_HUGE,	  /* size that no message has */
	FAKE_TWICE,	  /* the reply two times */
	FAKE_WRONG_RING,  /* GET_VRING_BASE of another */
	FAKE_REFUSES,	  /* acknowledges with an error */
	FAKE_PIECEMEAL,	  /* the reply byte by byte */
	FAKE_WAITS,	  /* answers only after fake_go_on() */
};

struct fake_backend {
	int fd;	  /* its end */
	int peer; /* the front end's, given away */
	pthread_t thread;
	uint64_t features, protocol, queue_num;
	uint8_t config[VHOST_USER_CONFIG_MAX];
	enum fake_fault fault;
	uint32_t at; /* request of the fault */
	sem_t go_on;
	atomic_bool waiting;
	atomic_uint nr;
	struct vhost_user_msg log[FAKE_MAX_LOG];
	unsigned int log_fds[FAKE_MAX_LOG];
	uint64_t acked;
	uint16_t bases[8];    /* returned by GET_VRING_BASE */
	uint16_t set_base[8]; /* as last set */
	int err_fd;	      /* of the ring set last */
	bool negotiated_ack;
	bool mute;
};

void fake_start(struct fake_backend *fb);
/* From FAKE_WAITS, and behaves again. */
void fake_go_on(struct fake_backend *fb);
/* Dies. */
void fake_stop(struct fake_backend *fb);
/* One message, as @fault has it. Return: whether it went out. */
bool fake_send(struct fake_backend *fb, struct vhost_user_msg *msg,
	       enum fake_fault fault);
/* Does the next thing it is asked at @at badly. */
void fake_misbehave(struct fake_backend *fb, uint32_t at,
		    enum fake_fault fault);
/* Times it was asked that. */
unsigned int fake_count(struct fake_backend *fb, uint32_t request);

#endif
