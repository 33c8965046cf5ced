/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of `torpor run`: the command line, checks of the whole. */
#define _GNU_SOURCE
#include "vmm/config/config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/pci/pci.h"
#include "tests/lib/config_rig.h"
#include "tests/lib/text.h"
#include "vmm/base/log.h"

#define MAX_ARGS 8

static struct err err; /* of the last PARSE() */

TestSuite(config, .init = config_setup, .fini = config_teardown,
	  .timeout = 120);

Test(config, defaults_are_those_of_the_help)
{
	cr_assert(eq(int, PARSE("vmlinuz"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
	cr_assert(same(cfg.kernel, "vmlinuz"));
	cr_assert(eq(u64, cfg.mem_mib, 256));
	cr_assert(eq(u32, cfg.cpus, 1));
	cr_assert(eq(int, cfg.rng, 1));
	cr_assert(eq(int, cfg.serial.type, CHAR_STDIO));
	cr_assert(eq(int, cfg.sandbox, SANDBOX_FULL));
	cr_assert(eq(int, cfg.irqchip, IRQCHIP_SPLIT));
	cr_assert(eq(int, cfg.invtsc, TRISTATE_AUTO));
	cr_assert(eq(int, cfg.log_level, LOG_LEVEL_INFO));
}

Test(config, every_spelling_of_an_option_is_the_same)
{
	cr_assert(eq(int, PARSE("--mem", "64", "k"), 0));
	cr_assert(eq(u64, cfg.mem_mib, 64));
	config_finish(&cfg);
	config_init(&cfg);
	cr_assert(eq(int, PARSE("k", "--mem=65M", "-c4"), 0));
	cr_assert(eq(u64, cfg.mem_mib, 65));
	cr_assert(eq(u32, cfg.cpus, 4));
	cr_assert(eq(int, PARSE("-m", "2G"), 0));
	cr_assert(eq(u64, cfg.mem_mib, 2048));
}

Test(config, all_options_reach_their_field)
{
	cr_assert(eq(int,
		     PARSE("-p", "a=1", "--params", "b", "-i", "initrd",
			   "--hugepages", "--no-rng", "-s", "/run/x.sock",
			   "--name", "vm-1", "--sandbox", "weak", "--irqchip",
			   "kernel", "--cpu", "invtsc=on", "--log-level",
			   "debug", "--device-exe", "/bin/dev", "--serial",
			   "type=file,path=log", "k"),
		     0),
		  "%s", err.msg);
	cr_assert(same(cfg.params, "a=1 b"));
	cr_assert(same(cfg.initrd, "initrd"));
	cr_assert(eq(int, cfg.hugepages, 1));
	cr_assert(eq(int, cfg.rng, 0));
	cr_assert(same(cfg.socket, "/run/x.sock"));
	cr_assert(same(cfg.name, "vm-1"));
	cr_assert(eq(int, cfg.sandbox, SANDBOX_WEAK));
	cr_assert(eq(int, cfg.irqchip, IRQCHIP_KERNEL));
	cr_assert(eq(int, cfg.invtsc, TRISTATE_ON));
	cr_assert(eq(int, cfg.log_level, LOG_LEVEL_DEBUG));
	cr_assert(same(cfg.device_exe, "/bin/dev"));
	cr_assert(eq(int, cfg.serial.type, CHAR_FILE));
	cr_assert(same(cfg.serial.path, "log"));
	cr_assert(eq(int, PARSE("--disable-sandbox", "--hugepages=false"), 0));
	cr_assert(eq(int, cfg.sandbox, SANDBOX_OFF));
	cr_assert(eq(int, cfg.hugepages, 0));
}

Test(config, disks_keep_their_order_and_keys)
{
	cr_assert(eq(int,
		     PARSE("-b", "/proc/self/fd/9", "--block",
			   ("b.img,ro,o_direct=true,sparse=false,id=disk-1,"
			    "engine=threads"),
			   "--block=path=\"x,\\\"y\\\\.img\",o-direct=false",
			   "-b", "/a=b.img,ro=true"),
		     0),
		  "%s", err.msg);
	cr_assert(eq(u32, cfg.nr_blocks, 4));
	cr_assert(same(cfg.blocks[0].path, "/proc/self/fd/9"));
	cr_assert(eq(int, cfg.blocks[0].ro, 0));
	cr_assert(eq(int, cfg.blocks[0].sparse, 1));
	cr_assert(eq(int, cfg.blocks[0].engine, BLK_ENGINE_AUTO));
	cr_assert(same(cfg.blocks[0].id, ""));
	cr_assert(eq(int, cfg.blocks[1].ro, 1));
	cr_assert(eq(int, cfg.blocks[1].o_direct, 1));
	cr_assert(eq(int, cfg.blocks[1].sparse, 0));
	cr_assert(same(cfg.blocks[1].id, "disk-1"));
	cr_assert(eq(int, cfg.blocks[1].engine, BLK_ENGINE_THREADS));
	cr_assert(same(cfg.blocks[2].path, "x,\"y\\.img"));
	cr_assert(same(cfg.blocks[3].path, "/a=b.img"));
	cr_assert(eq(int, cfg.blocks[3].ro, 1));
}

Test(config, nics_by_name_and_by_fd)
{
	int fd = open("/dev/null", O_RDWR);
	char arg[64];

	(void)snprintf(arg, sizeof(arg),
		       "tap-fd=%d,mac=02:AB:cd:00:11:ff,wake=unicast", fd);
	cr_assert(eq(int, PARSE("--net", "tap-name=tap0", "--net", arg), 0),
		  "%s", err.msg);
	cr_assert(eq(u32, cfg.nr_nets, 2));
	cr_assert(same(cfg.nets[0].tap_name, "tap0"));
	cr_assert(eq(int, cfg.nets[0].tap_fd, -1));
	cr_assert(eq(int, cfg.nets[0].mac.set, 0));
	cr_assert(eq(int, cfg.nets[0].wake_unicast, 0));
	cr_assert(eq(int, cfg.nets[1].wake_unicast, 1));
	cr_assert(eq(int, cfg.nets[1].tap_fd, fd));
	cr_assert(
		eq(int,
		   memcmp(cfg.nets[1].mac.addr, "\x02\xab\xcd\x00\x11\xff", 6),
		   0));
	cr_assert(eq(int, fcntl(fd, F_GETFD), FD_CLOEXEC));
	config_finish(&cfg);
	cr_assert(eq(int, fcntl(fd, F_GETFD), -1), "the fd is owned");
}

Test(config, shared_directories_in_the_form_of_crosvm)
{
	cr_assert(eq(int,
		     PARSE("--shared-dir", "/a:one", "--shared-dir",
			   ("b,c=d:two:type=fs:cache=always:timeout=60:"
			    "writeback=true:locks=true:suid=true:"
			    "reserved=true"),
			   "k"),
		     0),
		  "%s", err.msg);
	cr_assert(eq(u32, cfg.nr_shares, 2));
	cr_assert(same(cfg.shares[0].path, "/a"));
	cr_assert(same(cfg.shares[0].tag, "one"));
	cr_assert(eq(int, cfg.shares[0].cache, FS_CACHE_AUTO));
	cr_assert(eq(int, cfg.shares[0].timeout_set, 0));
	cr_assert(eq(int, cfg.shares[0].writeback, 0));
	cr_assert(eq(int, cfg.shares[0].locks, 0));
	cr_assert(same(cfg.shares[1].path, "b,c=d"));
	cr_assert(same(cfg.shares[1].tag, "two"));
	cr_assert(eq(int, cfg.shares[1].cache, FS_CACHE_ALWAYS));
	cr_assert(eq(int, cfg.shares[1].timeout_set, 1));
	cr_assert(eq(u64, cfg.shares[1].timeout_s, 60));
	cr_assert(eq(int, cfg.shares[1].writeback, 1));
	cr_assert(eq(int, cfg.shares[1].locks, 1));
	cr_assert(eq(int, cfg.shares[0].suid, 0));
	cr_assert(eq(int, cfg.shares[0].reserved, 0));
	cr_assert(eq(int, cfg.shares[1].suid, 1));
	cr_assert(eq(int, cfg.shares[1].reserved, 1));
	cr_assert(eq(int, config_check(&cfg, &err), 0), "%s", err.msg);
}

Test(config, foreign_back_ends_in_the_form_of_crosvm)
{
	const struct foreign_config *f = cfg.foreigns;

	cr_assert(
		eq(int,
		   PARSE("--vhost-user", "type=fs,socket=/s,tag=a,queues=3",
			 "--vhost-user", "block,socket=/b", "--vhost-user",
			 "net,socket=/n,mac=02:00:00:00:00:09", "--vhost-user",
			 "rng,socket=/r,max-queue-size=1024,suspend=off",
			 "kernel"),
		   0));
	cr_assert(eq(uint, cfg.nr_foreigns, 4));
	cr_assert(f[0].type == FOREIGN_FS && f[0].queues == 3);
	cr_assert(zero(int, strcmp(f[0].socket, "/s")));
	cr_assert(zero(int, strcmp(f[0].tag, "a")));
	cr_assert(f[1].type == FOREIGN_BLK && !f[1].queue_size);
	cr_assert(f[2].type == FOREIGN_NET && f[2].mac.set);
	cr_assert(eq(u8, f[2].mac.addr[5], 9));
	cr_assert(f[3].type == FOREIGN_RNG && f[3].queue_size == 1024);
	cr_assert(f[3].suspend == SUSPEND_OFF);
}

Test(config, consoles_and_the_last_serial_win)
{
	cr_assert(eq(int,
		     PARSE("--serial", "type=file,path=x", "--serial",
			   "type=none", "--console", "stdio", "--console",
			   "type=pty,path=link", "k"),
		     0),
		  "%s", err.msg);
	cr_assert(eq(int, cfg.serial.type, CHAR_NONE));
	cr_assert(eq(ptr, cfg.serial.path, NULL));
	cr_assert(eq(u32, cfg.nr_consoles, 2));
	cr_assert(eq(int, cfg.consoles[0].type, CHAR_STDIO));
	cr_assert(same(cfg.consoles[1].path, "link"));
	cr_assert(eq(int, config_check(&cfg, &err), 0), "%s", err.msg);
}

Test(config, after_two_dashes_a_kernel_may_look_like_an_option)
{
	cr_assert(eq(int, PARSE("--", "-k"), 0));
	cr_assert(same(cfg.kernel, "-k"));
}

#define LONG_21 "123456789012345678901"
#define LONG_64 \
	"0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
	const char *words[MAX_ARGS];
	const char *says[3]; /* option, value, remedy */
} bad_args[] = {
	{ { "--mem", "12x" },
	  { "--mem '12x'",
	    "not a size; use MiB (256) or a suffix (256M, 1G)" } },
	{ { "--mem", "" }, { "--mem ''", "not a size" } },
	{ { "--mem", "-5" }, { "--mem '-5'", "not a size" } },
	{ { "--mem", "1GB" }, { "not a size" } },
	{ { "--mem", "15" }, { "--mem '15'", "16 MiB to 65536 MiB" } },
	{ { "--mem", "65537" }, { "out of range" } },
	{ { "--mem", "65G" }, { "out of range" } },
	{ { "--mem", "99999999999999999999" }, { "not a size" } },
	{ { "--mem", "18446744073709551615G" }, { "out of range" } },
	{ { "--cpus", "0" }, { "--cpus '0'", "1 to 64" } },
	{ { "--cpus", "65" }, { "1 to 64" } },
	{ { "--cpus", "two" }, { "1 to 64" } },
	{ { "--cpus=" }, { "--cpus ''", "1 to 64" } },
	{ { "--mem" }, { "--mem needs a value: MIB" } },
	{ { "-m" }, { "-m needs a value" } },
	{ { "--memm", "1" }, { "unknown option '--memm'", "--mem?" } },
	{ { "--memm=1" }, { "unknown option '--memm'" } },
	{ { "--frobnicate" }, { "'--frobnicate'", "torpor run --help" } },
	{ { "-z" }, { "unknown option '-z'" } },
	{ { "---" }, { "unknown option '---'" } },
	{ { "--hugepages=maybe" }, { "--hugepages 'maybe'", "true or false" } },
	{ { "--no-rng=1" }, { "--no-rng '1'", "true or false" } },
	{ { "--disable-sandbox=x" }, { "true or false" } },
	{ { "k1", "k2" }, { "unexpected argument 'k2'", "'k1'" } },
	{ { "" }, { "KERNEL ''", "empty" } },
	{ { "--initrd=" }, { "--initrd ''", "empty" } },
	{ { "--name", "a/b" }, { "--name 'a/b'", "letters, digits" } },
	{ { "--name", LONG_64 }, { "1 to 63" } },
	{ { "--socket", LONG_64 LONG_64 }, { "107 bytes" } },
	{ { "--sandbox", "on" }, { "--sandbox 'on'", "full, weak, off" } },
	{ { "--irqchip", "apic" }, { "split, kernel" } },
	{ { "--log-level", "loud" }, { "error, warn, info, debug" } },
	{ { "--cpu", "invtsc=maybe" }, { "invtsc=maybe", "auto, on, off" } },
	{ { "--cpu", "tsc=on" }, { "unknown key 'tsc'", "known: invtsc" } },
	{ { "--block", "" }, { "--block ''", "is empty" } },
	{ { "--block", "ro=true" }, { "path=FILE" } },
	{ { "--block", "a,rw" },
	  { "unknown key 'rw'",
	    "path, ro, o_direct, sparse, format, id, engine" } },
	{ { "--block", "a,ro=yes" }, { "ro=yes", "true or false" } },
	{ { "--block", "a,o_direct=2" }, { "o_direct=2" } },
	{ { "--block", "a,sparse=" }, { "sparse=" } },
	{ { "--block", "a,ro,ro" }, { "'ro' is given twice" } },
	{ { "--block", "a," }, { "key is missing" } },
	{ { "--block", "a,,ro" }, { "key is missing" } },
	{ { "--block", "a,id=" LONG_21 }, { "1 to 20 characters" } },
	{ { "--block", "a,id=" }, { "1 to 20 characters" } },
	{ { "--block", "a,id=a b" }, { "printable ASCII" } },
	{ { "--block", "a,engine=aio" }, { "auto, uring, threads" } },
	{ { "--block", "\"a" }, { "closing \"" } },
	{ { "--block", "\"a\"b" }, { "a comma must follow" } },
	{ { "--block", "a,b,c,d,e,f,g,h,i,j,k,l,m,n" }, { "more than 12" } },
	{ { "--net", "tap0" }, { "unknown key 'tap0'", "tap-name, tap-fd" } },
	{ { "--net", "mac=02:00:00:00:00:01" }, { "tap-name=NAME" } },
	{ { "--net", "tap-name=a,tap-fd=0" }, { "not an fd" } },
	{ { "--net", "tap-fd=x" }, { "tap-fd=x", "not an fd" } },
	{ { "--net", "tap-fd=999" }, { "tap-fd=999", "not open" } },
	{ { "--net", "tap-name=1234567890123456" }, { "1 to 15" } },
	{ { "--net", "tap-name=a,wake=on" }, { "one of filter, unicast" } },
	{ { "--net", "tap-name=a,wake" }, { "wake=true" } },
	{ { "--net", "tap-name=../x" }, { "not an interface name" } },
	{ { "--net", "tap-name=a", "--net", "tap-name=a" }, { "same tap" } },
	{ { "--net", "tap-name=a,mac=1:2:3:4:5:6" }, { "not a MAC" } },
	{ { "--net", "tap-name=a,mac=02:00:00:00:00:0g" }, { "not a MAC" } },
	{ { "--net", "tap-name=a,mac=02-00-00-00-00-01" }, { "not a MAC" } },
	{ { "--net", "tap-name=a,mac=01:00:00:00:00:01" }, { "one NIC" } },
	{ { "--net", "tap-name=a,mac=00:00:00:00:00:00" }, { "one NIC" } },
	{ { "--serial", "type=tty" },
	  { "--serial 'type=tty'", "none, stdio, stdout, file, pty" } },
	{ { "--serial", "path=x" }, { "give type=" } },
	{ { "--serial", "type=file" }, { "needs path=FILE" } },
	{ { "--serial", "type=stdio,path=x" }, { "path= is for" } },
	{ { "--serial", "type=stdio,num=1" }, { "'num'", "type, path" } },
	{ { "--console", "type=file,path=" }, { "--console", "is empty" } },
	{ { "--shared-dir", "/a" }, { "--shared-dir '/a'", "PATH:TAG" } },
	{ { "--shared-dir", "" }, { "path=", "is empty" } },
	{ { "--shared-dir", ":t" }, { "path=", "is empty" } },
	{ { "--shared-dir", "/a:" }, { "tag=", "1 to 36 bytes" } },
	{ { "--shared-dir", "/a:a b" }, { "tag=a b", "without spaces" } },
	{ { "--shared-dir", "/a:" LONG_21 LONG_21 }, { "1 to 36 bytes" } },
	{ { "--shared-dir", "/a:t:" }, { "'' is not KEY=VALUE", "--help" } },
	{ { "--vhost-user", "fs" }, { "give socket=PATH" } },
	{ { "--vhost-user", "socket=/s" }, { "the type is missing" } },
	{ { "--vhost-user", "gpu,socket=/s" },
	  { "type=gpu", "blk, console, fs, net, rng" } },
	{ { "--vhost-user", "fs,socket=" }, { "socket=", "empty" } },
	{ { "--vhost-user", "fs,socket=/s,x=1" },
	  { "unknown key 'x'", "tag" } },
	{ { "--vhost-user", "fs,socket=/s,tag=" }, { "tag=", "1 to 36" } },
	{ { "--vhost-user", "fs,socket=/s,queues=0" }, { "1 to 7" } },
	{ { "--vhost-user", "fs,socket=/s,tag=a,queues=8" }, { "1 to 7" } },
	{ { "--vhost-user", "fs,socket=/s,queues=2" }, { "without tag=" } },
	{ { "--vhost-user", "blk,socket=/s,tag=a" }, { "type fs only" } },
	{ { "--vhost-user", "rng,socket=/s,queues=1" }, { "type fs only" } },
	{ { "--vhost-user", "blk,socket=/s,mac=02:00:00:00:00:01" },
	  { "type net only" } },
	{ { "--vhost-user", "net,socket=/s,mac=1" }, { "not a MAC" } },
	{ { "--vhost-user", "rng,socket=/s,max-queue-size=3" },
	  { "power of two, 2 to 1024" } },
	{ { "--vhost-user", "rng,socket=/s,suspend=no" }, { "v14, draft" } },
	{ { "--vhost-user", "fs,socket=/s,tag=a", "--shared-dir", "/b:a" },
	  { "tag 'a' is taken" } },
	{ { "--shared-dir", "/b:a", "--vhost-user", "fs,socket=/s,tag=a" },
	  { "tag 'a' is taken" } },
	{ { "--shared-dir", "/a:t:ro" }, { "'ro' is not KEY=VALUE" } },
	{ { "--shared-dir", "/a:t:=x" }, { "not KEY=VALUE" } },
	{ { "--shared-dir", "/a:t:ro=true" }, { "unknown key 'ro'", "locks" } },
	{ { "--shared-dir", "/a:t:tag=u" }, { "'tag' is given twice" } },
	{ { "--shared-dir", "/a:t:type=p9" }, { "type=p9", "use fs" } },
	{ { "--shared-dir", "/a:t:cache=no" }, { "never, auto, always" } },
	{ { "--shared-dir", "/a:t:timeout=-1" }, { "timeout=-1", "seconds" } },
	{ { "--shared-dir", "/a:t:timeout=1s" }, { "timeout=1s", "seconds" } },
	{ { "--shared-dir", "/a:t:timeout=99999999999" }, { "0 to" } },
	{ { "--shared-dir", "/a:t:writeback=1" }, { "true or false" } },
	{ { "--shared-dir", "/a:t", "--shared-dir", "/b:t" },
	  { "tag 't' is taken" } },
	{ { "--cfg", "/nonexistent.json" }, { "'/nonexistent.json'" } },
};

Test(config, a_bad_argument_is_named_with_value_and_remedy)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_args); i++) {
		err.msg[0] = '\0';
		cr_assert(eq(int, parse(bad_args[i].words, &err), -EINVAL),
			  "case %zu %s %s", i, bad_args[i].words[0],
			  bad_args[i].words[1]);
		for (int j = 0; j < 3 && bad_args[i].says[j]; j++)
			cr_assert(has(err.msg, bad_args[i].says[j]));
		config_finish(&cfg);
		config_init(&cfg);
	}
}

