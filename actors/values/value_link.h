/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_link - what other nodes change of the values that live on this shard, and since when that
 * is known to be heard.
 *
 * The shard sends itself a message through Redis, again and again, and hears it behind all that was
 * announced before. So when one that was sent at a time comes back, all until then is known.
 */
#ifndef ACTORS_VALUES_VALUE_LINK_H
#define ACTORS_VALUES_VALUE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct shard;
struct value_link;
struct value_names;
struct value_redis;

/* How long what is in memory is good behind the last moment that is known. */
enum { VALUE_LINK_GOOD_MS = 1000, VALUE_LINK_PROBE_MS = 250 };

/* Who is told. */
struct value_link_events {
    /* The value `name` was changed and has `version` now, or is gone. */
    void (*changed)(void *context, struct bytes name, uint64_t version);
    /* From now on changes may be missed: all is to be forgotten. */
    void (*lost)(void *context);
};

/* Open the connection; probes go by `redis`. `names` and `redis` live as long. */
MUST_CHECK struct value_link *value_link_create(struct shard *shard,
    const struct value_names *names, struct value_redis *redis,
    const struct value_link_events *events, void *context);

/* Close it. NULL is allowed. */
void value_link_destroy(struct value_link *link);

/* Whether all changes until a second ago are known: then what is in memory may be served. */
bool value_link_is_good(const struct value_link *link);

/*
 * Whether changes from now on are heard, unless it is lost later: then `ret_epoch` will be another
 * one. What Redis answers to a question that was sent since then may be kept.
 */
bool value_link_hears(const struct value_link *link, uint32_t *ret_epoch);

#endif
