/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history_stats - what a shard counts of what is kept of rooms in the store.
 */
#ifndef ACTORS_HISTORY_STATS_H
#define ACTORS_HISTORY_STATS_H

#include <stdint.h>

struct history_stats {
    uint64_t kept; /* messages */
    uint64_t waiting; /* to be kept, now */
    uint64_t waiting_bytes; /* what these take */
    uint64_t refused; /* at the bound of what may wait, for want of memory, or by the store */
    uint64_t unkept; /* posts that could not be kept, and were told all the same */
    uint64_t dropped; /* messages that were over */
};

#endif
