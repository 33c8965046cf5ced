/* SPDX-License-Identifier: BSD-3-Clause */
/* See runtime.h. */
#include "guest/payloads/runtime.h"

#include <stdarg.h>

#define LSR_DR	      0x01
#define LSR_THRE      0x20
#define REG_LSR	      5
#define SLP_EN	      (1U << 13)
#define SLP_TYP_SHIFT 10

/* Between two looks at the clock; an emulated poll takes some 10 us. */
#define POLLS_PER_LOOK 2048U
/* Where no clock ticks: polls that stand for a second. */
#define POLLS_PER_SECOND (64U * POLLS_PER_LOOK)

#define MEMMAP_RAM 1

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_gpa, cmdline_gpa, rsdp_gpa, memmap_gpa;
	uint32_t memmap_entries, reserved;
};

struct memmap_entry {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

extern char payload_end[];
void runtime_main(const struct start_info *info);

static const char *cmdline = "";
static uint64_t ram_end;
static unsigned int passed, failed;

/* --- memory and strings --- */

/* String instructions: a compiler turns loops like these into calls. */
void *memset(void *dst, int byte, size_t len)
{
	void *at = dst;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(len)
			 : "a"(byte)
			 : "memory");
	return dst;
}

void *memcpy(void *dst, const void *src, size_t len)
{
	void *at = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(src), "+c"(len)
			 :
			 : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len--; x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void zero_pages(void *start, size_t len)
{
	size_t words = len / 8;

	__asm__ volatile("rep stosq"
			 : "+D"(start), "+c"(words)
			 : "a"(0)
			 : "memory");
}

/* --- the machine --- */

uint8_t cmos_read(uint8_t reg)
{
	outb(LAYOUT_PORT_RTC, reg);
	return inb(LAYOUT_PORT_RTC + 1);
}

void cmos_write(uint8_t reg, uint8_t value)
{
	outb(LAYOUT_PORT_RTC, reg);
	outb(LAYOUT_PORT_RTC + 1, value);
}

uint64_t runtime_free_start(void)
{
	return (uint64_t)payload_end;
}

uint64_t runtime_ram_end(void)
{
	return ram_end;
}

struct deadline deadline_in(uint32_t seconds)
{
	/* The first second may be nearly over: count one more. */
	return (struct deadline){ .seconds = seconds + 1,
				  .last = cmos_read(0) };
}

bool deadline_over(struct deadline *d)
{
	uint8_t now;

	if (d->seconds == 0)
		return true;
	if (++d->polls % POLLS_PER_LOOK)
		return false;
	now = cmos_read(0);
	if (now != d->last || (now == 0xff && d->polls % POLLS_PER_SECOND == 0))
		d->seconds--;
	d->last = now;
	return d->seconds == 0;
}

/* --- COM1 --- */

static void put_char(char c)
{
	/* Bounded: a port that is not there reads as ones. */
	for (int i = 0; i < 100000; i++) {
		if (inb(LAYOUT_PORT_SERIAL + REG_LSR) & LSR_THRE)
			break;
	}
	outb(LAYOUT_PORT_SERIAL, (uint8_t)c);
}

static void put_string(const char *s)
{
	while (*s)
		put_char(*s++);
}

static void put_number(uint64_t value, unsigned int base)
{
	char buf[24];
	int at = sizeof(buf) - 1;

	buf[at] = '\0';
	do {
		buf[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put_string(buf + at);
}

static void put_arg(char conversion, uint64_t value)
{
	if (conversion == 'd' && (int64_t)value < 0) {
		put_char('-');
		value = -value;
	}
	put_number(value, conversion == 'x' ? 16 : 10);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		bool wide = false;

		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		if (*++fmt == 'l') {
			wide = true;
			fmt++;
		}
		switch (*fmt) {
		case 's':
			put_string(va_arg(ap, const char *));
			break;
		case 'c':
			put_char((char)va_arg(ap, int));
			break;
		case 'd':
			put_arg('d', (uint64_t)(wide ? va_arg(ap, long)
						     : va_arg(ap, int)));
			break;
		case 'u':
		case 'x':
			put_arg(*fmt, wide ? va_arg(ap, unsigned long)
					   : va_arg(ap, unsigned int));
			break;
		default:
			put_char(*fmt);
		}
	}
	va_end(ap);
}

bool serial_pending(void)
{
	return inb(LAYOUT_PORT_SERIAL + REG_LSR) & LSR_DR;
}

uint8_t serial_getc(void)
{
	while (!serial_pending())
		;
	return inb(LAYOUT_PORT_SERIAL);
}

/* --- command line --- */

/* Return: what follows "key=", or NULL. */
static const char *param_find(const char *key)
{
	size_t len = strlen(key);

	for (const char *p = cmdline; *p;) {
		while (*p == ' ')
			p++;
		if (memcmp(p, key, len) == 0 && p[len] == '=')
			return p + len + 1;
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

bool param_get(const char *key, char *buf, size_t size)
{
	const char *value = param_find(key);
	size_t n = 0;

	if (!value)
		return false;
	while (value[n] && value[n] != ' ' && n + 1 < size) {
		buf[n] = value[n];
		n++;
	}
	buf[n] = '\0';
	return true;
}

uint64_t param_u64(const char *key, uint64_t otherwise)
{
	const char *value = param_find(key);
	uint64_t n = 0;

	if (!value || *value < '0' || *value > '9')
		return otherwise;
	for (; *value >= '0' && *value <= '9'; value++)
		n = n * 10 + (uint64_t)(*value - '0');
	return n;
}

bool param_is(const char *key, const char *value)
{
	char buf[64];

	return param_get(key, buf, sizeof(buf)) &&
	       strlen(buf) == strlen(value) &&
	       memcmp(buf, value, strlen(value)) == 0;
}

/* --- results --- */

void pass(const char *name)
{
	passed++;
	print("PASS %s\n", name);
}

void fail(const char *name, const char *why, uint64_t got, uint64_t want)
{
	failed++;
	print("FAIL %s: %s (0x%lx, expected 0x%lx)\n", name, why, got, want);
}

void result(const char *name, const char *why)
{
	if (!why) {
		pass(name);
		return;
	}
	failed++;
	print("FAIL %s: %s\n", name, why);
}

void check_eq(const char *name, uint64_t got, uint64_t want)
{
	if (got == want)
		pass(name);
	else
		fail(name, "other value", got, want);
}

void check(const char *name, bool ok)
{
	result(name, ok ? NULL : "not so");
}

void skip(const char *name, const char *why)
{
	print("SKIP %s: %s\n", name, why);
}

void done(void)
{
	print("DONE passed=%u failed=%u\n", passed, failed);
}

/* --- ends --- */

void poweroff(void)
{
	outw(LAYOUT_PORT_PM1A_CNT,
	     (uint16_t)(SLP_EN | LAYOUT_SLP_TYP_S5 << SLP_TYP_SHIFT));
	print("still running after power-off\n");
	halt_forever();
}

void halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void runtime_main(const struct start_info *info)
{
	const struct memmap_entry *map =
		(const struct memmap_entry *)info->memmap_gpa;

	if (info->cmdline_gpa)
		cmdline = (const char *)info->cmdline_gpa;
	for (uint32_t i = 0; i < info->memmap_entries; i++) {
		uint64_t end = map[i].gpa + map[i].size;

		if (map[i].type == MEMMAP_RAM && end <= LAYOUT_RAM_LOW_END &&
		    end > ram_end)
			ram_end = end;
	}
	payload_main();
	/* For a test that looks at the VM as the payload left it. */
	if (param_u64("stay", 0))
		(void)serial_getc();
	poweroff();
}
