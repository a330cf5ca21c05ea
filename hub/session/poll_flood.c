/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_flood - private to the session layer: sessions that poll and have joined nothing are
 * bounded.
 */
#include "hub/session/poll_flood.h"

#include "codec/base/log.h"
#include "hub/session/polling_state.h"

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
    if (poll->session.phase != SESSION_MOVING) {
        home->events->failed(&poll->session, CLOSE_TOO_MANY);
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

void poll_flood_enter(struct session *session)
{
    struct unjoined *unjoined = &session->home->polls.unjoined;
    struct poll_session *poll = poll_session_of(session);
    if (unjoined_excess(unjoined, 1) > 0) {
        make_room(session->home);
    }
    unjoined_add(unjoined, &poll->seat, bytes_str(poll->remote));
}

void poll_flood_leave(struct session *session)
{
    unjoined_remove(&session->home->polls.unjoined, &poll_session_of(session)->seat);
}
