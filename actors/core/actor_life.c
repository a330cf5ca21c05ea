/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An actor begins, is found, and stops.
 */
#include "actors/core/actor.h"

#include "actors/core/internal.h"

bool actor_start(struct actor *actor, const struct behaviour *behaviour, struct sched *sched)
{
    CHECK(behaviour->destroy != NULL);
    *actor = (struct actor){.behaviour = behaviour, .sched = sched};
    list_init(&actor->run);
    if (!registry_add(&sched->registry, actor, sched->shard)) {
        return false;
    }
    sched->stats.actors++;
    return true;
}

/*
 * Empty the mailbox. Messages by name go back to where they wait for whoever has the name then,
 * ahead of all that arrived later: so one that creates its actor is never lost to one that is
 * just stopping.
 */
static void empty_mailbox(struct sched *sched, struct actor *actor)
{
    struct fifo by_name = {0};
    struct msg *msg;
    while ((msg = mailbox_pop(actor)) != NULL) {
        if (ref_is_set(msg->to) || sched->system->closing) {
            sched_drop_msg(sched, msg);
        } else {
            fifo_append(&by_name, msg);
        }
    }
    if (by_name.first != NULL) {
        sched->unseen = !sched->running;
        fifo_prepend_all(&sched->arrived, &by_name);
    }
}

void actor_stop(struct actor *actor)
{
    if ((actor->flags & ACTOR_STOPPED) != 0) {
        return;
    }
    struct sched *sched = actor->sched;
    registry_remove(&sched->registry, actor);
    sched->stats.actors--;
    if ((actor->flags & ACTOR_QUEUED) != 0) {
        list_remove(&actor->run);
        sched->stats.run_queue--;
    }
    actor->flags = ACTOR_STOPPED;
    empty_mailbox(sched, actor);
    list_append(&sched->stopped, &actor->run);
    sched_destroy_stopped(sched);
}

struct actor *actor_find(struct sched *sched, const struct behaviour *behaviour, struct bytes key)
{
    return registry_find(&sched->registry, behaviour, key);
}

struct actor *actor_get(struct sched *sched, struct actor_ref ref)
{
    return ref.shard == sched->shard ? registry_get(&sched->registry, ref) : NULL;
}
