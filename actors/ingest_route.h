/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_route - what an ingest actor writes to Redis: routed entries, dead letters, answers to
 * posters.
 */
#ifndef ACTORS_INGEST_ROUTE_H
#define ACTORS_INGEST_ROUTE_H

#include <stdbool.h>

#include "actors/ingest_batch.h"

struct bus_link;

/* Called once all entries of a batch are in the streams of their partitions, or one could not be
 * written. */
typedef void (*ingest_routed_fn)(void *context, bool ok);

/*
 * Write each entry of the plain stream to the stream of its partition, with its default key kept;
 * one with several users is split. Repeating it is harmless: notifications keep their keys.
 */
void ingest_route(
    struct ingest_batch *batch, struct bus_link *link, ingest_routed_fn routed, void *context);

/* Write an entry that cannot be stored to `<prefix>:dead`, and tell its poster. */
void ingest_tell_fault(struct ingest_batch *batch, const struct ingest_entry *entry,
    struct bus_link *link, const char *stream);

/* The same for all entries that are at fault before anything was stored. */
void ingest_tell_faults(struct ingest_batch *batch, struct bus_link *link, const char *stream);

/* Tell the poster of a committed entry, if it asked (field `reply`). */
void ingest_tell_result(
    struct ingest_batch *batch, const struct ingest_entry *entry, struct bus_link *link);

#endif
