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
 *
 * With a bus, broadcasts come by a stream that all nodes read (sequencer_stream.c), and a place in
 * this log is a place in that stream, too: that is how a client of another node is continued.
 */
#ifndef ACTORS_RECOVER_REPLAY_H
#define ACTORS_RECOVER_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/stream_id.h"

struct broadcast;
struct event;
struct replay;

enum { REPLAY_NAME_LEN = 8, REPLAY_OFFSET_MAX = 80 };

struct replay_limits {
    uint64_t age_ms;
    size_t bytes;
    uint32_t events;
};

/* A place in the log: behind the event of this number, and behind this entry of the stream. */
struct replay_at {
    uint64_t number;
    struct stream_id stream;
};

/* A name under which a reader was reached by the events behind `from` up to `to`. */
struct room_span {
    struct bytes name; /* allocated with mem_dup; the list's owner frees it */
    struct replay_at from;
    struct replay_at to;
    bool over; /* `to` counts */
    bool presence; /* the others are told of coming and going */
    bool granted; /* the user's token allowed it, not a backend */
};

/* Who reads: the names it had, and the number behind which it reads. */
struct replay_reader {
    struct bytes sid;
    struct bytes user; /* wire name of the user's room */
    const struct room_span *spans;
    uint32_t span_count;
    uint64_t after;
    uint64_t
        adopted_at; /* up to here only what came by the stream: the rest was for other sockets */
};

/* An empty log; destroyed with what it holds. */
MUST_CHECK struct replay *replay_create(const struct replay_limits *limits);
void replay_destroy(struct replay *replay);

/* Behind the last event. */
struct replay_at replay_last(const struct replay *replay);

/* How many entries readers have looked at, whether they were for them or not. */
TEST_SEAM uint64_t replay_looked(const struct replay *replay);

/* Whether nothing is held. */
bool replay_is_empty(const struct replay *replay);

/*
 * Number a broadcast and keep a reference of it; a volatile one is numbered only. Returns the
 * number.
 */
uint64_t replay_add(struct replay *replay, struct broadcast *broadcast, uint64_t now_ms);

/* The same, and keep nothing: rooms remember it (room_memory.h), or nobody does. */
void replay_number(struct replay *replay, const struct broadcast *broadcast);

/* The same for an event that only the socket `sid` gets. */
uint64_t replay_add_direct(
    struct replay *replay, struct bytes sid, struct event *event, uint64_t now_ms);

/* The stream is known without a gap behind `from`, and nothing is before. */
void replay_stream_from(struct replay *replay, struct stream_id from);

/* Drop what is too old at `now_ms`. */
void replay_expire(struct replay *replay, uint64_t now_ms);

/*
 * Whether everything for `reader` is still here. Sums up the bytes of it in `*ret_bytes`; false
 * also above `max_bytes`.
 */
bool replay_is_whole(
    const struct replay *replay, const struct replay_reader *reader, size_t max_bytes);

/*
 * The next event for `reader` behind `*at`, which becomes its place; NULL: there is none.
 * Borrowed; start with reader->after.
 */
const struct event *replay_next(
    const struct replay *replay, const struct replay_reader *reader, struct replay_at *at);

/* Write the offset of the event at `at` to `text` (REPLAY_OFFSET_MAX bytes). */
struct bytes replay_write_offset(const struct replay *replay, struct replay_at at, char *text);

/* What an offset says; slices of it. */
struct replay_offset {
    struct bytes name; /* of the log that it is of */
    struct replay_at at;
    bool placed; /* it has a place in the stream */
};

/* Read an offset of any log. STATUS_INVALID. */
MUST_CHECK int replay_read_offset(struct bytes text, struct replay_offset *ret_offset);

/* The name of this log in its offsets. */
struct bytes replay_name(const struct replay *replay);

/*
 * The number in this log of a place in the stream. STATUS_AGAIN: it is not read so far;
 * STATUS_NOT_FOUND: from there on the stream is not known without a gap.
 */
MUST_CHECK int replay_find(
    const struct replay *replay, struct stream_id stream, uint64_t *ret_number);

/* Whether something for these spans, this sid or this user was dropped behind `after`. */
bool replay_lacks(
    const struct replay *replay, const struct replay_reader *reader, struct stream_id after);

#endif
