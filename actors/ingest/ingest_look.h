/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_look - what the owner of a stream looks at beside reading it: what waits in it, and, for
 * the plain stream, streams of more partitions than there are.
 */
#ifndef ACTORS_INGEST_INGEST_LOOK_H
#define ACTORS_INGEST_INGEST_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/bus_name.h"

struct bus_link;
struct ingest_gauge;
struct shard;

struct ingest_look {
    struct shard *shard;
    struct bus_link *link; /* answers that come when it is closed are none */
    struct ingest_gauge *gauge;
    uint32_t number; /* of the stream */
    uint32_t looked; /* by number 0: partitions from here on may have been left in Redis */
    uint32_t renewals; /* of the lease, counted by the owner of this */
    bool looking; /* a question about that is still to be answered */
    bool ended;
    char stream[BUS_NAME_MAX];
};

/* Look at stream `number`, from its first partition that is not known. */
void ingest_look_init(
    struct ingest_look *look, struct shard *shard, struct bus_link *link, uint32_t number);

/* Count what waits behind `position` ("ms-seq") and tell the gauge. */
void ingest_look_waiting(struct ingest_look *look, const char *position);

/*
 * Ask Redis for the streams that a larger `bus.partitions` has left behind, one after the other;
 * one that is there is read as well. Nothing while that is under way, or for any but the plain
 * stream.
 */
void ingest_look_more(struct ingest_look *look);

/* End the streams that were found so, and begin no more of them, whatever is still answered. */
void ingest_look_end(struct ingest_look *look);

#endif
