/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling many users, some in each turn.
 */
#include "actors/inbox/teller.h"

#include <limits.h>

#include "actors/shard.h"

/* The turn of the first, which comes behind the others when it has more. */
static void step(struct teller *teller)
{
    struct list *link = list_pop(&teller->tellings);
    struct telling *telling = container_of(link, struct telling, link);
    struct sched *sched = teller->shard->sched;
    timer_set(sched_timers(sched), &teller->timer, sched_now(sched) + TELLER_MS);
    if (telling->tell(telling, TELLER_USERS)) {
        list_append(&teller->tellings, link);
    }
}

static void on_timer(struct timer *timer)
{
    struct teller *teller = container_of(timer, struct teller, timer);
    if (!list_empty(&teller->tellings)) {
        step(teller);
    }
}

void teller_init(struct teller *teller, struct shard *shard)
{
    teller->shard = shard;
    list_init(&teller->tellings);
    timer_init(&teller->timer, on_timer);
}

void teller_finish(struct teller *teller)
{
    timer_cancel(sched_timers(teller->shard->sched), &teller->timer);
    for (struct list *link; (link = list_pop(&teller->tellings)) != NULL;) {
        struct telling *telling = container_of(link, struct telling, link);
        telling->drop(telling);
    }
}

void teller_tell(struct shard *shard, struct telling *telling)
{
    struct teller *teller = shard->teller;
    if (teller == NULL) {
        (void)telling->tell(telling, UINT_MAX);
        return;
    }
    list_append(&teller->tellings, &telling->link);
    if (!timer_armed(&teller->timer)) {
        step(teller);
    }
}
