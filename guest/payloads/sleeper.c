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
 *   io=1          receives on the network card, the console and the socket
 *                 device too, and says GOT for what came. What comes before the
 *                 sleep ends it: ABORT
 *   live=1        the devices stay live over the sleep; default: they are reset
 *   suspend=1     they are suspended, those that can be (VIRTIO_F_SUSPEND)
 *   go=arm        each sleep waits for a byte of SLEEP_GO on the serial port,
 * and says READY, when the devices are stopped and not armed yet go=sleep when
 * they are armed and had nothing to say irqs=1        takes the serial port's
 * interrupt (sleep.h) quiet=1       says nothing of cycles that pass A disk, if
 * there is one, answers a request before and after each sleep.
 */
#include "guest/payloads/rx.h"
#include "guest/payloads/sleep.h"
#include "guest/payloads/sock.h"

#define SECTOR	 512U
#define SLEEP_GO '!'

static struct vio_dev *disk;
static struct rx net, console;
static uint8_t sector[SECTOR];
static uint64_t cycles, alarm;
static uint32_t armed;
static bool live, suspend, s1, on_button, go_arm, go_sleep, alarm_tick, quiet;

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

static const char *device_stop(struct vio_dev *dev)
{
	if (!dev || live)
		return NULL;
	if (!suspend || !(dev->features >> VIO_F_SUSPEND & 1))
		return vio_reset(dev) ? NULL : "a device is not reset";
	return vio_suspend(dev) ? NULL : "a device is not suspended";
}

static const char *devices_stop(void)
{
	struct vio_dev *const devs[] = { disk, net.dev, console.dev,
					 sock_rx()->dev };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(devs) && !why; i++)
		why = device_stop(devs[i]);
	return why;
}

static bool receiver_start(struct rx *rx)
{
	if (!rx->dev || vio_status(rx->dev) == VIO_STATUS_LIVE)
		return true;
	rx->wanted = suspend ? VIO_BIT(VIO_F_SUSPEND) : 0;
	if (vio_status(rx->dev) == 0)
		return rx_start(rx);
	if (!vio_resume(rx->dev))
		return false;
	rx_resumed(rx);
	return true;
}

static bool disk_start(void)
{
	if (!disk || vio_status(disk) == VIO_STATUS_LIVE)
		return true;
	if (vio_status(disk) != 0)
		return vio_resume(disk);
	return vio_start(disk, suspend ? VIO_BIT(VIO_F_SUSPEND) : 0, 1);
}

/* Those that are not live: again, or as they were. */
static const char *devices_start(void)
{
	if (!disk_start())
		return "the disk does not start";
	if (!receiver_start(&net))
		return "the network card does not start";
	if (!receiver_start(&console))
		return "the console does not start";
	if (!receiver_start(sock_rx()))
		return "the socket device does not start";
	sock_answer();
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
	while ((buf = rx_next(sock_rx(), &len)) != NULL) {
		sock_got(buf, len);
		any = true;
	}
	return any;
}

static const char *take_socket(void)
{
	uint32_t len;
	const uint8_t *buf = rx_wait(sock_rx(), &len);

	if (!buf)
		return "a connection or its data woke it, but nothing came";
	sock_got(buf, len);
	return NULL;
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
	if (sock_rx()->dev && w->gpe >> sock_rx()->dev->slot & 1)
		return take_socket();
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
	bool again = sock_rx()->dev && vio_status(sock_rx()->dev) == 0 &&
		     sock_forget();
	const char *why;

	print("ABORT cycle=%lu\n", n);
	sleep_arm(0);
	why = wake_clear(&w);
	if (!why)
		why = devices_start();
	if (!why && again)
		why = take_socket();
	report(why);
}

/* The moment that a test waits for. */
static void ready(uint64_t n)
{
	print("READY cycle=%lu\n", n);
	while (serial_getc() != SLEEP_GO)
		;
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
	if (!why)
		why = devices_stop();
	if (alarm)
		alarm_set((uint32_t)alarm);
	else if (alarm_tick && !by_alarm)
		alarm_next_tick();
	if (go_arm)
		ready(n);
	sleep_arm(armed);
	/* Looked at after the arming: what comes later is an event. */
	if (take_received()) {
		turn_back(n);
		return;
	}
	if (go_sleep)
		ready(n);
	w = s1 ? sleep_s1() : sleep_s2idle();
	wake_report(n, &w);
	by_alarm = w.pm1 & PM1_RTC;
	sleep_arm(0);
	if (!why)
		why = wake_clear(&w);
	sleep_exit();
	if (!why)
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
	suspend = param_u64("suspend", 0);
	quiet = param_u64("quiet", 0);
	s1 = param_is("kind", "s1");
	on_button = param_is("on", "sleepbtn");
	go_arm = param_is("go", "arm");
	go_sleep = param_is("go", "sleep");
	alarm_tick = param_is("alarm", "tick");
	vio_probe();
	disk = vio_find(VIRTIO_ID_BLOCK, 0);
	rx_init(&net, io ? vio_find(VIRTIO_ID_NET, 0) : NULL);
	rx_init(&console, io ? vio_find(VIRTIO_ID_CONSOLE, 0) : NULL);
	sock_init(io ? vio_find(VIRTIO_ID_VSOCK, 0) : NULL);
	result("devices", devices_start());
	sleep_init(param_u64("irqs", 0));
	for (uint64_t n = 1; n <= cycles; n++)
		cycle(n);
	done();
}
