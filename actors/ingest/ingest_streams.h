/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_streams - which streams there are to read, by number (ingest_proto.h), and their readers.
 */
#ifndef ACTORS_INGEST_INGEST_STREAMS_H
#define ACTORS_INGEST_INGEST_STREAMS_H

#include <stdint.h>

struct actor_config;
struct shard;

/* How many partitions have a stream of their own; 0 where the plain stream is the only one. */
uint32_t ingest_streams_partitions(const struct actor_config *config);

/* Let this node's reader of stream `number` begin, or end. */
void ingest_streams_begin(struct shard *shard, uint32_t number);
void ingest_streams_end(struct shard *shard, uint32_t number);

#endif
