/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which session a sid means, on each shard: sessions come, move on and go.
 *
 * A message to a session goes to the shard of its handshake and from there along the forwarding
 * entries. The entry is made before the session is sent on, and both travel the same way: whoever
 * follows it arrives behind the session.
 */
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/session/polling.h"
#include "hub/session/probe.h"
#include "hub/session/session_extra.h"

static struct bytes entry_sid(const struct poll_entry *entry)
{
    return bytes_of(entry->sid, sizeof(entry->sid));
}

static struct bytes key_of(const void *entry)
{
    return entry_sid(entry);
}

struct session *polling_entry_session(const struct poll_entry *entry)
{
    CHECK(!entry->forward);
    return (struct session *)(uintptr_t)&container_of(entry, const struct poll_session, entry)
        ->session;
}

struct bytes polling_sid(const struct session *session)
{
    return entry_sid(&poll_session_of(session)->entry);
}

/* --- homes --------------------------------------------------------------------------------- */

void polling_home_init(struct session_home *home)
{
    map_init(&home->polls.sids, key_of);
    map_init(&home->polls.calls, poll_call_key);
    map_init(&home->polls.probes, probe_key);
    unjoined_init(&home->polls.unjoined, home->layer->unjoined, sched_shard(home->shard->sched));
}

void polling_home_finish(struct session_home *home)
{
    size_t cursor = 0;
    struct poll_entry *entry;
    while ((entry = map_next(&home->polls.sids, &cursor))) {
        if (entry->forward) {
            mem_free(container_of(entry, struct poll_forward, entry));
        }
    }
    map_finish(&home->polls.sids);
    map_finish(&home->polls.calls);
    map_finish(&home->polls.probes);
    unjoined_finish(&home->polls.unjoined);
}

void polling_home_stop(struct session_home *home)
{
    home->polls.stopping = true;
    size_t cursor = 0;
    struct poll_entry *entry;
    while ((entry = map_next(&home->polls.sids, &cursor))) {
        struct session *session = entry->forward ? NULL : polling_entry_session(entry);
        if (session && polling_of(session)) {
            session_end(session, CLOSE_DRAINING);
            session_gone(session, CLOSE_DRAINING);
        }
    }
}

/* --- sessions ------------------------------------------------------------------------------ */

/* The oldest session here that has joined nothing, of the largest address, goes. */
static void drop_oldest(struct session_home *home)
{
    struct unjoined *unjoined = &home->polls.unjoined;
    uint32_t of_address;
    struct unjoined_seat *seat = unjoined_victim(unjoined, &of_address);
    if (seat == NULL) {
        return;
    }
    struct poll_session *poll = container_of(seat, struct poll_session, seat);
    unsigned suppressed;
    unjoined_remove(unjoined, seat);
    home->shard->stats.unjoined_dropped++;
    if (log_allow(&home->polls.floods, &suppressed)) {
        log_warn("POLLING-FLOOD", "long-polling sessions that join nothing are dropped",
            "address=%s sessions=%u suppressed=%u", log_quote(bytes_str(poll->remote)), of_address,
            suppressed);
    }
    if (!poll->session.moving) {
        session_end(&poll->session, CLOSE_TOO_MANY);
    }
}

/* Another shard has added one beyond the bound. */
static void on_excess(void *arg, bool cancelled)
{
    struct session_home *home = arg;
    if (!cancelled && !home->polls.stopping && unjoined_excess(&home->polls.unjoined, 0) > 0) {
        drop_oldest(home);
    }
}

/* Make room for one more. */
static void make_room(struct session_home *home)
{
    unsigned shard = unjoined_shard(&home->polls.unjoined);
    if (shard == sched_shard(home->shard->sched)) {
        drop_oldest(home);
    } else {
        sched_post(sched_system(home->shard->sched), shard, on_excess, &home->layer->homes[shard]);
    }
}

static void count_unjoined(struct session *session)
{
    struct unjoined *unjoined = &session->home->polls.unjoined;
    struct poll_session *poll = poll_session_of(session);
    if (unjoined_excess(unjoined, 1) > 0) {
        make_room(session->home);
    }
    unjoined_add(unjoined, &poll->seat, bytes_str(poll->remote));
}

static void discount_unjoined(struct session *session)
{
    unjoined_remove(&session->home->polls.unjoined, &poll_session_of(session)->seat);
}

struct session *polling_create(
    struct session_home *home, struct session_extra *extra, struct bytes remote)
{
    struct poll_session *poll = extra ? mem_try_calloc(1, sizeof(*poll)) : NULL;
    if (poll) {
        poll_call_draw_sid(home, poll->entry.sid);
    }
    if (!poll || !map_put(&home->polls.sids, &poll->entry)) {
        mem_free(poll);
        session_extra_destroy(extra);
        return NULL;
    }
    struct session *session = &poll->session;
    session->polled = 1;
    session_init(session, home, SESSION_ENGINE, extra);
    poll->polling = polling_new(session);
    size_t len = remote.len < sizeof(poll->remote) ? remote.len : sizeof(poll->remote) - 1;
    memcpy(poll->remote, remote.at, len);
    count_unjoined(session);
    return session;
}

