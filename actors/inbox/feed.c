/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's live feed. Order of this file: start, position, what sockets are told, announcements,
 * gaps.
 *
 * Invariant once the phase is INBOX_READY: every socket has been sent every change up to `rev`. An
 * announcement is applied only when it is rev + 1; one that is ahead is held for a moment (two
 * commits may be announced by two shards), then the store is read. `heard_rev` is the highest rev
 * heard of: as long as it is above rev, something is missing and a read is under way or the timer
 * is armed.
 */
#include "actors/inbox/feed.h"

#include <stdlib.h>

#include "actors/core/timer.h"
#include "actors/deliver/call.h"
#include "actors/deliver/socket.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/inbox_devices.h"
#include "actors/inbox/inbox_preferences.h"
#include "actors/inbox/inbox_receipts.h"
#include "actors/inbox/inbox_request.h"
#include "actors/inbox/positions.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/announce.h"
#include "codec/base/mem.h"
#include "codec/server_events.h"

enum { HELD_MAX = 64, GAP_MS = 30, RETRY_MS = 1000, READ_LIMIT = 50 };

struct held {
    struct held *next; /* by rising rev */
    uint64_t rev;
    struct buf *payload;
};

/* What an inbox needs only while something is missing. */
struct inbox_gap {
    struct inbox *inbox;
    struct timer timer; /* gap deadline, or retry of the store */
    struct held *held; /* announcements ahead of rev, by rev */
};

static void on_timer(struct timer *timer);
static void on_preferences(struct inbox *inbox, int status);
static void become_ready(struct inbox *inbox);
static void read_above(struct inbox *inbox, uint64_t rev);
static void read_store(struct inbox *inbox);
static void go_on(struct inbox *inbox, struct socket *socket);

static void set_reading(struct inbox *inbox, bool reading)
{
    uint32_t *reads = &shard_of(&inbox->owner.actor)->inbox_reads;
    *reads += (uint32_t)reading - (uint32_t)inbox->reading;
    inbox->reading = reading;
}

static struct inbox_gap *gap_of(struct inbox *inbox)
{
    if (inbox->gap == NULL) {
        inbox->gap = mem_alloc(sizeof(*inbox->gap));
        inbox->gap->inbox = inbox;
        timer_init(&inbox->gap->timer, on_timer);
        shard_of(&inbox->owner.actor)->stats.waiting_bytes += mem_cost(sizeof(*inbox->gap));
    }
    return inbox->gap;
}

static void arm(struct inbox *inbox, uint64_t delay_ms)
{
    struct sched *sched = inbox->owner.actor.sched;
    struct timer *timer = &gap_of(inbox)->timer;
    if (!timer_armed(timer)) {
        timer_set(sched_timers(sched), timer, sched_now(sched) + delay_ms);
    }
}

/* Visit the sockets whose inbox is behind. */
static void for_each_behind(
    struct inbox *inbox, void (*visit)(struct inbox *inbox, struct socket *socket))
{
    list_for_each (link, &inbox->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (socket->lag != NULL) {
            visit(inbox, socket);
        }
    }
}

/* Start. */

static void ask_position(struct inbox *inbox)
{
    if (inbox->phase == INBOX_WAITS_FEED) {
        inbox->phase = INBOX_WAITS_POSITION;
    }
    positions_ask(shard_of(&inbox->owner.actor)->positions, inbox);
}

void feed_start(struct inbox *inbox)
{
    struct inbox_bus *bus = shard_of(&inbox->owner.actor)->inbox_bus;
    inbox->phase = INBOX_WAITS_FEED;
    audience_enter(shard_of(&inbox->owner.actor)->audience, inbox);
    if (bus == NULL || !inbox_bus_is_up(bus)) {
        ask_position(inbox);
    }
}

