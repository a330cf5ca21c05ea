/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recoverable belongs to a socket, or is kept, or was claimed and is about to belong to a socket
 * again, within one turn. It is in both maps all the time.
 *
 * Order of this file: life, events to one, rooms, pings, keeping and giving up, claiming,
 * returning, the user.
 */
#include "actors/recover/recovery.h"

#include "actors/deliver/broadcast.h"
#include "actors/deliver/owner.h"
#include "actors/recover/recovery_state.h"
#include "actors/recover/room_retained.h"
#include "actors/rooms/room.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"

/* Life. */

static struct bytes sid_of(const void *recoverable)
{
    return bytes_of(((const struct recoverable *)recoverable)->sid, SOCKET_SID_LEN);
}

static struct bytes pid_of(const void *recoverable)
{
    return bytes_of(((const struct recoverable *)recoverable)->pid, RECOVERY_PID_LEN);
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
void recovery_arm(struct recovery *recovery)
{
    if (!timer_armed(&recovery->tick)) {
        struct sched *sched = recovery->fanout->shard->sched;
        timer_set(sched_timers(sched), &recovery->tick, sched_now(sched) + RECOVERY_TICK_MS);
    }
}

static void on_tick(struct timer *timer)
{
    struct recovery *recovery = container_of(timer, struct recovery, tick);
    uint64_t now = now_of(recovery);
    replay_expire(recovery->replay, now);
    if (recovery->rooms != NULL) {
        room_memory_expire(recovery->rooms);
    }
    while (!list_empty(&recovery->kept)) {
        struct recoverable *first =
            container_of(recovery->kept.next, struct recoverable, kept_link);
        if (first->due_ms > now) {
            break;
        }
        recovery_drop(first);
    }
    if (recovery->lease != NULL) {
        recovery_lease_tick(recovery->lease, now);
    }
    bool holds = recovery->rooms != NULL && !room_memory_is_empty(recovery->rooms);
    if (holds || !replay_is_empty(recovery->replay) || recovery->kept_count > 0 ||
        recovery->lease != NULL) {
        recovery_arm(recovery);
    }
}

struct recovery *recovery_create(struct fanout *fanout)
{
    const struct actor_config *config = fanout->shard->config;
    bool recovers =
        config->recovers != NULL && config->recovers(config->context, fanout_nsp(fanout));
    if (!recovers && config->memory.age_ms == 0) {
        return NULL;
    }
    const struct replay_limits limits = {.age_ms = config->recovery.replay_ms,
        .bytes = config->recovery.bytes,
        .events = config->recovery.events};
    struct recovery *recovery = mem_alloc(sizeof(*recovery));
    recovery->fanout = fanout;
    recovery->recovers = recovers;
    recovery->replay = replay_create(&limits);
    if (config->memory.age_ms > 0) {
        recovery->rooms = room_memory_create(fanout->shard, recovery->replay);
    }
    map_init(&recovery->by_sid, sid_of);
    map_init(&recovery->by_pid, pid_of);
    list_init(&recovery->kept);
    list_init(&recovery->dirty);
    timer_init(&recovery->tick, on_tick);
    return recovery;
}

static void free_recoverable(struct recoverable *recoverable)
{
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        mem_free((char *)(uintptr_t)recoverable->spans[i].name.at);
    }
    mem_free(recoverable->spans);
    list_remove(&recoverable->kept_link);
    list_remove(&recoverable->member.link);
    list_remove(&recoverable->dirty_link);
    list_remove(&recoverable->user_link);
    buf_unref(recoverable->owner);
    mem_free(recoverable);
}

static void remove_record(const struct recoverable *recoverable)
{
    if (recoverable->recovery->records != NULL) {
        recoverable->recovery->records->remove(recoverable);
    }
}

static void forget(struct recoverable *recoverable)
{
    struct recovery *recovery = recoverable->recovery;
    if (recovery->records != NULL) {
        recovery->records->unlist(recoverable);
    }
    map_remove(&recovery->by_sid, sid_of(recoverable));
    map_remove(&recovery->by_pid, pid_of(recoverable));
    free_recoverable(recoverable);
}

void recovery_stream_from(struct recovery *recovery, struct stream_id from)
{
    replay_stream_from(recovery->replay, from);
    if (recovery->rooms != NULL) {
        room_memory_stream_from(recovery->rooms, from);
    }
}

