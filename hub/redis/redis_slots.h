/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_slots - reads what a server of a cluster says of it: the answer to CLUSTER SLOTS, and where
 * MOVED and ASK point.
 *
 * Source: redis.io/docs/latest/commands/cluster-slots.
 */
#ifndef HUB_REDIS_REDIS_SLOTS_H
#define HUB_REDIS_REDIS_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/redis/redis_url.h"

/* Slots in a row that have the same servers. */
struct redis_range {
    uint16_t first;
    uint16_t last; /* not below `first` */
    size_t servers; /* the master, which is number 0, and its replicas */
};

/* Whether `reply` is a list of ranges, each with a master; it may be empty. */
bool redis_slots_are_good(const struct bus_reply *reply);

/* The range number `i` of a good list, which has reply->count. */
struct redis_range redis_slots_range(const struct bus_reply *reply, size_t i);

/*
 * Server `server` of range `i`. One that names no host is at that of `asked`, whom the answer is
 * of. False: nobody knows where it is.
 */
MUST_CHECK bool redis_slots_place(const struct bus_reply *reply, size_t i, size_t server,
    const struct redis_place *asked, struct redis_place *ret_place);

/* Read "MOVED 3999 host:port" or the same of ASK, which `asked` has said. False: it is neither. */
MUST_CHECK bool redis_slots_redirection(struct bytes error, const struct redis_place *asked,
    uint16_t *ret_slot, struct redis_place *ret_place);

#endif
