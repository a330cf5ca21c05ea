/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_stats - what a shard counts of presence: nothing but uint64_t.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_STATS_H
#define ACTORS_PRESENCE_PRESENCE_STATS_H

#include <stdint.h>

struct presence_stats {
    uint64_t users; /* of this shard that are online, now */
    uint64_t connections; /* of them, now */
    uint64_t calls; /* questions under way, now */
    uint64_t told; /* users that Redis was told of */
    uint64_t failed; /* times that Redis did not take what it was told, or did not answer */
    uint64_t rewrites; /* times that all of a part was told again */
    uint64_t swept; /* ended places of nodes that were cleared away */
    uint64_t crowded; /* times that Redis had too many places of this shard */
    uint64_t looks_failed; /* questions that were answered without Redis, which there is */
    uint64_t followed; /* users whom sockets of this shard follow, now */
    uint64_t events; /* that these were sent */
    uint64_t stale; /* parts of whose users Redis was not told for some seconds, now */
};

#endif
