#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Loads virtio_suspend_test.ko into the kernel whose modules it was built for, in
# QEMU. It needs no virtio device and no KVM.
#
#	run.sh v14|draft
set -eu

cd "$(dirname "$0")/../../.."
B=${B:-build}
. guest/initramfs.sh
variant=$1 suffix=
[ "$variant" = v14 ] || suffix=-draft

work=$(mktemp -d "${TMPDIR:-/tmp}/torpor-selftest.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
cp "$B/guest/linux/$variant/virtio_suspend_test.ko" "$work/root/"
cat >"$work/root/selftest" <<'EOF'
#!/bin/sh
# As the kernel does while it suspends.
echo 1 >/sys/kernel/rcu_expedited
insmod /virtio_suspend_test.ko
echo "SELFTEST $?"
dmesg | sed -n 's/.*virtio_suspend_test: //p'
dmesg | grep -E -A 20 'WARNING: CPU|BUG: |rcu.*stall|blocked for more|Oops'
echo "SELFTEST-END"
EOF
chmod 755 "$work/root/selftest"
initramfs_pack "$work/root" "$work/test.cpio"
cat "$B/guest/initramfs-suspend$suffix.cpio" "$work/test.cpio" >"$work/initrd"

timeout -k 5 900 qemu-system-x86_64 -accel tcg,thread=multi -cpu EPYC -M q35 \
	-m 512 -smp 2 -nodefaults -no-reboot -display none -serial stdio \
	-kernel "$B/guest/vmlinuz" -initrd "$work/initrd" \
	-append "console=ttyS0 quiet panic=-1 torpor.run=/selftest" \
	</dev/null 2>"$work/errors" | tr -d '\r' | tee "$work/log" |
	sed -n '/^SELFTEST/,/^SELFTEST-END/p' | grep -v '^SELFTEST' || :

name=virtio-suspend-$variant
sums=$(sed -n 's/^\([0-9]* passed, [0-9]* failed\)$/\1, 0 skipped/p' "$work/log")
echo "$name: ${sums:-no result}"
if ! grep -q '^SELFTEST 0$' "$work/log"; then
	tail -n 20 "$work/log" "$work/errors" >&2
	exit 1
fi
if grep -q -E 'WARNING: CPU|BUG: |rcu.*stall|blocked for more|Oops' "$work/log"; then
	exit 1
fi
