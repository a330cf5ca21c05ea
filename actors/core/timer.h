/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer - a hierarchical timing wheel in milliseconds, one per shard, embedded timers.
 *
 * Setting and cancelling are O(1); a loop turn in which nothing is due costs O(1) whatever the
 * number of armed timers. Time is passed in: the wheel reads no clock. One thread.
 */
#ifndef ACTORS_CORE_TIMER_H
#define ACTORS_CORE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/list.h"

struct timer;

/* Called once when due, with the timer already disarmed; may set it again or free its owner. */
typedef void (*timer_fn)(struct timer *timer);

struct timer {
    timer_fn fn;
    /* private */
    struct list link; /* timer_wheel.slots or .overdue */
    uint64_t due_ms;
};

enum { TIMER_LEVELS = 5, TIMER_SLOTS = 64 };

struct timer_wheel {
    uint64_t entered; /* slots so far: what moving time forward has cost, */
    uint64_t moved; /* and timers that went to a lower level */
    /* private */
    uint64_t now_ms;
    uint64_t count;
    uint64_t occupied[TIMER_LEVELS]; /* one bit a slot, so that empty slots are not visited */
    struct list overdue; /* set for a time that had passed already */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

/* Make an empty wheel standing at `now_ms`. */
void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Make `timer` disarmed with its function; once, before any other call on it. */
void timer_init(struct timer *timer, timer_fn fn);

/*
 * Arm, or re-arm, `timer` for `due_ms`. A time that the wheel has reached already fires with the
 * next advance, before all others; set by a timer's function, never with the same advance.
 * UINT64_MAX: armed, but never called.
 */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms);

/* Disarm `timer`; nothing happens when it is not armed. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

/* Whether `timer` is armed. */
bool timer_armed(const struct timer *timer);

/*
 * Move the wheel to `now_ms` (never back) and call every timer due by then, in the order of
 * their deadlines to the millisecond. Returns how many were called.
 */
uint64_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

/*
 * A time by which timer_wheel_advance should be called again: never later than the first
 * deadline, but perhaps earlier (when only a coarse level is occupied). UINT64_MAX: none armed.
 */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);

/* The number of armed timers. */
TEST_SEAM uint64_t timer_wheel_count(const struct timer_wheel *wheel);

#endif
