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
#include <stdlib.h>

#include "actors/inbox/cluster.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/store_view.h"
#include "actors/order/bus_origin.h"
#include "actors/user/user_actor.h"
#include "codec/base/mem.h"
#include "codec/notification_json.h"

enum { HELD_MAX = 64, GAP_MS = 30, RETRY_MS = 1000, READ_LIMIT = 50 };

struct user_held {
    struct user_held *next; /* by rising rev */
    uint64_t rev;
    struct buf *payload;
};

static void read_store(struct user *user);
static void go_on(struct user *user, struct socket *socket);

static void arm(struct user *user, uint64_t delay_ms)
{
    struct sched *sched = user->actor.sched;
    struct timer *timer = &user_rare(user)->timer;
    if (!timer_armed(timer)) {
        timer_set(sched_timers(sched), timer, sched_now(sched) + delay_ms);
    }
}

/* Visit the sockets whose inbox is behind. */
static void for_each_behind(
    struct user *user, void (*visit)(struct user *user, struct socket *socket))
{
    list_for_each (link, &user->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (socket->lag != NULL) {
            visit(user, socket);
        }
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
    list_for_each (link, &user->owner.sockets) {
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
        return;
    }
    if (user->news > user->rev) {
        read_store(user);
    }
    for_each_behind(user, go_on);
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

/* `only` is the one socket that is told; NULL: all that are not behind `rev`. */
static void tell_sockets(
    struct user *user, struct socket *only, uint64_t rev, const char *name, struct builder *text)
{
    if (builder_failed(text)) {
        user_miss(user, only);
    } else if (only != NULL) {
        user_emit(only, name, builder_bytes(text));
    } else {
        user_emit_all(user, name, builder_bytes(text), rev);
    }
    builder_reset(text);
}

static void tell_count(struct socket *socket, uint64_t unread, uint64_t rev)
{
    struct builder text = {0};
    notification_json_unread(unread, rev, &text);
    tell_sockets(user_of(socket), socket, rev, "unread", &text);
}

void user_feed_tell_unread(struct user *user)
{
    struct builder text = {0};
    notification_json_unread(user->unread, user->rev, &text);
    tell_sockets(user, NULL, SOCKET_REV_READ, "unread", &text);
}

static void tell_item(
    struct user *user, struct socket *only, uint64_t rev, const struct notification_view *view)
{
    struct builder text = {0};
    notification_json_item(view, &text);
    tell_sockets(user, only, rev, "notification", &text);
}

static void tell_state(struct user *user, struct socket *only, uint64_t rev,
    const struct notification_state_body *body)
{
    struct builder text = {0};
    notification_json_state(body, &text);
    tell_sockets(user, only, rev, "notification:state", &text);
}

/* Announcements. */

static void tell_announced_state(struct user *user, struct announce *announce)
{
    size_t most = announce->change_count; /* each change taken counts it down */
    struct notification_change *changes = mem_try_calloc(most + 1, sizeof(*changes));
    size_t count = 0;
    if (changes == NULL) {
        user_miss(user, NULL);
        return;
    }
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
    tell_state(user, NULL, announce->rev, &body);
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
        tell_item(user, NULL, announce->rev, &announce->view);
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
static size_t tell_changes(
    struct user *user, struct socket *only, const struct store_sync *sync, size_t first)
{
    const struct store_change *changes = &sync->changes[first];
    size_t left = sync->change_count - first;
    struct notification_change *told = mem_try_calloc(left, sizeof(*told));
    size_t count = 0;
    if (told == NULL) {
        user_miss(user, only);
        return left;
    }
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
    tell_state(user, only, SOCKET_REV_READ, &body);
    mem_free(told);
    return count;
}

static int compare_views(const void *a, const void *b)
{
    const struct notification_view *left = a;
    const struct notification_view *right = b;
    if (left->rev != right->rev) {
        return left->rev < right->rev ? -1 : 1;
    }
    return left->seq < right->seq ? -1 : 1;
}

/*
 * The items of a page by rising rev. One that changed again behind the page says the page's end: a
 * client that has heard of rev n has heard of all below. NULL without memory.
 */
static struct notification_view *sort_items(const struct store_sync *sync, uint64_t through)
{
    struct notification_view *views = mem_try_calloc(sync->item_count, sizeof(*views));
    for (size_t i = 0; views != NULL && i < sync->item_count; i++) {
        views[i] = store_view_item(&sync->items[i]);
        views[i].rev = views[i].rev < through ? views[i].rev : through;
    }
    if (views != NULL && sync->item_count > 0) {
        qsort(views, sync->item_count, sizeof(*views), compare_views);
    }
    return views;
}

static uint64_t tell_page(struct user *user, struct socket *only, const struct store_sync *sync)
{
    uint64_t through = sync->done ? sync->position.rev : sync->through_rev;
    struct notification_view *items = sort_items(sync, through);
    if (items == NULL) {
        user_miss(user, only);
        return through;
    }
    size_t item = 0;
    size_t change = 0;
    while (item < sync->item_count || change < sync->change_count) {
        bool item_next = change == sync->change_count ||
                         (item < sync->item_count && items[item].rev <= sync->changes[change].rev);
        if (item_next) {
            tell_item(user, only, SOCKET_REV_READ, &items[item++]);
        } else {
            change += tell_changes(user, only, sync, change);
        }
    }
    mem_free(items);
    return through;
}

static void tell_resync(struct user *user, struct socket *only, uint64_t rev)
{
    struct builder text = {0};
    notification_json_resync(bytes_str(shard_of(&user->actor)->config->epoch), rev, &text);
    tell_sockets(user, only, 0, "hub:resync", &text);
}

/* Sockets that are behind (socket.h). */

static void on_lag_read(struct user *user, struct user_request *request);

/* Go on with a socket that has room: ask the store for what it has not been told. */
static void go_on(struct user *user, struct socket *socket)
{
    struct socket_lag *lag = socket->lag;
    if (lag->reading || lag->caught || socket->outbox->full) {
        return;
    }
    struct user_request *request = user_request_new(user, STORE_SYNC, on_lag_read);
    lag->reading = true;
    request->socket_id = socket->id;
    request->store.sync.who = user_request_who(request);
    request->store.sync.rev = lag->rev;
    request->store.sync.limit = READ_LIMIT;
    user_request_submit(request);
}

static void catch_up(struct user *user, struct socket *socket)
{
    (void)user;
    socket_lag_end(socket);
}

static void on_lag_read(struct user *user, struct user_request *request)
{
    const struct store_sync *sync = &request->store.sync;
    struct socket *socket = user_socket(user, request->socket_id);
    struct socket_lag *lag = socket != NULL ? socket->lag : NULL;
    if (lag == NULL || !lag->reading) {
        return; /* it goes, or was told to begin anew */
    }
    lag->reading = false;
    if (sync->base.status != 0) {
        arm(user, RETRY_MS);
        return;
    }
    if (sync->resync) {
        socket_lag_end(socket);
        tell_resync(user, socket, sync->position.rev);
        return;
    }
    lag->rev = tell_page(user, socket, sync);
    if (!sync->done) {
        go_on(user, socket);
    } else if (lag->rev < user->rev) {
        arm(user, RETRY_MS); /* the store that answered is behind */
    } else {
        lag->caught = true;
        tell_count(socket, sync->position.unread, lag->rev);
        if (lag->rev == user->rev) {
            socket_lag_end(socket);
        }
    }
}

/* All are to be told what the store has above the user's rev: without those that have no room. */
static void leave_behind(struct user *user)
{
    list_for_each (link, &user->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (socket->lag != NULL) {
            socket->lag->caught = false;
            go_on(user, socket);
        } else if (socket->outbox->full && bytes_eq(socket_nsp(socket), BYTES("/"))) {
            socket_lag_begin(socket, user->rev);
        }
    }
}

void user_feed_relieved(struct user *user, uint32_t socket_id)
{
    struct socket *socket = user_socket(user, socket_id);
    if (socket != NULL && socket->lag != NULL) {
        go_on(user, socket);
    }
}

/* All sockets: a page of what is above the user's rev. */

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
        for_each_behind(user, catch_up);
        tell_resync(user, NULL, user->rev);
    } else {
        leave_behind(user);
        user->rev = tell_page(user, NULL, sync);
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
