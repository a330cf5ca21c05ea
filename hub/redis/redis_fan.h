/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_fan - commands of a route that several servers of a cluster carry out, with one answer.
 */
#ifndef HUB_REDIS_REDIS_FAN_H
#define HUB_REDIS_REDIS_FAN_H

#include <stdbool.h>

#include "actors/bus.h"

struct redis_order;
struct redis_route;

/*
 * Send a command to each server that has slots, or with `replicas` to all that are known. Numbers
 * of subscribers are added up; of other answers the first that is a list with something in it
 * counts, or else the last. An error, or a server that does not answer, is the answer.
 */
void redis_fan_start(struct redis_route *route, const struct redis_order *order, bool replicas,
    bus_reply_fn fn, void *context);

/* Send SCAN to the server that its cursor names; the answer's cursor leads on to the next. What
 * moves to another server meanwhile may be missed. */
void redis_fan_scan(
    struct redis_route *route, const struct redis_order *order, bus_reply_fn fn, void *context);

/* Send a command to each server that has slots: how many; `fn` is called once for each. */
unsigned redis_fan_each(
    struct redis_route *route, const struct redis_order *order, bus_reply_fn fn, void *context);

#endif
