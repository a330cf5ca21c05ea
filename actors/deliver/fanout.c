/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in which room on this shard, and the way of a numbered event to their outboxes, at once or
 * with its window.
 *
 * Order of this file: start, membership, catch-up, when windows leave, delivery of a broadcast.
 */
#include "actors/deliver/fanout.h"

#include "actors/behaviours.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/deliver/owner.h"
#include "actors/deliver/retained.h"
#include "actors/identity.h"
#include "actors/sequencer_proto.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum {
    WINDOW_EVENTS_MAX = 16384,
    WINDOW_BYTES_MAX = 64 << 10, /* well below what an outbox holds */
    BIG_ROOM = 1024, /* local members; flushing as many counts once more in the tick */
};

static void free_fanout(struct actor *actor);

PROTOCOL_DEFINE(FANOUT, fanout)

const struct behaviour fanout_behaviour = {
    PROTOCOL_BEHAVIOUR(FANOUT, fanout),
    .id = BEHAVIOUR_FANOUT,
    .shed_bound = FANOUT_SHED_BOUND,
    .destroy = free_fanout,
};

static struct bytes leaf_key(const void *leaf)
{
    return leaf_name(leaf);
}

/*
 * What waited leaves, and counts in the new tick: a room that stays dense is flushed once a tick,
 * and one that has become sparse is instant again.
 */
static void on_tick(struct timer *timer)
{
    struct fanout *fanout = container_of(timer, struct fanout, tick);
    const struct actor_config *config = fanout->shard->config;
    list_for_each (link, &fanout->waiting) {
        struct leaf *leaf = container_of(link, struct leaf, dirty_link);
        leaf->tick = sched_now(fanout->shard->sched) / config->tick_ms;
        leaf->sent = 0; /* the flush adds what it sends */
    }
    list_splice(&fanout->due, &fanout->waiting);
}

struct fanout *fanout_start(struct shard *shard, struct bytes nsp)
{
    struct fanout *fanout = mem_alloc(sizeof(*fanout) + nsp.len);
    fanout->shard = shard;
    fanout->nsp_len = (uint32_t)nsp.len;
    memcpy(fanout->nsp_at, nsp.at, nsp.len);
    fanout->leaves.shard = shard;
    fanout->leaves.nsp = fanout_nsp(fanout);
    map_init(&fanout->leaves.map, leaf_key);
    list_init(&fanout->due);
    list_init(&fanout->waiting);
    timer_init(&fanout->tick, on_tick);
    if (shard->config->retain.bytes > 0 && bytes_eq(nsp, BYTES("/"))) { /* where backends post */
        fanout->retained = retained_create(shard, sched_shard(shard->sched) == 0);
    }
    fanout->leaves.everyone = leaf_create(&fanout->leaves, bytes_of(NULL, 0));
    list_append(&shard->fanouts, &fanout->shard_link);
    bool started = actor_start(&fanout->actor, &fanout_behaviour, shard->sched);
    CHECK(fanout->leaves.everyone != NULL && started); /* as the node starts */
    return fanout;
}

static void free_fanout(struct actor *actor)
{
    struct fanout *fanout = (struct fanout *)(void *)actor;
    if (fanout->watch != NULL) {
        fanout->watch->ops->destroy(fanout->watch);
    }
    timer_cancel(sched_timers(fanout->shard->sched), &fanout->tick);
    if (fanout->ops != NULL) {
        fanout->ops->finish(fanout);
    }
    retained_destroy(fanout->retained);
    size_t cursor = 0;
    for (struct leaf *leaf; (leaf = map_next(&fanout->leaves.map, &cursor)) != NULL;) {
        leaf_destroy(leaf);
    }
    leaf_destroy(fanout->leaves.everyone);
    map_finish(&fanout->leaves.map);
    list_remove(&fanout->shard_link);
    mem_free(fanout);
}

struct fanout *fanout_find(struct shard *shard, struct bytes nsp)
{
    list_for_each (link, &shard->fanouts) {
        struct fanout *fanout = container_of(link, struct fanout, shard_link);
        if (bytes_eq(fanout_nsp(fanout), nsp)) {
            return fanout;
        }
    }
    return NULL;
}

void fanout_register(struct shard *shard, struct bytes nsp, struct bytes name, bool on)
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

/* Membership. */

static struct membership *membership_of(const struct socket *socket, const struct leaf *leaf)
{
    for (uint32_t i = 0; i < socket->membership_count; i++) {
        if (socket->memberships[i].leaf == leaf) {
            return &socket->memberships[i];
        }
    }
    return NULL;
}

