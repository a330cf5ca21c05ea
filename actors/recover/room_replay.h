/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_replay - rooms with a memory, for those above: where a room stands, and what a socket that
 * joins one missed there.
 */
#ifndef ACTORS_RECOVER_ROOM_REPLAY_H
#define ACTORS_RECOVER_ROOM_REPLAY_H

#include <stdbool.h>

#include "actors/recover/replay.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct broadcast;
struct fanout;
struct socket;

/*
 * The offset of who has all that `room` (wire name) was sent so far, written to `at`
 * (REPLAY_OFFSET_MAX bytes); empty: the room has no memory.
 */
MUST_CHECK struct bytes room_replay_position(
    const struct fanout *fanout, struct bytes room, char *at);

/*
 * Send `socket`, which has just become a member of `room`, what it missed there behind the offset
 * `since`, so that all that is sent to the room from now on follows. STATUS_NOT_FOUND: that is not
 * known exactly, or is too much at once; nothing is sent. STATUS_AGAIN: the client has seen more
 * than this node; ask again in a while, before it becomes a member.
 */
MUST_CHECK int room_replay_send(struct socket *socket, struct bytes room, struct bytes since);

/*
 * The same question without sending anything: 0, and the number of the first broadcast that was
 * missed; UINT64_MAX: none was.
 */
MUST_CHECK int room_replay_check(
    const struct fanout *fanout, struct bytes room, struct bytes since, uint64_t *ret_first);

/* Whether `socket` goes by a name that `broadcast` is not for. */
bool room_replay_is_excepted(const struct socket *socket, const struct broadcast *broadcast);

#endif
