# SPDX-License-Identifier: BSD-3-Clause
#
# torpor: one non-recursive Makefile. Everything built goes to build/.
#
#   make            the two programs
#   make demo       boot a stock Debian guest, put it to sleep, wake it
#   make check      all tests
#   make lint san fuzz bench install
#
#   V=1        show commands        WERROR=0   warnings do not stop
#   CC=clang   another compiler     SAN=1      ASan and UBSan

B ?= build
PREFIX ?= /usr/local
CC = gcc
AR = ar
V ?= 0
WERROR ?= 1
SAN ?= 0
VERSION := 0.1.0

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.SUFFIXES:
.DELETE_ON_ERROR:
all: programs

# ---------------------------------------------------------------- sources

BASE_SRC = \
	vmm/base/err.c \
	vmm/base/fd.c \
	vmm/base/log.c \
	vmm/base/loop.c

# What a device process is made of.
VIRTIO_SRC =

SANDBOX_SRC =

# What the VMM is made of.
VMM_SRC =

DEVICES_SRC =

ARCH_SRC =

# The client library and what the CLI needs.
CLIENT_SRC =

# One Criterion program a file; each is linked with all libraries.
UNIT_TESTS =

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
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 -I. -I$(B) -fPIE $(OPT) $(HARDEN) $(WARN) \
	$(if $(filter 1,$(WERROR)),-Werror) -DTORPOR_VERSION='"$(VERSION)"' \
	$(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)

VMM_LIBS = -lseccomp -ljansson -lpthread
DEVICE_LIBS = -l:liburing.a -l:libseccomp.a
TEST_LIBS = -lcriterion -l:liburing.a $(VMM_LIBS)

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
$(LIB_VMM): $(call obj,$(VMM_SRC) $(DEVICES_SRC) $(ARCH_SRC))
$(LIB_CLIENT): $(call obj,$(CLIENT_SRC))
$(LIBS):
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The dwarf in the test macros: Criterion trips -Wconversion.
$(B)/obj/tests/unit/%.o: tests/unit/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -Wno-conversion -MMD -MP \
		-c -o $@ $<

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(UNIT_HELPERS) $(LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ \
		$< $(UNIT_HELPERS) -Wl,--start-group $(LIBS) -Wl,--end-group \
		$(TEST_LIBS)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
