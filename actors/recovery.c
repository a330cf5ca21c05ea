/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recoverable belongs to a socket, or is kept, or was claimed and is about to belong to a socket
 * again, within one turn. It is in both maps all the time.
 *
 * Order of this file: life, offsets, rooms, pings, keeping and giving up, claiming, returning, the
 * user.
 */
#include "actors/recovery.h"

#include "actors/fanout.h"
#include "actors/replay.h"
#include "actors/room_proto.h"
#include "actors/sequencer_proto.h"
#include "actors/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"

enum {
    PID_LEN = SOCKET_SID_LEN,
    ENDED_MAX = 64, /* stays that are remembered after they ended */
    TICK_MS = 1000,
};

struct recoverable {
    struct recovery *recovery;
    struct socket *socket; /* NULL while kept or claimed */
    struct identity *identity; /* one reference, without a socket */
    struct user *user; /* while kept; NULL: it ended with the node */
    struct list kept_link; /* recovery.kept */
    struct list user_link; /* user_rare.kept */
    uint64_t due_ms; /* kept until then */
    uint64_t had; /* a number up to which the client has had everything: at first, its start */
    uint64_t pinged; /* the number before the ping that is out */
    uint64_t floor; /* a stay that ended at this number was forgotten */
    uint64_t after; /* claimed: what the client has */
    struct stay *stays;
    uint32_t stay_count;
    uint32_t stay_cap;
    char sid[SOCKET_SID_LEN];
    char pid[PID_LEN];
};

struct recovery {
    struct fanout *fanout;
    struct replay *replay;
    struct map by_sid;
    struct map by_pid;
    struct list kept; /* recoverable.kept_link, by due_ms */
    uint32_t kept_count;
    struct timer tick;
};

/* Life. */

static struct bytes sid_of(const void *recoverable)
{
    return bytes_of(((const struct recoverable *)recoverable)->sid, SOCKET_SID_LEN);
}

static struct bytes pid_of(const void *recoverable)
{
    return bytes_of(((const struct recoverable *)recoverable)->pid, PID_LEN);
}

static const struct actor_config *config_of(const struct recovery *recovery)
{
    return recovery->fanout->shard->config;
}

static uint64_t now_of(const struct recovery *recovery)
{
    return sched_now(recovery->fanout->shard->sched);
}

/* Look again at what is held, as long as anything is. */
static void arm(struct recovery *recovery)
{
    if (!timer_armed(&recovery->tick)) {
        struct sched *sched = recovery->fanout->shard->sched;
        timer_set(sched_timers(sched), &recovery->tick, sched_now(sched) + TICK_MS);
    }
}

static void on_tick(struct timer *timer)
{
    struct recovery *recovery = container_of(timer, struct recovery, tick);
    uint64_t now = now_of(recovery);
    replay_expire(recovery->replay, now);
    while (!list_empty(&recovery->kept)) {
        struct recoverable *first =
            container_of(recovery->kept.next, struct recoverable, kept_link);
        if (first->due_ms > now) {
            break;
        }
        recovery_drop(first);
    }
    if (!replay_is_empty(recovery->replay) || recovery->kept_count > 0) {
        arm(recovery);
    }
}

struct recovery *recovery_create(struct fanout *fanout)
{
    const struct actor_config *config = fanout->shard->config;
    if (config->recovers == NULL || !config->recovers(config->context, fanout_nsp(fanout))) {
        return NULL;
    }
    const struct replay_limits limits = {.age_ms = config->recovery.replay_ms,
        .bytes = config->recovery.bytes,
        .events = config->recovery.events};
    struct recovery *recovery = mem_alloc(sizeof(*recovery));
    recovery->fanout = fanout;
    recovery->replay = replay_create(&limits);
    map_init(&recovery->by_sid, sid_of);
    map_init(&recovery->by_pid, pid_of);
    list_init(&recovery->kept);
    timer_init(&recovery->tick, on_tick);
    return recovery;
}

