/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_memory - what rooms with a memory were sent lately, on one shard in one namespace; private
 * to actors/.
 *
 * Each room has its last events, bounded by what its type says; all rooms together are bounded,
 * too. Events are numbered by the shard's log (replay.h), whose offsets are positions here: a
 * number that means something on this shard, and a place in the stream, which means the same on
 * every shard and node. Events that came by no stream have no place of their own: who comes from
 * another shard is not continued over one of them.
 */
#ifndef ACTORS_RECOVER_ROOM_MEMORY_H
#define ACTORS_RECOVER_ROOM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/recover/replay.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/stream_id.h"

struct broadcast;
struct room_memory;
struct room_past;
struct shard;
struct shard_stats;

/* An empty memory of `shard`; numbers and places are those of `replay`, which must outlive it. */
MUST_CHECK struct room_memory *room_memory_create(struct shard *shard, const struct replay *replay);

/* Destroy it with what it holds; NULL is allowed. */
void room_memory_destroy(struct room_memory *memory);

/*
 * Keep the broadcast that `replay` has just numbered in each of its rooms that has a memory:
 * nothing of what is volatile, or only tells who comes, goes or types. Without memory for it the
 * room has a gap there.
 */
void room_memory_add(struct room_memory *memory, struct broadcast *broadcast);

/* The same as replay_stream_from, behind it. */
void room_memory_stream_from(struct room_memory *memory, struct stream_id from);

/* Something was sent on another node alone: who comes from there, from before `place`, lacks it. */
void room_memory_strayed(struct room_memory *memory, struct stream_id place);

/* Something that was for `room` (wire name; empty: for any) is missing, just behind what is here.
 */
void room_memory_lost(struct room_memory *memory, struct bytes room);

/* Forget what is too old now. */
void room_memory_expire(struct room_memory *memory);

/* Whether no room is held. */
bool room_memory_is_empty(const struct room_memory *memory);

/* What rooms remember takes of the memory of a node with `shards`; nothing but for the shard that
 * counts it. */
size_t room_memory_cost(const struct shard_stats *stats, unsigned shards);

/* Where somebody stands who has all that was sent so far. */
struct replay_at room_memory_here(const struct room_memory *memory);

/* What a client missed in a room, to be gone through at once. */
struct room_missed {
    const struct room_past *past; /* NULL: nothing is held of the room */
    uint32_t next;
    size_t bytes; /* of the events, as they came */
};

/*
 * What `room` (wire name) was sent behind the position `since`, an offset. STATUS_NOT_FOUND: that
 * is not exactly known here; STATUS_AGAIN: this node has not read so far; STATUS_INVALID: no
 * offset.
 */
MUST_CHECK int room_memory_find(struct room_memory *memory, struct bytes room, struct bytes since,
    struct room_missed *ret_missed);

/* The next one, and its place; NULL: there is none. Borrowed. */
const struct broadcast *room_memory_next(struct room_missed *missed, struct replay_at *ret_at);

#endif
