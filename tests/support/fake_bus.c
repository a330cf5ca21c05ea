/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links with queues in both directions, moved step by step, over one server in memory.
 *
 * Order of this file: links, steps, what tests do.
 */
#include "tests/support/fake_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/list.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/redis_keys.h"
#include "tests/support/tape.h"

enum { LAG_ONE_IN = 8 };

/* Something on its way to the server. */
struct call {
    struct list link; /* bus_link.calls */
    enum { CALL_COMMAND, CALL_SUBSCRIBE, CALL_UNSUBSCRIBE } kind;
    struct bytes *argv; /* owned, with their texts; of a subscription, the channel */
    size_t argc;
    bus_reply_fn fn;
    void *context;
    uint64_t blocked_until; /* of a blocking XREAD; 0: not begun */
    uint64_t ticket; /* of a subscription */
};

/* Something on its way to the link. */
struct push {
    struct list link; /* bus_link.pushes */
    enum { PUSH_REPLY, PUSH_MESSAGE, PUSH_SUBSCRIBED } kind;
    bus_reply_fn fn;
    void *context;
    int status;
    struct bus_reply *reply; /* owned */
    char channel[FAKE_NAME_MAX];
    struct bytes payload; /* owned */
    uint64_t ticket;
};

struct channel {
    struct list link; /* bus_link.channels */
    char name[FAKE_NAME_MAX];
    bool on; /* at the server */
    uint64_t ticket; /* of the last SUBSCRIBE */
};

struct fake_bus {
    struct bus bus;
    struct list link; /* fake_redis.buses */
    struct fake_redis *redis;
    unsigned node;
    bool unreachable;
    bool frozen;
    void (*enter)(void *context);
    void *context;
};

struct bus_link {
    struct list link; /* fake_redis.links */
    struct fake_bus *bus;
    struct bus_events events;
    void *context;
    bool up;
    enum { UNUSED, COMMANDS, SUBSCRIPTIONS } use; /* the first one decides */
    unsigned lag; /* steps in which it is passed over */
    uint64_t tickets;
    struct list channels;
    struct list calls;
    struct list pushes;
};

struct fake_redis {
    struct rand dice;
    struct fake_data data;
    struct fake_values values;
    struct fake_presence presence;
    struct list buses;
    struct list links;
    unsigned lose_one_in;
    unsigned lag_max;
    uint64_t closed; /* links so far */
};

static uint64_t dice(struct fake_redis *redis, uint64_t bound)
{
    return tape_below(&redis->dice, bound);
}

/* PUBSUB NUMSUB of one channel. */
static struct bus_reply *count_subscribers(struct fake_redis *redis, struct bytes name)
{
    struct bus_reply *reply = fake_reply_array(2);
    int64_t count = 0;
    list_for_each (at, &redis->links) {
        struct bus_link *link = container_of(at, struct bus_link, link);
        list_for_each (other, &link->channels) {
            const struct channel *channel = container_of(other, struct channel, link);
            count += channel->on && bytes_eq_str(name, channel->name);
        }
    }
    reply->items[0] = fake_reply_text(BUS_STRING, name);
    reply->items[1] = fake_reply_integer(count);
    return reply;
}

/* Carry out a command; NULL: it blocks. */
static struct bus_reply *carry_out(struct fake_redis *redis, struct call *call)
{
    if (bytes_eq_str(call->argv[0], "PUBLISH")) {
        fake_redis_publish(redis, call->argv[1], call->argv[2]);
        return fake_reply_integer(1);
    }
    if (bytes_eq_str(call->argv[0], "PUBSUB")) {
        return count_subscribers(redis, call->argv[2]);
    }
    if (fake_presence_takes(call->argv, call->argc)) {
        return fake_presence_carry_out(
            &redis->presence, call->argv, call->argc, redis->data.now(redis->data.now_context));
    }
    if (fake_values_takes(call->argv, call->argc)) {
        return fake_values_carry_out(
            &redis->values, call->argv, call->argc, redis->data.now(redis->data.now_context));
    }
    return fake_data_carry_out(&redis->data, call->argv, call->argc, &call->blocked_until);
}

/* Links. */

static struct call *call_new(const struct bytes *argv, size_t argc)
{
    struct call *call = mem_alloc(sizeof(*call));
    call->argv = fake_keep_all(argv, argc);
    call->argc = argc;
    return call;
}

static void call_free(struct call *call)
{
    fake_drop_texts(call->argv, call->argc);
    mem_free(call);
}

