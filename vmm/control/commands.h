/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What control clients can ask of a VM, and what they are told of it: the
 * commands and events of docs/control.md. It listens to the VM, which does not
 * know it. Main loop.
 */
#ifndef TORPOR_VMM_CONTROL_COMMANDS_H
#define TORPOR_VMM_CONTROL_COMMANDS_H

#include "vmm/control/control.h"
#include "vmm/vm/vm.h"

struct state_wait;

struct commands {
	struct vm_listener listener;
	struct vm *vm;		  /* borrowed */
	struct control *control;  /* NULL: no --socket, or the VM has ended */
	struct state_wait *waits; /* clients that wait for a state */
};

/* The VM that a command is about; @ctx: as each gets it. */
static inline struct vm *commands_vm(const void *ctx)
{
	return ((const struct commands *)ctx)->vm;
}

/**
 * commands_serve() - listen on the socket of @vm's configuration, if it has one
 * @commands: outlives @vm, whose end ends it
 * @vm: made; whoever finds the socket finds a VM that answers
 *
 * Return: 0 or -errno with @err.
 */
int commands_serve(struct commands *commands, struct vm *vm,
		   struct err *err) must_check;

/* What commands_serve() serves, for tests; each one's ctx: struct commands. */
extern const struct control_command vm_commands[];
extern const struct vm_events commands_events;

#endif
