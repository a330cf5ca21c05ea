/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_route - what an ingest actor writes to Redis: routed entries, dead letters, answers to
 * posters.
 */
#ifndef ACTORS_INGEST_INGEST_ROUTE_H
#define ACTORS_INGEST_INGEST_ROUTE_H

#include <stdbool.h>

#include "actors/ingest/ingest_batch.h"

struct bus_link;

/* Called once everything is written, or something could not be: `refusal` is Redis' error, or
 * empty. */
typedef void (*ingest_prepared_fn)(void *context, bool ok, struct bytes refusal);

/*
 * What must be in Redis before the run [from, to) is committed, because its position then says that
 * it was dealt with. An entry at fault goes to `<prefix>:dead`, and its poster is told: once,
 * unless it is not known whether it was written. With `route`, the others are written to the
 * streams of their partitions, with their default keys kept; one with several users is split.
 * Repeating that is harmless for notifications, which keep their keys; events are at most once per
 * attempt.
 */
struct ingest_writing {
    struct ingest_batch *batch;
    struct bus_link *link;
    const char *stream; /* that the batch was read from */
    bool route;
    ingest_prepared_fn prepared;
    void *context;
};
void ingest_prepare(const struct ingest_writing *writing);

/* Whether the run has anything that must be written first; `route` as above. */
bool ingest_needs_writing(const struct ingest_batch *batch, bool route);

/* Write an entry that turns out to be at fault when it is committed. */
void ingest_tell_fault(struct ingest_batch *batch, const struct ingest_entry *entry,
    struct bus_link *link, const char *stream);

/* Tell the poster of a committed entry, if it asked (field `reply`). */
void ingest_tell_result(
    struct ingest_batch *batch, const struct ingest_entry *entry, struct bus_link *link);

#endif
