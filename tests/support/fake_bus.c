/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: replies, keys and streams, commands, links, steps, what tests do.
 */
#include "tests/support/fake_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/list.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { NAME_MAX_LEN = 256, ID_TEXT = 48, KEYS_MAX = 32, STREAMS_MAX = 32, LAG_ONE_IN = 8 };

struct entry {
    uint64_t ms;
    uint64_t seq;
    struct bytes *fields; /* owned, with their texts */
    size_t count;
};

struct stream {
    char name[NAME_MAX_LEN];
    struct entry *entries;
    size_t count;
    size_t cap;
    uint64_t last_ms;
    uint64_t last_seq;
};

struct key {
    char name[NAME_MAX_LEN]; /* empty: unused */
    char value[NAME_MAX_LEN];
    uint64_t expires_ms;
};

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
    char channel[NAME_MAX_LEN];
    struct bytes payload; /* owned */
    uint64_t ticket;
};

struct channel {
    struct list link; /* bus_link.channels */
    char name[NAME_MAX_LEN];
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
    uint64_t (*now)(void *context);
    void *now_context;
    struct list buses;
    struct list links;
    unsigned lose_one_in;
    unsigned lag_max;
    uint64_t ahead_ms; /* of the clock that ids are drawn from */
    struct key keys[KEYS_MAX];
    struct stream streams[STREAMS_MAX];
    size_t stream_count;
};

static uint64_t dice(struct fake_redis *redis, uint64_t bound)
{
    return rand_below(&redis->dice, bound);
}

static struct bytes keep(struct bytes text)
{
    return bytes_of(mem_dup(text.at, text.len), text.len);
}

static void drop_texts(struct bytes *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free((void *)(uintptr_t)texts[i].at);
    }
    mem_free(texts);
}

static struct bytes *keep_all(const struct bytes *texts, size_t count)
{
    struct bytes *copy = mem_alloc_array(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = keep(texts[i]);
    }
    return copy;
}

static void write_name(char name[NAME_MAX_LEN], struct bytes text)
{
    CHECK(text.len < NAME_MAX_LEN);
    memcpy(name, text.at, text.len);
    name[text.len] = '\0';
}

/* Replies. */

static struct bus_reply *reply_new(enum bus_reply_type type, struct bytes text)
{
    struct bus_reply *reply = mem_alloc(sizeof(*reply));
    reply->type = type;
    reply->text = keep(text);
    return reply;
}

static struct bus_reply *reply_integer(int64_t value)
{
    struct bus_reply *reply = reply_new(BUS_INTEGER, BYTES(""));
    reply->integer = value;
    return reply;
}

static struct bus_reply *reply_array(size_t count)
{
    struct bus_reply *reply = reply_new(BUS_ARRAY, BYTES(""));
    reply->items = mem_alloc_array(count + 1, sizeof(struct bus_reply *));
    reply->count = count;
    return reply;
}

static void reply_free(struct bus_reply *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        reply_free(reply->items[i]);
    }
    mem_free(reply->items);
    mem_free((void *)(uintptr_t)reply->text.at);
    mem_free(reply);
}

/* Keys and streams. */

static struct key *find_key(struct fake_redis *redis, struct bytes name)
{
    for (size_t i = 0; i < KEYS_MAX; i++) {
        struct key *key = &redis->keys[i];
        if (key->name[0] && key->expires_ms <= redis->now(redis->now_context)) {
            key->name[0] = '\0';
        }
        if (key->name[0] && bytes_eq_str(name, key->name)) {
            return key;
        }
    }
    return NULL;
}

static struct stream *find_stream(const struct fake_redis *redis, struct bytes name)
{
    for (size_t i = 0; i < redis->stream_count; i++) {
        if (bytes_eq_str(name, redis->streams[i].name)) {
            return (struct stream *)(uintptr_t)&redis->streams[i];
        }
    }
    return NULL;
}

