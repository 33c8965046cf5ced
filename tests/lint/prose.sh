#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a script can check of the prose (docs/style.md): the pages wrap at 80
# columns, except tables, code and drawings, and avoid some turns of phrase.
set -u

pages=$(git ls-files README.md 'docs/*.md' 'tests/*.md')
bad=0

# shellcheck disable=SC2086 # a list of names
long=$(awk '
	FNR == 1 { code = 0 }
	/^ *```/ { code = !code }
	length > 80 && !code && !/^ *\|/ && !/^(    |\t)/ {
		print FILENAME ":" FNR ": " length " columns, not 80"
	}' $pages)
[ -z "$long" ] || { echo "$long" && bad=1; }

# "There is no ..." and "is no more than" are fine, and so is a quotation.
phrases='(?<!there )(?<!")\bis no (?!(more|less|longer|worse)\b)'
phrases="$phrases|\\banew\\b|\\btold of\\b|\\bof use\\b"
phrases="$phrases|(^|[.:|*-] +)(?-i:One that)\\b"
# shellcheck disable=SC2086
! grep -nPi "$phrases" $pages docs/torpor.1 || bad=1
exit $bad
