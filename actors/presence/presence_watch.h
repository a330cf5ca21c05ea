/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_watch - those whom sockets of a shard follow: what these are told, and when it changes.
 *
 * What is heard (a change on this node, a message of another, a place that has come or ended) is
 * only a reason to ask (presence_call.h); what was answered is told where it is another than what
 * was told before. Who is online no more is told so after presence.linger, unless by a node that is
 * dead. Where messages were lost the numbers of changes do not fit, and all are asked for again.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_WATCH_H
#define ACTORS_PRESENCE_PRESENCE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct presence_follow;
struct presence_part;
struct presence_watch;
struct shard;
struct watched;

/* How a user is. One who hides is so to others, to itself it is online. */
enum presence_shown { SHOWN_NOTHING, SHOWN_ONLINE, SHOWN_HIDDEN, SHOWN_OFFLINE };

/* The user of `follow` is so now. On its shard, in a later turn than what caused it. */
typedef void (*presence_follow_fn)(struct presence_follow *follow, enum presence_shown shown);

/* One who is told of one user; embedded. */
struct presence_follow {
    presence_follow_fn tell;
    /* private */
    struct list link; /* watched.follows */
    struct watched *watched;
    bool told; /* the present state */
};

/* Make that of `shard`; the connection is opened with the first who is followed. */
MUST_CHECK struct presence_watch *presence_watch_create(struct shard *shard);

/* Close the connection: nobody is told any more. May be called again. */
void presence_watch_close(struct presence_watch *watch);

/* Close and free it; whoever still follows is told no more. NULL is allowed. */
void presence_watch_destroy(struct presence_watch *watch);

/*
 * Tell `follow` whether the user `key` is online, and each time that changes. False: no memory.
 */
MUST_CHECK bool presence_follow_begin(
    struct presence_watch *watch, struct presence_follow *follow, struct bytes key);

/*
 * It is told no more; one that was not begun, or has ended, is left as it is. `watch` may be NULL
 * when it is gone.
 */
void presence_follow_end(struct presence_watch *watch, struct presence_follow *follow);

/* The id of the user whom `follow`, which was begun and has not ended, is told of. */
struct bytes presence_follow_user(const struct presence_follow *follow);

/* The user `key` of this shard has come or gone: the shards of this node that follow anybody are
 * told soon. */
void presence_watch_note(struct presence_watch *watch, struct bytes key);

/* What is known of a part is new. */
void presence_watch_viewed(struct presence_watch *watch, const struct presence_part *part);

/* How many users are followed. */
uint64_t presence_watch_count(const struct presence_watch *watch);

#endif
