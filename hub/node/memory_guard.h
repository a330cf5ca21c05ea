/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_guard - keeps the process below limits.memory and its cgroup below the limit at which the
 * kernel kills: no new clients above it, then the slowest go. The same holds when allocations fail
 * (the address space has a limit).
 *
 * The first shard looks MEMORY_LOOKS times a second, and every shard when it has taken and given
 * more than MEMORY_GUARD_STEP bytes or an eighth of what is left since it last did
 * (memory_guard_step): nothing is counted where something is allocated. Until the next look no more
 * clients come than what they may cost fits.
 */
#ifndef HUB_NODE_MEMORY_GUARD_H
#define HUB_NODE_MEMORY_GUARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hub/node/memory_limits.h"
#include "hub/node/trimmer.h"

enum {
    MEMORY_LOOKS = 10,
    MEMORY_FREED_MS = 10, /* by then what a look let go is free */
    MEMORY_CLIENT_BYTES = 32 << 10, /* what a new one may cost at first, in the kernel too */
};

struct memory_guard {
    atomic_bool full; /* relaxed, as all here: a few handshakes more are no harm */
    atomic_llong room; /* handshakes that may come until the next look */
    atomic_ullong step; /* bytes that a shard may take and give until it looks */
    atomic_ullong refused; /* handshakes */
    atomic_ullong shed; /* sessions and connections ended */
    atomic_ullong limit; /* of the process, in bytes, in effect; 0: not looked yet */
    atomic_ullong group_bytes; /* of the cgroup that is nearest to its limit; 0: none has one */
    atomic_ullong group_limit;
    pthread_mutex_t lock; /* of the rest */
    struct memory_limits limits;
    uint64_t configured; /* as last looked */
    unsigned excesses; /* looks that found too much, one after the other */
    bool refusing; /* the cgroup is at its end: mem_refuse */
    uint64_t over_ms; /* since when there is too much, or `excesses` was raised; 0: there is not */
    uint64_t second_ms; /* when groups were last searched and failures told */
    struct trimmer trimmer; /* has its own lock */
    uint64_t failures; /* of allocations, as last told */
};

/* Have small allocations fall back to reserves, and keep the main thread's; before anything else of
 * the node is made. */
void memory_guard_start(void);

/* Keep the reserve of the calling thread, where it has none (any more). Each thread with a loop, at
 * its start and as long as it lives. */
void memory_guard_keep(void);

/* Begin, in memory that is zeroed; `root` as memory_limits_init. */
void memory_guard_init(struct memory_guard *guard, const char *root);
void memory_guard_finish(struct memory_guard *guard);

/* Start the thread that gives free memory back; without it nobody waits for that. */
void memory_guard_run(struct memory_guard *guard);

/* Resident memory of this process, in bytes; 0: not known. Any thread. */
uint64_t memory_guard_resident(const struct memory_guard *guard);

/*
 * Compare what is used with `configured` (limits.memory; 0: 80 % of what is available) and with the
 * limits of cgroups, at `now_ms`. Returns how many bytes are too many (memory_guard_excess), 0
 * below, and for a moment in which what is free in the heap is given back. Logs when a limit is
 * passed, when memory is 5 % below it again, and allocations that failed. Any thread.
 */
uint64_t memory_guard_look(struct memory_guard *guard, uint64_t configured, uint64_t now_ms);

/* How many bytes are to go now: more each time until it helps. Any thread. */
uint64_t memory_guard_excess(struct memory_guard *guard);

/* How many bytes a shard may take and give before it looks again. Any thread. */
uint64_t memory_guard_step(const struct memory_guard *guard);

/* Whether a new client is to be refused; counts it. Any thread. */
bool memory_guard_refuses(struct memory_guard *guard);

#endif