static void free_recoverable(struct recoverable *recoverable)
{
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        mem_free((char *)(uintptr_t)recoverable->stays[i].name.at);
    }
    mem_free(recoverable->stays);
    list_remove(&recoverable->kept_link);
    list_remove(&recoverable->user_link);
    identity_unref(recoverable->identity);
    mem_free(recoverable);
}

void recovery_destroy(struct recovery *recovery)
{
    if (recovery == NULL) {
        return;
    }
    timer_cancel(sched_timers(recovery->fanout->shard->sched), &recovery->tick);
    size_t cursor = 0;
    for (struct recoverable *each; (each = map_next(&recovery->by_sid, &cursor)) != NULL;) {
        free_recoverable(each);
    }
    map_finish(&recovery->by_sid);
    map_finish(&recovery->by_pid);
    replay_destroy(recovery->replay);
    mem_free(recovery);
}

/* What belongs to `socket`; NULL: it is not recovered. */
static struct recoverable *find(const struct socket *socket)
{
    if (socket->fanout == NULL || socket->fanout->recovery == NULL) {
        return NULL;
    }
    struct bytes sid = bytes_of(socket->sid, SOCKET_SID_LEN);
    struct recoverable *found = map_get(&socket->fanout->recovery->by_sid, sid);
    return found != NULL && found->socket == socket ? found : NULL;
}

struct bytes recovery_pid(const struct socket *socket)
{
    const struct recoverable *found = find(socket);
    return found != NULL ? pid_of(found) : bytes_of(NULL, 0);
}

struct bytes recovery_sid(const struct recoverable *recoverable)
{
    return sid_of(recoverable);
}

/* Offsets. */

/* The event with the offset of `number`; NULL without memory. */
static struct event *mark(
    const struct recovery *recovery, const struct event *event, uint64_t number)
{
    char at[REPLAY_OFFSET_MAX];
    struct bytes offset = replay_write_offset(recovery->replay, number, at);
    struct event *marked;
    return event_append_text(event, offset, &marked) == 0 ? marked : NULL;
}

struct event *recovery_mark(struct recovery *recovery, struct broadcast *broadcast)
{
    uint64_t number = replay_add(recovery->replay, broadcast, now_of(recovery));
    arm(recovery);
    return mark(recovery, broadcast->event, number);
}

static uint64_t add_direct(struct recoverable *recoverable, const struct event *event)
{
    struct recovery *recovery = recoverable->recovery;
    arm(recovery);
    return replay_add_direct(
        recovery->replay, sid_of(recoverable), (struct event *)(uintptr_t)event, now_of(recovery));
}

struct event *recovery_mark_direct(const struct socket *socket, const struct event *event)
{
    struct recoverable *found = find(socket);
    return found != NULL ? mark(found->recovery, event, add_direct(found, event)) : NULL;
}

void recovery_note_all(struct user *user, struct bytes nsp, const struct event *event)
{
    if (user->rare == NULL) {
        return;
    }
    list_for_each (link, &user->rare->kept) {
        struct recoverable *kept = container_of(link, struct recoverable, user_link);
        if (bytes_eq(fanout_nsp(kept->recovery->fanout), nsp)) {
            add_direct(kept, event);
        }
    }
}

/* Rooms. */

static void remove_stay(struct recoverable *recoverable, uint32_t index)
{
    mem_free((char *)(uintptr_t)recoverable->stays[index].name.at);
    recoverable->stay_count--;
    memmove(&recoverable->stays[index], &recoverable->stays[index + 1],
        (recoverable->stay_count - index) * sizeof(struct stay));
}

static bool is_over(const struct stay *stay)
{
    return stay->to != UINT64_MAX;
}

