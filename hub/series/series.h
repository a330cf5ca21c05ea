/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series - metrics of applications, and Peal's own of the last day: the service of a node, on its
 * first shard.
 *
 * What is posted is counted in buckets of 30 s (series_window.h), which are written to Redis each
 * `flush_ms`; a write that failed is made again, and changes nothing where it had been done.
 * Without Redis they stay here for a day. Which series a tenant has is known by Redis: a series
 * that this node has not met is taken in by it, or refused where the tenant has as many as it may.
 */
#ifndef HUB_SERIES_SERIES_H
#define HUB_SERIES_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/series/series_cell.h"
#include "hub/series/series_types.h"

struct series;

MUST_CHECK struct series *series_start(const struct series_options *options);

/* Begin to end: write what is not written, once. */
void series_stop(struct series *series);

/* How much is under way; 0 when it was stopped and may be freed. */
uint64_t series_count_open(const struct series *series);

/* Free it, when loops have ended; NULL is allowed. */
void series_destroy(struct series *series);

const struct series_stats *series_get_stats(const struct series *series);

/* A value that was posted. */
struct series_sample {
    struct bytes key; /* as series_key_make makes it */
    double value;
    uint64_t at_ms; /* wall clock, as old as SERIES_LATE_MS at most */
};

/* What one request posts: all of it is counted, or nothing. The caller's until `done`. */
struct series_post {
    struct bytes tenant;
    struct series_sample *samples;
    size_t count;
    /* Once, perhaps before series_post returns. */
    void (*done)(struct series_post *post);
    int status; /* 0; STATUS_FULL: `fault` is a series too many; STATUS_UNAVAILABLE */
    size_t fault;
    /* private */
    struct series *series;
    size_t *places; /* of the samples that Redis is asked about */
};

void series_post(struct series *series, struct series_post *post);

/* Add a cell of Peal's own; `set`: it takes the place of what this node has in the bucket. */
void series_add_own(
    struct series *series, struct bytes key, const struct series_cell *cell, bool set);

/* Tell `waiter` when Peal's own figures are those of now. */
void series_wait(struct series *series, struct series_waiter *waiter);
/* They are: what options.collect was asked for. */
void series_collected(struct series *series);

#endif