static struct push *push_to(struct bus_link *link)
{
    struct push *push = mem_alloc(sizeof(*push));
    list_append(&link->pushes, &push->link);
    return push;
}

static void push_free(struct push *push)
{
    fake_reply_free(push->reply);
    mem_free((void *)(uintptr_t)push->payload.at);
    mem_free(push);
}

static struct channel *find_channel(const struct bus_link *link, struct bytes name)
{
    list_for_each (at, &link->channels) {
        struct channel *channel = container_of(at, struct channel, link);
        if (bytes_eq_str(name, channel->name)) {
            return channel;
        }
    }
    return NULL;
}

static struct bus_link *on_open(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    (void)name;
    struct fake_bus *fake = (struct fake_bus *)(void *)bus;
    struct bus_link *link = mem_alloc(sizeof(*link));
    link->bus = fake;
    link->events = *events;
    link->context = context;
    list_init(&link->channels);
    list_init(&link->calls);
    list_init(&link->pushes);
    list_append(&fake->redis->links, &link->link);
    return link;
}

/* Answer everything that is under way with `status`; messages are lost. */
static void answer_all(struct bus_link *link, int status)
{
    struct list pushes;
    struct list calls;
    list_init(&pushes);
    list_init(&calls);
    list_splice(&pushes, &link->pushes);
    list_splice(&calls, &link->calls);
    for (struct list *at; (at = list_pop(&pushes)) != NULL;) {
        struct push *push = container_of(at, struct push, link);
        if (push->kind == PUSH_REPLY && push->fn != NULL) {
            push->fn(push->context, status, NULL);
        }
        push_free(push);
    }
    for (struct list *at; (at = list_pop(&calls)) != NULL;) {
        struct call *call = container_of(at, struct call, link);
        if (call->kind == CALL_COMMAND && call->fn != NULL) {
            call->fn(call->context, status, NULL);
        }
        call_free(call);
    }
}

/* What was written before a connection ended may arrive or not; subscriptions end with it. */
static void end_connection(struct bus_link *link)
{
    struct fake_redis *redis = link->bus->redis;
    list_for_each (at, &link->channels) {
        container_of(at, struct channel, link)->on = false;
    }
    list_for_each_safe (at, following, &link->calls) {
        struct call *call = container_of(at, struct call, link);
        if (call->kind == CALL_COMMAND && !bytes_eq_str(call->argv[0], "XREAD")) {
            if (dice(redis, 2) == 0) {
                return;
            }
            fake_reply_free(carry_out(redis, call));
            struct push *push = push_to(link);
            push->fn = call->fn;
            push->context = call->context;
            list_remove(at);
            call_free(call);
        }
    }
}

static void on_close(struct bus_link *link)
{
    link->bus->redis->closed++;
    end_connection(link);
    link->up = false;
    answer_all(link, STATUS_CANCELLED);
    CHECK(list_empty(&link->pushes) && list_empty(&link->calls));
    for (struct list *at; (at = list_pop(&link->channels)) != NULL;) {
        mem_free(container_of(at, struct channel, link));
    }
    list_remove(&link->link);
    mem_free(link);
}

static bool on_is_up(const struct bus_link *link)
{
    return link->up;
}

static void on_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    (void)timeout_ms;
    struct redis_keys keys = redis_keys_find(argv, argc);
    CHECK(link->use != SUBSCRIPTIONS);
    /* A cluster must be able to carry it out: known, and with all keys in one slot. */
    CHECK(keys.aim != REDIS_AIM_UNKNOWN && redis_keys_agree(argv, &keys));
    link->use = COMMANDS;
    if (link->up) {
        struct call *call = call_new(argv, argc);
        call->fn = fn;
        call->context = context;
        list_append(&link->calls, &call->link);
        return;
    }
    struct push *push = push_to(link);
    push->fn = fn;
    push->context = context;
    push->status = STATUS_UNAVAILABLE;
}

static void send_subscribe(struct bus_link *link, struct channel *channel)
{
    struct bytes name = bytes_str(channel->name);
    struct call *call = call_new(&name, 1);
    call->kind = CALL_SUBSCRIBE;
    call->ticket = channel->ticket = ++link->tickets;
    list_append(&link->calls, &call->link);
}

static bool on_subscribe(struct bus_link *link, struct bytes name)
{
    CHECK(link->use != COMMANDS && find_channel(link, name) == NULL);
    link->use = SUBSCRIPTIONS;
    struct channel *channel = mem_alloc(sizeof(*channel));
    fake_write_name(channel->name, name);
    list_append(&link->channels, &channel->link);
    if (link->up) {
        send_subscribe(link, channel);
    }
    return true;
}

