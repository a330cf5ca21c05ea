/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks once for shard channels of the adapter, and warns when there are any.
 */
#include "hub/cluster/bus_neighbours.h"

#include "actors/bus.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "hub/redis/redis_push.h"

static void on_channels(void *context, int status, const struct bus_reply *reply)
{
    (void)context;
    if (status != 0 || reply->type != BUS_ARRAY || reply->count == 0 ||
        reply->items[0]->type != BUS_STRING) {
        return;
    }
    log_warn("BUS-SHARDED",
        "Socket.IO servers with the sharded adapter are on this Redis: they and Peal do not hear "
        "each "
        "other, use createAdapter there",
        "channel=%s channels=%zu", log_quote(reply->items[0]->text), reply->count);
}

void bus_neighbours_look(struct shard *shard, struct bus_link *link)
{
    struct builder pattern = {0};
    redis_push_write_pattern(bytes_str(shard->config->adapter_key), &pattern);
    builder_str(&pattern, "#*");
    const struct bytes argv[] = {BYTES("PUBSUB"), BYTES("SHARDCHANNELS"), builder_bytes(&pattern)};
    shard->bus->ops->command(link, argv, ARRAY_LEN(argv), 0, on_channels, NULL);
    builder_reset(&pattern);
}
