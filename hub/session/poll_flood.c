/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_flood - private to the session layer: sessions that poll and have joined nothing are
 * bounded.
 */
#include "hub/session/poll_flood.h"

#include "codec/base/log.h"
#include "hub/session/polling_state.h"

/* The oldest session here that has joined nothing, of the largest address, goes. */
static void drop_oldest(struct session_part *part)
{
    struct unjoined *unjoined = &part->polls.unjoined;
    uint32_t of_address;
    struct unjoined_seat *seat = unjoined_victim(unjoined, &of_address);
    if (seat == NULL) {
        return;
    }
    struct poll_session *poll = container_of(seat, struct poll_session, seat);
    unsigned suppressed;
    unjoined_remove(unjoined, seat);
    part->shard->stats.unjoined_dropped++;
    if (log_allow(&part->polls.floods, &suppressed)) {
        log_warn("POLLING-FLOOD", "long-polling sessions that join nothing are dropped",
            "address=%s sessions=%u suppressed=%u", log_quote(bytes_str(poll->remote)), of_address,
            suppressed);
    }
    if (poll->session.phase != SESSION_MOVING) {
        part->events->failed(&poll->session, CLOSE_TOO_MANY);
    }
}

/* Another shard has added one beyond the bound. */
static void on_excess(void *arg, bool cancelled)
{
    struct session_part *part = arg;
    if (!cancelled && !part->polls.stopping && unjoined_excess(&part->polls.unjoined, 0) > 0) {
        drop_oldest(part);
    }
}

/* Make room for one more. */
static void make_room(struct session_part *part)
{
    unsigned shard = unjoined_shard(&part->polls.unjoined);
    if (shard == sched_shard(part->shard->sched)) {
        drop_oldest(part);
    } else {
        sched_post(sched_system(part->shard->sched), shard, on_excess, &part->layer->parts[shard]);
    }
}

void poll_flood_enter(struct session *session)
{
    struct unjoined *unjoined = &session->part->polls.unjoined;
    struct poll_session *poll = poll_session_of(session);
    if (unjoined_excess(unjoined, 1) > 0) {
        make_room(session->part);
    }
    unjoined_add(unjoined, &poll->seat, bytes_str(poll->remote));
}

void poll_flood_leave(struct session *session)
{
    unjoined_remove(&session->part->polls.unjoined, &poll_session_of(session)->seat);
}
