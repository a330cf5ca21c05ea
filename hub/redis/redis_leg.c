/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leg is a link like any other, on the bus of its server; a bus is made with the first of them.
 */
#include "hub/redis/redis_leg.h"

#include "codec/base/mem.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_map.h"
#include "hub/redis/redis_plain.h"

void redis_leg_settle_soon(struct redis_cluster *cluster)
{
    if (!cluster->closing) {
        uv_timer_start(&cluster->soon, cluster->on_soon, 0, 0);
    }
}

static void on_up(void *context)
{
    struct redis_leg *leg = context;
    leg->lost = false;
    redis_leg_settle_soon(leg->route->cluster);
}

static void on_down(void *context)
{
    struct redis_leg *leg = context;
    leg->lost = true;
    redis_map_doubt(leg->route->cluster);
    redis_leg_settle_soon(leg->route->cluster);
}

/* The bus of a server: that of actors, but for where it is. */
static void make_bus(struct redis_cluster *cluster, struct redis_station *station)
{
    struct redis_target target;
    struct redis_options options = cluster->bus->options;
    redis_target_copy(&cluster->bus->target, &target);
    target.url.kind = REDIS_SINGLE;
    target.url.places[0] = station->place;
    target.url.count = 1;
    options.target = &target;
    options.input = cluster->bus->input;
    station->bus = redis_plain_create(cluster->bus->loop, &options);
    redis_target_finish(&target);
    cluster->handles++;
}

struct redis_leg *redis_leg_open(struct redis_route *route, struct redis_station *station)
{
    static const struct bus_events events = {.on_up = on_up, .on_down = on_down};
    list_for_each (each, &route->legs) {
        struct redis_leg *leg = container_of(each, struct redis_leg, link);
        if (leg->station == station) {
            return leg;
        }
    }
    if (station->bus == NULL) {
        make_bus(route->cluster, station);
    }
    struct redis_leg *leg = mem_alloc(sizeof(*leg));
    leg->route = route;
    leg->station = station;
    list_append(&route->legs, &leg->link);
    list_append(&station->legs, &leg->at_station);
    leg->to = redis_link_open(station->bus, route->name, &events, leg);
    return leg;
}

void redis_leg_close(struct redis_leg *leg)
{
    list_remove(&leg->link);
    list_remove(&leg->at_station);
    redis_link_close(leg->to);
    mem_free(leg);
}

void redis_leg_release(struct redis_cluster *cluster)
{
    if (--cluster->handles > 0) {
        return;
    }
    struct redis_bus *bus = cluster->bus;
    redis_map_finish(cluster);
    builder_reset(&cluster->text);
    mem_free(cluster);
    redis_bus_release(bus);
}

/* What it has counted is not lost with it. */
static void keep_counts(const struct redis_stats *of, struct redis_stats *all)
{
    all->commands += of->commands;
    all->refused += of->refused;
    all->timeouts += of->timeouts;
    all->protocol_errors += of->protocol_errors;
    all->connects += of->connects;
}

static void on_bus_closed(void *context)
{
    redis_leg_release(context);
}

void redis_leg_close_station(struct redis_cluster *cluster, struct redis_station *station)
{
    while (!list_empty(&station->legs)) {
        redis_leg_close(container_of(station->legs.next, struct redis_leg, at_station));
    }
    if (station->bus != NULL) {
        keep_counts(&station->bus->stats, &cluster->bus->stats);
        redis_plain_close(station->bus, on_bus_closed, cluster);
        station->bus = NULL;
    }
}
