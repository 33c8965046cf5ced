/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI of one bus without bridges (PCI Local Bus 3.0, PCI Express 5.0, PCI Bus
 * Power Management 1.2): a host bridge in slot 0 and devices of one function
 * beside it. Registers are reached by ECAM and by ports (conf.h), BARs lie in
 * two windows. A device interrupts by MSI-X and by nothing else.
 *
 *	bus.c		slots, accesses to them, where BARs are placed before
 *			the guest starts
 *	window.c	which BARs are decoded, and where
 *	device.c	registers: who answers which, COMMAND, BARs, power state
 *	msix.c		the MSI-X table
 *
 * The core answers what the guest's view of the bus depends on; everything else
 * goes to the device's own operations: devices/vfio has real devices, the tests
 * have a model of one.
 *
 * Guest accesses come on vCPU threads, several at once. A device has a lock,
 * held over its operations, which may wait for hardware; the bus has one for
 * what the windows decode. Order: device, bus.
 */
#ifndef TORPOR_DEVICES_PCI_PCI_H
#define TORPOR_DEVICES_PCI_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"
#include "vmm/machine/bus.h"

#define PCI_NR_SLOTS	 32U
#define PCI_NR_BARS	 6U
#define PCI_CONFIG_BYTES 4096U
#define PCI_HEADER_BYTES 256U /* what the core may answer */

/* Vectors that a device may have; of one with more the guest sees as many. */
#define PCI_MAX_VECTORS 128U

struct pci_bus;
struct pci_device;

struct pci_msi {
	uint64_t address;
	uint32_t data;
};

enum pci_power {
	PCI_D0 = 0,
	PCI_D3HOT = 3,
	PCI_D3COLD = 4, /* not a value of PMCSR: the slot has no power */
};

/* How far down a device of the host goes where the guest puts it down. */
enum pci_depth {
	PCI_DEPTH_SHALLOW, /* D3hot is D3hot */
	PCI_DEPTH_OFF,	   /* it stays on, and the guest believes it is down */
	PCI_DEPTH_DEEP,	   /* D3hot, and D3cold: the guest may cut its power */
};

/*
 * What a kind of device does. Called with its lock held, on the thread of the
 * vCPU that caused it. A NULL slot: registers and BARs read as zeros and ignore
 * writes, the rest is not of interest.
 */
struct pci_device_ops {
	/* Registers that the core does not answer. @len: 1, 2 or 4. */
	uint32_t (*config_read)(struct pci_device *dev, uint32_t reg,
				uint32_t len);
	void (*config_write)(struct pci_device *dev, uint32_t reg, uint32_t len,
			     uint32_t value);
	/* An access to a decoded BAR, inside it; never to the MSI-X table. */
	void (*bar_read)(struct pci_device *dev, unsigned int bar,
			 uint64_t offset, void *data, uint32_t len);
	void (*bar_write)(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, const void *data, uint32_t len);
	/*
	 * The guest reaches @bar at dev->bars[bar].gpa, or no longer. On after
	 * command() and power() have told the device, off before that.
	 */
	void (*bar_decode)(struct pci_device *dev, unsigned int bar, bool on);
	void (*command)(struct pci_device *dev, uint16_t value);
	void (*power)(struct pci_device *dev, enum pci_power state);
	/*
	 * The slot has no power (D3cold), or has it again. Nothing else is
	 * called in between.
	 */
	void (*cold)(struct pci_device *dev, bool cold);
	/* MSI-X as a whole. Off: no vector is connected any more. */
	void (*msix_enable)(struct pci_device *dev, bool on);
	/*
	 * An interrupt of @vector is the message @msi, or (NULL) it is pending
	 * until there is one. Only while MSI-X is on.
	 */
	void (*msix_connect)(struct pci_device *dev, unsigned int vector,
			     const struct pci_msi *msi);
	bool (*msix_pending)(struct pci_device *dev, unsigned int vector);
};

struct pci_bar {
	uint64_t bytes; /* a power of two; 0: there is no such BAR */
	bool is_64;	/* takes the next register too */
	bool prefetch;
	uint64_t gpa;
	bool decoded; /* under both locks */
};

struct pci_vector {
	struct pci_msi msi;
	bool masked;
	bool connected;
};

struct pci_msix {
	uint8_t cap; /* register of the capability; 0: none */
	uint8_t bar;
	uint32_t table, pba; /* offsets in that BAR */
	unsigned int nr;
	bool enabled;
	bool masked; /* all of them */
	struct pci_vector vectors[PCI_MAX_VECTORS];
};

struct pci_device {
	const struct pci_device_ops *ops;
	const char *name; /* borrowed, for messages */
	struct pci_bus *bus;
	unsigned int slot;
	pthread_mutex_t lock;
	/* Registers that the core answers, a byte each. */
	bool own[PCI_HEADER_BYTES];
	uint8_t config[PCI_HEADER_BYTES];
	uint8_t writable[PCI_HEADER_BYTES]; /* bits that the guest may change */
	struct pci_bar bars[PCI_NR_BARS];
	struct pci_msix msix;
	uint8_t pm_cap;	   /* register of the capability; 0: always D0 */
	bool cold;	   /* D3cold: it answers nothing */
	atomic_uint state; /* enum pci_power; read by who has no lock */
};