void polling_joined(struct session *session)
{
    discount_unjoined(session);
}

/* The name is not known here any more. */
static void remove_name(struct session *session)
{
    struct map *sids = &session->home->polls.sids;
    const struct poll_entry *entry = &poll_session_of(session)->entry;
    if (map_get(sids, entry_sid(entry)) == entry) {
        map_remove(sids, entry_sid(entry));
    }
}

void polling_drop_forward(struct session_home *home, struct bytes sid)
{
    struct poll_entry *entry = map_get(&home->polls.sids, sid);
    if (entry && entry->forward) {
        map_remove(&home->polls.sids, sid);
        mem_free(container_of(entry, struct poll_forward, entry));
    }
}

void polling_forget(struct session *session)
{
    struct poll_session *poll = poll_session_of(session);
    struct session_home *home = session->home;
    struct bytes sid = polling_sid(session);
    unsigned here = sched_shard(home->shard->sched);
    int first = poll_call_shard(home, sid);
    remove_name(session);
    unsigned moves = home->polls.stopping ? 0 : poll->moves;
    for (unsigned i = 0; moves > 0 && i < home->layer->shard_count; i++) {
        if (i != here && (moves > 1 || (int)i == first)) {
            poll_call_tell(home, i, POLL_FORGET, (struct poll_ticket){0}, sid);
        }
    }
    poll->moves = 0;
}

void polling_finish(struct session *session)
{
    struct poll_session *poll = poll_session_of(session);
    polling_free(poll->polling);
    poll->polling = NULL;
}

/* --- moving -------------------------------------------------------------------------------- */

void polling_forward(struct session *session, unsigned shard)
{
    struct poll_session *poll = poll_session_of(session);
    struct poll_forward *forward = mem_alloc(sizeof(*forward));
    *forward = (struct poll_forward){.entry = poll->entry, .shard = shard};
    forward->entry.forward = true;
    discount_unjoined(session);
    struct map *sids = &session->home->polls.sids;
    if (map_replace(sids, forward) == NULL && !map_put(sids, forward)) {
        mem_free(forward); /* who asks here is told that it is unknown */
    }
    poll->moves += poll->moves < 2;
}

bool polling_arrive(struct session *session)
{
    struct poll_session *poll = poll_session_of(session);
    polling_drop_forward(session->home, polling_sid(session));
    bool known = map_put(&session->home->polls.sids, &poll->entry);
    if (session->identity == NULL) {
        count_unjoined(session);
    }
    return known;
}

/*
 * Chunks are shared within a shard only: what waits goes along as a copy. False: there is no memory
 * for it.
 */
static bool copy_waiting(struct outbox *outbox)
{
    struct builder all = {0};
    struct iovec range;
    while (outbox_peek(outbox, &range, 1, SIZE_MAX) > 0) {
        builder_add(&all, bytes_of(range.iov_base, range.iov_len));
        outbox_consume(outbox, range.iov_len);
    }
    outbox->busy = false;
    outbox_finish(outbox);
    bool empty = builder_bytes(&all).len == 0;
    struct chunk *copy = !empty ? chunk_take(&all) : NULL;
    bool whole = empty || copy != NULL;
    builder_reset(&all);
    if (copy) {
        struct list nowhere;
        list_init(&nowhere);
        (void)outbox_append(outbox, &nowhere, copy, 0, copy->len); /* it is empty: taken */
        list_remove(&outbox->dirty_link);
        chunk_unref(copy);
    }
    return whole;
}

static void on_arrived(void *arg, bool cancelled)
{
    struct session *session = arg;
    struct session_layer *layer = session->home->layer;
    struct polling *polling = polling_of(session);
    if (cancelled || layer->homes[polling->target].polls.stopping) {
        session_destroy(session);
        return;
    }
    struct session_home *home = &layer->homes[polling->target];
    polling->working = true; /* it may be sent on at once */
    session_arrived(session, home);
    polling->working = false;
    if (polling->lost) {
        session_end(session, CLOSE_NO_MEMORY);
    }
    if (!polling->outbox.busy && polling->outbox.bytes > 0 &&
        list_empty(&polling->outbox.dirty_link)) {
        list_append(&home->shard->dirty_outboxes, &polling->outbox.dirty_link);
    }
    polling_work(session);
}

void polling_depart(struct session *session)
{
    struct polling *polling = polling_of(session);
    bool held = polling->get.number != 0;
    polling->lost = !copy_waiting(&polling->outbox);
    polling->outbox.busy = !held;
    polling_forward(session, polling->target);
    sched_post(sched_system(session->home->shard->sched), polling->target, on_arrived, session);
}

void polling_move(struct session *session, unsigned shard)
{
    struct polling *polling = polling_of(session);
    polling->target = shard;
    if (!polling->working) {
        polling_depart(session);
    }
}
