/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who on this node wants to hear of what: which shards have members of a room, which names (users,
 * sids; with a bus only) are here, whether the bus has confirmed the channel, and which rooms wait
 * to be told so.
 */
#include "actors/order/sequencer_actor.h"

#include "actors/room_proto.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"

enum { CHANNEL_MAX = 1024 };

/* A room whose shard waits for the bus to confirm the channel. */
struct waiter {
    struct waiter *next;
    struct actor_ref room;
    uint32_t shard;
    uint32_t serial;
};

static struct bytes interest_key(const void *interest)
{
    return interest_name(interest);
}

/* The channel of `room` (empty: of the namespace), written to `out`. */
static struct bytes channel_of(
    const struct sequencer *sequencer, struct bytes room, struct builder *out)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    adapter_channel_write(
        ADAPTER_BROADCAST, bytes_str(config->adapter_key), buf_bytes(sequencer->nsp), room, out);
    return builder_bytes(out);
}

/* False: no memory for the channel. */
bool sequencer_interest_subscribe(struct sequencer *sequencer, struct bytes room, bool on)
{
    if (sequencer->link == NULL) {
        return true;
    }
    const struct bus_ops *ops = shard_of(&sequencer->actor)->bus->ops;
    struct builder out = {.max = CHANNEL_MAX};
    struct bytes channel = channel_of(sequencer, room, &out);
    bool good = true;
    if (on && room.len == 0) {
        /* Other adapters have nodes answer on a channel of this name, and wait for each of them. */
        good = ops->subscribe_quietly(sequencer->link, channel);
    } else if (on) {
        good = ops->subscribe(sequencer->link, channel);
    } else {
        ops->unsubscribe(sequencer->link, channel);
    }
    builder_reset(&out);
    return good;
}

static void free_interest(struct interest *interest)
{
    while (interest->waiters != NULL) {
        struct waiter *waiter = interest->waiters;
        interest->waiters = waiter->next;
        mem_free(waiter);
    }
    mem_free(interest);
}

void sequencer_interest_init(struct sequencer *sequencer)
{
    map_init(&sequencer->interests, interest_key);
}

void sequencer_interest_finish(struct sequencer *sequencer)
{
    size_t cursor = 0;
    for (struct interest *interest;
         (interest = map_next(&sequencer->interests, &cursor)) != NULL;) {
        free_interest(interest);
    }
    map_finish(&sequencer->interests);
}

static size_t interest_size(struct bytes name)
{
    return offsetof(struct interest, name_at) + name.len;
}

/* Count what an interest and its place in the table take, the table as it was and as it is. */
static void count_memory(
    struct sequencer *sequencer, size_t taken, size_t given_back, size_t table_before)
{
    shard_of(&sequencer->actor)->stats.interest_bytes +=
        taken - given_back + map_bytes(&sequencer->interests) - table_before;
}

/* NULL: no memory. */
static struct interest *add_interest(struct sequencer *sequencer, struct bytes name)
{
    size_t table = map_bytes(&sequencer->interests);
    CHECK(name.len <= UINT16_MAX);
    struct interest *interest = mem_try_calloc(1, interest_size(name));
    if (interest == NULL) {
        return NULL;
    }
    interest->name_len = (uint16_t)name.len;
    memcpy(interest->name_at, name.at, name.len);
    bool put = map_put(&sequencer->interests, interest);
    if (!put || !sequencer_interest_subscribe(sequencer, name, true)) {
        if (put) {
            map_remove(&sequencer->interests, name);
        }
        mem_free(interest);
        count_memory(sequencer, 0, 0, table);
        return NULL;
    }
    count_memory(sequencer, mem_cost(interest_size(name)), 0, table);
    return interest;
}

/* The interest in `name`; made when it is to be `on`. NULL: there is none, or no memory for it. */
static struct interest *interest_in(struct sequencer *sequencer, struct bytes name, bool on)
{
    struct interest *interest = map_get(&sequencer->interests, name);
    return interest != NULL || !on ? interest : add_interest(sequencer, name);
}