bool fanout_enter(struct fanout *fanout, struct socket *socket)
{
    if (!leaf_reserve(fanout->leaves.everyone)) {
        return false;
    }
    socket->fanout = fanout;
    leaf_pass_over(&fanout->leaves, socket);
    socket->everyone_index = leaf_add(fanout->leaves.everyone, socket);
    return true;
}

static void drop_empty_leaf(struct fanout *fanout, struct leaf *leaf)
{
    if (leaf->window != NULL && leaf->count == 0) {
        fanout->leaves.dirty--;
    }
    if (leaf->count == 0) {
        map_remove(&fanout->leaves.map, leaf_name(leaf));
        leaf_destroy(leaf);
    }
}

static void free_unused(struct socket *socket)
{
    if (socket->membership_count == 0) {
        mem_free(socket->memberships);
        socket->memberships = NULL;
    }
}

/* Take the socket out of the leaf and drop the membership, which moves the last one in its place.
 */
static void remove_membership(
    struct fanout *fanout, struct socket *socket, struct membership *membership)
{
    struct leaf *leaf = membership->leaf;
    struct socket *moved = leaf_remove(leaf, membership->index);
    if (moved != NULL) {
        membership_of(moved, leaf)->index = membership->index;
    }
    *membership = socket->memberships[--socket->membership_count];
    free_unused(socket);
    drop_empty_leaf(fanout, leaf);
}

bool fanout_has_company(const struct socket *socket, struct bytes room)
{
    /* A socket that comes back is its user's only when its memberships are there again. */
    const struct socket_owner *user = owner_find(socket->shard, identity_key(socket->identity));
    if (user == NULL) {
        return false;
    }
    list_for_each (link, &user->sockets) {
        struct socket *other = container_of(link, struct socket, user_link);
        const struct membership *membership = NULL;
        if (other != socket && other->fanout == socket->fanout) {
            membership = fanout_membership(other->fanout, other, room);
        }
        if (membership != NULL && membership->presence) {
            return true;
        }
    }
    return false;
}

void fanout_exit(struct fanout *fanout, struct socket *socket, bool kept)
{
    while (socket->membership_count > 0) {
        struct membership *last = &socket->memberships[socket->membership_count - 1];
        fanout->ops->gone(socket, last, kept);
        remove_membership(fanout, socket, last);
    }
    struct socket *moved = leaf_remove(fanout->leaves.everyone, socket->everyone_index);
    if (moved != NULL) {
        moved->everyone_index = socket->everyone_index;
    }
    socket->fanout = NULL;
}

struct membership *fanout_membership(
    const struct fanout *fanout, const struct socket *socket, struct bytes room)
{
    const struct leaf *leaf = map_get(&fanout->leaves.map, room);
    return leaf != NULL ? membership_of(socket, leaf) : NULL;
}

/* Room for one more membership; false: no memory. */
static bool reserve_membership(struct socket *socket)
{
    uint16_t count = socket->membership_count;
    if ((count & (count - 1)) != 0) { /* full when it is 0 or a power of two */
        return true;
    }
    size_t cap = count ? count * 2u : 1u;
    struct membership *memberships =
        mem_try_realloc(socket->memberships, cap * sizeof(*memberships));
    if (memberships == NULL) {
        return false;
    }
    socket->memberships = memberships;
    return true;
}

/* The leaf of `room`, with room for one more member; NULL: no memory. */
static struct leaf *reserve_leaf(struct fanout *fanout, struct bytes room)
{
    struct leaf *leaf = map_get(&fanout->leaves.map, room);
    bool made = leaf == NULL;
    if (made) {
        leaf = leaf_create(&fanout->leaves, room);
    }
    if (leaf == NULL || !leaf_reserve(leaf) || (made && !map_put(&fanout->leaves.map, leaf))) {
        if (made && leaf != NULL) {
            leaf_destroy(leaf);
        }
        return NULL;
    }
    return leaf;
}

int fanout_join(struct fanout *fanout, struct socket *socket, struct bytes room)
{
    if (fanout_membership(fanout, socket, room) != NULL) {
        return STATUS_EXISTS;
    }
    struct leaf *leaf = reserve_membership(socket) ? reserve_leaf(fanout, room) : NULL;
    if (leaf == NULL) {
        free_unused(socket);
        return STATUS_NOMEM;
    }
    leaf_catch_up(&fanout->leaves, socket);
    leaf_pass_over(&fanout->leaves, socket);
    socket->memberships[socket->membership_count++] =
        (struct membership){.leaf = leaf, .index = leaf_add(leaf, socket)};
    if (fanout->watch != NULL) {
        fanout->watch->ops->joined(socket, room);
    }
    return 0;
}

