/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer_kept - what is kept of broadcasts, between nodes: the state that the file which writes
 * it and the one that reads it have in common.
 */
#ifndef ACTORS_ORDER_SEQUENCER_KEPT_H
#define ACTORS_ORDER_SEQUENCER_KEPT_H

#include "actors/deliver/retained.h"
#include "actors/order/sequencer_actor.h"

enum { KEPT_NAME_MAX = 255, KEPT_CURSOR_MAX = 32 };

struct sequencer_kept {
    struct sequencer *sequencer;
    struct retained *index;
    struct buf *key;
    bool strays; /* something is to be posted again, */
    bool fresh; /* after what was asked of the stream from then on has been read */
    bool told; /* of a refusal, to the operator */
    /* a reading of the hash */
    struct kept_reading reading;
    struct timer timer; /* while the shards are under pressure */
    char cursor[KEPT_CURSOR_MAX];
};

static inline struct shard *kept_shard(const struct sequencer_kept *kept)
{
    return shard_of(&kept->sequencer->actor);
}

static inline uint64_t kept_wall(const struct sequencer_kept *kept)
{
    return sched_wall(kept->sequencer->actor.sched);
}

static inline const struct bus_ops *kept_ops(const struct sequencer_kept *kept)
{
    return kept_shard(kept)->bus->ops;
}

/* Take a value out of Redis that has ended, unless it is another one by now. */
void kept_drop(struct sequencer_kept *kept, struct bytes field, struct stream_id place);

#endif
