/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_route - what actors have for a link, where Redis is a cluster.
 *
 * One for commands is up when the cluster is known and none of the servers that it has used is
 * lost; one for channels when the server is there at which it hears them.
 */
#ifndef HUB_REDIS_REDIS_ROUTE_H
#define HUB_REDIS_REDIS_ROUTE_H

#include <stdbool.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct redis_cluster;
struct redis_route;
struct redis_stats;

/* As the members of struct bus_ops. */
MUST_CHECK struct redis_route *redis_route_open(struct redis_cluster *cluster, const char *name,
    const struct bus_events *events, void *context);
void redis_route_close(struct redis_route *route);
bool redis_route_is_up(const struct redis_route *route);
MUST_CHECK bool redis_route_subscribe(struct redis_route *route, struct bytes channel, bool quiet);
void redis_route_unsubscribe(struct redis_route *route, struct bytes channel);

/* Tell routes that they are up or down, answer what was refused, and free what is closed. */
void redis_route_settle(struct redis_cluster *cluster);

/* Count the routes, and those of them that are up, as links. */
void redis_route_count(const struct redis_cluster *cluster, struct redis_stats *stats);

/* Why it is down, for people ("" while unknown), and the status of that. */
const char *redis_route_error(const struct redis_route *route, int *ret_status);

#endif
