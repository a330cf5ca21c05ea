/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_share - which parts of what was posted for later are this node's, so that all nodes have
 * as many, but for one.
 *
 * Nodes that can store enter a set in Redis and stay in it as long as a lease. Sorted by name, the
 * node at place r of n has the parts p with p mod n = r: all nodes that read the same set agree.
 * The leases still say who has a part; this says who asks for which, and who gives which back.
 * While nothing is known every part may be asked for.
 */
#ifndef ACTORS_INBOX_SCHEDULE_SHARE_H
#define ACTORS_INBOX_SCHEDULE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/core/timer.h"
#include "actors/lease.h"
#include "sql/store.h"

struct shard;

struct schedule_share {
    /* private */
    struct shard *shard;
    struct bus_link *link;
    void (*changed)(void *context);
    void *context;
    struct timer timer;
    uint32_t parts; /* set of those that are ours */
    uint64_t heard_ms; /* when the set was last read; 0: never */
    uint64_t bereaved_ms; /* when one that had parts was last seen to be gone; 0: never */
    unsigned holder_count;
    char holders[STORE_SCHEDULE_PARTS][LEASE_VALUE_MAX]; /* those that have parts, by place */
    bool asking;
    bool entered;
    bool refused; /* as the operator was told */
    bool stopped;
};

/*
 * Begin to enter the set, over `link`, which must outlive the share. `changed(context)` is called
 * when other parts are ours than before.
 */
void schedule_share_start(struct schedule_share *share, struct shard *shard, struct bus_link *link,
    void (*changed)(void *context), void *context);

/*
 * Leave the set, and never enter it again. `fn` is called once with `context` when Redis has
 * answered, or cannot; before that if there was nothing to leave.
 */
void schedule_share_stop(struct schedule_share *share, bus_reply_fn fn, void *context);

/* Whether the part is ours, or nothing is known. */
bool schedule_share_has(const struct schedule_share *share, unsigned part);

/* When it was last known whose the parts are, on the shard's clock; 0: never. */
uint64_t schedule_share_heard(const struct schedule_share *share);

/* Whether a node that had parts was seen to be gone within the last `within_ms`, or nothing is
 * known. */
bool schedule_share_bereaved(const struct schedule_share *share, uint64_t within_ms);

#endif