void feed_on(struct inbox *inbox, bool on)
{
    /* Off: nothing to wait for, the position still tells what is stored. On, or on again: read it.
     */
    if (on && inbox->phase == INBOX_READY) { /* as all others of the shard: nobody waits behind */
        positions_ask_later(shard_of(&inbox->owner.actor)->positions, inbox);
    } else if (on || inbox->phase == INBOX_WAITS_FEED) {
        ask_position(inbox);
    }
    if (on) { /* what was told meanwhile of its topics is lost, too */
        audience_place(shard_of(&inbox->owner.actor)->audience, inbox);
    }
}

static void free_held(struct held *held)
{
    buf_unref(held->payload);
    mem_free(held);
}

static void drop_held(struct inbox *inbox)
{
    while (inbox->gap != NULL && inbox->gap->held != NULL) {
        struct held *held = inbox->gap->held;
        inbox->gap->held = held->next;
        free_held(held);
    }
}

void feed_stop(struct inbox *inbox)
{
    drop_held(inbox);
    set_reading(inbox, false);
    audience_leave(shard_of(&inbox->owner.actor)->audience, inbox);
    inbox_preferences_drop(inbox);
    inbox_devices_drop(inbox);
    inbox_receipts_drop(inbox);
    if (inbox->gap != NULL) {
        struct shard *shard = shard_of(&inbox->owner.actor);
        shard->stats.waiting_bytes -= mem_cost(sizeof(*inbox->gap));
        timer_cancel(sched_timers(shard->sched), &inbox->gap->timer);
        mem_free(inbox->gap);
    }
}

/* Position. */

void feed_position(struct inbox *inbox, const struct user_position *position)
{
    if (position->status != 0) {
        if (inbox->phase == INBOX_WAITS_POSITION) {
            arm(inbox, RETRY_MS + rand_below(&shard_of(&inbox->owner.actor)->rand, RETRY_MS));
        }
        return;
    }
    if (inbox->phase == INBOX_WAITS_FEED) {
        return; /* somebody else has asked: what changes before the feed is on would be missed */
    }
    bool known = inbox_preferences_know(inbox, position->preference_rev, on_preferences);
    if (inbox->phase == INBOX_READY) {
        read_above(inbox, position->rev);
        return;
    }
    if (position->rev >= inbox->rev) { /* several may have asked, and answers pass each other */
        inbox->seq = position->seq;
        inbox->rev = position->rev;
        inbox->unread = position->unread;
        inbox->unseen = position->unseen;
    }
    if (known) {
        become_ready(inbox);
    }
}

/* Whether the user hides is known. */
static void show(struct inbox *inbox)
{
    const struct shard *shard = shard_of(&inbox->owner.actor);
    if (shard->owners != NULL) {
        shard->owners->show(&inbox->owner, inbox_preferences_hide(inbox));
    }
}

/* The position has been read. */
static void become_ready(struct inbox *inbox)
{
    inbox->phase = INBOX_READY;
    show(inbox);
    list_for_each (link, &inbox->owner.sockets) {
        feed_ready(inbox, container_of(link, struct socket, user_link));
    }
    if (inbox->heard_rev > inbox->rev) {
        read_store(inbox);
    }
}

static void on_preferences(struct inbox *inbox, int status)
{
    inbox->unsure = status != 0;
    if (inbox->unsure) {
        arm(inbox, RETRY_MS + rand_below(&shard_of(&inbox->owner.actor)->rand, RETRY_MS));
    } else if (inbox->phase != INBOX_READY) {
        become_ready(inbox);
    } else {
        show(inbox);
    }
}

void feed_moved(struct inbox *inbox, uint64_t rev, uint64_t preference_rev)
{
    if (inbox->phase == INBOX_READY) {
        inbox_preferences_know(inbox, preference_rev, on_preferences);
    }
    read_above(inbox, rev);
}

