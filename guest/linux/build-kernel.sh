#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds Debian's 6.12 with the patches, small and without modules (small.config):
#
#	build-kernel.sh v14|draft OUT_DIR	OUT_DIR/bzImage
#
# Takes five minutes on two idle CPUs, and 2 GB of disk.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
variant=$1 out=$2
kernel=$("$here/../../tests/harness/kernel-source.sh" --path 6.12)

mkdir -p "$out"
out=$(cd "$out" && pwd)
src=$out/linux
rm -rf "$src"
mkdir "$src"
tar -C "$src" --strip-components=1 -xf "$kernel/linux.tar.xz"
for patch in "$here"/patches/6.12/*.patch; do
	patch -d "$src" -p1 --quiet --no-backup-if-mismatch <"$patch"
done

kmake() {
	MAKEFLAGS='' make -C "$src" -j"$(nproc)" "$@" >"$out/log" 2>&1 || {
		tail -n 30 "$out/log" >&2
		exit 1
	}
}

cp "$here/small.config" "$out/fragment"
[ "$variant" = v14 ] ||
	echo CONFIG_VIRTIO_SUSPEND_DRAFT=y >>"$out/fragment"
kmake tinyconfig
(cd "$src" && scripts/kconfig/merge_config.sh -m .config "$out/fragment" \
	>"$out/log" 2>&1)
kmake olddefconfig
# What a dependency has put out again would be missed only at run time.
missing=$(grep '^CONFIG_.*=y$' "$out/fragment" |
	grep -v -x -F -f "$src/.config" || :)
if [ -n "$missing" ]; then
	echo "build-kernel.sh: not to be had:" $missing >&2
	exit 1
fi
kmake bzImage
cp "$src/arch/x86/boot/bzImage" "$out/bzImage"
