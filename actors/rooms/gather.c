/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks all nodes who is in a room, and puts the answers together.
 *
 * Order of this file: what is found, asking other nodes, the bus, the shards of this node, the
 * question.
 */
#include "actors/rooms/gather.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/core/sched.h"
#include "actors/core/timer.h"
#include "actors/deliver/fanout.h"
#include "actors/identity.h"
#include "actors/order/bus_origin.h"
#include "actors/rooms/pick.h"
#include "actors/shard.h"
#include "codec/adapter_request.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/slot.h"

enum { ASKING_MAX = 16, WAIT_MS = 3000, ID_MAX = 40 };

/* A shard's connections to ask by, made when they are first needed. */
struct gathers {
    struct shard *shard;
    struct bus_link *listener; /* for answers, while `waiting` holds any */
    struct bus_link *sender;
    struct list waiting; /* gather.link: those that wait for other nodes */
    unsigned count; /* of them */
    bool confirmed; /* the subscription */
};

struct gather {
    struct list link; /* gathers.waiting */
    struct timer timer;
    struct actor_system *system;
    gather_done_fn done;
    void *context;
    unsigned asker; /* the shard that asks */
    unsigned next; /* the shard to ask */
    uint32_t nodes; /* with a socket in the room */
    uint64_t sockets;
    struct map members; /* struct gather_member */
    struct buf *payload; /* the request to other nodes */
    struct buf *packed; /* the same as MessagePack */
    char id[ID_MAX];
    bool counting; /* how many must answer: a reply of Redis is under way */
    bool asked; /* `expected` is known */
    bool finished; /* it is kept for that reply only */
    bool starved; /* there was no memory for all users */
    int64_t expected; /* answers */
    int64_t answers;
};

/* A shard of this node; its own thread decides what it is used for. */
static struct shard *shard_at(const struct gather *gather, unsigned index)
{
    return sched_user(actor_system_sched(gather->system, index));
}

static struct shard *asker_of(const struct gather *gather)
{
    return shard_at(gather, gather->asker);
}

/* What is found. */

struct bytes gather_user(const void *object)
{
    const struct gather_member *member = object;
    return bytes_of(member->user, member->user_len);
}

static void add_member(struct gather *gather, struct bytes user)
{
    struct gather_member *member = map_get(&gather->members, user);
    if (member == NULL) {
        member = mem_try_calloc(1, sizeof(*member) + user.len);
        if (member == NULL) {
            gather->starved = true;
            return;
        }
        member->user_len = (uint32_t)user.len;
        memcpy(member->user, user.at, user.len);
        if (!map_put(&gather->members, member)) {
            gather->starved = true;
            mem_free(member);
            return;
        }
    }
    member->sockets++;
}

static void free_gather(struct gather *gather)
{
    size_t cursor = 0;
    for (struct gather_member *member; (member = map_next(&gather->members, &cursor)) != NULL;) {
        mem_free(member);
    }
    map_finish(&gather->members);
    buf_unref(gather->payload);
    buf_unref(gather->packed);
    mem_free(gather);
}

/* Tell what was found; the gather stays while a reply of Redis is to come. */
static void finish(struct gather *gather, int status, bool complete)
{
    const struct gather_result result = {
        .status = status == 0 && gather->starved ? STATUS_NOMEM : status,
        .complete = complete,
        .nodes = gather->nodes,
        .sockets = gather->sockets,
        .members = &gather->members,
    };
    gather->done(gather->context, &result);
    gather->finished = true;
    if (!gather->counting) {
        free_gather(gather);
    }
}

/* Asking other nodes. */

static void write_channel(
    const struct shard *shard, enum adapter_channel channel, struct builder *out)
{
    adapter_channel_write(
        channel, bytes_str(shard->config->adapter_key), BYTES("/"), bytes_of(NULL, 0), out);
}

static void listen(struct gathers *gathers, bool on)
{
    const struct bus_ops *ops = gathers->shard->bus->ops;
    struct builder channel = {0};
    write_channel(gathers->shard, ADAPTER_RESPONSE, &channel);
    if (on) {
        (void)ops->subscribe(gathers->listener, builder_bytes(&channel)); /* else nobody answers */
    } else {
        ops->unsubscribe(gathers->listener, builder_bytes(&channel));
    }
    gathers->confirmed = false;
    builder_reset(&channel);
}

