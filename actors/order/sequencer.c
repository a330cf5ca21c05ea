/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actor of a namespace: what shards tell it and what comes from the bus, each handed to the
 * file that deals with it.
 *
 * Order of this file: life, sending, interest, publishing, requests, the bus.
 */
#include "actors/order/sequencer.h"

#include "actors/behaviours.h"
#include "actors/bus.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_actor.h"
#include "actors/room_proto.h"
#include "actors/wire_name.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"

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
    sequencer_interest_init(sequencer);
    sequencer_requests_init(sequencer);
    sequencer->recovers =
        shard->config->recovers != NULL && shard->config->recovers(shard->config->context, key);
    sequencer->remembers = shard->config->memory.age_ms > 0;
    sequencer->born_ms = sched_wall(sched) > 0 ? sched_wall(sched) : 1;
    CHECK(actor_start(&sequencer->actor, &sequencer_behaviour, sched)); /* as the node starts */
    if (shard->bus != NULL) {
        sequencer->link = shard->bus->ops->open(shard->bus, "sequencer", &bus_events, sequencer);
        sequencer->sender = shard->bus->ops->open(shard->bus, "publisher", &no_events, sequencer);
        CHECK(sequencer_interest_subscribe(sequencer, bytes_of(NULL, 0), true));
        subscribe_requests(sequencer);
        sequencer_kept_start(sequencer);
        sequencer_stream_start(sequencer);
    }
    return &sequencer->actor;
}

static void close_link(struct sequencer *sequencer)
{
    if (sequencer->link != NULL) {
        const struct bus_ops *ops = shard_of(&sequencer->actor)->bus->ops;
        sequencer_stream_close(sequencer);
        sequencer_kept_finish(sequencer);
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
    sequencer_interest_finish(sequencer);
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

void sequencer_ask(struct shard *shard, struct bytes nsp, struct buf *payload)
{
    if (shard->bus == NULL) {
        buf_unref(payload);
        return;
    }
    struct sequencer_request *msg = sequencer_request_new();
    msg->nsp = buf_new_name(nsp);
    msg->payload = payload;
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
    if (sequencer->remembers && shard_of(&sequencer->actor)->bus == NULL) {
        struct fanout_stream *begin = fanout_stream_new();
        begin->from.ms = sequencer->born_ms;
        msg_send(sequencer->actor.sched, msg->fanout, begin);
    }
}

static void on_lost(struct sequencer *sequencer, struct sequencer_lost *msg)
{
    sequencer_lose_here(sequencer, buf_bytes(msg->name), UINT64_C(1) << msg->shard);
}

static void on_interest(struct sequencer *sequencer, struct sequencer_interest *msg)
{
    sequencer_interest_shard(sequencer, msg);
}

static void on_name(struct sequencer *sequencer, struct sequencer_name *msg)
{
    sequencer_interest_name(sequencer, buf_bytes(msg->name), msg->on);
}

/* Publishing. */

static void on_publish(struct sequencer *sequencer, struct sequencer_publish *msg)
{
    struct broadcast *broadcast = msg->broadcast;
    msg->broadcast = NULL;
    sequencer_remember(sequencer, broadcast);
    if (sequencer->link != NULL && !broadcast->local) {
        if ((sequencer->recovers || broadcast->remembered ||
                sequencer_kept_orders(sequencer, broadcast) ||
                sequencer_is_behind(sequencer, broadcast)) &&
            sequencer_stream_post(sequencer, broadcast)) {
            return;
        }
        if (sequencer->kept == NULL || broadcast->retain == NULL) { /* else it is posted later */
            sequencer_bus_broadcast(sequencer, broadcast);
        }
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
    sequencer_interest_lost(context);
}

static int parse_channel(const struct sequencer *sequencer, struct bytes channel,
    enum adapter_channel *ret_kind, struct bytes *ret_room)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    struct bytes nsp;
    return adapter_channel_parse(bytes_str(config->adapter_key), channel, ret_kind, &nsp, ret_room);
}

static void on_bus_subscribed(void *context, struct bytes channel)
{
    struct sequencer *sequencer = context;
    enum adapter_channel kind;
    struct bytes room;
    if (parse_channel(sequencer, channel, &kind, &room) != 0) {
        return;
    }
    if (kind == ADAPTER_BROADCAST) {
        sequencer_interest_confirmed(sequencer, room);
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
    struct broadcast *broadcast;
    if (sequencer_read_broadcast(sequencer, &message, &broadcast) == 0) {
        sequencer_deliver(sequencer, broadcast, true);
    }
}

static void on_bus_message(void *context, struct bytes channel, struct bytes payload)
{
    struct sequencer *sequencer = context;
    enum adapter_channel kind;
    struct bytes room;
    if (parse_channel(sequencer, channel, &kind, &room) != 0) {
        return;
    }
    if (kind == ADAPTER_REQUEST) {
        sequencer_requests_take(sequencer, payload);
    } else {
        take_broadcast(sequencer, room, payload); /* to its rooms, not the channel's (wire 4.1) */
    }
}