Test(config, a_command_line_beyond_its_place_is_refused)
{
	char *params = calloc(1, 0x10000 + 1);

	memset(params, 'x', 0x10000);
	cr_assert(eq(int, PARSE("-p", params), -EINVAL));
	cr_assert(has(err.msg, "65535"));
	params[0xffff] = '\0';
	cr_assert(eq(int, PARSE("-p", params), 0));
	cr_assert(eq(int, PARSE("-p", "y"), -EINVAL));
	free(params);
}

Test(config, each_kind_of_device_has_a_limit)
{
	for (int i = 0; i < CONFIG_MAX_BLOCKS; i++)
		cr_assert(eq(int, PARSE("-b", "x"), 0));
	cr_assert(eq(int, PARSE("-b", "x"), -EINVAL));
	cr_assert(has(err.msg, "at most 32 disks"));
	for (int i = 0; i < CONFIG_MAX_NETS; i++) {
		char arg[32];

		(void)snprintf(arg, sizeof(arg), "tap-name=t%d", i);
		cr_assert(eq(int, PARSE("--net", arg), 0));
	}
	cr_assert(eq(int, PARSE("--net", "tap-name=u"), -EINVAL));
	cr_assert(has(err.msg, "at most 8 NICs"));
	for (int i = 0; i < CONFIG_MAX_CONSOLES; i++)
		cr_assert(eq(int, PARSE("--console", "none"), 0));
	cr_assert(eq(int, PARSE("--console", "none"), -EINVAL));
	cr_assert(has(err.msg, "at most 4 consoles"));
	for (int i = 0; i < CONFIG_MAX_SHARES; i++) {
		char arg[32];

		(void)snprintf(arg, sizeof(arg), "/x:t%d", i);
		cr_assert(eq(int, PARSE("--shared-dir", arg), 0));
	}
	cr_assert(eq(int, PARSE("--shared-dir", "/x:u"), -EINVAL));
	cr_assert(has(err.msg, "at most 8 directories"));
}