static void free_entries(struct stream *stream, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        drop_texts(stream->entries[i].fields, stream->entries[i].count);
    }
    stream->count -= count;
    memmove(stream->entries, stream->entries + count, stream->count * sizeof(*stream->entries));
}

static struct entry *add_entry(
    struct fake_redis *redis, struct bytes name, const struct bytes *fields, size_t count)
{
    struct stream *stream = find_stream(redis, name);
    if (stream == NULL) {
        CHECK(redis->stream_count < STREAMS_MAX);
        stream = &redis->streams[redis->stream_count++];
        *stream = (struct stream){0};
        write_name(stream->name, name);
    }
    if (stream->count == stream->cap) {
        stream->cap = stream->cap ? stream->cap * 2 : 16;
        stream->entries = mem_realloc_array(stream->entries, stream->cap, sizeof(*stream->entries));
    }
    uint64_t ms = redis->now(redis->now_context) + redis->ahead_ms;
    stream->last_seq = ms > stream->last_ms ? 0 : stream->last_seq + 1;
    stream->last_ms = ms > stream->last_ms ? ms : stream->last_ms;
    struct entry *entry = &stream->entries[stream->count++];
    *entry = (struct entry){.ms = stream->last_ms,
        .seq = stream->last_seq,
        .fields = keep_all(fields, count),
        .count = count};
    return entry;
}

static struct bus_reply *id_reply(uint64_t ms, uint64_t seq)
{
    char text[ID_TEXT];
    snprintf(text, sizeof(text), "%llu-%llu", (unsigned long long)ms, (unsigned long long)seq);
    return reply_new(BUS_STRING, bytes_str(text));
}

static void read_id(struct bytes text, uint64_t *ret_ms, uint64_t *ret_seq)
{
    char at[ID_TEXT];
    unsigned long long ms = 0;
    unsigned long long seq = 0;
    CHECK(text.len < sizeof(at));
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    CHECK(sscanf(at, "%llu-%llu", &ms, &seq) == 2);
    *ret_ms = ms;
    *ret_seq = seq;
}

/* The index of the first entry at or above an id (above: `seq + 1`). */
static size_t first_from(const struct stream *stream, uint64_t ms, uint64_t seq)
{
    size_t i = 0;
    while (i < stream->count && (stream->entries[i].ms < ms || (stream->entries[i].ms == ms &&
                                                                   stream->entries[i].seq < seq))) {
        i++;
    }
    return i;
}

/* Commands. */

static struct bus_reply *do_publish(struct fake_redis *redis, const struct bytes *argv)
{
    fake_redis_publish(redis, argv[1], argv[2]);
    return reply_integer(1);
}

/* SET key value NX PX ms */
static struct bus_reply *do_set(struct fake_redis *redis, const struct bytes *argv)
{
    uint64_t ttl;
    CHECK(bytes_eq_str(argv[3], "NX") && bytes_eq_str(argv[4], "PX"));
    CHECK(bytes_to_u64(argv[5], UINT64_MAX, &ttl) == 0);
    if (find_key(redis, argv[1]) != NULL) {
        return reply_new(BUS_NIL, BYTES(""));
    }
    for (size_t i = 0; i < KEYS_MAX; i++) {
        struct key *key = &redis->keys[i];
        if (!key->name[0]) {
            write_name(key->name, argv[1]);
            write_name(key->value, argv[2]);
            key->expires_ms = redis->now(redis->now_context) + ttl;
            return reply_new(BUS_STATUS, BYTES("OK"));
        }
    }
    CHECK(false);
    return NULL;
}

/* EVAL script 1 key owner [ttl]: the renewal when there is a ttl, else the release. */
static struct bus_reply *do_eval(struct fake_redis *redis, const struct bytes *argv, size_t argc)
{
    struct key *key = find_key(redis, argv[3]);
    if (key == NULL || !bytes_eq_str(argv[4], key->value)) {
        return reply_integer(0);
    }
    uint64_t ttl = 0;
    if (argc > 5) {
        CHECK(bytes_to_u64(argv[5], UINT64_MAX, &ttl) == 0);
        key->expires_ms = redis->now(redis->now_context) + ttl;
    } else {
        key->name[0] = '\0';
    }
    return reply_integer(1);
}

