/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One link asks a server of the cluster once a second, and at once when something does not fit.
 *
 * Order of this file: what actors call, asking, the clock, life.
 */
#include "hub/redis/redis_cluster.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/tls_context.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_errand.h"
#include "hub/redis/redis_fan.h"
#include "hub/redis/redis_leg.h"
#include "hub/redis/redis_map.h"
#include "hub/redis/redis_route.h"

enum {
    TICK_MS = 100,
    ASK_MS = 1000,
    ANSWER_MS = 2000,
    LEAVE_MS = 5000, /* until links to who has no slot any more are closed */
};

/* --- what actors call ---------------------------------------------------------------------- */

/* Actors know routes as links. */
static struct redis_route *route_of(struct bus_link *link)
{
    return (struct redis_route *)(void *)link;
}

static struct bus_link *open_route(
    struct bus *base, const char *name, const struct bus_events *events, void *context)
{
    struct redis_bus *bus = container_of(base, struct redis_bus, bus);
    return (struct bus_link *)(void *)redis_route_open(bus->cluster, name, events, context);
}

static void close_route(struct bus_link *link)
{
    redis_route_close(route_of(link));
}

static bool is_up(const struct bus_link *link)
{
    return redis_route_is_up((const struct redis_route *)(const void *)link);
}

static void command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct redis_route *route = route_of(link);
    const struct redis_order order = {argv, argc, timeout_ms};
    struct redis_keys keys = redis_keys_find(argv, argc);
    CHECK(!route->closed && argc > 0 && route->use != LINK_FOR_CHANNELS);
    route->use = LINK_FOR_COMMANDS;
    switch (keys.aim) {
    case REDIS_AIM_KEY:
        redis_errand_start(route, redis_keys_slot(argv[keys.first]), &order, fn, context);
        break;
    case REDIS_AIM_MASTERS:
    case REDIS_AIM_EVERYBODY:
        redis_fan_start(route, &order, keys.aim == REDIS_AIM_EVERYBODY, fn, context);
        break;
    case REDIS_AIM_SCAN:
        redis_fan_scan(route, &order, fn, context);
        break;
    case REDIS_AIM_ANY:
    case REDIS_AIM_UNKNOWN: /* MOVED says where it belongs */
        redis_errand_start(route, REDIS_LANE_ANY, &order, fn, context);
        break;
    }
}

static void command_near(struct bus_link *link, struct bytes key, const struct bytes *argv,
    size_t argc, bus_reply_fn fn, void *context)
{
    struct redis_route *route = route_of(link);
    const struct redis_order order = {argv, argc, 0};
    CHECK(!route->closed && route->use != LINK_FOR_CHANNELS);
    route->use = LINK_FOR_COMMANDS;
    redis_errand_start(route, redis_keys_slot(key), &order, fn, context);
}

static unsigned command_each(
    struct bus_link *link, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    struct redis_route *route = route_of(link);
    const struct redis_order order = {argv, argc, 0};
    CHECK(!route->closed && route->use != LINK_FOR_CHANNELS);
    route->use = LINK_FOR_COMMANDS;
    return redis_fan_each(route, &order, fn, context);
}

static bool subscribe(struct bus_link *link, struct bytes channel)
{
    return redis_route_subscribe(route_of(link), channel, false);
}

static bool subscribe_quietly(struct bus_link *link, struct bytes channel)
{
    return redis_route_subscribe(route_of(link), channel, true);
}

static void unsubscribe(struct bus_link *link, struct bytes channel)
{
    redis_route_unsubscribe(route_of(link), channel);
}

static const struct bus_ops operations = {
    .open = open_route,
    .close = close_route,
    .is_up = is_up,
    .command = command,
    .command_near = command_near,
    .command_each = command_each,
    .subscribe = subscribe,
    .subscribe_quietly = subscribe_quietly,
    .unsubscribe = unsubscribe,
};

const char *redis_cluster_explain(const struct bus_link *link, int *ret_status)
{
    return redis_route_error((const struct redis_route *)(const void *)link, ret_status);
}

/* --- asking -------------------------------------------------------------------------------- */

static void log_masters(const struct redis_cluster *cluster)
{
    struct redis_outage *outage = cluster->bus->options.outage;
    const struct redis_stats *stats = &cluster->bus->stats;
    uint64_t all = 0;
    for (size_t i = 0; i < cluster->station_count; i++) {
        const struct redis_station *station = cluster->stations[i];
        struct builder place = {0};
        redis_place_show(&station->place, &place);
        all ^= station->is_master ? hash_unseeded(builder_bytes(&place)) : 0;
        builder_reset(&place);
    }
    if (!cluster->bus->options.quiet &&
        atomic_exchange_explicit(&outage->masters, all, memory_order_relaxed) != all) {
        log_info("BUS-CLUSTER", "the masters of the Redis cluster are known",
            "masters=%u servers=%zu", stats->masters, cluster->station_count);
    }
    if (!cluster->bus->options.quiet &&
        atomic_exchange_explicit(&outage->uncovered, stats->uncovered, memory_order_relaxed) == 0 &&
        stats->uncovered > 0) {
        log_error("BUS-SLOTS", "slots of the Redis cluster have no master, what lies in them waits",
            "slots=%u", stats->uncovered);
    }
}

/* Links to a server that has left the cluster hear nothing any more. */
static struct bus_link *find_astray(const struct redis_cluster *cluster)
{
    list_for_each (each, &cluster->bus->links) {
        struct bus_link *link = container_of(each, struct bus_link, all);
        for (size_t i = 0; link->conn != NULL && i < cluster->station_count; i++) {
            const struct redis_station *station = cluster->stations[i];
            if (!station->is_known && redis_place_equals(&station->place, &link->place)) {
                return link;
            }
        }
    }
    return NULL;
}

