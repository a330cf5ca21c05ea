/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery_bus - a shard's part in recovery between nodes: records of its sockets in Redis, and who
 * comes from another node.
 *
 * The record of a socket is written when it connects, when its rooms change, when something was
 * sent to it alone, and when it drops. It outlives the node: see recovery_lease.h. Who continues a
 * socket takes its record out and tells the node that it was on.
 */
#ifndef ACTORS_RECOVER_RECOVERY_BUS_H
#define ACTORS_RECOVER_RECOVERY_BUS_H

#include <stdbool.h>

#include "codec/base/check.h"

struct recovery_bus;
struct recovery_claim;
struct shard;

/* The part of `shard`, behind its fan-outs; NULL without a bus or without such a namespace. */
struct recovery_bus *recovery_bus_create(struct shard *shard);

/* Close its links; records span. NULL is allowed. */
void recovery_bus_destroy(struct recovery_bus *bus);

/*
 * Somebody who may have been on another node. The owner sets `done`, which is called once, in a
 * later turn: then recovery_claim finds the socket here, or there is none.
 */
struct recovery_fetch {
    void (*done)(struct recovery_fetch *fetch);
    void *context;
};

/* Look for the socket of `claim` on other nodes; NULL: there is nothing to look for. */
MUST_CHECK struct recovery_fetch *recovery_fetch_start(
    struct shard *shard, const struct recovery_claim *claim);

/* Nobody waits for it any more: `done` is not called. */
void recovery_fetch_cancel(struct recovery_fetch *fetch);

#endif
