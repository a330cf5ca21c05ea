/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_state - what the files of hub/series share of the service.
 */
#ifndef HUB_SERIES_SERIES_STATE_H
#define HUB_SERIES_SERIES_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "hub/series/series_types.h"
#include "hub/series/series_window.h"

struct series_bus;

enum { SERIES_BOUNDS = 12 };

/* A series that this node was posted to; what /metrics shows of it: since the start. */
struct series_known {
    struct series_cell all; /* without bins */
    uint64_t spread[SERIES_BOUNDS + 1]; /* of a timer, by series_bounds */
    uint64_t last_ms; /* wall clock: when it was posted last */
    uint64_t told_ms; /* and when Redis was told that it is there */
    uint32_t key_len;
    char key[];
};

struct series_tenant {
    struct series_window window;
    struct map known; /* struct series_known by key */
    size_t bytes; /* of these */
    struct list link; /* series.queue */
    uint32_t name_len;
    char name[];
};

struct series {
    struct series_options options;
    struct series_bus *bus; /* NULL without Redis, or when it has ended */
    struct map tenants; /* struct series_tenant by name */
    struct series_stats stats;
    struct timer timer;
    struct series_waiter flusher; /* before buckets are written */
    bool waits; /* it does */
    struct list queue; /* series_tenant.link: whose buckets are to be written in this round */
    struct list waiting; /* series_waiter.link: for what is being collected */
    struct list next; /* for what is collected then */
    struct log_limit unwritten;
    struct log_limit over;
    struct log_limit dropped;
    unsigned writing; /* buckets, to Redis */
    unsigned asking; /* Redis, for other things */
    unsigned summaries; /* being made */
    bool collecting;
    bool flushing; /* a round is under way */
    bool failed; /* and something of it has */
    bool ending;
};

/* Upper bounds of what /metrics shows of timers, ms. */
extern const double series_bounds[SERIES_BOUNDS];

/* The tenant, if something was posted for it here; NULL: none. */
struct series_tenant *series_find_tenant(const struct series *series, struct bytes name);

/* Something that asks Redis begins, and ends: the service lives as long. */
void series_hold(struct series *series);
void series_release(struct series *series);

#endif
