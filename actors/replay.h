/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay - what a shard sent in one namespace lately, in order, so that a client that was away gets
 * exactly what it missed.
 *
 * A log of broadcasts (shared by reference) and of direct events, numbered 1, 2, 3 … in the one
 * order in which this shard sends them; the number is the offset that goes out with each event. It
 * is bounded by age, bytes and events. What was dropped is not forgotten whole: for each name (a
 * room, a user, a sid) the number of the last event that was dropped stays known, in a table of
 * fixed size in which a name may only look newer than it is. So a reader whose rooms were idle is
 * known to have missed nothing, however much others were sent meanwhile.
 */
#ifndef ACTORS_REPLAY_H
#define ACTORS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct broadcast;
struct event;
struct replay;

enum { REPLAY_OFFSET_MAX = 32 };

struct replay_limits {
    uint64_t age_ms;
    size_t bytes;
    uint32_t events;
};

/* A name under which a reader was reached by the events above `from` up to `to`. */
struct stay {
    struct bytes name; /* allocated with mem_dup; the list's owner frees it */
    uint64_t from;
    uint64_t to; /* UINT64_MAX: it has not ended */
    bool loud; /* the others are told of coming and going */
    bool granted; /* the user's token allowed it, not a backend */
};

/* Who reads: the names it had, and the number behind which it reads. */
struct replay_reader {
    struct bytes sid;
    struct bytes user; /* wire name of the user's room */
    const struct stay *stays;
    uint32_t stay_count;
    uint64_t after;
};

/* An empty log; destroyed with what it holds. */
MUST_CHECK struct replay *replay_create(const struct replay_limits *limits);
void replay_destroy(struct replay *replay);

/* The number of the last event. */
uint64_t replay_last(const struct replay *replay);

/* Whether nothing is held. */
bool replay_is_empty(const struct replay *replay);

/*
 * Number a broadcast and keep a reference of it; a volatile one is numbered only. Returns the
 * number.
 */
uint64_t replay_add(struct replay *replay, struct broadcast *broadcast, uint64_t now_ms);

/* The same for an event that only the socket `sid` gets. */
uint64_t replay_add_direct(
    struct replay *replay, struct bytes sid, struct event *event, uint64_t now_ms);

/* Drop what is too old at `now_ms`. */
void replay_expire(struct replay *replay, uint64_t now_ms);

/*
 * Whether everything for `reader` is still here. Sums up the bytes of it in `*ret_bytes`; false
 * also above `max_bytes`.
 */
bool replay_is_whole(
    const struct replay *replay, const struct replay_reader *reader, size_t max_bytes);

/*
 * The next event for `reader` above `*number`, which becomes its number; NULL: there is none.
 * Borrowed; start with reader->after.
 */
const struct event *replay_next(
    const struct replay *replay, const struct replay_reader *reader, uint64_t *number);

/* Write the offset of event `number` to `at` (REPLAY_OFFSET_MAX bytes). */
struct bytes replay_write_offset(const struct replay *replay, uint64_t number, char *at);

/* Read an offset of this log; STATUS_NOT_FOUND: of another log, or none at all. */
MUST_CHECK int replay_read_offset(
    const struct replay *replay, struct bytes offset, uint64_t *ret_number);

#endif
