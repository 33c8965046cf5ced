/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resets the machine through the i8042; with how=acpi by the reset register,
 * with how=bios by the firmware's reset vector, as Linux does with reboot=b.
 */
#include "guest/payloads/runtime.h"

#define I8042_RESET 0xfe
#define STUB	    0x8000UL /* where real mode reaches it */

/* Down to 16-bit protected mode, which goes on at STUB. */
__asm__(".pushsection .text\n"
	"leave_long_mode:\n"
	"	lgdt	bios_gdt_pointer\n"
	"	pushq	$0x08\n"
	"	pushq	$1f\n"
	"	lretq\n"
	"	.code32\n"
	"1:	mov	%cr0, %eax\n"
	"	andl	$0x7fffffff, %eax\n"
	"	mov	%eax, %cr0\n"
	"	movl	$0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	andl	$0xfffffeff, %eax\n"
	"	wrmsr\n"
	"	ljmp	$0x10, $0x8000\n"
	"	.code64\n"
	"bios_gdt:\n"
	"	.quad	0\n"
	"	.quad	0x00cf9b000000ffff\n" /* 32-bit code */
	"	.quad	0x00009b000000ffff\n" /* 16-bit code */
	"bios_gdt_pointer:\n"
	"	.word	bios_gdt_pointer - bios_gdt - 1\n"
	"	.quad	bios_gdt\n"
	".popsection\n");

extern void leave_long_mode(void);

static void reset_by_firmware(void)
{
	static const uint8_t stub[] = {
		0x0f, 0x20, 0xc0,	      /* mov %cr0, %eax */
		0x24, 0xfe,		      /* and $0xfe, %al */
		0x0f, 0x22, 0xc0,	      /* mov %eax, %cr0 */
		0xea, 0xf0, 0xff, 0x00, 0xf0, /* ljmp $0xf000, $0xfff0 */
	};
	volatile uint8_t *to = (volatile uint8_t *)STUB;

	for (size_t i = 0; i < sizeof(stub); i++)
		to[i] = stub[i];
	leave_long_mode();
}

void payload_main(void)
{
	print("RESET\n");
	if (param_is("how", "acpi"))
		outb(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	else if (param_is("how", "bios"))
		reset_by_firmware();
	else
		outb(LAYOUT_PORT_I8042_CMD, I8042_RESET);
	halt_forever();
}