/* Before the phase is READY the position itself is yet to come: it may be older than this. */
static void read_above(struct inbox *inbox, uint64_t rev)
{
    if (rev > inbox->rev) {
        inbox->heard_rev = rev > inbox->heard_rev ? rev : inbox->heard_rev;
    }
    if (inbox->phase == INBOX_READY && rev > inbox->rev) {
        shard_of(&inbox->owner.actor)->stats.rechecks++;
        read_store(inbox);
    }
}

static void on_timer(struct timer *timer)
{
    struct inbox *inbox = container_of(timer, struct inbox_gap, timer)->inbox;
    if (inbox->phase != INBOX_READY || inbox->unsure) {
        ask_position(inbox);
    }
    if (inbox->phase != INBOX_READY) {
        return;
    }
    if (inbox->heard_rev > inbox->rev) {
        read_store(inbox);
    }
    for_each_behind(inbox, go_on);
}

/* What sockets are told. */

void feed_ready(struct inbox *inbox, struct socket *socket)
{
    const struct actor_config *config = shard_of(&inbox->owner.actor)->config;
    const struct server_ready ready = {
        .user = owner_id(&inbox->owner),
        .node = bytes_str(config->node),
        .epoch = bytes_str(config->epoch),
        .seq = inbox->seq,
        .rev = inbox->rev,
        .unread = inbox->unread,
        .unseen = inbox->unseen,
        .messages_per_minute = config->messages.per_minute,
        .message_bytes = config->message_bytes,
        .rooms = config->rooms,
    };
    call_emit(socket, server_events_ready(&ready));
    if (socket->lag != NULL) {
        go_on(inbox, socket);
    }
}

static void unread_changed(struct inbox *inbox)
{
    if (list_empty(&inbox->unread_link)) {
        list_append(&shard_of(&inbox->owner.actor)->unread_dirty, &inbox->unread_link);
    }
}

/* `only` is the one socket that is told; NULL: all that are not behind `rev`. Takes `event`. */
static void tell_sockets(
    struct inbox *inbox, struct socket *only, uint64_t rev, struct event *event)
{
    if (only != NULL) {
        call_emit(only, event);
    } else {
        inbox_tell(inbox, event, rev);
    }
}

static void tell_count(struct socket *socket, const struct store_position *position, uint64_t rev)
{
    call_emit(socket, server_events_unread(position->unread, position->unseen, rev));
}

void feed_tell_unread(struct inbox *inbox)
{
    inbox_tell(
        inbox, server_events_unread(inbox->unread, inbox->unseen, inbox->rev), SOCKET_REV_READ);
}

/* Announcements. */

static void tell_announced_state(struct inbox *inbox, struct announce *announce)
{
    size_t most = announce->change_count; /* each change taken counts it down */
    struct notification_change *changes = mem_try_calloc(most + 1, sizeof(*changes));
    size_t count = 0;
    if (changes == NULL) {
        inbox_miss(inbox, NULL);
        return;
    }
    while (count < most && announce_next_change(announce, &changes[count])) {
        count++;
    }
    const struct server_state state = {
        .rev = announce->rev,
        .unread = announce->unread,
        .unseen = announce->unseen,
        .changes = changes,
        .count = count,
        .up_to = announce->up_to,
        .state = announce->state,
        .at = announce->at,
        .snoozed_until = announce->snoozed_until,
    };
    inbox_tell(inbox, server_events_state(&state), announce->rev);
    mem_free(changes);
}

static void apply(struct inbox *inbox, struct announce *announce)
{
    bool counts = announce->unread != inbox->unread || announce->unseen != inbox->unseen;
    if (announce->kind == ANNOUNCE_NEW) {
        announce->item.silent = inbox_preferences_silence(inbox, &announce->item, true);
    }
    inbox->rev = announce->rev;
    inbox->seq = announce->seq;
    inbox->unread = announce->unread;
    inbox->unseen = announce->unseen;
    shard_of(&inbox->owner.actor)->stats.announced++;
    if (announce->kind == ANNOUNCE_NEW) {
        inbox_tell(inbox, server_events_notification(&announce->item), announce->rev);
    } else {
        tell_announced_state(inbox, announce);
    }
    if (counts) {
        unread_changed(inbox);
    }
}