void recovery_joined(struct socket *socket, struct bytes room)
{
    struct recoverable *found = find(socket);
    if (found == NULL) {
        return;
    }
    if (found->stay_count == found->stay_cap) {
        found->stay_cap = found->stay_cap > 0 ? found->stay_cap * 2 : 2;
        found->stays = mem_realloc_array(found->stays, found->stay_cap, sizeof(struct stay));
    }
    found->stays[found->stay_count++] =
        (struct stay){.name = bytes_of(mem_dup(room.at, room.len), room.len),
            .from = replay_last(found->recovery->replay),
            .to = UINT64_MAX};
}

/* Forget the first stay that ended, when there are too many. */
static void trim_stays(struct recoverable *recoverable)
{
    uint32_t ended = 0;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        if (is_over(&recoverable->stays[i])) {
            ended++;
            bool earlier =
                first == UINT32_MAX || recoverable->stays[i].to < recoverable->stays[first].to;
            first = earlier ? i : first;
        }
    }
    if (ended > ENDED_MAX) {
        recoverable->floor = recoverable->stays[first].to;
        remove_stay(recoverable, first);
    }
}

static struct stay *current_stay(struct recoverable *recoverable, struct bytes room)
{
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        struct stay *stay = &recoverable->stays[i];
        if (!is_over(stay) && bytes_eq(stay->name, room)) {
            return stay;
        }
    }
    return NULL;
}

static void end_stay(struct recoverable *recoverable, struct bytes room)
{
    struct stay *stay = current_stay(recoverable, room);
    if (stay != NULL) {
        stay->to = replay_last(recoverable->recovery->replay);
        trim_stays(recoverable);
    }
}

void recovery_left(struct socket *socket, struct bytes room)
{
    struct recoverable *found = find(socket);
    if (found != NULL) {
        end_stay(found, room);
    }
}

/* Pings. */

void recovery_pinged(struct socket *socket)
{
    struct recoverable *found = find(socket);
    if (found != NULL) {
        fanout_catch_up(socket->fanout, socket);
        found->pinged = replay_last(found->recovery->replay);
    }
}

void recovery_ponged(struct socket *socket)
{
    struct recoverable *found = find(socket);
    if (found != NULL) {
        found->had = found->pinged;
    }
}

/* Keeping and giving up. */

static void forget(struct recoverable *recoverable)
{
    struct recovery *recovery = recoverable->recovery;
    map_remove(&recovery->by_sid, sid_of(recoverable));
    map_remove(&recovery->by_pid, pid_of(recoverable));
    free_recoverable(recoverable);
}

static void unlink_kept(struct recoverable *recoverable)
{
    if (!list_empty(&recoverable->kept_link)) {
        list_remove(&recoverable->kept_link);
        recoverable->recovery->kept_count--;
    }
}

/* The user has one kept socket less: it may have been the last that held the actor. */
static void leave_user(struct recoverable *recoverable)
{
    list_remove(&recoverable->user_link);
    if (recoverable->user != NULL) {
        struct shard *shard = recoverable->recovery->fanout->shard;
        struct user_detached *msg = user_detached_new();
        msg->reason = CLOSE_TRANSPORT;
        msg_send(shard->sched, recoverable->user->actor.self, msg);
        recoverable->user = NULL;
    }
}

void recovery_drop(struct recoverable *recoverable)
{
    if (recoverable == NULL) {
        return;
    }
    struct fanout *fanout = recoverable->recovery->fanout;
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        if (!is_over(&recoverable->stays[i])) {
            room_send_leave(fanout->shard, fanout_nsp(fanout), recoverable->stays[i].name);
        }
    }
    sequencer_register(fanout->shard, fanout_nsp(fanout), sid_of(recoverable), false);
    unlink_kept(recoverable);
    leave_user(recoverable);
    forget(recoverable);
}

/* What is known of a room only as long as the socket is a member. */
static void note_membership(struct recoverable *recoverable, const struct membership *membership)
{
    const struct socket *socket = recoverable->socket;
    const struct actor_config *config = config_of(recoverable->recovery);
    struct bytes room = leaf_name(membership->leaf);
    struct stay *stay = current_stay(recoverable, room);
    struct room_rules rules;
    CHECK(stay != NULL);
    stay->loud = membership->loud;
    stay->granted =
        config->room_access(config->context, socket->identity, wire_name_client(room), &rules) == 0;
}

