/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_history - what is said in rooms whose type keeps it: it is stored before it is told.
 *
 * So whoever has joined a room finds in its history all that was told there before, and is told all
 * that comes after: nothing lies between. A shard's part stores one batch at a time, in the order
 * in which it came; what comes meanwhile waits for the next one, up to a bound.
 *
 * Kept are events in JSON that are not volatile and remove nothing that is retained; of those that
 * go to several rooms a message in each. Other events to such rooms wait for what came before them,
 * so that the order of a poster holds.
 */
#ifndef ACTORS_HISTORY_ROOM_HISTORY_H
#define ACTORS_HISTORY_ROOM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct broadcast;
struct room_history;
struct shard;

/* Make the part of `shard`, with its store; that of shard 0 also drops what is over. */
MUST_CHECK struct room_history *room_history_create(struct shard *shard);

/* Begin to end: what waits is refused, what the store was asked is answered. */
void room_history_close(struct room_history *history);

/* How much is under way. */
uint64_t room_history_pending(const struct room_history *history);

/* Free it, closed and with nothing under way. NULL is allowed. */
void room_history_destroy(struct room_history *history);

/* Whether what is said in the room (wire name) is kept. */
bool room_history_keeps(const struct shard *shard, struct bytes room);

/* Whether the broadcast goes to such a room: it is told behind a history_call. */
bool room_history_wants(const struct shard *shard, const struct broadcast *broadcast);

/* Whether the store can take it: if it is kept at all, it is not too large for that. */
bool room_history_takes(const struct broadcast *broadcast);

/* What room (wire name) in what space, as the store names them. */
struct bytes room_history_space(struct bytes room);

/* Somebody who has broadcasts kept. The caller's memory, until it is done. */
struct history_call {
    /*
     * Once, in a later turn than history_call_end. 0: all is kept. STATUS_UNAVAILABLE: not all, and
     * nothing is known to be under way; STATUS_UNKNOWN: nobody knows, the store did not answer.
     */
    void (*done)(struct history_call *call, int status);
    /* private */
    uint32_t left;
    int status;
};

/* Begin a call. */
void history_call_begin(
    struct history_call *call, void (*done)(struct history_call *call, int status));

/*
 * Keep a broadcast that room_history_wants, said by `user` (empty: a backend) in its first room as
 * `id` (of the slot of the room; NULL: a new one). One that is not to be kept follows those before.
 * What cannot wait is told by history_call_end.
 */
void history_call_add(struct history_call *call, struct shard *shard,
    const struct broadcast *broadcast, struct bytes user, const uint8_t *id);

/* Nothing is kept: wait for what waits by now. */
void history_call_follow(struct history_call *call, struct shard *shard);

/* All was added. STATUS_AGAIN: `done` is called later; else what it would say, and it is not. */
MUST_CHECK int history_call_end(struct history_call *call);

#endif