bool fanout_leave(struct fanout *fanout, struct socket *socket, struct bytes room)
{
    struct leaf *leaf = map_get(&fanout->leaves.map, room);
    struct membership *membership = leaf ? membership_of(socket, leaf) : NULL;
    if (membership == NULL) {
        return false;
    }
    leaf_catch_up(&fanout->leaves, socket);
    remove_membership(fanout, socket, membership);
    if (fanout->watch != NULL) {
        fanout->watch->ops->left(socket, room);
    }
    return true;
}

/* When windows leave. */

/* A broadcast on its way, encoded once per format for sockets that are addressed by name. */
struct direct {
    const struct broadcast *broadcast;
    unsigned unmarked; /* set of enum deliver_kind whose mark is still to be made, for the first
                          that wants it */
    struct deliver_marks marks; /* with its offset */
    struct chunk *chunks[WIRE_FORMAT_COUNT];
};

/* Have the marks made that clients of `kinds` get. */
static void make_marks(struct fanout *fanout, struct direct *direct, unsigned kinds)
{
    struct deliver_watch *watch = fanout->watch;
    if (direct->unmarked & kinds & DELIVER_SOCKETIO) {
        direct->marks.socketio = watch->ops->mark(watch, direct->broadcast, DELIVER_SOCKETIO);
    }
    if (direct->unmarked & kinds & DELIVER_PLAIN) {
        direct->marks.plain = watch->ops->mark(watch, direct->broadcast, DELIVER_PLAIN);
    }
    direct->unmarked &= ~kinds;
}

/* The kinds of clients in `leaf`. */
static unsigned kinds_of(const struct leaf *leaf)
{
    uint32_t plain = leaf->by_format[WIRE_JSON] + leaf->by_format[WIRE_MSGPACK];
    return (plain > 0 ? DELIVER_PLAIN : 0u) | (plain < leaf->count ? DELIVER_SOCKETIO : 0u);
}

static void wait_for_tick(struct fanout *fanout, struct leaf *leaf)
{
    list_append(&fanout->waiting, &leaf->dirty_link);
    if (!timer_armed(&fanout->tick)) {
        uint32_t tick_ms = fanout->shard->config->tick_ms;
        uint64_t next = (sched_now(fanout->shard->sched) / tick_ms + 1) * tick_ms;
        timer_set(sched_timers(fanout->shard->sched), &fanout->tick, next);
    }
}

/* What the type of the room says, again when the rules have changed. */
static void ask_rules(struct fanout *fanout, struct leaf *leaf)
{
    struct shard *shard = fanout->shard;
    const struct actor_config *config = shard->config;
    struct room_window_rules rules = {0};
    if ((leaf->asked && leaf->rules == shard->rules) || leaf == fanout->leaves.everyone) {
        return;
    }
    if (config->room_windows != NULL) {
        config->room_windows(config->context, wire_name_client(leaf_name(leaf)), &rules);
    }
    /* Where sockets are recovered each event needs its own offset. */
    bool recovers =
        config->recovers != NULL && config->recovers(config->context, fanout_nsp(fanout));
    leaf->asked = true;
    leaf->rules = shard->rules;
    leaf->batching = (uint8_t)rules.batching;
    leaf->batch_event = rules.batch_event && !recovers;
}

static enum batching_mode batching_of(const struct actor_config *config, const struct leaf *leaf)
{
    switch ((enum room_batching)leaf->batching) {
    case ROOM_BATCHING_ADAPTIVE:
        return BATCHING_ADAPTIVE;
    case ROOM_BATCHING_ALWAYS:
        return BATCHING_ALWAYS;
    case ROOM_BATCHING_OFF:
        return BATCHING_OFF;
    case ROOM_BATCHING_INHERIT:
        break;
    }
    return config->batching;
}

/*
 * Whether the leaf's window has to wait for the tick. Events decide, not flushes: how many come in
 * one turn depends on how long turns take, which depends on how many are flushed.
 */
static bool is_dense(struct fanout *fanout, struct leaf *leaf)
{
    const struct actor_config *config = fanout->shard->config;
    uint64_t tick = sched_now(fanout->shard->sched) / config->tick_ms;
    if (leaf->tick != tick) {
        leaf->tick = tick;
        leaf->sent = 0;
    }
    enum batching_mode batching = batching_of(config, leaf);
    return batching == BATCHING_ALWAYS ||
           (batching == BATCHING_ADAPTIVE && leaf->sent >= config->events_per_tick);
}

