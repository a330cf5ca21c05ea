/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters the set of the nodes that deliver, each beat, and deals the parts by the places in it.
 */
#include "actors/inbox/schedule_share.h"

#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/bus_name.h"

enum { BEAT_MS = 400 };

/* Enter ARGV[1] for ARGV[2] ms, forget who is not alive, and tell all. */
#define ENTER_SCRIPT                                                                               \
    "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) "                        \
    "redis.call('zremrangebyscore',KEYS[1],'-inf','('..now) "                                      \
    "redis.call('zadd',KEYS[1],now+ARGV[2],ARGV[1]) return redis.call('zrange',KEYS[1],0,-1)"

static const char *name_of(const struct schedule_share *share)
{
    const struct actor_config *config = share->shard->config;
    return config->holder != NULL ? config->holder : config->node;
}

static uint64_t now_of(const struct schedule_share *share)
{
    return sched_now(share->shard->sched);
}

/* --- what the set says --- */

static bool is_listed(const struct bus_reply *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++) {
        if (bytes_eq_str(all->items[i]->text, name)) {
            return true;
        }
    }
    return false;
}

static bool is_before(struct bytes a, struct bytes b)
{
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order < 0 || (order == 0 && a.len < b.len);
}

/* How many of the set come before `name`. */
static unsigned place_of(const struct bus_reply *all, struct bytes name)
{
    unsigned place = 0;
    for (size_t i = 0; i < all->count; i++) {
        place += is_before(all->items[i]->text, name);
    }
    return place;
}

/* Keep who has parts: if one of them is not in the next set, what it did last may be untold. */
static void keep_holders(struct schedule_share *share, const struct bus_reply *all)
{
    for (unsigned i = 0; i < share->holder_count; i++) {
        if (!is_listed(all, share->holders[i])) {
            share->bereaved_ms = now_of(share);
        }
    }
    share->holder_count = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct bytes name = all->items[i]->text;
        if (place_of(all, name) < STORE_SCHEDULE_PARTS &&
            share->holder_count < STORE_SCHEDULE_PARTS) {
            snprintf(share->holders[share->holder_count++], LEASE_VALUE_MAX, "%.*s", (int)name.len,
                name.at);
        }
    }
}

static void deal(struct schedule_share *share, const struct bus_reply *all)
{
    unsigned place = place_of(all, bytes_str(name_of(share)));
    uint32_t parts = 0;
    for (unsigned part = 0; part < STORE_SCHEDULE_PARTS; part++) {
        parts |= part % all->count == place ? 1u << part : 0;
    }
    keep_holders(share, all);
    bool changed = parts != share->parts || share->heard_ms == 0;
    share->parts = parts;
    share->heard_ms = now_of(share);
    if (changed) {
        share->changed(share->context);
    }
}

/* A set of names, of which one is ours; no name is longer than a lease's may be. */
static bool is_set(const struct schedule_share *share, const struct bus_reply *reply)
{
    if (reply->type != BUS_ARRAY) {
        return false;
    }
    for (size_t i = 0; i < reply->count; i++) {
        const struct bus_reply *item = reply->items[i];
        if (item->type != BUS_STRING || item->text.len >= LEASE_VALUE_MAX) {
            return false;
        }
    }
    return is_listed(reply, name_of(share));
}

static void judge(struct schedule_share *share, const struct bus_reply *reply, bool good)
{
    if (!good && !share->refused) {
        log_warn("SCHEDULE-UNSHARED",
            "posts for later are not spread over the nodes: Redis does not tell who delivers",
            "reason=%s", reply->type == BUS_ERROR ? log_quote(reply->text) : "\"no set of names\"");
    }
    share->refused = !good;
}

static void on_entered(void *context, int status, const struct bus_reply *reply)
{
    struct schedule_share *share = context;
    share->asking = false;
    if (status != 0 || share->stopped) {
        return;
    }
    bool good = is_set(share, reply);
    judge(share, reply, good);
    if (good) {
        deal(share, reply);
    } else {
        share->heard_ms = 0;
    }
}

/* --- beats --- */

static void enter(struct schedule_share *share)
{
    char key[BUS_NAME_MAX];
    char life[LEASE_TTL_TEXT];
    bus_name_schedule_nodes(&share->shard->config->names, key);
    snprintf(life, sizeof(life), "%u", (unsigned)share->shard->config->lease_ms);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(ENTER_SCRIPT), BYTES("1"), bytes_str(key),
        bytes_str(name_of(share)), bytes_str(life)};
    share->asking = true;
    share->entered = true;
    share->shard->bus->ops->command(share->link, argv, ARRAY_LEN(argv), 0, on_entered, share);
}

static void leave(struct schedule_share *share, bus_reply_fn fn, void *context)
{
    char key[BUS_NAME_MAX];
    bus_name_schedule_nodes(&share->shard->config->names, key);
    const struct bytes argv[] = {BYTES("ZREM"), bytes_str(key), bytes_str(name_of(share))};
    share->entered = false;
    share->shard->bus->ops->command(share->link, argv, ARRAY_LEN(argv), 0, fn, context);
}

static void on_timer(struct timer *timer)
{
    struct schedule_share *share = container_of(timer, struct schedule_share, timer);
    timer_set(sched_timers(share->shard->sched), timer, now_of(share) + BEAT_MS);
    bool able = store_is_writable(share->shard->store_root);
    if (able && !share->asking) {
        enter(share);
    } else if (!able && share->entered) {
        leave(share, NULL, NULL);
    }
}

/* --- life --- */

void schedule_share_start(struct schedule_share *share, struct shard *shard, struct bus_link *link,
    void (*changed)(void *context), void *context)
{
    *share = (struct schedule_share){
        .shard = shard, .link = link, .changed = changed, .context = context};
    timer_init(&share->timer, on_timer);
    timer_set(sched_timers(shard->sched), &share->timer, now_of(share) + 1);
}

void schedule_share_stop(struct schedule_share *share, bus_reply_fn fn, void *context)
{
    share->stopped = true;
    timer_cancel(sched_timers(share->shard->sched), &share->timer);
    leave(share, fn, context);
}

/* --- questions --- */

bool schedule_share_has(const struct schedule_share *share, unsigned part)
{
    return share->heard_ms == 0 || (share->parts & 1u << part) != 0;
}

uint64_t schedule_share_heard(const struct schedule_share *share)
{
    return share->heard_ms;
}

bool schedule_share_bereaved(const struct schedule_share *share, uint64_t within_ms)
{
    return share->heard_ms == 0 ||
           (share->bereaved_ms > 0 && now_of(share) - share->bereaved_ms < within_ms);
}