bool recovery_keep(struct socket *socket, bool clean)
{
    struct recoverable *found = find(socket);
    if (found == NULL) {
        return false;
    }
    if (clean || socket->user == NULL) {
        forget(found);
        return false;
    }
    struct recovery *recovery = found->recovery;
    for (uint32_t i = 0; i < socket->membership_count; i++) {
        note_membership(found, &socket->memberships[i]);
    }
    found->socket = NULL;
    found->identity = identity_ref(socket->identity);
    found->user = socket->user;
    found->due_ms = now_of(recovery) + config_of(recovery)->recovery.age_ms;
    list_append(&user_rare(socket->user)->kept, &found->user_link);
    list_append(&recovery->kept, &found->kept_link);
    if (++recovery->kept_count > config_of(recovery)->recovery.sessions) {
        recovery_drop(container_of(recovery->kept.next, struct recoverable, kept_link));
    }
    arm(recovery);
    return true;
}

/* Claiming. */

static struct bytes owner_of(const struct recoverable *recoverable)
{
    const struct socket *socket = recoverable->socket;
    return identity_key(socket != NULL ? socket->identity : recoverable->identity);
}

/* The client has left its old connection, whatever that seems to be: it ends now. */
static bool end_socket(struct recoverable *recoverable)
{
    struct socket *socket = recoverable->socket;
    if (socket->left || socket->user == NULL) {
        return false;
    }
    socket->ops->disconnect(socket, CLOSE_TRANSPORT);
    socket_detach(socket, CLOSE_TRANSPORT);
    return true;
}

static struct replay_reader reader_of(const struct recoverable *recoverable, char *user_at)
{
    return (struct replay_reader){.sid = sid_of(recoverable),
        .user = wire_name_user(owner_of(recoverable), user_at),
        .stays = recoverable->stays,
        .stay_count = recoverable->stay_count,
        .after = recoverable->after};
}

/* Whether the new token allows what the old one did. */
static bool has_rights(const struct recoverable *recoverable, const struct identity *identity)
{
    const struct actor_config *config = config_of(recoverable->recovery);
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        const struct stay *stay = &recoverable->stays[i];
        struct room_rules rules;
        if (stay->granted && !is_over(stay) &&
            config->room_access(config->context, identity, wire_name_client(stay->name), &rules) !=
                0) {
            return false;
        }
    }
    return true;
}

/* Whether the socket can go on exactly where the client stands. */
static bool is_exact(struct recoverable *recoverable, const struct recovery_claim *claim)
{
    const struct recovery *recovery = recoverable->recovery;
    uint64_t number;
    recoverable->after = recoverable->had;
    /* An offset that is not of this log was left in the client by another session. */
    if (replay_read_offset(recovery->replay, claim->offset, &number) == 0 &&
        number > recoverable->had) {
        recoverable->after = number;
    }
    char at[WIRE_NAME_MAX];
    struct replay_reader reader = reader_of(recoverable, at);
    return recoverable->due_ms > now_of(recovery) && recoverable->floor <= recoverable->after &&
           has_rights(recoverable, claim->identity) &&
           replay_is_whole(recovery->replay, &reader, config_of(recovery)->outbox_bytes);
}

struct recoverable *recovery_claim(struct shard *shard, const struct recovery_claim *claim)
{
    struct fanout *fanout = fanout_find(shard, claim->nsp);
    if (fanout == NULL || fanout->recovery == NULL || claim->pid.len == 0) {
        return NULL;
    }
    struct recoverable *found = map_get(&fanout->recovery->by_pid, claim->pid);
    if (found == NULL || !bytes_eq(owner_of(found), identity_key(claim->identity)) ||
        (found->socket != NULL && !end_socket(found))) {
        return NULL;
    }
    unlink_kept(found);
    if (!is_exact(found, claim)) {
        recovery_drop(found);
        return NULL;
    }
    return found;
}