/* Keep the next HELD_MAX revs only: what is farther ahead is read from the store in any case. */
static void hold(struct inbox *inbox, uint64_t rev, struct buf *payload)
{
    struct held **at = &gap_of(inbox)->held;
    while (*at != NULL && (*at)->rev < rev) {
        at = &(*at)->next;
    }
    if (rev - inbox->rev > HELD_MAX || (*at != NULL && (*at)->rev == rev)) {
        return;
    }
    struct held *held = mem_alloc(sizeof(*held));
    held->next = *at;
    held->rev = rev;
    held->payload = buf_ref(payload);
    *at = held;
}

/* Apply what is next, forget what is old. What was held has been decoded before. */
static void release(struct inbox *inbox)
{
    struct held *held;
    while (inbox->gap != NULL && (held = inbox->gap->held) != NULL && held->rev <= inbox->rev + 1) {
        struct announce announce;
        inbox->gap->held = held->next;
        if (held->rev == inbox->rev + 1 &&
            announce_decode(buf_bytes(held->payload), &announce) == 0) {
            apply(inbox, &announce);
        }
        free_held(held);
    }
    if (inbox->heard_rev > inbox->rev) {
        arm(inbox, GAP_MS);
    }
}

/* The store has what was not announced as a whole. */
static void read_news(struct inbox *inbox)
{
    if (inbox->phase == INBOX_READY && inbox->heard_rev > inbox->rev) {
        read_store(inbox);
    }
}

/* Whether a payload comes from a node of the same store. */
static bool is_ours(struct inbox *inbox, struct bytes payload)
{
    uint64_t version;
    struct bytes epoch;
    return announce_origin(payload, &version, &epoch) == 0 &&
           bus_origin_is_ours(shard_of(&inbox->owner.actor), "announcement", epoch, version);
}

void feed_apply(struct inbox *inbox, struct buf *payload)
{
    struct announce announce;
    if (!is_ours(inbox, buf_bytes(payload)) ||
        announce_decode(buf_bytes(payload), &announce) != 0) {
        return;
    }
    if (announce.kind == ANNOUNCE_CHECK && announce.rev == 0) {
        ask_position(inbox);
        audience_place(shard_of(&inbox->owner.actor)->audience, inbox);
        return;
    }
    inbox->heard_rev = announce.rev > inbox->heard_rev ? announce.rev : inbox->heard_rev;
    if (announce.kind == ANNOUNCE_CHECK) {
        read_news(inbox);
        return;
    }
    if (inbox->phase != INBOX_READY || announce.rev <= inbox->rev) {
        return;
    }
    if (announce.rev == inbox->rev + 1 && !inbox->reading) {
        apply(inbox, &announce);
    } else {
        hold(inbox, announce.rev, payload);
    }
    if (!inbox->reading) {
        release(inbox);
    }
}

/* Gaps: read everything above rev, in pages, and tell it in the order of rev. */

/* Tell the changes from `first` on that share rev and state; returns how many. */
static size_t tell_changes(
    struct inbox *inbox, struct socket *only, const struct store_sync *sync, size_t first)
{
    const struct notification_change *changes = &sync->changes[first];
    size_t left = sync->change_count - first;
    size_t count = 0;
    while (count < left && count < ANNOUNCE_CHANGES_MAX && changes[count].rev == changes[0].rev &&
           changes[count].state == changes[0].state) {
        count++;
    }
    const struct server_state state = {
        .rev = changes[0].rev,
        .unread = sync->position.unread,
        .unseen = sync->position.unseen,
        .changes = changes,
        .count = count,
        .state = changes[0].state,
        .at = changes[0].at,
        .snoozed_until = changes[0].snoozed_until,
    };
    tell_sockets(inbox, only, SOCKET_REV_READ, server_events_state(&state));
    return count;
}

