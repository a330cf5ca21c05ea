/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_guard - keeps the process below limits.memory: no new clients above it, then the slowest
 * go.
 *
 * Looked at once a second, on the first shard; what it has found is read by all.
 */
#ifndef HUB_NODE_MEMORY_GUARD_H
#define HUB_NODE_MEMORY_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct memory_guard {
    atomic_bool full; /* relaxed: a few handshakes more are no harm */
    atomic_ullong refused; /* relaxed: handshakes */
    atomic_ullong shed; /* relaxed: sessions ended */
    atomic_ullong limit; /* relaxed: bytes in effect */
    uint64_t failures; /* of allocations, as last told; of the first shard alone */
};

/* Resident memory of this process, in bytes; 0: not known. */
uint64_t memory_guard_resident(void);

/*
 * Compare `used` bytes of resident memory with `configured` (0: 80 % of what is available). Returns
 * how many bytes are too many, 0 below the limit; what is free in the heap is given back first.
 * Logs when the limit is passed, when memory is 5 % below it again, and allocations that failed.
 */
uint64_t memory_guard_look(struct memory_guard *guard, uint64_t used, uint64_t configured);

/* Whether a new client is to be refused; counts it. Any thread. */
bool memory_guard_refuses(struct memory_guard *guard);

#endif
