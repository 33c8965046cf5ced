/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a bare-metal payload stands on: ports, COM1 polled, a bounded wait, the
 * command line, PASS and FAIL lines, the ways to end. One vCPU, if smp.h starts
 * no other, interrupts off unless irq.h turns them on. Nothing here needs more
 * than a few thousand instructions, since a KVM that emulates takes a
 * microsecond for each.
 */
#ifndef TORPOR_GUEST_RUNTIME_H
#define TORPOR_GUEST_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86_64/layout.h"
#include "devices/pmc_codes.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Written by each payload; it may return, which is a power-off. */
void payload_main(void);

/* --- the machine --- */

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

/* A full barrier; not mfence, which KVM's emulator does not know. */
static inline void barrier_full(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory", "cc");
}

static inline void barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

static inline uint8_t mmio_read8(uint64_t gpa)
{
	return *(volatile uint8_t *)gpa;
}

static inline uint16_t mmio_read16(uint64_t gpa)
{
	return *(volatile uint16_t *)gpa;
}

static inline uint32_t mmio_read32(uint64_t gpa)
{
	uint32_t value;

	/* A plain mov: the compiler must not fold it into something else. */
	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(gpa) : "memory");
	return value;
}

static inline void mmio_write32(uint64_t gpa, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(value), "r"(gpa) : "memory");
}

uint8_t cmos_read(uint8_t reg);
void cmos_write(uint8_t reg, uint8_t value);

/* First byte after the payload, page aligned; end of RAM below 3 GiB. */
uint64_t runtime_free_start(void);
uint64_t runtime_ram_end(void);

/* --- time: whole seconds of the CMOS clock, good for giving up --- */

struct deadline {
	uint32_t polls;
	uint32_t seconds; /* left */
	uint8_t last;	  /* seconds register */
};

struct deadline deadline_in(uint32_t seconds);
/* Call it in the polling loop. It reads the clock only now and then. */
bool deadline_over(struct deadline *d);

/* --- memory and strings --- */

void *memset(void *dst, int byte, size_t len);
void *memcpy(void *dst, const void *src, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);
void zero_pages(void *start, size_t len); /* 8-byte aligned and sized */

/* --- COM1 --- */

/* %s %c %d %u %x, each with l for 64 bits, and %%. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Waits for a byte from the host, for ever. */
uint8_t serial_getc(void);
bool serial_pending(void);

/* --- command line: key=value words --- */

/* Copies the value of @key. Return: false if it is not there. */
bool param_get(const char *key, char *buf, size_t size);
uint64_t param_u64(const char *key, uint64_t otherwise);
bool param_is(const char *key, const char *value);

/* --- results --- */

/* Prints "PASS name". */
void pass(const char *name);
/* Prints "FAIL name: why" with two numbers, got and wanted. */
void fail(const char *name, const char *why, uint64_t got, uint64_t want);
/* @why NULL is a pass. */
void result(const char *name, const char *why);
void check_eq(const char *name, uint64_t got, uint64_t want);
void check(const char *name, bool ok);
/* Prints "SKIP name: why"; counts as nothing. */
void skip(const char *name, const char *why);
/* Prints "DONE passed=N failed=M". */
void done(void);

/* --- ends --- */

void poweroff(void) __attribute__((noreturn));
void halt_forever(void) __attribute__((noreturn));

#endif
