/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk - goes through the many users whom a post may concern (all of a tenant, a topic's), and has
 * their positions asked for (positions_ask_later).
 *
 * A turn goes through WALK_USERS of them, whoever is meant and however many posts there were: the
 * first at the end of the turn that began the walk, the others every WALK_MS. A group that is
 * begun again before its walk is over is walked once more behind that, however often that was. Who
 * is taken out of a group before the walk has come to its end is asked for at once.
 */
#ifndef ACTORS_INBOX_WALK_H
#define ACTORS_INBOX_WALK_H

#include <stdbool.h>

#include "actors/core/timer.h"
#include "codec/base/list.h"

struct inbox;
struct shard;

enum { WALK_USERS = 2000, WALK_MS = 5 };

/* The users of one tenant or topic. */
struct walk {
    struct list users; /* links that `inbox_at` knows */
    /* private */
    struct list link; /* walks.due; in none: no walk is under way */
    struct list *at; /* whom the walk comes to next; `users`: it is over */
    struct inbox *(*inbox_at)(struct list *link);
    bool again;
};

/* The walks of a shard. */
struct walks {
    struct shard *shard;
    struct list due; /* walk.link */
    struct timer timer;
};

/* Begin and end: walks under way are dropped, their groups are not touched. */
void walks_init(struct walks *walks, struct shard *shard);
void walks_finish(struct walks *walks);

/* A group without users. */
void walk_init(struct walk *walk, struct inbox *(*inbox_at)(struct list *link));

/* Leave the group: its walk is dropped. */
void walk_finish(struct walk *walk);

/* Ask for all users of the group; true: a walk begins with it, false: it is walked anyway. */
bool walk_begin(struct walks *walks, struct walk *walk);

/* Take `link` out of the group. */
void walk_remove(struct walks *walks, struct walk *walk, struct list *link);

/* End of a turn: the first users of the walks that it began. */
void walks_flush(struct walks *walks);

#endif
