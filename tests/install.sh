#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What `make install` copies works where it is: the program runs a guest with its
# devices, and a program that knows nothing of this directory links the library.
set -u

cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
B=${B:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
passed=0 failed=0

# check NAME COMMAND...
check() {
	name=$1
	shift
	if "$@" >"$dir/log" 2>&1; then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name"
		sed 's/^/  | /' "$dir/log"
	fi
}

to=$dir/to/opt/torpor

files() {
	for file in bin/torpor bin/torpor-device include/torpor.h \
		lib/libtorpor.a share/man/man1/torpor.1; do
		[ -s "$to/$file" ] || { echo "no $file" && return 1; }
	done
	[ "$(find "$dir/to" -type f | wc -l)" = 5 ]
}

# Its device program is the one beside it.
says_hello() {
	truncate -s 1M "$dir/disk"
	timeout 60 "$to/bin/torpor" run --serial stdout --block "$dir/disk" \
		"$B/guest/payloads/hello.elf" </dev/null >"$dir/out"
	grep HELLO "$dir/out"
}

links() {
	cat >"$dir/client.c" <<-END
	#include <stdio.h>
	#include <torpor.h>
	int main(void)
	{
		struct torpor *t;
		return torpor_connect("/nowhere", 100, &t) == 0;
	}
	END
	${CC:-cc} -Wall -Werror -I"$to/include" -o "$dir/client" \
		"$dir/client.c" -L"$to/lib" -ltorpor -ljansson &&
		"$dir/client"
}

check "make install" make --no-print-directory B="$B" DESTDIR="$dir/to" \
	PREFIX=/opt/torpor install
check "all files are there, and no other" files
check "the program knows its version" "$to/bin/torpor" version
check "the manual page is one" sh -c "head -n 5 '$to/share/man/man1/torpor.1' |
	grep '^\.TH TORPOR 1'"
[ ! -e /dev/kvm ] || check "it runs a guest, with a disk" says_hello
check "a client links the library" links
echo "install: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