/* --- checks of the whole --- */

Test(config, wake_narrows_sources_and_the_last_word_wins)
{
	cr_assert(eq(int, PARSE("--wake", "net0=off,rtc=on", "--wake=rtc=off"),
		     0));
	cr_assert(eq(u32, cfg.nr_wakes, 3));
	cr_assert(eq(int, strcmp(cfg.wakes[0].name, "net0"), 0));
	cr_assert(not(cfg.wakes[0].on));
	cr_assert(cfg.wakes[1].on);
	cr_assert(not(cfg.wakes[2].on));
	cr_assert(eq(int, PARSE("--wake", "net0=maybe"), -EINVAL));
	cr_assert(has(err.msg, "maybe"));
	cr_assert(
		eq(int, PARSE("--wake", "averyveryverylongname=on"), -EINVAL));
}

Test(config, vsock_by_either_option)
{
	char path[128];

	cr_assert(eq(int, PARSE("k", "--vsock", "7,socket=/tmp/v"), 0));
	cr_assert(eq(u32, cfg.vsock.cid, 7));
	cr_assert(eq(int, cfg.vsock.suspend, SUSPEND_V14));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
	config_vsock_path(&cfg, path, sizeof(path));
	cr_assert(same(path, "/tmp/v"));
	/* What comes later wins, key by key. */
	cr_assert(eq(int,
		     PARSE("--cid", "4294967294", "--vsock", "suspend=off"),
		     0));
	cr_assert(eq(u32, cfg.vsock.cid, 4294967294U));
	cr_assert(eq(int, cfg.vsock.suspend, SUSPEND_OFF));
	cr_assert(same(cfg.vsock.path, "/tmp/v"));
	cr_assert(eq(int, PARSE("--vsock", "cid=3,socket=\"a,b\""), 0));
	cr_assert(same(cfg.vsock.path, "a,b"));
}

