/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the cases of hostile.h: for each it starts the device, does the bad
 * thing, looks at the answer, then resets, has one good request answered, and
 * has another device answer one, which has been live all the time.
 *
 * Words:
 *   target=NAME   the queue; else every one that is answered at once
 *   only=PREFIX[,PREFIX...]  the cases whose name begins with one of them
 *   cpus=2        there is a second vCPU, for cases that need one
 *   flood=N       N kicks of the target instead, while another device is used
 *
 * The first writable disk is written to.
 */
#include "guest/payloads/hostile.h"

const struct hostile_target *target;
uint8_t *hostile_data;
const char hostile_skip[] = "nothing of the kind here";

/* An answer of the other device takes no more of a flood, on average. */
#define KICKS_AN_ANSWER 1000U

static struct vio_dev *witness;
static uint8_t *witness_data;

bool hostile_start(struct vio_dev *dev, uint64_t features)
{
	return vio_start(dev, features | target->features, target->nr_queues);
}

unsigned int hostile_chain(struct vio_dev *dev, uint16_t at, unsigned int slot)
{
	struct vio_buf bufs[HOSTILE_BUFS];
	unsigned int out, n = target->request(slot, bufs, &out);

	vio_chain_set(hostile_queue(dev), at, bufs, out, n - out);
	return n;
}

unsigned int hostile_good_chain(struct vio_dev *dev)
{
	return hostile_chain(dev, 0, 0);
}

void hostile_fly(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	uint16_t at = 0;

	for (unsigned int i = 0;
	     i < HOSTILE_SLOTS && at + HOSTILE_BUFS <= q->size; i++) {
		uint16_t head = at;

		at = (uint16_t)(at + hostile_chain(dev, at, i));
		vio_publish(q, head);
	}
	vio_kick(dev, target->queue);
}

const char *hostile_expect_reset(struct vio_dev *dev, uint16_t head)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	vio_publish(hostile_queue(dev), head);
	vio_kick(dev, target->queue);
	if (!vio_wait_needs_reset(dev))
		return "no DEVICE_NEEDS_RESET";
	while (!(vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS) &
		 VIRTIO_MMIO_INT_CONFIG)) {
		if (deadline_over(&d))
			return "no configuration change interrupt";
	}
	return NULL;
}

const char *hostile_expect_works(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	uint32_t len;

	hostile_good_chain(dev);
	vio_publish(q, 0);
	vio_kick(dev, target->queue);
	if (!vio_wait_used(dev, q, NULL, &len))
		return "no answer to a good request";
	return !target->good || target->good(len) ? NULL
						  : "good request failed";
}

/* One that the target is not part of: random bytes, or the disk. */
static void witness_choose(struct vio_dev *dev)
{
	witness = vio_find(VIRTIO_ID_RNG, 0);
	if (!witness || witness == dev)
		witness = vio_find(VIRTIO_ID_BLOCK, 0);
	if (witness == dev)
		witness = NULL;
	if (witness && !vio_start(witness, 0, 1))
		result("witness", "does not start");
}

const char *hostile_witness(void)
{
	const struct vio_buf in = { witness_data, 16 };

	if (!witness)
		return NULL;
	if (witness->id == VIRTIO_ID_BLOCK)
		return vio_blk_request(witness, VIRTIO_BLK_T_IN, 0,
				       witness_data, SECTOR) == VIRTIO_BLK_S_OK
			       ? NULL
			       : "another device was hurt";
	return vio_request(witness, 0, &in, 0, 1, NULL)
		       ? NULL
		       : "another device was hurt";
}

/* Resets and has one good request answered. */
static const char *recover(struct vio_dev *dev)
{
	if (!hostile_start(dev, 0))
		return "does not start again";
	if (vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS) &
	    VIRTIO_MMIO_INT_CONFIG)
		return "interrupt status survived the reset";
	return hostile_expect_works(dev);
}

static bool selected(const char *name)
{
	char only[96];

	if (!param_get("only", only, sizeof(only)))
		return true;
	for (const char *p = only;; p++) {
		size_t len = 0;

		while (p[len] && p[len] != ',')
			len++;
		if (memcmp(name, p, len) == 0)
			return true;
		p += len;
		if (!*p)
			return false;
	}
}

