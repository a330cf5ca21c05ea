/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_types - what the service of series is started with, and what it tells.
 */
#ifndef HUB_SERIES_SERIES_TYPES_H
#define HUB_SERIES_SERIES_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/list.h"
#include "hub/series/series_stats.h"

struct shard;

/* The tenant of Peal's own figures: no tenant has such a name. */
#define SERIES_OWN BYTES("/")

struct series_limits {
    uint64_t series; /* of a tenant */
    uint64_t bytes; /* of all that is kept in memory */
};

struct series_options {
    struct shard *shard;
    const char *node; /* outlives the service */
    uint32_t flush_ms;
    void *context;
    struct series_limits (*limits)(void *context);
    /* Hand over what was counted of Peal's own, then call series_collected, in a later turn. */
    void (*collect)(void *context);
};

/* Who waits until Peal's own figures are those of now; `cancelled`: they will not come. */
struct series_waiter {
    void (*fn)(struct series_waiter *waiter, bool cancelled);
    /* private */
    struct list link; /* series.waiting, series.next */
};

#endif
