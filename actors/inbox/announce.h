/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce - tells whoever holds the user of a committed change of an inbox: the user actor of this
 * node by mailbox, those of other nodes by the user's channel.
 *
 * A hint: one that is lost shows as a jump of rev, or at the next recheck.
 */
#ifndef ACTORS_INBOX_ANNOUNCE_H
#define ACTORS_INBOX_ANNOUNCE_H

#include "codec/announce.h"
#include "sql/store.h"

struct shard;

/* Announce a row that a store_put has stored. */
void announce_row(struct shard *shard, const struct store_row *row);

/* Announce what a store_mark, or a step of one, has changed; nothing where it has not. */
void announce_mark(struct shard *shard, const struct store_mark *mark);

/* Announce what a store_edit has done. */
void announce_edit(struct shard *shard, const struct store_edit *edit);

/* Announce what a store_sweep has changed in one inbox. */
void announce_swept(struct shard *shard, const struct store_swept *swept);

/* A user's preferences have changed: whoever holds the user reads them. */
void announce_preferences(struct shard *shard, struct store_user who);

/* A post was a repeat: whoever holds the user looks whether the first announcement was lost. */
void announce_repeat(struct shard *shard, struct store_user who);

#endif
