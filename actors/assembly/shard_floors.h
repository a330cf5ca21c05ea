/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_floors - a shard with all its floors: how it begins and ends, and the end of a turn.
 *
 * The one place that knows every floor of actors/, so that the floors need not know each other.
 */
#ifndef ACTORS_ASSEMBLY_SHARD_FLOORS_H
#define ACTORS_ASSEMBLY_SHARD_FLOORS_H

#include "codec/base/bytes.h"

struct actor_config;
struct fanout;
struct sched;
struct shard;

/* Prepare a shard for `sched` (which it is bound to with sched_bind by the hub). */
void shard_init(struct shard *shard, struct sched *sched, const struct actor_config *config);

/*
 * Open namespace `nsp`: start its fan-out on this shard, which recovers sockets where it is
 * configured so, and attach it to its sequencer. Once per shard and namespace, before any socket.
 */
struct fanout *shard_open_nsp(struct shard *shard, struct bytes nsp);

/* Free what shard_init made; after all its sockets and actors have gone. */
void shard_finish(struct shard *shard);

/*
 * End of a loop turn: flush the leaves that are due, then write every dirty outbox once. Called by
 * the loop after sched_run.
 */
void shard_flush(struct shard *shard);

#endif
