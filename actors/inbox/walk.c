/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over the users of tenants, of topics and of a shard, a bounded number in each turn.
 */
#include "actors/inbox/walk.h"

#include "actors/shard.h"

bool walk_is_due(const struct walk *walk)
{
    return !list_empty(&walk->link);
}

/* Visit the next users of the group, `most` at most; returns how many are left of these. */
static unsigned take(struct walk *walk, unsigned most)
{
    while (most > 0 && walk->at != walk->all) {
        struct list *link = walk->at;
        walk->at = link->next;
        walk->visit(walk, link);
        most--;
    }
    return most;
}

/* The walk is at its end: over, or to be made once more. */
static void end_round(struct walks *walks, struct walk *walk)
{
    walk_finish(walk);
    if (walk->again) {
        walk->again = false;
        (void)walk_begin(walks, walk);
    }
}

/* As many users as a turn goes through; a group that is not done comes behind the others. */
static void step(struct walks *walks)
{
    unsigned left = WALK_USERS;
    while (left > 0 && !list_empty(&walks->due)) {
        struct walk *walk = container_of(walks->due.next, struct walk, link);
        left = take(walk, left);
        if (walk->at == walk->all) {
            end_round(walks, walk);
            left -= left > 0; /* so that groups without users end, too */
        } else {
            list_remove(&walk->link);
            list_append(&walks->due, &walk->link);
        }
    }
    if (!list_empty(&walks->due)) {
        struct sched *sched = walks->shard->sched;
        timer_set(sched_timers(sched), &walks->timer, sched_now(sched) + WALK_MS);
    }
}

static void on_timer(struct timer *timer)
{
    step(container_of(timer, struct walks, timer));
}

void walks_init(struct walks *walks, struct shard *shard)
{
    walks->shard = shard;
    list_init(&walks->due);
    list_init(&walks->everybody);
    timer_init(&walks->timer, on_timer);
}

void walks_finish(struct walks *walks)
{
    timer_cancel(sched_timers(walks->shard->sched), &walks->timer);
    while (list_pop(&walks->due) != NULL) {
    }
    while (list_pop(&walks->everybody) != NULL) {
    }
}

void walk_init(struct walk *walk, walk_visit_fn visit)
{
    *walk = (struct walk){.visit = visit, .all = &walk->users};
    list_init(&walk->users);
    list_init(&walk->link);
    list_init(&walk->everybody_link);
}

void walk_init_everybody(struct walk *walk, struct shard *shard, walk_visit_fn visit)
{
    walk_init(walk, visit);
    walk->all = &shard->users;
}

void walk_finish(struct walk *walk)
{
    list_remove(&walk->link);
    list_remove(&walk->everybody_link);
}

bool walk_begin(struct walks *walks, struct walk *walk)
{
    if (walk_is_due(walk)) {
        walk->again = walk->again || walk->at != walk->all->next;
        return false;
    }
    walk->at = walk->all->next;
    list_append(&walks->due, &walk->link);
    if (walk->all != &walk->users) {
        list_append(&walks->everybody, &walk->everybody_link);
    }
    return true;
}

void walk_everybody(struct shard *shard, struct walk *walk)
{
    if (shard->walks != NULL) {
        (void)walk_begin(shard->walks, walk);
        return;
    }
    list_for_each_safe (link, following, walk->all) {
        walk->visit(walk, link);
    }
}

void walk_remove(struct walk *walk, struct list *link)
{
    if (walk_is_due(walk)) {
        walk->visit(walk, link);
    }
    if (walk->at == link) {
        walk->at = link->next;
    }
    list_remove(link);
}

void walk_pass(struct shard *shard, struct list *link)
{
    if (shard->walks == NULL) {
        return;
    }
    list_for_each (each, &shard->walks->everybody) {
        struct walk *walk = container_of(each, struct walk, everybody_link);
        walk->at = walk->at == link ? link->next : walk->at;
    }
}

void walks_flush(struct walks *walks)
{
    if (!timer_armed(&walks->timer)) {
        step(walks);
    }
}
