# SPDX-License-Identifier: BSD-3-Clause
#
# torpor, built by one make, not recursively. Everything built goes to build/.
# `make help` lists the targets. A folder of sources is a library or a part of
# one; what tests and guests need is in guest/guest.mk and tests/tests.mk.
#
#   V=1        show commands        WERROR=0   warnings do not stop
#   CC=clang   another compiler     SAN=1      ASan and UBSan      TSAN=1     TSan

B ?= build
PREFIX ?= /usr/local
CC = gcc
AR = ar
V ?= 0
WERROR ?= 1
SAN ?= 0
TSAN ?= 0
FUZZ ?= 0
VERSION := 0.1.0

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.SUFFIXES:
.DELETE_ON_ERROR:
# Objects of payloads and tests are kept.
.SECONDARY:
all: programs ## the two programs (this is what `make` does)

help: ## this text
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(HELP) | \
		expand -t 28
	@sed -n 's/^#   \([A-Z]*=.*\)/  \1/p' Makefile

HELP = Makefile tests/tests.mk tests/lint/lint.mk guest/guest.mk

# ---------------------------------------------------------------- sources

BASE_SRC = $(wildcard vmm/base/*.c)
SANDBOX_SRC = $(wildcard sandbox/*.c)

# What the VMM has of virtio, and what a device process is made of.
TRANSPORT_SRC = $(wildcard virtio/mmio/*.c virtio/vhost_user/frontend*.c)
VIRTIO_SRC = $(filter-out $(TRANSPORT_SRC) virtio/torpor_device.c, \
	$(wildcard virtio/*.c virtio/*/*.c))

# The client library.
CLIENT_SRC = vmm/control/client.c

VMM_SRC = $(TRANSPORT_SRC) \
	$(filter-out vmm/cli/main.c $(CLIENT_SRC) $(BASE_SRC), \
	$(wildcard vmm/*/*.c devices/*.c devices/*/*.c arch/x86_64/*.c))

# ---------------------------------------------------------------- flags

WARN = -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes \
	-Wmissing-declarations -Wold-style-definition -Wredundant-decls \
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion \
	-Wno-unused-parameter -Wno-missing-field-initializers
HARDEN = -fno-common -fno-strict-aliasing -fstack-protector-strong
OPT = -O2 -D_FORTIFY_SOURCE=2
ifeq ($(SAN),1)
OPT = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
endif
ifeq ($(TSAN),1)
# It does not know fences, which are in the rings of device processes: those have
# one thread.
OPT = -O1 -fsanitize=thread -fno-omit-frame-pointer -Wno-tsan
endif
ifeq ($(FUZZ),1)
OPT = -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
endif
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 -I. -I$(B) -fPIE $(OPT) $(HARDEN) $(WARN) \
	$(if $(filter 1,$(WERROR)),-Werror) -DTORPOR_VERSION='"$(VERSION)"' \
	$(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)

VMM_LIBS = -lseccomp -ljansson -lpthread
DEVICE_LIBS = -l:liburing.a -l:libseccomp.a

# ---------------------------------------------------------------- objects

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

LIB_BASE = $(B)/libbase.a
LIB_VIRTIO = $(B)/libvirtio.a
LIB_SANDBOX = $(B)/libsandbox.a
LIB_VMM = $(B)/libvmm.a
LIB_CLIENT = $(B)/libtorpor.a
LIBS = $(LIB_VMM) $(LIB_SANDBOX) $(LIB_VIRTIO) $(LIB_CLIENT) $(LIB_BASE)

$(LIB_BASE): $(call obj,$(BASE_SRC))
$(LIB_VIRTIO): $(call obj,$(VIRTIO_SRC))
$(LIB_SANDBOX): $(call obj,$(SANDBOX_SRC))
$(LIB_VMM): $(call obj,$(VMM_SRC))
$(LIB_CLIENT): $(call obj,$(CLIENT_SRC))
$(LIBS):
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) qcs $@ $^

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# link FILES, LIBRARIES: a program of ours and all of our libraries.
define link
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(1) \
		-Wl,--start-group $(LIBS) -Wl,--end-group $(2)
endef

# ACPI's DSDT, and the SSDT for PCI: C preprocessor, then iasl, then a C array.
# Remark 2173 is about the speed of methods that make names.
AML = $(B)/arch/x86_64/dsdt.h $(B)/arch/x86_64/pci.h

$(AML): $(B)/%.h: %.asl arch/x86_64/layout.h devices/pmc_codes.h
	$(call say,ASL,$<)
	$(Q)mkdir -p $(@D) && $(CC) -E -P -undef -w -x c -I. -o $(B)/$< $<
	$(Q)cd $(@D) && iasl -we -vs -vw 2173 -vw 2095 -tc $(<F) >$(*F).log || \
		{ cat $(*F).log; exit 1; }
	$(Q)sed 's/^unsigned char/static const unsigned char/' \
		$(B)/$*.hex >$@

$(B)/obj/arch/x86_64/acpi.o: $(AML)

# ---------------------------------------------------------------- programs

programs: $(B)/torpor $(B)/torpor-device

$(B)/torpor: $(call obj,vmm/cli/main.c) $(LIBS)
	$(call link,$<,$(VMM_LIBS))

# Executed in an empty root, so it carries all it needs. Sanitizers are shared
# libraries.
DEVICE_PIE = $(if $(filter 1,$(SAN) $(TSAN)),-pie,-static-pie)

$(B)/torpor-device: $(call obj,virtio/torpor_device.c) $(LIB_VIRTIO) \
		$(LIB_SANDBOX) $(LIB_BASE)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEVICE_PIE) -Wl,-z,relro,-z,now $(LDFLAGS) \
		-o $@ $< -Wl,--start-group $(LIB_VIRTIO) $(LIB_SANDBOX) \
		$(LIB_BASE) -Wl,--end-group $(DEVICE_LIBS)

install: programs $(LIB_CLIENT) ## to PREFIX, below DESTDIR
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include \
		$(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/share/man/man1
	$(Q)install -m 755 $(B)/torpor $(B)/torpor-device \
		$(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 644 include/torpor.h $(DESTDIR)$(PREFIX)/include
	$(Q)install -m 644 $(LIB_CLIENT) $(DESTDIR)$(PREFIX)/lib
	$(Q)install -m 644 docs/torpor.1 $(DESTDIR)$(PREFIX)/share/man/man1

clean: ## everything built
	$(Q)rm -rf $(B)

# ---------------------------------------------------------------- the rest

# Each target that a person calls works on a machine that has nothing but make:
# what it needs is installed first, then make is run again for what is to be built.
NEED = $(Q)tests/harness/packages.sh
REMAKE = $(MAKE) --no-print-directory \
	$(if $(findstring j,$(MFLAGS)),,-j$(shell nproc))

include guest/guest.mk tests/tests.mk tests/lint/lint.mk

# The flags of the last build: with others everything is built anew.
FLAGS = $(strip $(CC) $(ALL_CFLAGS) $(PAYLOAD_CFLAGS) $(ALL_LDFLAGS))
ifneq ($(file <$(B)/flags),$(FLAGS))
.PHONY: $(B)/flags
endif

$(B)/flags:
	$(Q)mkdir -p $(@D) && printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

.PHONY: all clean help install programs

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