/* Forget a name that nobody here has any more. */
static void forget_unused(struct sequencer *sequencer, struct interest *interest)
{
    if (interest != NULL && interest->shards == 0 && !interest->named) {
        struct bytes name = interest_key(interest);
        size_t table = map_bytes(&sequencer->interests);
        (void)sequencer_interest_subscribe(sequencer, name, false);
        map_remove(&sequencer->interests, name);
        count_memory(sequencer, 0, mem_cost(interest_size(name)), table);
        free_interest(interest);
    }
}

static void tell_room(
    struct sequencer *sequencer, struct actor_ref room, uint32_t shard, uint32_t serial)
{
    struct room_interested *msg = room_interested_new();
    msg->shard = shard;
    msg->serial = serial;
    msg_send(sequencer->actor.sched, room, msg);
}

static void release_waiters(struct sequencer *sequencer, struct interest *interest)
{
    while (interest->waiters != NULL) {
        struct waiter *waiter = interest->waiters;
        interest->waiters = waiter->next;
        tell_room(sequencer, waiter->room, waiter->shard, waiter->serial);
        mem_free(waiter);
    }
}

/* Who joins is refused; who has a seat already is closed. */
static void refuse_interest(struct sequencer *sequencer, const struct sequencer_interest *msg)
{
    struct room_interested *answer = room_interested_new();
    answer->failed = true;
    answer->shard = msg->shard;
    answer->serial = msg->serial;
    msg_send(sequencer->actor.sched, msg->reply_to, answer);
    sequencer_lose_here(sequencer, buf_bytes(msg->room), UINT64_C(1) << msg->shard);
}

void sequencer_interest_shard(struct sequencer *sequencer, const struct sequencer_interest *msg)
{
    struct interest *interest = interest_in(sequencer, buf_bytes(msg->room), msg->on);
    uint64_t bit = UINT64_C(1) << msg->shard;
    if (interest == NULL) {
        if (msg->on) {
            refuse_interest(sequencer, msg);
        }
        return;
    }
    if (!msg->on) {
        interest->shards &= ~bit;
        forget_unused(sequencer, interest);
        return;
    }
    interest->shards |= bit;
    /* Without a bus, or while it is away, there is nothing to wait for: local events come at once.
     */
    bool waits = sequencer->link != NULL && !interest->confirmed &&
                 shard_of(&sequencer->actor)->bus->ops->is_up(sequencer->link);
    if (!waits) {
        tell_room(sequencer, msg->reply_to, msg->shard, msg->serial);
        return;
    }
    struct waiter *waiter = mem_alloc(sizeof(*waiter));
    waiter->room = msg->reply_to;
    waiter->shard = msg->shard;
    waiter->serial = msg->serial;
    struct waiter **last = &interest->waiters;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = waiter;
}

void sequencer_interest_name(struct sequencer *sequencer, struct bytes name, bool on)
{
    struct interest *interest = interest_in(sequencer, name, on);
    if (interest == NULL) {
        if (on) {
            sequencer_lose_here(sequencer, name, sequencer_shards_of_name(sequencer, name));
        }
        return;
    }
    interest->named = on;
    forget_unused(sequencer, interest);
}

void sequencer_interest_lost(struct sequencer *sequencer)
{
    size_t cursor = 0;
    for (struct interest *interest;
         (interest = map_next(&sequencer->interests, &cursor)) != NULL;) {
        interest->confirmed = false;
        release_waiters(sequencer, interest);
    }
}

void sequencer_interest_confirmed(struct sequencer *sequencer, struct bytes name)
{
    struct interest *interest = map_get(&sequencer->interests, name);
    if (interest != NULL) {
        interest->confirmed = true;
        release_waiters(sequencer, interest);
    }
}
