/* SPDX-License-Identifier: BSD-3-Clause */
/* What a VM is before it has any part: its loop, and what ends it. */
#define _GNU_SOURCE
#include "vmm/vm/vm.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

void vm_end(struct vm *vm, enum vm_exit code)
{
	int running = -1;

	if (!atomic_compare_exchange_strong(&vm->exit_code, &running, code))
		return;
	/* The guest does not run past its own end. */
	vcpu_set_stop(&vm->vcpus);
	loop_stop(&vm->loop);
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct vm *vm = container_of(src, struct vm, signal_src);
	struct signalfd_siginfo info;

	if (read(vm->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_debug("signal %u: stopping", info.ssi_signo);
	vm_end(vm, VM_EXIT_STOP);
}

/* Before the first thread: they inherit the mask. */
static int watch_signals(struct vm *vm, struct err *err)
{
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set_errno(err, -errno, "signals");
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vm->signal_fd < 0)
		return err_set_errno(err, -errno, "signals");
	r = loop_add(&vm->loop, &vm->signal_src, vm->signal_fd, EPOLLIN,
		     on_signal);
	return r < 0 ? err_set_errno(err, r, "signals") : 0;
}

static void on_stalled(struct loop *loop, const char *in, uint64_t ns)
{
	struct vm *vm = container_of(loop, struct vm, loop);
	long long ms = (long long)(ns / 1000000);
	static struct log_limit limit;

	log_limited(&limit, "the main loop stalled for %lld ms in %s", ms, in);
	vm_tell(vm, stalled, in, ms);
}

int vm_init(struct vm *vm, const struct vm_config *cfg, struct spawner *spawner,
	    struct err *err)
{
	int r;

	/* No assignment of the whole: what is not written costs no memory. */
	vm->cfg = cfg;
	vm->spawner = spawner;
	vm->signal_src.fd = vm->spawner_src.fd = -1;
	vm->signal_fd = vm->kvm_fd = vm->vm_fd = vm->ram_fd = -1;
	vm->serial_fd = (struct char_fd)CHAR_FD_NONE;
	atomic_store(&vm->exit_code, -1);
	trace_init(&vm->trace, cfg->cpus);
	r = loop_init(&vm->loop);
	vm->loop.watched = true;
	vm->loop.stalled = on_stalled;
	if (r == 0)
		r = mailbox_init(&vm->mailbox, &vm->loop);
	return r < 0 ? err_set_errno(err, r, "event loop")
		     : watch_signals(vm, err);
}

void vm_finish(struct vm *vm)
{
	loop_remove(&vm->loop, &vm->signal_src);
	fd_close(&vm->signal_fd);
	mailbox_finish(&vm->mailbox);
	loop_finish(&vm->loop);
	trace_finish(&vm->trace);
}
