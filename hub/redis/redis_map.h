/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_map - which servers a cluster has, and which of them has a slot.
 */
#ifndef HUB_REDIS_REDIS_MAP_H
#define HUB_REDIS_REDIS_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/check.h"

struct redis_cluster;
struct redis_place;
struct redis_station;

/* Take over what `asked` answers to CLUSTER SLOTS; false: it is no such answer, or names nobody. */
MUST_CHECK bool redis_map_adopt(
    struct redis_cluster *cluster, const struct bus_reply *reply, const struct redis_place *asked);

/* The server at `place`, which is entered if it is new; NULL: there are too many. */
struct redis_station *redis_map_station(
    struct redis_cluster *cluster, const struct redis_place *place);

/* A server has said that `slot` is at `station`. */
void redis_map_move(struct redis_cluster *cluster, uint16_t slot, struct redis_station *station);

/* Who carries out what goes by the lane `number`; NULL: nobody is known. */
struct redis_station *redis_map_owner(const struct redis_cluster *cluster, uint32_t number);

/* The next server behind number `after` (-1: the first) that has slots, or with `replicas` any that
 * is known; NULL: that was the last. */
struct redis_station *redis_map_next(const struct redis_cluster *cluster, int after, bool replicas);

/* Have the cluster asked what it looks like, soon. */
void redis_map_doubt(struct redis_cluster *cluster);

/* Free what a map holds, without the servers' buses. */
void redis_map_finish(struct redis_cluster *cluster);

#endif
