/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_part - one part of the users of a shard, as Redis is told of it.
 *
 * The shard has a place there, with a lifetime, and under it the users that are online with it.
 * One command at a time tells what has changed and renews the place; its answer says how many
 * users all places of the part have. Where it is not certain that Redis has what it was told (no
 * answer came, or the place is not as it was left), the shard takes another place and tells all.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_PART_H
#define ACTORS_PRESENCE_PRESENCE_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/presence/presence_redis.h"
#include "actors/presence/presence_stats.h"
#include "actors/presence/presence_view.h"
#include "codec/base/bytes.h"
#include "codec/base/list.h"

struct presence;
struct presence_part;
struct shard;
struct socket_owner;

enum {
    PRESENCE_PARTS_MAX = 16, /* the same on every node: names in Redis follow from it */
    PRESENCE_RENEW_MS = 1000,
    PRESENCE_LIFETIME_MS = 10000, /* of a place that is not renewed */
    PRESENCE_KEEP_MS = 30000, /* of a key whose places have all ended */
    PRESENCE_GATHER_MS = 50, /* what changes within is told at once */
    PRESENCE_SUMS_MS = 500, /* sums of all places that are older are made anew */
    PRESENCE_STALE_MS = 3000, /* what is known is old then */
    PRESENCE_PLACE_LEN = PRESENCE_SHARD_DIGITS + PRESENCE_TERM_DIGITS,
};

/* What the parts of a shard share. */
struct presence_parts {
    struct shard *shard;
    struct presence_redis *redis;
    struct presence_stats *stats;
    uint64_t secret; /* names the shard, of which 12 digits */
    uint32_t count; /* of parts */
    void (*viewed)(struct presence_parts *parts, const struct presence_part *part); /* anew */
    bool closing;
    uint32_t parting; /* parts that are to give up their places still */
    struct timer end; /* due when there is none of them left, or that takes too long */
};

struct presence_part {
    struct presence_parts *parts;
    struct timer timer;
    uint32_t number;
    uint32_t term; /* of the place */
    uint64_t told_number; /* of what was told last; 0: nothing yet under this term */
    uint64_t connections; /* of all users here */
    uint64_t viewed_ms; /* when `view` was true; 0: it never was */
    struct presence_view view;
    struct list known; /* socket_owner.presence_link: Redis was told of them */
    struct list changed; /* the same: and is to be */
    struct list gone; /* struct presence_gone.link: that they are not here any more */
    bool asking; /* it is being told */
    bool doubted; /* another term is to begin */
    bool whole; /* under this term it was told of all */
    bool full; /* there was no room for more in the last command */
    bool sweeping;
    bool leaving; /* the place is being given up */
    bool parted; /* it was */
    struct builder sweep; /* the places that are swept, or to be */
};

/* How many parts there are. */
uint32_t presence_part_count(const struct shard *shard);

/* The part of all users that the user `key` is in. */
unsigned presence_part_of(const struct shard *shard, struct bytes key);

/* Prepare the part `number`; its first command leaves within PRESENCE_RENEW_MS. */
void presence_part_start(struct presence_part *part, struct presence_parts *parts, uint32_t number);

/* Redis is not told any more; owners are in no list of it afterwards. */
void presence_part_finish(struct presence_part *part);

/* The number of connections of `owner`, which is of this part, has changed. */
void presence_part_changed(struct presence_part *part, struct socket_owner *owner);

/* `owner` ends. */
void presence_part_left(struct presence_part *part, struct socket_owner *owner);

/* Redis can be told again. */
void presence_part_up(struct presence_part *part);

/* Give the place up, so that nobody waits for its end; parts->parting counts down. */
void presence_part_leave(struct presence_part *part);

/* Whether the view is no older than PRESENCE_STALE_MS. */
bool presence_part_is_fresh(const struct presence_part *part);

#endif
