/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeps as Linux does in s2idle, without Linux: enables its wake events, says
 * LPS0 entry, reads the C2 port until there is something to wake for, says
 * what it was, clears it, says LPS0 exit. Words:
 *   cycles=N      sleeps (1)
 *   on=sleepbtn   each sleep waits for the sleep button first
 *   kind=s1       sleeps by PM1_CNT instead
 *   alarm=S       sets the RTC alarm S seconds ahead before each sleep
 *   alarm=tick    sets it to the clock's next tick, before each sleep but the
 *                 first and those that follow a wake-up by the alarm
 *   arm=MASK      devices armed by _DSW, a bit each (all)
 *   io=1          receives on the network card and the console too, and says
 *                 GOT for what came. What comes before the sleep ends it: ABORT
 *   live=1        the devices stay live over the sleep; default: they are reset
 *   irqs=1        takes the serial port's interrupt (sleep.h)
 *   quiet=1       says nothing of cycles that pass
 * A disk, if there is one, answers a request before and after each sleep.
 */
#include "guest/payloads/rx.h"
#include "guest/payloads/sleep.h"

#define SECTOR 512U

static struct vio_dev *disk;
static struct rx net, console;
static uint8_t sector[SECTOR];
static uint64_t cycles, alarm;
static uint32_t armed;
static bool live, s1, on_button, alarm_tick, quiet;

/* --------------------------------------------------------------- devices */

static const char *disk_works(void)
{
	if (!disk)
		return NULL;
	if (vio_blk_request(disk, VIRTIO_BLK_T_IN, 0, sector, SECTOR) !=
	    VIRTIO_BLK_S_OK)
		return "the disk does not answer";
	/* Unlike a cached read, it always takes the host a thread. */
	if (vio_blk_request(disk, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) !=
	    VIRTIO_BLK_S_OK)
		return "the disk does not flush";
	return NULL;
}

static void devices_stop(void)
{
	if (disk)
		vio_reset(disk);
	if (net.dev)
		vio_reset(net.dev);
	if (console.dev)
		vio_reset(console.dev);
}

static const char *devices_start(void)
{
	if (disk && !vio_start(disk, 0, 1))
		return "the disk does not start";
	if (!rx_start(&net))
		return "the network card does not start";
	if (!rx_start(&console))
		return "the console does not start";
	return NULL;
}

static void got_frame(const uint8_t *buf, uint32_t len)
{
	uint32_t seq;

	if (frame_get(buf, len, &seq))
		print("GOT net %u\n", seq);
	else
		print("NOISE net len=%u\n", len);
	rx_done(&net);
}

static void got_bytes(const uint8_t *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len && i < RX_BUF_BYTES; i++)
		print("GOT console %u\n", buf[i]);
	rx_done(&console);
}

/* Return: whether anything had come. */
static bool take_received(void)
{
	const uint8_t *buf;
	bool any = false;
	uint32_t len;

	while ((buf = rx_next(&net, &len)) != NULL) {
		got_frame(buf, len);
		any = true;
	}
	while ((buf = rx_next(&console, &len)) != NULL) {
		got_bytes(buf, len);
		any = true;
	}
	return any;
}

/* What a device woke it for is received now. */
static const char *take_awaited(const struct wake *w)
{
	const uint8_t *buf;
	uint32_t len;

	if (net.dev && w->gpe >> net.dev->slot & 1) {
		buf = rx_wait(&net, &len);
		if (!buf)
			return "a packet woke it, but none came";
		got_frame(buf, len);
	}
	if (console.dev && w->gpe >> console.dev->slot & 1) {
		buf = rx_wait(&console, &len);
		if (!buf)
			return "a byte woke it, but none came";
		got_bytes(buf, len);
	}
	return NULL;
}

/* ---------------------------------------------------------------- cycles */

static void report(const char *why)
{
	if (why || !quiet)
		result("cycle", why);
}

/* As a driver that vetoes the sleep: the devices' events are its own now. */
static void turn_back(uint64_t n)
{
	const struct wake w = { .gpe = armed & ~(1U << LAYOUT_GPE_WAKE) };
	const char *why;

	print("ABORT cycle=%lu\n", n);
	sleep_arm(0);
	why = wake_clear(&w);
	if (!why && !live)
		why = devices_start();
	report(why);
}

static void cycle(uint64_t n)
{
	static bool by_alarm = true;
	const char *why;
	struct wake w;

	if (on_button) {
		print("AWAKE cycle=%lu\n", n);
		sleep_button_wait();
	}
	why = disk_works();
	print("SLEEP cycle=%lu\n", n);
	if (!live)
		devices_stop();
	if (alarm)
		alarm_set((uint32_t)alarm);
	else if (alarm_tick && !by_alarm)
		alarm_next_tick();
	sleep_arm(armed);
	/* Looked at after the arming: what comes later is an event. */
	if (take_received()) {
		turn_back(n);
		return;
	}
	w = s1 ? sleep_s1() : sleep_s2idle();
	wake_report(n, &w);
	by_alarm = w.pm1 & PM1_RTC;
	sleep_arm(0);
	if (!why)
		why = wake_clear(&w);
	sleep_exit();
	if (!why && !live)
		why = devices_start();
	if (!why)
		why = disk_works();
	if (!why)
		why = take_awaited(&w);
	if (!why && !wake_found(&w))
		why = "woke for nothing";
	report(why);
}

void payload_main(void)
{
	bool io = param_u64("io", 0);

	cycles = param_u64("cycles", 1);
	alarm = param_u64("alarm", 0);
	armed = (uint32_t)param_u64("arm", 0xffffffff);
	live = param_u64("live", 0);
	quiet = param_u64("quiet", 0);
	s1 = param_is("kind", "s1");
	on_button = param_is("on", "sleepbtn");
	alarm_tick = param_is("alarm", "tick");
	vio_probe();
	disk = vio_find(VIRTIO_ID_BLOCK, 0);
	rx_init(&net, io ? vio_find(VIRTIO_ID_NET, 0) : NULL);
	rx_init(&console, io ? vio_find(VIRTIO_ID_CONSOLE, 0) : NULL);
	result("devices", devices_start());
	sleep_init(param_u64("irqs", 0));
	for (uint64_t n = 1; n <= cycles; n++)
		cycle(n);
	done();
}
