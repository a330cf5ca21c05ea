/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route_counts - how long a shard's answers of the API took, by route and class of status, since
 * they were taken last.
 *
 * There are as many as the tables have routes, by five. One thread; they may be handed to another.
 */
#ifndef HUB_NODE_ROUTE_COUNTS_H
#define HUB_NODE_ROUTE_COUNTS_H

#include <stdint.h>

#include "codec/base/map.h"
#include "hub/series/series_cell.h"

struct http_route;

/* All zero: nothing was counted. */
struct route_counts {
    struct map entries; /* struct route_count by route and class */
};

struct route_count {
    struct {
        const struct http_route *route; /* NULL: none matched */
        uint64_t status_class; /* status / 100 */
    } key;
    struct series_cell cell;
};

void route_counts_init(struct route_counts *counts);
void route_counts_finish(struct route_counts *counts);

/* Count an answer at the wall clock `now_ms`. */
void route_counts_add(struct route_counts *counts, const struct http_route *route, unsigned status,
    uint64_t took_ns, uint64_t now_ms);

#endif
