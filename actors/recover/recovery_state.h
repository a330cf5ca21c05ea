/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery_state - what the files of recovery (recovery*.c) share; private to actors/.
 */
#ifndef ACTORS_RECOVER_RECOVERY_STATE_H
#define ACTORS_RECOVER_RECOVERY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/socket.h"
#include "actors/recover/recovery_lease.h"
#include "actors/recover/replay.h"
#include "actors/recover/room_memory.h"
#include "codec/base/buf.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

enum { RECOVERY_PID_LEN = SOCKET_SID_LEN };

struct recoverable {
    struct recovery *recovery;
    struct socket *socket; /* NULL while kept or claimed */
    struct buf *owner; /* key of the user actor */
    struct socket_owner *user; /* while kept; NULL: it is not here */
    struct list kept_link; /* recovery.kept */
    struct list dirty_link; /* recovery.dirty */
    struct list user_link; /* of owner_ops.kept */
    uint64_t due_ms; /* kept until then */
    struct recovery_member member; /* of the lease, while connected; `acked`: at first, its start */
    struct replay_at pinged; /* before the ping that is out */
    struct replay_at forgotten_to; /* a span that ended here was forgotten */
    uint64_t last_direct; /* the number of the last event to it alone */
    uint64_t adopted_at; /* where this log stood when the socket came from another node */
    uint64_t resume_after; /* claimed: what the client has */
    bool one_way; /* what it alone was told is not for who comes back */
    uint32_t listed; /* the term of the lease (recovery_lease.h) in whose list its record is */
    struct room_span *spans;
    uint32_t span_count;
    uint32_t span_cap;
    char sid[SOCKET_SID_LEN];
    char pid[RECOVERY_PID_LEN];
};

/* Who keeps records of sockets for other nodes (recovery_bus.c). */
struct recovery_records {
    /* Delete the record of a socket that cannot come back elsewhere. */
    void (*remove)(const struct recoverable *recoverable);
    /* The record is not this node's any more: take it off the list of its lease. */
    void (*unlist)(const struct recoverable *recoverable);
};

struct recovery {
    const struct recovery_records *records; /* NULL without a bus */
    struct deliver_watch watch; /* of the fan-out */
    struct fanout *fanout;
    bool recovers; /* sockets; else it is there for the rooms, and none of what follows is used */
    struct replay
        *replay; /* of what is sent; only its numbers and places where none are recovered */
    uint64_t late_at; /* what was told late is in no log: it came before this number; 0: nothing */
    struct room_memory *rooms; /* NULL: none has a memory */
    struct map by_sid;
    struct map by_pid;
    struct list kept; /* recoverable.kept_link, by due_ms */
    struct list dirty; /* recoverable.dirty_link: their records are to be written */
    uint32_t kept_count;
    struct recovery_lease *lease; /* of its records; NULL without a bus */
    struct timer tick;
};

/* What a fan-out keeps; NULL: nothing. */
static inline struct recovery *recovery_kept_of(const struct fanout *fanout)
{
    return fanout->watch != NULL ? container_of(fanout->watch, struct recovery, watch) : NULL;
}

/* The recovery of a fan-out; NULL: its namespace has none. */
static inline struct recovery *recovery_of(const struct fanout *fanout)
{
    struct recovery *kept = recovery_kept_of(fanout);
    return kept != NULL && kept->recovers ? kept : NULL;
}

/* What the fan-out shows (deliver/watch.h says what each is told); recovery_create: NULL when its
 * namespace has none, and no room a memory. */
MUST_CHECK struct recovery *recovery_create(struct fanout *fanout);
void recovery_destroy(struct recovery *recovery);
unsigned recovery_number(struct recovery *recovery, struct broadcast *broadcast);
MUST_CHECK struct event *recovery_mark(
    const struct recovery *recovery, const struct broadcast *broadcast, enum deliver_kind kind);
MUST_CHECK struct event *recovery_mark_direct(
    const struct socket *socket, const struct event *event);