/* It waits for nobody any more. */
static void leave(struct gathers *gathers, struct gather *gather)
{
    timer_cancel(sched_timers(gathers->shard->sched), &gather->timer);
    list_remove(&gather->link);
    gathers->count--;
    if (list_empty(&gathers->waiting)) {
        listen(gathers, false);
    }
}

static void end(struct gather *gather, bool complete)
{
    leave(asker_of(gather)->gathers, gather);
    finish(gather, 0, complete);
}

static void on_timer(struct timer *timer)
{
    struct gather *gather = container_of(timer, struct gather, timer);
    end(gather, gather->asked && gather->answers >= gather->expected);
}

/* End it with the next turn: callbacks of the bus do not change what it is just walking over. */
static void end_soon(struct gather *gather)
{
    timer_set(sched_timers(asker_of(gather)->sched), &gather->timer, 0);
}

/* The subscribers of the channel of requests: this node is one of them. */
static void on_count(void *context, int status, const struct bus_reply *reply)
{
    struct gather *gather = context;
    gather->counting = false;
    if (gather->finished) {
        free_gather(gather);
        return;
    }
    if (status != 0 || reply->type != BUS_ARRAY || reply->count != 2 ||
        reply->items[1]->type != BUS_INTEGER) {
        end_soon(gather);
        return;
    }
    struct shard *shard = asker_of(gather);
    gather->expected = reply->items[1]->integer - 1;
    gather->asked = true;
    if (gather->expected <= 0) {
        end_soon(gather);
        return;
    }
    struct builder channel = {0};
    write_channel(shard, ADAPTER_REQUEST, &channel);
    const struct bytes argv[] = {
        BYTES("PUBLISH"), builder_bytes(&channel), buf_bytes(gather->payload)};
    shard->bus->ops->command(shard->gathers->sender, argv, ARRAY_LEN(argv), WAIT_MS, NULL, NULL);
    builder_reset(&channel);
}

static void count_nodes(struct gathers *gathers, struct gather *gather)
{
    struct builder channel = {0};
    write_channel(gathers->shard, ADAPTER_REQUEST, &channel);
    const struct bytes argv[] = {BYTES("PUBSUB"), BYTES("NUMSUB"), builder_bytes(&channel)};
    gather->counting = true;
    gathers->shard->bus->ops->command(
        gathers->sender, argv, ARRAY_LEN(argv), WAIT_MS, on_count, gather);
    builder_reset(&channel);
}

/* Ask for those that have not been, now that both connections are there. */
static void go_on(struct gathers *gathers)
{
    if (!gathers->confirmed || !gathers->shard->bus->ops->is_up(gathers->sender)) {
        return;
    }
    list_for_each (link, &gathers->waiting) {
        struct gather *gather = container_of(link, struct gather, link);
        if (!gather->asked && !gather->counting) {
            count_nodes(gathers, gather);
        }
    }
}

/* The bus. */

static void on_sender_up(void *context)
{
    go_on(context);
}

static void on_down(void *context)
{
    struct gathers *gathers = context;
    gathers->confirmed = false;
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct gathers *gathers = context;
    (void)channel;
    gathers->confirmed = !list_empty(&gathers->waiting);
    go_on(gathers);
}

static void take_answer(struct gather *gather, struct json_scan_iter *sockets)
{
    char at[NAMES_USER_MAX];
    struct bytes user;
    uint64_t before = gather->sockets;
    while (adapter_fetched_next(sockets, at, &user)) {
        gather->sockets++;
        if (user.len > 0) {
            add_member(gather, user);
        }
    }
    gather->nodes += gather->sockets > before;
    if (++gather->answers >= gather->expected) {
        end_soon(gather);
    }
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct gathers *gathers = context;
    (void)channel;
    list_for_each (link, &gathers->waiting) {
        struct gather *gather = container_of(link, struct gather, link);
        struct json_scan_iter sockets;
        if (gather->asked && adapter_fetched_begin(payload, bytes_str(gather->id), &sockets) == 0) {
            take_answer(gather, &sockets);
            return;
        }
    }
}

static const struct bus_events listener_events = {
    .on_down = on_down, .on_subscribed = on_subscribed, .on_message = on_message};