/* Messages that are under way are not told any more; the server may send some until it knows. */
static void on_unsubscribe(struct bus_link *link, struct bytes name)
{
    struct channel *channel = find_channel(link, name);
    CHECK(channel != NULL);
    list_remove(&channel->link);
    mem_free(channel);
}

static const struct bus_ops ops = {
    .open = on_open,
    .close = on_close,
    .is_up = on_is_up,
    .command = on_command,
    .subscribe = on_subscribe,
    .subscribe_quietly = on_subscribe,
    .unsubscribe = on_unsubscribe,
};

/* Steps. */

static void enter(struct bus_link *link)
{
    if (link->bus->enter != NULL) {
        link->bus->enter(link->bus->context);
    }
}

static void come_up(struct bus_link *link)
{
    link->up = true;
    enter(link);
    list_for_each (at, &link->channels) {
        send_subscribe(link, container_of(at, struct channel, link));
    }
    if (link->events.on_up != NULL) {
        link->events.on_up(link->context);
    }
}

/* The server takes the next call of a link; false: it blocks. */
static bool serve(struct bus_link *link)
{
    struct call *call = container_of(link->calls.next, struct call, link);
    if (call->kind == CALL_COMMAND) {
        struct bus_reply *reply = carry_out(link->bus->redis, call);
        if (reply == NULL) {
            return false;
        }
        struct push *push = push_to(link);
        push->reply = reply;
        push->fn = call->fn;
        push->context = call->context;
    } else {
        struct channel *channel = find_channel(link, call->argv[0]);
        if (channel != NULL && channel->ticket == call->ticket) {
            channel->on = true;
            struct push *push = push_to(link);
            push->kind = PUSH_SUBSCRIBED;
            push->ticket = call->ticket;
            fake_write_name(push->channel, call->argv[0]);
        }
    }
    list_remove(&call->link);
    call_free(call);
    return true;
}

static void deliver(struct bus_link *link)
{
    struct push *push = container_of(list_pop(&link->pushes), struct push, link);
    const struct channel *channel =
        push->kind == PUSH_REPLY ? NULL : find_channel(link, bytes_str(push->channel));
    enter(link);
    if (push->kind == PUSH_REPLY && push->fn != NULL) {
        push->fn(push->context, push->status, push->reply);
    } else if (push->kind == PUSH_SUBSCRIBED && channel != NULL &&
               channel->ticket == push->ticket && link->events.on_subscribed != NULL) {
        link->events.on_subscribed(link->context, bytes_str(push->channel));
    } else if (push->kind == PUSH_MESSAGE && channel != NULL && link->events.on_message != NULL) {
        link->events.on_message(link->context, bytes_str(push->channel), push->payload);
    }
    push_free(push);
}

static bool move(struct bus_link *link)
{
    struct fake_redis *redis = link->bus->redis;
    if (link->bus->frozen) {
        return false;
    }
    if (!link->up && list_empty(&link->pushes)) {
        if (link->bus->unreachable) {
            return false;
        }
        come_up(link);
        return true;
    }
    bool can_serve = link->up && !list_empty(&link->calls);
    if (can_serve && (list_empty(&link->pushes) || dice(redis, 2) == 0) && serve(link)) {
        return true;
    }
    if (list_empty(&link->pushes)) {
        return false;
    }
    deliver(link);
    return true;
}

/* Now and then a link is slow for a while: the others overtake it. */
static bool move_or_lag(struct bus_link *link)
{
    if (link->lag > 0) {
        link->lag--;
        return true;
    }
    struct fake_redis *redis = link->bus->redis;
    uint64_t closed = redis->closed;
    bool moved = move(link);
    if (closed != redis->closed) {
        return true; /* a callback closed links: perhaps this one */
    }
    if (moved && redis->lag_max > 0 && dice(redis, LAG_ONE_IN) == 0) {
        link->lag = (unsigned)dice(redis, redis->lag_max);
    }
    return moved;
}

bool fake_redis_step(struct fake_redis *redis)
{
    size_t count = fake_redis_links(redis);
    size_t skip = count ? dice(redis, count) : 0;
    struct list *at = redis->links.next;
    while (skip-- > 0) {
        at = at->next;
    }
    for (size_t i = 0; i < count; i++, at = at->next) {
        at = at == &redis->links ? at->next : at;
        if (move_or_lag(container_of(at, struct bus_link, link))) {
            return true;
        }
    }
    return false;
}

