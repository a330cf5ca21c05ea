/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over the users of tenants and topics, a bounded number of users in each turn.
 */
#include "actors/inbox/walk.h"

#include "actors/inbox/inbox.h"
#include "actors/inbox/positions.h"
#include "actors/shard.h"

static bool is_due(const struct walk *walk)
{
    return !list_empty(&walk->link);
}

/* Ask for the next users of the group, `most` at most; returns how many are left of these. */
static unsigned take(struct walks *walks, struct walk *walk, unsigned most)
{
    while (most > 0 && walk->at != &walk->users) {
        struct list *link = walk->at;
        walk->at = link->next;
        positions_ask_later(walks->shard->positions, walk->inbox_at(link));
        most--;
    }
    return most;
}

/* The walk is at its end: over, or to be made once more. */
static void end_round(struct walks *walks, struct walk *walk)
{
    list_remove(&walk->link);
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
        left = take(walks, walk, left);
        if (walk->at == &walk->users) {
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
    timer_init(&walks->timer, on_timer);
}

void walks_finish(struct walks *walks)
{
    timer_cancel(sched_timers(walks->shard->sched), &walks->timer);
    while (list_pop(&walks->due) != NULL) {
    }
}

void walk_init(struct walk *walk, struct inbox *(*inbox_at)(struct list *link))
{
    *walk = (struct walk){.inbox_at = inbox_at};
    list_init(&walk->users);
    list_init(&walk->link);
}

void walk_finish(struct walk *walk)
{
    list_remove(&walk->link);
}

bool walk_begin(struct walks *walks, struct walk *walk)
{
    if (is_due(walk)) {
        walk->again = walk->again || walk->at != walk->users.next;
        return false;
    }
    walk->at = walk->users.next;
    list_append(&walks->due, &walk->link);
    return true;
}

void walk_remove(struct walks *walks, struct walk *walk, struct list *link)
{
    if (is_due(walk)) {
        positions_ask_later(walks->shard->positions, walk->inbox_at(link));
    }
    if (walk->at == link) {
        walk->at = link->next;
    }
    list_remove(link);
}

void walks_flush(struct walks *walks)
{
    if (!timer_armed(&walks->timer)) {
        step(walks);
    }
}
