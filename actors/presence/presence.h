/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence - a shard's part in who is online: of its users it tells the other nodes.
 *
 * A user is online while it has a socket that is connected, on any node. Users tell their shard
 * here; whoever asks does so with presence_call.h.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_H
#define ACTORS_PRESENCE_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/presence/presence_stats.h"
#include "codec/base/check.h"

struct presence;
struct presence_watch;
struct shard;
struct socket_owner;

/* Make the part of `shard`, with a connection of its own where there is a bus. */
MUST_CHECK struct presence *presence_create(struct shard *shard);

/* Begin to end: the shard gives up its places. May be called again. */
void presence_close(struct presence *presence);

/* What is under way still: questions, and places that are being given up; 0: it has ended. */
uint64_t presence_open(const struct presence *presence);

/*
 * Free it, ended; or as a process ends that is killed, on the shard's thread. No owner is in a list
 * of it afterwards. NULL is allowed.
 */
void presence_destroy(struct presence *presence);

/* A socket of `owner` has come or gone. NULL: nobody is told. */
void presence_note(struct presence *presence, struct socket_owner *owner);

/* Whether others may know of `owner` (owner->shown) is another now. NULL: nobody is told. */
void presence_show(struct presence *presence, struct socket_owner *owner);

/* `owner`, which has no socket any more, ends. The same. */
void presence_forget(struct presence *presence, struct socket_owner *owner);

/* Who follows whom on this shard; NULL for NULL. */
struct presence_watch *presence_get_watch(const struct presence *presence);

/* An event was sent to who follows. */
void presence_count_event(struct presence *presence);

/* Its numbers now. */
const struct presence_stats *presence_get_stats(struct presence *presence);

#endif
