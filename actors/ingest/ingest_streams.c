/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which streams there are for a number of partitions, and telling their readers to begin and to
 * end.
 */
#include "actors/ingest/ingest_streams.h"

#include "actors/ingest/ingest_proto.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/slot.h"

uint32_t ingest_streams_partitions(const struct actor_config *config)
{
    return config->partitions > 1 ? config->partitions : 0;
}

static struct buf *key_new(uint32_t number)
{
    struct builder key = {0};
    builder_printf(&key, "ingest:%u", (unsigned)number);
    struct buf *buf = builder_finish(&key);
    CHECK(buf != NULL);
    return buf;
}

void ingest_streams_begin(struct shard *shard, uint32_t number)
{
    struct ingest_begin *msg = ingest_begin_new();
    msg->number = number;
    msg->key = key_new(number);
    msg_send_home(shard->sched, msg);
}

void ingest_streams_end(struct shard *shard, uint32_t number)
{
    struct ingest_close *msg = ingest_close_new();
    msg->key = key_new(number);
    msg_send_home(shard->sched, msg);
}

void ingest_start(struct shard *shard)
{
    CHECK(shard->config->partitions <= INGEST_PARTITIONS_MAX);
    CHECK(slot_divides(shard->config->partitions));
    for (uint32_t number = 0; number <= ingest_streams_partitions(shard->config); number++) {
        ingest_streams_begin(shard, number);
    }
}

void ingest_stop(struct shard *shard)
{
    for (uint32_t number = 0; number <= ingest_streams_partitions(shard->config); number++) {
        ingest_streams_end(shard, number);
    }
}
