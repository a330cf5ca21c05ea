/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the figures of alerts from the node's own metrics. Since when something is so is known from
 * the look in which it was so first.
 */
#include "hub/node/hub_alerts.h"

#include "actors/close.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/alerts/alerts.h"
#include "hub/config/config.h"
#include "hub/config/config_alerts.h"
#include "hub/node/hub_settings.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"

_Static_assert((int)FIGURES_BUCKETS == (int)API_BUCKET_COUNT, "the same buckets");
_Static_assert((int)CONFIG_ALERTS_MAX == (int)ALERTS_MAX, "room for all");
_Static_assert((int)CONFIG_ALERT_NAME_MAX == (int)ALERT_NAME_MAX, "and for their names");

struct hub_alerts {
    struct hub_shard *shard;
    struct alerts *alerts;
    uint64_t store_ms; /* monotonic: since when the store is away; 0: it is not */
    uint64_t bus_ms;
    uint64_t intake_ms;
};

/* For how long it has been so, plus 1. */
static uint64_t since(uint64_t *from_ms, bool is_so, uint64_t now)
{
    *from_ms = !is_so ? 0 : *from_ms > 0 ? *from_ms : now;
    return is_so ? now - *from_ms + 1 : 1;
}

/* How long the oldest entry waits that this node is to store, or that nobody can. */
static uint64_t intake_age(struct hub_alerts *own, const struct hub *hub, uint64_t now)
{
    uint64_t wall = clock_wall_ms();
    uint64_t age = since(&own->intake_ms, ingest_gauges_stand(&hub->streams, now), now) - 1;
    for (unsigned i = 0; i < INGEST_STREAMS_MAX; i++) {
        const struct ingest_gauge *gauge = &hub->streams.of[i];
        uint64_t oldest = ingest_gauge_get(&gauge->oldest);
        bool ours = ingest_gauge_get(&gauge->owner) != 0;
        uint64_t waits = ours && oldest > 0 && oldest < wall ? wall - oldest : 0;
        age = waits > age ? waits : age;
    }
    return age;
}

static void count_happened(const struct metrics_sums *sums, struct figures *figures)
{
    uint64_t answers = 0;
    for (unsigned i = 0; i < API_CLASS_COUNT; i++) {
        answers += sums->api.classes[i];
    }
    for (unsigned i = 0; i <= API_BUCKET_COUNT; i++) {
        figures->buckets[i] = sums->api.buckets[i];
    }
    figures->total_us = sums->api.total_us;
    figures->part[ALERT_REQUESTS] = answers;
    figures->part[ALERT_ERRORS] = sums->api.classes[5];
    figures->part[ALERT_ERROR_RATE] = sums->api.classes[5];
    figures->whole[ALERT_ERROR_RATE] = answers;
    figures->part[ALERT_HIT_RATE] = sums->cache.hits;
    figures->whole[ALERT_HIT_RATE] = sums->cache.hits + sums->cache.misses;
    figures->part[ALERT_DEAD_LETTERS] = sums->shards.dead;
    figures->part[ALERT_DELIVERIES] = sums->shards.deliveries;
    figures->part[ALERT_EVENTS] = sums->shards.events_in;
    figures->part[ALERT_POSTS] = sums->shards.stored;
    figures->part[ALERT_RATE_LIMITED] = sums->shards.rate_limited;
    figures->part[ALERT_SLOW_CLOSED] = sums->shards.closed[CLOSE_SLOW];
}

static void count(void *context, struct figures *ret_counted)
{
    struct hub_alerts *own = context;
    const struct hub *hub = own->shard->hub;
    uint64_t now = sched_now(own->shard->shard.sched);
    bool away = atomic_load_explicit(&hub->verdict.write_down, memory_order_relaxed);
    double days;
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    count_happened(&sums, ret_counted);
    ret_counted->part[ALERT_CONNECTIONS] = sums.shards.connections + 1;
    ret_counted->part[ALERT_USERS] = sums.shards.users + 1;
    ret_counted->part[ALERT_STORE_AWAY] = since(&own->store_ms, away, now);
    if (own->shard->shard.bus != NULL) {
        ret_counted->part[ALERT_BUS_AWAY] = since(&own->bus_ms, sums.links.bus_down > 0, now);
        ret_counted->part[ALERT_INTAKE_AGE] = intake_age(own, hub, now) + 1;
    }
    if (hub_tls_first_end(&own->shard->settings->tls, &days)) {
        ret_counted->part[ALERT_CERTIFICATE_DAYS] = (days > 0 ? (uint64_t)days : 0) + 1;
    }
}

static const struct config *settings(void *context)
{
    return ((struct hub_alerts *)context)->shard->settings->config;
}

void hub_alerts_start(struct hub_shard *shard)
{
    struct hub_alerts *own = mem_alloc(sizeof(*own));
    const struct alerts_options options = {.shard = &shard->shard,
        .loop = shard->loop,
        .hooks = &shard->settings->hooks,
        .node = shard->hub->node,
        .gauges = &shard->hub->alerts,
        .every_ms = (uint32_t)shard->hub->config->alerts_every_ms,
        .bounds_us = api_bucket_us,
        .context = own,
        .count = count,
        .config = settings};
    own->shard = shard;
    shard->alerts = own;
    own->alerts = alerts_start(&options);
}

void hub_alerts_reload(struct hub_shard *shard)
{
    if (shard->alerts != NULL) {
        alerts_set(shard->alerts->alerts, &shard->settings->hooks);
    }
}

void hub_alerts_stop(struct hub_shard *shard)
{
    if (shard->alerts != NULL) {
        alerts_stop(shard->alerts->alerts);
    }
}

uint64_t hub_alerts_count_open(const struct hub_shard *shard)
{
    return shard->alerts != NULL ? alerts_count_open(shard->alerts->alerts) : 0;
}

void hub_alerts_finish(struct hub_shard *shard)
{
    if (shard->alerts != NULL) {
        alerts_destroy(shard->alerts->alerts);
        mem_free(shard->alerts);
        shard->alerts = NULL;
    }
}
