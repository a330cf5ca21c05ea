/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actor of a room: it counts members by shard, and has their joins answered when events are
 * certain to come.
 *
 * Order of this file: life, joining, leaving, what the others are told.
 */
#include "actors/rooms/room.h"

#include "actors/behaviours.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/leaf.h"
#include "actors/deliver/owner.h"
#include "actors/deliver/socket.h"
#include "actors/order/sequencer.h"
#include "actors/room_proto.h"
#include "actors/sequencer_proto.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/server_events.h"

/* A JOIN whose shard has no interest yet. */
struct held_join {
    struct list link; /* room.held */
    struct room_join *join;
};

/* The room's members on one shard, and whether events are certain to come to them. */
struct share {
    uint32_t members;
    uint32_t serial; /* of the last request for interest */
    bool asked; /* for interest, and it was not refused */
    bool interested;
};

struct room {
    struct actor actor;
    struct buf *key;
    uint32_t members;
    bool presence; /* the others are told, unless a JOIN said that the room's type has none */
    struct list held; /* JOINs */
    struct share shares[]; /* by shard */
};

static void free_room(struct actor *actor);
static struct actor *spawn_room(struct sched *sched, struct bytes key);
static void refuse_unborn(struct sched *sched, struct msg *msg);
static struct bytes room_key(const void *room);

PROTOCOL_DEFINE(ROOM, room)

const struct behaviour room_behaviour = {
    PROTOCOL_BEHAVIOUR(ROOM, room),
    .id = BEHAVIOUR_ROOM,
    .key_of = room_key,
    .spawn = spawn_room,
    .unborn = refuse_unborn,
    .destroy = free_room,
};

size_t room_cost(unsigned shards)
{
    return mem_cost(sizeof(struct room) + shards * sizeof(struct share));
}

/* Life. The key is "namespace,room": a namespace holds no comma. */

static struct bytes room_key(const void *room)
{
    return buf_bytes(((const struct room *)room)->key);
}

static struct bytes nsp_of_key(struct bytes key)
{
    const char *comma = memchr(key.at, ',', key.len);
    return bytes_of(key.at, (size_t)(comma - key.at));
}

static struct bytes nsp_of(const struct room *room)
{
    return nsp_of_key(buf_bytes(room->key));
}

static struct bytes name_of(const struct room *room)
{
    return bytes_skip(buf_bytes(room->key), nsp_of(room).len + 1);
}

struct buf *room_key_new(struct bytes nsp, struct bytes room)
{
    struct builder key = {0};
    builder_add(&key, nsp);
    builder_byte(&key, ',');
    builder_add(&key, room);
    struct buf *buf = builder_finish(&key);
    CHECK(buf != NULL);
    return buf;
}

static struct actor *spawn_room(struct sched *sched, struct bytes key)
{
    unsigned shards = actor_system_shards(sched_system(sched));
    struct room *room = mem_try_calloc(1, sizeof(*room) + shards * sizeof(room->shares[0]));
    if (room == NULL) {
        return NULL;
    }
    room->key = buf_new_name(key);
    room->presence = true;
    list_init(&room->held);
    if (!actor_start(&room->actor, &room_behaviour, sched)) {
        buf_unref(room->key);
        mem_free(room);
        return NULL;
    }
    shard_of(&room->actor)->stats.rooms++;
    return &room->actor;
}

static void free_room(struct actor *actor)
{
    struct room *room = (struct room *)(void *)actor;
    shard_of(actor)->stats.rooms--;
    for (struct list *link; (link = list_pop(&room->held)) != NULL;) {
        struct held_join *held = container_of(link, struct held_join, link);
        msg_destroy(&held->join->base);
        mem_free(held);
    }
    buf_unref(room->key);
    mem_free(room);
}

static void send_interest(struct room *room, uint32_t shard, bool on)
{
    struct sequencer_interest *msg = sequencer_interest_new();
    msg->nsp = buf_new_name(nsp_of(room));
    msg->room = buf_new_name(name_of(room));
    msg->reply_to = room->actor.self;
    msg->shard = shard;
    msg->serial = room->shares[shard].serial;
    msg->on = on;
    msg_send_home(room->actor.sched, msg);
}

/* What the others are told. */

void room_publish(struct shard *shard, struct bytes nsp, struct bytes room, struct event *event,
    const struct bytes *except, uint32_t except_count)
{
    if (sequencer_send(shard, nsp, broadcast_new(event, &room, 1, except, except_count)) != 0) {
        shard_count_unencoded(shard, BYTES("(to a room)"), WIRE_FORMAT_COUNT, STATUS_NOMEM);
    }
}

void room_tell(const struct socket *socket, struct bytes room, bool joined)
{
    if (!fanout_has_company(socket, room)) {
        room_tell_user(socket, room, joined);
    }
}

