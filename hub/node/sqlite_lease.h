/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_lease - the claim of a node that stores in SQLite on its Redis: no other such node may
 * share it.
 *
 * Two of them would each have a part of what was posted. The claim is the key `<prefix>:sqlite`, a
 * lease (actors/lease.h) that names the file: who has its lock takes the claim of its former self
 * over at once, any other waits until it has run out.
 */
#ifndef HUB_NODE_SQLITE_LEASE_H
#define HUB_NODE_SQLITE_LEASE_H

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct hub;
struct hub_shard;
struct sqlite_lease;

/*
 * Claim the Redis of a node that has one and stores in SQLite; nothing otherwise. On the main
 * thread, behind store_open and before the shards start; waits for as long as a claim lives that
 * nobody renews. STATUS_EXISTS when another node holds it, or why Redis cannot be used, with a
 * sentence in `error`.
 */
MUST_CHECK int sqlite_lease_claim(struct hub *hub, struct builder *error);

/* Whether a node claims one: it stores in SQLite and has a Redis. */
bool sqlite_lease_is_wanted(const struct hub *hub);

/* Keep what was claimed, on one shard of a node that wants it. */
void sqlite_lease_start(struct hub_shard *shard);

/* Give it back and end; shard->sqlite_lease is NULL when that is done, in a later turn. */
void sqlite_lease_stop(struct hub_shard *shard);

#endif