static void push(struct fanout *fanout, struct leaf *leaf, struct direct *direct)
{
    if (leaf->count == 0) {
        return;
    }
    const struct broadcast *broadcast = direct->broadcast;
    bool clean = leaf->window == NULL;
    if (clean) { /* a window is sent as it was begun */
        ask_rules(fanout, leaf);
    }
    if (!clean && leaf->window->events[leaf->window->count - 1].number == broadcast->number) {
        return; /* the room was named twice */
    }
    make_marks(fanout, direct, kinds_of(leaf));
    if (!leaf_push(leaf, broadcast->number, broadcast->event, &direct->marks)) {
        leaf_missed(leaf, broadcast->number);
        return;
    }
    fanout->leaves.dirty += clean;
    bool full = leaf->window->count >= WINDOW_EVENTS_MAX || leaf->window->bytes >= WINDOW_BYTES_MAX;
    if ((broadcast->event->flags & EVENT_URGENT) || full) {
        list_remove(&leaf->dirty_link);
        list_append(&fanout->due, &leaf->dirty_link);
    } else if (clean && is_dense(fanout, leaf)) {
        fanout->shard->stats.windowed++;
        wait_for_tick(fanout, leaf);
    } else if (clean) {
        list_append(&fanout->due, &leaf->dirty_link);
    }
}

void fanout_flush(struct fanout *fanout)
{
    for (struct list *link; (link = list_pop(&fanout->due)) != NULL;) {
        struct leaf *leaf = container_of(link, struct leaf, dirty_link);
        leaf->sent += leaf->window->count + leaf->count / BIG_ROOM;
        leaf_flush(leaf);
        fanout->leaves.dirty--;
    }
}

/* Delivery of a broadcast. */

/* NULL: it cannot be encoded, or there is no memory for it (`*ret_starved`). */
static struct chunk *direct_chunk(
    struct fanout *fanout, struct direct *direct, enum wire_format format, bool *ret_starved)
{
    if (direct->chunks[format] == NULL) {
        struct builder out = {.max = UINT32_MAX};
        make_marks(fanout, direct, watch_is_socketio(format) ? DELIVER_SOCKETIO : DELIVER_PLAIN);
        const struct event *event = watch_shown(&direct->marks, direct->broadcast->event, format);
        int status = wire_event(format, fanout_nsp(fanout), event, &out);
        direct->chunks[format] = status == 0 ? chunk_take(&out) : NULL;
        builder_reset(&out);
        if (direct->chunks[format] == NULL) {
            status = status != 0 ? status : STATUS_NOMEM;
            shard_count_unencoded(fanout->shard, event->name, format, status);
            *ret_starved = status == STATUS_NOMEM;
        }
    }
    return direct->chunks[format];
}

static void deliver_direct(struct fanout *fanout, struct socket *socket, void *context)
{
    struct direct *direct = context;
    struct shard *shard = fanout->shard;
    if (socket->sent_through >= direct->broadcast->number || socket->closing) {
        return; /* an exception, or reached by another name already */
    }
    leaf_catch_up(&fanout->leaves, socket);
    if ((direct->broadcast->event->flags & EVENT_VOLATILE) && !outbox_writable(socket->outbox)) {
        shard->stats.volatile_dropped++;
        return;
    }
    bool starved = false;
    struct chunk *chunk = direct_chunk(fanout, direct, socket->format, &starved);
    if (chunk == NULL) {
        if (starved) {
            socket_missed(socket);
        }
        return;
    }
    if (!outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
        shard->stats.refused++;
        return;
    }
    shard->stats.deliveries++;
}

bool fanout_visit_name(
    struct fanout *fanout, struct bytes name, fanout_visit_fn visit, void *context)
{
    struct socket *socket =
        name.len == SOCKET_SID_LEN ? map_get(&fanout->shard->sockets, name) : NULL;
    if (socket != NULL) {
        if (socket->fanout == fanout) {
            visit(fanout, socket, context);
        }
        return true;
    }
    char key[WIRE_KEY_MAX];
    struct bytes user_key;
    if (!wire_name_user_key(name, key, &user_key)) {
        return false;
    }
    struct socket_owner *user = owner_find(fanout->shard, user_key);
    if (user != NULL) {
        list_for_each (link, &user->sockets) {
            socket = container_of(link, struct socket, user_link);
            if (socket->fanout == fanout) {
                visit(fanout, socket, context);
            }
        }
    }
    return true;
}

