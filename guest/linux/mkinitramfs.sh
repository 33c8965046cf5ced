#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The initramfs of guest/mkinitramfs.sh with virtio modules of our own:
#
#	mkinitramfs.sh KERNEL_DIR MODULE_DIR CLOCKS OUT_FILE
set -eu

here=$(dirname "$0")
kernel=$1 modules=$2 clocks=$3 out=$4
tmp=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# Debian's, with links in place of those that MODULE_DIR has.
mkdir -p "$tmp/kernel" "$tmp/out"
cp -rs "$(readlink -f "$kernel/modules")" "$tmp/kernel/modules"
for ko in "$modules"/*.ko; do
	old=$(find "$tmp/kernel/modules" -name "${ko##*/}*")
	[ -z "$old" ] || ln -sf "$(readlink -f "$ko")" "${old%.ko*}.ko"
done
ln -s "$(readlink -f "$kernel/vmlinuz")" "$tmp/kernel/vmlinuz"
echo "$(cat "$kernel/VERSION") ${modules##*/}" >"$tmp/kernel/VERSION"

cp "$clocks" "$tmp/out/clocks"
"$here/../mkinitramfs.sh" "$tmp/kernel" "$tmp/out"
mv "$tmp/out/initramfs.cpio" "$out"