void recovery_destroy(struct recovery *recovery)
{
    timer_cancel(sched_timers(recovery->fanout->shard->sched), &recovery->tick);
    size_t cursor = 0;
    for (struct recoverable *each; (each = map_next(&recovery->by_sid, &cursor)) != NULL;) {
        free_recoverable(each);
    }
    map_finish(&recovery->by_sid);
    map_finish(&recovery->by_pid);
    room_memory_destroy(recovery->rooms);
    replay_destroy(recovery->replay);
    mem_free(recovery);
}

/* What belongs to `socket`; NULL: it is not recovered. */
static struct recoverable *find(const struct socket *socket)
{
    struct recovery *recovery = socket->fanout != NULL ? recovery_of(socket->fanout) : NULL;
    if (recovery == NULL) {
        return NULL;
    }
    struct bytes sid = bytes_of(socket->sid, SOCKET_SID_LEN);
    struct recoverable *found = map_get(&recovery->by_sid, sid);
    return found != NULL && found->socket == socket ? found : NULL;
}

struct bytes recovery_pid(const struct socket *socket)
{
    const struct recoverable *found = find(socket);
    return found != NULL ? pid_of(found) : bytes_of(NULL, 0);
}

void recovery_place(const struct socket *socket, struct builder *out)
{
    char text[REPLAY_OFFSET_MAX];
    const struct recoverable *found = find(socket);
    const struct recovery *kept = recovery_kept_of(socket->fanout);
    if (found != NULL) {
        const struct replay *replay = found->recovery->replay;
        builder_add(out, replay_write_offset(replay, replay_last(replay), text));
    } else if (!kept->recovers && kept->rooms != NULL) { /* where it stands in all of its rooms */
        builder_add(out, replay_write_offset(kept->replay, room_memory_here(kept->rooms), text));
    }
}

struct bytes recovery_sid(const struct recoverable *recoverable)
{
    return sid_of(recoverable);
}

/* Events to a socket alone. */

static void add_direct(struct recoverable *recoverable, const struct event *event)
{
    struct recovery *recovery = recoverable->recovery;
    recovery_arm(recovery);
    recoverable->last_direct = replay_add_direct(
        recovery->replay, sid_of(recoverable), (struct event *)(uintptr_t)event, now_of(recovery));
    recovery_record_later(recoverable);
}

struct event *recovery_mark_direct(const struct socket *socket, const struct event *event)
{
    struct recoverable *found = find(socket);
    if (found == NULL || found->one_way) {
        return NULL;
    }
    add_direct(found, event);
    struct replay_at at = replay_last(found->recovery->replay);
    return recovery_mark_text(found->recovery, event, at);
}

/* The sockets of a user that dropped and may come back; NULL: it has had none. */
static struct list *kept_of(struct socket_owner *user)
{
    return shard_of(&user->actor)->owners->kept(user, false);
}

void recovery_note_all(struct socket_owner *user, struct bytes nsp, const struct event *event)
{
    struct list *all = kept_of(user);
    if (all == NULL) {
        return;
    }
    list_for_each (link, all) {
        struct recoverable *kept = container_of(link, struct recoverable, user_link);
        if (!kept->one_way && bytes_eq(fanout_nsp(kept->recovery->fanout), nsp)) {
            add_direct(kept, event);
        }
    }
}

/* Rooms. */

/* What is known of a membership changes: of a room that a backend chose, the token is not asked. */
static void note_membership(const struct membership *membership, struct room_span *span)
{
    span->presence = membership->presence;
    span->granted = !membership->chosen;
}

void recovery_joined(struct socket *socket, struct bytes room)
{
    struct recoverable *found = find(socket);
    if (found == NULL) {
        return;
    }
    struct room_span span = {.name = room, .from = replay_last(found->recovery->replay)};
    note_membership(fanout_membership(socket->fanout, socket, room), &span);
    if (recovery_add_span(found, &span)) {
        recovery_record_later(found);
    } else { /* who does not know where it has been cannot come back as who it was */
        remove_record(found);
        forget(found);
    }
}

