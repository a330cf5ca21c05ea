/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handoffs - notifications that nobody has received are pushed to the devices of their user.
 *
 * What is stored for a user with devices becomes jobs of the store, one for each row and device
 * (push_arrange.h), due when `push.after` has passed. One shard of each node leases them, as many
 * as the queue allows over the cluster, and looks at the row, the device and what the user prefers
 * as they are then: what was read or received meanwhile is not pushed. What was pushed and is read
 * later is cleared.
 *
 * A crash loses none: the job is given again when its lease ends. A repeat has the same tag and the
 * same topic, so a device shows one. Where an earlier attempt may have reached the device, what is
 * read by now is cleared.
 */
#ifndef HUB_PUSH_HANDOFFS_H
#define HUB_PUSH_HANDOFFS_H

#include <stdint.h>

#include "codec/base/check.h"

struct handoffs;
struct loop;
struct push;
struct push_settings;

/* What a shard counts. */
struct handoff_stats {
    uint64_t arranged; /* jobs made of what was stored or read; of shard 0 */
    uint64_t arrange_failures; /* steps that the store did not carry out; of shard 0 */
    uint64_t arrange_late_ms; /* since when none was carried out; of shard 0; 0: the last one was */
    uint64_t pushed; /* notifications that a provider took */
    uint64_t cleared; /* messages that clear, likewise */
    uint64_t read; /* not pushed: the row was read, or is gone */
    uint64_t received; /* a client had it */
    uint64_t in_front; /* the device is in front */
    uint64_t unwanted; /* by what the user prefers, or everybody */
    uint64_t quiet; /* the user is muted, or it was a quiet hour */
    uint64_t capped; /* more than the type's limit */
    uint64_t lapsed; /* longer under way than push.ttl, or expired */
    uint64_t gone; /* the device is no more, or its provider says so */
    uint64_t put_off; /* tries that end with another one later */
    uint64_t failed; /* for good, or until somebody tries again */
    uint64_t under_way; /* now */
};

/* Make them, of a loop's shard, on its thread. `push` sends; `settings` are borrowed until
 * handoffs_set. */
MUST_CHECK struct handoffs *handoffs_open(
    struct loop *loop, struct push *push, const struct push_settings *settings);

/* Change over to other settings; what is under way goes on. */
void handoffs_set(struct handoffs *handoffs, const struct push_settings *settings);

/* Begin to end: none is leased any more. What is being sent ends with push_close. */
void handoffs_close(struct handoffs *handoffs);

/* How much is under way: 0 when it was closed and may be destroyed. */
uint64_t handoffs_count_open(const struct handoffs *handoffs);

/* Free them; NULL is allowed. */
void handoffs_destroy(struct handoffs *handoffs);

/* What the shard counts, brought up to date. */
const struct handoff_stats *handoffs_get_stats(struct handoffs *handoffs);

#endif
