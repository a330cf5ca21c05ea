/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: life, sending, interest, publishing, requests, the bus.
 *
 * Interest is kept per channel: which shards have members of the room, whether the bus has
 * confirmed its channel, and which rooms wait to be told so. Names (users, sids) have an entry only
 * while the bus is on.
 */
#include "actors/behaviours.h"
#include "actors/bus.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_actor.h"
#include "actors/room_proto.h"
#include "actors/wire_name.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"

enum { CHANNEL_MAX = 1024, PUBLISH_TIMEOUT_MS = 5000 };

/* A room whose shard waits for the bus to confirm the channel. */
struct waiter {
    struct waiter *next;
    struct actor_ref room;
    uint32_t shard;
    uint32_t serial;
};

static void free_sequencer(struct actor *actor);
static struct actor *spawn_sequencer(struct sched *sched, struct bytes key);
static struct bytes sequencer_key(const void *sequencer);

PROTOCOL_DEFINE(SEQUENCER, sequencer)

const struct behaviour sequencer_behaviour = {
    PROTOCOL_BEHAVIOUR(SEQUENCER, sequencer),
    .id = BEHAVIOUR_SEQUENCER,
    .key_of = sequencer_key,
    .spawn = spawn_sequencer,
    .destroy = free_sequencer,
};

static void on_bus_up(void *context);
static void on_bus_down(void *context);
static void on_bus_subscribed(void *context, struct bytes channel);
static void on_bus_message(void *context, struct bytes channel, struct bytes payload);

static const struct bus_events bus_events = {
    .on_up = on_bus_up,
    .on_down = on_bus_down,
    .on_subscribed = on_bus_subscribed,
    .on_message = on_bus_message,
};

static const struct bus_events no_events = {0};

/* Life. */

static struct bytes sequencer_key(const void *sequencer)
{
    return buf_bytes(((const struct sequencer *)sequencer)->nsp);
}

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
static bool subscribe(struct sequencer *sequencer, struct bytes room, bool on)
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

/* Who waits for answers counts the subscribers of this channel: each of them has to answer. */
static void subscribe_requests(struct sequencer *sequencer)
{
    struct builder out = {0};
    sequencer_requests_channel(sequencer, &out);
    const struct bus_ops *ops = shard_of(&sequencer->actor)->bus->ops;
    CHECK(ops->subscribe(sequencer->link, builder_bytes(&out))); /* as the node starts */
    builder_reset(&out);
}