void recovery_changed(struct socket *socket, struct bytes room)
{
    struct recoverable *found = find(socket);
    struct room_span *span = found != NULL ? recovery_span_in(found, room) : NULL;
    if (span != NULL) {
        note_membership(fanout_membership(socket->fanout, socket, room), span);
        recovery_record_later(found);
    }
}

static void end_span(struct recoverable *recoverable, struct bytes room)
{
    struct room_span *span = recovery_span_in(recoverable, room);
    if (span != NULL) {
        span->to = replay_last(recoverable->recovery->replay);
        span->over = true;
        recovery_record_later(recoverable);
        recovery_trim_spans(recoverable);
    }
}

void recovery_left(struct socket *socket, struct bytes room)
{
    struct recoverable *found = find(socket);
    if (found != NULL) {
        end_span(found, room);
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
        found->member.acked = found->pinged;
    }
}

/* Keeping and giving up. */

bool recovery_put(struct recovery *recovery, struct recoverable *recoverable)
{
    recoverable->recovery = recovery;
    list_init(&recoverable->kept_link);
    list_init(&recoverable->member.link);
    list_init(&recoverable->dirty_link);
    list_init(&recoverable->user_link);
    if (!map_put(&recovery->by_sid, recoverable)) {
        return false;
    }
    if (!map_put(&recovery->by_pid, recoverable)) {
        map_remove(&recovery->by_sid, sid_of(recoverable));
        return false;
    }
    return true;
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

/* Give up its seats, its sid and its user. */
static void dissolve(struct recoverable *recoverable)
{
    struct fanout *fanout = recoverable->recovery->fanout;
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        if (!recoverable->spans[i].over) {
            room_send_leave(fanout->shard, fanout_nsp(fanout), recoverable->spans[i].name);
        }
    }
    fanout_register(fanout->shard, fanout_nsp(fanout), sid_of(recoverable), false);
    unlink_kept(recoverable);
    leave_user(recoverable);
    forget(recoverable);
}

void recovery_drop(struct recoverable *recoverable)
{
    if (recoverable != NULL) {
        remove_record(recoverable);
        dissolve(recoverable);
    }
}

void recovery_wait(struct recoverable *recoverable, uint64_t age_ms)
{
    struct recovery *recovery = recoverable->recovery;
    list_remove(&recoverable->member.link);
    recoverable->due_ms = now_of(recovery) + age_ms;
    list_append(&recovery->kept, &recoverable->kept_link);
    recovery_record_later(recoverable);
    if (++recovery->kept_count > config_of(recovery)->recovery.sessions) {
        recovery_drop(container_of(recovery->kept.next, struct recoverable, kept_link));
    }
    recovery_arm(recovery);
}

bool recovery_keep(struct socket *socket, bool clean)
{
    struct recoverable *found = find(socket);
    if (found == NULL) {
        return false;
    }
    if (clean) {
        remove_record(found);
        forget(found);
        return false;
    }
    for (uint32_t i = 0; i < socket->membership_count; i++) {
        const struct membership *membership = &socket->memberships[i];
        struct room_span *span = recovery_span_in(found, leaf_name(membership->leaf));
        CHECK(span != NULL);
        note_membership(membership, span);
    }
    found->socket = NULL;
    found->user = socket->user;
    if (found->user != NULL) { /* an application may have no users */
        list_append(socket->shard->owners->kept(found->user, true), &found->user_link);
    }
    recovery_wait(found, config_of(found->recovery)->recovery.age_ms);
    return true;
}

/* Claiming. */

struct replay_reader recovery_reader(const struct recoverable *recoverable, char *user_at)
{
    return (struct replay_reader){.sid = bytes_of(recoverable->sid, SOCKET_SID_LEN),
        .user = wire_name_user(buf_bytes(recoverable->owner), user_at),
        .spans = recoverable->spans,
        .span_count = recoverable->span_count,
        .after = recoverable->resume_after,
        .adopted_at = recoverable->adopted_at};
}

/*
 * The one with `pid`, without a socket: the client has left its old connection, whatever that seems
 * to be, so it ends now. NULL: there is none, or it was not to come back and is gone with that.
 */
static struct recoverable *release(struct recovery *recovery, struct bytes pid)
{
    struct recoverable *found = map_get(&recovery->by_pid, pid);
    struct socket *socket = found != NULL ? found->socket : NULL;
    if (socket == NULL) {
        return found;
    }
    if (socket->left) {
        return NULL;
    }
    socket->ops->disconnect(socket, CLOSE_TRANSPORT);
    socket_take_out(socket, CLOSE_TRANSPORT); /* its session looks at the identity once more */
    return map_get(&recovery->by_pid, pid);
}