/* XADD stream [MAXLEN ~ n] * field value … */
static struct bus_reply *do_xadd(struct fake_redis *redis, const struct bytes *argv, size_t argc)
{
    size_t at = bytes_eq_str(argv[2], "MAXLEN") ? 5 : 2;
    CHECK(bytes_eq_str(argv[at], "*") && (argc - at - 1) % 2 == 0);
    const struct entry *entry = add_entry(redis, argv[1], argv + at + 1, argc - at - 1);
    return id_reply(entry->ms, entry->seq);
}

static struct bus_reply *entry_reply(const struct entry *entry)
{
    struct bus_reply *reply = reply_array(2);
    reply->items[0] = id_reply(entry->ms, entry->seq);
    reply->items[1] = reply_array(entry->count);
    for (size_t i = 0; i < entry->count; i++) {
        reply->items[1]->items[i] = reply_new(BUS_STRING, entry->fields[i]);
    }
    return reply;
}

/* XREAD COUNT n BLOCK ms STREAMS stream id; NULL: it blocks. */
static struct bus_reply *do_xread(struct fake_redis *redis, struct call *call)
{
    uint64_t count;
    uint64_t block;
    uint64_t ms;
    uint64_t seq;
    uint64_t now = redis->now(redis->now_context);
    CHECK(call->argc == 8 && bytes_to_u64(call->argv[2], 10000, &count) == 0);
    CHECK(bytes_to_u64(call->argv[4], 100000, &block) == 0);
    read_id(call->argv[7], &ms, &seq);
    const struct stream *stream = find_stream(redis, call->argv[6]);
    size_t from = stream ? first_from(stream, ms, seq + 1) : 0;
    if (stream == NULL || from == stream->count) {
        if (call->blocked_until == 0) {
            call->blocked_until = now + block;
        }
        return now < call->blocked_until ? NULL : reply_new(BUS_NIL, BYTES(""));
    }
    size_t left = stream->count - from < count ? stream->count - from : count;
    struct bus_reply *entries = reply_array(left);
    for (size_t i = 0; i < left; i++) {
        entries->items[i] = entry_reply(&stream->entries[from + i]);
    }
    struct bus_reply *pair = reply_array(2);
    pair->items[0] = reply_new(BUS_STRING, call->argv[6]);
    pair->items[1] = entries;
    struct bus_reply *reply = reply_array(1);
    reply->items[0] = pair;
    return reply;
}

/* XTRIM stream MINID ~ id; not as lazy as the real one, so that a trim too far shows. */
static struct bus_reply *do_xtrim(struct fake_redis *redis, const struct bytes *argv)
{
    uint64_t ms;
    uint64_t seq;
    struct stream *stream = find_stream(redis, argv[1]);
    read_id(argv[4], &ms, &seq);
    if (stream != NULL) {
        free_entries(stream, first_from(stream, ms, seq));
    }
    return reply_integer(0);
}

static struct bus_reply *do_xinfo(struct fake_redis *redis, const struct bytes *argv)
{
    const struct stream *stream = find_stream(redis, argv[2]);
    if (stream == NULL) {
        return reply_new(BUS_ERROR, BYTES("ERR no such key"));
    }
    struct bus_reply *reply = reply_array(4);
    reply->items[0] = reply_new(BUS_STRING, BYTES("length"));
    reply->items[1] = reply_integer((int64_t)stream->count);
    reply->items[2] = reply_new(BUS_STRING, BYTES("last-generated-id"));
    reply->items[3] = id_reply(stream->last_ms, stream->last_seq);
    return reply;
}