/* A row that is not new, but back or with other content: a state that carries it. */
static struct event *make_back(const struct store_sync *sync, const struct notification_item *item)
{
    struct notification_change change = {.seq = item->seq};
    memcpy(change.id, item->id, sizeof(change.id));
    const struct server_state state = {
        .rev = item->rev,
        .unread = sync->position.unread,
        .unseen = sync->position.unseen,
        .changes = &change,
        .count = 1,
        .state = item->state,
        .snoozed_until = item->snoozed_until,
        .item = item,
        .updated = item->updated_at > 0,
    };
    return server_events_state(&state);
}

static int compare_items(const void *a, const void *b)
{
    const struct notification_item *left = a;
    const struct notification_item *right = b;
    if (left->rev != right->rev) {
        return left->rev < right->rev ? -1 : 1;
    }
    return left->seq < right->seq ? -1 : 1;
}

/*
 * The items of a page by rising rev. One that changed again behind the page says the page's end: a
 * client that has heard of rev n has heard of all below. NULL without memory.
 */
static struct notification_item *sort_items(const struct store_sync *sync, uint64_t through)
{
    struct notification_item *items = mem_try_calloc(sync->item_count, sizeof(*items));
    for (size_t i = 0; items != NULL && i < sync->item_count; i++) {
        items[i] = sync->items[i];
        items[i].rev = items[i].rev < through ? items[i].rev : through;
    }
    if (items != NULL && sync->item_count > 0) {
        qsort(items, sync->item_count, sizeof(*items), compare_items);
    }
    return items;
}

static uint64_t tell_page(struct inbox *inbox, struct socket *only, const struct store_sync *sync)
{
    uint64_t through = sync->done ? sync->position.rev : sync->through_rev;
    struct notification_item *items = sort_items(sync, through);
    if (items == NULL) {
        inbox_miss(inbox, only);
        return through;
    }
    size_t item = 0;
    size_t change = 0;
    while (item < sync->item_count || change < sync->change_count) {
        bool item_next = change == sync->change_count ||
                         (item < sync->item_count && items[item].rev <= sync->changes[change].rev);
        if (item_next) {
            struct notification_item *next = &items[item++];
            bool is_new = next->new_rev > sync->rev;
            next->silent = is_new && inbox_preferences_silence(inbox, next, only == NULL);
            tell_sockets(inbox, only, SOCKET_REV_READ,
                is_new ? server_events_notification(next) : make_back(sync, next));
        } else {
            change += tell_changes(inbox, only, sync, change);
        }
    }
    mem_free(items);
    return through;
}

static void tell_resync(struct inbox *inbox, struct socket *only, uint64_t rev)
{
    struct bytes epoch = bytes_str(shard_of(&inbox->owner.actor)->config->epoch);
    tell_sockets(inbox, only, 0, server_events_resync(epoch, rev));
}

/* Sockets that are behind (socket.h). */

static void on_lag_read(struct inbox *inbox, struct inbox_request *request);

/* Go on with a socket that has room: ask the store for what it has not been told. */
static void go_on(struct inbox *inbox, struct socket *socket)
{
    struct socket_lag *lag = socket->lag;
    if (lag->reading || lag->caught || socket->outbox->full) {
        return;
    }
    struct inbox_request *request = inbox_request_create(inbox, STORE_SYNC, on_lag_read);
    lag->reading = true;
    request->socket_id = socket->id;
    request->store.sync.who = inbox_request_who(request);
    request->store.sync.rev = lag->rev;
    request->store.sync.limit = READ_LIMIT;
    request->store.sync.max_bytes = request->shard->config->outbound_bytes;
    inbox_request_submit(request);
}

static void catch_up(struct inbox *inbox, struct socket *socket)
{
    (void)inbox;
    socket_lag_end(socket);
}

