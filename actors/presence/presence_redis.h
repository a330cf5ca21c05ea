/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_redis - the connection of a shard's presence, and its scripts on it.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_REDIS_H
#define ACTORS_PRESENCE_PRESENCE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/presence/presence_scripts.h"
#include "codec/base/check.h"

struct presence_redis;
struct shard;

/* Open it; `up(context)` is called each time that it comes up. */
MUST_CHECK struct presence_redis *presence_redis_open(
    struct shard *shard, void (*up)(void *context), void *context);

/* Close it; what is under way is answered with STATUS_CANCELLED. NULL is allowed. */
void presence_redis_close(struct presence_redis *redis);

/* Whether it is up. */
bool presence_redis_is_up(const struct presence_redis *redis);

/* A script on the key of a part, with its arguments. */
struct presence_command {
    enum presence_script script;
    unsigned part;
    const struct bytes *argv;
    size_t argc;
};

/* Carry out `command`, which is copied; `fn` gets the answer. False: no memory, and it gets none.
 */
MUST_CHECK bool presence_redis_run(struct presence_redis *redis,
    const struct presence_command *command, bus_reply_fn fn, void *context);

/*
 * Whether `reply` says that Redis does not know the script: nothing was done, and it is told the
 * scripts again.
 */
bool presence_redis_forgot(struct presence_redis *redis, const struct bus_reply *reply);

#endif
