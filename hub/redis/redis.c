/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus of a shard: links, behind sentinels who follows the master, and of a cluster who knows
 * its slots.
 */
#include "hub/redis/redis.h"

#include "hub/net/tls_context.h"
#include "hub/redis/redis_bus.h"
#include "hub/redis/redis_cluster.h"
#include "hub/redis/redis_master.h"
#include "hub/redis/redis_plain.h"

static struct redis_bus *as_redis(struct bus *bus)
{
    return container_of(bus, struct redis_bus, bus);
}

struct bus *redis_create(uv_loop_t *loop, const struct redis_options *options)
{
    struct redis_bus *bus = redis_plain_create(loop, options);
    if (bus->target.url.kind == REDIS_SENTINEL) {
        bus->master = redis_master_open(bus);
    } else if (bus->target.url.kind == REDIS_CLUSTER) {
        bus->cluster = redis_cluster_open(bus);
    }
    return &bus->bus;
}

void redis_set_tls(struct bus *base, struct tls_context *tls)
{
    struct redis_bus *bus = as_redis(base);
    if (bus->target.tls != NULL && tls != NULL) {
        tls_context_unref(bus->target.tls);
        bus->target.tls = tls_context_ref(tls);
        if (bus->master != NULL) {
            redis_master_set_tls(bus->master, tls);
        } else if (bus->cluster != NULL) {
            redis_cluster_set_tls(bus->cluster, tls);
        }
    }
}

void redis_close(struct bus *base, redis_closed_fn fn, void *context)
{
    struct redis_bus *bus = as_redis(base);
    if (bus->master != NULL) {
        redis_master_close(bus->master);
        bus->master = NULL;
    } else if (bus->cluster != NULL) {
        redis_cluster_close(bus->cluster);
        bus->cluster = NULL;
    }
    redis_plain_close(bus, fn, context);
}

struct redis_stats redis_get_stats(const struct bus *bus)
{
    const struct redis_bus *redis = container_of(bus, const struct redis_bus, bus);
    CHECK(!redis->closing);
    struct redis_stats stats = redis->stats;
    if (redis->cluster != NULL) {
        redis_cluster_count(redis->cluster, &stats);
    }
    return stats;
}

const char *redis_explain(const struct bus *bus, const struct bus_link *link, int *ret_status)
{
    const struct redis_bus *redis = container_of(bus, const struct redis_bus, bus);
    return redis->cluster != NULL ? redis_cluster_explain(link, ret_status)
                                  : redis_link_error(link, ret_status);
}