static void set_fault(struct redis_cluster *cluster, int status, const char *why)
{
    snprintf(cluster->fault, sizeof(cluster->fault),
        "the cluster does not say who has its slots: %.200s", why);
    cluster->fault_status = status;
}

static void on_slots(void *context, int status, const struct bus_reply *reply)
{
    struct redis_cluster *cluster = context;
    char why[REDIS_WHY_MAX];
    cluster->waits = false;
    if (status != 0 || cluster->closing) {
        return;
    }
    if (!redis_map_adopt(cluster, reply, &cluster->asker->place)) {
        bool error = reply->type == BUS_ERROR;
        snprintf(why, sizeof(why), "%.*s",
            error && reply->text.len < 200 ? (int)reply->text.len : 0, error ? reply->text.at : "");
        set_fault(cluster, STATUS_UNAVAILABLE, error ? why : "an answer that names no master");
        redis_link_drop(cluster->asker, cluster->fault);
        return;
    }
    cluster->fault[0] = '\0';
    cluster->fault_status = 0;
    log_masters(cluster);
    struct bus_link *astray = find_astray(cluster);
    for (; astray != NULL; astray = find_astray(cluster)) {
        redis_link_drop(astray, "this server has left the cluster");
    }
    redis_leg_settle_soon(cluster);
}

static void ask(struct redis_cluster *cluster)
{
    const struct bytes argv[] = {BYTES("CLUSTER"), BYTES("SLOTS")};
    if (!cluster->waits && redis_link_is_up(cluster->asker)) {
        cluster->waits = true;
        cluster->asked_at = uv_now(cluster->bus->loop);
        redis_link_command(cluster->asker, argv, ARRAY_LEN(argv), ANSWER_MS, on_slots, cluster);
    }
}

static void on_asker_up(void *context)
{
    ask(context);
}

/* --- the clock ----------------------------------------------------------------------------- */

static void on_soon(uv_timer_t *timer)
{
    struct redis_cluster *cluster = timer->data;
    redis_errand_go_on(cluster);
    redis_route_settle(cluster);
}

static bool has_trouble(const struct redis_station *station)
{
    list_for_each (each, &station->legs) {
        const struct redis_leg *leg = container_of(each, struct redis_leg, at_station);
        int trouble = 0;
        (void)redis_link_error(leg->to, &trouble);
        if (leg->lost || trouble != 0) {
            return true;
        }
    }
    return false;
}

/* Who is no master any more, and cannot be asked, or has left the cluster some time ago. */
static void leave_some(struct redis_cluster *cluster, uint64_t now)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        struct redis_station *station = cluster->stations[i];
        if (station->bus != NULL && !station->is_master &&
            (has_trouble(station) || (!station->is_known && now - station->left_at >= LEAVE_MS))) {
            redis_leg_close_station(cluster, station);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct redis_cluster *cluster = timer->data;
    uint64_t now = uv_now(timer->loop);
    if (cluster->doubted || now - cluster->asked_at >= ASK_MS) {
        ask(cluster);
    }
    if (cluster->known) {
        leave_some(cluster, now);
    }
    redis_errand_go_on(cluster);
    redis_route_settle(cluster);
}

/* --- life ---------------------------------------------------------------------------------- */

static void init_timer(struct redis_cluster *cluster, uv_timer_t *timer)
{
    uv_timer_init(cluster->bus->loop, timer);
    timer->data = cluster;
    cluster->handles++;
}

struct redis_cluster *redis_cluster_open(struct redis_bus *bus)
{
    static const struct bus_events asking = {.on_up = on_asker_up};
    struct redis_cluster *cluster = mem_alloc(sizeof(*cluster));
    cluster->bus = bus;
    list_init(&cluster->routes);
    list_init(&cluster->gone);
    list_init(&cluster->waiting);
    cluster->text.max = bus->options.send_max;
    bus->handles++;
    bus->bus.ops = &operations;
    bus->first_turn = (unsigned)rand_below(&bus->rand, REDIS_SLOTS);
    init_timer(cluster, &cluster->ticker);
    init_timer(cluster, &cluster->soon);
    cluster->on_soon = on_soon;
    cluster->asker = redis_link_open(bus, "peal-cluster", &asking, cluster);
    uv_timer_start(&cluster->ticker, on_tick, TICK_MS, TICK_MS);
    return cluster;
}

void redis_cluster_set_tls(struct redis_cluster *cluster, struct tls_context *tls)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        struct redis_bus *bus = cluster->stations[i]->bus;
        if (bus != NULL) {
            tls_context_unref(bus->target.tls);
            bus->target.tls = tls_context_ref(tls);
        }
    }
}

void redis_cluster_count(const struct redis_cluster *cluster, struct redis_stats *stats)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        const struct redis_bus *bus = cluster->stations[i]->bus;
        if (bus != NULL) {
            stats->commands += bus->stats.commands;
            stats->refused += bus->stats.refused;
            stats->timeouts += bus->stats.timeouts;
            stats->protocol_errors += bus->stats.protocol_errors;
            stats->connects += bus->stats.connects;
        }
    }
    redis_route_count(cluster, stats);
}

static void on_closed(uv_handle_t *handle)
{
    redis_leg_release(handle->data);
}

void redis_cluster_close(struct redis_cluster *cluster)
{
    CHECK(list_empty(&cluster->routes));
    redis_route_settle(cluster);
    cluster->closing = true;
    redis_link_close(cluster->asker);
    for (size_t i = 0; i < cluster->station_count; i++) {
        redis_leg_close_station(cluster, cluster->stations[i]);
    }
    uv_close((uv_handle_t *)&cluster->ticker, on_closed);
    uv_close((uv_handle_t *)&cluster->soon, on_closed);
}
