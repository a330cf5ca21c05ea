/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce_queue - has announcements leave, a bounded number in each turn, however many a commit
 * or a sweep has made.
 *
 * What fits into a turn leaves at once; the rest waits by inbox, in the order in which inboxes
 * began to wait, and goes on in the next turn, a millisecond later. Those of one inbox leave in the
 * order in which they were made. What is urgent goes in front, with all that waits for its inbox.
 * One per shard, of its audience (shard.announcements); where there is none, all leave at once.
 */
#ifndef ACTORS_INBOX_ANNOUNCE_QUEUE_H
#define ACTORS_INBOX_ANNOUNCE_QUEUE_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct announce_queue;
struct shard;

/*
 * How many leave in a turn. Beyond ANNOUNCE_WAITING_MAX of a shard, or ANNOUNCE_BYTES_MAX, or
 * without memory, they leave at once all the same: that is counted, and nothing is lost.
 */
enum { ANNOUNCE_TURN = 200, ANNOUNCE_MS = 1, ANNOUNCE_WAITING_MAX = 100000 };
enum { ANNOUNCE_BYTES_MAX = 64 << 20 };

/* Begin, and end: what waits is dropped (announce_queue_send_all before). */
MUST_CHECK struct announce_queue *announce_queue_create(struct shard *shard);
void announce_queue_destroy(struct announce_queue *queue);

/*
 * Send `payload`, of which it takes a reference over, to the user actors `key` of this node and of
 * the others.
 */
void announce_queue_add(struct shard *shard, struct bytes key, struct buf *payload, bool urgent);

/* End of a turn: the next one may send as many again. */
void announce_queue_flush(struct announce_queue *queue);

/* Send all that waits: the node ends. NULL is allowed. */
void announce_queue_send_all(struct announce_queue *queue);

#endif
