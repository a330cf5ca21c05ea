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

/*
 * Announce the change that a store_mark, store_erase or store_sweep made to these ids: all have one
 * rev, and there are at most ANNOUNCE_CHANGES_MAX of them (requests are bounded below that).
 */
void announce_changes(struct shard *shard, struct store_user who, struct store_position position,
    const struct notification_change *changes, size_t count);

/* The same for everything up to a seq, or to the newest if that is lower: no ids are sent. */
void announce_up_to(struct shard *shard, struct store_user who, struct store_position position,
    uint64_t up_to, const struct notification_change *last);

/* A post was a repeat: whoever holds the user looks whether the first announcement was lost. */
void announce_repeat(struct shard *shard, struct store_user who);

#endif