void recovery_hand_over(struct recovery *recovery, struct bytes pid)
{
    struct recoverable *found = release(recovery, pid);
    if (found != NULL) {
        dissolve(found);
    }
}

/* Whether the new token allows what the old one did. */
static bool has_rights(const struct recoverable *recoverable, const struct identity *identity)
{
    const struct actor_config *config = config_of(recoverable->recovery);
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        const struct room_span *span = &recoverable->spans[i];
        struct room_rules rules;
        int access = span->granted && !span->over ? config->room_access(config->context, identity,
                                                        wire_name_client(span->name), &rules)
                                                  : 0;
        if (access != 0 && access != STATUS_AGAIN) { /* a backend was asked when it came */
            return false;
        }
    }
    return true;
}

/* Whether the client has been on another node since, which could not tell us. */
static bool was_elsewhere(const struct recoverable *recoverable, const struct recovery_claim *claim)
{
    struct replay_offset offset;
    return replay_read_offset(claim->offset, &offset) == 0 &&
           !bytes_eq(offset.name, replay_name(recoverable->recovery->replay)) &&
           stream_id_cmp(offset.at.stream, recoverable->member.acked.stream) > 0;
}

/* Bytes of what a client may have missed: the answer to its CONNECT has to fit behind. */
static size_t most_missed(const struct recovery *recovery)
{
    uint32_t cap = config_of(recovery)->outbound_bytes;
    return cap - cap / 8;
}

/* Whether the socket can go on exactly where the client stands. */
static bool is_exact(struct recoverable *recoverable, const struct recovery_claim *claim)
{
    const struct recovery *recovery = recoverable->recovery;
    struct replay_offset offset;
    recoverable->resume_after = recoverable->member.acked.number;
    /* An offset that is not of this log is older: of another session, or of another node. */
    if (replay_read_offset(claim->offset, &offset) == 0 &&
        bytes_eq(offset.name, replay_name(recovery->replay)) &&
        offset.at.number > recoverable->resume_after &&
        offset.at.number <= replay_last(recovery->replay).number) {
        recoverable->resume_after = offset.at.number;
    }
    char at[WIRE_NAME_MAX];
    struct replay_reader reader = recovery_reader(recoverable, at);
    return recoverable->one_way == claim->one_way && /* else events to it alone are not known */
           recoverable->due_ms > now_of(recovery) &&
           recoverable->forgotten_to.number <= recoverable->resume_after &&
           has_rights(recoverable, claim->identity) &&
           replay_is_whole(recovery->replay, &reader, most_missed(recovery));
}

struct recoverable *recovery_claim(struct shard *shard, const struct recovery_claim *claim)
{
    struct fanout *fanout = fanout_find(shard, claim->nsp);
    struct recovery *recovery = fanout != NULL ? recovery_of(fanout) : NULL;
    if (recovery == NULL || claim->pid.len == 0) {
        return NULL;
    }
    struct recoverable *found = map_get(&recovery->by_pid, claim->pid);
    if (found == NULL || !bytes_eq(buf_bytes(found->owner), identity_key(claim->identity))) {
        return NULL;
    }
    if ((found = release(recovery, claim->pid)) == NULL) {
        return NULL;
    }
    if (was_elsewhere(found, claim)) {
        dissolve(found);
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
    struct replay_reader reader = recovery_reader(recoverable, at);
    struct builder out = {.max = UINT32_MAX};
    struct replay_at place = {.number = reader.after};
    uint64_t count = 0;
    bool starved = false;
    const struct event *event;
    while ((event = replay_next(recovery->replay, &reader, &place)) != NULL) {
        bool marks = watch_is_socketio((enum wire_format)socket->format);
        struct event *marked = marks ? recovery_mark_text(recovery, event, place) : NULL;
        const struct event *sent = marked != NULL ? marked : event;
        int status = wire_event(socket->format, socket_nsp(socket), sent, &out);
        if (status != 0) {
            shard_count_unencoded(shard, event->name, socket->format, status);
        }
        starved = starved || status == STATUS_NOMEM;
        count += status == 0;
        event_unref(marked);
    }
    recovery_send(socket, &out, count, starved, &shard->stats.replayed);
}

static void rejoin(struct recoverable *recoverable, struct socket *socket)
{
    struct fanout *fanout = socket->fanout;
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        const struct room_span *span = &recoverable->spans[i];
        int status = span->over ? STATUS_EXISTS : fanout_join(fanout, socket, span->name);
        if (status == STATUS_NOMEM) {
            socket_missed(socket);
        }
        if (status != 0) {
            continue;
        }
        struct membership *membership = fanout_membership(fanout, socket, span->name);
        membership->chosen = !span->granted;
        if (span->presence) {
            membership->presence = true;
            room_tell(socket, span->name, true);
        }
    }
}