/* Carry out a command; NULL: it blocks. */
static struct bus_reply *carry_out(struct fake_redis *redis, struct call *call)
{
    const struct bytes *argv = call->argv;
    if (bytes_eq_str(argv[0], "PUBLISH")) {
        return do_publish(redis, argv);
    }
    if (bytes_eq_str(argv[0], "SET")) {
        return do_set(redis, argv);
    }
    if (bytes_eq_str(argv[0], "EVAL")) {
        return do_eval(redis, argv, call->argc);
    }
    if (bytes_eq_str(argv[0], "XADD")) {
        return do_xadd(redis, argv, call->argc);
    }
    if (bytes_eq_str(argv[0], "XREAD")) {
        return do_xread(redis, call);
    }
    if (bytes_eq_str(argv[0], "XTRIM")) {
        return do_xtrim(redis, argv);
    }
    CHECK(bytes_eq_str(argv[0], "XINFO"));
    return do_xinfo(redis, argv);
}

/* Links. */

static struct call *call_new(const struct bytes *argv, size_t argc)
{
    struct call *call = mem_alloc(sizeof(*call));
    call->argv = keep_all(argv, argc);
    call->argc = argc;
    return call;
}

static void call_free(struct call *call)
{
    drop_texts(call->argv, call->argc);
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
    reply_free(push->reply);
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
            reply_free(carry_out(redis, call));
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
    CHECK(link->use != SUBSCRIPTIONS);
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

static void on_subscribe(struct bus_link *link, struct bytes name)
{
    CHECK(link->use != COMMANDS && find_channel(link, name) == NULL);
    link->use = SUBSCRIPTIONS;
    struct channel *channel = mem_alloc(sizeof(*channel));
    write_name(channel->name, name);
    list_append(&link->channels, &channel->link);
    if (link->up) {
        send_subscribe(link, channel);
    }
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
            write_name(push->channel, call->argv[0]);
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
    bool moved = move(link);
    struct fake_redis *redis = link->bus->redis;
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

struct fake_redis *fake_redis_create(uint64_t seed, uint64_t (*now)(void *context), void *context)
{
    struct fake_redis *redis = mem_alloc(sizeof(*redis));
    rand_init(&redis->dice, seed);
    redis->now = now;
    redis->now_context = context;
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
    for (size_t i = 0; i < redis->stream_count; i++) {
        free_entries(&redis->streams[i], redis->streams[i].count);
        mem_free(redis->streams[i].entries);
    }
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

void fake_redis_add(
    struct fake_redis *redis, const char *stream, const struct bytes *fields, size_t count)
{
    add_entry(redis, bytes_str(stream), fields, count);
}

void fake_redis_set_lag(struct fake_redis *redis, unsigned steps)
{
    redis->lag_max = steps;
}

void fake_redis_set_ahead(struct fake_redis *redis, uint64_t ms)
{
    redis->ahead_ms = ms;
}

void fake_redis_delete_stream(struct fake_redis *redis, const char *name)
{
    struct stream *stream = find_stream(redis, bytes_str(name));
    if (stream != NULL) {
        free_entries(stream, stream->count);
        mem_free(stream->entries);
        *stream = redis->streams[--redis->stream_count];
    }
}

size_t fake_redis_length(const struct fake_redis *redis, const char *name)
{
    const struct stream *stream = find_stream(redis, bytes_str(name));
    return stream ? stream->count : 0;
}

struct bytes fake_redis_field(
    const struct fake_redis *redis, const char *name, size_t i, const char *field)
{
    const struct stream *stream = find_stream(redis, bytes_str(name));
    CHECK(stream != NULL && i < stream->count);
    const struct entry *entry = &stream->entries[i];
    for (size_t k = 0; k + 1 < entry->count; k += 2) {
        if (bytes_eq_str(entry->fields[k], field)) {
            return entry->fields[k + 1];
        }
    }
    return bytes_of(NULL, 0);
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
        write_name(push->channel, channel);
        push->payload = keep(payload);
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
