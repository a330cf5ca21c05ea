/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_leg - the links of a route to the servers of a cluster.
 */
#ifndef HUB_REDIS_REDIS_LEG_H
#define HUB_REDIS_REDIS_LEG_H

#include <stdbool.h>

#include "codec/base/check.h"

struct redis_cluster;
struct redis_leg;
struct redis_route;
struct redis_station;

/* The leg of `route` to `station`, which is opened if there is none. */
MUST_CHECK struct redis_leg *redis_leg_open(
    struct redis_route *route, struct redis_station *station);

/* Close a leg: what is under way on it gets STATUS_CANCELLED before this returns. */
void redis_leg_close(struct redis_leg *leg);

/* Close all legs to `station`, and its bus in a later turn. */
void redis_leg_close_station(struct redis_cluster *cluster, struct redis_station *station);

/* Have what is held looked at, and routes told what they are, in a turn of its own. */
void redis_leg_settle_soon(struct redis_cluster *cluster);

/* Count one handle of the cluster less, and free it with the last one. */
void redis_leg_release(struct redis_cluster *cluster);

#endif
