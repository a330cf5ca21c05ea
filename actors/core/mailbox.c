/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox is a stack that is only ever emptied as a whole: a push is one compare-and-swap for
 * any number of messages, no push can be seen half done, and there is no ABA problem, because
 * nobody but the owner takes anything out. Reversing what was taken gives the order of pushes.
 */
#include "actors/core/mailbox.h"

_Static_assert(sizeof(struct actor) <= 64, "there is one for every connected user and every room");

void chain_add(struct chain *chain, struct msg *msg)
{
    msg->next = chain->newest;
    if (chain->newest == NULL) {
        chain->oldest = msg;
    }
    chain->newest = msg;
}

void fifo_append(struct fifo *fifo, struct msg *msg)
{
    msg->next = NULL;
    if (fifo->first == NULL) {
        fifo->first = msg;
    } else {
        fifo->last->next = msg;
    }
    fifo->last = msg;
}

void fifo_prepend_all(struct fifo *fifo, struct fifo *front)
{
    if (front->first == NULL) {
        return;
    }
    if (fifo->first == NULL) {
        fifo->last = front->last;
    } else {
        front->last->next = fifo->first;
    }
    fifo->first = front->first;
    *front = (struct fifo){0};
}

struct msg *fifo_pop(struct fifo *fifo)
{
    struct msg *msg = fifo->first;
    if (msg != NULL) {
        fifo->first = msg->next;
    }
    return msg;
}

bool inbox_push(struct inbox *inbox, struct chain *chain)
{
    /* Relaxed: only a guess, which the exchange below confirms. */
    struct msg *newest = atomic_load_explicit(&inbox->newest, memory_order_relaxed);
    do {
        chain->oldest->next = newest;
        /*
         * Release: the messages are complete when the acquire in inbox_drain sees them. A later
         * push is a read-modify-write and so does not break the release sequence of this one.
         */
    } while (!atomic_compare_exchange_weak_explicit(
        &inbox->newest, &newest, chain->newest, memory_order_release, memory_order_relaxed));
    *chain = (struct chain){0};
    return newest == NULL;
}

void inbox_drain(struct inbox *inbox, struct fifo *fifo)
{
    if (inbox_is_empty(inbox)) {
        return;
    }
    /* Acquire: partner of the release in inbox_push. Who pushes after this one finds NULL and
     * wakes us, so nothing can be left behind asleep. */
    struct msg *newest = atomic_exchange_explicit(&inbox->newest, NULL, memory_order_acquire);
    struct fifo drained = {.first = NULL, .last = newest};
    while (newest != NULL) {
        struct msg *older = newest->next;
        newest->next = drained.first;
        drained.first = newest;
        newest = older;
    }
    fifo_prepend_all(&drained, fifo);
    *fifo = drained;
}

bool inbox_is_empty(struct inbox *inbox)
{
    /* Relaxed: a push that is missed here has found NULL, or comes before a wake-up to come. */
    return atomic_load_explicit(&inbox->newest, memory_order_relaxed) == NULL;
}

bool line_add_handled(struct line *line, uint64_t count)
{
    /* Relaxed: only this thread writes it. */
    uint64_t handled = atomic_load_explicit(&line->handled, memory_order_relaxed) + count;
    /*
     * Sequentially consistent, as is the store to resume_at and the load of handled in
     * line_pressured: of the two sides, each storing its own word and then loading the other's,
     * one at least sees the other's store. Either the sender sees that it may go on, or we see
     * that it must be woken.
     */
    atomic_store_explicit(&line->handled, handled, memory_order_seq_cst);
    uint64_t resume_at = atomic_load_explicit(&line->resume_at, memory_order_seq_cst);
    return resume_at != 0 && handled >= resume_at;
}

static uint64_t waiting(struct line *line, memory_order order)
{
    return line->sent - atomic_load_explicit(&line->handled, order);
}

bool line_pressured(struct line *line)
{
    /* Relaxed: being told a little late that there is pressure does no harm. */
    if (!line->pressured && waiting(line, memory_order_relaxed) < SCHED_LINE_BOUND) {
        return false;
    }
    line->pressured = true;
    /* Partners: line_add_handled. */
    atomic_store_explicit(&line->resume_at, line->sent - SCHED_LINE_LOW, memory_order_seq_cst);
    if (waiting(line, memory_order_seq_cst) <= SCHED_LINE_LOW) {
        line->pressured = false;
        /* Relaxed: seen late, it costs one needless wake-up. */
        atomic_store_explicit(&line->resume_at, 0, memory_order_relaxed);
    }
    return line->pressured;
}

/* The mailbox of an actor is a ring of which `last` is known, its successor being the oldest. */

enum { SHED_QUEUED_MAX = (1 << 24) - 1 };

static bool is_shed(const struct msg *msg)
{
    return msg->kind->lane == LANE_SHED;
}

void mailbox_push(struct actor *actor, struct msg *msg)
{
    if (actor->last == NULL) {
        msg->next = msg;
    } else {
        msg->next = actor->last->next;
        actor->last->next = msg;
    }
    actor->last = msg;
    actor->queued++;
    /* A count that no longer fits stays too low: then fewer go than should, and nothing breaks. */
    if (is_shed(msg) && actor->shed_queued < SHED_QUEUED_MAX) {
        actor->shed_queued++;
    }
}

struct msg *mailbox_pop(struct actor *actor)
{
    if (actor->last == NULL) {
        return NULL;
    }
    struct msg *msg = actor->last->next;
    if (msg == actor->last) {
        actor->last = NULL;
    } else {
        actor->last->next = msg->next;
    }
    actor->queued--;
    if (is_shed(msg) && actor->shed_queued > 0) {
        actor->shed_queued--;
    }
    return msg;
}

struct msg *mailbox_shed(struct actor *actor)
{
    if (actor->shed_queued <= actor->behaviour->shed_bound || !is_shed(actor->last->next)) {
        return NULL;
    }
    return mailbox_pop(actor);
}
