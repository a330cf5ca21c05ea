/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_bus - the series of applications in Redis: which there are of a tenant, and what nodes
 * have counted of them.
 *
 * `<prefix>:series:{slot}:<epoch>/<tenant>` is a sorted set of the keys of a tenant's series by
 * when they were last heard of; `<prefix>:series:{slot}:<epoch>/<tenant>/<start>` a hash with a
 * field for each node, `<version> <text>` of the bucket that begins then (series_window.h). A node
 * writes its field as a whole, so that to write it again changes nothing. Both end a day after what
 * they tell of. The slot is the tenant's.
 */
#ifndef HUB_SERIES_SERIES_BUS_H
#define HUB_SERIES_SERIES_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/series/series_window.h"

struct series_bus;
struct shard;

/* Begin; `node` is this one's name and must outlive it. `up`: Redis is there, perhaps without what
 * it had. */
MUST_CHECK struct series_bus *series_bus_open(
    struct shard *shard, const char *node, void (*up)(void *context), void *context);

/* End: what is under way is answered with STATUS_CANCELLED before this returns. */
void series_bus_close(struct series_bus *bus);

bool series_bus_is_up(const struct series_bus *bus);

/* What came of it: 0, STATUS_UNAVAILABLE, STATUS_CANCELLED; `place`: of the first key that is over
 * the bound, from 1, or 0. */
typedef void (*series_bus_fn)(void *context, int status, uint64_t place);

/* Series of a tenant, borrowed for the call. */
struct series_admit {
    struct bytes tenant;
    const struct bytes *keys;
    size_t count;
    uint64_t limit; /* that the tenant may have */
};

/* Take the series in, all or none. */
void series_bus_admit(
    struct series_bus *bus, const struct series_admit *admit, series_bus_fn fn, void *context);

/* Write this node's field of a bucket. */
void series_bus_write(struct series_bus *bus, struct bytes tenant,
    const struct series_bucket *bucket, uint64_t now_ms, series_bus_fn fn, void *context);

/* The text of a node in a bucket. */
typedef void (*series_text_fn)(void *context, bool own, struct bytes text);

/* What is read of a bucket; lives until `done`, which may free it. */
struct series_read {
    struct series_bus *bus;
    uint64_t start_ms;
    series_text_fn text; /* for each node */
    series_bus_fn done; /* then, once */
    void *context;
};

void series_bus_read(struct series_bus *bus, struct bytes tenant, struct series_read *read);

#endif
