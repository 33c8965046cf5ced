#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds what a test or demo guest boots from, without root:
#
#	mkinitramfs.sh KERNEL_DIR OUT_DIR PROGRAM...
#
# KERNEL_DIR has vmlinuz and, unless the kernel has all built in, modules/
# (tests/harness/kernel.sh). OUT_DIR gets vmlinuz (a link) and initramfs.cpio
# with these statically linked programs.
set -eu

src=$(dirname "$0")
kernel=$1 out=$2
shift 2
. "$src/initramfs.sh"

root=$(mktemp -d "$out/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/mnt" \
	"$root/etc/acpi" "$root/lib" "$root/run"
initramfs_busybox "$root"
[ ! -d "$kernel/modules" ] || initramfs_modules "$kernel/modules" "$root" \
	$(grep -v '^#' "$src/modules")
install -m 755 "$src/init" "$root/init"
install -m 755 "$src/go-to-sleep" "$src/wake-handler" "$@" "$root/bin/"
install -m 644 "$src/torpor.sh" "$root/lib/torpor.sh"
install -m 644 "$src/acpi.map" "$src/acpid.conf" "$root/etc/"
install -m 755 "$src/acpi-sleep" "$root/etc/acpi/sleep"
install -m 755 "$src/acpi-power" "$root/etc/acpi/power"
cat "$kernel/VERSION" >"$root/etc/kernel-package"

initramfs_pack "$root" "$out/initramfs.cpio"
ln -sfn "$(readlink -f "$kernel/vmlinuz")" "$out/vmlinuz"