static void exclude(struct fanout *fanout, struct socket *socket, void *context)
{
    (void)context;
    leaf_catch_up(
        &fanout->leaves, socket); /* sent_through = seen, which is this broadcast's number */
}

static void exclude_name(struct fanout *fanout, struct bytes name)
{
    if (fanout_visit_name(fanout, name, exclude, NULL)) {
        return;
    }
    struct leaf *leaf = map_get(&fanout->leaves.map, name);
    for (uint32_t i = 0; leaf != NULL && i < leaf->count; i++) {
        leaf_catch_up(&fanout->leaves, leaf->members[i]);
    }
}

/* To whom it names: sockets at once, rooms by their leaves. */
static void deliver_named(struct fanout *fanout, struct direct *direct)
{
    const struct bytes *rooms = broadcast_rooms(direct->broadcast);
    uint32_t count = direct->broadcast->room_count;
    for (uint32_t i = 0; i < count; i++) {
        fanout_visit_name(fanout, rooms[i], deliver_direct, direct);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct leaf *leaf = map_get(&fanout->leaves.map, rooms[i]);
        if (leaf != NULL) {
            push(fanout, leaf, direct);
        }
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (direct->chunks[format] != NULL) {
            chunk_unref(direct->chunks[format]);
        }
    }
}

static void deliver_marked(struct fanout *fanout, struct direct *direct)
{
    const struct broadcast *broadcast = direct->broadcast;
    fanout->leaves.seen = broadcast->number;
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        exclude_name(fanout, broadcast_except(broadcast)[i]);
    }
    if (broadcast->room_count == 0) {
        push(fanout, fanout->leaves.everyone, direct);
    } else {
        deliver_named(fanout, direct);
    }
}

/* The marks of what is told late: that it is kept, and for which room. */
static void mark_late(struct direct *direct)
{
    const struct broadcast *broadcast = direct->broadcast;
    struct bytes room = broadcast->room_count == 1 ? broadcast_rooms(broadcast)[0] : BYTES("");
    char at[WIRE_KEY_MAX];
    struct bytes key;
    if (wire_name_user_key(room, at, &key)) {
        room.len = 0;
    }
    direct->marks.plain =
        retained_mark(broadcast->event, wire_name_client(room), bytes_of(NULL, 0));
    direct->marks.socketio = direct->marks.plain != NULL ? event_ref(direct->marks.plain) : NULL;
}

static void deliver(struct fanout *fanout, struct broadcast *broadcast)
{
    fanout->shard->stats.broadcasts++;
    /* Who is excepted, or reached by name, gets what is pending first: up to the number before. */
    struct direct direct = {.broadcast = broadcast};
    if (fanout->retained != NULL && broadcast->retain != NULL) {
        retained_take(fanout->retained, broadcast);
    }
    if (fanout->watch != NULL && (!broadcast->apart || broadcast->late)) {
        direct.unmarked = fanout->watch->ops->numbered(fanout->watch, broadcast);
    }
    if (broadcast->late) {
        mark_late(&direct);
    }
    if (!broadcast->keep_only) {
        deliver_marked(fanout, &direct);
    }
    event_unref(direct.marks.socketio);
    event_unref(direct.marks.plain);
}

static void on_event(struct fanout *fanout, struct fanout_event *msg)
{
    deliver(fanout, msg->broadcast);
}

static void on_bus_event(struct fanout *fanout, struct fanout_bus_event *msg)
{
    deliver(fanout, msg->broadcast);
}

static void on_stream(struct fanout *fanout, struct fanout_stream *msg)
{
    if (fanout->watch != NULL && msg->elsewhere) {
        fanout->watch->ops->strayed(fanout->watch, msg->from);
    } else if (fanout->watch != NULL) {
        fanout->watch->ops->stream_from(fanout->watch, msg->from);
    }
}

static void miss(struct fanout *fanout, struct socket *socket, void *context)
{
    (void)fanout;
    (void)context;
    socket_missed(socket);
}

static void on_lost(struct fanout *fanout, struct fanout_lost *msg)
{
    struct bytes name = buf_bytes(msg->name);
    if (fanout->watch != NULL) {
        fanout->watch->ops->lost(fanout->watch, name);
    }
    struct leaf *leaf = name.len > 0 ? map_get(&fanout->leaves.map, name) : fanout->leaves.everyone;
    if (!fanout_visit_name(fanout, name, miss, NULL) && leaf != NULL) {
        leaf_missed(leaf, UINT64_MAX);
    }
}

static void on_ask(struct fanout *fanout, struct fanout_ask *msg)
{
    fanout->ops->ask(fanout, msg);
}
