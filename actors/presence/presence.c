/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a shard, and what they have in common.
 */
#include "actors/presence/presence.h"

#include "actors/deliver/owner.h"
#include "actors/presence/presence_part.h"
#include "actors/presence/presence_redis.h"
#include "actors/presence/presence_state.h"
#include "actors/presence/presence_watch.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"

/* How long Redis may take to be told that the shard gives up its places. */
enum { LEAVE_MS = 500 };

/* Users. */

/* What the owner has now counts, and no more what it had. */
static void count(struct presence *presence, struct presence_part *part, struct socket_owner *owner)
{
    struct presence_stats *stats = &presence->stats;
    if ((owner->socket_count > 0) != (owner->presence_seen > 0)) {
        presence_watch_note(presence->watch, owner_key(owner));
    }
    stats->users += owner->socket_count > 0;
    stats->users -= owner->presence_seen > 0;
    stats->connections += owner->socket_count;
    stats->connections -= owner->presence_seen;
    if (part != NULL) {
        part->connections += owner->socket_count;
        part->connections -= owner->presence_seen;
    }
    owner->presence_seen = owner->socket_count;
}

/* NULL: nobody is told. */
static struct presence_part *find_part(struct presence *presence, const struct socket_owner *owner)
{
    return presence->parts.redis != NULL
               ? &presence->part[presence_part_of(presence->shard, owner_key(owner))]
               : NULL;
}

void presence_note(struct presence *presence, struct socket_owner *owner)
{
    if (presence == NULL || owner->socket_count == owner->presence_seen) {
        return;
    }
    struct presence_part *part = find_part(presence, owner);
    count(presence, part, owner);
    if (part != NULL) {
        presence_part_changed(part, owner);
    }
}

void presence_show(struct presence *presence, struct socket_owner *owner)
{
    if (presence == NULL || owner->presence_seen == 0) {
        return;
    }
    struct presence_part *part = find_part(presence, owner);
    presence_watch_note(presence->watch, owner_key(owner));
    if (part != NULL) {
        presence_part_changed(part, owner);
    }
}

void presence_forget(struct presence *presence, struct socket_owner *owner)
{
    if (presence == NULL) {
        return;
    }
    struct presence_part *part = find_part(presence, owner);
    count(presence, part, owner);
    if (part != NULL) {
        presence_part_left(part, owner);
    }
}

/* Numbers. */

/* Whether operators are to know: parts are not told though Redis is there. */
static uint64_t count_stale(struct presence *presence)
{
    uint64_t now_ms = sched_now(presence->shard->sched);
    uint64_t stale = 0;
    if (presence_state_redis(presence) != NULL && !presence->parts.closing) {
        for (uint32_t i = 0; i < presence->parts.count; i++) {
            stale += !presence_part_is_fresh(&presence->part[i]);
        }
    }
    if (stale == 0) {
        presence->good_ms = now_ms;
    }
    return now_ms > presence->good_ms + PRESENCE_STALE_MS ? stale : 0;
}

const struct presence_stats *presence_get_stats(struct presence *presence)
{
    presence->stats.stale = count_stale(presence);
    presence->stats.followed = presence_watch_count(presence->watch);
    return &presence->stats;
}

struct presence_watch *presence_get_watch(const struct presence *presence)
{
    return presence != NULL ? presence->watch : NULL;
}

void presence_count_event(struct presence *presence)
{
    presence->stats.events++;
}

/* Life. */

static void on_up(void *context)
{
    struct presence *presence = context;
    for (uint32_t i = 0; i < presence->parts.count; i++) {
        presence_part_up(&presence->part[i]);
    }
}

static void stop_telling(struct presence *presence)
{
    struct presence_parts *parts = &presence->parts;
    struct presence_redis *redis = parts->redis;
    if (redis == NULL) {
        return;
    }
    parts->redis = NULL;
    presence_redis_close(redis);
    timer_cancel(sched_timers(presence->shard->sched), &parts->end);
    for (uint32_t i = 0; i < parts->count; i++) {
        presence_part_finish(&presence->part[i]);
    }
}

static void on_viewed(struct presence_parts *parts, const struct presence_part *part)
{
    presence_watch_viewed(container_of(parts, struct presence, parts)->watch, part);
}

static void on_end(struct timer *timer)
{
    struct presence_parts *parts = container_of(timer, struct presence_parts, end);
    stop_telling(container_of(parts, struct presence, parts));
}

struct presence *presence_create(struct shard *shard)
{
    struct presence *presence = mem_alloc(sizeof(*presence));
    struct presence_parts *parts = &presence->parts;
    presence->shard = shard;
    presence->good_ms = sched_now(shard->sched);
    *parts = (struct presence_parts){.shard = shard,
        .stats = &presence->stats,
        .count = presence_part_count(shard),
        .viewed = on_viewed};
    presence->watch = presence_watch_create(shard);
    timer_init(&parts->end, on_end);
    if (shard->bus == NULL) {
        return presence;
    }
    rand_secret(&parts->secret, sizeof(parts->secret));
    parts->secret >>= 64 - 4 * PRESENCE_SHARD_DIGITS;
    parts->redis = presence_redis_open(shard, on_up, presence);
    for (uint32_t i = 0; i < parts->count; i++) {
        presence_part_start(&presence->part[i], parts, i);
    }
    return presence;
}

void presence_close(struct presence *presence)
{
    struct presence_parts *parts = &presence->parts;
    presence_watch_close(presence->watch);
    if (parts->redis == NULL || parts->closing) {
        return;
    }
    parts->closing = true;
    parts->parting = parts->count;
    timer_set(sched_timers(presence->shard->sched), &parts->end,
        sched_now(presence->shard->sched) + LEAVE_MS);
    for (uint32_t i = 0; i < parts->count; i++) {
        presence_part_leave(&presence->part[i]);
    }
}

uint64_t presence_open(const struct presence *presence)
{
    return presence->stats.calls + (presence->parts.redis != NULL);
}

void presence_destroy(struct presence *presence)
{
    if (presence != NULL) {
        stop_telling(presence);
        presence_watch_destroy(presence->watch);
        mem_free(presence);
    }
}
