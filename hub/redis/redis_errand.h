/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_errand - a command on its way to whoever has its slot, through all that a cluster answers
 * instead.
 *
 * | answer | what follows |
 * |---|---|
 * | MOVED | the slot is there from now on; sent there |
 * | ASK | sent there once, behind ASKING |
 * | TRYAGAIN, CLUSTERDOWN, LOADING, MASTERDOWN, READONLY, UNBLOCKED | sent again to whoever has the
 *   slot then, every 100 ms, until its time is over |
 *
 * None of these means that it was carried out. A command whose connection is lost is not repeated.
 * While one is held, those behind it in its lane are held, too. All errands of a bus have a bound
 * (redis_options.send_max).
 */
#ifndef HUB_REDIS_REDIS_ERRAND_H
#define HUB_REDIS_REDIS_ERRAND_H

#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct redis_cluster;
struct redis_route;

/* A command, and how long its answer may take (0: 5,000 ms). */
struct redis_order {
    const struct bytes *argv;
    size_t argc;
    uint32_t timeout_ms;
};

/* Send a command of `route` by the lane `number`; `fn` (may be NULL) as bus_ops.command. */
void redis_errand_start(struct redis_route *route, uint32_t number, const struct redis_order *order,
    bus_reply_fn fn, void *context);

/* Send what is held and may be, and give those up whose time is over. */
void redis_errand_go_on(struct redis_cluster *cluster);

/* Answer those of `route` that were refused with STATUS_UNAVAILABLE. */
void redis_errand_refuse(struct redis_route *route);

/* Answer all that `route`, which has no leg any more, holds with STATUS_CANCELLED. */
void redis_errand_cancel(struct redis_route *route);

/* The number of a lane, as the key of a map of them. */
struct bytes redis_errand_lane_key(const void *lane);

#endif
