/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first instructions of a payload: entered in 32-bit protected mode with
 * paging off and EBX = hvm_start_info (the PVH boot protocol, found by an ELF
 * note), it goes to long mode with the first 4 GiB mapped one to one, and
 * calls runtime_main().
 */
#define CR0_PE_PG	0x80000001
#define CR4_PAE		0x20
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define SEG_CODE64	0x08
#define SEG_DATA	0x10
#define SEG_CODE32	0x18
#define PTE_TABLE	0x03	/* present, writable */
#define PTE_2MIB	0x83	/* and a large page */

	.section .note.pvh, "a", @note
	.align	4
	.long	4			/* name size */
	.long	4			/* descriptor size */
	.long	18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry32

	.section .text.entry, "ax", @progbits
	.code32
	.globl	entry32
entry32:
	cli
	cld
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	$CR0_PE_PG, %eax
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$SEG_CODE64, $entry64

	.code64
entry64:
	movl	$SEG_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$stack_top, %esp
	xorl	%ebp, %ebp
	movl	%ebx, %edi
	call	runtime_main
1:	hlt
	jmp	1b

/*
 * Where a second CPU begins, in real mode; smp.c copies it to a page below
 * 1 MiB. A payload without smp.c calls nothing from there.
 */
	.code16
	.globl	smp_trampoline, smp_trampoline_end
smp_trampoline:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	smp_gdt_pointer - smp_trampoline
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$SEG_CODE32, $smp_entry32
smp_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
smp_trampoline_end:

	.code32
smp_entry32:
	movl	$SEG_DATA, %eax
	movl	%eax, %ds
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	$CR0_PE_PG, %eax
	movl	%eax, %cr0
	ljmp	$SEG_CODE64, $smp_entry64

	.code64
	.weak	smp_main
smp_entry64:
	movl	$SEG_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$smp_stack_top, %esp
	xorl	%ebp, %ebp
	call	smp_main
1:	cli
	hlt
	jmp	1b

	.section .rodata
	.align	8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cf9b000000ffff	/* 32-bit code */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.data
	.align	4096
pml4:
	.quad	pdpt + PTE_TABLE
	.fill	511, 8, 0
pdpt:
	.quad	pd + PTE_TABLE
	.quad	pd + 0x1000 + PTE_TABLE
	.quad	pd + 0x2000 + PTE_TABLE
	.quad	pd + 0x3000 + PTE_TABLE
	.fill	508, 8, 0
pd:
	.set	page, 0
	.rept	2048
	.quad	page * 0x200000 + PTE_2MIB
	.set	page, page + 1
	.endr

	.bss
	.align	16
	.skip	16384
stack_top:
	.skip	8192
smp_stack_top:

	.section .note.GNU-stack, "", @progbits
