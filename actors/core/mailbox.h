/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox - where messages wait: a shard's inbox, written by all threads, the counters of a
 * line, and the mailbox of one actor. Private to actors/core.
 *
 * All atomics of the runtime are in mailbox.c.
 */
#ifndef ACTORS_CORE_MAILBOX_H
#define ACTORS_CORE_MAILBOX_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "actors/core/actor.h"
#include "actors/core/msg.h"
#include "actors/core/sched_types.h"

enum { CACHE_LINE = 64 };

/* What one sender has for one inbox, the newest first: the order in which the inbox is linked. */
struct chain {
    struct msg *newest; /* NULL: empty */
    struct msg *oldest;
};

/* Add `msg` to `chain`. */
void chain_add(struct chain *chain, struct msg *msg);

/* Messages in the order in which they are taken out again. One thread. */
struct fifo {
    struct msg *first; /* NULL: empty */
    struct msg *last;
};

/* Add one message at the end. */
void fifo_append(struct fifo *fifo, struct msg *msg);

/* Put all of `front` before `fifo`; `front` is empty afterwards. */
void fifo_prepend_all(struct fifo *fifo, struct fifo *front);

/* Take the first message out; NULL when empty. */
struct msg *fifo_pop(struct fifo *fifo);

/* What other threads have sent to a shard. */
struct inbox {
    /* shared */
    alignas(CACHE_LINE) _Atomic(struct msg *) newest;
};

/*
 * Push all of `chain`, which is empty afterwards. Any thread. Returns whether the inbox was empty:
 * then, and only then, its owner must be woken.
 */
bool inbox_push(struct inbox *inbox, struct chain *chain);

/* Append what is in `inbox` to `fifo`, in the order of the pushes. The owner's thread. */
void inbox_drain(struct inbox *inbox, struct fifo *fifo);

/* Whether there is nothing in it now. Any thread. */
bool inbox_is_empty(struct inbox *inbox);

/* The line from one shard to another (or itself); see sched.h. */
struct line {
    /* owner only: the sending shard */
    alignas(CACHE_LINE) uint64_t sent;
    struct chain chain; /* not yet handed over */
    bool pressured;
    /* shared: written by the sending shard, rarely */
    alignas(CACHE_LINE) _Atomic(uint64_t) resume_at; /* 0: nobody waits */
    /* shared: written by the receiving shard once a turn */
    alignas(CACHE_LINE) _Atomic(uint64_t) handled;
};

/*
 * Count `count` more messages as handled. The receiver's thread. Returns whether the sender waits
 * for this and must be woken.
 */
bool line_add_handled(struct line *line, uint64_t count);

/* Whether the line is at its bound, or not yet back to the low mark. The sender's thread. */
bool line_pressured(struct line *line);

/* Put `msg` into the mailbox of `actor`. */
void mailbox_push(struct actor *actor, struct msg *msg);

/*
 * Take the oldest message out if the mailbox has to lose it: it is SHED, and more of them than the
 * behaviour's bound are waiting. NULL otherwise.
 */
struct msg *mailbox_shed(struct actor *actor);

/* Take the oldest message out; NULL when empty. */
struct msg *mailbox_pop(struct actor *actor);

#endif
