/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_bus - a shard's side of the announcements between nodes: one channel per user held here.
 *
 * Two links of the shard's own: one subscribes the channel of each user on this shard, one
 * publishes. Kept apart from the broadcasts' link, so that a flood of room events cannot delay or
 * shed announcements. Not an actor: it is called by, and calls, actors of its own shard only.
 */
#ifndef ACTORS_INBOX_INBOX_BUS_H
#define ACTORS_INBOX_INBOX_BUS_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct inbox_bus;
struct shard;

/* Open the links of `shard`, which has a bus. */
MUST_CHECK struct inbox_bus *inbox_bus_create(struct shard *shard);

/* Close the links; no callback afterwards. NULL is allowed. */
void inbox_bus_destroy(struct inbox_bus *bus);

/* Whether announcements can come now (once a user's channel is confirmed). */
bool inbox_bus_is_up(const struct inbox_bus *bus);

/*
 * Begin or end to hear of the user `key`; user.feed tells when it is certain, or no more. False: no
 * memory, nothing will come.
 */
MUST_CHECK bool inbox_bus_watch(struct inbox_bus *bus, struct bytes key);
void inbox_bus_unwatch(struct inbox_bus *bus, struct bytes key);

/* How many users' announcements a shard remembers while its sender is down; behind that, all. */
enum { INBOX_BUS_LATE_MAX = 4096 };

/*
 * Publish an announcement for the user `key`. What Redis does not take is remembered, and announced
 * again, as a reason to look at the store, when the link is up. Takes no reference.
 */
void inbox_bus_announce(struct inbox_bus *bus, struct bytes key, struct buf *payload);

/* What is told of many users; posts to many have a channel of their own. */
struct inbox_bus_posts {
    void (*told)(void *context, struct bytes payload); /* by any node, this one too */
    void (*unsure)(void *context); /* a node cannot say whose inboxes have changed */
    void (*resumed)(void *context); /* what was told before this moment may be lost */
    void (*late)(void *context); /* the sender is up again, and something was not told */
};

/* Who hears of them from now on; NULL: nobody. */
void inbox_bus_hear_posts(
    struct inbox_bus *bus, const struct inbox_bus_posts *heard, void *context);

/* Tell all nodes; what Redis does not take is told as `late`. */
void inbox_bus_tell_post(struct inbox_bus *bus, struct bytes payload);

#endif
