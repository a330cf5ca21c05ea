/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export_stats - what a shard counts of exports of inboxes; a part of shard_stats.
 */
#ifndef ACTORS_EXPORT_STATS_H
#define ACTORS_EXPORT_STATS_H

#include <stdint.h>

struct export_stats {
    uint64_t under_way; /* now */
    uint64_t done;
    uint64_t broken; /* that ended before their end */
    uint64_t refused; /* at limits.exports, or while one of the user was under way */
};

#endif