Test(config, vsock_beside_the_control_socket)
{
	char path[128], longest[120] = "/";

	cr_assert(eq(int, PARSE("k", "--cid", "3"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "--vsock cid=3"));
	cr_assert(has(err.msg, "socket=PATH"));
	cr_assert(eq(int, PARSE("--socket", "/run/vm.sock"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
	config_vsock_path(&cfg, path, sizeof(path));
	cr_assert(same(path, "/run/vm.sock.vsock"));
	memset(longest + 1, 'x', 99);
	cr_assert(eq(int, PARSE("--socket", longest), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "longer than 96 bytes"));
}

Test(config, vsock_refuses_what_is_no_address)
{
	static const char *const bad[] = {
		"cid=2",	 "cid=0",	"cid=4294967295",
		"cid=x",	 "cid=",	"cid=3,device=/dev/vhost-vsock",
		"cid=3,socket=", "cid=3,cid=4", "cid=3,suspend=maybe",
		"cid=3,4",
	};
	char path[160] = "cid=3,socket=/";

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert(eq(int, PARSE("--vsock", bad[i]), -EINVAL), "%s",
			  bad[i]);
	cr_assert(eq(int, PARSE("--cid", "2"), -EINVAL));
	cr_assert(has(err.msg, "3 to 4294967294"));
	memset(path + strlen(path), 'x', 96);
	cr_assert(eq(int, PARSE("--vsock", path), -EINVAL));
	cr_assert(has(err.msg, "96 bytes"));
}

Test(config, vfio_by_address_or_directory)
{
	cr_assert(eq(int,
		     PARSE("k", "--vfio", "0000:01:00.0", "--vfio",
			   "/sys/bus/pci/devices/0000:02:00.0,guest-slot=31",
			   "--vfio",
			   "device=03:00.1,guest_slot=1,pm=deep,wake=off"),
		     0));
	cr_assert(eq(uint, cfg.vfios[0].pm, PCI_DEPTH_SHALLOW));
	cr_assert(eq(uint, cfg.vfios[0].no_wake, 0));
	cr_assert(eq(uint, cfg.vfios[2].pm, PCI_DEPTH_DEEP));
	cr_assert(eq(uint, cfg.vfios[2].no_wake, 1));
	cr_assert(eq(uint, cfg.nr_vfios, 3));
	cr_assert(same(cfg.vfios[0].device, "0000:01:00.0"));
	cr_assert(eq(uint, cfg.vfios[0].slot, 0));
	cr_assert(
		same(cfg.vfios[1].device, "/sys/bus/pci/devices/0000:02:00.0"));
	cr_assert(eq(uint, cfg.vfios[1].slot, 31));
	cr_assert(eq(uint, cfg.vfios[2].slot, 1));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
	/* Their interrupts have no pins. */
	cr_assert(eq(int, PARSE("--irqchip", "kernel"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "--irqchip split"));
}

Test(config, vfio_refuses_what_is_no_device_or_slot)
{
	static const char *const bad[] = {
		"",
		"guest-slot=1",
		"01:00.0,guest-slot=0",
		"01:00.0,guest-slot=32",
		"01:00.0,slot=1",
		"01:00.0,pm=on",
		"01:00.0,pm",
		"01:00.0,wake=maybe",
		"01:00.0,guest-slot",
		"01:00.0,02:00.0",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert(eq(int, PARSE("--vfio", bad[i]), -EINVAL), "%s",
			  bad[i]);
	cr_assert(eq(int, PARSE("--vfio", "01:00.0,guest-slot=4"), 0));
	cr_assert(eq(int, PARSE("--vfio", "02:00.0,guest-slot=4"), -EINVAL));
	cr_assert(has(err.msg, "that of --vfio 01:00.0"));
	for (unsigned int i = 1; i < CONFIG_MAX_VFIOS; i++)
		cr_assert(eq(int, PARSE("--vfio", "02:00.0"), 0));
	cr_assert(eq(int, PARSE("--vfio", "02:00.0"), -EINVAL));
	cr_assert(has(err.msg, "at most 8"));
}

Test(config, check_vsock_wants_a_cid)
{
	cr_assert(eq(int, PARSE("k", "--vsock", "socket=/tmp/v"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "cid=N"));
}

Test(config, check_wants_a_kernel)
{
	cr_assert(eq(int, PARSE("-m", "64"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "no kernel given"));
}

Test(config, check_wants_whole_huge_pages)
{
	cr_assert(eq(int, PARSE("k", "-m", "65", "--hugepages"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "--mem 65"));
	cr_assert(eq(int, PARSE("-m", "66"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
}

Test(config, check_counts_devices_by_irqchip)
{
	cr_assert(eq(int, PARSE("k", "--irqchip", "kernel"), 0));
	for (int i = 0; i < 15; i++)
		cr_assert(eq(int, PARSE("-b", "x"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0), "15 disks and rng");
	cr_assert(eq(int, PARSE("-b", "x"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "17 virtio devices"));
	cr_assert(has(err.msg, "at most 16 with --irqchip kernel"));
	cr_assert(has(err.msg, "--irqchip split"));
	cr_assert(eq(int, PARSE("--no-rng"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
	cr_assert(eq(int, PARSE("--irqchip", "split"), 0));
	for (int i = 0; i < 15; i++)
		cr_assert(eq(int, PARSE("-b", "x"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0), "31 disks");
	cr_assert(eq(int, PARSE("--no-rng=false"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "at most 31 with --irqchip split"));
}

Test(config, check_gives_standard_input_to_one)
{
	cr_assert(eq(int, PARSE("k", "--console", "stdio"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), -EINVAL));
	cr_assert(has(err.msg, "--console type=stdio"));
	cr_assert(eq(int, PARSE("--serial", "stdout"), 0));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
}