static void be_live(struct recoverable *recoverable, struct socket *socket)
{
    struct recovery_lease *lease = recoverable->recovery->lease;
    recoverable->socket = socket;
    if (lease != NULL && !recoverable->one_way) { /* one that never pongs would hold up the rest */
        recovery_lease_enter(lease, &recoverable->member);
    }
    recovery_record_later(recoverable);
}

/* Last values that were told late meanwhile, if any were: it is shown all there are. */
static void show_late(const struct recoverable *recoverable, struct socket *socket)
{
    if (recoverable->resume_after >= recoverable->recovery->late_at) {
        return;
    }
    room_retained_repeat_own(socket);
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        if (!recoverable->spans[i].over) {
            room_retained_send(socket, recoverable->spans[i].name);
        }
    }
}

static void resume(struct recoverable *recoverable, struct socket *socket)
{
    send_missed(recoverable, socket);
    rejoin(recoverable, socket);
    leave_user(recoverable);
    be_live(recoverable, socket);
    show_late(recoverable, socket);
    socket->shard->stats.recovered++;
}

void recovery_enter(struct socket *socket, struct recoverable *claimed)
{
    struct recovery *recovery = recovery_of(socket->fanout);
    if (claimed != NULL) {
        resume(claimed, socket);
        return;
    }
    bool comes_back = watch_is_socketio((enum wire_format)socket->format) || socket->ops->one_way;
    if (recovery == NULL || !comes_back) {
        return;
    }
    struct recoverable *made = mem_try_calloc(1, sizeof(*made));
    if (made == NULL) {
        return; /* it cannot come back as who it is */
    }
    made->owner = buf_new_name(identity_key(socket->identity));
    made->one_way = socket->ops->one_way;
    made->member.acked = replay_last(recovery->replay);
    made->pinged = made->member.acked;
    memcpy(made->sid, socket->sid, SOCKET_SID_LEN);
    wire_sid_make(sched_shard(socket->shard->sched), made->pid);
    if (recovery_put(recovery, made)) {
        be_live(made, socket);
    } else {
        free_recoverable(made);
    }
}

/* The user. */

bool recovery_has_kept(struct socket_owner *user)
{
    const struct list *all = kept_of(user);
    return all != NULL && !list_empty(all);
}

void recovery_end_user(struct socket_owner *user)
{
    for (struct list *link; recovery_has_kept(user);) {
        link = list_pop(kept_of(user));
        container_of(link, struct recoverable, user_link)->user = NULL;
    }
}

bool recovery_goes_by(struct recoverable *kept, struct bytes name)
{
    char at[WIRE_NAME_MAX];
    return bytes_eq(name, sid_of(kept)) ||
           bytes_eq(name, wire_name_user(buf_bytes(kept->owner), at)) ||
           recovery_span_in(kept, name) != NULL;
}

void recovery_expel_one(struct recoverable *kept, struct bytes room)
{
    const struct fanout *fanout = kept->recovery->fanout;
    if (room.len == 0) {
        recovery_drop(kept);
    } else if (recovery_span_in(kept, room) != NULL) {
        end_span(kept, room);
        room_send_leave(fanout->shard, fanout_nsp(fanout), room);
    }
}

void recovery_expel(struct socket_owner *user, struct bytes room)
{
    struct list *all = kept_of(user);
    if (all == NULL) {
        return;
    }
    list_for_each_safe (link, following, all) {
        recovery_expel_one(container_of(link, struct recoverable, user_link), room);
    }
}
