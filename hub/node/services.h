/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services - what the shards of a node run: started in order, stopped in reverse, ended by counts.
 *
 * One table serves all shards. A row tells how much of its service is still open on a shard; the
 * node has ended when all counts are 0 on all shards, not when some time has passed. So that it
 * ends in any case, who waits does so up to a deadline, and is then told what is left, by name.
 */
#ifndef HUB_NODE_SERVICES_H
#define HUB_NODE_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct actor_system;
struct hub_shard;
struct loop;
struct services;

enum { SERVICES_MAX = 64 };

/* A row. All functions run on the shard's thread; each may be NULL. */
struct service {
    const char *name; /* as operators are told */
    /* Whether this shard has it; NULL: every shard. */
    bool (*wanted)(const struct hub_shard *shard);
    /* Start it. */
    void (*start)(struct hub_shard *shard);
    /* Start what may fail, in its place. Not 0: the shard does not start. */
    int (*try_start)(struct hub_shard *shard);
    /* Begin to end it, also after a start that failed. It may take turns: `open` tells. */
    void (*stop)(struct hub_shard *shard);
    /* How much of it is left, for a service that needs turns to end. */
    uint64_t (*open)(const struct hub_shard *shard);
    /* Stop it only when nothing of the rows behind it is open, on any shard of the node. */
    bool last;
    /* Stop it again while something is open: what comes late may bring it back. */
    bool again;
};

/* Make the services of all shards of `system`. `rows` is kept: at most SERVICES_MAX. */
MUST_CHECK struct services *services_create(
    const struct service *rows, size_t count, struct actor_system *system);

/* Free them, when all loops have ended. NULL is allowed. */
void services_destroy(struct services *services);

/*
 * Start the rows that shard number `index` wants, on its thread, before its first turn. On failure,
 * with the status of the row, those behind it are left out; services_stop ends the others.
 */
MUST_CHECK int services_start(
    struct services *services, unsigned index, struct hub_shard *shard, struct loop *loop);

/* Begin to stop: what is not `last` at once. On the shard's thread, in the on_stop of its loop. */
void services_stop(struct services *services, unsigned index);

/* Count what is open, and go on with stopping. At the end of every turn; without services_stop it
 * does nothing. */
void services_turn(struct services *services, unsigned index);

/* The shard's thread ends: the last thing it does. */
void services_ended(struct services *services, unsigned index);

/*
 * Wait until nothing is open on any shard that was started. Blocks the calling thread, which is no
 * shard's, up to the monotonic time `until_ms`: STATUS_TIMEOUT then.
 */
MUST_CHECK int services_wait(struct services *services, uint64_t until_ms);

/* Wait likewise until the threads of all shards that were started have ended (services_ended). */
MUST_CHECK int services_wait_ended(struct services *services, uint64_t until_ms);

/*
 * Write what is left, as "sessions 3, store 1", over all shards; "loops" counts threads that do not
 * end, or have not begun to stop. Any thread but a shard's.
 */
void services_write_left(struct services *services, struct builder *out);

#endif
