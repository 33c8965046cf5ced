/* SPDX-License-Identifier: BSD-3-Clause */
/* See stores.h. */
#define _GNU_SOURCE
#include "tests/contract/stores.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/contract/rig.h"

#define TRAP_FLAG  0x100
#define MAX_VALUES 64U

static struct sigaction old_segv, old_trap;
static uint32_t values[MAX_VALUES], last;
static unsigned int nr;

static void protect(int prot)
{
	if (mprotect(rig.page, VIRTIO_REGPAGE_SIZE, prot) < 0)
		abort();
}

static void on_store(int sig, siginfo_t *info, void *context)
{
	const uint8_t *at = info->si_addr;
	ucontext_t *uc = context;

	if (at < rig.page->bytes || at >= rig.page->bytes + VIRTIO_REGPAGE_SIZE)
		abort();
	protect(PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_stepped(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint32_t now = rig_status();

	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	protect(PROT_READ);
	if (now != last && nr < MAX_VALUES)
		values[nr++] = now;
	last = now;
}

void stores_begin(void)
{
	struct sigaction segv = { .sa_sigaction = on_store,
				  .sa_flags = SA_SIGINFO };
	struct sigaction trap = { .sa_sigaction = on_stepped,
				  .sa_flags = SA_SIGINFO };

	nr = 0;
	last = rig_status();
	cr_assert(zero(int, sigaction(SIGSEGV, &segv, &old_segv)));
	cr_assert(zero(int, sigaction(SIGTRAP, &trap, &old_trap)));
	protect(PROT_READ);
}

unsigned int stores_end(uint32_t *ret, unsigned int max)
{
	protect(PROT_READ | PROT_WRITE);
	cr_assert(zero(int, sigaction(SIGSEGV, &old_segv, NULL)));
	cr_assert(zero(int, sigaction(SIGTRAP, &old_trap, NULL)));
	memcpy(ret, values, MIN(nr, max) * sizeof(*ret));
	return nr;
}