struct pci_window {
	struct bus_dev bus_dev;
	struct pci_bus *bus;
};

struct pci_bus {
	pthread_mutex_t lock;
	struct pci_device bridge;
	struct pci_device *slots[PCI_NR_SLOTS];
	unsigned int nr; /* without the bridge */
	struct bus_dev ecam;
	struct pci_window mem32, mem64;
};

/* --- bus.c; before the guest runs --- */
/* With a host bridge alone. */
void pci_bus_init(struct pci_bus *bus);
void pci_bus_finish(struct pci_bus *bus);
/*
 * @slot: 1 to 31; 0: the first one that is free. Return: 0; -EEXIST if that is
 * taken, -ENOSPC if all are, -EINVAL.
 */
int pci_bus_add(struct pci_bus *bus, struct pci_device *dev,
		unsigned int slot) must_check;
/* Where ECAM and the windows are. A window of no bytes is none. */
struct pci_places {
	uint64_t ecam, mem32, mem32_bytes, mem64, mem64_bytes;
};
/*
 * Gives each BAR an address in a window and puts ECAM and the windows on @mmio.
 * Return: 0, or -errno with @err.
 */
int pci_bus_connect(struct pci_bus *bus, struct bus *mmio,
		    const struct pci_places *places,
		    struct err *err) must_check;

/*
 * A register of function @devfn of bus 0, on any thread. @len: 1, 2 or 4. What
 * crosses a boundary of 4 bytes is nobody's.
 */
uint32_t pci_bus_config_read(struct pci_bus *bus, unsigned int devfn,
			     uint32_t reg, uint32_t len);
void pci_bus_config_write(struct pci_bus *bus, unsigned int devfn, uint32_t reg,
			  uint32_t len, uint32_t value);
/* --- window.c; between the core's files, any thread --- */
/* May this BAR be decoded where it is now? Then it is. */
bool pci_bus_decode(struct pci_bus *bus, struct pci_bar *bar, bool on);
/* Whose are @len bytes at @gpa? Return: false if they are nobody's. */
struct pci_target {
	struct pci_device *dev;
	unsigned int bar;
	uint64_t offset;
};
bool pci_bus_find(struct pci_bus *bus, uint64_t gpa, uint32_t len,
		  struct pci_target *ret);

/* --- device.c --- */
/*
 * @dev: zeroed. The core answers the header's registers that the guest's view
 * of the bus depends on; pci_device_*() below say what there is beyond that.
 */
void pci_device_init(struct pci_device *dev, const char *name,
		     const struct pci_device_ops *ops);
void pci_device_finish(struct pci_device *dev);
/* The core answers @len bytes from @reg on; @writable: NULL for none. */
void pci_device_own(struct pci_device *dev, uint32_t reg, const void *value,
		    const void *writable, uint32_t len);
void pci_device_set_bar(struct pci_device *dev, unsigned int bar,
			uint64_t bytes, bool is_64, bool prefetch);
/*
 * The capability at @reg; the core answers its registers. @pmc: the device's
 * own; of D1, D2 and PME the guest sees nothing. @pmcsr: at reset.
 */
void pci_device_set_pm(struct pci_device *dev, uint8_t reg, uint16_t pmc,
		       uint16_t pmcsr);
/*
 * The capability at @reg, in front of the next one. @nr: vectors of the device.
 * Return: 0; -EINVAL if table or PBA do not fit.
 */
int pci_device_set_msix(struct pci_device *dev, uint8_t reg, unsigned int nr,
			uint32_t table, uint32_t pba) must_check;

/*
 * Takes the power of its slot away, or gives it back (PCI Express 5.0, 5.3.1):
 * registers read as ones and take no writes, no BAR is decoded. Afterwards it
 * is in D0. Any vCPU thread; takes the lock.
 */
void pci_device_set_cold(struct pci_device *dev, bool cold);
/* The state that the guest has put it into. Any thread; waits for nobody. */
enum pci_power pci_device_state(const struct pci_device *dev);

uint16_t pci_device_command(const struct pci_device *dev);
/* D0 or D3hot, under the lock. */
enum pci_power pci_device_power(const struct pci_device *dev);

/* Of the bus: under the device's lock. */
uint32_t pci_device_config_read(struct pci_device *dev, uint32_t reg,
				uint32_t len);
void pci_device_config_write(struct pci_device *dev, uint32_t reg, uint32_t len,
			     uint32_t value);
void pci_device_bar_read(struct pci_device *dev, unsigned int bar,
			 uint64_t offset, void *data, uint32_t len);
void pci_device_bar_write(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, const void *data, uint32_t len);

/* --- msix.c; under the device's lock --- */
/* Message Control was written. */
void pci_msix_control(struct pci_device *dev, uint16_t value);
/*
 * An access to BAR @bar. Return: whether it was one to the table or the PBA,
 * and is answered.
 */
bool pci_msix_read(struct pci_device *dev, unsigned int bar, uint64_t offset,
		   void *data, uint32_t len);
bool pci_msix_write(struct pci_device *dev, unsigned int bar, uint64_t offset,
		    const void *data, uint32_t len);
/* Bytes of the table and of the PBA. */
uint32_t pci_msix_table_bytes(const struct pci_device *dev);
uint32_t pci_msix_pba_bytes(const struct pci_device *dev);

#endif