/* "net-tx descriptor-loop" */
static const char *full_name(const struct hostile_case *c)
{
	static char name[96];
	size_t n = strlen(target->name);

	memcpy(name, target->name, n);
	name[n++] = ' ';
	memcpy(name + n, c->name, strlen(c->name) + 1);
	return name;
}

static void run_case(struct vio_dev *dev, const struct hostile_case *c)
{
	uint64_t features = c->features | target->features;
	const char *why, *after, *other;

	if (!selected(c->name))
		return;
	if ((vio_offered(dev) & features) != features) {
		skip(full_name(c), "feature not offered");
		return;
	}
	if (!hostile_start(dev, c->features)) {
		result(full_name(c), "does not start");
		return;
	}
	why = c->run(dev);
	after = recover(dev);
	other = hostile_witness();
	if (why == hostile_skip && !after && !other)
		skip(full_name(c), why);
	else
		result(full_name(c), why ? why : after ? after : other);
}

static void run_cases(struct vio_dev *dev, const struct hostile_case *cases)
{
	for (; cases->run; cases++)
		run_case(dev, cases);
}

static void run_target(void)
{
	struct vio_dev *dev = vio_find(target->id, 0);

	if (!dev) {
		skip(target->name, "no such device");
		return;
	}
	witness_choose(dev);
	if (param_u64("flood", 0)) {
		if (hostile_start(dev, 0))
			hostile_flood(dev);
		else
			result(target->name, "does not start");
		return;
	}
	run_cases(dev, hostile_ring_cases);
	run_cases(dev, hostile_reg_cases);
	run_cases(dev, hostile_suspend_cases);
	if (param_u64("cpus", 1) > 1)
		run_cases(dev, hostile_smp_cases);
	if (target->cases)
		run_cases(dev, target->cases);
	vio_reset(dev);
}

/*
 * The target's kicks fill the time between a request to the other device and
 * its answer: what is counted is how many of them one answer takes.
 */
void hostile_flood(struct vio_dev *dev)
{
	const uint64_t kicks = param_u64("flood", 0);
	uint64_t begun = 0, answers = 0, most = 0;
	struct vio_queue *q = &witness->queues[0];
	const struct vio_buf in = { witness_data, 16 };
	uint16_t used = 0;

	for (uint64_t i = 0; i < kicks; i++) {
		if (!begun) {
			used = *(volatile uint16_t *)&q->used->idx;
			vio_chain_set(q, 0, &in, 0, 1);
			vio_publish(q, 0);
			vio_kick(witness, 0);
			begun = i + 1;
		}
		vio_kick(dev, target->queue);
		if (*(volatile uint16_t *)&q->used->idx == used)
			continue;
		vio_write(witness, VIRTIO_MMIO_INTERRUPT_ACK,
			  VIRTIO_MMIO_INT_VRING);
		answers++;
		if (i + 1 - begun > most)
			most = i + 1 - begun;
		begun = 0;
	}
	print("FLOOD target=%s kicks=%lu answers=%lu most=%lu\n", target->name,
	      kicks, answers, most);
	/* The last one may be on its way still. */
	while (*(volatile uint16_t *)&q->used->idx == used && begun)
		;
	q->last_used = *(volatile uint16_t *)&q->used->idx;
	result("flood: the other device is answered",
	       answers >= kicks / KICKS_AN_ANSWER ? NULL : "too seldom");
	result("flood: the device", hostile_expect_works(dev));
	result("flood: the other device", hostile_witness());
}

void payload_main(void)
{
	char wanted[32];
	bool one = param_get("target", wanted, sizeof(wanted));

	hostile_data = vio_alloc(HOSTILE_SCRATCH);
	witness_data = vio_alloc(SECTOR);
	print("DEVICES found=%u\n", vio_probe());
	for (target = hostile_targets; target->name; target++) {
		if (one ? strlen(wanted) == strlen(target->name) &&
				    !memcmp(wanted, target->name,
					    strlen(wanted))
			: !target->host_driven)
			run_target();
	}
	done();
}
