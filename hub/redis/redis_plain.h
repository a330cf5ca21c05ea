/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_plain - a bus without anybody who follows a master: what redis.c makes, and what asks the
 * sentinels (redis_master.c).
 */
#ifndef HUB_REDIS_REDIS_PLAIN_H
#define HUB_REDIS_REDIS_PLAIN_H

#include <uv.h>

#include "codec/base/check.h"
#include "hub/redis/redis_bus.h"
#include "hub/redis/redis_options.h"

/* As redis_create; of several places each link uses the first that lets it in. */
MUST_CHECK struct redis_bus *redis_plain_create(
    uv_loop_t *loop, const struct redis_options *options);

/* As redis_close. */
void redis_plain_close(struct redis_bus *bus, redis_closed_fn fn, void *context);

#endif
