/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of other VMMs' words and our answers; see foreign.h. */
#include "vmm/config/foreign.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/base/util.h"

struct foreign {
	const char *names; /* between spaces: " smp num-cores " */
	const char *answer;
};

#define USE_BLOCK  "use --block PATH[,ro], once for each disk"
#define USE_NET	   "use --net tap-name=NAME"
#define USE_SERIAL "use --serial and --console"
#define USE_SHARED "use --shared-dir PATH:TAG"
#define USE_SOCKET "use --socket PATH, and 'torpor COMMAND PATH'"
#define NO_DISPLAY                                                         \
	"torpor has no display; leave it out, the serial port is on this " \
	"terminal"
#define NO_MOVE "torpor has no snapshots and no migration"

static const struct foreign options[] = {
	{ " memory memory-size mem-size ", "use --mem SIZE" },
	{ " smp vcpus num-cores ", "use --cpus N" },
	{ " kernel vmlinux k ", "give the kernel as the last word" },
	{ " append cmdline kernel-cmdline boot-args ", "use --params TEXT" },
	{ " initramfs ramdisk ", "use --initrd FILE" },
	{ " disk drive rwdisk root rwroot hda hdb hdc hdd image d r "
	  "blockdev add-drive ",
	  USE_BLOCK },
	{ " cdrom ", "use --block PATH,ro" },
	{ " netdev nic tap tap-name tap-fd network host-ip netmask ", USE_NET },
	{ " mac ", "use --net tap-name=NAME,mac=MAC" },
	{ " chardev tty ", USE_SERIAL },
	{ " fs fsdev virtfs virtiofs 9p shared-directory ", USE_SHARED },
	{ " qmp monitor mon api-sock api-socket control ", USE_SOCKET },
	{ " config-file config readconfig ", "use --cfg FILE" },
	{ " id uuid vm-name ", "use --name NAME" },
	{ " mem-path mem-prealloc ", "use --hugepages, or leave it out" },
	{ " no-seccomp seccomp seccomp-filter seccomp-policy-dir ",
	  "use --sandbox full, weak or off" },
	{ " verbose level debug log-file log-path ",
	  "use --log-level LEVEL; the log is standard error" },
	{ " virtio-rng object no-virtio-rng ",
	  "the VM has an entropy device; --no-rng removes it" },
	{ " enable-kvm accel kvm no-kvm hypervisor ",
	  "leave it out: torpor always uses KVM" },
	{ " machine M type nodefaults no-acpi no-hpet no-reboot no-shutdown "
	  "boot-timer rtc no-rtc ",
	  "leave it out: there is one machine, and it ends when its guest "
	  "reboots" },
	{ " nographic display-none ",
	  "leave it out: the serial port is on this terminal" },
	{ " daemonize pidfile D ",
	  "torpor stays in the foreground; start it with systemd-run or "
	  "&; 'torpor state' prints its pid" },
	{ " bios pflash firmware loader boot uefi ",
	  "torpor has no firmware: it boots KERNEL itself" },
	{ " gpu vga display sdl gtk vnc spice wayland-sock x-display ",
	  NO_DISPLAY },
	{ " sound soundhw audio audiodev virtio-snd ",
	  "torpor has no sound device" },
	{ " usb usbdevice input keyboard mouse trackpad evdev ",
	  "torpor has no input device" },
	{ " device pci host-device passthrough ",
	  "use --vfio ADDRESS for a PCI device of the host; others are "
	  "--block, "
	  "--net, --console, --shared-dir, --vsock and --vhost-user" },
	{ " balloon no-balloon pmem pmem-device watchdog battery numa tpm "
	  "vtpm iommu virtio-iommu pstore ",
	  "torpor has no such device" },
	{ " incoming loadvm snapshot restore suspended ", NO_MOVE },
	{ " gdb s S ", "torpor has no debugger port" },
	{ " cpu-affinity rt-cpus core-scheduling vcpu-cgroup-path ",
	  "use taskset, chrt or systemd-run in front of torpor" },
};

static const struct foreign commands[] = {
	{ " start boot create launch exec qemu ", "use 'torpor run'" },
	{ " quit kill destroy delete exit terminate poweroff-now ",
	  "use 'torpor stop'" },
	{ " shutdown poweroff halt system_powerdown power-button ",
	  "use 'torpor powerbtn'" },
	{ " pause freeze ", "use 'torpor suspend --full'" },
	{ " unpause cont thaw ", "use 'torpor resume --full'" },
	{ " sleep dompmsuspend ", "use 'torpor suspend'" },
	{ " wakeup system_wakeup dompmwakeup ", "use 'torpor wake'" },
	{ " info status show ping inspect dominfo domstate ps list ",
	  "use 'torpor state'" },
	{ " metrics domstats ", "use 'torpor stats'" },
	{ " watch monitor log logs ", "use 'torpor events'" },
	{ " reset reboot restart system_reset ",
	  "torpor ends when its guest reboots; 'torpor stop', then "
	  "'torpor run'" },
	{ " console attach ssh ",
	  "torpor has no such command; see --serial and --console of "
	  "'torpor run'" },
	{ " device devices ",
	  "the devices are options of 'torpor run'; the program torpor-device "
	  "serves a device on its own" },
	{ " snapshot save savevm loadvm restore migrate swap balloon disk usb "
	  "vfio battery gpe make_rt create_qcow2 ",
	  "torpor has no such feature" },
};

static const struct {
	const char *option;
	struct foreign foreign;
} values[] = {
	{ "rng", { " off none false no ", "use --no-rng" } },
	{ "rng", { " on true yes ", "leave it out: it is the default" } },
	{ "cpu",
	  { " host max host-passthrough ",
	    "leave it out: the guest has the host's CPU" } },
	{ "net", { " none off ", "leave it out: then there is no NIC" } },
	{ "net",
	  { " user slirp passt ",
	    "torpor has no user-mode network: use tap-name=NAME, or a back "
	    "end with --vhost-user net,socket=PATH" } },
};

static bool is_among(const char *names, const char *name, size_t len)
{
	for (const char *p = names; (p = strchr(p, ' ')) && p[1]; p++) {
		if (!strncmp(p + 1, name, len) && p[1 + len] == ' ')
			return true;
	}
	return false;
}

static const char *find(const struct foreign *table, size_t nr,
			const char *name, size_t len)
{
	for (size_t i = 0; i < nr; i++) {
		if (is_among(table[i].names, name, len))
			return table[i].answer;
	}
	return NULL;
}

const char *config_foreign_option(const char *name, size_t len)
{
	return len ? find(options, ARRAY_SIZE(options), name, len) : NULL;
}

const char *config_foreign_command(const char *name)
{
	return find(commands, ARRAY_SIZE(commands), name, strlen(name));
}

const char *config_foreign_value(const char *option, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (!strcmp(values[i].option, option) &&
		    is_among(values[i].foreign.names, word, strlen(word)))
			return values[i].foreign.answer;
	}
	return NULL;
}
