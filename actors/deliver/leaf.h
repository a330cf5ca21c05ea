/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leaf - the shard's part of a room: its local members as one dense array, and the window being
 * filled.
 *
 * No actor: it belongs to the shard's fan-out of the namespace (fanout.h), which decides when a
 * window is flushed. The order on a socket rests on one rule: whatever is to leave at once for a
 * socket (a direct message, joining or leaving a room, being an exception) first makes the socket
 * catch up: everything pending for it leaves, merged by number, and sent_through says so. A later
 * flush skips what sent_through covers.
 */
#ifndef ACTORS_DELIVER_LEAF_H
#define ACTORS_DELIVER_LEAF_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/deliver/socket_state.h"
#include "actors/deliver/watch.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/wire.h"

struct leaf;
struct shard;

/* The leaves of a namespace on a shard, and what they have in common; part of its fan-out. */
struct leaves {
    struct shard *shard;
    struct bytes nsp;
    struct map map; /* struct leaf by name */
    struct leaf *everyone;
    uint32_t dirty; /* leaves that have a window */
    uint64_t seen; /* number of the last broadcast */
    uint64_t member_slots; /* in the arrays of members of all leaves */
    uint64_t passed_over_through; /* no socket's sent_through is above it, but by a flush of one of
                                     its leaves */
};

/* One event of a window; `end` is where its item ends in the items of each format. */
struct pending {
    uint64_t number;
    struct event *event; /* one reference */
    struct deliver_marks marks; /* the same with its offset, one reference each; or none */
    uint32_t end[WIRE_FORMAT_COUNT];
};

/*
 * The events that wait, encoded by format when the first member of that format needs them. Items of
 * framed formats all begin with the separator (one byte of padding stands in front of the first),
 * so that any run of them can be put behind any other.
 */
struct window {
    struct pending *events;
    uint32_t count;
    uint32_t cap;
    bool has_volatile;
    size_t bytes; /* of the events, before they are encoded */
    struct builder items[WIRE_FORMAT_COUNT];
    uint32_t encoded[WIRE_FORMAT_COUNT]; /* how many events are in `items` */
    bool starved[WIRE_FORMAT_COUNT]; /* there was no memory for all of them */
};

struct leaf {
    struct leaves *leaves;
    struct list dirty_link; /* fanout.due or fanout.waiting; in neither while `window` is NULL */
    struct window *window;
    struct socket **members;
    uint32_t count;
    uint32_t cap;
    uint32_t by_format[WIRE_FORMAT_COUNT]; /* members of each format */
    uint16_t rules; /* shard.rules when what follows was asked */
    bool asked;
    uint8_t batching; /* enum room_batching */
    bool batch_event; /* windows are batch_update for WIRE_SIO, too */
    uint32_t sent; /* events within `tick`, a large room's flushes for more */
    uint64_t tick;
    uint32_t name_len;
    char name_at[];
};

/*
 * A leaf without members of the room `name`; freed with leaf_destroy when it has none any more.
 * NULL: no memory.
 */
MUST_CHECK struct leaf *leaf_create(struct leaves *leaves, struct bytes name);
void leaf_destroy(struct leaf *leaf);

/* The wire name of the room; empty for the leaf of everyone. */
static inline struct bytes leaf_name(const struct leaf *leaf)
{
    return bytes_of(leaf->name_at, leaf->name_len);
}

/* Make room for one more member; false: no memory. */
MUST_CHECK bool leaf_reserve(struct leaf *leaf);

/*
 * Add a socket that is no member and has caught up, into the room that was made for it. Returns its
 * place: where leaf_remove finds it.
 */
uint32_t leaf_add(struct leaf *leaf, struct socket *socket);

/*
 * Remove the member at `index`. Returns the socket that took its place, whose membership must be
 * given the new index, or NULL.
 */
struct socket *leaf_remove(struct leaf *leaf, uint32_t index);

/*
 * Add an event, numbered above all before, to the window. Takes a reference of `event`, and of
 * those in `marks`, which sockets get instead. False: no memory, the window is as it was, and its
 * members miss the event (leaf_missed).
 */
MUST_CHECK bool leaf_push(
    struct leaf *leaf, uint64_t number, struct event *event, const struct deliver_marks *marks);

/* All members but those that have event `number` miss it for want of memory (socket_missed). */
void leaf_missed(struct leaf *leaf, uint64_t number);

/*
 * Send the window to all members and forget it. The fan-out takes the leaf off its list. Who misses
 * any of it for want of memory is closed (socket_missed).
 */
void leaf_flush(struct leaf *leaf);

/*
 * Everything that is pending for `socket` in any of the leaves that it is in goes to its outbox,
 * merged by number, each number once, so that something may follow.
 */
void leaf_catch_up(struct leaves *leaves, struct socket *socket);

/* Nothing numbered so far is for `socket` any more: it left already, or came before it. */
static inline void leaf_pass_over(struct leaves *leaves, struct socket *socket)
{
    socket->sent_through = leaves->seen;
    leaves->passed_over_through = leaves->seen;
}

#endif
