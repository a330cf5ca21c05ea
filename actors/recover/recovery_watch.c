/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fan-out shows of its sockets goes to the recovery of its namespace; which of the kept ones
 * a request of another node sends away.
 */
#include "actors/recover/recovery.h"

#include "actors/recover/recovery_state.h"
#include "codec/adapter_request.h"

static struct recovery *as_recovery(struct deliver_watch *watch)
{
    return container_of(watch, struct recovery, watch);
}

static void on_destroy(struct deliver_watch *watch)
{
    recovery_destroy(as_recovery(watch));
}

static unsigned on_numbered(struct deliver_watch *watch, struct broadcast *broadcast)
{
    struct recovery *recovery = as_recovery(watch);
    unsigned kinds = recovery_number(recovery, broadcast);
    if (kinds != 0) {
        recovery_arm(recovery);
    }
    return kinds;
}

static struct event *on_mark(
    struct deliver_watch *watch, const struct broadcast *broadcast, enum deliver_kind kind)
{
    return recovery_mark(as_recovery(watch), broadcast, kind);
}

static void on_stream_from(struct deliver_watch *watch, struct stream_id from)
{
    recovery_stream_from(as_recovery(watch), from);
}

/* Of sockets their own node's record says what they may lack; rooms have none. */
static void on_strayed(struct deliver_watch *watch, struct stream_id before)
{
    if (as_recovery(watch)->rooms != NULL) {
        room_memory_strayed(as_recovery(watch)->rooms, before);
    }
}

/* Who would come back as if it had all must not come back as who it was. */
static void on_lost(struct deliver_watch *watch, struct bytes name)
{
    if (as_recovery(watch)->rooms != NULL) {
        room_memory_lost(as_recovery(watch)->rooms, name);
    }
    list_for_each_safe (link, following, &as_recovery(watch)->kept) {
        struct recoverable *kept = container_of(link, struct recoverable, kept_link);
        if (name.len == 0 || recovery_goes_by(kept, name)) {
            recovery_drop(kept);
        }
    }
}

static bool goes_by_any(struct recoverable *kept, struct adapter_names names)
{
    struct bytes name;
    while (adapter_names_next(&names, &name)) {
        if (recovery_goes_by(kept, name)) {
            return true;
        }
    }
    return false;
}

/* Who is sent away, or out of a room, must not come back as if nothing had been. */
static void on_expel(struct deliver_watch *watch, const struct adapter_request *request)
{
    bool everyone = request->options.rooms.count == 0 && request->sid.len == 0;
    list_for_each_safe (link, following, &as_recovery(watch)->kept) {
        struct recoverable *kept = container_of(link, struct recoverable, kept_link);
        bool meant = everyone || recovery_goes_by(kept, request->sid) ||
                     goes_by_any(kept, request->options.rooms);
        if (!meant || goes_by_any(kept, request->options.except)) {
            continue;
        }
        struct adapter_names rooms = request->targets;
        struct bytes room = {0};
        if (request->type == ADAPTER_DISCONNECT) {
            recovery_expel_one(kept, room);
            continue;
        }
        while (adapter_names_next(&rooms, &room)) {
            if (room.len > 0) { /* which would give it up */
                recovery_expel_one(kept, room);
            }
        }
    }
}

static const struct deliver_watch_ops watch_ops = {
    .destroy = on_destroy,
    .numbered = on_numbered,
    .mark = on_mark,
    .directed = recovery_mark_direct,
    .stream_from = on_stream_from,
    .strayed = on_strayed,
    .lost = on_lost,
    .expel = on_expel,
    .sid = recovery_sid,
    .entered = recovery_enter,
    .joined = recovery_joined,
    .left = recovery_left,
    .pinged = recovery_pinged,
    .ponged = recovery_ponged,
    .ended = recovery_keep,
    .place = recovery_place,
    .pid = recovery_pid,
};

void recovery_watch(struct fanout *fanout)
{
    struct recovery *recovery = recovery_create(fanout);
    if (recovery != NULL) {
        recovery->watch.ops = &watch_ops;
        fanout->watch = &recovery->watch;
    }
}

void recovery_flush(struct fanout *fanout)
{
    struct recovery *recovery = recovery_of(fanout);
    if (recovery != NULL) {
        recovery_bus_flush(recovery);
    }
}
