/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_window - what was posted to this node of one tenant, in buckets of 30 s.
 *
 * A bucket is open as long as posts may still name a time in it; then it is closed, and becomes a
 * text: that is how it lies in Redis, and in memory without one. It is dirty while it has what was
 * not written. One thread.
 */
#ifndef HUB_SERIES_SERIES_WINDOW_H
#define HUB_SERIES_SERIES_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "hub/series/series_cell.h"

enum {
    SERIES_BUCKET_MS = 30000,
    SERIES_KEPT_MS = 86400000,
    SERIES_LATE_MS = 300000, /* a post may name a time so long ago, */
    SERIES_EARLY_MS = 60000 /* and so far ahead */
};

/* A series in a bucket; its key behind it. */
struct series_entry {
    struct series_cell cell;
    uint32_t key_len;
    char key[];
};

struct series_bucket {
    struct list link; /* series_window.buckets */
    uint64_t start_ms; /* wall clock, a multiple of SERIES_BUCKET_MS */
    struct map entries; /* struct series_entry by key; empty where it is closed */
    struct buf *text; /* closed */
    size_t bytes; /* that it takes */
    bool dirty;
    bool writing; /* what it had is being written */
};

struct series_window {
    struct list buckets; /* by start */
    size_t bytes; /* that they take */
};

/* Called with each series of a bucket; the cell is borrowed. */
typedef void (*series_visit_fn)(
    void *context, struct bytes key, const struct series_cell *cell, uint64_t start_ms);

void series_window_init(struct series_window *window);
void series_window_finish(struct series_window *window);

/* The bucket that a time lies in. */
uint64_t series_start_of(uint64_t at_ms);

/*
 * Count a value, or add a cell to what the bucket of `at_ms` has; `set`: take its place. False: no
 * memory, or the bucket is closed.
 */
MUST_CHECK bool series_window_add(
    struct series_window *window, struct bytes key, double value, uint64_t at_ms);
MUST_CHECK bool series_window_merge(struct series_window *window, struct bytes key,
    const struct series_cell *cell, uint64_t at_ms, bool set);

/* Close what is older than posts may name at `now_ms`. Where it is not `kept`, what is written
 * goes; else it goes when it is older than SERIES_KEPT_MS. */
void series_window_age(struct series_window *window, uint64_t now_ms, bool kept);

/* Take the oldest bucket that nobody writes away; false: there is none. `*ret_dirty`: what it had
 * was not written. */
bool series_window_drop(struct series_window *window, bool *ret_dirty);

/* How many buckets are dirty. */
size_t series_window_dirty(const struct series_window *window);

/* The bucket that begins at `start_ms`, or NULL. */
struct series_bucket *series_window_find(const struct series_window *window, uint64_t start_ms);

/* Append a bucket as text, and visit what is in one, or in such a text; lines that are none are
 * left out, STATUS_INVALID where there was one. */
void series_bucket_write(const struct series_bucket *bucket, struct builder *out);
int series_bucket_visit(const struct series_bucket *bucket, series_visit_fn visit, void *context);
int series_text_visit(struct bytes text, uint64_t start_ms, series_visit_fn visit, void *context);

#endif