static struct actor *spawn_sequencer(struct sched *sched, struct bytes key)
{
    struct shard *shard = sched_user(sched);
    struct sequencer *sequencer = mem_alloc(sizeof(*sequencer));
    sequencer->nsp = buf_new_name(key);
    map_init(&sequencer->interests, interest_key);
    sequencer_requests_init(sequencer);
    sequencer->recovers =
        shard->config->recovers != NULL && shard->config->recovers(shard->config->context, key);
    CHECK(actor_start(&sequencer->actor, &sequencer_behaviour, sched)); /* as the node starts */
    if (shard->bus != NULL) {
        sequencer->link = shard->bus->ops->open(shard->bus, "sequencer", &bus_events, sequencer);
        sequencer->sender = shard->bus->ops->open(shard->bus, "publisher", &no_events, sequencer);
        CHECK(subscribe(sequencer, bytes_of(NULL, 0), true));
        subscribe_requests(sequencer);
        sequencer_stream_start(sequencer);
    }
    return &sequencer->actor;
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

static void close_link(struct sequencer *sequencer)
{
    if (sequencer->link != NULL) {
        const struct bus_ops *ops = shard_of(&sequencer->actor)->bus->ops;
        sequencer_stream_close(sequencer);
        ops->close(sequencer->link);
        ops->close(sequencer->sender);
        sequencer->link = NULL;
        sequencer->sender = NULL;
    }
}

static void free_sequencer(struct actor *actor)
{
    struct sequencer *sequencer = (struct sequencer *)(void *)actor;
    close_link(sequencer);
    size_t cursor = 0;
    for (struct interest *interest;
         (interest = map_next(&sequencer->interests, &cursor)) != NULL;) {
        free_interest(interest);
    }
    map_finish(&sequencer->interests);
    sequencer_requests_finish(sequencer);
    buf_unref(sequencer->nsp);
    mem_free(sequencer);
}

static void on_close(struct sequencer *sequencer, struct sequencer_close *msg)
{
    (void)msg;
    close_link(sequencer);
    actor_stop(&sequencer->actor);
}

/* Sending, from any shard. */

int sequencer_send(struct shard *shard, struct bytes nsp, struct broadcast *broadcast)
{
    if (broadcast == NULL) {
        return STATUS_NOMEM;
    }
    struct sequencer_publish *msg = sequencer_publish_new();
    msg->nsp = buf_new_name(nsp);
    msg->broadcast = broadcast;
    msg_send_home(shard->sched, msg);
    return 0;
}

void sequencer_register(struct shard *shard, struct bytes nsp, struct bytes name, bool on)
{
    if (shard->bus == NULL) {
        return;
    }
    struct sequencer_name *msg = sequencer_name_new();
    msg->nsp = buf_new_name(nsp);
    msg->name = buf_new_name(name);
    msg->on = on;
    msg_send_home(shard->sched, msg);
}

void sequencer_lose(struct shard *shard, struct bytes nsp, struct bytes name, unsigned index)
{
    struct sequencer_lost *msg = sequencer_lost_new();
    msg->nsp = buf_new_name(nsp);
    msg->name = buf_new_name(name);
    msg->shard = index;
    msg_send_home(shard->sched, msg);
}

/* Interest. */

static void on_attach(struct sequencer *sequencer, struct sequencer_attach *msg)
{
    sequencer->fanouts[msg->fanout.shard] = msg->fanout;
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
    if (!put || !subscribe(sequencer, name, true)) {
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
static void settle(struct sequencer *sequencer, struct interest *interest)
{
    if (interest != NULL && interest->shards == 0 && !interest->named) {
        struct bytes name = interest_key(interest);
        size_t table = map_bytes(&sequencer->interests);
        (void)subscribe(sequencer, name, false);
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

static void on_interest(struct sequencer *sequencer, struct sequencer_interest *msg)
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
        settle(sequencer, interest);
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

static void on_name(struct sequencer *sequencer, struct sequencer_name *msg)
{
    struct bytes name = buf_bytes(msg->name);
    struct interest *interest = interest_in(sequencer, name, msg->on);
    if (interest == NULL) {
        if (msg->on) {
            sequencer_lose_here(sequencer, name, sequencer_shards_of_name(sequencer, name));
        }
        return;
    }
    interest->named = msg->on;
    settle(sequencer, interest);
}

static void on_lost(struct sequencer *sequencer, struct sequencer_lost *msg)
{
    sequencer_lose_here(sequencer, buf_bytes(msg->name), UINT64_C(1) << msg->shard);
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

/* Publishing. */

static uint64_t shards_of(struct sequencer *sequencer, const struct broadcast *broadcast)
{
    if (broadcast->room_count == 0 || sequencer->recovers) {
        return UINT64_MAX;
    }
    uint64_t shards = 0;
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        shards |= sequencer_shards_of_name(sequencer, broadcast_rooms(broadcast)[i]);
    }
    return shards;
}

void sequencer_deliver(struct sequencer *sequencer, struct broadcast *broadcast, bool from_bus)
{
    struct sched *sched = sequencer->actor.sched;
    uint64_t shards = shards_of(sequencer, broadcast);
    broadcast->number = ++sequencer->number;
    bool sent = false;
    for (unsigned i = 0; i < actor_system_shards(sched_system(sched)); i++) {
        if (!(shards & UINT64_C(1) << i) || !ref_is_set(sequencer->fanouts[i])) {
            continue;
        }
        sent = true;
        if (from_bus) {
            struct fanout_bus_event *msg = fanout_bus_event_new();
            msg->broadcast = broadcast_ref(broadcast);
            msg_send(sched, sequencer->fanouts[i], msg);
        } else {
            struct fanout_event *msg = fanout_event_new();
            msg->broadcast = broadcast_ref(broadcast);
            msg_send(sched, sequencer->fanouts[i], msg);
        }
    }
    if (!sent) {
        shard_of(&sequencer->actor)->stats.unmatched++;
    }
    broadcast_unref(broadcast);
}

void sequencer_bus_publish(struct sequencer *sequencer, struct bytes channel, struct bytes payload)
{
    if (sequencer->sender == NULL) {
        return;
    }
    const struct bytes argv[] = {BYTES("PUBLISH"), channel, payload};
    shard_of(&sequencer->actor)
        ->bus->ops->command(
            sequencer->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, NULL, NULL);
}

void sequencer_bus_broadcast(struct sequencer *sequencer, const struct broadcast *broadcast)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    struct builder uid = {0};
    bus_origin_write_uid(shard_of(&sequencer->actor), &uid);
    struct adapter_emit emit = sequencer_emit_of(sequencer, broadcast, builder_bytes(&uid));
    struct builder channel = {.max = CHANNEL_MAX};
    struct builder payload = {0};
    adapter_emit_channel(&emit, bytes_str(config->adapter_key), &channel);
    if (adapter_broadcast_encode(&emit, &payload) == 0 && !builder_failed(&channel)) {
        sequencer_bus_publish(sequencer, builder_bytes(&channel), builder_bytes(&payload));
    } else {
        shard_count_unencoded(shard_of(&sequencer->actor), broadcast->event->name,
            WIRE_FORMAT_COUNT, STATUS_TOO_LARGE);
    }
    builder_reset(&uid);
    builder_reset(&channel);
    builder_reset(&payload);
}

static void on_publish(struct sequencer *sequencer, struct sequencer_publish *msg)
{
    struct broadcast *broadcast = msg->broadcast;
    msg->broadcast = NULL;
    if (sequencer->link != NULL && !broadcast->local) {
        if (sequencer_stream_post(sequencer, broadcast)) {
            return;
        }
        sequencer_bus_broadcast(sequencer, broadcast);
    }
    sequencer_deliver(sequencer, broadcast, false);
}

/* Requests, of other nodes and to them. */

static void on_request(struct sequencer *sequencer, struct sequencer_request *msg)
{
    struct builder channel = {0};
    sequencer_requests_channel(sequencer, &channel);
    sequencer_bus_publish(sequencer, builder_bytes(&channel), buf_bytes(msg->payload));
    builder_reset(&channel);
}

static void on_part(struct sequencer *sequencer, struct sequencer_part *msg)
{
    sequencer_requests_part(sequencer, msg);
}

static void on_acked(struct sequencer *sequencer, struct sequencer_acked *msg)
{
    sequencer_requests_acked(sequencer, msg);
}

/* The bus. */

static void on_bus_up(void *context)
{
    (void)context;
}

/* Nothing is confirmed any more; who waited is let through: local events come in any case. */
static void on_bus_down(void *context)
{
    struct sequencer *sequencer = context;
    size_t cursor = 0;
    for (struct interest *interest;
         (interest = map_next(&sequencer->interests, &cursor)) != NULL;) {
        interest->confirmed = false;
        release_waiters(sequencer, interest);
    }
}

static void on_bus_subscribed(void *context, struct bytes channel)
{
    struct sequencer *sequencer = context;
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    enum adapter_channel kind;
    struct bytes nsp;
    struct bytes room;
    if (adapter_channel_parse(bytes_str(config->adapter_key), channel, &kind, &nsp, &room) != 0) {
        return;
    }
    struct interest *interest =
        kind == ADAPTER_BROADCAST ? map_get(&sequencer->interests, room) : NULL;
    if (interest != NULL) {
        interest->confirmed = true;
        release_waiters(sequencer, interest);
    }
}

static void take_broadcast(struct sequencer *sequencer, struct bytes room, struct bytes payload)
{
    struct adapter_broadcast message;
    int status = adapter_broadcast_decode(payload, &message);
    if (status != 0) {
        shard_count_bus_refused(shard_of(&sequencer->actor), bytes_of("", 0), status);
        return;
    }
    if (!sequencer_is_news(sequencer, &message, room)) {
        return;
    }
    struct broadcast *broadcast = sequencer_read_broadcast(sequencer, &message);
    if (broadcast != NULL) {
        sequencer_deliver(sequencer, broadcast, true);
    }
}

static void on_bus_message(void *context, struct bytes channel, struct bytes payload)
{
    struct sequencer *sequencer = context;
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    enum adapter_channel kind;
    struct bytes nsp;
    struct bytes room;
    if (adapter_channel_parse(bytes_str(config->adapter_key), channel, &kind, &nsp, &room) != 0) {
        return;
    }
    if (kind == ADAPTER_REQUEST) {
        sequencer_requests_take(sequencer, payload);
    } else {
        take_broadcast(sequencer, room, payload); /* to its rooms, not the channel's (wire 4.1) */
    }
}
