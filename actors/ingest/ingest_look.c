/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis what waits in a stream behind the position, and whether there are streams of more
 * partitions.
 */
#include "actors/ingest/ingest_look.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/ingest/ingest_gauges.h"
#include "actors/ingest/ingest_streams.h"
#include "actors/shard.h"
#include "codec/base/log.h"

enum { COMMAND_MS = 5000, FROM_MAX = 64 };

static void command(
    struct ingest_look *look, const struct bytes *argv, size_t argc, bus_reply_fn fn)
{
    look->shard->bus->ops->command(look->link, argv, argc, COMMAND_MS, fn, look);
}

void ingest_look_init(
    struct ingest_look *look, struct shard *shard, struct bus_link *link, uint32_t number)
{
    *look = (struct ingest_look){
        .shard = shard,
        .link = link,
        .gauge = &shard->streams->of[number],
        .number = number,
        .looked = ingest_streams_partitions(shard->config),
    };
    bus_name_in(&shard->config->names, number, look->stream);
}

/* What waits. */

static void on_waiting(void *context, int status, const struct bus_reply *reply)
{
    struct ingest_look *look = context;
    if (status != 0 || reply->type != BUS_ARRAY || reply->count != 2 ||
        ingest_gauge_get(&look->gauge->owner) == 0) {
        return;
    }
    ingest_gauge_set(&look->gauge->waiting, (uint64_t)reply->items[0]->integer);
    ingest_gauge_set_id(&look->gauge->oldest, reply->items[1]->text);
}

/* Counted by Redis: entries may be large. */
void ingest_look_waiting(struct ingest_look *look, const char *position)
{
    static const char script[] = "local r=redis.call('XRANGE',KEYS[1],ARGV[1],'+','COUNT',ARGV[2]) "
                                 "return {#r,r[1] and r[1][1] or ''}";
    char from[FROM_MAX];
    char max[16];
    snprintf(from, sizeof(from), "(%s", position);
    snprintf(max, sizeof(max), "%u", (unsigned)INGEST_WAITING_MAX);
    const struct bytes argv[] = {BYTES("EVAL"), bytes_str(script), BYTES("1"),
        bytes_str(look->stream), bytes_str(from), bytes_str(max)};
    command(look, argv, ARRAY_LEN(argv), on_waiting);
}

/* Streams of more partitions. */

static void on_looked(void *context, int status, const struct bus_reply *reply)
{
    struct ingest_look *look = context;
    look->looking = false;
    if (status != 0 || reply->type != BUS_INTEGER || look->ended) {
        return; /* asked again when the lease is renewed */
    }
    uint32_t number = ++look->looked;
    if (reply->integer > 0) {
        char stream[BUS_NAME_MAX];
        bus_name_in(&look->shard->config->names, number, stream);
        log_warn("INGEST-LEFT", "a stream of more partitions than there are is read as well",
            "stream=%s partitions=%u", stream, (unsigned)look->shard->config->partitions);
        ingest_streams_begin(look->shard, number);
    }
    ingest_look_more(look);
}

void ingest_look_more(struct ingest_look *look)
{
    char stream[BUS_NAME_MAX];
    if (look->number != 0 || look->looking || look->ended ||
        look->looked == INGEST_PARTITIONS_MAX || ingest_gauge_get(&look->gauge->owner) == 0) {
        return;
    }
    bus_name_in(&look->shard->config->names, look->looked + 1, stream);
    const struct bytes argv[] = {BYTES("EXISTS"), bytes_str(stream)};
    look->looking = true;
    command(look, argv, ARRAY_LEN(argv), on_looked);
}

void ingest_look_end(struct ingest_look *look)
{
    if (look->number != 0 || look->ended) {
        return;
    }
    look->ended = true;
    uint32_t number = ingest_streams_partitions(look->shard->config) + 1;
    for (; number <= look->looked; number++) {
        ingest_streams_end(look->shard, number);
    }
}