void recovery_stream_from(struct recovery *recovery, struct stream_id from);
struct bytes recovery_sid(const struct recoverable *recoverable);
void recovery_enter(struct socket *socket, struct recoverable *claimed);
void recovery_joined(struct socket *socket, struct bytes room);
void recovery_left(struct socket *socket, struct bytes room);
void recovery_pinged(struct socket *socket);
void recovery_ponged(struct socket *socket);
bool recovery_keep(struct socket *socket, bool clean);
struct bytes recovery_pid(const struct socket *socket);
void recovery_place(const struct socket *socket, struct builder *out);

/* Add a recoverable without a socket to its recovery: `sid` and `pid` are set. False: no memory. */
MUST_CHECK bool recovery_put(struct recovery *recovery, struct recoverable *recoverable);

/* Add a span; copies its name. False: no memory. */
MUST_CHECK bool recovery_add_span(struct recoverable *recoverable, const struct room_span *span);

/* The span in `room` that has not ended; NULL: none. */
struct room_span *recovery_span_in(struct recoverable *recoverable, struct bytes room);

/* Forget the first span that ended, when there are too many. */
void recovery_trim_spans(struct recoverable *recoverable);

/*
 * The event with the offset of its place as an argument more. For clients of the plain WebSocket
 * (recovery_mark_plain) with its room, too, when only one of those that it goes to has a memory:
 * who is in that one may know its name. NULL: no memory. One reference.
 */
MUST_CHECK struct event *recovery_mark_text(
    const struct recovery *recovery, const struct event *event, struct replay_at at);
MUST_CHECK struct event *recovery_mark_plain(
    const struct recovery *recovery, const struct broadcast *broadcast, struct replay_at at);

/*
 * Send what a socket missed, `count` encoded events in `out`, which is taken, as one chunk, and
 * count them in `counter`. `starved`: not all could be encoded for want of memory, so nothing is
 * sent and the socket is told that it missed something.
 */
void recovery_send(
    struct socket *socket, struct builder *out, uint64_t count, bool starved, uint64_t *counter);

/* Look again in RECOVERY_TICK_MS at what is held. */
void recovery_arm(struct recovery *recovery);

/* Write the record of `recoverable` at the end of the turn; nothing without a bus. */
static inline void recovery_record_later(struct recoverable *recoverable)
{
    struct recovery *recovery = recoverable->recovery;
    if (recovery->lease != NULL && list_empty(&recoverable->dirty_link)) {
        list_append(&recovery->dirty, &recoverable->dirty_link);
    }
}

/* Keep what has no socket (any more) for `age_ms`; the oldest one may go. */
void recovery_wait(struct recoverable *recoverable, uint64_t age_ms);

/* Whether `name` is its sid, its user's room, or a room that it is in. */
bool recovery_goes_by(struct recoverable *kept, struct bytes name);

/* Take a kept one out of `room`, or (empty) give it up. */
void recovery_expel_one(struct recoverable *kept, struct bytes room);

/* Another node has continued this one: end its socket, give up its seats, leave its record. */
void recovery_hand_over(struct recovery *recovery, struct bytes pid);

/* Who reads what a recoverable missed; `user_at` has WIRE_NAME_MAX bytes. */
struct replay_reader recovery_reader(const struct recoverable *recoverable, char *user_at);

/* Records (recovery_record.c). */

/* Append what another node needs to know of it. */
void recovery_record_write(const struct recoverable *recoverable, struct builder *out);

/* Append how records name this node and shard. */
void recovery_record_write_home(const struct shard *shard, struct builder *out);

/* Whose a record is; slices of it. */
struct record_origin {
    struct bytes home; /* node and shard */
    struct bytes lease; /* name of the lease that it is under */
};

/* Read whose `record` is; STATUS_INVALID. */
MUST_CHECK int recovery_record_origin(struct bytes record, struct record_origin *ret_origin);

/*
 * Keep what a record describes as if it had been here, for who claims it; `lease` is the value of
 * its lease. STATUS_AGAIN: the stream is not read that far; another status: it cannot be continued
 * exactly.
 */
MUST_CHECK int recovery_record_adopt(struct recovery *recovery, struct bytes record,
    struct bytes lease, struct bytes owner, struct bytes pid, struct bytes offset);

/* The bus (recovery_bus.c). */

/* Write the records that are to be written. */
void recovery_bus_flush(struct recovery *recovery);

#endif