static void on_lag_read(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_sync *sync = &request->store.sync;
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    struct socket_lag *lag = socket != NULL ? socket->lag : NULL;
    if (lag == NULL || !lag->reading) {
        return; /* it goes, or was told to begin anew */
    }
    lag->reading = false;
    if (sync->base.status != 0) {
        arm(inbox, RETRY_MS);
        return;
    }
    if (sync->resync) {
        socket_lag_end(socket);
        tell_resync(inbox, socket, sync->position.rev);
        return;
    }
    lag->rev = tell_page(inbox, socket, sync);
    if (!sync->done) {
        go_on(inbox, socket);
    } else if (lag->rev < inbox->rev) {
        arm(inbox, RETRY_MS); /* the store that answered is behind */
    } else {
        lag->caught = true;
        tell_count(socket, &sync->position, lag->rev);
        if (lag->rev == inbox->rev) {
            socket_lag_end(socket);
        }
    }
}

/* All are to be told what the store has above the user's rev: without those that have no room. */
static void leave_behind(struct inbox *inbox)
{
    list_for_each (link, &inbox->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (socket->lag != NULL) {
            socket->lag->caught = false;
            go_on(inbox, socket);
        } else if (socket->outbox->full && bytes_eq(socket_nsp(socket), BYTES("/"))) {
            socket_lag_begin(socket, inbox->rev);
        }
    }
}

bool feed_place(const struct socket *socket, uint64_t *ret_rev)
{
    if (socket->lag != NULL) {
        *ret_rev = socket->lag->rev;
        return *ret_rev != FEED_NOWHERE;
    }
    const struct inbox *inbox = socket->user != NULL ? inbox_of(socket->user) : NULL;
    *ret_rev = inbox != NULL ? inbox->rev : 0;
    return inbox != NULL && inbox->phase == INBOX_READY;
}

void feed_resume(struct socket *socket, uint64_t rev)
{
    struct inbox *inbox = inbox_of(socket->user);
    socket_lag_begin(socket, rev);
    if (inbox->phase == INBOX_READY) {
        go_on(inbox, socket);
    }
}

void feed_relieved(struct inbox *inbox, uint32_t socket_id)
{
    struct socket *socket = owner_socket(&inbox->owner, socket_id);
    if (socket != NULL && socket->lag != NULL) {
        go_on(inbox, socket);
    }
}

/* All sockets: a page of what is above the user's rev. */

static void on_read(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_sync *sync = &request->store.sync;
    set_reading(inbox, false);
    if (sync->base.status != 0) {
        arm(inbox, RETRY_MS + rand_below(&shard_of(&inbox->owner.actor)->rand, RETRY_MS));
        return;
    }
    if (sync->resync) {
        inbox->rev = sync->position.rev;
        drop_held(inbox); /* it may belong to another numbering; what was heard is read for below */
        for_each_behind(inbox, catch_up);
        tell_resync(inbox, NULL, inbox->rev);
    } else {
        leave_behind(inbox);
        inbox->rev = tell_page(inbox, NULL, sync);
    }
    inbox->unread = sync->position.unread;
    inbox->unseen = sync->position.unseen;
    unread_changed(inbox);
    if (!sync->done && !sync->resync) {
        read_store(inbox);
        return;
    }
    inbox->seq = sync->position.seq;
    if (inbox->heard_rev == request->id) {
        inbox->heard_rev =
            inbox->rev; /* what is announced is committed: there was no more, whoever said so */
    }
    release(inbox);
}

static void read_store(struct inbox *inbox)
{
    if (inbox->reading) {
        return;
    }
    struct inbox_request *request = inbox_request_create(inbox, STORE_SYNC, on_read);
    shard_of(&inbox->owner.actor)->stats.gaps++;
    set_reading(inbox, true);
    request->store.sync.who = inbox_request_who(request);
    request->id = inbox->heard_rev; /* what is read for */
    request->store.sync.rev = inbox->rev;
    request->store.sync.limit = READ_LIMIT;
    request->store.sync.max_bytes = request->shard->config->outbound_bytes;
    inbox_request_submit(request);
}
