/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk - goes through many users (all of a tenant, a topic's, all of the shard), and has something
 * done for each.
 *
 * A turn goes through WALK_USERS of them, whoever is meant and whatever for: the first at the end
 * of the turn that began the walk, the others every WALK_MS. A group that is begun again before its
 * walk is over is walked once more behind that, however often that was. Who is taken out of a group
 * before the walk has come to its end is visited at once.
 */
#ifndef ACTORS_INBOX_WALK_H
#define ACTORS_INBOX_WALK_H

#include <stdbool.h>

#include "actors/core/timer.h"
#include "codec/base/list.h"

struct shard;
struct walk;

enum { WALK_USERS = 2000, WALK_MS = 5 };

/* What is done for the user of a link. */
typedef void (*walk_visit_fn)(struct walk *walk, struct list *link);

/* A group of users; or everybody of a shard, gone through for one purpose. */
struct walk {
    struct list users; /* links that `visit` knows, of a group */
    /* private */
    struct list *all; /* whom it goes through: `users`, or shard.users */
    struct list link; /* walks.due; in none: no walk is under way */
    struct list everybody_link; /* walks.everybody; in none: it is a group's, or not under way */
    struct list *at; /* whom the walk comes to next; `all`: it is over */
    walk_visit_fn visit;
    bool again;
};

/* The walks of a shard. */
struct walks {
    struct shard *shard;
    struct list due; /* walk.link */
    struct list everybody; /* walk.everybody_link: those that go through shard.users */
    struct timer timer;
};

/* Begin and end: walks under way are dropped, their groups are not touched. */
void walks_init(struct walks *walks, struct shard *shard);
void walks_finish(struct walks *walks);

/* A group without users. */
void walk_init(struct walk *walk, walk_visit_fn visit);

/* Everybody of `shard`, by inbox.shard_link. */
void walk_init_everybody(struct walk *walk, struct shard *shard, walk_visit_fn visit);

/* Leave the group: its walk is dropped. */
void walk_finish(struct walk *walk);

/* Visit all users of the group; true: a walk begins with it, false: it is walked anyway. */
bool walk_begin(struct walks *walks, struct walk *walk);

/* The same of everybody of `shard`; at once where the shard has no walks. */
void walk_everybody(struct shard *shard, struct walk *walk);

/* Whether a walk is under way. */
bool walk_is_due(const struct walk *walk);

/* Take `link` out of the group. */
void walk_remove(struct walk *walk, struct list *link);

/* `link` is about to leave its place in the users of `shard`, for the end of them or for good. */
void walk_pass(struct shard *shard, struct list *link);

/* End of a turn: the first users of the walks that it began. */
void walks_flush(struct walks *walks);

#endif