void room_tell_user(const struct socket *socket, struct bytes room, bool joined)
{
    const struct socket_owner *user = owner_find(socket->shard, identity_key(socket->identity));
    if (user == NULL || user->shown != OWNER_SHOWN) {
        return;
    }
    const struct claims *who = identity_claims(socket->identity);
    struct bytes name = wire_name_client(room);
    char at[WIRE_NAME_MAX];
    /* The user's other sockets too: one may have come meanwhile. */
    const struct bytes except[] = {bytes_of(socket->sid, sizeof(socket->sid)),
        wire_name_user(identity_key(socket->identity), at)};
    room_publish(socket->shard, socket_nsp(socket), room,
        joined ? server_events_user_joined(name, claims_user(who), claims_name(who))
               : server_events_user_left(name, claims_user(who), claims_name(who)),
        except, ARRAY_LEN(except));
}

/* Joining. */

static void reply_joined(struct room *room, const struct room_join *join)
{
    if (join->recount) {
        return;
    }
    struct user_joined *msg = user_joined_new();
    msg->socket_id = join->socket_id;
    msg->token = join->token;
    msg->room = buf_ref(room->key);
    msg->presence = room->presence;
    msg_send(room->actor.sched, join->reply_to, msg);
}

static void refuse(struct sched *sched, const struct room_join *join, int status)
{
    struct user_refused *msg = user_refused_new();
    msg->status = status;
    msg->socket_id = join->socket_id;
    msg->token = join->token;
    msg->room = buf_ref(join->key);
    msg_send(sched, join->reply_to, msg);
}

/* A recount has nobody who waits for an answer: the socket that took it goes. */
static void refuse_unborn(struct sched *sched, struct msg *msg)
{
    const struct room_join *join = (const struct room_join *)(const void *)msg;
    if (msg->kind->index != ROOM_JOIN) {
        return;
    }
    if (!join->recount) {
        refuse(sched, join, STATUS_NOMEM);
        return;
    }
    struct bytes nsp = nsp_of_key(buf_bytes(join->key));
    struct bytes name = bytes_skip(buf_bytes(join->key), nsp.len + 1);
    sequencer_lose(sched_user(sched), nsp, name, join->reply_to.shard);
}

static void on_join(struct room *room, struct room_join *msg)
{
    if (msg->max_members > 0 && room->members >= msg->max_members) {
        refuse(room->actor.sched, msg, STATUS_FULL);
        return;
    }
    uint32_t shard = msg->reply_to.shard;
    struct share *share = &room->shares[shard];
    room->presence = room->presence && msg->presence;
    room->members++;
    share->members++;
    if (!share->asked) {
        share->asked = true;
        share->serial++;
        send_interest(room, shard, true);
    }
    if (share->interested) {
        reply_joined(room, msg);
        return;
    }
    struct held_join *held = mem_alloc(sizeof(*held));
    held->join = room_join_new();
    struct msg base = held->join->base;
    *held->join = *msg;
    held->join->base = base;
    msg->key = NULL;
    list_append(&room->held, &held->link);
}

/* There was no memory for the interest. Who has a seat leaves it when its socket is closed. */
static void turn_away(struct room *room, const struct room_join *join)
{
    if (!join->recount) {
        room->members--;
        room->shares[join->reply_to.shard].members--;
        refuse(room->actor.sched, join, STATUS_NOMEM);
    }
}

static void on_interested(struct room *room, struct room_interested *msg)
{
    struct share *share = &room->shares[msg->shard];
    if (share->members == 0 || share->serial != msg->serial) {
        return; /* they left meanwhile, and the interest with them */
    }
    share->asked = !msg->failed;
    share->interested = !msg->failed;
    list_for_each_safe (link, following, &room->held) {
        struct held_join *held = container_of(link, struct held_join, link);
        if (held->join->reply_to.shard != msg->shard) {
            continue;
        }
        list_remove(link);
        if (msg->failed) {
            turn_away(room, held->join);
        } else {
            reply_joined(room, held->join);
        }
        msg_destroy(&held->join->base);
        mem_free(held);
    }
    if (room->members == 0) {
        actor_stop(&room->actor);
    }
}

/* Leaving. */

static void on_leave(struct room *room, struct room_leave *msg)
{
    struct share *share = &room->shares[msg->shard];
    if (share->members == 0) {
        return;
    }
    room->members--;
    if (--share->members == 0) {
        share->asked = false;
        share->interested = false;
        send_interest(room, msg->shard, false);
    }
    if (room->members == 0) {
        actor_stop(&room->actor);
    }
}

void room_send_leave(struct shard *shard, struct bytes nsp, struct bytes room)
{
    struct room_leave *msg = room_leave_new();
    msg->key = room_key_new(nsp, room);
    msg->shard = sched_shard(shard->sched);
    msg_send_home(shard->sched, msg);
}

void room_on_gone(struct socket *socket, const struct membership *membership, bool kept)
{
    struct bytes room = leaf_name(membership->leaf);
    if (!kept) {
        room_send_leave(socket->shard, socket_nsp(socket), room);
    }
    if (membership->presence) {
        room_tell(socket, room, false);
    }
}

void room_recount(struct shard *shard, struct bytes nsp, struct bytes room)
{
    struct room_join *msg = room_join_new();
    msg->key = room_key_new(nsp, room);
    msg->reply_to.shard = (uint16_t)sched_shard(shard->sched);
    msg->recount = true;
    msg->presence = true;
    msg_send_home(shard->sched, msg);
}
