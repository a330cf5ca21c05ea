/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds up what the parts of a shard say they take.
 */
#include "hub/node/memory.h"

#include "actors/assembly/memory.h"
#include "actors/core/timer.h"
#include "actors/values/values.h"
#include "hub/api/read_cache.h"
#include "hub/auth/jwt.h"
#include "hub/net/connection.h"
#include "hub/net/tls_stream.h"
#include "hub/node/node.h"
#include "hub/redis/redis.h"
#include "hub/session/session_layer.h"

void memory_measure(struct hub_shard *shard, struct memory_use *ret_use)
{
    const struct session_layer *sessions = shard->hub->sessions;
    const struct tls_counts *tls = connection_tls_counts(shard->loop);
    uint64_t connections = shard->shard.stats.connections;
    uint64_t session_count = session_layer_count(sessions, &shard->shard);
    struct actor_memory actors;
    actor_memory_measure(&shard->shard, &actors);
    *ret_use = (struct memory_use){
        .connection = connections * connection_cost(),
        .tls = tls != NULL ? tls->open * TLS_STREAM_COST : 0,
        .session = session_count * session_cost() + actors.identities,
        .socket = actors.sockets,
        .user = actors.users,
        .room = actors.rooms,
        .timer = (connections + session_count) * sizeof(struct timer) + actors.timers,
        .token = jwt_get_stats(shard->api.jwt).cache_bytes,
        .bus = actors.names +
               (shard->shard.bus != NULL ? redis_get_stats(shard->shard.bus).channel_bytes : 0),
        .cache = read_cache_stats(shard->api.cache)->bytes,
        .value = shard->shard.values != NULL ? values_get_stats(shard->shard.values)->bytes : 0,
    };
}
