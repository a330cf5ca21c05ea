/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's live feed. Order of this file: start, position, what sockets are told, announcements,
 * gaps.
 *
 * Invariant once the phase is USER_READY: every socket has been sent every change up to `rev`. An
 * announcement is applied only when it is rev + 1; one that is ahead is held for a moment (two
 * commits may be announced by two shards), then the store is read. `news` is the highest rev heard
 * of: as long as it is above rev, something is missing and a read is under way or the timer is
 * armed.
 */
#include "actors/bus_origin.h"
#include "actors/cluster.h"
#include "actors/positions.h"
#include "actors/store_view.h"
#include "actors/user_actor.h"
#include "codec/base/mem.h"
#include "codec/notification_json.h"

enum { HELD_MAX = 64, GAP_MS = 30, RETRY_MS = 1000, READ_LIMIT = 500 };

struct user_held {
    struct user_held *next; /* by rising rev */
    uint64_t rev;
    struct buf *payload;
};

static void read_store(struct user *user);

static void arm(struct user *user, uint64_t delay_ms)
{
    struct sched *sched = user->actor.sched;
    struct timer *timer = &user_rare(user)->timer;
    if (!timer_armed(timer)) {
        timer_set(sched_timers(sched), timer, sched_now(sched) + delay_ms);
    }
}

/* Start. */

static void ask_position(struct user *user)
{
    if (user->phase == USER_WAITS_FEED) {
        user->phase = USER_WAITS_POSITION;
    }
    positions_ask(shard_of(&user->actor)->positions, user);
}

void user_feed_start(struct user *user)
{
    struct cluster *cluster = shard_of(&user->actor)->cluster;
    user->phase = USER_WAITS_FEED;
    if (cluster != NULL) {
        cluster_watch(cluster, user_key(user), true);
    }
    if (cluster == NULL || !cluster_is_up(cluster)) {
        ask_position(user);
    }
}

void user_feed_on(struct user *user, bool on)
{
    /* Off: nothing to wait for, the position still tells what is stored. On, or on again: read it.
     */
    if (on || user->phase == USER_WAITS_FEED) {
        ask_position(user);
    }
}

static void free_held(struct user_held *held)
{
    buf_unref(held->payload);
    mem_free(held);
}

void user_feed_stop(struct user *user)
{
    while (user->rare != NULL && user->rare->held != NULL) {
        struct user_held *held = user->rare->held;
        user->rare->held = held->next;
        free_held(held);
    }
}

/* Position. */

void user_feed_position(struct user *user, const struct user_position *position)
{
    if (position->status != 0) {
        if (user->phase == USER_WAITS_POSITION) {
            arm(user, RETRY_MS + rand_below(&shard_of(&user->actor)->rand, RETRY_MS));
        }
        return;
    }
    if (user->phase == USER_READY) {
        user_feed_moved(user, position->rev);
        return;
    }
    user->phase = USER_READY;
    user->seq = position->seq;
    user->rev = position->rev;
    user->unread = position->unread;
    list_for_each (link, &user->sockets) {
        user_feed_ready(user, container_of(link, struct socket, user_link));
    }
    if (user->news > user->rev) {
        read_store(user);
    }
}

/* Before the phase is READY the position itself is yet to come, and is no older than this. */
void user_feed_moved(struct user *user, uint64_t rev)
{
    if (user->phase == USER_READY && rev > user->rev) {
        shard_of(&user->actor)->stats.rechecks++;
        user->news = rev > user->news ? rev : user->news;
        read_store(user);
    }
}

void user_feed_timeout(struct user *user)
{
    if (user->phase != USER_READY) {
        ask_position(user);
    } else if (user->news > user->rev) {
        read_store(user);
    }
}

/* What sockets are told. */