static const struct bus_events sender_events = {.on_up = on_sender_up};

static struct gathers *gathers_of(struct shard *shard)
{
    if (shard->gathers == NULL) {
        struct bus *bus = shard->bus;
        struct gathers *gathers = mem_alloc(sizeof(*gathers));
        gathers->shard = shard;
        list_init(&gathers->waiting);
        gathers->listener = bus->ops->open(bus, "members", &listener_events, gathers);
        gathers->sender = bus->ops->open(bus, "members-ask", &sender_events, gathers);
        shard->gathers = gathers;
    }
    return shard->gathers;
}

void gather_stop(struct shard *shard)
{
    shard->gathers_over = true;
    struct gathers *gathers = shard->gathers;
    if (gathers == NULL) {
        return;
    }
    list_for_each_safe (link, following, &gathers->waiting) {
        end(container_of(link, struct gather, link), false);
    }
    const struct bus_ops *ops = shard->bus->ops;
    ops->close(gathers->listener);
    ops->close(gathers->sender);
    shard->gathers = NULL;
    mem_free(gathers);
}

static void ask_nodes(struct shard *shard, struct gather *gather)
{
    if (shard->bus == NULL || shard->gathers_over) {
        finish(gather, 0, shard->bus == NULL);
        return;
    }
    struct gathers *gathers = gathers_of(shard);
    if (gathers->count >= ASKING_MAX) {
        finish(gather, STATUS_FULL, false);
        return;
    }
    if (list_empty(&gathers->waiting)) {
        listen(gathers, true);
    }
    gathers->count++;
    list_append(&gathers->waiting, &gather->link);
    timer_set(sched_timers(shard->sched), &gather->timer, sched_now(shard->sched) + WAIT_MS);
    go_on(gathers);
}

/* The shards of this node. */

static void visit(struct fanout *fanout, struct socket *socket, void *context)
{
    struct gather *gather = context;
    (void)fanout;
    gather->nodes = 1; /* this one is asked first */
    gather->sockets++;
    add_member(gather, claims_user(identity_claims(socket->identity)));
}

/* On the thread of `shard`. */
static void collect(struct gather *gather, struct shard *shard)
{
    struct fanout *fanout = fanout_find(shard, BYTES("/"));
    struct adapter_request request;
    if (fanout != NULL && adapter_request_decode(buf_bytes(gather->packed), &request) == 0) {
        pick_visit(fanout, &request, visit, gather);
    }
}

static void on_visit(void *arg, bool cancelled)
{
    struct gather *gather = arg;
    unsigned shards = actor_system_shards(gather->system);
    if (cancelled) {
        finish(gather, STATUS_CANCELLED, false);
        return;
    }
    if (gather->next == shards) {
        ask_nodes(asker_of(gather), gather);
        return;
    }
    collect(gather, shard_at(gather, gather->next++));
    sched_post(
        gather->system, gather->next == shards ? gather->asker : gather->next, on_visit, gather);
}

/* The question. */

static void write_request(const struct shard *shard, struct gather *gather, struct bytes room)
{
    uint8_t number[16];
    char text[UUID_TEXT_LEN];
    uuid7_make(sched_wall(shard->sched), SLOT_NONE, number);
    uuid_format(number, text);
    snprintf(gather->id, sizeof(gather->id), "%.*s", UUID_TEXT_LEN, text);
    struct builder uid = {0};
    struct builder out = {0};
    bus_origin_write_uid(shard, &uid);
    adapter_fetch_write(builder_bytes(&uid), bytes_str(gather->id), room, &out);
    builder_reset(&uid);
    gather->payload = builder_finish(&out);
    int status = adapter_request_take(buf_bytes(gather->payload), &gather->packed);
    CHECK(status == 0); /* we have just written it, with a name that was checked */
}

void gather_start(struct shard *shard, struct bytes room, gather_done_fn done, void *context)
{
    struct gather *gather = mem_alloc(sizeof(*gather));
    list_init(&gather->link);
    timer_init(&gather->timer, on_timer);
    gather->system = sched_system(shard->sched);
    gather->done = done;
    gather->context = context;
    gather->asker = sched_shard(shard->sched);
    map_init(&gather->members, gather_user);
    write_request(shard, gather, room);
    sched_post(gather->system, 0, on_visit, gather);
}
