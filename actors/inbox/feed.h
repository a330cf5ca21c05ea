/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed - a user's live feed: where the inbox stands, announcements, gaps.
 */
#ifndef ACTORS_INBOX_FEED_H
#define ACTORS_INBOX_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct inbox;
struct socket;
struct user_position;

void feed_start(struct inbox *inbox);
void feed_stop(struct inbox *inbox);
void feed_on(struct inbox *inbox, bool on);
void feed_position(struct inbox *inbox, const struct user_position *position);

/* The store says that inbox and preferences have got as far as these, at least. */
void feed_moved(struct inbox *inbox, uint64_t rev, uint64_t preference_rev);
void feed_apply(struct inbox *inbox, struct buf *payload);

/* Tell a socket hub:ready: the user's feed is certain to be on. */
void feed_ready(struct inbox *inbox, struct socket *socket);

/* Tell the sockets `unread`: called by the shard at the end of the turn. */
void feed_tell_unread(struct inbox *inbox);

/* A place that no inbox has. */
#define FEED_NOWHERE ((uint64_t)INT64_MAX)

/*
 * The rev up to which a client has had all of its inbox when it has had all that was sent to
 * `socket` so far; false: not known. Not inside a call of an actor: what it tells may not have been
 * sent yet.
 */
MUST_CHECK bool feed_place(const struct socket *socket, uint64_t *ret_rev);

/* A new socket is of a client that has had its inbox up to `rev`, perhaps elsewhere: it is told
 * what the store has above that; with FEED_NOWHERE, to list again (hub:resync). */
void feed_resume(struct socket *socket, uint64_t rev);

/* The outbox of a socket that is behind (socket.h) has room again. */
void feed_relieved(struct inbox *inbox, uint32_t socket_id);

#endif
