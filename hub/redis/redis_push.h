/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_push - what Redis sends on a connection with subscriptions, and patterns that mean one
 * name.
 *
 * A channel that is subscribed by a pattern is not counted among its subscribers (PUBSUB NUMSUB).
 * Redis matches every message against every pattern, so there should be few.
 */
#ifndef HUB_REDIS_REDIS_PUSH_H
#define HUB_REDIS_REDIS_PUSH_H

#include "actors/bus.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum redis_push_kind {
    REDIS_PUSH_NONE, /* something else */
    REDIS_PUSH_MESSAGE, /* `name` is the channel */
    REDIS_PUSH_CONFIRMED, /* a subscription; `name` is the channel */
    REDIS_PUSH_PATTERN_CONFIRMED, /* the same; `name` is the pattern */
    REDIS_PUSH_NOTHING, /* the end of a subscription, or a PONG */
};

/* A push, read: slices of the reply. */
struct redis_push {
    struct bytes name;
    struct bytes payload;
};

/* Read a reply on such a connection. */
enum redis_push_kind redis_push_read(const struct bus_reply *reply, struct redis_push *ret_push);

/* Append the pattern that matches `name` alone; or the name that a pattern of ours matches. */
void redis_push_write_pattern(struct bytes name, struct builder *out);
void redis_push_write_name(struct bytes pattern, struct builder *out);

#endif