/* What tests do. */

static void publish(void *context, struct bytes channel, struct bytes payload)
{
    fake_redis_publish(context, channel, payload);
}

struct fake_redis *fake_redis_create(uint64_t seed, uint64_t (*now)(void *context), void *context)
{
    struct fake_redis *redis = mem_alloc(sizeof(*redis));
    rand_init(&redis->dice, seed);
    redis->data.history = 1;
    redis->data.now = now;
    redis->data.now_context = context;
    redis->values.host.publish = publish;
    redis->values.host.context = redis;
    redis->presence.publish = publish;
    redis->presence.context = redis;
    list_init(&redis->buses);
    list_init(&redis->links);
    return redis;
}

void fake_redis_destroy(struct fake_redis *redis)
{
    CHECK(list_empty(&redis->links));
    for (struct list *at; (at = list_pop(&redis->buses)) != NULL;) {
        mem_free(container_of(at, struct fake_bus, link));
    }
    fake_data_finish(&redis->data);
    fake_values_finish(&redis->values);
    fake_presence_finish(&redis->presence);
    mem_free(redis);
}

struct bus *fake_redis_bus(
    struct fake_redis *redis, unsigned node, void (*enter_fn)(void *context), void *context)
{
    struct fake_bus *bus = mem_alloc(sizeof(*bus));
    *bus = (struct fake_bus){
        .bus = {.ops = &ops}, .redis = redis, .node = node, .enter = enter_fn, .context = context};
    list_append(&redis->buses, &bus->link);
    return &bus->bus;
}

void fake_redis_drop(struct fake_redis *redis, unsigned node, unsigned one_in)
{
    list_for_each (at, &redis->links) {
        struct bus_link *link = container_of(at, struct bus_link, link);
        if (link->bus->node != node || !link->up || dice(redis, one_in) != 0) {
            continue;
        }
        enter(link);
        end_connection(link);
        link->up = false;
        answer_all(link, STATUS_UNAVAILABLE);
        if (link->events.on_down != NULL) {
            link->events.on_down(link->context);
        }
    }
}

void fake_redis_reach(struct fake_redis *redis, unsigned node, bool reachable)
{
    list_for_each (at, &redis->buses) {
        struct fake_bus *bus = container_of(at, struct fake_bus, link);
        if (bus->node == node) {
            bus->unreachable = !reachable;
        }
    }
}

void fake_redis_freeze(struct fake_redis *redis, unsigned node, bool frozen)
{
    list_for_each (at, &redis->buses) {
        struct fake_bus *bus = container_of(at, struct fake_bus, link);
        if (bus->node == node) {
            bus->frozen = frozen;
        }
    }
}

void fake_redis_lose(struct fake_redis *redis, unsigned one_in)
{
    redis->lose_one_in = one_in;
}

void fake_redis_set_lag(struct fake_redis *redis, unsigned steps)
{
    redis->lag_max = steps;
}

void fake_redis_publish(struct fake_redis *redis, struct bytes channel, struct bytes payload)
{
    list_for_each (at, &redis->links) {
        struct bus_link *link = container_of(at, struct bus_link, link);
        const struct channel *found = link->up ? find_channel(link, channel) : NULL;
        if (found == NULL || !found->on ||
            (redis->lose_one_in > 0 && dice(redis, redis->lose_one_in) == 0)) {
            continue;
        }
        struct push *push = push_to(link);
        push->kind = PUSH_MESSAGE;
        fake_write_name(push->channel, channel);
        push->payload = fake_keep(payload);
    }
}

size_t fake_redis_links(const struct fake_redis *redis)
{
    size_t count = 0;
    list_for_each (at, &redis->links) {
        count++;
    }
    return count;
}

size_t fake_redis_channels(const struct fake_redis *redis)
{
    size_t count = 0;
    list_for_each (at, &redis->links) {
        const struct bus_link *link = container_of(at, struct bus_link, link);
        list_for_each (channel, &link->channels) {
            count++;
        }
    }
    return count;
}

struct fake_data *fake_redis_data(struct fake_redis *redis)
{
    return &redis->data;
}

struct fake_presence *fake_redis_presence(struct fake_redis *redis)
{
    return &redis->presence;
}

struct fake_values *fake_redis_values(struct fake_redis *redis)
{
    return &redis->values;
}
