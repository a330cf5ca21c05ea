/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Its first use decides what a route is for; callbacks may open and close others.
 */
#include "hub/redis/redis_route.h"

#include <stdio.h>

#include "codec/base/mem.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_errand.h"
#include "hub/redis/redis_leg.h"

struct redis_route *redis_route_open(
    struct redis_cluster *cluster, const char *name, const struct bus_events *events, void *context)
{
    struct redis_route *route = mem_alloc(sizeof(*route));
    route->cluster = cluster;
    if (events != NULL) {
        route->events = *events;
    }
    route->context = context;
    snprintf(route->name, sizeof(route->name), "%s", name);
    list_init(&route->legs);
    list_init(&route->refused);
    map_init(&route->lanes, redis_errand_lane_key);
    list_append(&cluster->routes, &route->all);
    redis_leg_settle_soon(cluster);
    return route;
}

void redis_route_close(struct redis_route *route)
{
    struct redis_cluster *cluster = route->cluster;
    CHECK(!route->closed);
    route->closed = true;
    list_remove(&route->all);
    list_append(&cluster->gone, &route->all);
    if (route->home != NULL) {
        redis_link_close(route->home);
        route->home = NULL;
    }
    while (!list_empty(&route->legs)) {
        redis_leg_close(container_of(route->legs.next, struct redis_leg, link));
    }
    redis_errand_cancel(route);
    redis_leg_settle_soon(cluster);
}

bool redis_route_is_up(const struct redis_route *route)
{
    if (route->use == LINK_FOR_CHANNELS) {
        return redis_link_is_up(route->home);
    }
    list_for_each (each, &route->legs) {
        if (container_of(each, struct redis_leg, link)->lost) {
            return false;
        }
    }
    return route->cluster->known;
}

bool redis_route_subscribe(struct redis_route *route, struct bytes channel, bool quiet)
{
    CHECK(!route->closed && route->use != LINK_FOR_COMMANDS);
    if (route->home == NULL) {
        route->use = LINK_FOR_CHANNELS;
        route->home =
            redis_link_open(route->cluster->bus, route->name, &route->events, route->context);
    }
    return redis_link_subscribe(route->home, channel, quiet);
}

void redis_route_unsubscribe(struct redis_route *route, struct bytes channel)
{
    if (route->home != NULL) {
        redis_link_unsubscribe(route->home, channel);
    }
}

/* One that has to be told, or answered; NULL: there is none. */
static struct redis_route *find_unsettled(const struct redis_cluster *cluster)
{
    list_for_each (each, &cluster->routes) {
        struct redis_route *route = container_of(each, struct redis_route, all);
        bool news = route->use != LINK_FOR_CHANNELS && redis_route_is_up(route) != route->up;
        if (news || !list_empty(&route->refused)) {
            return route;
        }
    }
    return NULL;
}

static void tell(struct redis_route *route)
{
    bool up = redis_route_is_up(route);
    if (route->use == LINK_FOR_CHANNELS || up == route->up) {
        return;
    }
    route->up = up;
    void (*fn)(void *context) = up ? route->events.on_up : route->events.on_down;
    if (fn != NULL) {
        fn(route->context);
    }
}

void redis_route_settle(struct redis_cluster *cluster)
{
    size_t most = 0;
    list_for_each (each, &cluster->routes) {
        most++;
    }
    struct redis_route *route = find_unsettled(cluster);
    for (; route != NULL && most > 0; most--, route = find_unsettled(cluster)) {
        redis_errand_refuse(route);
        if (!route->closed) {
            tell(route);
        }
    }
    if (route != NULL) {
        redis_leg_settle_soon(cluster); /* who asks again at once waits a turn */
    }
    for (struct list *each; (each = list_pop(&cluster->gone)) != NULL;) {
        mem_free(container_of(each, struct redis_route, all));
    }
}

/* One for commands counts each of its servers. */
static void count_one(const struct redis_route *route, struct redis_stats *stats)
{
    unsigned links = 0;
    unsigned up = 0;
    list_for_each (each, &route->legs) {
        const struct redis_leg *leg = container_of(each, struct redis_leg, link);
        int trouble = 0;
        (void)redis_link_error(leg->to, &trouble);
        links++;
        up += !leg->lost && trouble == 0;
    }
    if (links == 0) {
        links = 1;
        up = redis_route_is_up(route);
    }
    stats->links += links;
    stats->links_up += up;
}

void redis_route_count(const struct redis_cluster *cluster, struct redis_stats *stats)
{
    stats->links = 0;
    stats->links_up = 0;
    list_for_each (each, &cluster->routes) {
        count_one(container_of(each, struct redis_route, all), stats);
    }
}

const char *redis_route_error(const struct redis_route *route, int *ret_status)
{
    const struct redis_cluster *cluster = route->cluster;
    if (route->home != NULL) {
        return redis_link_error(route->home, ret_status);
    }
    list_for_each (each, &route->legs) {
        const struct redis_leg *leg = container_of(each, struct redis_leg, link);
        const char *why = redis_link_error(leg->to, ret_status);
        if (why[0] != '\0') {
            return why;
        }
    }
    if (!cluster->known && cluster->fault[0] == '\0') {
        return redis_link_error(cluster->asker, ret_status);
    }
    *ret_status = cluster->fault_status;
    return cluster->fault;
}
