/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster - a shard's side of the announcements between nodes: one channel per user held here.
 *
 * Two links of the shard's own: one subscribes the channel of each user on this shard, one
 * publishes. Kept apart from the broadcasts' link, so that a flood of room events cannot delay or
 * shed announcements. Not an actor: it is called by, and calls, actors of its own shard only.
 */
#ifndef ACTORS_INBOX_CLUSTER_H
#define ACTORS_INBOX_CLUSTER_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct cluster;
struct shard;

/* Open the links of `shard`, which has a bus. */
MUST_CHECK struct cluster *cluster_create(struct shard *shard);

/* Close the links; no callback afterwards. NULL is allowed. */
void cluster_destroy(struct cluster *cluster);

/* Whether announcements can come now (once a user's channel is confirmed). */
bool cluster_is_up(const struct cluster *cluster);

/*
 * Begin or end to hear of the user `key`; user.feed tells when it is certain, or no more. False: no
 * memory, nothing will come.
 */
MUST_CHECK bool cluster_watch(struct cluster *cluster, struct bytes key);
void cluster_unwatch(struct cluster *cluster, struct bytes key);

/* How many users' announcements a shard remembers while its sender is down; behind that, all. */
enum { CLUSTER_LATE_MAX = 4096 };

/*
 * Publish an announcement for the user `key`. What Redis does not take is remembered, and announced
 * again, as a reason to look at the store, when the link is up. Takes no reference.
 */
void cluster_announce(struct cluster *cluster, struct bytes key, struct buf *payload);

#endif
