/* SPDX-License-Identifier: Apache-2.0 */
/*
 * positions - asks the store where the inboxes of users stand, many at a time.
 *
 * One per shard. Users that connect are asked for together; the answer reaches each user actor as
 * user.position. One query is under way at a time: what is asked meanwhile joins the next.
 *
 * What was announced and got lost is found within the interval of the recheck: shard 0 asks the
 * store for the node which inboxes have changed since it asked last, and tells those that are
 * online by user.moved. So the recheck costs what was written, not who is online; where more has
 * changed than is worth listing, all users online are asked for instead.
 */
#ifndef ACTORS_INBOX_POSITIONS_H
#define ACTORS_INBOX_POSITIONS_H

#include "codec/base/check.h"

struct outbox;
struct positions;
struct shard;
struct inbox;

/* Start asking for `shard`; arms the recheck. */
MUST_CHECK struct positions *positions_create(struct shard *shard);

/* Stop; an answer under way is dropped. The store port must have been closed before. */
void positions_destroy(struct positions *positions);

/* Ask for `inbox`, at the end of the turn; nothing when it waits already. */
void positions_ask(struct positions *positions, struct inbox *inbox);

/*
 * Ask for `inbox` because a post to many may concern it: in slices that nobody waits behind, and no
 * faster than inboxes are read. Nothing when it waits for that already.
 */
void positions_ask_later(struct positions *positions, struct inbox *inbox);

/* End of a loop turn: ask the store. */
void positions_flush(struct positions *positions);

/*
 * What waits in `outbox` leaves with what the position of its user makes: two milliseconds later
 * at the latest.
 */
void positions_hold(struct positions *positions, struct outbox *outbox);

/* Ask what has changed, soon, and not only at the next recheck; from any shard of the node. */
void positions_look(struct shard *shard);

/* Compare all users of the node, after the store may have become another one, with what the server
 * has that is written to: a user who has more is the proof that it lost commits (store_tell_loss).
 * Until each was answered it is asked again. From any shard. */
void positions_compare(struct shard *shard);

#endif
