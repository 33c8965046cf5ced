# SPDX-License-Identifier: BSD-3-Clause
#
# `make lint` finds all files by wildcards. Each part checks only the files that
# changed since it last passed.

LINT_TEST_C = $(wildcard tests/*/*.c tests/*/*/*.c tests/*/*/*/*.c)
LINT_C = $(filter-out tests/% $(B)/%,$(wildcard */*.c */*/*.c))
LINT_H = $(filter-out $(B)/%,$(wildcard */*.h */*/*.h))
LINT_SH = .ci/run guest/acpi-power guest/acpi-sleep guest/go-to-sleep \
	guest/init guest/wake-handler tests/harness/host-init \
	$(wildcard guest/*.sh guest/linux/*.sh guest/linux/*/*.sh) \
	$(wildcard tests/*.sh tests/*/*.sh)
LINT = $(B)/lint

lint: ## format, sizes, documents, includes, circles, shellcheck, clang-tidy, cppcheck
	$(NEED) build check lint
	$(Q)$(REMAKE) -k lint-all

lint-all: $(B)/torpor $(B)/torpor-device $(LINT)/shell $(LINT)/format \
		$(LINT)/cppcheck \
		$(patsubst %.c,$(LINT)/%.tidy,$(LINT_C) $(LINT_TEST_C))
	$(Q)tests/lint/sizes.sh $(LINT_C) $(LINT_TEST_C) $(LINT_H) \
		$(wildcard guest/linux/selftest/*.[ch])
	$(Q)tests/lint/docs.sh
	$(Q)tests/lint/prose.sh
	$(Q)tests/lint/includes.sh
	$(Q)B=$(B) tests/lint/circles.sh

$(LINT)/shell: $(LINT_SH) .shellcheckrc
	$(call say,SHELL,$(words $(filter $(LINT_SH),$?)) scripts)
	$(Q)mkdir -p $(@D) && tests/lint/shell.sh $(filter $(LINT_SH),$?)
	$(Q)touch $@

$(LINT)/format: $(LINT_C) $(LINT_TEST_C) $(LINT_H) .clang-format
	$(call say,FORMAT,$(words $(filter %.c %.h,$?)) files)
	$(Q)mkdir -p $(@D) && clang-format --dry-run -Werror \
		$(or $(filter %.c %.h,$?),$(LINT_C) $(LINT_TEST_C) $(LINT_H))
	$(Q)touch $@

# Not the unit tests: it cannot read Criterion's macros. cppcheck itself
# remembers its findings for each file.
$(LINT)/cppcheck: $(LINT_C) $(LINT_H) tests/lint/cppcheck.txt | $(AML)
	$(call say,CPPCHK,$(words $(LINT_C)) files)
	$(Q)mkdir -p $(LINT)/cppcheck.d && cppcheck --quiet -j2 --std=c11 \
		--enable=warning,performance,portability --error-exitcode=1 \
		--library=posix,gnu --inline-suppr --template=gcc \
		--suppressions-list=tests/lint/cppcheck.txt -I. -I$(B) \
		-D__GNUC__=12 -D__x86_64__ \
		--cppcheck-build-dir=$(LINT)/cppcheck.d $(LINT_C)
	$(Q)touch $@

TIDY_CFLAGS = -std=gnu17 -I. -I$(B) -O2 -DTORPOR_VERSION='"$(VERSION)"' $(WARN)
$(LINT)/tests/%.tidy: TIDY_CFLAGS += -Wno-conversion
$(LINT)/guest/payloads/%.tidy: TIDY_CFLAGS = $(filter-out -Werror,\
	$(PAYLOAD_CFLAGS))

$(LINT)/%.tidy: %.c .clang-tidy guest/payloads/.clang-tidy tests/.clang-tidy \
		| $(AML)
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(TIDY_CFLAGS) -MM -MP -MT $@ -MF $@.d $<
	$(Q)clang-tidy --quiet $< -- $(TIDY_CFLAGS) >$@.log 2>$@.err || \
		{ cat $@.log; grep 'rror' $@.err; exit 1; }
	$(Q)touch $@

-include $(shell find $(LINT) -name '*.d' -type f 2>/dev/null)

.PHONY: lint lint-all
