/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_stats - what is counted of the metrics of applications: nothing but uint64_t.
 */
#ifndef HUB_SERIES_SERIES_STATS_H
#define HUB_SERIES_SERIES_STATS_H

#include <stdint.h>

struct series_stats {
    uint64_t samples; /* values that were counted */
    uint64_t over; /* posts refused: more series than a tenant may have */
    uint64_t refused; /* posts refused: no room, or Redis was to be asked and is away */
    uint64_t written; /* buckets written to Redis */
    uint64_t failed; /* writes of one that failed: it is written again */
    uint64_t lost; /* buckets that went, for want of room or unwritten because the node ended */
    uint64_t dropped; /* values that were not counted, for want of memory */
    uint64_t series; /* that there are */
    uint64_t bytes; /* that they and their buckets take */
};

#endif
