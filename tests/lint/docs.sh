#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the documents name is in the tree: each `function()` and each path. A
# function that a path in brackets follows is in that file.
set -u

docs=$(git ls-files README.md 'docs/*.md' 'tests/*.md')
names=$(mktemp)
trap 'rm -f "$names"' EXIT
bad=0

# Of the kernel and the C library, and a placeholder.
others="epoll_wait fsync getppid listen preadv pthread_cond_wait pwritev syncfs
create_TYPE"
# Of Linux and QEMU, and what a build makes; TYPE and NAME stand for others.
not_ours='^(devices/system/|docs/interop/|guest/(initramfs|vmlinuz|payloads/.*\.elf))|TYPE|NAME'

wrong() {
	echo "$1"
	bad=1
}

{
	git ls-files '*.[ch]' | xargs ctags -x --kinds-C=fp --_xformat='%{name}'
	printf '%s\n' $others
} | sort -u >"$names"

# shellcheck disable=SC2016 # backquotes of Markdown
while IFS=: read -r file line name; do
	name=${name//[\`()]/}
	grep -qx "$name" "$names" ||
		wrong "$file:$line: the tree has no function $name()"
done < <(grep -noHE '`[A-Za-z_][A-Za-z0-9_]*\(\)`' $docs)

while IFS=: read -r file line path; do
	[[ $path =~ $not_ours ]] || compgen -G "$path" >/dev/null ||
		wrong "$file:$line: the tree has no $path"
done < <(grep -noHP \
	'(?<!\w/)\b(vmm|virtio|devices|sandbox|arch|include|guest|tests|docs)/[A-Za-z0-9_./*-]*[A-Za-z0-9_]' \
	$docs)

# A name alone stands for a file of the folder that is spoken of.
while IFS=: read -r file line name; do
	[ -n "$(git ls-files "$name" "*/$name")" ] ||
		wrong "$file:$line: the tree has no file $name"
done < <(grep -noHP '(?<![\w./*-])[a-z0-9_]+\.[ch]\b' $docs docs/*.svg)

# shellcheck disable=SC2016
while IFS=: read -r file line text; do
	name=${text#\`} name=${name%%(*}
	path=${text#*[} path=${path%]}
	[ ! -f "$path" ] || ctags -x --kinds-C=f --_xformat='%{name}' "$path" |
		grep -qx "$name" ||
		wrong "$file:$line: $name() is not in $path"
done < <(grep -noHE '`[a-z_0-9]+\(\)` \[[^], ]*\]' $docs)
exit $bad