void user_feed_ready(struct user *user, struct socket *socket)
{
    const struct actor_config *config = shard_of(&user->actor)->config;
    struct notification_ready ready = {
        .user = user_id(user),
        .node = bytes_str(config->node),
        .epoch = bytes_str(config->epoch),
        .seq = user->seq,
        .rev = user->rev,
        .unread = user->unread,
        .messages_per_minute = config->messages.per_minute,
        .message_bytes = config->message_bytes,
        .rooms = config->rooms_per_socket,
    };
    struct builder text = {0};
    notification_json_ready(&ready, &text);
    user_emit(socket, "hub:ready", builder_bytes(&text));
    builder_reset(&text);
}

static void unread_changed(struct user *user)
{
    if (list_empty(&user->unread_link)) {
        list_append(&shard_of(&user->actor)->unread_dirty, &user->unread_link);
    }
}

void user_feed_tell_unread(struct user *user)
{
    struct builder text = {0};
    notification_json_unread(user->unread, user->rev, &text);
    user_emit_all(user, "unread", builder_bytes(&text));
    builder_reset(&text);
}

static void tell_item(struct user *user, const struct notification_view *view)
{
    struct builder text = {0};
    notification_json_item(view, &text);
    user_emit_all(user, "notification", builder_bytes(&text));
    builder_reset(&text);
}

static void tell_state(struct user *user, const struct notification_state_body *body)
{
    struct builder text = {0};
    notification_json_state(body, &text);
    user_emit_all(user, "notification:state", builder_bytes(&text));
    builder_reset(&text);
}

/* Announcements. */

static void tell_announced_state(struct user *user, struct announce *announce)
{
    size_t most = announce->change_count; /* each change taken counts it down */
    struct notification_change *changes = mem_alloc_array(most + 1, sizeof(*changes));
    size_t count = 0;
    while (count < most && announce_next_change(announce, &changes[count])) {
        count++;
    }
    struct notification_state_body body = {
        .rev = announce->rev,
        .unread = announce->unread,
        .changes = changes,
        .count = count,
        .up_to = announce->up_to,
        .state = announce->state,
        .at = announce->at,
    };
    tell_state(user, &body);
    mem_free(changes);
}

static void apply(struct user *user, struct announce *announce)
{
    bool counts = announce->unread != user->unread;
    user->rev = announce->rev;
    user->seq = announce->seq;
    user->unread = announce->unread;
    shard_of(&user->actor)->stats.announced++;
    if (announce->kind == ANNOUNCE_NEW) {
        tell_item(user, &announce->view);
    } else {
        tell_announced_state(user, announce);
    }
    if (counts) {
        unread_changed(user);
    }
}

/* Keep the next HELD_MAX revs only: what is farther ahead is read from the store in any case. */
static void hold(struct user *user, uint64_t rev, struct buf *payload)
{
    struct user_held **at = &user_rare(user)->held;
    while (*at != NULL && (*at)->rev < rev) {
        at = &(*at)->next;
    }
    if (rev - user->rev > HELD_MAX || (*at != NULL && (*at)->rev == rev)) {
        return;
    }
    struct user_held *held = mem_alloc(sizeof(*held));
    held->next = *at;
    held->rev = rev;
    held->payload = buf_ref(payload);
    *at = held;
}

/* Apply what is next, forget what is old. What was held has been decoded before. */
static void release(struct user *user)
{
    struct user_held *held;
    while (user->rare != NULL && (held = user->rare->held) != NULL && held->rev <= user->rev + 1) {
        struct announce announce;
        user->rare->held = held->next;
        if (held->rev == user->rev + 1 &&
            announce_decode(buf_bytes(held->payload), &announce) == 0) {
            apply(user, &announce);
        }
        free_held(held);
    }
    if (user->news > user->rev) {
        arm(user, GAP_MS);
    }
}

/* Whether a payload comes from a node of the same store. */
static bool is_ours(struct user *user, struct bytes payload)
{
    uint64_t version;
    struct bytes epoch;
    return announce_origin(payload, &version, &epoch) == 0 &&
           bus_origin_is_ours(shard_of(&user->actor), "announcement", epoch, version);
}

