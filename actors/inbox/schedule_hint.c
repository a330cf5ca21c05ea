/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shard 0 delivers for the node; every shard keeps.
 */
#include "actors/inbox/schedule_hint.h"

#include "actors/shard.h"
#include "codec/base/mem.h"

struct hint {
    struct sched *sched; /* of shard 0 */
    uint64_t deliver_at;
};

static void on_hint(void *arg, bool cancelled)
{
    struct hint *hint = arg;
    const struct shard *shard = cancelled ? NULL : sched_user(hint->sched);
    if (shard != NULL && shard->schedule != NULL) {
        shard->schedule_kept(shard->schedule, hint->deliver_at);
    }
    mem_free(hint);
}

void schedule_hint(struct shard *shard, uint64_t deliver_at)
{
    struct actor_system *system = sched_system(shard->sched);
    struct hint *hint = mem_alloc(sizeof(*hint));
    hint->sched = actor_system_sched(system, 0);
    hint->deliver_at = deliver_at;
    sched_post(system, 0, on_hint, hint);
}
