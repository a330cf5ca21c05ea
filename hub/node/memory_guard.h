/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_guard - keeps the process below limits.memory: no new clients above it, then the slowest
 * go. The same holds when allocations fail (the address space has a limit).
 *
 * Looked at MEMORY_LOOKS times a second, on the first shard; what it has found is read by all.
 * Until the next look no more clients come than what they may cost fits.
 */
#ifndef HUB_NODE_MEMORY_GUARD_H
#define HUB_NODE_MEMORY_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MEMORY_LOOKS = 10 };

struct memory_guard {
    atomic_bool full; /* relaxed: a few handshakes more are no harm */
    atomic_llong room; /* relaxed: handshakes that may come until the next look */
    atomic_ullong refused; /* relaxed: handshakes */
    atomic_ullong shed; /* relaxed: sessions ended */
    atomic_ullong limit; /* relaxed: bytes in effect; 0: not looked yet */
    atomic_uint excesses; /* relaxed: looks that found too much, one after the other */
    unsigned looks; /* of the first shard alone, as the next */
    uint64_t failures; /* of allocations, as last told */
};

/* Resident memory of this process, in bytes; 0: not known. */
uint64_t memory_guard_resident(void);

/* Keep what small allocations fall back to; before anything else of the node is made. */
void memory_guard_start(void);

/*
 * Compare `used` bytes of resident memory with `configured` (0: 80 % of what is available). Returns
 * how many bytes are too many, 0 below the limit; what is free in the heap is given back first.
 * Logs when the limit is passed, when memory is 5 % below it again, and allocations that failed.
 */
uint64_t memory_guard_look(struct memory_guard *guard, uint64_t used, uint64_t configured);

/* How many bytes are to go now. Any thread. */
uint64_t memory_guard_excess(const struct memory_guard *guard);

/* Whether a new client is to be refused; counts it. Any thread. */
bool memory_guard_refuses(struct memory_guard *guard);

#endif
