/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part - the answer of a shard to a request that it carries out a part of.
 */
#ifndef ACTORS_ROOMS_PART_H
#define ACTORS_ROOMS_PART_H

#include "actors/deliver/fanout.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/sequencer_proto.h"

/* The answer to `msg`, to be filled in and sent to who asked. */
MUST_CHECK static inline struct sequencer_part *part_new(
    const struct fanout *fanout, const struct fanout_ask *msg)
{
    struct sequencer_part *part = sequencer_part_new();
    part->shard = sched_shard(fanout->shard->sched);
    part->serial = msg->serial;
    return part;
}

/* It cannot be done: no answer is better than a wrong one. */
static inline void part_fail(const struct fanout *fanout, const struct fanout_ask *msg)
{
    struct sequencer_part *part = part_new(fanout, msg);
    part->failed = true;
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

#endif