/* Returning. */

/* Everything behind `after` as one chunk, which an empty outbox takes whatever its size. */
static void send_missed(const struct recoverable *recoverable, struct socket *socket)
{
    const struct recovery *recovery = recoverable->recovery;
    struct shard *shard = socket->shard;
    char at[WIRE_NAME_MAX];
    struct replay_reader reader = reader_of(recoverable, at);
    struct builder out = {.max = UINT32_MAX};
    uint64_t number = reader.after;
    uint64_t count = 0;
    const struct event *event;
    while ((event = replay_next(recovery->replay, &reader, &number)) != NULL) {
        struct event *marked = mark(recovery, event, number);
        const struct event *sent = marked != NULL ? marked : event;
        count += wire_event(socket->format, socket_nsp(socket), sent, &out) == 0;
        event_unref(marked);
    }
    struct chunk *chunk = count > 0 ? chunk_take(&out) : NULL;
    builder_reset(&out);
    if (chunk == NULL) {
        return;
    }
    if (outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
        shard->stats.deliveries += count;
        shard->stats.replayed += count;
    } else {
        shard->stats.refused++;
    }
    chunk_unref(chunk);
}

static void rejoin(struct recoverable *recoverable, struct socket *socket)
{
    struct fanout *fanout = socket->fanout;
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        const struct stay *stay = &recoverable->stays[i];
        if (is_over(stay) || !fanout_join(fanout, socket, stay->name)) {
            continue;
        }
        if (stay->loud) {
            fanout_membership(fanout, socket, stay->name)->loud = true;
            room_tell(socket->shard, socket, stay->name, "user_joined_room");
        }
    }
}

static void resume(struct recoverable *recoverable, struct socket *socket)
{
    send_missed(recoverable, socket);
    rejoin(recoverable, socket);
    leave_user(recoverable);
    identity_unref(recoverable->identity);
    recoverable->identity = NULL;
    recoverable->socket = socket;
    socket->shard->stats.recovered++;
}

void recovery_enter(struct socket *socket, struct recoverable *claimed)
{
    struct recovery *recovery = socket->fanout->recovery;
    if (claimed != NULL) {
        resume(claimed, socket);
        return;
    }
    if (recovery == NULL || !recovery_marks((enum wire_format)socket->format)) {
        return;
    }
    struct recoverable *made = mem_alloc(sizeof(*made));
    made->recovery = recovery;
    made->socket = socket;
    made->had = replay_last(recovery->replay);
    made->pinged = made->had;
    list_init(&made->kept_link);
    list_init(&made->user_link);
    memcpy(made->sid, socket->sid, SOCKET_SID_LEN);
    wire_sid_make(sched_shard(socket->shard->sched), made->pid);
    map_put(&recovery->by_sid, made);
    map_put(&recovery->by_pid, made);
}

/* The user. */

bool recovery_has_kept(const struct user *user)
{
    return user->rare != NULL && !list_empty(&user->rare->kept);
}

void recovery_user_gone(struct user *user)
{
    for (struct list *link; recovery_has_kept(user);) {
        link = list_pop(&user->rare->kept);
        container_of(link, struct recoverable, user_link)->user = NULL;
    }
}

void recovery_expel(struct user *user, struct bytes room)
{
    if (user->rare == NULL) {
        return;
    }
    list_for_each_safe (link, following, &user->rare->kept) {
        struct recoverable *kept = container_of(link, struct recoverable, user_link);
        const struct fanout *fanout = kept->recovery->fanout;
        if (room.len == 0) {
            recovery_drop(kept);
        } else if (current_stay(kept, room) != NULL) {
            end_stay(kept, room);
            room_send_leave(fanout->shard, fanout_nsp(fanout), room);
        }
    }
}
