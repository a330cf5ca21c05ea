/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_summary - what all nodes have counted of a tenant in a range of time, and in the one
 * before; Peal's own beside it.
 *
 * Figures are made of series by their names, alike for applications and for Peal itself: the timers
 * `request` (an error where the tag `class` or `status` begins with 5) and `query` (failed where
 * the tag `success` is false), the counters (or timers) `cache_hit`, `cache_miss`, `job`, `event`,
 * `delivery`, `post`, and the gauge `connections`.
 */
#ifndef HUB_SERIES_SERIES_SUMMARY_H
#define HUB_SERIES_SERIES_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/map.h"
#include "codec/names.h"
#include "hub/series/series.h"
#include "hub/series/series_bus.h"
#include "hub/series/series_window.h"

enum {
    SERIES_POINTS_MAX = 288,
    SERIES_SUMMARIES_MAX = 4, /* being made at a time */
    SERIES_READS_MAX = 8, /* of Redis, of each of them */
    SERIES_ROWS_MAX = 4096 /* of a tenant; more: it is not complete */
};

enum series_figure {
    SERIES_HITS,
    SERIES_MISSES,
    SERIES_JOBS,
    SERIES_EVENTS,
    SERIES_DELIVERIES,
    SERIES_POSTS,
    SERIES_FIGURE_COUNT
};

/* Of a range, or a part of it. */
struct series_figures {
    struct series_cell requests;
    struct series_cell queries;
    uint64_t errors; /* of the requests */
    uint64_t failed; /* of the queries */
    double sums[SERIES_FIGURE_COUNT];
    double level; /* of connections: the mean of the buckets with some, */
    unsigned level_buckets; /* which are so many */
};

/* A series of the tenant. */
struct series_row {
    struct series_cell now;
    struct series_cell before;
    uint32_t key_len;
    char key[];
};

struct series_view {
    struct series_figures now;
    struct series_figures before;
    struct series_figures *points;
    struct map rows; /* struct series_row by key */
};

struct series_summary;

/* A read of Redis under way. */
struct series_slot {
    struct series_read read;
    struct series_summary *summary;
    unsigned view;
    bool used;
};

struct series_summary {
    /* set by the caller */
    char tenant[NAMES_TENANT_MAX];
    size_t tenant_len;
    bool own; /* Peal's own, too */
    uint64_t range_ms; /* a multiple of SERIES_BUCKET_MS, SERIES_KEPT_MS at most */
    unsigned points; /* SERIES_POINTS_MAX at most */
    /* Once, on the first shard, perhaps before series_summary_begin returns; the summary may go on
     * to another thread then. */
    void (*done)(struct series_summary *summary);
    /* what came of it */
    int status; /* 0; STATUS_UNAVAILABLE; STATUS_FULL: too many are being made; STATUS_CANCELLED */
    bool complete; /* else Redis was away, or there was no room: a part is missing */
    bool has_before; /* it is still kept, all of it */
    uint64_t from_ms;
    uint64_t to_ms;
    uint64_t step_ms; /* of points */
    struct series_view views[2]; /* Peal's own, and the tenant's */
    /* private */
    struct series *series;
    struct series_waiter waiter;
    uint64_t first_ms; /* of what is read */
    unsigned buckets; /* that are read */
    unsigned next; /* of both views: bucket * 2 + view */
    uint8_t *local; /* by the same number: it was in memory */
    double *levels; /* likewise: of connections; below 0: there are none */
    bool away; /* Redis is */
    unsigned reading;
    unsigned view; /* that is being visited */
    struct series_slot slots[SERIES_READS_MAX];
};

/* Begin, on the first shard. The summary is the service's until `done`. */
void series_summary_begin(struct series *series, struct series_summary *summary);

/* Free what it holds. Any thread. */
void series_summary_finish(struct series_summary *summary);

/* The sum of the gauges `connections` of a view that were posted last; false: there are none. */
bool series_view_level(const struct series_view *view, bool before, double *ret_level);

#endif