void user_feed_apply(struct user *user, struct buf *payload)
{
    struct announce announce;
    if (!is_ours(user, buf_bytes(payload)) || announce_decode(buf_bytes(payload), &announce) != 0) {
        return;
    }
    if (announce.kind == ANNOUNCE_CHECK) {
        ask_position(user);
        return;
    }
    user->news = announce.rev > user->news ? announce.rev : user->news;
    if (user->phase != USER_READY || announce.rev <= user->rev) {
        return;
    }
    if (announce.rev == user->rev + 1 && !user->reading) {
        apply(user, &announce);
    } else {
        hold(user, announce.rev, payload);
    }
    if (!user->reading) {
        release(user);
    }
}

/* Gaps: read everything above rev, in pages, and tell it in the order of rev. */

/* Tell the changes from `first` on that share rev and state; returns how many. */
static size_t tell_changes(struct user *user, const struct store_sync *sync, size_t first)
{
    const struct store_change *changes = &sync->changes[first];
    size_t left = sync->change_count - first;
    struct notification_change *told = mem_alloc_array(left, sizeof(*told));
    size_t count = 0;
    while (count < left && changes[count].rev == changes[0].rev &&
           changes[count].state == changes[0].state) {
        told[count] = store_view_change(&changes[count]);
        count++;
    }
    struct notification_state_body body = {
        .rev = changes[0].rev,
        .unread = sync->position.unread,
        .changes = told,
        .count = count,
        .state = told[0].state,
        .at = changes[0].at,
    };
    tell_state(user, &body);
    mem_free(told);
    return count;
}

static void tell_page(struct user *user, const struct store_sync *sync)
{
    size_t item = 0;
    size_t change = 0;
    while (item < sync->item_count || change < sync->change_count) {
        bool item_next =
            change == sync->change_count ||
            (item < sync->item_count && sync->items[item].rev <= sync->changes[change].rev);
        if (item_next) {
            struct notification_view view = store_view_item(&sync->items[item++]);
            tell_item(user, &view);
        } else {
            change += tell_changes(user, sync, change);
        }
    }
}

static void tell_resync(struct user *user)
{
    struct builder text = {0};
    notification_json_resync(bytes_str(shard_of(&user->actor)->config->epoch), user->rev, &text);
    user_emit_all(user, "hub:resync", builder_bytes(&text));
    builder_reset(&text);
}

static void on_read(struct user *user, struct user_request *request)
{
    const struct store_sync *sync = &request->store.sync;
    user->reading = false;
    if (sync->base.status != 0) {
        arm(user, RETRY_MS + rand_below(&shard_of(&user->actor)->rand, RETRY_MS));
        return;
    }
    if (sync->resync) {
        user->rev = sync->position.rev;
        user->news = user->rev;
        user_feed_stop(user); /* what was held belongs to another numbering */
        tell_resync(user);
    } else {
        tell_page(user, sync);
        user->rev = sync->done ? sync->position.rev : sync->through_rev;
    }
    user->seq = sync->position.seq;
    user->unread = sync->position.unread;
    unread_changed(user);
    if (!sync->done && !sync->resync) {
        read_store(user);
        return;
    }
    if (user->news == request->id) {
        user->news =
            user->rev; /* what is announced is committed: there was no more, whoever said so */
    }
    release(user);
}

static void read_store(struct user *user)
{
    if (user->reading) {
        return;
    }
    struct user_request *request = user_request_new(user, STORE_SYNC, on_read);
    shard_of(&user->actor)->stats.gaps++;
    user->reading = true;
    request->store.sync.who = user_request_who(request);
    request->id = user->news; /* what is read for */
    request->store.sync.rev = user->rev;
    request->store.sync.limit = READ_LIMIT;
    user_request_submit(request);
}
