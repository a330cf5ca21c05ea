/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience - who of those that are online a post to many is for, and that they get it.
 *
 * Such a post is stored once (sql/store_audience.h); users have their own row when their inbox is
 * looked at. So every shard of every node is told of the post (a hint), and asks for the positions
 * of those of its users whom it concerns, in slices behind which nobody waits
 * (positions_ask_later). A tenant's posts are numbered without holes: the recheck asks for those of
 * which no hint came. Who connects reads its inbox anyway.
 *
 * One per shard; the functions do nothing where it is NULL (tests without).
 */
#ifndef ACTORS_INBOX_AUDIENCE_H
#define ACTORS_INBOX_AUDIENCE_H

#include "codec/base/check.h"
#include "sql/store.h"

struct audience;
struct inbox;
struct shard;

/*
 * Start serving `shard`, which has its positions; arms the recheck. From now on what is done for
 * many users is done in parts (shard.announcements, .teller, .walks).
 */
MUST_CHECK struct audience *audience_create(struct shard *shard);

/* Hear of the posts of other nodes, over the inbox bus of the shard. */
void audience_connect(struct audience *audience);

/* Free it; answers under way are dropped. The store port must have been closed before. */
void audience_destroy(struct audience *audience);

/* A user has come: its topics are read. Or it goes. */
void audience_enter(struct audience *audience, struct inbox *inbox);
void audience_leave(struct audience *audience, struct inbox *inbox);

/* The topics of the user may have changed: read them again. */
void audience_place(struct audience *audience, struct inbox *inbox);

/* A post was stored, or is a repeat: have all nodes serve those who are online. */
void audience_announce(struct audience *audience, const struct store_audience_post *post);

/*
 * A post of `tenant` to many was taken back, or has other content: have all nodes serve those who
 * are online. `name` is that of a topic. The sweep tells the others.
 */
void audience_announce_change(struct audience *audience, struct bytes tenant,
    enum notification_audience kind, struct bytes name);

/* End of a loop turn: ask the store. */
void audience_flush(struct audience *audience);

#endif
