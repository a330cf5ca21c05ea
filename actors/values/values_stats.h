/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values_stats - what a shard counts of its values.
 */
#ifndef ACTORS_VALUES_VALUES_STATS_H
#define ACTORS_VALUES_VALUES_STATS_H

#include <stdint.h>

/* What a shard has done: nothing but uint64_t. */
struct values_stats {
    uint64_t hits; /* reads and leases that found a value, in memory or in Redis */
    uint64_t misses;
    uint64_t stale; /* that were shown what it was */
    uint64_t local; /* hits that were answered from memory */
    uint64_t fills; /* callers that were told to fill */
    uint64_t lost; /* that came too late with it */
    uint64_t writes;
    uint64_t dropped; /* values that tags and prefixes let go */
    uint64_t waiting; /* for who fills, now */
    uint64_t failed; /* what Redis did not answer, or refused */
    uint64_t evicted; /* from memory, for want of room */
    uint64_t items; /* in memory, now */
    uint64_t bytes; /* in memory, now, tables included */
    uint64_t deaf; /* 1: changes of other nodes are not heard, so that each read asks Redis, or
                      Redis refuses what it is asked */
    uint64_t calls; /* begun on this shard and not answered, now */
};

#endif
